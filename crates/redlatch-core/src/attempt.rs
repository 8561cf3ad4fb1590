//! One attempt to get a majority: votes, the fence, and the decision.

use core::time::Duration;

use crate::command::{Command, CommandId, Kind, Op, Reply};
use crate::config::Config;
use crate::event::Cause;
use crate::lease::{Fence, Proposal, Token, sort};
use crate::quorum::{NODES_MAX, NodeId, NodeSet, Quorum, Tally, Verdict, Vote};
use crate::round::Round;
use crate::time::{Instant, nanos};

/// Acquire commands to all nodes, and seals where their fence numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    token: Token,
    proposal: Option<Proposal>,
    round: Round,
    /// No grant from here on, because the application waits no longer (R13).
    give_up_at: Instant,
    /// How long the key of each node that refused, or is quarantined, still lives; rounded up.
    remaining_ms: [u32; NODES_MAX],
    sealing: Sealing,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Pending,
    Won { fence: Option<Fence> },
    Lost { cause: Cause },
}

impl Attempt {
    pub(crate) fn new(
        config: &Config,
        now: Instant,
        number: u32,
        token: Token,
        proposal: Option<Proposal>,
        give_up_at: Instant,
    ) -> Self {
        let mut attempt = Self {
            token,
            proposal,
            round: Round::new(number, now, Instant::ZERO, config.quorum().nodes()),
            give_up_at,
            remaining_ms: [0; NODES_MAX],
            sealing: Sealing::NONE,
        };
        attempt.round.deadline = attempt.deadline(config, now);
        attempt
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.round.tally
    }

    /// What every yes of this attempt promises: all commands were sent at one instant (R1).
    pub(crate) const fn valid_until(&self, config: &Config) -> Instant {
        self.round.sent.plus_nanos(config.validity_nanos())
    }

    /// No grant from here on: too little validity would be left (R2), or nobody waits any more (R13).
    fn limit(&self, config: &Config) -> Instant {
        self.round.sent.plus_nanos(config.grant_limit_nanos()).min(self.give_up_at)
    }

    /// The deadline of a command that is sent at `now` (R9).
    fn deadline(&self, config: &Config, now: Instant) -> Instant {
        now.plus_nanos(config.node_timeout_nanos()).min(self.limit(config))
    }

    /// R4: every node that may have been reached, whatever it answered.
    pub(crate) const fn asked(&self) -> NodeSet {
        self.round.asked
    }

    pub(crate) const fn has_commands(&self) -> bool {
        !self.round.unsent.is_empty() || !self.sealing.unsent.is_empty()
    }

    pub(crate) fn poll_command(&mut self, config: &Config) -> Option<Command> {
        let op = Op::Acquire { token: self.token, ttl: config.ttl(), proposal: self.proposal };
        if let Some(command) = self.round.poll(self.token, Kind::Acquire, op) {
            return Some(command);
        }
        let fence = Fence::new(self.sealing.mark)?;
        let node = self.sealing.unsent.pop()?;
        self.sealing.asked.insert(node);
        let id = self.round.id(node, self.token, Kind::Seal);
        Some(Command {
            id: CommandId { round: self.sealing.round(), ..id },
            op: Op::Seal { token: self.token, fence },
            deadline: self.sealing.deadline,
        })
    }

    /// When the next thing happens by itself.
    pub(crate) fn timeout(&self, config: &Config) -> Instant {
        let round = if self.round.is_open() { self.round.deadline } else { Instant::MAX };
        let seal =
            if self.sealing.open().is_empty() { Instant::MAX } else { self.sealing.deadline };
        round.min(seal).min(self.limit(config))
    }

    pub(crate) fn on_reply(
        &mut self,
        config: &Config,
        now: Instant,
        id: &CommandId,
        reply: &Reply,
    ) {
        match id.kind {
            Kind::Acquire => self.on_acquire_reply(id.node, reply),
            Kind::Seal => self.sealing.on_reply(id, reply),
            Kind::Extend | Kind::Release => return,
        }
        self.seal_where_needed(config, now);
    }

