//! Random commands, drawn from a seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use redlatch_core::wire::{Compare, Dialect, Form, Keys, Wire, WireError, encode_declare_fresh};
use redlatch_core::{Fence, Op, Place, Proposal, Token, Ttl};

use super::texts::{ALONE, Arg, FIXED, PEERS, PROBES};

/// One command.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) args: Vec<Vec<u8>>,
    /// Where times are in its reply.
    pub(super) times: Times,
    /// Whether it may not be part of a transaction.
    pub(super) is_alone: bool,
    /// How long to wait before it.
    pub(super) pause: Duration,
}

/// Where times are in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    None,
    /// It is one.
    Whole,
    /// This item of it is one, if it has so many and does not begin with a 1 (granted: then it is a
    /// fence).
    Item(usize),
}

impl Step {
    /// Whether the reply depends on which of two expiries is later.
    pub(super) fn compares_times(&self) -> bool {
        self.args
            .iter()
            .any(|word| word.eq_ignore_ascii_case(b"GT") || word.eq_ignore_ascii_case(b"LT"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.args.iter().map(|arg| quoted(arg)).collect();
        f.write_str(&words.join(" "))
    }
}

fn quoted(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_:.{}".contains(byte);
    if !word.is_empty() && word.iter().all(is_plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    // The protocol core's scripts are long, and known by their first line.
    const SHOWN_MAX: usize = 100;
    let dots = if word.len() > SHOWN_MAX { "..." } else { "" };
    format!("\"{}{dots}\"", word[..word.len().min(SHOWN_MAX)].escape_ascii())
}

/// `count` commands drawn from `seed`, the same for every server.
pub(super) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut draw = Draw { rng: Rng::with_seed(seed) };
    (0..count).map(|_| draw.step()).collect()
}

/// The channel on which a client listens that has the nonces that begin with 0x11.
pub(super) const LISTENED: &str = "redlatch:call:1111111111111111";

const KEYS: [&str; 4] = ["k1", "k2", "k3", "{tag}k4"];
const VALUES: [&str; 7] = ["a", "b", "", "0", "41", "9223372036854775807", "-1"];
/// Short ones expire within a script, long ones do not, and the others are no ttl at all.
const TTLS: [&str; 12] = [
    "1",
    "2",
    "12",
    "25",
    "60",
    "1000",
    "30000",
    "86400000",
    "0",
    "-1",
    "x",
    "9223372036854775807",
];

struct Draw {
    rng: Rng,
}

impl Draw {
    fn step(&mut self) -> Step {
        let pause = match self.rng.u8(..) {
            0..=7 => Duration::from_millis(self.rng.u64(5..40)),
            8..=255 => Duration::ZERO,
        };
        let (args, times) = match self.rng.u8(..100) {
            0..=16 => self.set(),
            17..=34 => self.simple(),
            35..=41 => self.expire(),
            42..=46 => self.queue(),
            47..=74 => self.ours(),
            75..=84 => self.peers(),
            85..=92 => {
                let text = self.pick(PROBES);
                (words(&["EVAL", text, "0"]), Times::None)
            }
            93..=255 => (words(self.pick(FIXED)), Times::None),
        };
        let name = args.first().map(Vec::as_slice).unwrap_or_default();
        let is_alone = ALONE.iter().any(|alone| alone.as_bytes().eq_ignore_ascii_case(name));
        Step { args, times, is_alone, pause }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }

    fn set(&mut self) -> (Vec<Vec<u8>>, Times) {
        let mut args = vec!["SET", self.pick(&KEYS), self.pick(&VALUES)];
        for _ in 0..self.pick(&[0, 1, 1, 2, 2, 3]) {
            match self
                .pick(&["NX", "XX", "GET", "KEEPTTL", "EX", "PX", "PX", "PXAT", "IFEQ", "OOPS"])
            {
                "OOPS" if self.rng.bool() => args.push("OOPS"),
                "OOPS" => {}
                "IFEQ" => args.extend(["IFEQ", self.pick(&VALUES)]),
                "PXAT" => args.extend(["PXAT", self.pick(&["1", "0", "33333333333333"])]),
                timed @ ("EX" | "PX") => args.extend([timed, self.pick(&TTLS)]),
                word => args.push(word),
            }
        }
        // With IFEQ the order in which servers find fault differs; it is compared without the rest.
        if args.contains(&"IFEQ") {
            args.retain(|word| !["NX", "XX", "OOPS"].contains(word));
        }
        (words(&args), Times::None)
    }

    fn simple(&mut self) -> (Vec<Vec<u8>>, Times) {
        let (key, other, value, ttl) =
            (self.pick(&KEYS), self.pick(&KEYS), self.pick(&VALUES), self.pick(&TTLS));
        let commands: [(&[&str], Times); 30] = [
            (&["GET", key], Times::None),
            (&["GET", key], Times::None),
            (&["MGET", key, other], Times::None),
            (&["STRLEN", key], Times::None),
            (&["DEL", key], Times::None),
            (&["DEL", key, other, key], Times::None),
            (&["UNLINK", key], Times::None),
            (&["EXISTS", key, other, key], Times::None),
            (&["TYPE", key], Times::None),
            (&["TTL", key], Times::Whole),
            (&["PTTL", key], Times::Whole),
            (&["PTTL", key], Times::Whole),
            (&["PTTL", other], Times::Whole),
            (&["PEXPIRETIME", key], Times::Whole),
            (&["EXPIRETIME", key], Times::Whole),
            (&["PERSIST", key], Times::None),
            (&["SETNX", key, value], Times::None),
            (&["SETEX", key, ttl, value], Times::None),
            (&["PSETEX", key, ttl, value], Times::None),
            (&["GETSET", key, value], Times::None),
            (&["GETDEL", key], Times::None),
            (&["APPEND", key, value], Times::None),
            (&["INCR", key], Times::None),
            (&["DECR", key], Times::None),
            (&["INCRBY", key, ttl], Times::None),
            (&["DECRBY", key, ttl], Times::None),
            (&["DELEX", key], Times::None),
            (&["DELEX", key, "IFEQ", value], Times::None),
            (&["DELIFEQ", key, value], Times::None),
            (&["FLUSHDB"], Times::None),
        ];
        let (command, times) = self.pick(&commands);
        (words(command), times)
    }

    /// Sorted sets, in keys that are strings at other times, and messages.
    fn queue(&mut self) -> (Vec<Vec<u8>>, Times) {
        const MEMBERS: [&str; 3] = ["a", "b", "11111111111111111111111111111111"];
        const SCORES: [&str; 6] = ["0", "1", "-7", "1700000000000", "9007199254740992", "x"];
        let (key, member, other) = (self.pick(&KEYS), self.pick(&MEMBERS), self.pick(&MEMBERS));
        let (score, more) = (self.pick(&SCORES), self.pick(&SCORES));
        let count = self.pick(&["0", "1", "2", "-1", "x"]);
        let (start, stop) =
            (self.pick(&["0", "1", "-1", "-9"]), self.pick(&["0", "-1", "5", "-9"]));
        let channel = self.pick(&[LISTENED, "redlatch:call:abababababababab", "none"]);
        let commands: [&[&str]; 16] = [
            &["ZADD", key, score, member],
            &["ZADD", key, score, member],
            &["ZADD", key, score, member, more, other],
            &["ZADD", key, score, member, more],
            &["ZREM", key, member],
            &["ZREM", key, member, other],
            &["ZPOPMIN", key],
            &["ZPOPMIN", key, count],
            &["ZPOPMIN", key, "1", "2"],
            &["ZCARD", key],
            &["ZSCORE", key, member],
            &["ZRANGE", key, start, stop],
            &["ZRANGE", key, start, stop, "withscores"],
            &["TYPE", key],
            &["PUBLISH", channel, member],
            &["PUBLISH", channel],
        ];
        (words(self.pick(&commands)), Times::None)
    }

    fn expire(&mut self) -> (Vec<Vec<u8>>, Times) {
        let name = self.pick(&["EXPIRE", "PEXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]);
        let time = match name {
            "EXPIREAT" => self.pick(&["1", "33333333333", "x"]),
            "PEXPIREAT" => self.pick(&["1", "33333333333333", "-5"]),
            _ => self.pick(&TTLS),
        };
        let mut args = vec![name, self.pick(&KEYS), time];
        for _ in 0..self.pick(&[0, 0, 1, 1, 2]) {
            args.push(self.pick(&["NX", "XX", "GT", "LT", "gt", "OOPS"]));
        }
        (words(&args), Times::None)
    }

    /// What the protocol core sends.
    fn ours(&mut self) -> (Vec<Vec<u8>>, Times) {
        let form = self.pick(&[Form::Sha1, Form::Text, Form::Text]);
        let several = [b"{lock}a".as_slice(), b"{lock}b", b"{lock}c"];
        let one: [&[u8]; 1] = [self.pick(&[b"lock".as_slice(), b"{lock}a", b"{lock}b"])];
        let guard = Ttl::from_millis(60).ok();
        let scripts = |restart_guard| Dialect::Scripts {
            restart_guard,
            fence_retention: Dialect::FENCE_RETENTION,
        };
        let (names, dialect) = match self.rng.u8(..10) {
            0..=5 => (&one[..], scripts(None)),
            6 => (&one[..], scripts(guard)),
            7 => (&several[..2], scripts(None)),
            8 => (&several[..], scripts(None)),
            9..=255 => {
                let compare = self.pick(&[Compare::Script, Compare::Delex, Compare::Delifeq]);
                (&one[..], Dialect::Plain { compare })
            }
        };
        let mut buffer = [0; 1024];
        let is_plain = matches!(dialect, Dialect::Plain { .. });
        let args = Keys::new(names).map_err(WireError::from).and_then(|keys| {
            let wire = Wire::new(keys, dialect)?;
            match self.rng.u8(..20) {
                0 if !is_plain => Ok((encode_declare_fresh(form, &mut buffer)?, Times::None)),
                1 | 2 => {
                    let times = if is_plain { Times::Whole } else { Times::Item(1) };
                    Ok((wire.encode_inspect(form, &mut buffer)?, times))
                }
                0..=255 => {
                    let op = self.op(is_plain);
                    let times = match op {
                        Op::Acquire { .. } => Times::Item(1),
                        Op::Seal { .. } | Op::Extend { .. } | Op::Release { .. } => Times::None,
                    };
                    Ok((wire.encode(&op, form, &mut buffer)?, times))
                }
            }
        });
        match args {
            Ok((args, times)) => (args.as_slice().iter().map(|arg| arg.to_vec()).collect(), times),
            // A seal or a fence in the plain dialect, which has none.
            Err(_) => (words(&["PING"]), Times::None),
        }
    }

    fn op(&mut self, is_plain: bool) -> Op {
        let nonce = self.pick(&[[0x11; 16], [0xAB; 16]]);
        let token = Token::new(nonce, self.rng.u32(1..4));
        let millis = self.pick(&[1, 15, 60, 200, 30_000, 86_400_000]);
        let ttl = Ttl::from_millis(millis).unwrap_or(Ttl::MAX);
        let fence = self.pick(&[1, 7, 100, (1 << 52) - 1, Fence::MAX]);
        let fence = Fence::new(fence).filter(|_| !is_plain);
        let proposal = self.pick(&[1, 5, 1_700_000_000_000_000, Proposal::MAX]);
        let proposal = Proposal::from_unix_micros(proposal).ok().filter(|_| !is_plain);
        match (self.rng.u8(..10), fence) {
            (0..=4, _) => {
                Op::Acquire { token, ttl, proposal: proposal.filter(|_| self.rng.bool()) }
            }
            (5, Some(fence)) => Op::Seal { token, fence },
            (5..=7, fence) => Op::Extend { token, ttl, fence: fence.filter(|_| self.rng.bool()) },
            (8..=255, _) => {
                let since = self.pick(&[1, 5, 5, 1_700_000_000_000]);
                let place = Some(Place::since_millis(since)).filter(|_| self.rng.bool());
                Op::Release { token, place }
            }
        }
    }

    fn peers(&mut self) -> (Vec<Vec<u8>>, Times) {
        let peer = &PEERS[self.rng.usize(..PEERS.len())];
        let count = self.rng.usize(1..=peer.keys_max);
        let mut args = vec!["EVAL".to_owned(), peer.text.to_owned(), count.to_string()];
        args.extend((0..count).map(|_| self.pick(&KEYS).to_owned()));
        for arg in peer.args {
            args.push(match arg {
                Arg::Token => self.pick(&VALUES).to_owned(),
                Arg::Ttl => self.pick(&TTLS).to_owned(),
                Arg::Flag => self.pick(&["0", "1"]).to_owned(),
            });
        }
        (args.into_iter().map(String::into_bytes).collect(), Times::None)
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
