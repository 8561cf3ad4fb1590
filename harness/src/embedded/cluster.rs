//! Several nodes.

use std::io;
use std::ops::Index;
use std::slice;

use crate::redis::Flavour;

use super::node::{Glimpse, Node};

/// Independent nodes, each a server of its own on this machine.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

/// How a cluster is to be.
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct Builder {
    count: usize,
    flavour: Flavour,
    port: Option<u16>,
    seed: Option<u64>,
}

impl Builder {
    /// Which server the nodes are like.
    pub fn flavour(self, flavour: Flavour) -> Self {
        Self { flavour, ..self }
    }

    /// The first node's port; the others follow. Free ones are taken otherwise.
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// What the nodes' ids are drawn from. They are drawn at random otherwise.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Starts the nodes.
    ///
    /// # Errors
    /// If a port is taken, or the system has no more threads or sockets to give.
    pub fn start(self) -> io::Result<Cluster> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let nodes = (0..self.count).map(|index| {
            let port = match self.port {
                None => 0,
                Some(first) => {
                    let port = u16::try_from(index).ok().and_then(|index| first.checked_add(index));
                    port.ok_or_else(|| io::Error::other("there are no ports beyond 65535"))?
                }
            };
            Node::start(self.flavour, seed.wrapping_add(index as u64), port)
        });
        Ok(Cluster { nodes: nodes.collect::<io::Result<_>>()? })
    }
}

impl Cluster {
    /// `count` nodes on free ports.
    ///
    /// # Errors
    /// If the system has no more threads or sockets to give.
    pub fn embedded(count: usize) -> io::Result<Self> {
        Self::builder(count).start()
    }

    /// `count` nodes that are not as usual.
    pub fn builder(count: usize) -> Builder {
        Builder { count, flavour: Flavour::default(), port: None, seed: None }
    }

    /// The `redis://` URL of each node.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.iter().map(Node::url).collect()
    }

    /// The nodes in order.
    pub fn iter(&self) -> slice::Iter<'_, Node> {
        self.nodes.iter()
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Looks at all nodes at one instant: none carries out a command meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&[Glimpse<'_>]) -> T) -> T {
        let worlds: Vec<_> = self.iter().map(Node::world).collect();
        let glimpses: Vec<Glimpse<'_>> = worlds.iter().map(|world| world.glimpse()).collect();
        look(&glimpses)
    }
}

impl Index<usize> for Cluster {
    type Output = Node;

    fn index(&self, index: usize) -> &Node {
        &self.nodes[index]
    }
}

impl<'a> IntoIterator for &'a Cluster {
    type Item = &'a Node;
    type IntoIter = slice::Iter<'a, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