    fn on_acquire_reply(&mut self, node: NodeId, reply: &Reply) {
        let tally = &mut self.round.tally;
        if tally.applied.union(tally.refused).contains(node) {
            return;
        }
        let (vote, remaining_ms) = match reply {
            // A yes without the number that was asked for cannot count towards a fenced grant.
            Reply::Applied { fence: None } if self.proposal.is_some() => (Vote::Unknown, 0),
            Reply::Applied { fence } => {
                self.sealing.hear(node, *fence);
                (Vote::Applied, 0)
            }
            Reply::Refused { remaining, .. } => (Vote::Refused, remaining.map_or(u32::MAX, millis)),
            Reply::Unknown => (Vote::Unknown, 0),
            Reply::Quarantined { remaining } => (Vote::Quarantined, millis(*remaining)),
        };
        tally.record(node, vote);
        self.remaining_ms[node.index()] = remaining_ms;
    }

    /// Once a majority has the token, but not one number, the lower ones are raised to the largest.
    fn seal_where_needed(&mut self, config: &Config, now: Instant) {
        let holding = self.holding();
        let majority = config.quorum().majority();
        if self.proposal.is_none()
            || holding.len() < majority
            || self.sealing.best(holding).1.len() >= majority
        {
            return;
        }
        self.sealing.start(holding, self.deadline(config, now));
    }

    /// Nodes that said yes and have not said since that the token is gone.
    pub(crate) const fn holding(&self) -> NodeSet {
        self.round.tally.applied.minus(self.sealing.refused)
    }

    /// R8: won or lost as soon as arithmetic permits, at the latest when time is up.
    pub(crate) fn decide(&mut self, config: &Config, now: Instant) -> Decision {
        self.round.expire(now);
        self.sealing.expire(now);
        // R2: at the limit exactly, too little is left.
        let in_time = now < self.limit(config);
        match self.verdict(config.quorum()) {
            Verdict::Won if in_time => Decision::Won { fence: self.fence() },
            Verdict::Pending if in_time => Decision::Pending,
            Verdict::Won | Verdict::Pending | Verdict::Lost => {
                Decision::Lost { cause: self.cause(config, now) }
            }
        }
    }

    fn verdict(&self, quorum: Quorum) -> Verdict {
        if self.proposal.is_none() {
            return quorum.verdict(&self.round.tally);
        }
        let holding = self.holding();
        let (_, registered) = self.sealing.best(holding);
        if registered.len() >= quorum.majority() {
            return Verdict::Won;
        }
        let silent = self.round.silent();
        let (applied, open) = if silent.is_empty() {
            (self.sealing.registered(holding, self.sealing.mark), self.sealing.open())
        } else {
            // A silent node may report a number that all others can then be sealed to.
            (holding, silent)
        };
        let possible = applied.union(open);
        if possible.len() >= quorum.majority() { Verdict::Pending } else { Verdict::Lost }
    }

    fn fence(&self) -> Option<Fence> {
        self.proposal?;
        Fence::new(self.sealing.best(self.holding()).0)
    }

    /// Why the attempt is lost. Refusals explain it if there would be a majority without them: enough
    /// nodes answered, or still may, as when they alone rule a majority out. Then nodes in quarantine do,
    /// in the same sense; then silence.
    fn cause(&self, config: &Config, now: Instant) -> Cause {
        let quorum = config.quorum();
        let tally = self.round.tally;
        let majority = quorum.majority();
        let refused = tally.refused.union(self.sealing.refused).len();
        let reachable = quorum.nodes().minus(tally.unknown);
        if now >= self.give_up_at {
            Cause::DeadlineExceeded
        } else if now >= self.limit(config) {
            Cause::TooLate
        } else if refused > 0 && reachable.len() >= majority {
            Cause::Contended { retry_after: self.useful_after(quorum) }
        } else if !tally.quarantined.is_empty()
            && reachable.union(tally.quarantined).len() >= majority
        {
            let first = tally.quarantined.iter().map(|node| self.remaining_ms[node.index()]).min();
            Cause::Quarantined { remaining: Duration::from_millis(first.unwrap_or(0).into()) }
        } else {
            Cause::NoQuorum
        }
    }

    /// After how long a majority of keys can be free: the q-th smallest of what the nodes told (R13).
    /// A key that this attempt got is free when it is given back.
    pub(crate) fn useful_after(&self, quorum: Quorum) -> Option<Duration> {
        let tally = self.round.tally;
        let mut sorted = [u32::MAX; NODES_MAX];
        for node in self.holding().union(tally.refused).union(tally.quarantined) {
            sorted[node.index()] = self.remaining_ms[node.index()];
        }
        sort(&mut sorted);
        let millis = sorted[quorum.majority() - 1];
        (millis != u32::MAX).then(|| Duration::from_millis(millis.into()))
    }
}

