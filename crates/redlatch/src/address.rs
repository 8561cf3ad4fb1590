//! What the URL of a node names: one server, the sentinels of a master, or a Redis Cluster.

use std::sync::Arc;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::dial::Sentinels;
use crate::node::Endpoint;

const SENTINEL_PORT: u16 = 26_379;
const SERVER_PORT: u16 = 6_379;

/// The address and what is behind `url`. The error never repeats the URL: it may have a password.
pub(crate) fn endpoint(url: &str) -> Result<(Arc<str>, Endpoint), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match scheme {
        "redis+sentinel" => sentinels(&Hosts::of("redis", rest, SENTINEL_PORT)?),
        "rediss+sentinel" => sentinels(&Hosts::of("rediss", rest, SENTINEL_PORT)?),
        "redis+cluster" => cluster(&Hosts::of("redis", rest, SERVER_PORT)?),
        "rediss+cluster" => cluster(&Hosts::of("rediss", rest, SERVER_PORT)?),
        _ => {
            let client = Client::open(connection_info(url)?).map_err(|error| reason(&error))?;
            let name = display(client.get_connection_info().addr());
            Ok((name.into(), Endpoint::Client(Box::new(client))))
        }
    }
}

/// Host and port, or path: what tells nodes apart and has no credentials in it.
pub(crate) fn display(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        }
        ConnectionAddr::Unix(path) => path.display().to_string(),
        _ => "unknown address".to_owned(),
    }
}

/// rustls panics at the first connection if features of other crates leave it a choice of providers
/// and nobody has chosen; an application that has chosen is left alone.
#[cfg(feature = "tls")]
pub(crate) fn choose_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails if somebody chose in between, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

/// How to connect to the one server at `url`.
fn connection_info(url: &str) -> Result<ConnectionInfo, String> {
    if cfg!(not(feature = "tls")) && (url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        return Err("TLS needs the feature `tls` of the crate `redlatch`".to_owned());
    }
    let info = url.into_connection_info().map_err(|error| reason(&error))?;
    #[cfg(feature = "tls")]
    choose_crypto_provider();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_tcp_settings(tcp))
}

fn reason(error: &redis::RedisError) -> String {
    let text = error.to_string();
    text.split(" - InvalidClientConfig").next().unwrap_or_default().to_owned()
}

/// The parts of a URL that names several hosts. redis-rs reads it as one URL for each of them.
struct Hosts<'a> {
    scheme: &'static str,
    /// User and password with the `@`, or nothing.
    login: &'a str,
    hosts: Vec<String>,
    /// Without the first `/`.
    path: &'a str,
    /// `key=value` of the query.
    query: Vec<(&'a str, &'a str)>,
}

impl<'a> Hosts<'a> {
    /// Takes `rest`, all after `://`, to pieces.
    fn of(scheme: &'static str, rest: &'a str, default_port: u16) -> Result<Self, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let with_port = |host: &str| {
            let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            if has_port { host.to_owned() } else { format!("{host}:{default_port}") }
        };
        if hosts.split(',').any(str::is_empty) {
            return Err("a host is missing".to_owned());
        }
        let hosts = hosts.split(',').map(with_port).collect();
        Ok(Self { scheme, login, hosts, path: path.trim_end_matches('/'), query })
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.query.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// Takes no parameter but `known` and the protocol: one that does nothing would be a mistake.
    fn check_parameters(&self, known: &[&str]) -> Result<(), String> {
        let is_known = |key: &str| key == "protocol" || known.contains(&key);
        match self.query.iter().all(|(key, _)| is_known(key)) {
            true => Ok(()),
            false => Err("it has an unknown parameter".to_owned()),
        }
    }

    /// How to connect to `host` as `login`.
    fn info(&self, login: &str, host: &str, database: &str) -> Result<ConnectionInfo, String> {
        let protocol = self.parameter("protocol").map(|it| format!("?protocol={it}"));
        let protocol = protocol.unwrap_or_default();
        connection_info(&format!("{}://{login}{host}/{database}{protocol}", self.scheme))
    }
}

fn sentinels(url: &Hosts<'_>) -> Result<(Arc<str>, Endpoint), String> {
    const USER: &str = "sentinel_username";
    const PASSWORD: &str = "sentinel_password";
    url.check_parameters(&[USER, PASSWORD])?;
    let (master, database) = url.path.split_once('/').unwrap_or((url.path, ""));
    if master.is_empty() {
        return Err("the name of the master is missing behind the sentinels".to_owned());
    }
    // What may stand in a query, but not before a host.
    let escape = |text: &str| text.replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    let login = match (url.parameter(USER), url.parameter(PASSWORD)) {
        (None, None) => String::new(),
        (user, Some(password)) => {
            format!("{}:{}@", escape(user.unwrap_or_default()), escape(password))
        }
        (Some(_), None) => return Err("the sentinels' user has no password".to_owned()),
    };
    let open =
        |host: &String| Client::open(url.info(&login, host, "")?).map_err(|error| reason(&error));
    let sentinels = url.hosts.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    // Whatever host: the sentinels name it.
    let server = url.info(url.login, &url.hosts[0], database)?;
    let name = format!("{}/{master}", names(sentinels.iter().map(Client::get_connection_info)));
    let sentinels = Sentinels { sentinels, master: master.to_owned(), server };
    Ok((name.into(), Endpoint::Sentinels(Box::new(sentinels))))
}

#[cfg(feature = "cluster")]
fn cluster(url: &Hosts<'_>) -> Result<(Arc<str>, Endpoint), String> {
    url.check_parameters(&[])?;
    let seeds = url.hosts.iter().map(|host| url.info(url.login, host, url.path));
    let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
    Ok((names(seeds.iter()).into(), Endpoint::Cluster(seeds)))
}

#[cfg(not(feature = "cluster"))]
fn cluster(_: &Hosts<'_>) -> Result<(Arc<str>, Endpoint), String> {
    Err("a Redis Cluster needs the feature `cluster` of the crate `redlatch`".to_owned())
}

fn names<'a>(infos: impl Iterator<Item = &'a ConnectionInfo>) -> String {
    infos.map(|info| display(info.addr())).collect::<Vec<_>>().join(",")
}
