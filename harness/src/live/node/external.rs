//! Nodes that somebody else runs.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::{Ability, Backend, Keep, Node, NodeError, at_once, ready};

/// Why a node cannot be started, stopped or paused.
const NOT_OURS: &str = "it is somebody else's server, of which only the network can be disturbed; take processes or \
                        containers for this fault";

/// Servers that are there already. All faults of the network work on them; nothing else is done to them, unless they
/// are declared to be [disposable](Self::disposable).
#[derive(Clone)]
pub struct External {
    urls: Vec<String>,
    is_disposable: bool,
}

impl External {
    /// The servers of these `redis://` URLs.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self { urls, is_disposable: false }
    }

    /// Nothing on these servers is of value: they may be flushed and configured, and their expiries shifted.
    #[must_use]
    pub fn disposable(mut self) -> Self {
        self.is_disposable = true;
        self
    }
}

/// Without the URLs, which may have credentials.
impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "External({} servers)", self.urls.len())
    }
}

impl Backend for External {
    fn name(&self) -> &'static str {
        "external"
    }

    fn start(&self, count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError> {
        if self.urls.len() < count {
            let why = format!("{count} are needed, and the URLs are of {}", self.urls.len());
            return Err(NodeError::failed("external servers", "take them", why));
        }
        at_once(count, |index| {
            let node = ExternalNode::new(index, &self.urls[index], self.is_disposable)?;
            let answers = ready(&node.url, || false);
            answers.map_err(|error| NodeError::failed(&node.name, "answer", error))?;
            Ok(Arc::new(node) as Arc<dyn Node>)
        })
    }
}

struct ExternalNode {
    name: String,
    url: String,
    addr: SocketAddr,
    is_disposable: bool,
}

impl fmt::Debug for ExternalNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (external, at {})", self.name, self.addr)
    }
}

impl ExternalNode {
    fn new(index: usize, url: &str, is_disposable: bool) -> Result<Self, NodeError> {
        let name = format!("n{index}");
        let refuse = |why: &str| NodeError::failed(&name, "read its URL", why);
        // The library's own message may repeat what it was given.
        let info = url.into_connection_info().map_err(|_| refuse("it is no redis:// URL"))?;
        let addr = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host.as_str(), *port).to_socket_addrs(),
            ConnectionAddr::TcpTls { .. } => {
                let why = "TLS hides the commands from the network's faults; give a plain port";
                return Err(refuse(why));
            }
            ConnectionAddr::Unix(_) | _ => {
                return Err(refuse("only TCP can be disturbed; give host and port"));
            }
        };
        let addr = addr.ok().and_then(|mut found| found.next());
        let addr = addr.ok_or_else(|| refuse("its host is not known"))?;
        Ok(Self { name, url: url.to_owned(), addr, is_disposable })
    }

    fn unable(&self, ability: Ability) -> NodeError {
        NodeError::unable(&self.name, ability, NOT_OURS)
    }
}

impl Node for ExternalNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Command => self.is_disposable,
            Ability::Process
            | Ability::Pause
            | Ability::Wipe
            | Ability::PowerLoss
            | Ability::ClockShift
            | Ability::ClockRate => false,
        }
    }

    fn kill(&self) -> Result<(), NodeError> {
        Err(self.unable(Ability::Process))
    }

    fn stop(&self) -> Result<(), NodeError> {
        Err(self.unable(Ability::Process))
    }

    fn start(&self, keep: Keep) -> Result<(), NodeError> {
        Err(self.unable(match keep {
            Keep::All => Ability::Process,
            Keep::Synced => Ability::PowerLoss,
            Keep::Nothing => Ability::Wipe,
        }))
    }

    fn pause(&self) -> Result<(), NodeError> {
        Err(self.unable(Ability::Pause))
    }

    fn resume(&self) -> Result<(), NodeError> {
        Err(self.unable(Ability::Pause))
    }

    fn set_clock(&self, _ahead_ms: i64, _rate_ppm: i32) -> Result<(), NodeError> {
        Err(self.unable(Ability::ClockShift))
    }
}
