//! What must hold, and who looks.
//!
//! Nothing here asks the driver for more than a user could: when a guard says it is valid, and its
//! fence. Whose key it is the nodes themselves tell. Each look is taken between two looks at the guard:
//! only a guard that is valid before and after was valid in between.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redlatch::LeaseView;
use redlatch_core::Token;
use redlatch_core::wire::{MARKER, QUARANTINE};
use redlatch_harness::check::Invariant;
use redlatch_harness::embedded::{Cluster, Glimpse};
use redlatch_harness::history::History;

use super::record::{Hold, Record, What};

/// How late a loss may be told. It takes a few milliseconds; but two threads have to run, on a machine
/// that may have other things to do, and stalls of 200 ms were seen on one with four times the load that
/// it can bear.
const LOSS_LATE_MAX: Duration = Duration::from_secs(1);
/// How early: timers round.
const LOSS_EARLY_MAX: Duration = Duration::from_millis(5);

/// A key that lives for so much longer than it did was extended; clocks move it by less.
const EXTENDED_MIN: Duration = Duration::from_millis(50);

/// When a loss was told.
#[derive(Clone, Copy)]
pub(super) struct Loss {
    /// Until when the lease was good.
    pub(super) until: Instant,
    /// When a timer rang that was set to that.
    pub(super) rang: Instant,
    pub(super) told: Instant,
}

/// One who believes that a resource is theirs.
#[derive(Clone)]
struct Believer {
    hold: Hold,
    view: LeaseView,
}

/// What is known of one resource.
#[derive(Default)]
struct Ledger {
    /// Those who believe, unless their guard says that they do not.
    believers: Vec<Believer>,
    /// The largest fence of all grants that have returned.
    fence_max: u64,
    fences: HashSet<u64>,
    /// Whose token is whose, as the nodes have it.
    tokens: HashMap<Vec<u8>, Hold>,
    /// The resource itself: the largest fence that has written.
    written: u64,
    /// The key on each node, as it was seen last.
    seen: Vec<Seen>,
    /// Until when each key lived, as it was noted last.
    noted: Vec<Duration>,
}

/// Numbers for the summary.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) grants: u64,
    pub(super) refusals: u64,
    pub(super) losses: u64,
    pub(super) writes: u64,
    /// Writes of holders that had lost the lock, which the resource refused.
    pub(super) stale_writes: u64,
    pub(super) extensions: u64,
    pub(super) cancelled: u64,
    pub(super) looks: u64,
    pub(super) loss_late_max: Duration,
    pub(super) acquire_max: Duration,
}

/// Keeps the ledgers and calls out violations.
pub(super) struct Referee {
    names: Vec<String>,
    quorum: usize,
    ledgers: Mutex<Vec<Ledger>>,
    counts: Mutex<Counts>,
    record: Record,
}

impl Referee {
    pub(super) fn new(names: Vec<String>, nodes: usize) -> Self {
        let ledgers = names.iter().map(|_| Ledger::default()).collect();
        Self {
            names,
            quorum: nodes / 2 + 1,
            ledgers: Mutex::new(ledgers),
            counts: Mutex::default(),
            record: Record::new(),
        }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut lock(&self.counts));
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    pub(super) fn violation(&self, invariant: Invariant, text: String) {
        self.record.note(What::Violation { invariant, text });
    }

    /// What happened, in the words of all tiers. Acquires that were never granted are said to be those
    /// of client number `strangers`.
    pub(super) fn history(&self, strangers: usize) -> History {
        let ledgers = lock(&self.ledgers);
        let tokens = ledgers.iter().flat_map(|ledger| ledger.tokens.clone()).collect();
        drop(ledgers);
        self.record.to_history(&tokens, strangers)
    }

    /// The largest fence of all grants so far: what an acquire that begins now must exceed.
    pub(super) fn fence_floor(&self, resource: usize) -> u64 {
        lock(&self.ledgers)[resource].fence_max
    }

