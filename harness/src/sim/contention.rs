//! Many workers that want one lock, in virtual time: how much of it is work, and how fairly it is shared.
//!
//! Nothing fails here but, if that is asked for, nodes that hang. Each worker acquires, holds, releases, and
//! acquires again as soon as a majority has confirmed the release, as an application does that has more
//! work; each acquire is a lock of its own, and what an earlier one has left to tidy up goes on beside it,
//! as in the drivers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use redlatch_core::{
    Command, CommandId, Config, ConfigError, Event, Instant, Lock, NodeId, Place, Quorum, Reply,
    Retry, Ttl,
};

use crate::node::{Called, Cell, Nonce};
use crate::sim::dice::{fate, part};

/// Room for the waiters of a node's queue: those of the largest crowd.
const ROOM: usize = WORKERS_MAX;
/// The most workers.
pub const WORKERS_MAX: usize = 64;
const NODES: usize = 5;
const TTL_MS: u64 = 10_000;
/// Unix time at the beginning, in milliseconds.
const EPOCH_MS: u64 = 1_790_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// Workers, and what they meet.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// Nanoseconds of work in each section.
    pub hold: u64,
    /// Nanoseconds that a message takes, give or take a tenth.
    pub one_way: u64,
    /// Whether they wait in the queues of the nodes.
    pub queues: bool,
    /// How many of five nodes take requests and never answer.
    pub hung: usize,
    /// Seconds, after a second that is not counted.
    pub seconds: u64,
}

impl Crowd {
    /// So many workers with a millisecond of work, on nodes a fifth of a millisecond away.
    #[must_use]
    pub const fn of(workers: usize) -> Self {
        Self { workers, hold: 1_000_000, one_way: 100_000, queues: true, hung: 0, seconds: 4 }
    }

    /// The same with the nodes' queues, or without.
    #[must_use]
    pub const fn with_queues(self, queues: bool) -> Self {
        Self { queues, ..self }
    }

    /// The same with nodes that hang.
    #[must_use]
    pub const fn with_hung(self, hung: usize) -> Self {
        Self { hung, ..self }
    }

    /// Nanoseconds that a section takes when nobody is in the way: the work, and two round trips.
    #[must_use]
    pub const fn section(&self) -> u64 {
        self.hold + 4 * self.one_way
    }

    /// Lets them work.
    ///
    /// # Errors
    /// [`ConfigError`] if the core refuses the lock's configuration.
    pub fn run(&self) -> Result<Measured, ConfigError> {
        let Ok(quorum) = Quorum::of(NODES) else { return Ok(Measured::default()) };
        let Ok(ttl) = Ttl::from_millis(TTL_MS) else { return Ok(Measured::default()) };
        let wait = std::time::Duration::from_secs(60);
        let config = Config::new(quorum, ttl)?.with_retry(Retry::within(wait));
        Ok(Hall::new(*self, config).run())
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Sections in a second.
    pub sections: f64,
    /// The share of the time in which, but for waiting, nobody could have done more: sections times what one
    /// takes when nobody is in the way.
    pub share: f64,
    /// The longest wait for the lock, in shares of one round of all workers.
    pub longest_wait: f64,
    /// The fewest turns of a worker by the most.
    pub evenness: f64,
    /// Commands sent in a section, all told.
    pub commands: f64,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Arrives(Command),
    Answers(CommandId, Reply),
    Calls(usize, NodeId),
    Wakes,
    /// The work is done.
    Done,
}

#[derive(Debug)]
struct Worker {
    /// Its latest lock.
    lock: usize,
    since: u64,
    turns: u64,
    longest: u64,
    acquires: u64,
}

/// All of it.
#[derive(Debug)]
struct Hall {
    crowd: Crowd,
    config: Config,
    now: u64,
    nodes: [Cell<ROOM>; NODES],
    locks: Vec<(usize, Nonce, Lock)>,
    workers: Vec<Worker>,
    /// By time, then by number.
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    due: Vec<Due>,
    commands: u64,
    sections: u64,
}

impl Hall {
    fn new(crowd: Crowd, config: Config) -> Self {
        let workers = (0..crowd.workers.clamp(1, WORKERS_MAX)).map(|_| Worker {
            lock: 0,
            since: 0,
            turns: 0,
            longest: 0,
            acquires: 0,
        });
        Self {
            crowd,
            config,
            now: 0,
            nodes: [Cell::default(); NODES],
            locks: Vec::new(),
            workers: workers.collect(),
            queue: BinaryHeap::new(),
            due: Vec::new(),
            commands: 0,
            sections: 0,
        }
    }

    fn run(mut self) -> Measured {
        for worker in 0..self.workers.len() {
            self.now = part(fate(1, worker as u64, 0), 0, 1_000_000);
            self.acquire(worker);
        }
        let (counted, end) = (SECOND, SECOND * (self.crowd.seconds + 1));
        let mut is_counting = false;
        while let Some(Reverse((at, number, lock))) = self.queue.pop() {
            self.now = at;
            if at >= end {
                break;
            }
            if at >= counted && !is_counting {
                is_counting = true;
                (self.commands, self.sections) = (0, 0);
                for worker in &mut self.workers {
                    (worker.turns, worker.longest) = (0, 0);
                }
            }
            self.turn(lock, self.due[number as usize]);
        }
        self.measured()
    }

