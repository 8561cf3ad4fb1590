//! The state machine: one resource, one holder.

use core::fmt;
use core::time::Duration;

use crate::attempt::{Attempt, Decision};
use crate::cleanup::{Cleanup, Then, release};
use crate::command::{Command, CommandId, Kind, Reply};
use crate::config::Config;
use crate::event::{Cause, Event, Loss, WrongPhase};
use crate::hold::Hold;
use crate::lease::{Fence, Lease, Proposal, Token};
use crate::queue::{CAN_QUEUE, Calls, Place};
use crate::quorum::{NodeId, NodeSet, Tally};
use crate::time::Instant;

/// One client's side of one lock: a state machine without I/O, clock, or randomness.
///
/// The methods are of three kinds:
///
/// - *inputs*: [`acquire`](Self::acquire), [`extend`](Self::extend) and [`release`](Self::release) from
///   the application; [`handle_reply`](Self::handle_reply), [`handle_timeout`](Self::handle_timeout) and,
///   if it listens to the nodes, [`handle_call`](Self::handle_call) and
///   [`handle_listening`](Self::handle_listening) from the driver. Each takes `now` first;
/// - *outputs*: [`poll_command`](Self::poll_command), [`poll_event`](Self::poll_event) and
///   [`poll_timeout`](Self::poll_timeout);
/// - *questions*, which change nothing: [`lease`](Self::lease), [`is_valid`](Self::is_valid),
///   [`is_idle`](Self::is_idle).
///
/// # The driver's duty
///
/// Call one input. Drain `poll_command`, then `poll_event`. Sleep until `poll_timeout` or the next
/// reply, whichever comes first; compare the clock with `poll_timeout` before trusting a timer. Read
/// `now` before the first byte of a command can leave, from a clock that counts suspended time. Hand a
/// reply to the `Lock` that gave out its command.
///
/// Harmless: polling twice, a timeout that is early, a reply that is late, repeated, stale, or from
/// an unknown node. A `now` that goes backwards counts as the largest seen (R17). Equal inputs in equal
/// states give equal outputs, and each call does bounded work. While any output is undrained,
/// `poll_timeout` answers the last `now`, so a driver that forgot to drain spins visibly.
///
/// # States
///
/// ```text
///            acquire                      majority, in time
///   Idle ───────────────▶ Acquiring ──────────────────────────▶ Held ──┐ extend, renewal
///    ▲                     ▲      │ lost (R8): release all (R4)  │  ▲───┘ (a miss changes nothing, R10)
///    │        retry_at, or │      ▼                              │
///    │  called by majority └── Waiting                           │ release: Released follows
///    │               (R18)        │                              │
///    │                            │ no further try: Failed       │ valid_until: Lost, for good (R11)
///    │ every node free of         ▼                              │
///    └─ the token, or expired ─ Releasing ◀──────────────────────┘
/// ```
///
/// A copy of a `Lock` is a fork of its state, for simulators and model checkers. A driver must drive
/// one copy only, or two holders would have one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    config: Config,
    /// The latest instant seen (R17).
    now: Instant,
    /// Rounds so far; the number of the latest.
    rounds: u32,
    /// Attempts so far; the number of the latest.
    attempts: u32,
    /// Attempts since `acquire` was called.
    tries: u32,
    request: Request,
    /// What nodes said of the place in their queues.
    calls: Calls,
    phase: Phase,
    /// A node that turned out to hold the token of an attempt given up long ago (R6). It is asked to
    /// release it once; one slot is enough for a driver that drains after each input.
    late: Option<(NodeId, Token)>,
    event: Option<Event>,
}

// Many thousands fit into a cache, and a model checker hashes it whole.
const _: () = assert!(size_of::<Lock>() <= 528);

/// What `acquire` was called with, and how it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Request {
    nonce: Nonce,
    proposal: Option<Proposal>,
    started: Instant,
    /// The place in the queues of the nodes, if it waits there.
    place: Option<Place>,
    /// The largest fence that any node reported.
    heard: u64,
}

/// What makes tokens unique, and is as secret as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Nonce([u8; 16]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Acquiring(Attempt),
    /// The last attempt is being undone, and the next one begins at `retry_at`.
    Waiting {
        retry_at: Instant,
        cause: Cause,
        tally: Tally,
        cleanup: Cleanup,
    },
    Held(Hold),
    Releasing(Cleanup),
}

