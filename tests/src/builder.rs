//! How a server is configured, and the command line that makes it so.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use redlatch_harness::live::process::Process;
use redlatch_harness::port::Port;
use tempfile::TempDir;

use crate::server::RedisServer;
use crate::tls::{Certificates, ClientAuth};

/// The user that the fixture itself logs in as: it may do everything, whatever a test forbids.
pub(crate) const ORACLE: &str = "fixture";

/// How often a start may lose its port to another process. On Linux that cannot happen.
const PORTS_MAX: usize = 5;

/// How a server is to be started; made by [`RedisServer::builder`].
#[derive(Clone, Debug)]
pub struct RedisServerBuilder {
    pub(crate) program: OsString,
    pub(crate) tcp: Tcp,
    tls: Option<ClientAuth>,
    pub(crate) password: Option<String>,
    pub(crate) users: Vec<User>,
    default_user: DefaultUser,
    append_only: AppendOnly,
    args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tcp {
    Listen,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DefaultUser {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppendOnly {
    Yes,
    No,
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    rules: Vec<String>,
}

impl Default for RedisServerBuilder {
    fn default() -> Self {
        Self {
            program: "redis-server".into(),
            tcp: Tcp::Listen,
            tls: None,
            password: None,
            users: Vec::new(),
            default_user: DefaultUser::On,
            append_only: AppendOnly::No,
            args: Vec::new(),
        }
    }
}

impl RedisServerBuilder {
    /// Another server program, by name or path; it must know the options of Redis 7.0.
    #[must_use]
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// Demands a password of the default user (`requirepass`).
    ///
    /// # Panics
    ///
    /// If it has characters that a URL would have to escape.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(plain(password));
        self
    }

    /// Adds an ACL user; each of `rules` is one rule, such as `~lock:*` or `+get`.
    ///
    /// # Panics
    ///
    /// If name or password has characters that a URL would have to escape.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str, rules: &[&str]) -> Self {
        let rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        self.users.push(User { name: plain(name), password: plain(password), rules });
        self
    }

    /// Switches the default user off, so that every client must log in.
    #[must_use]
    pub fn without_default_user(mut self) -> Self {
        self.default_user = DefaultUser::Off;
        self
    }

    /// Listens on the unix socket alone, not on TCP; without this call on both.
    #[must_use]
    pub fn unix_only(mut self) -> Self {
        self.tcp = Tcp::Off;
        self
    }

    /// Listens with TLS on a second port, with certificates made for this server.
    #[must_use]
    pub fn tls(mut self, client_auth: ClientAuth) -> Self {
        self.tls = Some(client_auth);
        self
    }

    /// Keeps an append-only file, so that a killed server has its data again after a restart.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = AppendOnly::Yes;
        self
    }

    /// Adds one argument to the command line, after those of the fixture.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Adds arguments to the command line, after those of the fixture.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        args.iter().fold(self, |builder, arg| builder.arg(arg))
    }

    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    ///
    /// If there is no such program, or it does not answer within 10 s; the message has the
    /// server's output.
    #[must_use]
    pub fn start(self) -> RedisServer {
        let mut reason = String::new();
        for _ in 0..PORTS_MAX {
            let server = RedisServer::launch(self.clone());
            match server.wait_ready() {
                Ok(()) => return server,
                Err(why) => reason = why,
            }
            if !reason.contains("Address already in use") {
                break;
            }
        }
        panic!("{reason}");
    }

    /// Starts the process at its place, for the first time or again.
    pub(crate) fn spawn(&self, place: &Place) -> Process {
        let output = File::options().create(true).append(true).open(place.output());
        let output = output.expect("the output file can be written");
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null());
        command.stderr(output.try_clone().expect("a second handle of the output file"));
        command.stdout(output);
        self.write_args(&mut command, place);
        if let (Some(certificates), Some(client_auth)) = (&place.certificates, self.tls) {
            write_tls_args(&mut command, certificates, client_auth, place.tls_port.number());
        }
        // Last, so that a test can overrule anything above.
        command.args(&self.args);
        Process::start(command).unwrap_or_else(|error| {
            let program = self.program.display();
            panic!("cannot run {program} ({error}); `just setup` installs redis-server")
        })
    }

    fn write_args(&self, command: &mut Command, place: &Place) {
        let port = if self.tcp == Tcp::Listen { place.port.number() } else { 0 };
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.arg("--dir").arg(place.directory.path());
        command.arg("--unixsocket").arg(place.socket());
        command.args(["--unixsocketperm", "700", "--save", "", "--appendonly"]);
        command.arg(if self.append_only == AppendOnly::Yes { "yes" } else { "no" });
        // For DEBUG SLEEP and its like.
        command.args(["--enable-debug-command", "local"]);
        command.args(["--user", ORACLE, "on", "nopass", "~*", "&*", "+@all"]);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        if self.default_user == DefaultUser::Off {
            command.args(["--user", "default", "off"]);
        }
        for User { name, password, rules } in &self.users {
            // One argument per rule: Redis rejects them as one quoted string.
            command.args(["--user", name, "on", &format!(">{password}")]).args(rules);
        }
    }

    pub(crate) fn default_login(&self) -> String {
        self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default()
    }
}

fn write_tls_args(
    command: &mut Command,
    certificates: &Certificates,
    client_auth: ClientAuth,
    port: u16,
) {
    command.args(["--tls-port", &port.to_string(), "--tls-auth-clients"]);
    command.arg(match client_auth {
        ClientAuth::Optional => "optional",
        ClientAuth::Required => "yes",
    });
    command.arg("--tls-cert-file").arg(certificates.server());
    command.arg("--tls-key-file").arg(certificates.server_key());
    command.arg("--tls-ca-cert-file").arg(certificates.ca());
}

/// Where a server lives: what stays the same when it is started again.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) port: Port,
    pub(crate) tls_port: Port,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new(config: &RedisServerBuilder) -> Self {
        let directory = TempDir::with_prefix("redlatch-").expect("a temporary directory");
        let certificates = config.tls.map(|_| Certificates::generate(directory.path()));
        let reserve = || Port::reserve().expect("a free port");
        Self { port: reserve(), tls_port: reserve(), certificates, directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// The file that takes what the server prints.
    pub(crate) fn output(&self) -> PathBuf {
        self.directory.path().join("output")
    }
}

/// Refuses what would need escaping in a URL, so that URLs can be put together as they are.
fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    assert!(!text.is_empty() && text.chars().all(is_plain), "needs escaping in a URL: {text:?}");
    text.to_owned()
}