    fn measured(&self) -> Measured {
        let seconds = self.crowd.seconds as f64;
        let section = self.crowd.section() as f64;
        let turns = || self.workers.iter().map(|worker| worker.turns);
        let waits = self.workers.iter().map(|worker| {
            // Whoever still waits has waited for so long at least.
            let (_, _, lock) = &self.locks[worker.lock];
            let waiting = if lock.lease().is_none() { self.now - worker.since } else { 0 };
            worker.longest.max(waiting)
        });
        let sections = self.sections as f64 / seconds;
        Measured {
            sections,
            share: sections * section / SECOND as f64,
            longest_wait: waits.max().unwrap_or(0) as f64 / (section * self.workers.len() as f64),
            evenness: turns().min().unwrap_or(0) as f64 / turns().max().unwrap_or(1).max(1) as f64,
            commands: self.commands as f64 / self.sections.max(1) as f64,
        }
    }

    fn push(&mut self, at: u64, lock: usize, due: Due) {
        self.queue.push(Reverse((at, self.due.len() as u64, lock)));
        self.due.push(due);
    }

    /// A message leaves, and takes about as long as each does.
    fn send(&mut self, lock: usize, due: Due) {
        let spread = part(fate(2, self.due.len() as u64, 0), 0, self.crowd.one_way / 5);
        let at = self.now + self.crowd.one_way * 9 / 10 + spread;
        self.push(at, lock, due);
    }

    fn wall(&self) -> u64 {
        EPOCH_MS + self.now / 1_000_000
    }

    fn acquire(&mut self, worker: usize) {
        let mut lock = Lock::new(self.config);
        let place = Place::since_millis(self.wall());
        lock.set_place(self.crowd.queues.then_some(place));
        let entry = &mut self.workers[worker];
        entry.acquires += 1;
        (entry.since, entry.lock) = (self.now, self.locks.len());
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(worker as u64).to_be_bytes());
        nonce[8..].copy_from_slice(&fate(3, worker as u64, entry.acquires).to_be_bytes());
        self.locks.push((worker, nonce, lock));
        let number = self.locks.len() - 1;
        // A new lock is idle.
        self.input(number, |lock, now| lock.acquire(now, nonce, None).unwrap_or(()));
    }

    fn turn(&mut self, lock: usize, due: Due) {
        match due {
            Due::Arrives(command) => self.arrives(lock, &command),
            Due::Answers(id, reply) => {
                self.input(lock, |lock, now| lock.handle_reply(now, id, reply))
            }
            Due::Calls(number, node) => {
                self.input(number, |lock, now| lock.handle_call(now, node));
            }
            Due::Wakes => {
                let is_due = self.locks[lock].2.poll_timeout();
                if is_due.is_some_and(|at| at.as_nanos() <= self.now) {
                    self.input(lock, |lock, now| lock.handle_timeout(now));
                }
            }
            Due::Done => self.input(lock, |lock, now| lock.release(now).unwrap_or(())),
        }
    }

    fn arrives(&mut self, lock: usize, command: &Command) {
        let node = command.id.node();
        if node.index() < self.crowd.hung {
            return;
        }
        let (wall, locks) = (self.wall(), &self.locks);
        let mut heir = None;
        // Everybody listens, and drops what is not for the lock that it acquires.
        let reply = self.nodes[node.index()].apply(wall, &command.op, &mut |nonce| {
            heir = locks.iter().rposition(|(_, own, _)| own == nonce);
            Called::Heard
        });
        if let Some(heir) = heir {
            self.send(heir, Due::Calls(heir, node));
        }
        self.send(lock, Due::Answers(command.id, reply));
    }

    fn input(&mut self, number: usize, input: impl FnOnce(&mut Lock, Instant)) {
        let now = Instant::from_nanos(self.now);
        let (worker, _, lock) = &mut self.locks[number];
        let worker = *worker;
        input(lock, now);
        let mut commands = Vec::new();
        while let Some(command) = lock.poll_command() {
            commands.push(command);
        }
        let event = lock.poll_event();
        let wake = lock.poll_timeout();
        self.commands += commands.len() as u64;
        for command in commands {
            self.send(number, Due::Arrives(command));
        }
        if let Some(at) = wake {
            self.push(at.as_nanos().max(self.now), number, Due::Wakes);
        }
        match event {
            Some(Event::Granted(_)) => {
                let entry = &mut self.workers[worker];
                entry.longest = entry.longest.max(self.now - entry.since);
                self.push(self.now + self.crowd.hold, number, Due::Done);
            }
            Some(Event::Released(_)) => {
                self.sections += 1;
                self.workers[worker].turns += 1;
                self.acquire(worker);
            }
            // A minute is more than any of them needs to wait.
            Some(Event::Failed { .. } | Event::Lost { .. }) => self.acquire(worker),
            Some(Event::Retrying { .. } | Event::Extended(_) | Event::AtRisk { .. }) | None => {}
        }
    }
}