/// Milliseconds, rounded up: a wait that is a fraction too short is a wasted try.
fn millis(duration: Duration) -> u32 {
    u32::try_from(nanos(duration).div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The second half of a fenced acquire: making a majority of nodes report one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sealing {
    /// The last number that each node reported with the token in its key; 0 for none.
    heard: [u64; NODES_MAX],
    /// The number that the others are raised to; 0 while nothing needs to be sealed.
    mark: u64,
    /// Of the latest seals; earlier ones that are still out may answer until then as well.
    deadline: Instant,
    unsent: NodeSet,
    asked: NodeSet,
    /// The token was gone from the key.
    refused: NodeSet,
    unknown: NodeSet,
}

impl Sealing {
    const NONE: Self = Self {
        heard: [0; NODES_MAX],
        mark: 0,
        deadline: Instant::ZERO,
        unsent: NodeSet::EMPTY,
        asked: NodeSet::EMPTY,
        refused: NodeSet::EMPTY,
        unknown: NodeSet::EMPTY,
    };

    /// A node's number never falls, so of two reports the larger is the later.
    fn hear(&mut self, node: NodeId, fence: Option<Fence>) {
        let heard = &mut self.heard[node.index()];
        *heard = fence.map_or(0, Fence::get).max(*heard);
    }

    /// Tells the seals to one mark from those to another: the mark only rises, and marks of which the
    /// low bits are equal are more than an hour of proposals apart.
    const fn round(&self) -> u32 {
        self.mark as u32
    }

    fn on_reply(&mut self, id: &CommandId, reply: &Reply) {
        let node = id.node;
        // R7: what a node did not do for a lower mark says nothing of what it does for this one.
        let current = id.round == self.round();
        if current {
            self.unsent.remove(node);
            self.asked.remove(node);
        }
        match reply {
            Reply::Applied { fence: Some(fence) } => {
                self.unknown.remove(node);
                self.hear(node, Some(*fence));
                if self.heard[node.index()] >= self.mark {
                    self.unsent.remove(node);
                    self.asked.remove(node);
                } else if current {
                    // It should have been raised; asking it again would not help.
                    self.unknown.insert(node);
                }
            }
            Reply::Refused { .. } => {
                self.unsent.remove(node);
                self.asked.remove(node);
                self.refused.insert(node);
            }
            Reply::Applied { fence: None } | Reply::Unknown | Reply::Quarantined { .. } => {
                if current {
                    self.unknown.insert(node);
                }
            }
        }
    }

    /// The nodes of `holding` that reported exactly `number` (R15): one that reported more is
    /// registered for that, not for this.
    fn registered(&self, holding: NodeSet, number: u64) -> NodeSet {
        holding.iter().filter(|node| self.heard[node.index()] == number).collect()
    }

    /// The number that most of `holding` reported, and those nodes. Of equals, the largest number.
    fn best(&self, holding: NodeSet) -> (u64, NodeSet) {
        let mut best = (0, NodeSet::EMPTY);
        for node in holding {
            let number = self.heard[node.index()];
            let registered = self.registered(holding, number);
            if (registered.len(), number) > (best.1.len(), best.0) {
                best = (number, registered);
            }
        }
        best
    }

    /// Asks the nodes of `holding` that are below the largest number heard to be raised to it.
    fn start(&mut self, holding: NodeSet, deadline: Instant) {
        let largest = holding.iter().map(|node| self.heard[node.index()]).max().unwrap_or(0);
        let behind: NodeSet =
            holding.iter().filter(|node| self.heard[node.index()] < largest).collect();
        if self.mark < largest {
            self.mark = largest;
            self.asked = NodeSet::EMPTY;
            self.unknown = NodeSet::EMPTY;
        }
        let known = self.open().union(self.unknown);
        let new = behind.minus(known);
        if !new.is_empty() {
            self.unsent = self.unsent.union(new);
            self.deadline = deadline;
        }
    }

    /// Nodes that may still answer a seal in time.
    const fn open(&self) -> NodeSet {
        self.unsent.union(self.asked)
    }

    /// R9, for seals.
    fn expire(&mut self, now: Instant) {
        if now >= self.deadline {
            self.unknown = self.unknown.union(self.open());
            self.unsent = NodeSet::EMPTY;
            self.asked = NodeSet::EMPTY;
        }
    }
}
