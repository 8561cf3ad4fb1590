//! What the nodes said to one question, for people who read errors.

use redlatch_core::{Command, NODES_MAX, NodeId, Question};

/// The last thing that each node said to the latest question of one kind.
#[derive(Debug)]
pub(crate) struct Poll<T> {
    question: Option<Question>,
    said: [Option<T>; NODES_MAX],
}

impl<T> Poll<T> {
    pub(crate) fn new() -> Self {
        Self { question: None, said: [const { None }; NODES_MAX] }
    }

    /// A command was handed out: if it asks something new, nobody has said anything to it yet.
    pub(crate) fn ask(&mut self, command: &Command) {
        if !self.is_about(command) {
            self.question = Some(command.id.question());
            self.said.fill_with(|| None);
        }
    }

    /// Notes what the node of `command` said, unless something else is asked by now.
    pub(crate) fn note(&mut self, command: &Command, said: T) {
        if self.is_about(command)
            && let Some(place) = self.said.get_mut(command.id.node().index())
        {
            *place = Some(said);
        }
    }

    pub(crate) fn said(&self, node: NodeId) -> Option<&T> {
        self.said.get(node.index())?.as_ref()
    }

    fn is_about(&self, command: &Command) -> bool {
        self.question == Some(command.id.question())
    }
}
