//! Commands on their way to nodes. As a rule a node's connection is there and its answer is plain: such a
//! command is sent at once, packed once for all nodes, and nothing else is made for it. Whatever goes
//! otherwise takes the long way of [`carry`].

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use redlatch_core::wire::{Answer, Args, Dialect, Form};
use redlatch_core::{Command, CommandId, Instant, Op, Reply};

use crate::clock;
use crate::drive::Subject;
use crate::failure::{Failure, Trouble};
use crate::node::{Link, Node, Sent, Turn};
use crate::value;

/// A reply and, where it explains a vote, what the node said.
pub(crate) struct Outcome {
    pub(crate) id: CommandId,
    pub(crate) op: Op,
    pub(crate) reply: Reply,
    pub(crate) failure: Option<Failure>,
}

/// The commands of one lock that are on their way.
pub(crate) struct Flights {
    subject: Arc<Subject>,
    flights: Vec<Flight>,
    /// What became of commands and was not asked for yet.
    landed: VecDeque<Outcome>,
    packed: Option<Packed>,
}

/// The latest command as it is sent. It is the same for all nodes of one dialect.
struct Packed {
    op: Op,
    dialect: Dialect,
    command: Arc<redis::Cmd>,
}

struct Flight {
    id: CommandId,
    op: Op,
    deadline: Instant,
    way: Way,
}

