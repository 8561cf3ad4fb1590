//! The commands: their names, how many arguments they take, who may ask for them.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::flavour::Flavour;
use super::keyspace::Millis;
use super::node::{Redis, Store};
use super::resp::Resp;
use super::session::Session;
use super::{keys, lua, pubsub, server, sorted, strings, transaction};

/// What a command comes to: a reply, or the error that ended it early.
pub(super) type Outcome = Result<Resp, Resp>;

/// All that a command works on.
pub(super) struct Call<'a> {
    pub(super) store: &'a mut Store,
    pub(super) session: &'a mut Session,
    pub(super) now: Millis,
    /// The name and the arguments.
    pub(super) args: &'a [&'a [u8]],
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Client,
    Script,
}

/// One command.
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// How many words it has with its name; negative: at least as many.
    pub(super) arity: i32,
    pub(super) kind: Kind,
    pub(super) run: Run,
    has: fn(Flavour) -> bool,
}

/// What a command may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    /// Not to be called from scripts.
    Outside,
}

/// How a command is carried out.
#[derive(Clone, Copy)]
pub(super) enum Run {
    Store(fn(&mut Call<'_>) -> Outcome),
    /// One that may run scripts.
    Host(fn(&mut Redis, Millis, &mut Session, &[&[u8]]) -> Outcome),
}

const fn read(name: &'static str, arity: i32, run: fn(&mut Call<'_>) -> Outcome) -> Spec {
    Spec { name, arity, kind: Kind::Read, run: Run::Store(run), has: |_| true }
}

const fn write(name: &'static str, arity: i32, run: fn(&mut Call<'_>) -> Outcome) -> Spec {
    Spec { name, arity, kind: Kind::Write, run: Run::Store(run), has: |_| true }
}

const fn outside(name: &'static str, arity: i32, run: fn(&mut Call<'_>) -> Outcome) -> Spec {
    Spec { name, arity, kind: Kind::Outside, run: Run::Store(run), has: |_| true }
}

const fn host(
    name: &'static str,
    arity: i32,
    run: fn(&mut Redis, Millis, &mut Session, &[&[u8]]) -> Outcome,
) -> Spec {
    Spec { name, arity, kind: Kind::Outside, run: Run::Host(run), has: |_| true }
}

/// Every command.
pub(super) const TABLE: &[Spec] = &[
    read("get", 2, strings::get),
    read("mget", -2, strings::mget),
    read("strlen", 2, strings::strlen),
    write("set", -3, strings::set),
    write("setnx", 3, strings::setnx),
    write("setex", 4, strings::setex),
    write("psetex", 4, strings::psetex),
    write("getset", 3, strings::getset),
    write("getdel", 2, strings::getdel),
    write("append", 3, strings::append),
    write("incr", 2, strings::incr),
    write("decr", 2, strings::decr),
    write("incrby", 3, strings::incrby),
    write("decrby", 3, strings::decrby),
    Spec { has: Flavour::has_delex, ..write("delex", -2, strings::delex) },
    Spec { has: Flavour::has_delifeq, ..write("delifeq", 3, strings::delifeq) },
    write("del", -2, keys::del),
    write("unlink", -2, keys::del),
    read("exists", -2, keys::exists),
    read("touch", -2, keys::exists),
    read("type", 2, keys::kind),
    read("keys", 2, keys::keys),
    read("scan", -2, keys::scan),
    read("dbsize", 1, keys::dbsize),
    read("ttl", 2, keys::ttl),
    read("pttl", 2, keys::pttl),
    read("expiretime", 2, keys::expiretime),
    read("pexpiretime", 2, keys::pexpiretime),
    write("expire", -3, keys::expire),
    write("pexpire", -3, keys::pexpire),
    write("expireat", -3, keys::expireat),
    write("pexpireat", -3, keys::pexpireat),
    write("persist", 2, keys::persist),
    write("flushall", -1, keys::flushall),
    write("flushdb", -1, keys::flushdb),
    write("zadd", -4, sorted::zadd),
    write("zrem", -3, sorted::zrem),
    write("zpopmin", -2, sorted::zpopmin),
    read("zcard", 2, sorted::zcard),
    read("zscore", 3, sorted::zscore),
    read("zrange", -4, sorted::zrange),
    read("publish", 3, pubsub::publish),
    outside("subscribe", -2, pubsub::subscribe),
    outside("unsubscribe", -1, pubsub::unsubscribe),
    read("ping", -1, server::ping),
    read("echo", 2, server::echo),
    read("time", 1, server::time),
    read("info", -1, server::info),
    read("select", 2, server::select),
    outside("role", 1, server::role),
    outside("wait", 3, server::wait),
    outside("hello", -1, server::hello),
    outside("auth", -2, server::auth),
    outside("client", -2, server::client),
    outside("config", -2, server::config),
    outside("command", -1, server::command),
    outside("quit", -1, server::quit),
    outside("reset", 1, server::reset),
    outside("multi", 1, transaction::multi),
    outside("discard", 1, transaction::discard),
    outside("watch", -2, transaction::watch),
    outside("unwatch", 1, transaction::unwatch),
    host("exec", 1, transaction::exec),
    host("eval", -3, lua::eval),
    host("eval_ro", -3, lua::eval),
    host("evalsha", -3, lua::evalsha),
    host("evalsha_ro", -3, lua::evalsha),
    host("script", -2, lua::script),
];

