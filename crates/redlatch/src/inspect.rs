//! A look at a lock from outside.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redlatch_core::Quorum;
use redlatch_core::wire::{self, Form, Sighting, Value};

use crate::clock;
use crate::drive::Subject;
use crate::failure::{Failure, Trouble};
use crate::flight::command;
use crate::node::{Link, Node};
use crate::value;

/// How long a node may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the nodes know of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What they amount to.
    pub state: LockState,
    /// What each node said, in the order in which the nodes were given.
    pub nodes: Vec<NodeSighting>,
}

/// Whether a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockState {
    /// A majority has no key: it can be taken.
    Free,
    /// A majority has one token in its keys.
    Held {
        /// How long a majority still has it, if it is not extended; `None` if it never expires.
        remaining: Option<Duration>,
    },
    /// Neither: it is being taken or released, or too few nodes answered.
    Undecided,
}

/// What one node knows of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSighting {
    /// The node's name.
    pub node: Arc<str>,
    /// What it said, or why it did not.
    pub sighting: Result<NodeState, String>,
}

/// Whether one node has a key for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It has none.
    Free {
        /// The last fence that it gave out, if it has one on record.
        fence: Option<u64>,
    },
    /// It has one.
    Taken {
        /// How long the key still lives; `None` if it never expires.
        remaining: Option<Duration>,
        /// The last fence that it gave out, if it has one on record.
        fence: Option<u64>,
    },
}

impl Inspection {
    pub(crate) fn unknown(nodes: &[Arc<Node>]) -> Self {
        let nodes = nodes.iter().map(|node| NodeSighting {
            node: node.name().clone(),
            sighting: Err("the client has ended".to_owned()),
        });
        Self { state: LockState::Undecided, nodes: nodes.collect() }
    }
}

pub(crate) async fn inspect(subject: Arc<Subject>, quorum: Quorum) -> Inspection {
    let looks = subject.nodes.iter().map(|node| ask(node, |link| look(&subject, node, link)));
    let sightings = join_all(looks).await;
    let state = state(quorum, sightings.iter().flatten());
    let nodes = subject.nodes.iter().zip(sightings).map(|(node, sighting)| NodeSighting {
        node: node.name().clone(),
        sighting: sighting.map(|s| node_state(&s)).map_err(|failure| failure.to_string()),
    });
    Inspection { state, nodes: nodes.collect() }
}

/// Held if a majority has the same token, until the q-th largest of their remaining times has passed.
fn state<'a>(quorum: Quorum, sightings: impl Iterator<Item = &'a Sighting> + Clone) -> LockState {
    let majority = quorum.majority();
    if sightings.clone().filter(|sighting| sighting.holder.is_none()).count() >= majority {
        return LockState::Free;
    }
    for holder in sightings.clone().filter_map(|sighting| sighting.holder) {
        let same = sightings.clone().filter(|sighting| sighting.holder == Some(holder));
        let mut remaining: Vec<_> =
            same.map(|sighting| sighting.remaining.unwrap_or(Duration::MAX)).collect();
        if remaining.len() >= majority {
            remaining.sort_unstable();
            let remaining = remaining[remaining.len() - majority];
            let remaining = (remaining < Duration::MAX).then_some(remaining);
            return LockState::Held { remaining };
        }
    }
    LockState::Undecided
}

fn node_state(sighting: &Sighting) -> NodeState {
    let fence = sighting.fence.map(redlatch_core::Fence::get);
    match sighting.holder {
        None => NodeState::Free { fence },
        Some(_) => NodeState::Taken { remaining: sighting.remaining, fence },
    }
}

async fn look(subject: &Subject, node: &Node, link: Link) -> Result<Sighting, Trouble> {
    let wire = subject.resources.wire(subject.dialect.of(link.compare)).map_err(Trouble::of)?;
    for form in [Form::Sha1, Form::Text] {
        let mut buffer = vec![0; wire.buffer_len() * 2];
        let command = command(&wire.encode_inspect(form, &mut buffer).map_err(Trouble::of)?);
        let value = node.send(&link, command).await.and_then(redis::Value::extract_error);
        match value {
            Ok(value) => {
                return value::with_value(&value, |value| wire.decode_inspect(value))
                    .ok_or_else(|| Trouble::from("the answer is none that the protocol knows"));
            }
            Err(error) if error.code() == Some("NOSCRIPT") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Trouble::from("the node does not keep scripts"))
}

/// Tells each node that it is new; the names of those that believed it.
pub(crate) async fn declare_fresh(nodes: Arc<[Arc<Node>]>) -> Vec<Arc<str>> {
    let told = join_all(nodes.iter().map(|node| ask(node, |link| tell_fresh(node, link)))).await;
    let fresh = nodes.iter().zip(told).filter(|(_, told)| matches!(told, Ok(Fresh::Believed)));
    fresh.map(|(node, _)| node.name().clone()).collect()
}

enum Fresh {
    Believed,
    SeenBefore,
}

async fn tell_fresh(node: &Node, link: Link) -> Result<Fresh, Trouble> {
    let mut buffer = [0; 32];
    let encoded = wire::encode_declare_fresh(Form::Text, &mut buffer).map_err(Trouble::of)?;
    let value = node.send(&link, command(&encoded)).await.and_then(redis::Value::extract_error)?;
    Ok(match value::with_value(&value, |value| matches!(value, Value::Array([Value::Int(1)]))) {
        true => Fresh::Believed,
        false => Fresh::SeenBefore,
    })
}

async fn ask<T, F: Future<Output = Result<T, Trouble>>>(
    node: &Arc<Node>,
    question: impl Fn(Link) -> F,
) -> Result<T, Failure> {
    let timeout = Failure::from("no answer within 1 s");
    let answer = node.ask(clock::now().saturating_add(TIMEOUT), |link, _| question(link));
    tokio::time::timeout(TIMEOUT, answer).await.unwrap_or(Err(timeout))
}
