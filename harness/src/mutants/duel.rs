//! Two clients in lock-step: what only time can show, and no search over orders.
//!
//! Every message takes a millisecond, and of two that reach a node at the same moment, that of the
//! client whose number has the node's parity is first. So each attempt is a tie, for as long as both
//! clients wait equally long before the next.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use redlatch_core::{Command, CommandId, Config, Event, Instant, Quorum, Reply, Retry, Ttl};

use crate::model::BoundsError;
use crate::node::nobody;
use crate::system::{Machine, NodeCell};

/// The retries that two clients are given to break a tie: far more than chance needs.
const ATTEMPTS: NonZeroU32 = NonZeroU32::new(64).expect("64 is not zero");
/// Longer than so many attempts take.
const TURNS_MAX: usize = 100_000;
const NODES: usize = 4;
const MILLI: u64 = 1_000_000;

/// How a duel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duel {
    /// When the first client was granted the lock; `None` if none ever was.
    pub granted_at: Option<Duration>,
    /// Attempts that were lost before.
    pub ties: usize,
    /// Messages and timers.
    pub turns: usize,
}

/// Two machines, four nodes, and what is on its way between them.
#[derive(Debug)]
struct Field<M, C> {
    clients: [M; 2],
    nodes: [C; NODES],
    /// By arrival, then by precedence.
    turns: BTreeMap<(u64, usize, usize), Turn>,
    count: usize,
    ties: usize,
    granted_at: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Arrive(usize, Command),
    Answer(usize, CommandId, Reply),
}

/// Lets two clients ask for a lock on four nodes at the same moment.
///
/// # Errors
/// [`BoundsError`] if the core refuses the configuration.
pub fn duel<M: Machine, C: NodeCell>() -> Result<Duel, BoundsError> {
    let config = Config::new(Quorum::of(NODES)?, Ttl::from_millis(10_000)?)?
        .with_retry(Retry::attempts(ATTEMPTS));
    let mut field = Field {
        clients: [M::new(config), M::new(config)],
        nodes: [C::default(); NODES],
        turns: BTreeMap::new(),
        count: 0,
        ties: 0,
        granted_at: None,
    };
    for client in 0..2 {
        let nonce = [client as u8 + 1; 16];
        field.input(client, MILLI, |machine, now| {
            // The machine is new, so it is idle.
            let _ = machine.acquire(now, nonce, None);
        });
    }
    while field.granted_at.is_none() && field.count < TURNS_MAX && field.turn() {}
    let granted_at = field.granted_at.map(Duration::from_nanos);
    Ok(Duel { granted_at, ties: field.ties, turns: field.count })
}

impl<M: Machine, C: NodeCell> Field<M, C> {
    /// Does what is next; `false` if nothing is.
    fn turn(&mut self) -> bool {
        self.count += 1;
        let message = self.turns.first_key_value().map(|(key, _)| key.0);
        let timers = [0, 1].map(|client| self.clients[client].poll_timeout());
        let timer = (0..2).filter_map(|c| Some((timers[c]?.as_nanos(), c))).min();
        match (message, timer) {
            (None, None) => return false,
            (at, Some((due, client))) if at.is_none_or(|at| due < at) => {
                self.input(client, due, M::handle_timeout);
            }
            (_, _) => self.deliver(),
        }
        true
    }

    fn deliver(&mut self) {
        let Some(((at, ..), turn)) = self.turns.pop_first() else { return };
        match turn {
            Turn::Arrive(client, command) => {
                let node = command.id.node().index();
                let reply = self.nodes[node].apply(at / MILLI, &command.op, &mut nobody);
                self.send(at, client, node, Turn::Answer(client, command.id, reply));
            }
            Turn::Answer(client, id, reply) => {
                self.input(client, at, |machine, now| machine.handle_reply(now, id, reply));
            }
        }
    }

    fn send(&mut self, now: u64, client: usize, node: usize, turn: Turn) {
        let precedence = (client + node) % 2;
        self.count += 1;
        self.turns.insert((now + MILLI, precedence, self.count), turn);
    }

    fn input(&mut self, client: usize, now: u64, input: impl FnOnce(&mut M, Instant)) {
        input(&mut self.clients[client], Instant::from_nanos(now));
        while let Some(command) = self.clients[client].poll_command() {
            self.send(now, client, command.id.node().index(), Turn::Arrive(client, command));
        }
        match self.clients[client].poll_event() {
            Some(Event::Granted(_)) => self.granted_at = Some(now),
            Some(Event::Retrying { .. } | Event::Failed { .. }) => self.ties += 1,
            Some(
                Event::Extended(_) | Event::AtRisk { .. } | Event::Lost { .. } | Event::Released(_),
            )
            | None => {}
        }
    }
}
