//! All ways from clients to nodes.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::host::Host;
use super::node::Node;
use super::proxy::{Link, Log, Place, Recorder};

/// One [`Link`] for each client and node, all on one thread of their own, and the log of all that was told.
#[derive(Debug)]
pub struct Network {
    /// By client, then by node.
    links: Vec<Vec<Link>>,
    recorder: Recorder,
}

impl Network {
    /// Puts a link between each of `clients` clients and each node; the times of the log are counted from `origin`.
    ///
    /// # Errors
    ///
    /// If there are not enough ports, or no thread is to be had.
    pub fn start(nodes: &[Arc<dyn Node>], clients: usize, origin: Instant) -> io::Result<Self> {
        let host = Host::start("network")?;
        let recorder = Recorder::new(origin);
        let link = |client: usize, (node, to): (usize, &Arc<dyn Node>)| {
            let place = Place { client, node };
            Link::start(Arc::clone(&host), place, &to.url(), to.addr(), recorder.clone())
        };
        let links: io::Result<Vec<Vec<Link>>> = (0..clients)
            .map(|client| nodes.iter().enumerate().map(|node| link(client, node)).collect())
            .collect();
        Ok(Self { links: links?, recorder })
    }

    /// The URL by which this client reaches this node, with the node's credentials: not to be printed.
    ///
    /// # Panics
    ///
    /// If there is no such client or node.
    #[must_use]
    pub fn url(&self, client: usize, node: usize) -> String {
        self.link(client, node).url()
    }

    /// The URLs by which this client reaches the nodes, in their order.
    ///
    /// # Panics
    ///
    /// If there is no such client.
    #[must_use]
    pub fn urls(&self, client: usize) -> Vec<String> {
        self.links[client].iter().map(Link::url).collect()
    }

    /// The way from this client to this node.
    ///
    /// # Panics
    ///
    /// If there is no such client or node.
    #[must_use]
    pub fn link(&self, client: usize, node: usize) -> &Link {
        &self.links[client][node]
    }

    /// All links, by client, then by node.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten()
    }

    /// Ends all faults, as [`Link::heal`].
    ///
    /// # Errors
    ///
    /// If a link cannot listen, or the network's thread does not answer; all links are asked all the same.
    pub fn heal(&self) -> io::Result<()> {
        self.links().map(Link::heal).fold(Ok(()), Result::and)
    }

    /// What each node was told so far, and by whom.
    #[must_use]
    pub fn log(&self) -> Log {
        self.recorder.log()
    }
}
