//! Nanoseconds of the protocol alone: what it adds to a lock whose round trips take microseconds at
//! best.
//!
//! A *cycle* acquires and releases with every node saying yes: 2n commands encoded, 2n values decoded,
//! 2n replies handled. A *reply* is one `handle_reply` and the polls after it, without bytes. The goal
//! is a cycle of five nodes in less than a microsecond.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use redlatch_core::wire::{Answer, Dialect, Form, Keys, Value, Wire};
use redlatch_core::{
    Command, Config, Event, Instant, Lock, Op, Proposal, Quorum, Released, Reply, Ttl,
};

const NODES: [usize; 4] = [1, 3, 5, 16];
const MILLI: u64 = 1_000_000;

struct Rig<'a> {
    wire: Wire<'a>,
    proposal: Option<Proposal>,
    lock: Lock,
    now: u64,
    buffer: [u8; 512],
    sent: Vec<Command>,
}

impl Rig<'_> {
    fn new(nodes: usize, fenced: bool) -> Self {
        let keys = Keys::new(&[b"report"]).expect("one name");
        let ttl = Ttl::from_millis(30_000).expect("half a minute");
        let quorum = Quorum::of(nodes).expect("1 to 16 nodes");
        Self {
            wire: Wire::new(keys, Dialect::SCRIPTS).expect("scripts take any keys"),
            proposal: fenced.then(|| Proposal::from_unix_micros(1 << 50).expect("in range")),
            lock: Lock::new(Config::new(quorum, ttl).expect("outlasts its drift")),
            now: 0,
            buffer: [0; 512],
            sent: Vec::with_capacity(nodes),
        }
    }

    fn cycle(&mut self) {
        self.now += MILLI;
        let now = Instant::from_nanos(self.now);
        let nonce = u128::from(self.now).to_be_bytes();
        self.lock.acquire(now, nonce, self.proposal).expect("the lock is idle");
        self.round(now);
        let Some(Event::Granted(lease)) = self.lock.poll_event() else {
            panic!("every node said yes")
        };
        black_box(lease);
        self.lock.release(now).expect("the lock is held");
        self.round(now);
        let Some(Event::Released(Released::Confirmed)) = self.lock.poll_event() else {
            panic!("every node said yes")
        };
        assert!(self.lock.is_idle());
    }

    /// Every command goes out, then every node answers.
    fn round(&mut self, now: Instant) {
        while let Some(command) = self.lock.poll_command() {
            let args = self.wire.encode(&command.op, Form::Sha1, &mut self.buffer);
            black_box(args.as_ref().expect("the buffer is large enough").as_slice());
            self.sent.push(command);
        }
        for Command { id, op, .. } in self.sent.drain(..) {
            let fence = self.proposal.map_or(0, |proposal| proposal.fence().get() as i64);
            let values = [Value::Int(1), Value::Int(fence)];
            let value = match op {
                Op::Acquire { .. } | Op::Seal { .. } => Value::Array(&values),
                Op::Extend { .. } | Op::Release { .. } => Value::Array(&values[..1]),
            };
            let Answer::Reply(reply) = self.wire.decode(&op, black_box(&value)) else {
                panic!("a yes")
            };
            self.lock.handle_reply(now, id, reply);
        }
    }
}

fn cycle(criterion: &mut Criterion) {
    for (name, fenced) in [("cycle", false), ("cycle_with_fence", true)] {
        let mut group = criterion.benchmark_group(name);
        for nodes in NODES {
            let mut rig = Rig::new(nodes, fenced);
            group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
                bencher.iter(|| rig.cycle());
            });
        }
    }
}

/// A round of n replies to an acquire, and a poll after each, from a copy of the lock that waits for
/// them. Divide by n, which the report calls elements.
fn reply(criterion: &mut Criterion) {
    for (name, fenced) in [("reply", false), ("reply_with_fence", true)] {
        let mut group = criterion.benchmark_group(name);
        for nodes in NODES {
            let mut rig = Rig::new(nodes, fenced);
            let now = Instant::from_nanos(MILLI);
            rig.lock.acquire(now, [7; 16], rig.proposal).expect("the lock is idle");
            let ids: Vec<_> =
                std::iter::from_fn(|| rig.lock.poll_command()).map(|command| command.id).collect();
            let reply = Reply::Applied { fence: rig.proposal.map(Proposal::fence) };
            group.throughput(Throughput::Elements(nodes as u64));
            group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
                bencher.iter(|| {
                    let mut lock = black_box(rig.lock);
                    for id in &ids {
                        lock.handle_reply(now, *id, reply);
                        black_box(lock.poll_command());
                        black_box(lock.poll_event());
                        black_box(lock.poll_timeout());
                    }
                    lock
                });
            });
        }
    }
}

criterion_group!(benches, cycle, reply);
criterion_main!(benches);
