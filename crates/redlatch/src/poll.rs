//! What the nodes say to one question, for the errors that show their votes.

use std::sync::Arc;

use redlatch_core::{CommandId, Op, Question, Reply};

use crate::error::{Vote, Votes};
use crate::flight::Outcome;
use crate::node::Node;

/// The last thing each node said to one question.
pub(crate) struct Poll {
    question: Option<Question>,
    said: Vec<Option<Outcome>>,
    /// The last command to each node, until it is answered.
    open: Vec<Option<CommandId>>,
}

impl Poll {
    pub(crate) fn new(nodes: usize) -> Self {
        let said = (0..nodes).map(|_| None).collect();
        Self { question: None, said, open: vec![None; nodes] }
    }

    /// A command is sent. Unless it goes on with the question before, it asks a new one.
    pub(crate) fn sent(&mut self, id: CommandId) {
        if !self.is_about(&id) {
            self.question = Some(id.question());
            self.said.fill_with(|| None);
            self.open.fill(None);
        }
        if let Some(open) = self.open.get_mut(id.node().index()) {
            *open = Some(id);
        }
    }

    /// A command was answered.
    pub(crate) fn answered(&mut self, outcome: Outcome) {
        if !self.is_about(&outcome.id) {
            return;
        }
        let index = outcome.id.node().index();
        if let Some(open) = self.open.get_mut(index) {
            open.take_if(|open| *open == outcome.id);
        }
        if let Some(said) = self.said.get_mut(index) {
            *said = Some(outcome);
        }
    }

    /// Whether somebody else has the lock on some node, or wants it.
    pub(crate) fn is_contended(&self) -> bool {
        self.said.iter().flatten().any(|said| {
            matches!(said.op, Op::Acquire { .. } | Op::Seal { .. })
                && matches!(said.reply, Reply::Refused { .. })
        })
    }

    /// The commands that are not answered, if `is_silent` is true of the nodes of all of them.
    pub(crate) fn take_open_if_all(
        &mut self,
        nodes: &[Arc<Node>],
        is_silent: impl Fn(&Node) -> bool,
    ) -> impl Iterator<Item = CommandId> {
        let mut open = nodes.iter().zip(&self.open).filter(|(_, open)| open.is_some());
        let all = open.all(|(node, _)| is_silent(node));
        self.open.iter_mut().filter_map(move |open| open.take_if(|_| all))
    }

    /// What they said, by their names.
    pub(crate) fn votes(&self, nodes: &[Arc<Node>]) -> Votes {
        let said = nodes.iter().zip(&self.said);
        Votes::new(said.map(|(node, said)| (node.name().clone(), vote(said.as_ref()))).collect())
    }

    fn is_about(&self, id: &CommandId) -> bool {
        self.question == Some(id.question())
    }
}

fn vote(said: Option<&Outcome>) -> Vote {
    let Some(outcome) = said else { return Vote::Silent };
    match (&outcome.reply, &outcome.failure) {
        (_, Some(failure)) => Vote::Failed(failure.to_string()),
        (Reply::Applied { .. }, None) => Vote::Applied,
        // A node from which there is nothing to delete is free, which is what was asked.
        (Reply::Refused { .. }, None) if matches!(outcome.op, Op::Release { .. }) => Vote::Applied,
        (Reply::Refused { remaining, .. }, None) => Vote::Refused { remaining: *remaining },
        (Reply::Quarantined { remaining }, None) => Vote::Quarantined { remaining: *remaining },
        (Reply::Unknown, None) => Vote::Silent,
    }
}
