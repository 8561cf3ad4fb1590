//! Plays a story to a lock, and holds what comes out against the oracle.

use core::fmt;
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use redlatch_core::{
    Command, CommandId, Event, Fence, Instant, Lease, Lock, NODES_MAX, NodeId, Op, Place, Proposal,
    Reply, Token, WrongPhase,
};

use crate::oracle::{Check, Handed, Oracle, ensure, latest, undoes};
use crate::story::{Answer, Drain, Setup, Step, Story, What};

/// More timeouts than any lock needs to come to rest: 20 attempts, each with 50 releases at intervals
/// that double from 1 ns to a day, and 64 tries to renew.
const TIMEOUTS_MAX: usize = 2_000;

/// What went in and what came out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    In(u64, Input, Result<(), WrongPhase>),
    Command(Command),
    Event(Event),
    Timeout(Option<Instant>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Input {
    Acquire([u8; 16], Option<Proposal>),
    Extend,
    Release,
    Timeout,
    Place(Option<Place>),
    Call(NodeId),
    Listening,
    Reply(CommandId, Reply),
}

/// What is wrong, and how it came to it.
pub(crate) struct Failure {
    why: String,
    transcript: Vec<Line>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.why)?;
        self.transcript.iter().try_for_each(|line| writeln!(f, "    {line:?}"))
    }
}

pub(crate) struct Run {
    pub(crate) setup: Setup,
    pub(crate) lock: Lock,
    pub(crate) oracle: Oracle,
    pub(crate) handed: Vec<Handed>,
    /// The latest time seen.
    pub(crate) now: u64,
    /// What the clock read last.
    clock: Instant,
    acquires: u8,
    /// Everything was drained after every input so far.
    tidy: bool,
    transcript: Vec<Line>,
}

/// Plays `story`, and then lets the lock come to rest; the transcript, unless something is wrong.
pub(crate) fn play(story: &Story) -> Result<Vec<Line>, Failure> {
    Run::new(&story.setup).play(story)
}

impl Run {
    pub(crate) fn new(setup: &Setup) -> Self {
        let config = setup.config().expect("setups are legal");
        let mut run = Self {
            setup: setup.clone(),
            lock: Lock::new(config),
            oracle: Oracle::new(setup),
            handed: Vec::new(),
            now: 0,
            clock: Instant::from_nanos(setup.origin),
            acquires: 0,
            tidy: true,
            transcript: Vec::new(),
        };
        if let Some(left) = setup.adopted {
            let valid_until = Instant::from_nanos(setup.origin.saturating_add(left));
            let token = Token::new([0xAD; 16], 7);
            let lease = Lease { token, fence: Fence::new(left), valid_until };
            run.lock = Lock::adopt(config, run.clock, &lease);
            run.oracle.adopted(setup.origin, &lease);
            run.now = setup.origin;
        }
        let place = setup.place.map(Place::since_millis);
        run.lock.set_place(place);
        run.oracle.place_set(place);
        run
    }

    pub(crate) fn play(mut self, story: &Story) -> Result<Vec<Line>, Failure> {
        let taken_over = self.take_over(story);
        let steps = taken_over.and_then(|()| story.steps.iter().try_for_each(|s| self.step(s)));
        let end = steps.and_then(|()| self.rest());
        let transcript = self.transcript;
        match end {
            Ok(()) => Ok(transcript),
            Err(why) => Err(Failure { why, transcript }),
        }
    }

    /// To adopt a lease is an input like any other: it may be lost at once, and its releases are due then.
    fn take_over(&mut self, story: &Story) -> Check {
        if self.setup.adopted.is_none() {
            return Ok(());
        }
        if story.steps.iter().all(|step| matches!(step.drain, Drain::Everything)) {
            return self.drain(None);
        }
        self.tidy = false;
        self.oracle.untidy();
        Ok(())
    }