enum Way {
    /// On a connection that was there.
    Short {
        node: Arc<Node>,
        link: Link,
        dialect: Dialect,
        sent: Sent,
    },
    Long(BoxFuture<'static, Result<Reply, Failure>>),
}

impl Flights {
    pub(crate) fn new(subject: Arc<Subject>) -> Self {
        Self { subject, flights: Vec::new(), landed: VecDeque::new(), packed: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.landed.is_empty()
    }

    /// Sends the command. What becomes of it is told by [`next`](Self::next).
    pub(crate) fn launch(&mut self, command: Command) {
        let Command { id, op, deadline } = command;
        let way = self
            .short_way(&id, &op)
            .unwrap_or_else(|| Way::Long(Box::pin(carry(self.subject.clone(), command))));
        self.flights.push(Flight { id, op, deadline, way });
    }

    fn short_way(&mut self, id: &CommandId, op: &Op) -> Option<Way> {
        let node = node_of(&self.subject, id)?.clone();
        let link = node.link_if_up()?;
        let dialect = self.subject.dialect.of(link.compare);
        let command = self.packed(op, dialect)?;
        let sent = node.launch(&link, command)?;
        Some(Way::Short { node, link, dialect, sent })
    }

    fn packed(&mut self, op: &Op, dialect: Dialect) -> Option<Arc<redis::Cmd>> {
        if let Some(packed) = &self.packed
            && packed.op == *op
            && packed.dialect == dialect
        {
            return Some(packed.command.clone());
        }
        let command = Arc::new(encode(&self.subject, dialect, op, Form::Sha1).ok()?);
        self.packed = Some(Packed { op: *op, dialect, command: command.clone() });
        Some(command)
    }

    /// What became of a command; `None` if there are none.
    pub(crate) async fn next(&mut self) -> Option<Outcome> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What became of another command, if that is known already.
    pub(crate) fn next_landed(&mut self) -> Option<Outcome> {
        self.landed.pop_front()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        if self.landed.is_empty() {
            self.poll_all(cx);
        }
        match self.landed.pop_front() {
            Some(outcome) => Poll::Ready(Some(outcome)),
            None if self.flights.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// All of them, in the order in which they were launched: a command that was never polled was not sent.
    fn poll_all(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while let Some(flight) = self.flights.get_mut(index) {
            let Poll::Ready(result) = flight.poll(&self.subject, cx) else {
                index += 1;
                continue;
            };
            let Flight { id, op, .. } = self.flights.remove(index);
            let (reply, failure) = match result {
                Ok(reply) => (reply, None),
                Err(failure) => (Reply::Unknown, Some(failure)),
            };
            self.landed.push_back(Outcome { id, op, reply, failure });
        }
    }
}

impl Flight {
    fn poll(
        &mut self,
        subject: &Arc<Subject>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reply, Failure>> {
        if let Way::Short { node, link, dialect, sent } = &mut self.way {
            let result = node.received(link, ready!(sent.poll(cx)));
            let answer = value::decode(result, |value| dialect.decode(&self.op, value));
            if let Ok(Answer::Reply(reply)) = answer
                && reply != Reply::Unknown
            {
                return Poll::Ready(Ok(reply));
            }
            let answered = Answered { link: link.clone(), answer };
            let (subject, id, op) = (subject.clone(), self.id, self.op);
            self.way = Way::Long(Box::pin(carry_on(subject, id, op, self.deadline, answered)));
        }
        match &mut self.way {
            Way::Long(carried) => Pin::new(carried).poll(cx),
            Way::Short { .. } => Poll::Pending,
        }
    }
}

fn node_of<'a>(subject: &'a Subject, id: &CommandId) -> Option<&'a Arc<Node>> {
    subject.nodes.get(id.node().index())
}

/// Carries one command to its node and brings the reply back, however late.
async fn carry(subject: Arc<Subject>, command: Command) -> Result<Reply, Failure> {
    let Command { id, op, deadline } = command;
    match node_of(&subject, &id) {
        Some(node) => {
            let question = |link, turn| ask(&subject, node, link, turn, deadline, &op);
            node.ask(deadline, question).await
        }
        None => Err(Failure::from("there is no such node")),
    }
}

/// What the node said when it was first asked, and on which connection.
struct Answered {
    link: Link,
    answer: redis::RedisResult<Answer>,
}

/// Goes on where the short way ends: the node does not have the script, or the connection broke.
async fn carry_on(
    subject: Arc<Subject>,
    id: CommandId,
    op: Op,
    deadline: Instant,
    Answered { link, answer }: Answered,
) -> Result<Reply, Failure> {
    let Some(node) = node_of(&subject, &id) else {
        return Err(Failure::from("there is no such node"));
    };
    let first = match answer {
        Ok(Answer::ScriptMissing) => {
            let dialect = subject.dialect.of(link.compare);
            ask_in(&subject, node, &link, dialect, &op, &[Form::Text]).await
        }
        Ok(Answer::Reply(_)) => Err(Trouble::from(NO_ANSWER)),
        Err(error) => Err(error.into()),
    };
    node.ask_again(first, deadline, |link, turn| ask(&subject, node, link, turn, deadline, &op))
        .await
}

/// Asks the node on this connection.
async fn ask(
    subject: &Subject,
    node: &Arc<Node>,
    link: Link,
    turn: Turn,
    deadline: Instant,
    op: &Op,
) -> Result<Reply, Trouble> {
    // Whoever waited for a connection must not take a lock that nobody waits for any more.
    if clock::now() >= deadline && !matches!(op, Op::Release { .. }) {
        return Err(Trouble::from("not connected in time"));
    }
    let dialect = subject.dialect.of(link.compare);
    let reply = ask_in(subject, node, &link, dialect, op, &[Form::Sha1, Form::Text]).await?;
    // Of a repeated `SET NX` it is not known whether the first one is in its way.
    let is_ambiguous = turn == Turn::Repeated && is_plain_acquire(dialect, op);
    if is_ambiguous && matches!(reply, Reply::Refused { .. }) {
        return Err(Trouble::from("the connection broke"));
    }
    Ok(reply)
}

const fn is_plain_acquire(dialect: Dialect, op: &Op) -> bool {
    matches!((dialect, op), (Dialect::Plain { .. }, Op::Acquire { .. }))
}

const NO_ANSWER: &str = "the answer is none that the protocol knows";

/// Sends the command by the hash of its script, and with the script if the node does not have it.
async fn ask_in(
    subject: &Subject,
    node: &Arc<Node>,
    link: &Link,
    dialect: Dialect,
    op: &Op,
    forms: &[Form],
) -> Result<Reply, Trouble> {
    for form in forms {
        let op = subject.by_now(op);
        let command = encode(subject, dialect, &op, *form)?;
        match value::decode(node.send(link, command).await, |value| dialect.decode(&op, value))? {
            Answer::Reply(Reply::Unknown) => break,
            Answer::Reply(reply) => return Ok(reply),
            Answer::ScriptMissing => {}
        }
    }
    Err(Trouble::from(NO_ANSWER))
}

fn encode(subject: &Subject, dialect: Dialect, op: &Op, form: Form) -> Result<redis::Cmd, Trouble> {
    let wire = subject.resources.wire(dialect).map_err(Trouble::of)?;
    let mut buffer = vec![0; wire.buffer_len()];
    Ok(command(&wire.encode(op, form, &mut buffer).map_err(Trouble::of)?))
}

/// A command of redis-rs with these parts.
pub(crate) fn command(args: &Args<'_>) -> redis::Cmd {
    let args = args.as_slice();
    let mut command = redis::Cmd::with_capacity(args.len(), args.iter().map(|arg| arg.len()).sum());
    for arg in args {
        command.arg(*arg);
    }
    command
}
