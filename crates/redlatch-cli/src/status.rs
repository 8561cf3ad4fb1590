//! `status` and `declare-fresh`: looks at the nodes that need no lease.

use std::fmt::Write as _;
use std::sync::Arc;

use redlatch::{Inspection, LockState, NodeSighting, NodeState};
use serde::Serialize;

use crate::acquire::has_quorum;
use crate::args::{DeclareFreshArgs, StatusArgs};
use crate::config::Settings;
use crate::document::VERSION;
use crate::exit::{Exit, Failure};
use crate::output::{self, human, millis};

/// The JSON of `status`.
#[derive(Serialize)]
struct Status<'a> {
    version: u32,
    resources: &'a [String],
    /// `held`, `free` or `undecided`.
    state: &'static str,
    /// How long it is still held if it is not extended; null if it is not, or never expires.
    remaining_ms: Option<u64>,
    nodes: Vec<NodeStatus<'a>>,
}

#[derive(Serialize)]
struct NodeStatus<'a> {
    node: &'a str,
    /// `taken`, `free` or `unknown`.
    state: &'static str,
    /// How long the key still lives; null if there is none, or it never expires.
    remaining_ms: Option<u64>,
    /// The last fence that the node gave out.
    fence: Option<u64>,
    /// Why the node's state is unknown.
    error: Option<&'a str>,
}

/// Tells whether a lock is held.
pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let redlatch = Settings::load(&args.nodes)?.connect()?;
    let inspection = redlatch.inspect(args.resources.clone()).await?;
    output::print(&if args.json {
        output::json(&document(&args.resources, &inspection))?
    } else {
        text(&args.resources, &inspection)
    })?;
    exit(&inspection)
}

fn exit(inspection: &Inspection) -> Result<Exit, Failure> {
    match inspection.state {
        LockState::Held { .. } => Ok(Exit::Done),
        LockState::Free => Ok(Exit::Free),
        LockState::Undecided | _ => Err(if has_quorum(inspection) {
            let why = "the lock is just being taken or released; look again";
            Failure::new(Exit::Contended, why)
        } else {
            let why = "too few nodes answered; see to those that did not";
            Failure::new(Exit::NoQuorum, why)
        }),
    }
}

fn document<'a>(resources: &'a [String], inspection: &'a Inspection) -> Status<'a> {
    let (state, remaining_ms) = match inspection.state {
        LockState::Free => ("free", None),
        LockState::Held { remaining } => ("held", remaining.map(millis)),
        LockState::Undecided | _ => ("undecided", None),
    };
    let nodes = inspection.nodes.iter().map(node_status).collect();
    Status { version: VERSION, resources, state, remaining_ms, nodes }
}

fn node_status(node: &NodeSighting) -> NodeStatus<'_> {
    let (state, remaining_ms, fence, error) = match &node.sighting {
        Ok(NodeState::Free { fence }) => ("free", None, *fence, None),
        Ok(NodeState::Taken { remaining, fence }) => ("taken", remaining.map(millis), *fence, None),
        Ok(_) => ("unknown", None, None, None),
        Err(error) => ("unknown", None, None, Some(error.as_str())),
    };
    NodeStatus { node: &node.node, state, remaining_ms, fence, error }
}

fn text(resources: &[String], inspection: &Inspection) -> String {
    let state = match inspection.state {
        LockState::Free => "free".to_owned(),
        LockState::Held { remaining: Some(remaining) } => {
            format!("held, for {} more unless it is extended", human(remaining))
        }
        LockState::Held { remaining: None } => "held, without end".to_owned(),
        LockState::Undecided | _ => "undecided".to_owned(),
    };
    let mut text = format!("{}: {state}\n", resources.join(", "));
    for NodeSighting { node, sighting } in &inspection.nodes {
        let (said, fence) = match sighting {
            Ok(NodeState::Free { fence }) => ("free".to_owned(), *fence),
            Ok(NodeState::Taken { remaining: Some(remaining), fence }) => {
                (format!("taken, for {} more", human(*remaining)), *fence)
            }
            Ok(NodeState::Taken { remaining: None, fence }) => {
                ("taken, without end".to_owned(), *fence)
            }
            Ok(_) => ("unknown".to_owned(), None),
            Err(error) => (format!("unknown ({error})"), None),
        };
        let fence = fence.map(|fence| format!("; last fence {fence}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {node}: {said}{fence}");
    }
    text
}

/// The JSON of `declare-fresh`.
#[derive(Serialize)]
struct Fresh<'a> {
    version: u32,
    /// The names of the nodes that are fresh now.
    fresh: Vec<&'a str>,
}

/// Lets new nodes vote at once.
pub(crate) async fn declare_fresh(args: DeclareFreshArgs) -> Result<Exit, Failure> {
    let settings = Settings::load(&args.nodes)?;
    let fresh: Vec<Arc<str>> = settings.connect()?.declare_fresh().await;
    output::print(&if args.json {
        output::json(&Fresh {
            version: VERSION,
            fresh: fresh.iter().map(|name| &**name).collect(),
        })?
    } else {
        fresh.iter().map(|name| format!("{name}\n")).collect()
    })?;
    let (fresh, all) = (fresh.len(), settings.nodes_count());
    if fresh == all {
        Ok(Exit::Done)
    } else {
        // The driver does not tell these two apart.
        let why = "the others had been seen before, or did not answer";
        let message = format!("{fresh} of {all} nodes are fresh now; {why}");
        Err(Failure::new(Exit::NoQuorum, message))
    }
}