    pub(crate) fn step(&mut self, step: &Step) -> Check {
        let valid_until = self.lock.lease().map(|lease| lease.valid_until);
        let timeout = self.lock.poll_timeout();
        let now = step.when.read(&self.setup, self.clock, timeout, valid_until);
        self.clock = now;
        match step.what {
            What::Acquire { proposal } => {
                self.acquires = self.acquires.wrapping_add(1);
                let proposal = proposal.and_then(|micros| Proposal::from_unix_micros(micros).ok());
                self.input(now, Input::Acquire([self.acquires; 16], proposal), step.drain)
            }
            What::Extend => self.input(now, Input::Extend, step.drain),
            What::Release => self.input(now, Input::Release, step.drain),
            What::Timeout => self.input(now, Input::Timeout, step.drain),
            What::Place { since } => {
                self.input(now, Input::Place(since.map(Place::since_millis)), step.drain)
            }
            What::Call { node } => self.call(now, node.into(), step.drain),
            What::Calls { nodes } => (0..NODES_MAX)
                .filter(|node| nodes & (1 << node) != 0)
                .try_for_each(|node| self.call(now, node, step.drain)),
            What::Listening => self.input(now, Input::Listening, step.drain),
            What::Answer { which, answer } => {
                let open = self.handed.iter().enumerate().filter(|(_, handed)| !handed.answered);
                let open: Vec<usize> = open.map(|(index, _)| index).collect();
                match pick(&open, which.into()) {
                    Some(&index) => self.answer(now, index, answer, step.drain),
                    None => self.input(now, Input::Timeout, step.drain),
                }
            }
            What::Repeat { which, answer } => {
                let all: Vec<usize> = (0..self.handed.len()).collect();
                match pick(&all, which.into()) {
                    Some(&index) => self.answer(now, index, answer, step.drain),
                    None => self.input(now, Input::Timeout, step.drain),
                }
            }
            What::Answers { nodes, answer } => {
                for index in 0..self.handed.len() {
                    let handed = &self.handed[index];
                    let node = handed.command.id.node().index();
                    if !handed.answered && nodes & (1 << node) != 0 {
                        self.answer(now, index, answer, step.drain)?;
                    }
                }
                Ok(())
            }
            What::Stranger { which, answer } => self.stranger(now, which, answer, step.drain),
        }
    }

    /// A node calls, which is the same as the passing of time unless the lock waits (R18).
    fn call(&mut self, now: Instant, node: usize, drain: Drain) -> Check {
        let Some(node) = NodeId::new(node) else { return Ok(()) };
        let mut as_if_none = self.lock;
        as_if_none.handle_timeout(now);
        let mut called = self.lock;
        apply(&mut called, now, &Input::Call(node)).ok();
        let is_known = node.index() < self.setup.nodes;
        ensure!(called == as_if_none || is_known, "the call of an unknown {node:?} counts (R18)");
        let lease = |lock: &Lock| lock.lease();
        ensure!(lease(&called) == lease(&as_if_none), "the call of {node:?} is a vote (R18)");
        self.input(now, Input::Call(node), drain)
    }

    /// Drives the lock by timeouts alone until it rests.
    pub(crate) fn rest(&mut self) -> Check {
        self.drain(None)?;
        for _ in 0..TIMEOUTS_MAX {
            let Some(at) = self.lock.poll_timeout() else { break };
            let before = self.lock;
            self.input(at, Input::Timeout, Drain::Everything)?;
            ensure!(self.lock != before, "the timeout {at:?} is due, and does nothing");
        }
        let timeout = self.lock.poll_timeout();
        ensure!(timeout.is_none(), "after {TIMEOUTS_MAX} timeouts there is one more: {timeout:?}");
        ensure!(self.lock.is_idle(), "nothing is due, and the lock is not idle: {:?}", self.lock);
        Ok(())
    }

