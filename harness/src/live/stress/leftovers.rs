//! What is left when all clients have gone: nothing may be.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::judge::Finding;
use super::process::Clients;
use crate::live::LOOK_EVERY;
use crate::live::node::Node;
use crate::live::run::RunError;

/// How long a client's thread may go on after its owner, and some time for a machine that does other things as well.
const GONE_MAX: Duration = Duration::from_secs(15);

/// What there was before the clients.
pub(super) struct Leftovers {
    descriptors: usize,
    threads: usize,
}

impl Leftovers {
    pub(super) fn begin(clients: &Clients) -> Result<Self, RunError> {
        Ok(Self { descriptors: clients.descriptors()?, threads: clients.threads()? })
    }

    /// What there is after them that was not there before, when they have had the time to go.
    pub(super) fn after(
        &self,
        clients: &Clients,
        tasks: usize,
        nodes: &[Arc<dyn Node>],
        resources: &[String],
        ttl: Duration,
    ) -> Result<Vec<Finding>, RunError> {
        let deadline = Instant::now() + GONE_MAX;
        let mut findings = Vec::new();
        let mut found = |what: &str, story: String| findings.push(Finding::of(what, &story));
        if tasks > 0 {
            found("task", format!("{tasks} tasks of the process have not ended"));
        }
        let threads = waned(deadline, self.threads, || clients.threads())?;
        if threads > self.threads {
            let before = self.threads;
            found("thread", format!("the process had {before} threads, and now has {threads}"));
        }
        let descriptors = waned(deadline, self.descriptors, || clients.descriptors())?;
        if descriptors > self.descriptors {
            let before = self.descriptors;
            let story =
                format!("the process had {before} files and sockets, and now has {descriptors}");
            found("descriptor", story);
        }
        thread::sleep(ttl);
        for node in nodes {
            let connections = waned(deadline, 0, || connections(&**node))?;
            if connections > 0 {
                let story = format!("{} still has {connections} connections", node.name());
                found("connection", story);
            }
            let keys = keys(&**node, resources)?;
            if keys > 0 {
                found("key", format!("{} still has {keys} keys of locks", node.name()));
            }
        }
        Ok(findings)
    }
}

/// What `count` comes to, once it is no more than `least`, or at the deadline.
fn waned(
    deadline: Instant,
    least: usize,
    count: impl Fn() -> Result<usize, RunError>,
) -> Result<usize, RunError> {
    loop {
        let now = count()?;
        if now <= least || Instant::now() > deadline {
            return Ok(now);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// How many clients a node has beside who asks.
fn connections(node: &(dyn Node + 'static)) -> Result<usize, RunError> {
    let list: String = node.query(&["CLIENT", "LIST"])?;
    Ok(list.lines().count().saturating_sub(1))
}

/// How many keys a node has that have a name of a lock, or no end.
fn keys(node: &(dyn Node + 'static), resources: &[String]) -> Result<u64, RunError> {
    let names = resources.iter().map(String::as_str);
    let mut question = vec!["EXISTS"];
    question.extend(names);
    Ok(node.query(&question)?)
}
