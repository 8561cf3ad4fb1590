//! What a lock may and must do, worked out slowly from the commands that it handed out and the replies
//! that it got. It shares no arithmetic with the machine, and keeps everything for ever.

use redlatch_core::{
    Cause, Command, Event, Fence, Instant, Lease, NODES_MAX, Op, Place, Reply, Token,
};

use crate::run::token_of;
use crate::story::{MILLI, Setup};

/// Says what is wrong, if `right` is false.
macro_rules! ensure {
    ($right:expr, $($wrong:tt)+) => {
        if !$right {
            return Err(format!($($wrong)+));
        }
    };
}
pub(crate) use ensure;

pub(crate) type Check = Result<(), String>;

/// A command and when it was handed out: the earliest time at which its first byte could leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    pub(crate) command: Command,
    pub(crate) at: u64,
    pub(crate) answered: bool,
    /// How many extensions of the token had begun.
    pub(crate) extensions: usize,
}

pub(crate) struct Oracle {
    setup: Setup,
    /// Every token seen, oldest first.
    pub(crate) tokens: Vec<History>,
    /// When the current `acquire` began, and how many tokens were seen before it.
    acquire: Option<(u64, usize)>,
    /// The place in the queues of the nodes, as the driver set it.
    place: Option<Place>,
    /// The nonce of the current `acquire`.
    nonce: [u8; 16],
    /// By node: the nonce that it was told to queue, and not that its waiter waits no longer.
    queued: [Option<[u8; 16]>; NODES_MAX],
    /// Nodes that called since the latest attempt began.
    called: [bool; NODES_MAX],
    /// The wait between two attempts.
    wait: Option<Wait>,
    /// Calls are heard from now on, so that the wait is over at once, if it is one in queues.
    listening: bool,
    /// The latest attempt began before its time.
    is_early: bool,
    /// It began when a majority had called.
    is_called: bool,
    /// Everything was drained after every input so far.
    is_tidy: bool,
}

/// What was told of the wait between two attempts.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// When the next attempt begins, if nobody calls.
    at: u64,
    /// From when on it may begin as well, so that a place in queues is not gone.
    renews_at: u64,
    /// It cannot be due earlier than this, unless somebody has called.
    floor: u64,
    /// It is in the queues, and called.
    queues: bool,
    called: [bool; NODES_MAX],
}

/// All that happened to one token.
pub(crate) struct History {
    pub(crate) token: Token,
    fenced: bool,
    /// The deadline of its acquire commands.
    deadline: u64,
    nodes: [Node; NODES_MAX],
    extensions: usize,
    /// The latest of them, until it is told how it ended.
    extension: Option<Extension>,
    /// The one before, if the same input ended it.
    before: Option<Extension>,
    /// When its lease was granted.
    granted: Option<u64>,
    /// It can never be valid (again).
    pub(crate) over: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// When it was sent the acquire command.
    asked: Option<u64>,
    released: bool,
    /// Its key may live as long as this, if the latest command that sets it was done at once.
    lives_until: u64,
    /// It said since then that the token is not in its key.
    freed: bool,
    said: Option<Said>,
    /// The latest that it may be relied on, counting every yes that it ever gave (R1).
    promised_at_most: u64,
    /// The same, counting only what has to count: before the grant, the first definite answer (R7).
    promised_at_least: u64,
    /// The fence numbers that it reported with the token in its key.
    reports: Vec<Fence>,
    /// The largest of them that has to count: of its answers to the acquire command, the first definite.
    number: u64,
    /// It said, when it was asked to seal, that the token is not in its key.
    gone: bool,
}

/// One extension and its votes.
#[derive(Clone, Debug)]
struct Extension {
    deadline: u64,
    asked: [bool; NODES_MAX],
    said: [Option<Said>; NODES_MAX],
}

/// The answer to a command that counts as a vote: the first definite one, else not knowing (R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Applied,
    Refused,
    Unknown,
}