    /// Hands in the reply to the command at `index`.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        index: usize,
        answer: Answer,
        drain: Drain,
    ) -> Check {
        let handed = self.handed[index];
        let reply = answer.reply(&handed.command.op);
        let is_late = self.oracle.is_over(&handed.command);
        self.handed[index].answered = true;
        self.oracle.on_reply(&handed, &reply);
        let before = self.handed.len();
        let input = Input::Reply(handed.command.id, reply);
        self.input(now, input, drain)?;
        let is_release = matches!(handed.command.op, Op::Release { .. });
        if is_late && matches!(reply, Reply::Applied { .. }) && !is_release && self.tidy {
            let node = handed.command.id.node();
            let token = token_of(&handed.command.op);
            let undone = self.handed[before..].iter().any(|handed| match handed.command.op {
                Op::Release { token: released, .. } => {
                    handed.command.id.node() == node && undoes(&released, &token)
                }
                Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } => false,
            });
            ensure!(
                undone,
                "{node:?} has the token of {input:?} and is not told to release it (R6)"
            );
        }
        Ok(())
    }

    /// An answer of a node that the lock does not have: the same as none (R7).
    fn stranger(&mut self, now: Instant, which: u8, answer: Answer, drain: Drain) -> Check {
        let mut as_if_none = self.lock;
        as_if_none.handle_timeout(now);
        let Some(stranger) = self.stranger_command(which) else {
            return self.input(now, Input::Timeout, drain);
        };
        let input = Input::Reply(stranger.id, answer.reply(&stranger.op));
        let mut lock = self.lock;
        apply(&mut lock, now, &input).ok();
        ensure!(lock == as_if_none, "{input:?} of an unknown node changed something (R7)");
        self.input(now, input, drain)
    }

    /// A command like those of this lock, to a node that it does not have: from a lock with the same
    /// latest token and as many nodes as there can be.
    fn stranger_command(&self, which: u8) -> Option<Command> {
        let config = self.setup.config_of(NODES_MAX).ok()?;
        let token = self.oracle.tokens.last()?.token;
        let now = Instant::from_nanos(self.now);
        let mut other = Lock::new(config);
        if which.is_multiple_of(2) && token.attempt() == 1 {
            other.acquire(now, token.nonce(), None).ok()?;
        } else {
            let valid_until = Instant::from_nanos(self.now.saturating_add(1));
            other = Lock::adopt(config, now, &Lease { token, fence: None, valid_until });
            other.extend(now).ok()?;
        }
        let commands: Vec<Command> = core::iter::from_fn(|| other.poll_command()).collect();
        pick(commands.get(self.setup.nodes..)?, which.into()).copied()
    }

    /// One input, and all that must hold after it.
    pub(crate) fn input(&mut self, now: Instant, input: Input, drain: Drain) -> Check {
        let before = self.lock;
        let attempt = self.oracle.attempt().map(|history| history.token);
        let result = apply(&mut self.lock, now, &input);
        self.transcript.push(Line::In(now.as_nanos(), input, result));
        self.check_repeatable(before, now, &input, result)?;
        self.now = latest(self.now, now);
        let lease = self.lock.lease();
        let mut late_call = None;
        match (&input, result) {
            (Input::Acquire(nonce, _), Ok(())) => self.oracle.acquire_began(self.now, *nonce),
            (Input::Release, Ok(())) => ensure!(lease.is_none(), "held after a release (R12)"),
            (Input::Acquire(..) | Input::Release, Err(_)) => {}
            (Input::Extend, result) => {
                ensure!(result.is_ok() == lease.is_some(), "{result:?}, and {lease:?} is held");
            }
            (Input::Place(place), _) => self.oracle.place_set(*place),
            (Input::Call(node), _) if self.oracle.is_due(self.now) => {
                late_call = Some(node.index())
            }
            (Input::Call(node), _) => self.oracle.on_call(node.index()),
            (Input::Listening, _) => self.oracle.on_listening(),
            (Input::Timeout | Input::Reply(..), _) => {}
        }
        let tidy = self.tidy && drain == Drain::Everything;
        self.oracle.check_lease(self.now, lease, tidy)?;
        self.check_questions()?;
        self.check_outputs()?;
        self.tidy = tidy;
        if !tidy {
            self.oracle.untidy();
        }
        match drain {
            Drain::Everything => self.drain(Some(&input).filter(|_| result.is_ok()))?,
            Drain::Commands(some) => self.commands(some.into())?,
            Drain::Majority => self.commands(self.setup.majority())?,
        }
        if let Some(node) = late_call {
            self.oracle.on_call(node);
        }
        let is_due = self.lock.poll_timeout().is_some_and(|at| at.as_nanos() <= self.now);
        ensure!(
            !(tidy && self.oracle.is_due_at_once()) || is_due,
            "it hears calls from now on, and does not ask again (R18)"
        );
        if let (true, Some(token), false) = (tidy, attempt, matches!(input, Input::Release)) {
            let held = self.lock.lease().is_some_and(|lease| lease.token == token);
            self.oracle.check_attempt(self.now, &token, held)?;
        }
        Ok(())
    }

    /// Equal inputs in equal states give equal outputs.
    fn check_repeatable(
        &self,
        mut fork: Lock,
        now: Instant,
        input: &Input,
        result: Result<(), WrongPhase>,
    ) -> Check {
        let again = apply(&mut fork, now, input);
        ensure!(again == result, "{input:?} once gave {result:?} and then {again:?}");
        ensure!(fork == self.lock, "{input:?} led to two states: {fork:?} and {:?}", self.lock);
        ensure!(hash(&fork) == hash(&self.lock), "equal states have two hashes");
        Ok(())
    }

    /// The questions agree with each other.
    fn check_questions(&self) -> Check {
        let lease = self.lock.lease();
        let around = |at: u64| [at.saturating_sub(1), at, at.saturating_add(1)];
        let end = lease.map_or(self.now, |lease| lease.valid_until.as_nanos());
        for at in [0, u64::MAX].into_iter().chain(around(self.now)).chain(around(end)) {
            let valid = self.lock.is_valid(Instant::from_nanos(at));
            let expected = lease.is_some() && at.max(self.now) < end;
            ensure!(valid == expected, "is_valid({at}) is {valid}, and {lease:?} is held (R11)");
        }
        ensure!(lease.is_none() || !self.lock.is_idle(), "idle, and {lease:?} is held");
        Ok(())
    }

    /// What one input leads to is bounded, and as long as it is not drained the timeout is now.
    fn check_outputs(&self) -> Check {
        let mut fork = self.lock;
        let outputs = self.setup.nodes * if self.tidy { 1 } else { 2 } + 1;
        let commands = core::iter::from_fn(|| fork.poll_command()).take(100).count();
        ensure!(commands <= outputs, "{commands} commands after one input");
        let events = core::iter::from_fn(|| fork.poll_event()).take(100).count();
        ensure!(events <= 1, "{events} events after one input");
        let (now, timeout) = (Instant::from_nanos(self.now), self.lock.poll_timeout());
        if commands + events > 0 {
            ensure!(timeout == Some(now), "undrained at {now:?}, and the timeout is {timeout:?}");
        }
        Ok(())
    }

    fn commands(&mut self, some: usize) -> Check {
        (0..some).try_for_each(|_| self.command().map(|_| ()))
    }

    /// Has the next command handed out, if there is one.
    fn command(&mut self) -> Result<bool, String> {
        let Some(command) = self.lock.poll_command() else { return Ok(false) };
        self.transcript.push(Line::Command(command));
        self.oracle.on_command(self.now, &command, self.lock.lease())?;
        let extensions = self.oracle.extensions();
        self.handed.push(Handed { command, at: self.now, answered: false, extensions });
        Ok(true)
    }

    /// Drains everything, in the order in which a driver should. `accepted` is the input that led here.
    fn drain(&mut self, accepted: Option<&Input>) -> Check {
        while self.command()? {}
        let event = self.lock.poll_event();
        let lease = self.lock.lease();
        self.transcript.extend(event.map(Line::Event));
        self.oracle.on_event(self.now, event.as_ref(), lease, self.tidy)?;
        if let (true, Some(Input::Acquire(..))) = (self.tidy, accepted) {
            let is_answer = matches!(event, Some(Event::Failed { .. } | Event::Granted(_)));
            ensure!(!is_answer, "an acquire that just began is told {event:?}");
        }
        if let (true, Some(Input::Release)) = (self.tidy, accepted) {
            self.oracle.check_undone("released")?;
            self.oracle.check_left("over")?;
        }
        if self.tidy && self.lock.is_idle() {
            self.oracle.check_idle(self.now)?;
        }
        let timeout = self.lock.poll_timeout();
        self.transcript.push(Line::Timeout(timeout));
        let now = Instant::from_nanos(self.now);
        if self.tidy && timeout != Some(now) {
            self.oracle.check_called()?;
        }
        ensure!(timeout.is_none_or(|at| at >= now), "the timeout {timeout:?} is before {now:?}");
        if let Some(lease) = lease {
            let in_time = timeout.is_some_and(|at| at <= lease.valid_until);
            ensure!(in_time, "the loss of {lease:?} would be told at {timeout:?} (R11)");
        }
        ensure!(timeout.is_some() || self.lock.is_idle(), "nothing is due, and it is not idle");
        Ok(())
    }
}

