//! `EVAL` and what belongs to it: the scripts that a server knows.

use std::collections::HashMap;
use std::fmt;

use mlua::Function;

use super::engine::{Engine, Running};
use super::flavour::Flavour;
use super::keyspace::Millis;
use super::node::Redis;
use super::number::integer;
use super::resp::Resp;
use super::session::Session;
use super::table::{Outcome, unknown_subcommand, wrong_arity};

/// A server's scripts, and the interpreter that runs them.
#[derive(Default)]
pub(super) struct Scripts {
    /// Made when the first script comes.
    engine: Option<Engine>,
    texts: HashMap<String, Vec<u8>>,
    compiled: HashMap<String, Function>,
    /// Planted bugs: what to run instead of the script with this SHA-1.
    replaced: HashMap<String, String>,
    /// How many writes the next script may make before it is cut off.
    writes_left: Option<u32>,
}

impl Scripts {
    /// A server that starts knows no script.
    pub(super) fn restart(&mut self) {
        self.texts.clear();
        self.compiled.clear();
        self.writes_left = None;
    }

    pub(super) fn stop_after(&mut self, writes: u32) {
        self.writes_left = Some(writes);
    }

    pub(super) fn replace(&mut self, sha1: &str, text: &str) {
        self.replaced.insert(sha1.to_owned(), text.to_owned());
        self.compiled.remove(sha1);
    }

    /// Takes `text` in, under its SHA-1, if it compiles.
    fn load(&mut self, text: &[u8]) -> Result<String, Resp> {
        let sha1 = sha1_hex(text);
        if !self.texts.contains_key(&sha1) {
            self.compile(&sha1, text)?;
            self.texts.insert(sha1.clone(), text.to_vec());
        }
        Ok(sha1)
    }

    /// The compiled script with this SHA-1.
    fn find(&mut self, sha1: &str, flavour: Flavour) -> Result<Function, Resp> {
        if let Some(function) = self.compiled.get(sha1) {
            return Ok(function.clone());
        }
        let missing = || Resp::error(flavour.texts().no_script);
        let text = self.texts.get(sha1).ok_or_else(missing)?.clone();
        self.compile(sha1, &text)
    }

    fn compile(&mut self, sha1: &str, text: &[u8]) -> Result<Function, Resp> {
        let text = self.replaced.get(sha1).map_or(text, |text| text.as_bytes());
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none @ None => none.insert(Engine::new().map_err(broken)?),
        };
        let function = engine.compile(text)?;
        self.compiled.insert(sha1.to_owned(), function.clone());
        Ok(function)
    }
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").field("known", &self.texts.keys()).finish_non_exhaustive()
    }
}

/// The interpreter does not work; cannot happen while there is memory.
fn broken(error: mlua::Error) -> Resp {
    Resp::error(format!("ERR the script engine failed: {error}"))
}

pub(super) fn sha1_hex(text: &[u8]) -> String {
    sha1_smol::Sha1::from(text).digest().to_string()
}

pub(super) fn eval(
    redis: &mut Redis,
    now: Millis,
    session: &mut Session,
    args: &[&[u8]],
) -> Outcome {
    let (keys, argv) = split(args)?;
    let sha1 = redis.scripts.load(args[1])?;
    run(redis, now, session, &sha1, keys, argv)
}

pub(super) fn evalsha(
    redis: &mut Redis,
    now: Millis,
    session: &mut Session,
    args: &[&[u8]],
) -> Outcome {
    let (keys, argv) = split(args)?;
    let sha1 = String::from_utf8_lossy(args[1]).to_lowercase();
    run(redis, now, session, &sha1, keys, argv)
}

/// Words of a command.
type Words<'a> = &'a [&'a [u8]];

/// Splits what follows the script into keys and arguments.
fn split<'a>(args: Words<'a>) -> Result<(Words<'a>, Words<'a>), Resp> {
    let count = integer(args[2])?;
    let negative = |_| Resp::error("ERR Number of keys can't be negative");
    let count = usize::try_from(count).map_err(negative)?;
    let too_many = || Resp::error("ERR Number of keys can't be greater than number of args");
    args[3..].split_at_checked(count).ok_or_else(too_many)
}

fn run(
    redis: &mut Redis,
    now: Millis,
    session: &mut Session,
    sha1: &str,
    keys: &[&[u8]],
    argv: &[&[u8]],
) -> Outcome {
    let scripts = &mut redis.scripts;
    let function = scripts.find(sha1, redis.store.flavour)?;
    let Some(engine) = &scripts.engine else { return Err(Resp::error("ERR no script engine")) };
    // The interpreter's functions live as long as it does, so the data goes to them, and comes back.
    let running = Running {
        store: std::mem::take(&mut redis.store),
        session: Session { db: session.db, ..Session::default() },
        now,
        writes_left: scripts.writes_left,
    };
    let (running, result) = engine.run(&function, running, sha1, keys, argv);
    scripts.writes_left = running.writes_left;
    redis.store = running.store;
    result.map_err(broken)
}

pub(super) fn script(
    redis: &mut Redis,
    _now: Millis,
    _session: &mut Session,
    args: &[&[u8]],
) -> Outcome {
    let scripts = &mut redis.scripts;
    let sub = args[1].to_ascii_uppercase();
    match (sub.as_slice(), &args[2..]) {
        (b"LOAD", [text]) => scripts.load(text).map(Resp::bulk),
        (b"EXISTS", [_, ..]) => {
            let known = args[2..].iter().map(|sha1| {
                let sha1 = String::from_utf8_lossy(sha1).to_lowercase();
                Resp::from(scripts.texts.contains_key(&sha1))
            });
            Ok(Resp::Array(known.collect()))
        }
        (b"FLUSH", mode) => {
            let known = |mode: &[u8]| {
                mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC")
            };
            if mode.len() > 1 || !mode.iter().all(|mode| known(mode)) {
                return Err(Resp::error("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
            }
            scripts.texts.clear();
            scripts.compiled.clear();
            Ok(Resp::OK)
        }
        (b"KILL", []) => Err(Resp::error("NOTBUSY No scripts in execution right now.")),
        (b"LOAD" | b"EXISTS" | b"KILL", _) => {
            let sub = String::from_utf8_lossy(&sub).to_lowercase();
            Err(wrong_arity(&format!("script|{sub}")))
        }
        (_, _) => Err(unknown_subcommand(args)),
    }
}
