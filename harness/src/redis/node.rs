//! One server without a network.

use crate::node::WallMillis;

use super::flavour::Flavour;
use super::keyspace::{Keep, Keyspace, Millis};
use super::lua::Scripts;
use super::pubsub::{self, Channels};
use super::resp::Resp;
use super::session::Session;
use super::table::{self, Call, Caller, Run};

/// One server: its keys, its scripts, its identity. What changes is an argument, so equal calls on
/// equal servers have equal results.
#[derive(Debug)]
pub struct Redis {
    pub(super) store: Store,
    pub(super) scripts: Scripts,
}

/// All of a server but its scripts, so that these can borrow it while they run.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) keyspace: Keyspace,
    pub(super) channels: Channels,
    pub(super) flavour: Flavour,
    pub(super) run_id: String,
    pub(super) started_at: Millis,
    pub(super) port: u16,
    /// What is safe on disk.
    synced: Keyspace,
    seed: u64,
    boots: u64,
}

impl Redis {
    /// A server without keys, whose `run_id` is drawn from `seed`: give every node one of its own.
    #[must_use]
    pub fn new(flavour: Flavour, seed: u64) -> Self {
        let store = Store { flavour, seed, run_id: run_id(seed, 0), ..Store::default() };
        Self { store, scripts: Scripts::default() }
    }

    /// Carries out one command, its name and arguments, when the node's wall clock shows `now`.
    ///
    /// Whatever the server says to it is the reply, errors too.
    pub fn execute<A: AsRef<[u8]>>(
        &mut self,
        now: WallMillis,
        session: &mut Session,
        args: &[A],
    ) -> Resp {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let now = millis(now);
        let spec = match table::find(self.store.flavour, &args, Caller::Client) {
            Ok(spec) => spec,
            Err(error) => {
                session.transaction.spoil();
                return error;
            }
        };
        if let Some(refused) = pubsub::refusal(session, spec.name) {
            return refused;
        }
        if session.transaction.queues(spec.name) {
            return session.transaction.queue(&args);
        }
        self.run(spec.run, now, session, &args)
    }

    pub(super) fn run(
        &mut self,
        run: Run,
        now: Millis,
        session: &mut Session,
        args: &[&[u8]],
    ) -> Resp {
        let outcome = match run {
            Run::Store(run) => run(&mut Call { store: &mut self.store, session, now, args }),
            Run::Host(run) => run(self, now, session, args),
        };
        outcome.unwrap_or_else(|error| error)
    }

    /// The id that `INFO` tells; another one after every restart.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.store.run_id
    }

    /// Which server it is like.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.store.flavour
    }

    /// What is in a key of database 0, if it is there and a string.
    #[must_use]
    pub fn value(&self, now: WallMillis, key: &[u8]) -> Option<&[u8]> {
        let entry = self.store.keyspace.peek(millis(now), 0, key)?;
        entry.value.string().map(Vec::as_slice)
    }

    /// What was published to sessions that listen, by their ids, since this was last asked.
    pub fn take_messages(&mut self) -> Vec<(u64, Resp)> {
        self.store.channels.take()
    }

    /// The session with this id has ended, and listens no longer.
    pub fn leave(&mut self, id: u64) {
        self.store.channels.leave(id);
    }

    /// How long a key of database 0 still lives: `None` if it is not there, or never expires.
    #[must_use]
    pub fn remaining_ms(&self, now: WallMillis, key: &[u8]) -> Option<u64> {
        let expires_at = self.store.keyspace.peek(millis(now), 0, key)?.expires_at?;
        u64::try_from(expires_at - millis(now)).ok()
    }

    /// The keys of database 0, in order.
    #[must_use]
    pub fn keys(&self, now: WallMillis) -> Vec<&[u8]> {
        self.store.keyspace.names(millis(now), 0)
    }

    /// Whether any key expires between the two instants, both included.
    #[must_use]
    pub fn expires_between(&self, from: WallMillis, to: WallMillis) -> bool {
        let (from, to) = (millis(from), millis(to));
        self.store.keyspace.expiries().any(|at| from <= at && at <= to)
    }

    /// Writes all keys to disk, from which [`Keep::Synced`] reads them.
    pub fn sync(&mut self) {
        self.store.synced = self.store.keyspace.clone();
    }

    /// Ends the server and starts it again: another `run_id`, no scripts, and the keys that it kept.
    /// Every session ends too; begin new ones.
    pub fn restart(&mut self, now: WallMillis, keep: Keep) {
        let store = &mut self.store;
        match keep {
            Keep::All => {}
            Keep::Synced => store.keyspace = store.synced.clone(),
            Keep::Nothing => store.keyspace.clear_all(),
        }
        store.boots += 1;
        store.run_id = run_id(store.seed, store.boots);
        store.started_at = millis(now);
        store.channels.clear();
        self.scripts.restart();
    }

    /// Takes a key of database 0 away, as a server that is short of memory does; whether it was there.
    pub fn evict(&mut self, now: WallMillis, key: &[u8]) -> bool {
        self.store.keyspace.remove(millis(now), 0, key)
    }

    /// Takes every key away, as `FLUSHALL`.
    pub fn flush(&mut self) {
        self.store.keyspace.clear_all();
    }

    /// Cuts the next script off when it wants to write for the `writes`-and-first time, as a server does
    /// that runs out of memory. What it wrote before stays: Redis never rolls back.
    pub fn stop_script_after(&mut self, writes: u32) {
        self.scripts.stop_after(writes);
    }

    /// Plants a bug: from now on, whoever asks for the script with this SHA-1, by its name or by its
    /// text, gets `text` run instead, with the same keys and arguments.
    pub fn replace_script(&mut self, sha1: &str, text: &str) {
        self.scripts.replace(sha1, text);
    }

    /// Tells the server the port that `INFO` is to tell.
    pub fn set_port(&mut self, port: u16) {
        self.store.port = port;
    }
}

pub(super) fn millis(now: WallMillis) -> Millis {
    Millis::try_from(now).unwrap_or(Millis::MAX)
}

/// Forty hexadecimal digits, as servers draw them, that differ by seed and boot.
fn run_id(seed: u64, boot: u64) -> String {
    let digest = sha1_smol::Sha1::from(format!("redlatch node {seed} boot {boot}"));
    digest.digest().to_string()
}
