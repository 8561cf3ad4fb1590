//! A lock that is held: the nodes' promises, and their extension.

use crate::attempt::Attempt;
use crate::command::{Command, CommandId, Kind, Op, Reply};
use crate::config::Config;
use crate::event::{Event, Loss};
use crate::lease::{Fence, Lease, Promises, Token};
use crate::quorum::{NodeSet, Tally, Verdict, Vote};
use crate::renewal;
use crate::round::Round;
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hold {
    token: Token,
    fence: Option<Fence>,
    /// Nodes that may have the token.
    asked: NodeSet,
    promises: Promises,
    /// When the longest hold ends (R14).
    hold_until: Instant,
    /// When the last key has expired by itself.
    expires_at: Instant,
    extension: Extension,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Extension {
    Resting,
    /// The next one starts by itself then.
    Due(Instant),
    Running(Round),
}

impl Hold {
    /// The hold that a won attempt leads to.
    pub(crate) fn granted(
        config: &Config,
        now: Instant,
        attempt: &Attempt,
        fence: Option<Fence>,
        expires_at: Instant,
    ) -> Self {
        let mut promises = Promises::NONE;
        for node in attempt.holding() {
            promises.extend(node, attempt.valid_until(config));
        }
        Self::start(config, now, attempt.token(), fence, attempt.asked(), promises, expires_at)
    }

    /// A lease that was granted elsewhere. Which nodes promised is not known, but that a majority
    /// promised this is, so no q-th largest promise comes out later than the lease's end.
    pub(crate) fn adopted(
        config: &Config,
        now: Instant,
        lease: &Lease,
        expires_at: Instant,
    ) -> Self {
        let nodes = config.quorum().nodes();
        let mut promises = Promises::NONE;
        for node in nodes {
            promises.extend(node, lease.valid_until);
        }
        Self::start(config, now, lease.token, lease.fence, nodes, promises, expires_at)
    }

    fn start(
        config: &Config,
        now: Instant,
        token: Token,
        fence: Option<Fence>,
        asked: NodeSet,
        promises: Promises,
        expires_at: Instant,
    ) -> Self {
        let hold_until = match config.renewal() {
            Some(renewal) => now.plus_nanos(renewal.hold_max_nanos()),
            None => Instant::MAX,
        };
        let extension = Extension::Resting;
        let mut hold = Self { token, fence, asked, promises, hold_until, expires_at, extension };
        hold.schedule_renewal(config, now);
        hold
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) const fn asked(&self) -> NodeSet {
        self.asked
    }

    pub(crate) const fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// Until when the lock is held: computed from the promises each time, never stored (R11).
    pub(crate) fn valid_until(&self, config: &Config) -> Instant {
        self.promises.valid_until(config.quorum()).min(self.hold_until)
    }

    pub(crate) fn lease(&self, config: &Config) -> Lease {
        Lease { token: self.token, fence: self.fence, valid_until: self.valid_until(config) }
    }

    /// Why the lease is over, if it is (R11).
    pub(crate) fn loss(&self, config: &Config, now: Instant) -> Option<Loss> {
        if now >= self.hold_until {
            Some(Loss::HoldMax)
        } else if self.promises.hold(config.quorum(), now) {
            None
        } else {
            Some(Loss::Expired)
        }
    }

    pub(crate) const fn has_commands(&self) -> bool {
        match &self.extension {
            Extension::Running(round) => !round.unsent.is_empty(),
            Extension::Resting | Extension::Due(_) => false,
        }
    }

    pub(crate) fn poll_command(&mut self, config: &Config) -> Option<Command> {
        let Extension::Running(round) = &mut self.extension else { return None };
        let op = Op::Extend { token: self.token, ttl: config.ttl(), fence: self.fence };
        round.poll(self.token, Kind::Extend, op)
    }

    /// When the next thing happens by itself.
    pub(crate) fn timeout(&self, config: &Config) -> Instant {
        let extension = match &self.extension {
            Extension::Resting => Instant::MAX,
            Extension::Due(at) => *at,
            Extension::Running(round) => round.deadline,
        };
        extension.min(self.valid_until(config))
    }

    /// Starts an extension, or does nothing if one is running.
    pub(crate) fn extend(&mut self, config: &Config, now: Instant, number: u32) {
        if matches!(self.extension, Extension::Running(_)) {
            return;
        }
        let deadline = now.plus_nanos(config.node_timeout_nanos()).min(self.valid_until(config));
        let mut round = Round::new(number, now, deadline, self.asked);
        // Nodes that were never asked for the lock have no key to extend.
        round.tally.unknown = config.quorum().nodes().minus(self.asked);
        self.extension = Extension::Running(round);
        self.expires_at =
            self.expires_at.max(now.plus_nanos(config.drift().expiry_nanos(config.ttl())));
    }

    /// Whether the next extension is due.
    pub(crate) fn extension_due(&self, now: Instant) -> bool {
        matches!(self.extension, Extension::Due(at) if now >= at)
    }

    pub(crate) fn on_reply(&mut self, config: &Config, id: &CommandId, reply: &Reply) {
        let applied = matches!(reply, Reply::Applied { .. });
        // R1: any yes to an acquire or an extension of this lease is a promise counted from its own
        // sending, however late it comes, and whichever round it answers.
        if applied && matches!(id.kind, Kind::Acquire | Kind::Extend) {
            self.promises.extend(id.node, id.sent.plus_nanos(config.validity_nanos()));
        }
        let Extension::Running(round) = &mut self.extension else { return };
        // R7: as a vote it counts for its own round only.
        if id.kind == Kind::Extend && id.round == round.number {
            round.tally.record(
                id.node,
                match reply {
                    Reply::Applied { .. } => Vote::Applied,
                    Reply::Refused { .. } => Vote::Refused,
                    Reply::Unknown | Reply::Quarantined { .. } => Vote::Unknown,
                },
            );
        }
    }

    /// Ends the running extension when its round is decided (R8, R9).
    pub(crate) fn settle(&mut self, config: &Config, now: Instant) -> Option<Event> {
        let Extension::Running(round) = &mut self.extension else { return None };
        round.expire(now);
        let tally = round.tally;
        match config.quorum().verdict(&tally) {
            Verdict::Pending => None,
            Verdict::Won => {
                self.extension = Extension::Resting;
                self.schedule_renewal(config, now);
                Some(Event::Extended(self.lease(config)))
            }
            Verdict::Lost => Some(self.missed(config, now, tally)),
        }
    }

    /// R10: a miss changes nothing but when to try again.
    fn missed(&mut self, config: &Config, now: Instant, tally: Tally) -> Event {
        let lease = self.lease(config);
        let at = renewal::try_again_at(now, lease.valid_until, config.validity_nanos());
        self.extension = Extension::Due(at);
        Event::AtRisk { lease, tally }
    }

    fn schedule_renewal(&mut self, config: &Config, now: Instant) {
        let promised_until = self.promises.valid_until(config.quorum());
        if config.renewal().is_some() && promised_until < self.hold_until {
            let at = renewal::renew_at(now, promised_until, config.validity_nanos());
            self.extension = Extension::Due(at);
        }
    }
}
