//! Each script does on a real server what its step of the protocol says: the bytes are those of
//! `redlatch_core::wire`, the effects are read back by another connection.

mod acquire;
mod custom_transport;
mod hold;
mod inspect;
mod queue;
mod restart_guard;
mod several;
mod texts;

use redis::{Connection, ConnectionLike, ErrorKind, RedisResult, ServerErrorKind};
use redlatch_core::wire::{
    Answer, Dialect, Form, Keys, KeysError, MARKER, QUARANTINE, SCRIPTS, Sighting, Value, Wire,
    encode_declare_fresh,
};
use redlatch_core::{Fence, Op, Place, Proposal, Reply, Token, Ttl};
use redlatch_tests::{Owner, RedisServer};
use std::time::Duration;

/// Lives longer than any test.
const MINUTE: u64 = 60_000;
/// The lock key of most tests, and its number.
const KEY: &str = "job";
const FENCE: &str = "redlatch:fence:{job}";
const GUARD: Dialect = guarded(MINUTE);

const fn guarded(ttl_max_ms: u64) -> Dialect {
    let Ok(ttl_max) = Ttl::from_millis(ttl_max_ms) else { panic!("a legal ttl") };
    Dialect::Scripts { restart_guard: Some(ttl_max), fence_retention: Dialect::FENCE_RETENTION }
}

/// A server and a connection to it.
struct Node {
    server: RedisServer,
    connection: Connection,
}

impl Node {
    fn start() -> Self {
        Self::on(RedisServer::start())
    }

    fn on(server: RedisServer) -> Self {
        let connection = connect(&server.url());
        Self { server, connection }
    }

    /// Sends `op` about [`KEY`].
    fn ask(&mut self, op: Op) -> Reply {
        self.ask_about(&[KEY], Dialect::SCRIPTS, op)
    }

    fn ask_about(&mut self, names: &[&str], dialect: Dialect, op: Op) -> Reply {
        let mut args = encode(names, dialect, &op, Form::Sha1);
        let names = bytes(names);
        let wire = Wire::new(Keys::new(&names).expect("names"), dialect).expect("a wire");
        for form in [Form::Sha1, Form::Text] {
            if form == Form::Text {
                args = encode(&texts(&names), dialect, &op, form);
            }
            let answer = self.connection.req_command(&command(&args)).expect("an answer");
            match with_value(&answer, |value| wire.decode(&op, value)) {
                Answer::Reply(Reply::Unknown) => panic!("{op:?}: {answer:?}"),
                Answer::Reply(reply) => return reply,
                Answer::ScriptMissing => {}
            }
        }
        panic!("a script that was sent is missing");
    }

    /// Sends `op` about [`KEY`] with one argument changed, to provoke an error.
    fn provoke(&mut self, op: Op, change: (&[u8], &str)) -> redis::RedisError {
        let mut args = encode(&[KEY], Dialect::SCRIPTS, &op, Form::Text);
        let place = args.iter().position(|arg| arg == change.0).expect("the argument");
        args[place] = change.1.into();
        self.send(&args).expect_err("an error")
    }

    /// Sends `op` about [`KEY`], and gets an error.
    fn refuse(&mut self, dialect: Dialect, op: Op) -> redis::RedisError {
        self.send(&encode(&[KEY], dialect, &op, Form::Text)).expect_err("an error")
    }

    fn send(&mut self, args: &[Vec<u8>]) -> RedisResult<redis::Value> {
        self.connection.req_command(&command(args)).and_then(redis::Value::extract_error)
    }

    fn inspect(&mut self, names: &[&str]) -> Sighting {
        let names = bytes(names);
        let wire = Wire::new(Keys::new(&names).expect("names"), Dialect::SCRIPTS).expect("a wire");
        let mut buffer = vec![0; wire.buffer_len()];
        let args = wire.encode_inspect(Form::Text, &mut buffer).expect("room");
        let args: Vec<_> = args.as_slice().iter().map(|arg| arg.to_vec()).collect();
        let answer = self.send(&args).expect("an answer");
        with_value(&answer, |value| wire.decode_inspect(value)).expect("a sighting")
    }

    fn declare_fresh(&mut self) -> redis::Value {
        let mut buffer = [0; 32];
        let args = encode_declare_fresh(Form::Text, &mut buffer).expect("room");
        let args: Vec<_> = args.as_slice().iter().map(|arg| arg.to_vec()).collect();
        self.send(&args).expect("an answer")
    }

    fn set(&self, key: &str, value: &str) {
        self.server.command(&["SET", key, value]);
    }

    fn number(&self, key: &str) -> Option<String> {
        self.server.query(&["GET", key])
    }

