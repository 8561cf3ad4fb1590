//! Settings: from flags, else the environment, else a file.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redlatch::{Options, Redlatch};
use toml::{Table, Value};

use crate::args::{AcquireFlags, NodeFlags};
use crate::exit::Failure;

/// How long the nodes keep a lock, unless told otherwise.
pub(crate) const TTL: Duration = Duration::from_secs(30);

/// Everything that the keys of the configuration file can say; `None` where nobody did.
#[derive(Default)]
pub(crate) struct Settings {
    nodes: Vec<NodeAddress>,
    ttl: Option<Duration>,
    wait: Option<Duration>,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    node_timeout: Option<Duration>,
    restart_guard: Option<Duration>,
    key_prefix: Option<String>,
    plain: Option<bool>,
    fence: Option<bool>,
}

/// A node's address, which may have a password in it: it is not `Debug`, and never shown.
struct NodeAddress {
    name: Option<String>,
    url: String,
}

impl Settings {
    /// What the flags say, else the environment, else the file.
    pub(crate) fn load(flags: &NodeFlags) -> Result<Self, Failure> {
        let file = match config_file(flags.config.as_deref()) {
            Some(path) => parse_file(&path)?,
            None => Self::default(),
        };
        let from_flags = flags.nodes.iter().map(|url| NodeAddress::unnamed(url)).collect();
        let from_env = nodes_of_environment()?;
        let sources = [from_flags, from_env, file.nodes];
        let nodes: Vec<_> = sources.into_iter().find(|nodes| !nodes.is_empty()).unwrap_or_default();
        if nodes.is_empty() {
            return Err(Failure::usage(
                "no nodes are named: give each with -n URL, or all in REDLATCH_NODES, or as `nodes` \
                 in ~/.config/redlatch.toml",
            ));
        }
        Ok(Self {
            nodes,
            node_timeout: flags.node_timeout.or(file.node_timeout),
            restart_guard: flags.restart_guard.or(file.restart_guard),
            key_prefix: flags.key_prefix.clone().or(file.key_prefix),
            plain: flags.plain.then_some(true).or(file.plain),
            ..file
        })
    }

    /// The same, with what the flags of an acquire say.
    pub(crate) fn with(self, flags: &AcquireFlags) -> Self {
        Self {
            ttl: flags.ttl.or(self.ttl),
            wait: flags.wait.or(self.wait),
            fence: if flags.no_fence { Some(false) } else { self.fence },
            ..self
        }
    }

    /// The same, with this ttl if there is one.
    pub(crate) fn with_ttl(self, ttl: Option<Duration>) -> Self {
        Self { ttl: ttl.or(self.ttl), ..self }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(TTL)
    }

    pub(crate) fn wait(&self) -> Duration {
        self.wait.unwrap_or(Options::WAIT)
    }

    /// How to lock.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(self.ttl()).wait(self.wait());
        if let Some(node_timeout) = self.node_timeout {
            options = options.node_timeout(node_timeout);
        }
        match self.fence {
            Some(false) => options.without_fence(),
            Some(true) | None => options,
        }
    }

    /// A client of the nodes.
    pub(crate) fn connect(&self) -> Result<Redlatch, Failure> {
        let mut builder = Redlatch::builder();
        for NodeAddress { name, url } in &self.nodes {
            builder = match name {
                Some(name) => builder.named_node(name.as_str(), url),
                None => builder.node(url),
            };
        }
        if let Some(prefix) = &self.key_prefix {
            builder = builder.key_prefix(prefix.as_bytes());
        }
        if let Some(ttl_max) = self.restart_guard {
            builder = builder.restart_guard(ttl_max);
        }
        if self.plain == Some(true) {
            builder = builder.plain();
        }
        builder.build().map_err(Failure::from)
    }

    /// How many nodes there are.
    pub(crate) fn nodes_count(&self) -> usize {
        self.nodes.len()
    }
}

impl NodeAddress {
    fn unnamed(url: &str) -> Self {
        Self { name: None, url: url.to_owned() }
    }
}

