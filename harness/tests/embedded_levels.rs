//! The two models of a node agree: what the simulator's cell makes of an operation is what the shipped
//! scripts make of it, run by a real Lua on the node that knows bytes. The latter is compared with a
//! real server by `tests/tests/fidelity.rs`, so the simulator's cell is what Redis does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use proptest::prelude::*;
use redlatch_core::wire::{Answer, Dialect, Form, Keys, QUARANTINE, Wire};
use redlatch_core::{Fence, Op, Place, Proposal, Reply, Token, Ttl};
use redlatch_harness::node::{Called, Cell, Nonce, WallMillis, reservation};
use redlatch_harness::redis::{Flavour, Keep, Redis, Resp, Session};

const RESOURCE: &[u8] = b"report";
/// The longest ttl of all stories.
const TTL_MAX_MS: u64 = 50;

/// One thing that happens to a node.
#[derive(Clone, Debug)]
enum Step {
    Ask(Op, Form),
    /// The wall clock goes on.
    Pass(u64),
    /// The server dies and comes back.
    Restart(Keep),
    Flush,
    /// The server is short of memory and drops the lock key.
    Evict,
}

/// The bytes: a server and the scripts.
struct Bytes {
    redis: Redis,
    session: Session,
    /// The client of [`LISTENED`].
    listener: Session,
    dialect: Dialect,
}

/// The nonce whose client listens, and its channel.
const LISTENED: Nonce = [0; 16];
const CHANNEL: &str = "redlatch:call:0000000000000000";
const QUEUE: &str = "redlatch:queue:{report}";

impl Bytes {
    fn new(restart_guard: Option<Ttl>) -> Self {
        let fence_retention = Dialect::FENCE_RETENTION;
        let dialect = Dialect::Scripts { restart_guard, fence_retention };
        let (session, listener) = (Session::new(1), Session::new(2));
        let mut bytes = Self { redis: Redis::new(Flavour::Redis7, 7), session, listener, dialect };
        bytes.listen();
        bytes
    }

    fn listen(&mut self) {
        self.listener = Session::new(2);
        let _ = self.redis.execute(0, &mut self.listener, &["SUBSCRIBE", CHANNEL]);
    }

    /// Whom the node has called.
    fn called(&mut self) -> Vec<Resp> {
        let messages = self.redis.take_messages();
        messages.into_iter().map(|(_, message)| message).collect()
    }

    /// How many wait.
    fn waiters(&mut self, now: WallMillis) -> Resp {
        self.redis.execute(now, &mut self.session, &["ZCARD", QUEUE])
    }

    fn ask(&mut self, now: WallMillis, op: &Op, form: Form) -> Reply {
        let wire = Wire::new(Keys::new(&[RESOURCE]).unwrap(), self.dialect).unwrap();
        let mut buffer = [0; 512];
        let mut once = |form| {
            let args = wire.encode(op, form, &mut buffer).unwrap();
            let resp = self.redis.execute(now, &mut self.session, args.as_slice());
            resp.read(|value| wire.decode(op, value))
        };
        match once(form) {
            Answer::Reply(reply) => reply,
            // What the driver does.
            Answer::ScriptMissing => match once(Form::Text) {
                Answer::Reply(reply) => reply,
                Answer::ScriptMissing => panic!("a script that was sent is missing"),
            },
        }
    }
}

/// The cell, and the restart guard in words: a node that does not know under which id it last ran may
/// have forgotten keys, and does not vote for `ttl_max` from the first acquire on.
#[derive(Default)]
struct Guarded {
    cell: Cell,
    ttl_max: Option<Ttl>,
    boot: u64,
    marker: Option<u64>,
    quarantined_until: Option<WallMillis>,
    called: Vec<Resp>,
}

impl Guarded {
    fn ask(&mut self, now: WallMillis, op: &Op) -> Reply {
        if let (Op::Acquire { .. }, Some(ttl_max)) = (op, self.ttl_max) {
            if self.marker != Some(self.boot) {
                self.marker = Some(self.boot);
                self.quarantined_until = Some(now + u64::from(ttl_max.as_millis()));
            }
            if let Some(until) = self.quarantined_until.filter(|until| now <= *until) {
                return Reply::Quarantined { remaining: Duration::from_millis(until - now) };
            }
        }
        let called = &mut self.called;
        self.cell.apply(now, op, &mut |nonce| {
            if *nonce != LISTENED {
                return Called::Gone;
            }
            let hex = reservation(nonce).to_hex();
            let parts = [b"message", CHANNEL.as_bytes(), &hex[..32]];
            called.push(Resp::Push(parts.map(Resp::bulk).into()));
            Called::Heard
        })
    }

    fn forget(&mut self) {
        self.cell = Cell::default();
        self.marker = None;
        self.quarantined_until = None;
    }
}

fn token() -> impl Strategy<Value = Token> {
    (0_u8..3, 1_u32..4).prop_map(|(nonce, attempt)| Token::new([nonce; 16], attempt))
}

fn ttl() -> impl Strategy<Value = Ttl> {
    (1..=TTL_MAX_MS).prop_map(|millis| Ttl::from_millis(millis).unwrap())
}

/// Small ones, which meet, and the largest there are.
fn fence() -> impl Strategy<Value = Fence> {
    prop_oneof![1_u64..20, Fence::MAX - 2..=Fence::MAX].prop_map(|fence| Fence::new(fence).unwrap())
}