fn apply(lock: &mut Lock, now: Instant, input: &Input) -> Result<(), WrongPhase> {
    match *input {
        Input::Acquire(nonce, proposal) => lock.acquire(now, nonce, proposal),
        Input::Extend => lock.extend(now),
        Input::Release => lock.release(now),
        Input::Timeout => {
            lock.handle_timeout(now);
            Ok(())
        }
        Input::Place(place) => {
            lock.set_place(place);
            lock.handle_timeout(now);
            Ok(())
        }
        Input::Call(node) => {
            lock.handle_call(now, node);
            Ok(())
        }
        Input::Listening => {
            lock.handle_listening(now);
            Ok(())
        }
        Input::Reply(id, reply) => {
            lock.handle_reply(now, id, reply);
            Ok(())
        }
    }
}

pub(crate) const fn token_of(op: &Op) -> Token {
    match *op {
        Op::Acquire { token, .. }
        | Op::Seal { token, .. }
        | Op::Extend { token, .. }
        | Op::Release { token, .. } => token,
    }
}

fn pick<T>(from: &[T], which: usize) -> Option<&T> {
    // From the newest, because what happened last is what matters most often.
    from.iter().rev().nth(which % from.len().max(1))
}

fn hash(lock: &Lock) -> u64 {
    let mut hasher = DefaultHasher::new();
    lock.hash(&mut hasher);
    hasher.finish()
}