impl Oracle {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            setup: setup.clone(),
            tokens: Vec::new(),
            acquire: None,
            place: None,
            nonce: [0; 16],
            queued: [None; NODES_MAX],
            called: [false; NODES_MAX],
            wait: None,
            listening: false,
            is_early: false,
            is_called: false,
            is_tidy: true,
        }
    }

    fn of(&mut self, token: &Token) -> Option<&mut History> {
        self.tokens.iter_mut().find(|history| history.token == *token)
    }

    /// Attempts of the current `acquire` that were handed out.
    fn tries(&self) -> usize {
        self.tokens.len() - self.acquire.map_or(0, |(_, first)| first)
    }

    fn tries_max(&self) -> usize {
        match (self.setup.attempts_max, self.setup.wait) {
            (None, None) => 1,
            (None, Some(_)) => usize::MAX,
            (Some(max), _) => max as usize,
        }
    }

    /// An `acquire` call was accepted.
    pub(crate) fn acquire_began(&mut self, now: u64, nonce: [u8; 16]) {
        self.nonce = nonce;
        self.acquire = Some((now, self.tokens.len()));
        self.called = [false; NODES_MAX];
        (self.wait, self.is_early, self.is_called) = (None, false, false);
    }

    pub(crate) fn place_set(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// Not everything is drained any more.
    pub(crate) fn untidy(&mut self) {
        self.is_tidy = false;
    }

    /// The next attempt is due, so that what comes at `now` comes after it began.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.wait.as_ref().is_some_and(|wait| now >= wait.at)
    }

    /// A node called.
    pub(crate) fn on_call(&mut self, node: usize) {
        if node < self.setup.nodes {
            self.called[node] = true;
            if let Some(wait) = &mut self.wait {
                wait.called[node] = true;
            }
        }
    }

    /// Calls are heard from now on, which the last attempt does not care for.
    pub(crate) fn on_listening(&mut self) {
        self.listening = self.tries() + 1 < self.tries_max();
    }

    /// It hears calls since the latest input, so that the next attempt is due (R18).
    pub(crate) fn is_due_at_once(&mut self) -> bool {
        self.listening &= self.wait.as_ref().is_some_and(|wait| wait.queues);
        self.listening
    }

    /// An attempt of the current acquire begins, which is not its first: it is due, calls are heard from
    /// now on, or a majority called; and it does not answer calls if the one before did (R18).
    fn attempt_began(&mut self, now: u64) -> Check {
        let calls = count(&self.called);
        self.called = [false; NODES_MAX];
        let listening = core::mem::take(&mut self.listening);
        let Some(wait) = self.wait.take() else { return Ok(()) };
        let is_called = calls >= self.setup.majority();
        let is_due = now >= wait.at.min(wait.renews_at) && wait.at >= wait.floor;
        let is_early = wait.queues && !listening && !is_due;
        ensure!(wait.queues || now >= wait.at, "an attempt at {now}, not at {wait:?} (R13)");
        ensure!(
            !is_early || is_called,
            "an attempt at {now}, {calls} nodes called: {wait:?} (R18)"
        );
        ensure!(!(is_early && self.is_early), "called at {now}, and spinning: {wait:?} (R18)");
        (self.is_early, self.is_called) = (is_early, is_called);
        Ok(())
    }

    /// Whoever is called does not go on waiting (R18). Holds when everything is drained.
    pub(crate) fn check_called(&self) -> Check {
        let Some(wait) = &self.wait else { return Ok(()) };
        let calls = count(&wait.called);
        let hears = wait.queues && !self.is_early && !self.is_called;
        ensure!(
            !hears || calls < self.setup.majority(),
            "called, and still waiting: {wait:?} (R18)"
        );
        Ok(())
    }

    /// No node is left that keeps the place of one that does not wait (R18).
    pub(crate) fn check_left(&self, how: &str) -> Check {
        let left = self.queued.iter().position(Option::is_some);
        ensure!(left.is_none(), "the wait is {how}, and node {left:?} was not told (R18)");
        Ok(())
    }

    /// A lease was taken over: a majority promised it, nobody knows which.
    pub(crate) fn adopted(&mut self, now: u64, lease: &Lease) {
        let mut history = History::new(lease.token, lease.fence.is_some(), 0);
        for node in &mut history.nodes[..self.setup.nodes] {
            node.asked = Some(now);
            node.promised_at_most = lease.valid_until.as_nanos();
        }
        history.granted = Some(now);
        self.tokens.push(history);
    }

    /// The latest token is being acquired: neither granted nor given up.
    pub(crate) fn attempt(&self) -> Option<&History> {
        self.tokens.last().filter(|history| history.granted.is_none() && !history.over)
    }

    /// The token of `command` can never be valid (again).
    pub(crate) fn is_over(&self, command: &Command) -> bool {
        let token = token_of(&command.op);
        self.tokens.iter().any(|history| history.token == token && history.over)
    }

    /// A command is handed out while `lease` is held.
    pub(crate) fn on_command(
        &mut self,
        now: u64,
        command: &Command,
        lease: Option<Lease>,
    ) -> Check {
        let index = command.id.node().index();
        ensure!(index < self.setup.nodes, "{command:?} is for a node that there is not");
        let deadline = command.deadline.as_nanos();
        let lives_until = now.saturating_add(self.setup.ttl_ms * MILLI);
        let limit = now.saturating_add(self.setup.node_timeout);
        ensure!(deadline <= limit, "{command:?} may take longer than a node may (R9)");
        match command.op {
            Op::Acquire { token, ttl, proposal } => {
                ensure!(
                    u64::from(ttl.as_millis()) == self.setup.ttl_ms,
                    "{command:?}: another ttl"
                );
                ensure!(lease.is_none(), "{command:?} while the lock is held");
                if self.of(&token).is_none() {
                    if self.is_tidy {
                        self.attempt_began(now)?;
                    }
                    self.tokens.push(History::new(token, proposal.is_some(), deadline));
                }
                ensure!(
                    self.tries() <= self.tries_max(),
                    "{command:?} is one attempt too many (R13)"
                );
                let is_last = self.tokens.last().is_some_and(|history| history.token == token);
                ensure!(is_last, "{command:?} is of an earlier attempt (R3)");
                let Some(history) = self.of(&token) else { return Ok(()) };
                ensure!(!history.over, "{command:?} has a token that was given up (R3)");
                ensure!(history.granted.is_none(), "{command:?} has a token of a lease (R3)");
                history.nodes[index].sets_key(lives_until);
                let asked = history.nodes[index].asked.replace(now);
                ensure!(asked.is_none(), "{command:?} was handed out before");
            }
            Op::Seal { token, fence } => {
                let Some(history) = self.of(&token) else {
                    return Err(format!("{command:?} has a token from nowhere"));
                };
                ensure!(history.fenced, "{command:?} of a lock without a fence");
                ensure!(!history.over, "{command:?} has a token that was given up");
                let number = history.nodes[index].number;
                ensure!(number > 0, "{command:?}, but the node does not hold the token");
                ensure!(number < fence.get(), "{command:?}, but the node reported {number}");
                let reported = history.nodes.iter().any(|node| node.reports.contains(&fence));
                ensure!(reported, "{command:?}, but no node reported that number");
            }
            Op::Extend { token, ttl, fence } => {
                ensure!(
                    u64::from(ttl.as_millis()) == self.setup.ttl_ms,
                    "{command:?}: another ttl"
                );
                let held = lease.is_some_and(|lease| lease.token == token && lease.fence == fence);
                ensure!(held, "{command:?}, but what is held is {lease:?} (R10)");
                let Some(history) = self.of(&token) else { return Ok(()) };
                ensure!(history.nodes[index].asked.is_some(), "{command:?}: it was never asked");
                if history.extension.as_ref().is_some_and(|extension| extension.asked[index]) {
                    history.before = history.extension.take();
                }
                let extension = history.extension.get_or_insert_with(|| {
                    history.extensions += 1;
                    Extension { deadline, asked: [false; NODES_MAX], said: [None; NODES_MAX] }
                });
                extension.asked[index] = true;
                history.nodes[index].sets_key(lives_until);
            }
            Op::Release { token, place } => {
                ensure!(place.is_none() || place == self.place, "{command:?}: another place");
                ensure!(place.is_none() || lease.is_none(), "{command:?} of a holder (R18)");
                let waits = place.is_none() || token.nonce() == self.nonce;
                ensure!(waits, "{command:?}, and nobody waits with that nonce (R18)");
                if place.is_some() {
                    self.queued[index] = Some(token.nonce());
                } else if self.queued[index] == Some(token.nonce()) {
                    self.queued[index] = None;
                }
                if let Some(lease) = lease {
                    ensure!(!undoes(&token, &lease.token), "{command:?} of what is held (R12)");
                }
                let leaves = self.tokens.iter().any(|history| undoes(&token, &history.token));
                let Some(history) = self.of(&token) else {
                    // An attempt that was given up before it began, by one that was queued before.
                    ensure!(leaves && place.is_none(), "{command:?} has a token from nowhere");
                    return Ok(());
                };
                history.over = true;
                history.nodes[index].released = true;
            }
        }
        Ok(())
    }

    /// A command was answered.
    pub(crate) fn on_reply(&mut self, handed: &Handed, reply: &Reply) {
        let promise = handed.at.saturating_add(self.setup.validity());
        let index = handed.command.id.node().index();
        let is_applied = matches!(reply, Reply::Applied { .. });
        match handed.command.op {
            Op::Acquire { token, .. } => {
                let Some(history) = self.of(&token) else { return };
                let node = &mut history.nodes[index];
                let is_without = matches!(reply, Reply::Applied { fence: None });
                let says = if is_without && history.fenced { Said::Unknown } else { said(reply) };
                let counts = vote(&mut node.said, says);
                if is_applied {
                    node.promised_at_most = node.promised_at_most.max(promise);
                }
                if (counts && says == Said::Applied) || (is_applied && history.granted.is_some()) {
                    node.promised_at_least = node.promised_at_least.max(promise);
                }
                node.hear(reply, counts);
            }
            Op::Seal { token, .. } => {
                let Some(history) = self.of(&token) else { return };
                let node = &mut history.nodes[index];
                node.gone |= matches!(reply, Reply::Refused { .. });
                node.hear(reply, true);
            }
            Op::Extend { token, .. } => {
                let Some(history) = self.of(&token) else { return };
                if let Some(extension) = &mut history.extension
                    && handed.extensions == history.extensions
                {
                    vote(&mut extension.said[index], said(reply));
                }
                if is_applied {
                    let node = &mut history.nodes[index];
                    node.promised_at_most = node.promised_at_most.max(promise);
                    node.promised_at_least = node.promised_at_least.max(promise);
                }
            }
            Op::Release { token, .. } => {
                if matches!(said(reply), Said::Applied | Said::Refused) {
                    let undone = self.tokens.iter_mut().filter(|of| undoes(&token, &of.token));
                    undone.for_each(|history| history.nodes[index].freed = true);
                }
            }
        }
    }

    /// What is held after an input at `now`, if anything is.
    pub(crate) fn check_lease(&mut self, now: u64, lease: Option<Lease>, tidy: bool) -> Check {
        let Setup { nodes, validity_min, hold_max, wait, .. } = self.setup;
        let (majority, acquire) = (self.setup.majority(), self.acquire);
        let held = lease.map(|lease| lease.token);
        for history in &mut self.tokens {
            // What was granted and is held no longer will never be again (R11, R12).
            history.over |= history.granted.is_some() && held != Some(history.token);
        }
        let Some(lease) = lease else { return Ok(()) };
        let valid_until = lease.valid_until.as_nanos();
        ensure!(now < valid_until, "{lease:?} is held at {now} (R11)");
        let first = acquire.map_or(0, |(_, first)| first);
        let tries = self.tokens.len().saturating_sub(first);
        let Some(history) = self.of(&lease.token) else {
            return Err(format!("{lease:?} has a token from nowhere"));
        };
        ensure!(!history.over, "{lease:?} was given up before");
        let at_most = history.qth_largest(nodes, majority, |node| node.promised_at_most);
        ensure!(valid_until <= at_most, "{lease:?} is promised until {at_most} only (R1)");
        if history.granted.is_none() {
            ensure!(
                now.saturating_add(validity_min) < at_most,
                "{lease:?} is granted at {now}, too late (R2)"
            );
            ensure!(history.fenced == lease.fence.is_some(), "{lease:?} and its fence (R15)");
            let counting = history.nodes.iter().filter(|node| {
                node.said == Some(Said::Applied)
                    && lease.fence.is_none_or(|fence| node.reports.contains(&fence))
            });
            ensure!(counting.count() >= majority, "{lease:?} is granted by too few (R1, R15)");
            if let (true, Some((began, _)), Some(wait)) = (tidy && tries > 1, acquire, wait) {
                let in_time = now < began.saturating_add(wait);
                ensure!(in_time, "{lease:?} is granted at {now}, nobody waits for it (R13)");
            }
            history.granted = Some(now);
        }
        let hold_until = match (history.granted, hold_max) {
            (Some(granted), Some(hold_max)) => granted.saturating_add(hold_max),
            (None, _) | (_, None) => u64::MAX,
        };
        ensure!(valid_until <= hold_until, "{lease:?} lasts until {hold_until} at most (R14)");
        let at_least = history.qth_largest(nodes, majority, |node| node.promised_at_least);
        if tidy {
            let due = at_least.min(hold_until);
            ensure!(valid_until >= due, "{lease:?} ought to last until {due} (R1)");
        }
        Ok(())
    }

    /// The verdict on an attempt in progress, for a driver that drains: won or lost when all
    /// completions agree, and not before (R8).
    pub(crate) fn check_attempt(&self, now: u64, token: &Token, held: bool) -> Check {
        let Some(history) = self.tokens.iter().find(|history| history.token == *token) else {
            return Ok(());
        };
        if now >= history.deadline {
            return Ok(());
        }
        let nodes = &history.nodes[..self.setup.nodes];
        let count = |said| nodes.iter().filter(|node| node.said == said).count();
        let (yes, silent) = (count(Some(Said::Applied)), count(None));
        let won = yes >= self.setup.majority();
        let lost = yes + silent < self.setup.majority();
        let over = history.over;
        ensure!(!lost || over, "the attempt of {token:?} is lost and goes on (R8)");
        if history.fenced {
            let holding =
                || nodes.iter().filter(|node| node.said == Some(Said::Applied) && !node.gone);
            let agree = |fence| holding().filter(|node| node.reports == [fence]).count();
            let mut numbers = holding().flat_map(|node| &node.reports);
            let agreed = numbers.any(|&fence| agree(fence) >= self.setup.majority());
            ensure!(!agreed || held || over, "{token:?}: a majority has one number (R8, R15)");
        } else {
            ensure!(!won || held, "the attempt of {token:?} is won and not granted (R8)");
            ensure!(lost || won || !(held || over), "{token:?} is decided too early (R8)");
        }
        Ok(())
    }

    /// The verdict on an extension that has not ended, or that ends with `event`, for a driver that
    /// drains (R8, R10).
    fn check_extension(&mut self, now: u64, event: Option<&Event>, lease: Option<Lease>) -> Check {
        let (nodes, majority) = (self.setup.nodes, self.setup.majority());
        let Some(lease) = lease else { return Ok(()) };
        let Some(history) = self.of(&lease.token) else { return Ok(()) };
        let ended = match event {
            Some(Event::Extended(_)) => Some(true),
            Some(Event::AtRisk { .. }) => Some(false),
            Some(
                Event::Granted(_)
                | Event::Retrying { .. }
                | Event::Failed { .. }
                | Event::Lost { .. }
                | Event::Released(_),
            )
            | None => None,
        };
        let before = history.before.take();
        let is_earlier = ended.is_some() && before.is_some();
        let Some(extension) = before.or_else(|| history.extension.clone()) else {
            ensure!(ended.is_none(), "{event:?}, and nothing was extended");
            return Ok(());
        };
        let count = |says| extension.said[..nodes].iter().filter(|&&said| said == says).count();
        let (yes, silent) = (count(Some(Said::Applied)), count(None));
        let in_time = now < extension.deadline;
        match ended {
            Some(true) => ensure!(yes >= majority, "{event:?} by {yes} nodes (R7)"),
            Some(false) => {
                let missed = !in_time || yes + silent < majority;
                ensure!(missed, "{event:?}, and {silent} nodes may still make it (R8)");
            }
            None => {
                let pending = in_time && yes < majority && yes + silent >= majority;
                ensure!(pending, "an extension is decided and goes on (R8)");
            }
        }
        if ended.is_some() && !is_earlier {
            history.extension = None;
        }
        Ok(())
    }

    /// How many extensions of the latest token have begun.
    pub(crate) fn extensions(&self) -> usize {
        self.tokens.last().map_or(0, |history| history.extensions)
    }

    /// What is told after an input at `now`, after which `lease` is held.
    pub(crate) fn on_event(
        &mut self,
        now: u64,
        event: Option<&Event>,
        lease: Option<Lease>,
        tidy: bool,
    ) -> Check {
        if tidy {
            self.check_extension(now, event, lease)?;
        }
        let Some(event) = event else { return Ok(()) };
        match event {
            Event::Granted(told) => {
                self.wait = None;
                // A grant that was told late may be out of date, but not a grant of something else.
                ensure!(self.tokens.iter().any(|history| history.token == told.token), "{event:?}");
                ensure!(!tidy || lease == Some(*told), "{event:?}, but {lease:?} is held");
            }
            Event::Extended(told) | Event::AtRisk { lease: told, .. } => {
                // A late yes, at the same time as a miss, may have made it longer.
                let no_less = |lease: Lease| {
                    lease.token == told.token && lease.valid_until >= told.valid_until
                };
                ensure!(!tidy || lease.is_some_and(no_less), "{event:?}, but {lease:?} is held");
            }
            Event::Lost { lease: told, .. } => {
                ensure!(lease != Some(*told), "{event:?}, but it is held");
                if tidy {
                    ensure!(lease.is_none(), "{event:?}, but {lease:?} is held");
                    self.check_undone("lost")?;
                    self.check_left("over")?;
                }
            }
            Event::Retrying { .. } | Event::Failed { .. } => {
                ensure!(!tidy || lease.is_none(), "{event:?}, but {lease:?} is held");
                if tidy {
                    if let Some(last) = self.tokens.last_mut() {
                        last.over = true;
                    }
                    self.check_undone("given up")?;
                    self.check_wait(now, event)?;
                }
            }
            Event::Released(_) => {}
        }
        Ok(())
    }

    /// Whoever goes on waiting for a holder queues on every node, with its place if it has one; whoever
    /// waits for something else, or no longer, on none (R18).
    fn check_wait(&mut self, now: u64, event: &Event) -> Check {
        self.wait = None;
        let Event::Retrying { at, cause, .. } = event else { return self.check_left("given up") };
        let at = at.as_nanos();
        let Cause::Contended { retry_after } = *cause else {
            let called = [false; NODES_MAX];
            self.wait = Some(Wait { at, renews_at: at, floor: 0, queues: false, called });
            return self.check_left("for something else");
        };
        let queued = self.queued.iter().flatten().count();
        let queues = if self.place.is_some() { self.setup.nodes } else { 0 };
        ensure!(queued == queues, "{event:?}, and {queued} nodes know its place (R18)");
        let useful = retry_after.map_or(u64::MAX, |useful| useful.as_nanos() as u64);
        let floor = now.saturating_add(useful.min(self.setup.delay_min));
        let queues = self.place.is_some();
        let renews_at = now.saturating_add(30_000 * MILLI);
        self.wait = Some(Wait { at, renews_at, floor, queues, called: [false; NODES_MAX] });
        Ok(())
    }

    /// No token is left on any node, as far as nodes said and time tells (R12). Holds when the lock of a
    /// driver that drains is idle.
    pub(crate) fn check_idle(&self, now: u64) -> Check {
        for history in &self.tokens {
            let left = |node: &Node| node.asked.is_some() && !node.freed && now < node.lives_until;
            let left = history.nodes.iter().position(left);
            ensure!(left.is_none(), "idle, and node {left:?} may have {:?} (R12)", history.token);
        }
        Ok(())
    }

    /// Every node that was asked for the last token has been sent a release (R4, R12). Holds when a
    /// driver that drains has been told that it is over.
    pub(crate) fn check_undone(&self, how: &str) -> Check {
        let Some(last) = self.tokens.last() else { return Ok(()) };
        let owed = |node: &Node| node.asked.is_some() && !node.released;
        let left = last.nodes.iter().position(owed);
        ensure!(
            left.is_none(),
            "{:?} is {how}, and not released on node {left:?} (R4)",
            last.token
        );
        Ok(())
    }
}