/// The command that `args` asks for, if `caller` may.
pub(super) fn find(
    flavour: Flavour,
    args: &[&[u8]],
    caller: Caller,
) -> Result<&'static Spec, Resp> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Spec>> =
        LazyLock::new(|| TABLE.iter().map(|spec| (spec.name.as_bytes(), spec)).collect());
    let Some(name) = args.first() else { return Err(Resp::error("ERR empty command")) };
    let found = BY_NAME.get(name.to_ascii_lowercase().as_slice());
    let Some(spec) = found.filter(|spec| (spec.has)(flavour)) else {
        return Err(match caller {
            Caller::Client => unknown(flavour, args),
            Caller::Script => Resp::error(flavour.texts().unknown_in_script),
        });
    };
    if !fits(spec.arity, args.len()) {
        return Err(match caller {
            Caller::Client => wrong_arity(spec.name),
            Caller::Script => Resp::error(flavour.texts().arity_in_script),
        });
    }
    if caller == Caller::Script && spec.kind == Kind::Outside {
        return Err(Resp::error(flavour.texts().forbidden_in_script));
    }
    Ok(spec)
}

fn fits(arity: i32, words: usize) -> bool {
    let least = usize::try_from(arity.unsigned_abs()).unwrap_or(usize::MAX);
    if arity < 0 { words >= least } else { words == least }
}

/// The error for a command with too few or too many words.
pub(super) fn wrong_arity(name: &str) -> Resp {
    Resp::error(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The error for a second word that its command does not know.
pub(super) fn unknown_subcommand(args: &[&[u8]]) -> Resp {
    let (name, sub) = (args.first().copied(), args.get(1).copied());
    let name = String::from_utf8_lossy(name.unwrap_or_default()).to_uppercase();
    let sub = String::from_utf8_lossy(sub.unwrap_or_default());
    Resp::error(format!("ERR unknown subcommand '{sub}'. Try {name} HELP."))
}

/// Servers repeat the command's first 128 bytes, and as many of its arguments.
fn unknown(flavour: Flavour, args: &[&[u8]]) -> Resp {
    const SHOWN_MAX: usize = 128;
    let shown = |bytes: &[u8], max: usize| {
        String::from_utf8_lossy(&bytes[..bytes.len().min(max)]).into_owned()
    };
    let mut rest = String::new();
    for arg in &args[1..] {
        if rest.len() >= SHOWN_MAX {
            break;
        }
        rest += &format!("'{}' ", shown(arg, SHOWN_MAX - rest.len()));
    }
    let name = shown(args[0], SHOWN_MAX);
    if rest.is_empty() && flavour == Flavour::Redis8 {
        return Resp::error(format!("ERR unknown command '{name}'"));
    }
    Resp::error(format!("ERR unknown command '{name}', with args beginning with: {rest}"))
}
