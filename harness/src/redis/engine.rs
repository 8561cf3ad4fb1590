//! Lua 5.1 as Redis offers it to scripts.
#![expect(clippy::wildcard_enum_match_arm, reason = "the kinds of Lua's values are Lua's")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mlua::chunk::ChunkMode;
use mlua::{
    Error, Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState,
};

use super::flavour::Flavour;
use super::keyspace::Millis;
use super::lua::sha1_hex;
use super::node::Store;
use super::number;
use super::resp::Resp;
use super::session::Session;
use super::table::{self, Call, Caller, Kind, Run};

/// The name that scripts have in messages.
const CHUNK: &str = "user_script";
/// How deep a table may be nested in a reply; Redis stops where its stack ends.
const DEPTH_MAX: usize = 100;
/// How often a script is looked at while it runs, in instructions, and how often at most: a second or
/// so. A server would be busy for ever; a test should not.
const LOOK_EVERY: u32 = 100_000;
const LOOKS_MAX: u32 = 1_000;

/// What a script works on while it runs.
pub(super) struct Running {
    pub(super) store: Store,
    pub(super) session: Session,
    pub(super) now: Millis,
    pub(super) writes_left: Option<u32>,
}

/// An interpreter.
pub(super) struct Engine {
    lua: Lua,
    /// What scripts see as their globals.
    globals: Table,
    /// Stands between scripts and `globals`, so that they can neither change nor miss one.
    environment: Table,
    /// Calls a script; returns whether it ended well, and its result or its error.
    guarded: Function,
    looks: Arc<AtomicU32>,
}

impl Engine {
    pub(super) fn new() -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let globals = lua.create_table()?;
        globals.set("redis", redis_library(&lua)?)?;
        let (environment, guarded) = lua
            .load(include_str!("prelude.lua"))
            .set_name("=prelude")
            .call((globals.clone(), lua.create_function(plain)?, lua.create_function(locate)?))?;
        let looks = Arc::new(AtomicU32::new(0));
        let left = looks.clone();
        lua.set_hook(HookTriggers::new().every_nth_instruction(LOOK_EVERY), move |_, _| {
            if left.fetch_add(1, Ordering::Relaxed) < LOOKS_MAX {
                return Ok(VmState::Continue);
            }
            Err(Error::external(Raised {
                text: b"ERR the script runs for too long".into(),
                line: 1,
            }))
        })?;
        Ok(Self { lua, globals, environment, guarded, looks })
    }

    /// The function that `text` is.
    pub(super) fn compile(&self, text: &[u8]) -> Result<Function, Resp> {
        let text = without_shebang(text)?;
        let chunk = self.lua.load(&text[..]).set_name(format!("={CHUNK}"));
        let chunk = chunk.set_mode(ChunkMode::Text).set_environment(self.environment.clone());
        chunk.into_function().map_err(|error| {
            let message = match &error {
                Error::SyntaxError { message, .. } => message.clone(),
                _ => error.to_string(),
            };
            Resp::error(format!("ERR Error compiling script (new function): {message}"))
        })
    }

    /// Runs `function` on what is in `running`, which is handed back.
    pub(super) fn run(
        &self,
        function: &Function,
        running: Running,
        sha1: &str,
        keys: &[&[u8]],
        argv: &[&[u8]],
    ) -> (Running, mlua::Result<Resp>) {
        self.looks.store(0, Ordering::Relaxed);
        self.lua.set_app_data(running);
        let result = self.call(function, keys, argv);
        // It was put there three lines above, and only this function takes it.
        let running = self.lua.remove_app_data::<Running>().unwrap_or_else(|| unreachable!());
        let result = result.map(|result| {
            result.unwrap_or_else(|Raised { mut text, line }| {
                let tells = running.store.flavour.texts().tells_sha1;
                let name = if tells { format!("{sha1}, ") } else { String::new() };
                text.extend(format!(" script: {name}on @{CHUNK}:{line}.").bytes());
                Resp::Error(text)
            })
        });
        (running, result)
    }

    fn call(
        &self,
        function: &Function,
        keys: &[&[u8]],
        argv: &[&[u8]],
    ) -> mlua::Result<Result<Resp, Raised>> {
        self.globals.raw_set("KEYS", self.strings(keys)?)?;
        self.globals.raw_set("ARGV", self.strings(argv)?)?;
        let (ok, value): (bool, Value) = self.guarded.call(function)?;
        if ok {
            return to_resp(&value, 0).map(Ok);
        }
        let (text, line) = match &value {
            Value::Table(table) => (table.raw_get("err")?, table.raw_get("line").unwrap_or(1)),
            _ => (self.lua.create_string("ERR unknown error")?, 1),
        };
        Ok(Err(Raised { text: text.as_bytes().to_vec(), line }))
    }

    fn strings(&self, strings: &[&[u8]]) -> mlua::Result<Table> {
        let strings: mlua::Result<Vec<_>> =
            strings.iter().map(|string| self.lua.create_string(string)).collect();
        self.lua.create_sequence_from(strings?)
    }
}