    /// `hold` was granted. `floor` is what [`fence_floor`](Self::fence_floor) told before it was asked
    /// for.
    pub(super) fn granted(&self, hold: Hold, floor: u64, view: &LeaseView) {
        let Hold { worker, resource, .. } = hold;
        let fence = view.fence().unwrap_or(0);
        let name = &self.names[resource];
        let until = self.record.elapsed() + view.remaining();
        self.record.note(What::Granted { hold, fence, until });
        let mut ledgers = lock(&self.ledgers);
        let ledger = &mut ledgers[resource];
        if !ledger.fences.insert(fence) {
            let text = format!("w{worker} got fence {fence} of {name}, which another grant had");
            self.violation(Invariant::FenceUnique, text);
        } else if fence <= floor {
            let text =
                format!("w{worker} got fence {fence} of {name}, but {floor} was granted before");
            self.violation(Invariant::FenceOrder, text);
        }
        ledger.fence_max = ledger.fence_max.max(fence);
        let was_valid = view.is_valid();
        for other in &ledger.believers {
            let both = was_valid && other.view.is_valid() && view.is_valid();
            if both {
                self.two_believers(other.hold, hold);
            }
        }
        ledger.believers.push(Believer { hold, view: view.clone() });
        self.count(|counts| counts.grants += 1);
    }

    fn two_believers(&self, one: Hold, other: Hold) {
        let name = &self.names[one.resource];
        let text = format!("w{} and w{} both hold {name}", one.worker, other.worker);
        self.violation(Invariant::Mutex, text);
    }

    /// The hold is over, or about to be given up.
    pub(super) fn gone(&self, hold: Hold) {
        lock(&self.ledgers)[hold.resource].believers.retain(|believer| believer.hold != hold);
    }

    /// A write reaches the resource, which refuses fences lower than the largest it has seen.
    pub(super) fn write(&self, hold: Hold, view: &LeaseView) {
        let fence = view.fence().unwrap_or(0);
        let was_valid = view.is_valid();
        let accepted = {
            let ledger = &mut lock(&self.ledgers)[hold.resource];
            let accepted = fence >= ledger.written;
            ledger.written = ledger.written.max(fence);
            accepted
        };
        let is_believer = was_valid && view.is_valid();
        self.record.note(What::Written { hold, fence, accepted });
        match (is_believer, accepted) {
            (_, true) => self.count(|counts| counts.writes += 1),
            (false, false) => self.count(|counts| counts.stale_writes += 1),
            (true, false) => {
                let name = &self.names[hold.resource];
                let text = format!("w{} holds {name}, and its write was refused", hold.worker);
                self.violation(Invariant::Resource, text);
            }
        }
    }

    /// A loss was told.
    pub(super) fn lost(&self, hold: Hold, loss: Loss) {
        let (worker, name) = (hold.worker, &self.names[hold.resource]);
        self.record.note(What::Lost { hold });
        // Where our own timer was late, so is everything on this machine.
        let late = loss.told.saturating_duration_since(loss.until.max(loss.rang));
        self.count(|counts| {
            counts.losses += 1;
            counts.loss_late_max = counts.loss_late_max.max(late);
        });
        if late > LOSS_LATE_MAX {
            let millis = late.as_millis();
            let text = format!("w{worker} was told of the loss of {name} {millis} ms late");
            self.violation(Invariant::Termination, text);
        }
        let early = loss.until.saturating_duration_since(loss.told);
        if early > LOSS_EARLY_MAX {
            let millis = early.as_millis();
            let text = format!("w{worker} was told of the loss of {name} {millis} ms too early");
            self.violation(Invariant::NoFalseLoss, text);
        }
    }

    /// An operation ended later than it may.
    pub(super) fn overdue(&self, worker: usize, what: &str) {
        self.violation(Invariant::Termination, format!("{what} of w{worker} did not end"));
    }

    /// Looks at all resources once: every believer is backed, now, by a majority of nodes that nobody
    /// else can lock, and no two believers share a resource.
    pub(super) fn look(&self, cluster: &Cluster) {
        let valid: Vec<Believer> = {
            let ledgers = lock(&self.ledgers);
            let believers = ledgers.iter().flat_map(|ledger| &ledger.believers);
            believers.filter(|believer| believer.view.is_valid()).cloned().collect()
        };
        let seen: Vec<Vec<Seen>> = cluster.look(|nodes| {
            let names = self.names.iter();
            names.map(|name| nodes.iter().map(|node| see(node, name)).collect()).collect()
        });
        let valid: Vec<Believer> =
            valid.into_iter().filter(|believer| believer.view.is_valid()).collect();
        for (index, believer) in valid.iter().enumerate() {
            let hold = believer.hold;
            let same = |other: &&Believer| other.hold.resource == hold.resource;
            if let Some(other) = valid[..index].iter().find(same) {
                self.two_believers(other.hold, hold);
            }
            self.check_witness(hold, &seen[hold.resource]);
        }
        self.note_keys(seen);
        self.count(|counts| counts.looks += 1);
    }

