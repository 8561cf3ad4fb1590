//! Nodes that somebody else runs.

use std::sync::Arc;

use super::{Backend, Node, NodeError};

/// Servers that are there already. What is done to them is what a network and commands can do.
pub struct External {
    urls: Vec<String>,
}

impl External {
    /// The servers of these `redis://` URLs.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self { urls }
    }
}

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "External({} servers)", self.urls.len())
    }
}

impl Backend for External {
    fn name(&self) -> &'static str {
        "external"
    }

    fn start(&self, _count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError> {
        Err(NodeError::failed("external", "start", "not written yet"))
    }
}