fn nodes_of_environment() -> Result<Vec<NodeAddress>, Failure> {
    let Some(value) = variable("REDLATCH_NODES") else { return Ok(Vec::new()) };
    let text = value
        .into_string()
        .map_err(|_| Failure::usage("REDLATCH_NODES is not UTF-8; write URLs, with %-escapes"))?;
    let mut urls: Vec<String> = Vec::new();
    for words in text.split_whitespace() {
        // A comma ends a URL, unless what follows is one more host of it.
        let mut one_word = false;
        for part in words.split(',').filter(|part| !part.is_empty()) {
            match urls.last_mut() {
                Some(url) if one_word && names_several(url) && !part.contains("://") => {
                    *url += ",";
                    *url += part;
                }
                Some(_) | None => urls.push(part.to_owned()),
            }
            one_word = true;
        }
    }
    Ok(urls.iter().map(|url| NodeAddress::unnamed(url)).collect())
}

/// Whether the URL is of a kind that has several hosts.
fn names_several(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    scheme.ends_with("+sentinel") || scheme.ends_with("+cluster")
}

/// The file to read, if one was named or is where it is looked for. One that was named must exist.
fn config_file(flag: Option<&Path>) -> Option<PathBuf> {
    let named = flag.map(Path::to_owned).or_else(|| variable("REDLATCH_CONFIG").map(PathBuf::from));
    named.or_else(|| {
        // Not the working directory: whoever owns that would choose the nodes.
        let folder = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute())
            .or_else(|| env::home_dir().map(|home| home.join(".config")))?;
        Some(folder.join("redlatch.toml")).filter(|path| path.exists())
    })
}

/// An environment variable; one that is empty counts as not set.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn parse_file(path: &Path) -> Result<Settings, Failure> {
    let in_file = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
    let text =
        fs::read_to_string(path).map_err(|error| in_file(format!("cannot be read: {error}")))?;
    parse(&text).map_err(in_file)
}

/// The settings in a TOML document. An error never repeats a value: it may be a password.
fn parse(text: &str) -> Result<Settings, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        // Its `Display` would show the line.
        let line = error.span().map_or(1, |span| {
            let before = text.as_bytes().get(..span.start).unwrap_or_default();
            1 + before.iter().filter(|byte| **byte == b'\n').count()
        });
        format!("line {line} is not TOML: {}", error.message())
    })?;
    let mut settings = Settings::default();
    for (key, value) in &table {
        settings.set(key, value)?;
    }
    Ok(settings)
}

impl Settings {
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "nodes" => self.nodes = nodes(value)?,
            "ttl" => self.ttl = Some(duration(key, value)?),
            "wait" => self.wait = Some(duration(key, value)?),
            "max_hold" => self.max_hold = Some(duration(key, value)?),
            "grace" => self.grace = Some(duration(key, value)?),
            "node_timeout" => self.node_timeout = Some(duration(key, value)?),
            "restart_guard" => self.restart_guard = Some(duration(key, value)?),
            "key_prefix" => self.key_prefix = Some(string(key, value)?),
            "plain" => self.plain = Some(boolean(key, value)?),
            "fence" => self.fence = Some(boolean(key, value)?),
            unknown => {
                return Err(format!(
                    "unknown key `{unknown}`; there are nodes, ttl, wait, max_hold, grace, \
                     node_timeout, restart_guard, key_prefix, plain, and fence"
                ));
            }
        }
        Ok(())
    }
}

fn nodes(value: &Value) -> Result<Vec<NodeAddress>, String> {
    const FORM: &str = "`nodes` must be a list, each of a URL or of { name = \"…\", url = \"…\" }";
    value.as_array().ok_or(FORM)?.iter().map(node).collect::<Option<_>>().ok_or(FORM.to_owned())
}

/// The address in an entry of `nodes`; `None` if it has another form.
fn node(value: &Value) -> Option<NodeAddress> {
    if let Some(url) = value.as_str() {
        return Some(NodeAddress::unnamed(url));
    }
    let table = value.as_table()?;
    let name = table.get("name").map(|name| name.as_str().map(str::to_owned));
    let url = table.get("url")?.as_str()?.to_owned();
    let known = table.keys().all(|key| key == "name" || key == "url");
    // A name that is there must be a string.
    match name {
        None => known.then_some(NodeAddress { name: None, url }),
        Some(name) => known.then_some(NodeAddress { name: Some(name?), url }),
    }
}

fn duration(key: &str, value: &Value) -> Result<Duration, String> {
    let form = || format!("`{key}` must be a duration in quotes, such as \"30s\" or \"1m 30s\"");
    humantime::parse_duration(value.as_str().ok_or_else(form)?).map_err(|_| form())
}

fn string(key: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` must be a string"))
}

fn boolean(key: &str, value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("`{key}` must be true or false"))
}
