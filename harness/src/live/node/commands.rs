//! What works on every node, because it needs no more than commands.

use std::thread;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, IntoConnectionInfo, RedisResult, Value};

use super::{Ability, Node, NodeError};
use crate::live::{LOOK_EVERY, PATIENCE};

/// Longest silence that [`Node::command`](trait.Node.html#method.command) bears: half of what everything else waits,
/// so that the error names the command and not the wait around it.
const ANSWER: Duration = Duration::from_secs(5);

/// How often [`evict`](trait.Node.html#method.evict) lowers the limit: every few times some key goes, and there are few.
const EVICTIONS_MAX: usize = 200;

/// Shifts what every key has still to live, in one step: what a jump of the wall clock does to them.
const JUMP: &str = "
    local by = tonumber(ARGV[1])
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local left = redis.call('PTTL', key)
        if left >= 0 then
            if left > by then redis.call('PEXPIRE', key, left - by) else redis.call('DEL', key) end
        end
    end
    return redis.status_reply('OK')";

/// When a node writes to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// After each write, before it answers.
    Always,
    /// Once a second.
    EverySecond,
    /// When the operating system likes.
    Never,
    /// There is no append-only file.
    Off,
}

/// Which keys go first when there is no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// None; writes are refused.
    Refuse,
    /// Of those that expire, the ones that expire first: the locks.
    SoonestExpiry,
    /// Any.
    Random,
}

impl Eviction {
    const fn policy(self) -> &'static str {
        match self {
            Self::Refuse => "noeviction",
            Self::SoonestExpiry => "volatile-ttl",
            Self::Random => "allkeys-random",
        }
    }
}

impl dyn Node + '_ {
    /// Runs one command over a fresh direct connection and returns its reply.
    ///
    /// # Errors
    ///
    /// If the node refuses it, or is silent for 5 s.
    pub fn command(&self, args: &[&str]) -> Result<Value, NodeError> {
        self.query(args)
    }

    /// As `command`, with the reply as a type of choice.
    pub fn query<T: FromRedisValue>(&self, args: &[&str]) -> Result<T, NodeError> {
        let what = args.first().copied().unwrap_or("an empty command");
        query(&self.url(), args, ANSWER)
            .map_err(|error| NodeError::failed(self.name(), what, error))
    }

    /// The server's own wall clock, since the epoch.
    pub fn clock(&self) -> Result<Duration, NodeError> {
        let (seconds, micros): (u64, u64) = self.query(&["TIME"])?;
        Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
    }

    /// Makes it forget all keys.
    pub fn flush(&self) -> Result<(), NodeError> {
        self.configure(&["FLUSHALL", "SYNC"])
    }

    /// Makes it forget all scripts.
    pub fn flush_scripts(&self) -> Result<(), NodeError> {
        self.configure(&["SCRIPT", "FLUSH", "SYNC"])
    }

    /// Changes when it writes to disk.
    pub fn set_fsync(&self, fsync: Fsync) -> Result<(), NodeError> {
        for (name, value) in fsync.settings() {
            self.configure(&["CONFIG", "SET", name, value])?;
        }
        // A new append-only file begins with what is in memory, written beside the server's work.
        let deadline = Instant::now() + PATIENCE;
        while ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .into_iter()
            .try_fold(false, |is_busy, name| {
                Ok(is_busy || self.statistic("persistence", name)? != 0)
            })?
        {
            if Instant::now() > deadline {
                return Err(NodeError::failed(
                    self.name(),
                    "begin an append-only file",
                    "it takes too long",
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
        for (name, value) in fsync.settings() {
            self.remember(name, value);
        }
        Ok(())
    }

    /// Bounds its memory, or lifts the bound; what is above it goes by `eviction`.
    pub fn limit_memory(&self, bytes: Option<u64>, eviction: Eviction) -> Result<(), NodeError> {
        self.set("maxmemory-policy", eviction.policy())?;
        self.set("maxmemory", &bytes.unwrap_or(0).to_string())
    }

    /// Lowers the limit of memory until the server has evicted all of `keys` itself, lifts it again, and says how many
    /// keys went in all: those that expire first, which locks are.
    pub fn evict(&self, keys: &[&str]) -> Result<u64, NodeError> {
        let before = self.evicted()?;
        let lowered = self.lower_until_gone(keys);
        // The limit is lifted whatever became of it.
        self.limit_memory(None, Eviction::Refuse)?;
        lowered?;
        Ok(self.evicted()? - before)
    }

    /// Shifts all expiries at once, as if the server's wall clock had jumped ahead by this much (back, if negative).
    /// Works on any server, but `TIME` does not tell it.
    pub fn jump(&self, by_ms: i64) -> Result<(), NodeError> {
        self.configure(&["EVAL", JUMP, "0", &by_ms.to_string()])
    }

    fn set(&self, name: &str, value: &str) -> Result<(), NodeError> {
        self.configure(&["CONFIG", "SET", name, value])?;
        self.remember(name, value);
        Ok(())
    }

    fn configure(&self, args: &[&str]) -> Result<(), NodeError> {
        if !self.can(Ability::Command) {
            let why = "it is somebody else's server, and was not declared to be disposable";
            return Err(NodeError::unable(self.name(), Ability::Command, why));
        }
        self.query::<Value>(args).map(drop)
    }

    fn lower_until_gone(&self, keys: &[&str]) -> Result<(), NodeError> {
        let exists = [&["EXISTS"], keys].concat();
        // The more it looks at, the more surely it finds the ones that expire first.
        self.set("maxmemory-samples", "64")?;
        let mut gone = self.evicted()?;
        let mut below = 1;
        for _ in 0..EVICTIONS_MAX {
            if self.query::<u64>(&exists)? == 0 {
                return Ok(());
            }
            let used = self.statistic("memory", "used_memory")?;
            // 0 would be no limit.
            let limit = used.saturating_sub(below).max(1);
            self.limit_memory(Some(limit), Eviction::SoonestExpiry)?;
            // What connections take comes and goes: a limit just below what was in use may be met without an eviction.
            let before = std::mem::replace(&mut gone, self.evicted()?);
            below = if gone == before { below.saturating_mul(2) } else { 1 };
        }
        let why = format!("{EVICTIONS_MAX} evictions did not meet them; do they expire at all?");
        Err(NodeError::failed(self.name(), "evict keys", why))
    }

    fn evicted(&self) -> Result<u64, NodeError> {
        self.statistic("stats", "evicted_keys")
    }

    fn statistic(&self, section: &str, name: &str) -> Result<u64, NodeError> {
        let info: String = self.query(&["INFO", section])?;
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = value.and_then(|value| value.trim().parse().ok());
        number.ok_or_else(|| {
            NodeError::failed(self.name(), "INFO", format!("it does not tell {name}"))
        })
    }
}

/// One command over a connection of its own.
pub(super) fn query<T: FromRedisValue>(
    url: &str,
    args: &[&str],
    patience: Duration,
) -> RedisResult<T> {
    let mut connection = connect(url, patience)?;
    let mut command = redis::Cmd::new();
    command.arg(args);
    command.query(&mut connection)
}

/// A connection whose calls all end after `patience`.
pub(crate) fn connect(url: &str, patience: Duration) -> RedisResult<redis::Connection> {
    let info = url.into_connection_info()?;
    // Without the library's name the login is the whole handshake: redis-rs would wait anew for every reply that a
    // silent server owes.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let client = redis::Client::open(info.set_redis_settings(settings))?;
    let connection = client.get_connection_with_timeout(patience)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    Ok(connection)
}