    /// When the key expires, in milliseconds since 1970; −1 for never, −2 for no key.
    fn expires_at(&self, key: &str) -> i64 {
        self.server.query(&["PEXPIRETIME", key])
    }

    fn run_id(&self) -> String {
        let info: String = self.server.query(&["INFO", "server"]);
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        run_id.expect("a run_id").to_owned()
    }
}

fn connect(url: &str) -> Connection {
    let client = redis::Client::open(url).expect("a URL");
    client.get_connection_with_timeout(redlatch_tests::PATIENCE).expect("a connection")
}

fn encode(names: &[&str], dialect: Dialect, op: &Op, form: Form) -> Vec<Vec<u8>> {
    let names = bytes(names);
    let wire = Wire::new(Keys::new(&names).expect("names"), dialect).expect("a wire");
    let mut buffer = vec![0; wire.buffer_len()];
    let args = wire.encode(op, form, &mut buffer).expect("room");
    args.as_slice().iter().map(|arg| arg.to_vec()).collect()
}

fn command(args: &[Vec<u8>]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(args);
    command
}

fn bytes<'a>(names: &[&'a str]) -> Vec<&'a [u8]> {
    names.iter().map(|name| name.as_bytes()).collect()
}

fn texts<'a>(names: &[&'a [u8]]) -> Vec<&'a str> {
    names.iter().map(|name| str::from_utf8(name).expect("text")).collect()
}

/// Lends an answer of redis-rs in the form of the protocol.
fn with_value<T>(answer: &redis::Value, read: impl FnOnce(&Value<'_>) -> T) -> T {
    if let redis::Value::Array(items) = answer {
        let items: Vec<_> = items.iter().map(scalar).collect();
        return read(&Value::Array(&items));
    }
    if let redis::Value::ServerError(error) = answer {
        return read(&Value::Error(error.code().as_bytes()));
    }
    read(&scalar(answer))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum of redis-rs is open")]
fn scalar(value: &redis::Value) -> Value<'_> {
    match value {
        redis::Value::Nil => Value::Nil,
        redis::Value::Int(int) => Value::Int(*int),
        redis::Value::BulkString(bytes) => Value::Bytes(bytes),
        redis::Value::Okay => Value::Bytes(b"OK"),
        _ => panic!("no answer to a script: {value:?}"),
    }
}

fn token(nonce: u8, attempt: u32) -> Token {
    Token::new([nonce; 16], attempt)
}

fn hex(token: Token) -> String {
    String::from_utf8(token.to_hex().to_vec()).expect("digits")
}

fn ttl(millis: u64) -> Ttl {
    Ttl::from_millis(millis).expect("a legal ttl")
}

fn fence(number: u64) -> Option<Fence> {
    Some(Fence::new(number).expect("a fence"))
}

fn acquire(token: Token, ttl_ms: u64, proposal: u64) -> Op {
    let proposal = Proposal::from_unix_micros(proposal).expect("a proposal");
    Op::Acquire { token, ttl: ttl(ttl_ms), proposal: Some(proposal) }
}

fn acquire_unfenced(token: Token) -> Op {
    Op::Acquire { token, ttl: ttl(MINUTE), proposal: None }
}

fn seal(token: Token, number: u64) -> Op {
    Op::Seal { token, fence: Fence::new(number).expect("a fence") }
}

fn extend(token: Token, ttl_ms: u64, number: u64) -> Op {
    Op::Extend { token, ttl: ttl(ttl_ms), fence: Fence::new(number) }
}

fn release(token: Token) -> Op {
    Op::Release { token, place: None }
}

/// A release of one who goes on waiting, since then.
fn queue(token: Token, since_ms: u64) -> Op {
    Op::Release { token, place: Some(Place::since_millis(since_ms)) }
}

const APPLIED: Reply = Reply::Applied { fence: None };
const REFUSED: Reply = Reply::Refused { remaining: None, fence: None };

fn applied(number: u64) -> Reply {
    Reply::Applied { fence: fence(number) }
}

/// A refusal that tells a remaining time of at most `ttl_ms`, and this number.
#[track_caller]
fn assert_taken(reply: Reply, ttl_ms: u64, number: u64) {
    let Reply::Refused { remaining: Some(remaining), fence: told } = reply else {
        panic!("expected a refusal, got {reply:?}");
    };
    assert!(remaining <= Duration::from_millis(ttl_ms), "{remaining:?}");
    assert!(remaining > Duration::ZERO);
    assert_eq!(told, Fence::new(number));
}

fn owner(token: Token) -> Owner {
    Owner::Token(hex(token))
}