impl History {
    fn new(token: Token, fenced: bool, deadline: u64) -> Self {
        let nodes = core::array::from_fn(|_| Node::default());
        Self {
            token,
            fenced,
            deadline,
            nodes,
            extensions: 0,
            extension: None,
            before: None,
            granted: None,
            over: false,
        }
    }

    fn qth_largest(&self, nodes: usize, majority: usize, of: impl Fn(&Node) -> u64) -> u64 {
        let mut promises: Vec<u64> = self.nodes[..nodes].iter().map(of).collect();
        promises.sort_by(|a, b| b.cmp(a));
        promises[majority - 1]
    }
}

impl Node {
    /// It is sent a command that sets the key.
    fn sets_key(&mut self, lives_until: u64) {
        self.lives_until = lives_until;
        self.freed = false;
    }

    fn hear(&mut self, reply: &Reply, counts: bool) {
        if let Reply::Applied { fence: Some(fence) } = reply {
            self.reports.push(*fence);
            if counts {
                self.number = self.number.max(fence.get());
            }
        }
    }
}

fn count(nodes: &[bool]) -> usize {
    nodes.iter().filter(|&&node| node).count()
}

/// What `reply` is as a vote.
const fn said(reply: &Reply) -> Said {
    match reply {
        Reply::Applied { .. } => Said::Applied,
        Reply::Refused { .. } => Said::Refused,
        Reply::Unknown | Reply::Quarantined { .. } => Said::Unknown,
    }
}

/// Counts a vote, unless there was a definite one before; whether it counts.
fn vote(place: &mut Option<Said>, says: Said) -> bool {
    let counts = matches!(place, None | Some(Said::Unknown));
    if counts {
        *place = Some(says);
    }
    counts
}

/// Whether a release of `token` deletes a key that holds `held`: the same attempt or an earlier one of
/// the same nonce.
pub(crate) fn undoes(token: &Token, held: &Token) -> bool {
    token.nonce() == held.nonce() && held.attempt() <= token.attempt()
}

/// Nanoseconds, never going backwards (R17).
pub(crate) fn latest(seen: u64, now: Instant) -> u64 {
    seen.max(now.as_nanos())
}
