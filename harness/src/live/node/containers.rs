//! Nodes that are containers.

use std::sync::Arc;

use super::{Backend, Node, NodeError};

/// Containers of one image, each with a fixed port of 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Containers {
    image: String,
}

impl Default for Containers {
    fn default() -> Self {
        Self { program: "redis:7".to_owned() }
    }
}

impl Containers {
    /// Of a well-known image.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of another image, by name and tag.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }
}

impl Backend for Containers {
    fn name(&self) -> &'static str {
        "containers"
    }

    fn start(&self, _count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError> {
        Err(NodeError::failed("containers", "start", "not written yet"))
    }
}
