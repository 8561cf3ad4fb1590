//! Somebody's lock, shown broken: its release deletes the key without looking whose it is.
//!
//! Apart from that it does what Redlock asks for: one token for each try, a majority of yeses, one
//! from each node, and a deadline that counts from before the first request left.

use proptest::test_runner::{TestCaseError, TestRunner};
use redlatch_core::{Cause, Config, Event, Instant, Lease, Loss, NodeSet, Released};
use redlatch_core::{NodeId, Reply, Tally, Token};
use redlatch_harness::check::{Invariant, Invariants};
use redlatch_harness::plan::{Profile, plans};
use redlatch_harness::sim::plain::{PlainNode, PlainRequest};
use redlatch_harness::sim::{self, Client, Input, Outbox, System};

/// What is put to the test. With `COMPARES`, its release is as it should be.
struct Toy<const COMPARES: bool>;

impl<const COMPARES: bool> System for Toy<COMPARES> {
    type Request = PlainRequest;
    type Client = ToyLock<COMPARES>;
    type Node = PlainNode;

    fn client(&self, config: &Config) -> ToyLock<COMPARES> {
        ToyLock { config: *config, phase: Phase::Idle, attempts: 0 }
    }
}

#[derive(Debug)]
struct ToyLock<const COMPARES: bool> {
    config: Config,
    phase: Phase,
    attempts: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Idle,
    Acquiring { token: Token, began: Instant, yes: NodeSet, no: NodeSet },
    Held(Lease),
}

impl<const COMPARES: bool> ToyLock<COMPARES> {
    fn release(&mut self, token: Token, out: &mut Outbox<PlainRequest>) {
        self.phase = Phase::Idle;
        for node in self.config.quorum().nodes() {
            out.send(
                node.index(),
                match COMPARES {
                    true => PlainRequest::DeleteIfMine { token },
                    false => PlainRequest::Delete { token },
                },
            );
        }
    }

    fn fail(&mut self, token: Token, cause: Cause, out: &mut Outbox<PlainRequest>) {
        self.release(token, out);
        out.tell(Event::Failed { cause, tally: Tally::default() });
    }

    /// What has become due.
    fn settle(&mut self, now: Instant, out: &mut Outbox<PlainRequest>) {
        match self.phase {
            Phase::Acquiring { token, began, yes, no } => {
                let majority = self.config.quorum().majority();
                let nodes = self.config.quorum().nodes().len();
                let valid_until = began.saturating_add(self.config.validity());
                if now >= began.saturating_add(self.config.node_timeout()) || now >= valid_until {
                    self.fail(token, Cause::NoQuorum, out);
                } else if no.len() > nodes - majority {
                    self.fail(token, Cause::Contended { retry_after: None }, out);
                } else if yes.len() >= majority {
                    let lease = Lease { token, fence: None, valid_until };
                    self.phase = Phase::Held(lease);
                    out.tell(Event::Granted(lease));
                }
            }
            Phase::Held(lease) if now >= lease.valid_until => {
                self.release(lease.token, out);
                out.tell(Event::Lost { lease, loss: Loss::Expired });
            }
            Phase::Held(_) | Phase::Idle => {}
        }
    }
}

impl<const COMPARES: bool> Client for ToyLock<COMPARES> {
    type Request = PlainRequest;

    fn input(&mut self, now: Instant, input: Input<PlainRequest>, out: &mut Outbox<PlainRequest>) {
        self.settle(now, out);
        match (input, &mut self.phase) {
            (Input::Acquire { nonce, .. }, _) => {
                self.attempts += 1;
                let token = Token::new(nonce, self.attempts);
                let ttl = self.config.ttl();
                self.phase =
                    Phase::Acquiring { token, began: now, yes: NodeSet::EMPTY, no: NodeSet::EMPTY };
                for node in self.config.quorum().nodes() {
                    out.send(node.index(), PlainRequest::SetIfFree { token, ttl });
                }
            }
            (Input::Release, Phase::Acquiring { token, .. }) => {
                let token = *token;
                self.fail(token, Cause::Cancelled, out);
            }
            (Input::Release, Phase::Held(lease)) => {
                let token = lease.token;
                self.release(token, out);
                out.tell(Event::Released(Released::Confirmed));
            }
            (
                Input::Reply { node, request: PlainRequest::SetIfFree { token: of, .. }, reply },
                Phase::Acquiring { token, yes, no, .. },
            ) if of == *token => {
                let Some(node) = NodeId::new(node) else { return };
                match reply {
                    Reply::Applied { .. } => yes.insert(node),
                    Reply::Refused { .. } => no.insert(node),
                    Reply::Unknown | Reply::Quarantined { .. } => {}
                }
            }

            // It does not wait in queues, so nobody calls it.
            (Input::Call { .. }, _) => {}
            (Input::Release | Input::Reply { .. } | Input::Extend | Input::Timeout, _) => {}
        }
        self.settle(now, out);
    }

    fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Acquiring { began, .. } => {
                let timeout = self.config.node_timeout().min(self.config.validity());
                Some(began.saturating_add(timeout))
            }
            Phase::Held(lease) => Some(lease.valid_until),
        }
    }

    fn lease(&self) -> Option<Lease> {
        match self.phase {
            Phase::Held(lease) => Some(lease),
            Phase::Idle | Phase::Acquiring { .. } => None,
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }
}

/// Draws hostile plans until one shows two believers, or a believer without a majority, and makes that
/// plan simple. In a test of your own: the body of a `proptest!`.
pub(crate) fn find_a_flaw<const COMPARES: bool>() -> Option<String> {
    // A toy need not have fences, nor be tidy.
    let exclusion = Invariants::NONE.with(Invariant::Witness).with(Invariant::Mutex);
    let tested =
        TestRunner::deterministic().run(
            &plans(Profile::Synchronous),
            |plan| match sim::check_only(&plan, &Toy::<COMPARES>, exclusion) {
                Ok(_) => Ok(()),
                Err(failure) => Err(TestCaseError::fail(failure.to_string())),
            },
        );
    tested.err().map(|error| error.to_string())
}

pub(crate) fn main() {
    assert_eq!(find_a_flaw::<true>(), None);
    let flaw = find_a_flaw::<false>();
    // I1 witness at 4.010 ms: c1 believes until 98.500 ms that it holds c1.1/1, but only 1 of 3 nodes
    // back it, n0 has none, …
    println!("{}", flaw.unwrap_or_else(|| "nothing was found".into()));
}