impl Lock {
    /// An idle lock.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            now: Instant::ZERO,
            rounds: 0,
            attempts: 0,
            tries: 0,
            request: Request {
                nonce: Nonce([0; 16]),
                proposal: None,
                started: Instant::ZERO,
                place: None,
                heard: 0,
            },
            calls: Calls::NEW,
            phase: Phase::Idle,
            late: None,
            event: None,
        }
    }

    /// A lock that holds a lease which another `Lock` was granted and has handed over. That one must
    /// neither extend nor release it any more, `config` must be the one it was granted with, and
    /// `lease.valid_until` must be an instant of this holder's clock.
    ///
    /// A lease that has ended is [`Lost`](Event::Lost) at once: it cannot be revived (R11).
    #[must_use]
    pub fn adopt(config: Config, now: Instant, lease: &Lease) -> Self {
        let mut lock = Self::new(config);
        lock.now = now;
        lock.attempts = lease.token.attempt();
        lock.request.nonce = Nonce(lease.token.nonce());
        // What the other one sent last may have been done at this moment; or long ago, with a longer ttl.
        let expiry_nanos = config.drift().expiry_nanos(config.ttl());
        let margin_nanos = expiry_nanos.saturating_sub(config.validity_nanos());
        let expires_at =
            now.plus_nanos(expiry_nanos).max(lease.valid_until.plus_nanos(margin_nanos));
        lock.phase = Phase::Held(Hold::adopted(&config, now, lease, expires_at));
        lock.advance(now);
        lock
    }

    /// The place that an [`acquire`](Self::acquire) takes in the queues of the nodes while it waits, from
    /// its next refusal on; without one, which is how a lock begins, it asks from time to time. Calls of the
    /// nodes are then to be handed to [`handle_call`](Self::handle_call). It is kept until another is set.
    pub const fn set_place(&mut self, place: Option<Place>) {
        self.request.place = place;
    }

    /// Starts to acquire the lock, with `nonce` of 16 random bytes that are never used again (R3),
    /// and with a `proposal` if a fence is wanted (R15). Ends with [`Event::Granted`] or
    /// [`Event::Failed`].
    ///
    /// # Errors
    /// [`WrongPhase::NotIdle`] unless the lock is [idle](Self::is_idle).
    pub fn acquire(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        proposal: Option<Proposal>,
    ) -> Result<(), WrongPhase> {
        self.advance(now);
        if !self.is_idle() {
            return Err(WrongPhase::NotIdle);
        }
        let place = self.request.place;
        self.request =
            Request { nonce: Nonce(nonce), proposal, started: self.now, place, heard: 0 };
        self.tries = 0;
        self.calls.take();
        // News of an earlier acquire that nobody asked for are no answer to this one.
        self.event = None;
        self.begin_attempt();
        Ok(())
    }

    /// Starts to extend the lease by the ttl, or joins the extension that is under way. Ends with
    /// [`Event::Extended`], or [`Event::Lost`] if it does not succeed in time; each miss on the way is
    /// an [`Event::AtRisk`] (R10).
    ///
    /// # Errors
    /// [`WrongPhase::NotHeld`] if the lock is not held.
    pub fn extend(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.advance(now);
        let Phase::Held(hold) = &mut self.phase else { return Err(WrongPhase::NotHeld) };
        self.rounds = self.rounds.wrapping_add(1);
        hold.extend(&self.config, self.now, self.rounds);
        Ok(())
    }

    /// Gives the lock up: it is not held from this call on, before the first release is handed out
    /// (R12). Ends with [`Event::Released`]; or, if the lock was still being acquired, with
    /// [`Event::Failed`] and [`Cause::Cancelled`].
    ///
    /// # Errors
    /// [`WrongPhase::Idle`] if nothing is held or being acquired, as after [`Event::Lost`].
    pub fn release(&mut self, now: Instant) -> Result<(), WrongPhase> {
        // Whoever gives up a wait begins no attempt that is due: it would know nothing of what is owed.
        let _is_due = self.catch_up(now);
        match self.phase {
            Phase::Idle | Phase::Releasing(_) => return Err(WrongPhase::Idle),
            Phase::Acquiring(attempt) => {
                let nodes = attempt.asked().union(self.calls.take().asked());
                self.undo(attempt.token(), nodes, self.expiry(), Then::Nothing);
                self.emit(Event::Failed { cause: Cause::Cancelled, tally: attempt.tally() });
            }
            Phase::Waiting { cleanup, tally, .. } => {
                self.leave(cleanup);
                self.emit(Event::Failed { cause: Cause::Cancelled, tally });
            }
            Phase::Held(hold) => {
                // Nor are news of the lease, to whoever has given it up.
                self.event = None;
                self.undo(hold.token(), hold.asked(), hold.expires_at(), Then::Report);
            }
        }
        Ok(())
    }

    /// Takes a call: `node` keeps the key for this waiter, for a moment. It is a hint and no vote (R18):
    /// once a majority has called, a waiter's next attempt begins. At any other time it changes nothing.
    pub fn handle_call(&mut self, now: Instant, node: NodeId) {
        self.advance(now);
        let quorum = self.config.quorum();
        if !quorum.nodes().contains(node) {
            return;
        }
        match &mut self.phase {
            Phase::Acquiring(_) => self.calls.on_call(node),
            // Nobody else is in a queue: what it waits for is no release.
            Phase::Waiting { cleanup, .. } if cleanup.queues() => {
                self.calls.on_call(node);
                if self.calls.is_our_turn(quorum) {
                    self.retry_at_once();
                }
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Held(_) | Phase::Releasing(_) => {}
        }
    }

    /// Tells a waiter that calls are heard from now on, for a driver that began to listen when it was first
    /// refused, and left its place out until then: its next attempt begins, and if that is lost as well, its
    /// releases take the place (R18). The last attempt waits for its time, because no place comes of it. At
    /// any other time it changes nothing.
    pub fn handle_listening(&mut self, now: Instant) {
        self.advance(now);
        let can_be_called = self.tries.saturating_add(1) < self.config.retry().attempts_max();
        if matches!(&self.phase, Phase::Waiting { cleanup, .. } if can_be_called && cleanup.queues())
        {
            self.retry_at_once();
        }
    }

    /// Takes the reply to the command with this `id`.
    pub fn handle_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        self.advance(now);
        if !self.config.quorum().nodes().contains(id.node) {
            return;
        }
        match &mut self.phase {
            Phase::Acquiring(attempt) if attempt.token() == id.token => {
                self.request.heard = self.request.heard.max(fence_of(&reply));
                attempt.on_reply(&self.config, self.now, &id, &reply);
                self.settle_attempt();
            }
            Phase::Held(hold) if hold.token() == id.token => {
                hold.on_reply(&self.config, &id, &reply);
                self.settle_extension();
            }
            Phase::Waiting { cleanup, .. } | Phase::Releasing(cleanup)
                if cleanup.token() == id.token && id.kind == Kind::Release =>
            {
                cleanup.on_reply(&id, &reply);
                self.note_place(&id, &reply);
                self.settle_cleanup();
            }
            Phase::Idle
            | Phase::Acquiring(_)
            | Phase::Waiting { .. }
            | Phase::Held(_)
            | Phase::Releasing(_) => {
                let applied = matches!(reply, Reply::Applied { .. });
                if applied && id.kind != Kind::Release {
                    self.release_late(id.node, id.token);
                }
            }
        }
    }

    /// Does what is due at `now`. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// The next command to carry out. Drain it after each input.
    pub fn poll_command(&mut self) -> Option<Command> {
        let node_timeout_nanos = self.config.node_timeout_nanos();
        if let Some((node, token)) = self.late.take() {
            self.rounds = self.rounds.wrapping_add(1);
            // Only this request's waiter has a place: what an earlier one left is released, not queued.
            let is_ours = CAN_QUEUE && token.nonce() == self.request.nonce.0;
            let waits = match self.phase {
                Phase::Acquiring(_) => true,
                Phase::Waiting { cleanup, .. } => cleanup.queues(),
                Phase::Idle | Phase::Held(_) | Phase::Releasing(_) => false,
            };
            let place = self.request.place.filter(|_| is_ours && waits);
            if is_ours {
                self.calls.on_release(node, place);
            }
            return Some(release(token, place, self.rounds, self.now, node, node_timeout_nanos));
        }
        match &mut self.phase {
            Phase::Idle => None,
            Phase::Acquiring(attempt) => attempt.poll_command(&self.config),
            Phase::Held(hold) => hold.poll_command(&self.config),
            Phase::Waiting { cleanup, .. } | Phase::Releasing(cleanup) => {
                let place = self.request.place.filter(|_| cleanup.queues());
                let command = cleanup.poll_command(place, node_timeout_nanos)?;
                self.calls.on_release(command.id.node, place);
                Some(command)
            }
        }
    }

    /// What the application should be told. Drain it after each input, when the commands are drained:
    /// there is one slot, and the next event overwrites it.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless another input comes first; `None`
    /// if nothing is going to happen by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_undrained() {
            return Some(self.now);
        }
        let at = match &self.phase {
            Phase::Idle => Instant::MAX,
            Phase::Acquiring(attempt) => attempt.timeout(&self.config),
            Phase::Waiting { retry_at, cleanup, .. } => cleanup.timeout().min(*retry_at),
            Phase::Held(hold) => hold.timeout(&self.config),
            Phase::Releasing(cleanup) => cleanup.timeout(),
        };
        (at < Instant::MAX).then_some(at)
    }

    /// The lease, while the lock is held as far as the last input knew.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        match &self.phase {
            Phase::Held(hold) => Some(hold.lease(&self.config)),
            Phase::Idle | Phase::Acquiring(_) | Phase::Waiting { .. } | Phase::Releasing(_) => None,
        }
    }

    /// Whether the lock is held at `now`. Computed, never stored: it is right even if no timer fired
    /// (R11).
    #[must_use]
    pub fn is_valid(&self, now: Instant) -> bool {
        self.lease().is_some_and(|lease| now.max(self.now) < lease.valid_until)
    }

    /// Whether nothing is held, being acquired, or being undone. A late yes to a command of a dead
    /// token makes an idle lock busy again, until its node has released it (R6).
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// What the lock was configured with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Moves the clock on (R17) and does what has become due. Every input begins with it, so that no
    /// reply is looked at before the deadline that it missed.
    fn advance(&mut self, now: Instant) {
        if self.catch_up(now) {
            self.retry();
        }
    }

    /// The same, but for an attempt that has become due; whether one has.
    fn catch_up(&mut self, now: Instant) -> bool {
        self.now = self.now.max(now);
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Acquiring(attempt) => {
                if self.now >= attempt.timeout(&self.config) {
                    self.settle_attempt();
                }
            }
            Phase::Waiting { retry_at, cleanup, .. } => {
                cleanup.advance(self.now, &mut self.rounds);
                return self.now >= *retry_at;
            }
            Phase::Held(hold) => {
                if let Some(loss) = hold.loss(&self.config, self.now) {
                    self.lose(loss);
                } else {
                    self.settle_extension();
                    self.extend_if_due();
                }
            }
            Phase::Releasing(cleanup) => {
                cleanup.advance(self.now, &mut self.rounds);
                self.settle_cleanup();
            }
        }
        false
    }

    fn begin_attempt(&mut self) {
        self.attempts = self.attempts.wrapping_add(1);
        self.rounds = self.rounds.wrapping_add(1);
        self.tries += 1;
        self.calls.on_attempt(self.config.quorum());
        let Request { nonce, proposal, started, heard, .. } = self.request;
        let elapsed = self.now.saturating_duration_since(started);
        let give_up_at = self.config.retry().attempt_ends_by(started, self.tries);
        self.phase = Phase::Acquiring(Attempt::new(
            &self.config,
            self.now,
            self.rounds,
            Token::new(nonce.0, self.attempts),
            proposal.map(|proposal| proposal.advanced(elapsed, heard)),
            give_up_at,
        ));
    }

    fn settle_attempt(&mut self) {
        let Phase::Acquiring(attempt) = &mut self.phase else { return };
        match attempt.decide(&self.config, self.now) {
            Decision::Pending => {}
            Decision::Won { fence } => self.grant(fence),
            Decision::Lost { cause } => self.lose_attempt(cause),
        }
    }

    fn grant(&mut self, fence: Option<Fence>) {
        let Phase::Acquiring(attempt) = &self.phase else { return };
        let hold = Hold::granted(&self.config, self.now, attempt, fence, self.expiry());
        self.phase = Phase::Held(hold);
        self.calls.take();
        self.emit(Event::Granted(hold.lease(&self.config)));
    }

    /// R4: whatever comes next, the attempt is undone first.
    fn lose_attempt(&mut self, cause: Cause) {
        let Phase::Acquiring(attempt) = self.phase else { return };
        let tally = attempt.tally();
        let useful = attempt.useful_after(self.config.quorum());
        self.calls.on_lost(&tally);
        let is_contended = matches!(cause, Cause::Contended { .. });
        let queues = CAN_QUEUE && is_contended && self.request.place.is_some();
        let then = if queues { Then::Queue } else { Then::Nothing };
        let Some(at) = self.retry_at(&attempt.token(), useful, then) else {
            let nodes = attempt.asked().union(self.calls.take().asked());
            self.undo(attempt.token(), nodes, self.expiry(), Then::Nothing);
            self.emit(Event::Failed { cause, tally });
            return;
        };
        let cleanup = self.cleanup(attempt.token(), attempt.asked(), self.expiry(), then);
        self.phase = Phase::Waiting { retry_at: at, cause, tally, cleanup };
        self.emit(Event::Retrying { at, cause, tally });
    }

    /// The next attempt, unless the timer came so late that the wait is over (R13).
    fn retry(&mut self) {
        let Phase::Waiting { cause, tally, cleanup, .. } = self.phase else { return };
        if self.now < self.give_up_at() {
            self.begin_attempt();
            return;
        }
        self.leave(cleanup);
        self.emit(Event::Failed { cause, tally });
    }

    /// Ends a wait before its time.
    fn retry_at_once(&mut self) {
        let Phase::Waiting { retry_at, cleanup, .. } = &mut self.phase else { return };
        *retry_at = self.now;
        // R4: not before what this very input lost is undone; then the timeout is due.
        if !cleanup.has_commands() {
            self.retry();
        }
    }

    /// Ends a wait that comes to nothing. Every node that may keep a place of it is asked once more.
    fn leave(&mut self, mut cleanup: Cleanup) {
        cleanup.leave_queues();
        let queues = self.calls.take().asked();
        if queues.is_empty() {
            self.phase = Phase::Releasing(cleanup);
            self.settle_cleanup();
        } else {
            let nodes = cleanup.owed().union(queues);
            self.undo(cleanup.token(), nodes, cleanup.expires_at(), Then::Nothing);
            if let Phase::Releasing(cleanup) = &mut self.phase {
                cleanup.start_over();
            }
        }
    }

    /// A node that confirms a place calls in time: once a majority does, a waiter asks less often.
    fn note_place(&mut self, id: &CommandId, reply: &Reply) {
        let give_up_at = self.give_up_at();
        let Phase::Waiting { retry_at, cause, cleanup, .. } = &mut self.phase else { return };
        let Cause::Contended { retry_after } = *cause else { return };
        if !cleanup.queues() || !matches!(reply, Reply::Applied { .. }) {
            return;
        }
        let quorum = self.config.quorum();
        let was_queued = self.calls.will_be_called(quorum);
        self.calls.on_queued(id.node);
        if self.calls.will_be_called(quorum) && !was_queued && !self.calls.is_our_turn(quorum) {
            let retry = self.config.retry();
            let token = cleanup.token();
            *retry_at = retry.called_at(self.now, give_up_at, *retry_at, &token, retry_after);
        }
    }

    fn retry_at(&self, token: &Token, useful: Option<Duration>, then: Then) -> Option<Instant> {
        // Tokens are never repeated, not even after 2^32 attempts.
        if self.attempts == u32::MAX {
            return None;
        }
        let (retry, give_up_at) = (self.config.retry(), self.give_up_at());
        let at = retry.retry_at(self.now, give_up_at, self.tries, token, useful)?;
        let is_called = then == Then::Queue && self.calls.is_our_turn(self.config.quorum());
        Some(if is_called { self.now } else { at })
    }

    fn give_up_at(&self) -> Instant {
        self.config.retry().give_up_at(self.request.started)
    }

    fn settle_extension(&mut self) {
        let Phase::Held(hold) = &mut self.phase else { return };
        if let Some(event) = hold.settle(&self.config, self.now) {
            self.emit(event);
        }
    }

    fn extend_if_due(&mut self) {
        let Phase::Held(hold) = &mut self.phase else { return };
        if hold.extension_due(self.now) {
            self.rounds = self.rounds.wrapping_add(1);
            hold.extend(&self.config, self.now, self.rounds);
        }
    }

    /// R11: told by the deadline, and terminal. The keys may outlive the lease, so they are released.
    fn lose(&mut self, loss: Loss) {
        let Phase::Held(hold) = self.phase else { return };
        let lease = hold.lease(&self.config);
        self.undo(hold.token(), hold.asked(), hold.expires_at(), Then::Nothing);
        self.emit(Event::Lost { lease, loss });
    }

    /// Every way out of acquiring and holding passes here. The phase changes first: when the first
    /// release is handed out, nothing is believed any more (R12).
    fn undo(&mut self, token: Token, nodes: NodeSet, expires_at: Instant, then: Then) {
        let cleanup = self.cleanup(token, nodes, expires_at, then);
        self.phase = Phase::Releasing(cleanup);
        self.settle_cleanup();
    }

    fn cleanup(
        &mut self,
        token: Token,
        nodes: NodeSet,
        expires_at: Instant,
        then: Then,
    ) -> Cleanup {
        let node_timeout_nanos = self.config.node_timeout_nanos();
        let rounds = &mut self.rounds;
        Cleanup::new(self.now, rounds, node_timeout_nanos, token, nodes, expires_at, then)
    }

    fn settle_cleanup(&mut self) {
        let (Phase::Releasing(cleanup) | Phase::Waiting { cleanup, .. }) = &mut self.phase else {
            return;
        };
        let report = cleanup.report(self.config.quorum());
        let done = cleanup.is_done();
        if let Some(released) = report {
            self.emit(Event::Released(released));
        }
        if done && matches!(self.phase, Phase::Releasing(_)) {
            self.phase = Phase::Idle;
        }
    }

    /// R6: one more release for a node that applied a command of a dead token.
    fn release_late(&mut self, node: NodeId, token: Token) {
        let expires_at = self.expiry();
        match &mut self.phase {
            Phase::Waiting { cleanup, .. } | Phase::Releasing(cleanup)
                if cleanup.token() == token =>
            {
                cleanup.reopen(self.now, &mut self.rounds, node, expires_at);
            }
            Phase::Idle => {
                let nodes = NodeSet::from_iter([node]);
                self.undo(token, nodes, expires_at, Then::Nothing);
            }
            Phase::Acquiring(_) | Phase::Waiting { .. } | Phase::Held(_) | Phase::Releasing(_) => {
                self.late = Some((node, token))
            }
        }
    }

    /// When a key that is set at this moment has expired by itself.
    fn expiry(&self) -> Instant {
        self.now.plus_nanos(self.config.drift().expiry_nanos(self.config.ttl()))
    }

    /// News of a lease that was not even known to be held yet do not displace the grant.
    fn emit(&mut self, event: Event) {
        let update = matches!(event, Event::Extended(_) | Event::AtRisk { .. });
        if !(update && matches!(self.event, Some(Event::Granted(_)))) {
            self.event = Some(event);
        }
    }

    const fn is_undrained(&self) -> bool {
        if self.event.is_some() || self.late.is_some() {
            return true;
        }
        match &self.phase {
            Phase::Idle => false,
            Phase::Acquiring(attempt) => attempt.has_commands(),
            Phase::Waiting { cleanup, .. } | Phase::Releasing(cleanup) => cleanup.has_commands(),
            Phase::Held(hold) => hold.has_commands(),
        }
    }
}

const fn fence_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Applied { fence: Some(fence) } | Reply::Refused { fence: Some(fence), .. } => {
            fence.get()
        }
        Reply::Applied { fence: None }
        | Reply::Refused { fence: None, .. }
        | Reply::Unknown
        | Reply::Quarantined { .. } => 0,
    }
}