    fn check_witness(&self, hold: Hold, seen: &[Seen]) {
        let mut ledgers = lock(&self.ledgers);
        let ledger = &mut ledgers[hold.resource];
        let backs = |token: &[u8]| {
            let backing = |seen: &&Seen| match seen {
                Seen::Key(value, _) => value == token,
                Seen::Quarantined => true,
                Seen::Free => false,
            };
            seen.iter().filter(backing).count()
        };
        // Nobody told the token; it is the one that a majority has and nobody else ever had.
        let known =
            ledger.tokens.iter().find(|(_, of)| **of == hold).map(|(token, _)| token.clone());
        let token = known.or_else(|| {
            let fresh =
                |token: &&Vec<u8>| !ledger.tokens.contains_key(*token) && !is_reservation(token);
            let tokens = seen.iter().filter_map(Seen::token).filter(fresh);
            tokens.max_by_key(|token| backs(token)).cloned()
        });
        let backing = token.as_deref().map_or(0, backs);
        if backing >= self.quorum {
            ledger.tokens.extend(token.map(|token| (token, hold)));
            return;
        }
        drop(ledgers);
        let (name, worker, quorum) = (&self.names[hold.resource], hold.worker, self.quorum);
        let text = format!(
            "w{worker} holds {name}, but only {backing} nodes keep it, of {quorum} that must"
        );
        self.violation(Invariant::Witness, text);
    }

    /// Notes which keys have changed since the last look: another owner, or more time.
    fn note_keys(&self, seen: Vec<Vec<Seen>>) {
        let mut ledgers = lock(&self.ledgers);
        let now = self.record.elapsed();
        for (resource, (ledger, seen)) in ledgers.iter_mut().zip(seen).enumerate() {
            for (node, here) in seen.iter().enumerate() {
                let (old, new) = (ledger.seen.get(node).and_then(Seen::token), here.token());
                let until = now + here.remaining();
                let is_extended =
                    ledger.noted.get(node).is_some_and(|noted| *noted + EXTENDED_MIN < until);
                if old != new || new.is_some() && is_extended {
                    self.record.note(What::Key { node, resource, token: new.cloned(), until });
                    ledger.noted.resize(seen.len(), Duration::ZERO);
                    ledger.noted[node] = until;
                }
            }
            ledger.seen = seen;
        }
    }

    /// Who holds each resource now, for the live view.
    pub(super) fn holders(&self) -> Vec<Option<(usize, u64)>> {
        let holder = |ledger: &Ledger| {
            let believer = ledger.believers.iter().find(|believer| believer.view.is_valid())?;
            Some((believer.hold.worker, believer.view.fence().unwrap_or(0)))
        };
        lock(&self.ledgers).iter().map(holder).collect()
    }
}

/// What one node knows of a resource.
enum Seen {
    /// Somebody's token, and how long the key still lives by the node's clock.
    Key(Vec<u8>, Duration),
    /// No key, and nobody can lock it.
    Quarantined,
    Free,
}

impl Seen {
    fn token(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Key(token, _) => Some(token),
            Self::Quarantined | Self::Free => None,
        }
    }

    fn remaining(&self) -> Duration {
        match self {
            Self::Key(_, remaining) => *remaining,
            Self::Quarantined | Self::Free => Duration::ZERO,
        }
    }
}

/// A node that is down is seen as it was: what it loses on the way back puts it into quarantine.
fn see(node: &Glimpse<'_>, name: &str) -> Seen {
    let knows_itself = node.redis.value(node.now, MARKER) == Some(node.redis.run_id().as_bytes());
    let is_withheld = !knows_itself || node.redis.value(node.now, QUARANTINE).is_some();
    match node.redis.value(node.now, name.as_bytes()) {
        // A release keeps a key for a waiter in quarantine too, and nobody can lock it all the same.
        Some(token) if is_withheld && is_reservation(token) => Seen::Quarantined,
        Some(token) => {
            let millis = node.redis.remaining_ms(node.now, name.as_bytes()).unwrap_or(0);
            Seen::Key(token.to_vec(), Duration::from_millis(millis))
        }
        None if is_withheld => Seen::Quarantined,
        None => Seen::Free,
    }
}

/// Whether a value only keeps its key for a waiter (R18): a nonce, with the number of no attempt.
fn is_reservation(value: &[u8]) -> bool {
    Token::from_hex(value).is_ok_and(|token| token.attempt() == 0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
