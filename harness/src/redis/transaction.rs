//! `MULTI`: commands that wait and are then carried out without another between them.

use super::keyspace::Millis;
use super::node::Redis;
use super::resp::Resp;
use super::session::Session;
use super::table::{self, Call, Caller, Outcome};

/// A connection's transaction, open or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    queue: Option<Vec<Vec<Vec<u8>>>>,
    /// A command in it was refused.
    spoilt: bool,
    /// Database, key and version of what is watched.
    watched: Vec<(usize, Vec<u8>, u64)>,
}

impl Transaction {
    /// Whether the command named `name` has to wait.
    pub(super) fn queues(&self, name: &str) -> bool {
        const AT_ONCE: [&str; 6] = ["exec", "discard", "multi", "watch", "quit", "reset"];
        self.queue.is_some() && !AT_ONCE.contains(&name)
    }

    pub(super) fn queue(&mut self, args: &[&[u8]]) -> Resp {
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        self.queue.get_or_insert_default().push(args);
        Resp::simple("QUEUED")
    }

    /// A command was refused before it was queued.
    pub(super) fn spoil(&mut self) {
        self.spoilt |= self.queue.is_some();
    }
}

pub(super) fn multi(call: &mut Call<'_>) -> Outcome {
    let transaction = &mut call.session.transaction;
    if transaction.queue.is_some() {
        return Err(Resp::error("ERR MULTI calls can not be nested"));
    }
    transaction.queue = Some(Vec::new());
    Ok(Resp::OK)
}

pub(super) fn discard(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.queue.is_none() {
        return Err(Resp::error("ERR DISCARD without MULTI"));
    }
    call.session.transaction = Transaction::default();
    Ok(Resp::OK)
}

pub(super) fn watch(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.queue.is_some() {
        return Err(Resp::error("ERR WATCH inside MULTI is not allowed"));
    }
    let db = call.session.db;
    for key in &call.args[1..] {
        let version = call.store.keyspace.version(call.now, db, key);
        call.session.transaction.watched.push((db, key.to_vec(), version));
    }
    Ok(Resp::OK)
}

pub(super) fn unwatch(call: &mut Call<'_>) -> Outcome {
    call.session.transaction.watched.clear();
    Ok(Resp::OK)
}

pub(super) fn exec(
    redis: &mut Redis,
    now: Millis,
    session: &mut Session,
    _args: &[&[u8]],
) -> Outcome {
    let transaction = std::mem::take(&mut session.transaction);
    let Some(queue) = transaction.queue else {
        return Err(Resp::error("ERR EXEC without MULTI"));
    };
    if transaction.spoilt {
        let text = "EXECABORT Transaction discarded because of previous errors.";
        return Err(Resp::error(text));
    }
    let keyspace = &redis.store.keyspace;
    let changed =
        |(db, key, version): &(usize, Vec<u8>, u64)| keyspace.version(now, *db, key) != *version;
    if transaction.watched.iter().any(changed) {
        return Ok(Resp::Nil);
    }
    let mut replies = Vec::with_capacity(queue.len());
    for args in &queue {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        replies.push(match table::find(redis.store.flavour, &args, Caller::Client) {
            Ok(spec) => redis.run(spec.run, now, session, &args),
            Err(error) => error,
        });
    }
    Ok(Resp::Array(replies))
}