/// Redis 7 lets a script begin with `#!lua`; the line stays, empty, so that the others keep their
/// numbers.
fn without_shebang(text: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, Resp> {
    if !text.starts_with(b"#!") {
        return Ok(text.into());
    }
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    let engine = text[2..end].split(|&byte| byte == b' ').next().unwrap_or_default();
    if engine != b"lua" {
        let engine = String::from_utf8_lossy(engine);
        return Err(Resp::error(format!("ERR Unexpected engine in script shebang: {engine}")));
    }
    Ok(text[end..].into())
}

/// The table `redis`.
fn redis_library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.set(
        "call",
        lua.create_function(|lua, args: MultiValue| {
            let reply = invoke(lua, &args);
            reply.map_or_else(|error| raise(lua, error), |reply| to_lua(lua, &reply))
        })?,
    )?;
    library.set(
        "pcall",
        lua.create_function(|lua, args: MultiValue| {
            let reply = invoke(lua, &args).unwrap_or_else(Resp::Error);
            to_lua(lua, &reply)
        })?,
    )?;
    library.set(
        "error_reply",
        lua.create_function(|lua, args: MultiValue| {
            let text = only_string(&args);
            let text = text.map(|text| text.strip_prefix(b"-").map(<[u8]>::to_vec).unwrap_or(text));
            to_lua(lua, &Resp::Error(text.unwrap_or_else(wrong_arguments)))
        })?,
    )?;
    library.set(
        "status_reply",
        lua.create_function(|lua, args: MultiValue| match only_string(&args) {
            Some(text) => single_field(lua, "ok", &text),
            None => single_field(lua, "err", &wrong_arguments()),
        })?,
    )?;
    library.set(
        "sha1hex",
        lua.create_function(|lua, args: MultiValue| match (args.len(), args.front()) {
            (1, Some(Value::String(text))) => {
                lua.create_string(sha1_hex(&text.as_bytes())).map(Value::String)
            }
            (_, _) => raise(lua, b"ERR wrong number of arguments".into()),
        })?,
    )?;
    // Nothing is written anywhere, and no effect is ever replicated otherwise than as it happens.
    library.set("log", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    library.set("replicate_commands", lua.create_function(|_, _: MultiValue| Ok(true))?)?;
    library.set("set_repl", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    library.set("breakpoint", lua.create_function(|_, _: MultiValue| Ok(false))?)?;
    let levels = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];
    for (level, name) in levels.iter().enumerate() {
        library.set(*name, level)?;
    }
    for (name, number) in [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_ALL", 3)] {
        library.set(name, number)?;
    }
    Ok(library)
}

fn wrong_arguments() -> Vec<u8> {
    b"ERR wrong number or type of arguments".to_vec()
}

fn only_string(args: &MultiValue) -> Option<Vec<u8>> {
    match (args.len(), args.front()) {
        (1, Some(Value::String(text))) => Some(text.as_bytes().to_vec()),
        (_, _) => None,
    }
}

/// An error on its way through Lua.
#[derive(Debug)]
struct Raised {
    text: Vec<u8>,
    line: usize,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::error::Error for Raised {}

fn raise(lua: &Lua, text: Vec<u8>) -> mlua::Result<Value> {
    Err(Error::external(Raised { text, line: current_line(lua) }))
}

/// The line of the script that is being carried out.
fn current_line(lua: &Lua) -> usize {
    const LEVELS_MAX: usize = 50;
    let line = |level: usize| {
        lua.inspect_stack(level, |frame| {
            let ours = frame.source().short_src.as_deref() == Some(CHUNK);
            frame.current_line().filter(|_| ours)
        })
    };
    (0..LEVELS_MAX).map_while(line).flatten().next().unwrap_or(1)
}

/// What `pcall` hands to a script that caught `error`: Redis makes strings of its own errors.
fn plain(lua: &Lua, error: Value) -> mlua::Result<Value> {
    let text = match &error {
        Value::Error(error) => Some(raised(error).0),
        Value::Table(table) => match table.raw_get("err")? {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            _ => None,
        },
        _ => None,
    };
    match text {
        Some(text) => lua.create_string(text).map(Value::String),
        None => Ok(error),
    }
}

/// What a script's uncaught error is for the client: `{err, line}`.
fn locate(lua: &Lua, error: Value) -> mlua::Result<Table> {
    let here = current_line(lua);
    let (text, line) = match &error {
        Value::Error(error) => raised(error),
        Value::Table(table) => match table.raw_get("err")? {
            Value::String(text) => {
                (text.as_bytes().to_vec(), table.raw_get("line").unwrap_or(here))
            }
            _ => (b"ERR unknown error".to_vec(), here),
        },
        Value::String(text) => ([b"ERR ", &text.as_bytes()[..]].concat(), here),
        _ => (b"ERR unknown error".to_vec(), here),
    };
    let located = lua.create_table()?;
    located.raw_set("err", lua.create_string(text)?)?;
    located.raw_set("line", line)?;
    Ok(located)
}

/// The text and the line of an error that passed through Rust.
fn raised(error: &Error) -> (Vec<u8>, usize) {
    if let Error::CallbackError { cause, .. } = error {
        return raised(cause);
    }
    match error.downcast_ref::<Raised>() {
        Some(Raised { text, line }) => (text.clone(), *line),
        None => (format!("ERR {error}").into_bytes(), 1),
    }
}

/// Carries out what a script calls.
fn invoke(lua: &Lua, args: &MultiValue) -> Result<Resp, Vec<u8>> {
    let mut running = lua.app_data_mut::<Running>().ok_or(b"ERR no script runs")?;
    let flavour = running.store.flavour;
    if args.is_empty() {
        return Err(flavour.texts().no_argument.into());
    }
    let words: Option<Vec<Vec<u8>>> = args.iter().map(|arg| word(lua, flavour, arg)).collect();
    let Some(words) = words else { return Err(flavour.texts().wrong_argument.into()) };
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let Running { store, session, now, writes_left } = &mut *running;
    let reply = table::find(flavour, &words, Caller::Script).and_then(|spec| {
        if spec.kind == Kind::Write {
            match writes_left {
                None => {}
                Some(0) => {
                    *writes_left = None;
                    let text = "OOM command not allowed when used memory > 'maxmemory'.";
                    return Err(Resp::error(text));
                }
                Some(left) => *left -= 1,
            }
        }
        match spec.run {
            Run::Store(run) => run(&mut Call { store, session, now: *now, args: &words }),
            // No command of this kind may be called from scripts.
            Run::Host(_) => Err(Resp::error(flavour.texts().forbidden_in_script)),
        }
    });
    match reply {
        Err(Resp::Error(error)) => Err(error),
        Ok(reply) | Err(reply) => Ok(reply),
    }
}

/// An argument as servers put it into bytes.
fn word(lua: &Lua, flavour: Flavour, arg: &Value) -> Option<Vec<u8>> {
    let number = match arg {
        Value::String(text) => return Some(text.as_bytes().to_vec()),
        #[expect(clippy::cast_precision_loss, reason = "it was a double before mlua looked at it")]
        Value::Integer(number) => *number as f64,
        Value::Number(number) => *number,
        _ => return None,
    };
    match flavour {
        Flavour::Redis7 => {
            let string: Table = lua.globals().get("string").ok()?;
            let format: Function = string.get("format").ok()?;
            let text: mlua::LuaString = format.call(("%.17g", number)).ok()?;
            Some(text.as_bytes().to_vec())
        }
        Flavour::Redis8 | Flavour::Valkey9 => Some(number::shortest(number).into_bytes()),
    }
}

/// A reply, as scripts see it.
fn to_lua(lua: &Lua, reply: &Resp) -> mlua::Result<Value> {
    match reply {
        Resp::Nil => Ok(Value::Boolean(false)),
        Resp::Int(int) => Ok(Value::Integer(*int)),
        Resp::Bulk(bytes) | Resp::Verbatim(bytes) => lua.create_string(bytes).map(Value::String),
        Resp::Simple(text) => single_field(lua, "ok", text.as_bytes()),
        Resp::Error(text) => single_field(lua, "err", text),
        Resp::Score(score) => lua.create_string(score.to_string()).map(Value::String),
        Resp::Array(items) | Resp::Push(items) | Resp::Several(items) => {
            let items: mlua::Result<Vec<Value>> =
                items.iter().map(|item| to_lua(lua, item)).collect();
            lua.create_sequence_from(items?).map(Value::Table)
        }
        Resp::Map(pairs) => {
            let flat = pairs.iter().flat_map(|(key, value)| [key, value]);
            let items: mlua::Result<Vec<Value>> = flat.map(|item| to_lua(lua, item)).collect();
            lua.create_sequence_from(items?).map(Value::Table)
        }
    }
}

fn single_field(lua: &Lua, field: &str, text: &[u8]) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set(field, lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// What a script returned, as clients see it.
fn to_resp(value: &Value, depth: usize) -> mlua::Result<Resp> {
    Ok(match value {
        Value::String(text) => Resp::bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Resp::Int(*number),
        // Numbers are cut, not rounded.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Redis casts to a long in the same way"
        )]
        Value::Number(number) => Resp::Int(*number as i64),
        Value::Boolean(true) => Resp::YES,
        Value::Table(_) if depth >= DEPTH_MAX => Resp::error("ERR reached lua stack limit"),
        Value::Table(table) => table_to_resp(table, depth)?,
        _ => Resp::Nil,
    })
}

/// `{err = …}`, `{ok = …}`, or an array that ends before its first nil.
fn table_to_resp(table: &Table, depth: usize) -> mlua::Result<Resp> {
    if let Value::String(error) = table.raw_get("err")? {
        return Ok(Resp::Error(error.as_bytes().to_vec()));
    }
    if let Value::String(status) = table.raw_get("ok")? {
        return Ok(Resp::simple(status.to_string_lossy()));
    }
    let mut items = Vec::new();
    loop {
        let item: Value = table.raw_get(items.len() + 1)?;
        if item.is_nil() {
            return Ok(Resp::Array(items));
        }
        items.push(to_resp(&item, depth + 1)?);
    }
}
