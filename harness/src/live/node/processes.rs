//! Nodes that are processes of this machine.

use std::ffi::OsString;
use std::sync::Arc;

use super::{Backend, Node, NodeError};

/// `redis-server` processes on 127.0.0.1, each with a folder and a port of its own.
#[derive(Clone, Debug)]
pub struct Processes {
    program: OsString,
}

impl Default for Processes {
    fn default() -> Self {
        Self { program: "redis-server".into() }
    }
}

impl Processes {
    /// The `redis-server` that is found in `PATH`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another server program, by name or path; it must know the options of Redis 7.0.
    #[must_use]
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }
}

impl Backend for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn start(&self, _count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError> {
        Err(NodeError::failed("processes", "start", "not written yet"))
    }
}