fn proposal() -> impl Strategy<Value = Option<Proposal>> {
    let number = prop_oneof![1_u64..20, Proposal::MAX - 2..=Proposal::MAX];
    proptest::option::of(number.prop_map(|number| Proposal::from_unix_micros(number).unwrap()))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (token(), ttl(), proposal())
            .prop_map(|(token, ttl, proposal)| Op::Acquire { token, ttl, proposal }),
        1 => (token(), fence()).prop_map(|(token, fence)| Op::Seal { token, fence }),
        2 => (token(), ttl(), proptest::option::of(fence()))
            .prop_map(|(token, ttl, fence)| Op::Extend { token, ttl, fence }),
        4 => (token(), proptest::option::of(1_u64..4)).prop_map(|(token, since)| Op::Release {
            token,
            place: since.map(Place::since_millis),
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let form = prop_oneof![Just(Form::Sha1), Just(Form::Text)];
    let keep = prop_oneof![Just(Keep::All), Just(Keep::Nothing)];
    prop_oneof![
        12 => (op(), form).prop_map(|(op, form)| Step::Ask(op, form)),
        4 => (0_u64..20).prop_map(Step::Pass),
        1 => (190_u64..210).prop_map(Step::Pass),
        1 => (59_990_u64..60_010).prop_map(Step::Pass),
        1 => Just(Step::Pass(TTL_MAX_MS)),
        1 => keep.prop_map(Step::Restart),
        1 => Just(Step::Flush),
        1 => Just(Step::Evict),
    ]
}

/// A fence number that cannot rise any more is an assumption of the protocol, not a case of it: a
/// proposal is at most 2^52, so the numbers of real grants never come near 2^53.
fn is_within_range(cell: &Cell) -> bool {
    cell.fence <= Fence::MAX - 3
}

fn tell(guard: Option<Ttl>, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut bytes = Bytes::new(guard);
    let mut words = Guarded { ttl_max: guard, ..Guarded::default() };
    let mut now = 1_000;
    for step in steps {
        match step {
            Step::Ask(op, form) => {
                let (said, meant) = (bytes.ask(now, op, *form), words.ask(now, op));
                prop_assert_eq!(said, meant, "at {} to {:?}", now, op);
                let called = std::mem::take(&mut words.called);
                prop_assert_eq!(bytes.called(), called, "at {} by {:?}", now, op);
            }
            Step::Pass(millis) => now += millis,
            Step::Restart(keep) => {
                bytes.redis.restart(now, *keep);
                bytes.listen();
                words.boot += 1;
                match keep {
                    Keep::All => {}
                    Keep::Synced | Keep::Nothing => words.forget(),
                }
            }
            Step::Flush => {
                bytes.redis.flush();
                words.forget();
            }
            Step::Evict => {
                bytes.redis.evict(now, RESOURCE);
                words.cell.key = None;
            }
        }
        if !is_within_range(&words.cell) {
            break;
        }
        let owner = words.cell.owner(now).map(|token| token.to_hex().to_vec());
        prop_assert_eq!(bytes.redis.value(now, RESOURCE), owner.as_deref());
        let waiters = Resp::Int(words.cell.queue.len(now) as i64);
        prop_assert_eq!(bytes.waiters(now), waiters, "at {}", now);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_cell_is_the_meaning_of_the_scripts(steps in prop::collection::vec(step(), 1..60)) {
        tell(None, &steps)?;
    }

    #[test]
    fn so_it_is_with_a_restart_guard(steps in prop::collection::vec(step(), 1..60)) {
        tell(Ttl::from_millis(TTL_MAX_MS).ok(), &steps)?;
    }
}

/// R15: the number is written before the key, so that a script that fails half-way leaves no lock.
#[test]
fn a_script_that_is_cut_off_leaves_no_lock() {
    let token = Token::new([1; 16], 1);
    let ttl = Ttl::from_millis(50).unwrap();
    let op = Op::Acquire { token, ttl, proposal: Proposal::from_unix_micros(9).ok() };
    let mut bytes = Bytes::new(None);
    bytes.redis.stop_script_after(1);
    assert_eq!(bytes.ask(0, &op, Form::Text), Reply::Unknown);
    assert_eq!(bytes.redis.value(0, RESOURCE), None);
    assert_eq!(bytes.redis.value(0, b"redlatch:fence:{report}"), Some(b"9".as_slice()));
    // The fault is gone with the script that it befell.
    assert_eq!(bytes.ask(0, &op, Form::Sha1), Reply::Applied { fence: Fence::new(10) });
}

/// R16: a node that was restored from what it had synced knows an old id, and does not vote.
#[test]
fn a_node_with_an_old_snapshot_is_quarantined() {
    let guard = Ttl::from_millis(50).unwrap();
    let op =
        |attempt| Op::Acquire { token: Token::new([1; 16], attempt), ttl: guard, proposal: None };
    let mut bytes = Bytes::new(Some(guard));
    let whole = Reply::Quarantined { remaining: Duration::from_millis(50) };
    assert_eq!(bytes.ask(0, &op(1), Form::Text), whole, "a new node");
    assert_eq!(bytes.ask(51, &op(1), Form::Text), Reply::Applied { fence: None });
    bytes.redis.sync();
    bytes.redis.restart(60, Keep::Synced);
    assert_eq!(bytes.ask(60, &op(2), Form::Text), whole, "it may have forgotten");
    assert_eq!(bytes.redis.remaining_ms(60, QUARANTINE), Some(50));
    assert_eq!(bytes.ask(111, &op(2), Form::Text), Reply::Applied { fence: None });
}
