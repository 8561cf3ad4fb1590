//! Carries a plan's faults out, and notes what shows that they struck.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::network::Network;
use super::node::{Node, NodeError};
use super::plan::{Cue, Fault, Kind, LiveKind, Plan};
use super::proxy::{self, Connections, Link, Match, Rule, Then};
use super::record::Strike;
use super::workload::{Cues, Order};
use crate::plan::{Direction, FaultKind, Keep};

/// Between two tries of what may not be possible yet.
const AGAIN: Duration = Duration::from_millis(2);
/// How long a stranger tries to get a key, and a command is waited for that a fault is to meet.
const MEET_MAX: Duration = Duration::from_secs(2);
/// How long a stranger keeps a key at most.
const STRANGER_MS: &str = "10000";
/// What a stranger writes there.
const STRANGER: &str = "a-stranger-to-all-clients";
/// Commands by which locks are taken, where their keys are not known.
const LOCKING: [&str; 3] = ["SET", "EVAL", "EVALSHA"];
/// Between two times that scripts are forgotten.
const FORGET_EVERY: Duration = Duration::from_millis(10);
/// Removes the stranger's key, and nobody else's.
const LEAVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) \
                     else return 0 end";

/// What faults act on.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) plan: Arc<Plan>,
    /// The plan's nodes; behind them one that may take an address over.
    pub(super) nodes: Vec<Arc<dyn Node>>,
    pub(super) network: Arc<Network>,
    /// The key of each resource; none if any command may be of a lock.
    pub(super) keys: Vec<String>,
    pub(super) cues: Arc<Cues>,
    pub(super) clients: usize,
    /// How to tell each client's worker something; none where there are no workers.
    pub(super) orders: Vec<mpsc::Sender<Order>>,
    pub(super) origin: Instant,
}

impl Field {
    fn nodes_of(&self, fault: &Fault) -> Vec<usize> {
        (0..usize::from(self.plan.shape.nodes)).filter(|node| fault.who.is_node(*node)).collect()
    }

    fn clients_of(&self, fault: &Fault) -> Vec<usize> {
        (0..self.clients).filter(|client| fault.who.is_client(*client)).collect()
    }

    fn links_of(&self, fault: &Fault) -> Vec<(usize, usize)> {
        let clients = 0..self.clients;
        let nodes = usize::from(self.plan.shape.nodes);
        clients
            .flat_map(|client| (0..nodes).map(move |node| (client, node)))
            .filter(|(client, node)| fault.who.is_link(*client, *node))
            .collect()
    }

    /// Which commands take, extend, or give up a lock: those that name the key of one.
    fn of_locks(&self) -> Match {
        let keys: Vec<Vec<u8>> = self.keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        Match::any().when(move |command| {
            keys.is_empty() && LOCKING.iter().any(|name| command.is(name))
                || command.args().iter().skip(1).any(|argument| keys.contains(argument))
        })
    }

    /// The first resource's key; without one, a key that nobody has.
    fn first_key(&self) -> String {
        self.keys.first().cloned().unwrap_or_default()
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Carries all faults of the plan out, each in its time; what came of each, in their order. Whatever lasts is
/// over on return.
pub(super) async fn act(field: &Arc<Field>) -> Vec<Strike> {
    let tasks: Vec<_> = field
        .plan
        .faults
        .iter()
        .map(|fault| tokio::spawn(carry_out(Arc::clone(field), *fault)))
        .collect();
    let mut strikes = Vec::new();
    for task in tasks {
        strikes.push(task.await.unwrap_or_default());
    }
    strikes
}

async fn carry_out(field: Arc<Field>, fault: Fault) -> Strike {
    let came = match fault.when {
        Cue::Start => true,
        Cue::Asking => field.cues.asked().await,
        Cue::Granted => field.cues.granted().await,
    };
    if !came {
        return Strike::default();
    }
    sleep(millis(fault.at_ms)).await;
    let mut strike = Strike { began: Some(field.now()), ..Strike::default() };
    match befall(&field, &fault).await {
        Ok(evidence) => strike.evidence = evidence,
        Err(error) => strike.trouble = Some(error.to_string()),
    }
    strike.ended = Some(field.now());
    strike
}

/// What shows that a fault struck, if anything does at once; where commands have to show it, the log is looked
/// at later.
type Befallen = Result<Option<String>, NodeError>;

async fn befall(field: &Arc<Field>, fault: &Fault) -> Befallen {
    let lasts = millis(fault.for_ms);
    match fault.kind {
        Kind::Known(kind) => match kind {
            FaultKind::Crash { keep } if !field.clients_of(fault).is_empty() => {
                let _ = keep;
                kill_client(field, fault).await
            }
            FaultKind::Crash { keep } => crash(field, fault, keep, lasts).await,
            FaultKind::Pause if !field.clients_of(fault).is_empty() => {
                pause_client(field, fault, lasts).await
            }
            FaultKind::Pause => pause(field, fault, lasts).await,
            FaultKind::Cut { direction } => cut(field, fault, direction, lasts).await,
            FaultKind::Slow { by_us } => slow(field, fault, by_us, lasts).await,
            FaultKind::Rate { ppm } => rate(field, fault, ppm, lasts).await,
            FaultKind::Jump { by_us } => jump(field, fault, by_us / 1_000).await,
            FaultKind::Evict => evict(field, fault).await,
            FaultKind::Flush => flush(field, fault).await,
            FaultKind::Failover => fail_over(field, fault).await,
            // No scenario draws them, and a plan that somebody wrote is told so by its strike.
            FaultKind::Suspend
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::Freeze
            | FaultKind::WallSkew { .. }
            | FaultKind::HalfScripts { .. } => Ok(None),
        },
        Kind::Live(kind) => match kind {
            LiveKind::Overtaken => overtaken(field, fault, lasts).await,
            LiveKind::Duplicated => duplicated(field, fault, lasts).await,
            LiveKind::ReplyLost => reply_lost(field, fault, Then::Hang, lasts).await,
            LiveKind::ResetAfter => reply_lost(field, fault, Then::Reset, lasts).await,
            LiveKind::Refused => refused(field, fault, lasts).await,
            LiveKind::ScriptsForgotten => scripts_forgotten(field, fault, lasts).await,
            LiveKind::Occupied => occupied(field, fault, lasts).await,
        },
    }
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// Does something to a node, which blocks, elsewhere.
async fn on_node<T: Send + 'static>(
    field: &Field,
    node: usize,
    what: impl FnOnce(&(dyn Node + 'static)) -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    let node = Arc::clone(&field.nodes[node]);
    let name = node.name().to_owned();
    let done = spawn_blocking(move || what(&*node)).await;
    done.unwrap_or_else(|error| Err(lost(&name, &error)))
}

fn lost(node: &str, error: &impl ToString) -> NodeError {
    NodeError::Failed { node: node.to_owned(), what: "a fault".to_owned(), why: error.to_string() }
}

/// Does something to a link, which may block, elsewhere.
async fn on_link<T: Send + 'static>(
    field: &Field,
    (client, node): (usize, usize),
    what: impl FnOnce(&Link) -> std::io::Result<T> + Send + 'static,
) -> Result<T, NodeError> {
    let network = Arc::clone(&field.network);
    let name = field.nodes[node].name().to_owned();
    let done = spawn_blocking(move || what(network.link(client, node))).await;
    match done {
        Ok(done) => done.map_err(|error| lost(&name, &error)),
        Err(error) => Err(lost(&name, &error)),
    }
}

async fn crash(field: &Field, fault: &Fault, keep: Keep, lasts: Duration) -> Befallen {
    let mut down = Vec::new();
    for node in field.nodes_of(fault) {
        let began = field.now();
        on_node(field, node, |node| node.kill()).await?;
        sleep(lasts).await;
        let key = field.first_key();
        let left: u64 = on_node(field, node, move |node| {
            node.start(keep)?;
            node.query(&["EXISTS", &key])
        })
        .await?;
        let lasted = (field.now() - began).as_millis();
        match keep {
            Keep::All => down.push(format!("n{node} was down for {lasted} ms")),
            Keep::Synced | Keep::Nothing if left == 0 => {
                down.push(format!(
                    "n{node} was down for {lasted} ms and came back without the key"
                ));
            }
            Keep::Synced | Keep::Nothing => {}
        }
    }
    Ok((!down.is_empty()).then(|| down.join(", ")))
}

async fn pause(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    for node in field.nodes_of(fault) {
        on_node(field, node, |node| node.pause()).await?;
    }
    sleep(lasts).await;
    for node in field.nodes_of(fault) {
        on_node(field, node, |node| node.resume()).await?;
    }
    Ok(None)
}

async fn cut(field: &Field, fault: &Fault, direction: Direction, lasts: Duration) -> Befallen {
    for (client, node) in field.links_of(fault) {
        field.network.link(client, node).cut(Some(direction));
    }
    sleep(lasts).await;
    for (client, node) in field.links_of(fault) {
        field.network.link(client, node).cut(None);
    }
    Ok(None)
}

async fn slow(field: &Field, fault: &Fault, by_us: u32, lasts: Duration) -> Befallen {
    let by = Duration::from_micros(by_us.into());
    for (client, node) in field.links_of(fault) {
        field.network.link(client, node).set_delay(by, by);
    }
    sleep(lasts).await;
    for (client, node) in field.links_of(fault) {
        field.network.link(client, node).set_delay(Duration::ZERO, Duration::ZERO);
    }
    Ok(None)
}

async fn refused(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    let links = field.links_of(fault);
    for link in &links {
        on_link(field, *link, |link| {
            link.connections(Connections::Refuse)?;
            link.reset_all()
        })
        .await?;
    }
    sleep(lasts).await;
    for link in &links {
        on_link(field, *link, |link| link.connections(Connections::Pass)).await?;
    }
    let links: Vec<String> =
        links.iter().map(|(client, node)| format!("c{client}–n{node}")).collect();
    Ok((!links.is_empty()).then(|| format!("{} refused", links.join(", "))))
}

async fn rate(field: &Field, fault: &Fault, ppm: i32, lasts: Duration) -> Befallen {
    let mut off = Vec::new();
    for node in field.nodes_of(fault) {
        on_node(field, node, move |node| node.set_clock(0, ppm)).await?;
    }
    let began = Instant::now();
    sleep(lasts).await;
    for node in field.nodes_of(fault) {
        let ahead = on_node(field, node, ahead).await?;
        off.push(format!("n{node}'s clock was {ahead:+} ms off"));
        // It stays where it is: a clock that is set right jumps.
        let gained = began.elapsed().as_millis() as i128 * i128::from(ppm) / 1_000_000;
        let gained = i64::try_from(gained).unwrap_or(0);
        on_node(field, node, move |node| node.set_clock(gained, 0)).await?;
    }
    Ok((!off.is_empty()).then(|| off.join(", ")))
}

/// How far a node's clock is ahead of ours.
fn ahead(node: &(dyn Node + 'static)) -> Result<i64, NodeError> {
    let clock = node.clock()?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(clock.as_millis()).unwrap_or(0) - i64::try_from(ours.as_millis()).unwrap_or(0))
}

async fn jump(field: &Field, fault: &Fault, by_ms: i64) -> Befallen {
    let key = field.first_key();
    let mut gone = Vec::new();
    for node in field.nodes_of(fault) {
        let key = key.clone();
        let was_there = on_node(field, node, move |node| {
            let before: u64 = node.query(&["EXISTS", &key])?;
            node.jump(by_ms)?;
            Ok(before > 0)
        })
        .await?;
        gone.extend(was_there.then(|| format!("n{node} dropped a key")));
    }
    Ok((!gone.is_empty()).then(|| gone.join(", ")))
}

async fn evict(field: &Field, fault: &Fault) -> Befallen {
    let mut gone = Vec::new();
    for node in field.nodes_of(fault) {
        let key = field.first_key();
        let evicted = on_node(field, node, move |node| node.evict(&[&key])).await?;
        gone.extend((evicted > 0).then(|| format!("n{node} evicted {evicted} keys")));
    }
    Ok((!gone.is_empty()).then(|| gone.join(", ")))
}

async fn flush(field: &Field, fault: &Fault) -> Befallen {
    let mut gone = Vec::new();
    for node in field.nodes_of(fault) {
        let keys: u64 = on_node(field, node, |node| {
            let keys = node.query(&["DBSIZE"])?;
            node.flush()?;
            Ok(keys)
        })
        .await?;
        gone.extend((keys > 0).then(|| format!("n{node} lost {keys} keys")));
    }
    Ok((!gone.is_empty()).then(|| gone.join(", ")))
}

/// The last node follows the first from the beginning; it stops to when client 0 is about to ask, and takes the
/// address over when that was granted.
async fn fail_over(field: &Field, fault: &Fault) -> Befallen {
    let replica = field.nodes.len() - 1;
    on_node(field, replica, |replica| replica.command(&["REPLICAOF", "NO", "ONE"])).await?;
    field.cues.begin();
    if !field.cues.granted().await {
        return Ok(None);
    }
    let mut took = Vec::new();
    let key = field.first_key();
    for node in field.nodes_of(fault) {
        let held = key.clone();
        let had: Option<Vec<u8>> = on_node(field, node, move |node| {
            let had = node.query(&["GET", &held])?;
            node.kill()?;
            Ok(had)
        })
        .await?;
        let address: SocketAddr = field.nodes[replica].addr();
        for client in 0..field.clients {
            field.network.link(client, node).lead_to(address);
        }
        let held = key.clone();
        let has: Option<Vec<u8>> =
            on_node(field, replica, move |node| node.query(&["GET", &held])).await?;
        took.extend(
            (had.is_some() && had != has)
                .then(|| format!("the replica of n{node} had not the key that n{node} had")),
        );
    }
    Ok((!took.is_empty()).then(|| took.join(", ")))
}

/// How a fault of single commands struck.
fn struck(rules: &[Rule]) -> Option<String> {
    let struck: usize = rules.iter().map(Rule::struck).sum();
    (struck > 0).then(|| match struck {
        1 => "it struck 1 command".to_owned(),
        more => format!("it struck {more} commands"),
    })
}

async fn overtaken(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    let mut rules = Vec::new();
    for (client, node) in field.links_of(fault) {
        let link = field.network.link(client, node);
        rules.push((client, node, link.inject(field.of_locks().nth(1), proxy::Fault::HoldRequest)));
    }
    field.cues.begin();
    for (client, node, rule) in &rules {
        if met(rule).await {
            on_link(field, (*client, *node), Link::reset_all).await?;
        }
    }
    sleep(lasts).await;
    for (.., rule) in &rules {
        rule.release();
    }
    Ok(struck(&rules.into_iter().map(|(.., rule)| rule).collect::<Vec<_>>()))
}

/// Whether the rule strikes in time.
async fn met(rule: &Rule) -> bool {
    let deadline = Instant::now() + MEET_MAX;
    while rule.struck() == 0 && Instant::now() < deadline {
        sleep(AGAIN).await;
    }
    rule.struck() > 0
}

async fn duplicated(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    let links = field.links_of(fault).into_iter();
    let links = links.map(|(client, node)| field.network.link(client, node));
    let rules: Vec<Rule> =
        links.map(|link| link.inject(field.of_locks(), proxy::Fault::Duplicate)).collect();
    sleep(lasts).await;
    rules.iter().for_each(Rule::release);
    Ok(struck(&rules))
}

async fn reply_lost(field: &Field, fault: &Fault, then: Then, lasts: Duration) -> Befallen {
    let links = field.links_of(fault);
    let inject = |&(client, node): &(usize, usize)| {
        let link = field.network.link(client, node);
        link.inject(field.of_locks().nth(1), proxy::Fault::DropReply(then))
    };
    let rules: Vec<Rule> = links.iter().map(inject).collect();
    field.cues.begin();
    let deadline = Instant::now() + MEET_MAX;
    while rules.iter().any(|rule| rule.struck() == 0) && Instant::now() < deadline {
        sleep(AGAIN).await;
    }
    sleep(lasts).await;
    rules.iter().for_each(Rule::release);
    if then == Then::Hang {
        // What was lost makes the connection useless; in the end somebody notices.
        for link in links {
            on_link(field, link, Link::reset_all).await?;
        }
    }
    Ok(struck(&rules))
}

async fn scripts_forgotten(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    let end = Instant::now() + lasts;
    let mut times = 0;
    while Instant::now() < end {
        for node in field.nodes_of(fault) {
            on_node(field, node, |node| node.flush_scripts()).await?;
            times += 1;
        }
        sleep(FORGET_EVERY).await;
    }
    Ok((times > 0).then(|| format!("{times} times")))
}

/// A stranger takes the key when it is free, and gives it back when client 0 was granted the lock.
async fn occupied(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    let key = field.first_key();
    let mut taken = Vec::new();
    let deadline = Instant::now() + MEET_MAX;
    for node in field.nodes_of(fault) {
        loop {
            let key = key.clone();
            let is_taken = on_node(field, node, move |node| {
                let reply = node.command(&["SET", &key, STRANGER, "NX", "PX", STRANGER_MS])?;
                Ok(matches!(reply, redis::Value::Okay))
            })
            .await?;
            if is_taken {
                taken.push(node);
                break;
            }
            if Instant::now() > deadline {
                break;
            }
            sleep(AGAIN).await;
        }
    }
    field.cues.begin();
    let _ = lasts;
    let granted = field.cues.granted().await;
    for node in &taken {
        let key = key.clone();
        on_node(field, *node, move |node| node.command(&["EVAL", LEAVE, "1", &key, STRANGER]))
            .await?;
    }
    Ok((granted && !taken.is_empty()).then(|| "a stranger had the key".to_owned()))
}

async fn kill_client(field: &Field, fault: &Fault) -> Befallen {
    let mut held = Vec::new();
    for client in field.clients_of(fault) {
        let (done, is_done) = oneshot::channel();
        let Some(orders) = field.orders.get(client) else { continue };
        if orders.send(Order::Kill(done)).await.is_ok() && is_done.await == Ok(true) {
            held.push(format!("c{client} was killed while it held a lock"));
        }
    }
    Ok((!held.is_empty()).then(|| held.join(", ")))
}

async fn pause_client(field: &Field, fault: &Fault, lasts: Duration) -> Befallen {
    let mut held = Vec::new();
    for client in field.clients_of(fault) {
        let (done, is_done) = oneshot::channel();
        let Some(orders) = field.orders.get(client) else { continue };
        if orders.send(Order::Pause(done)).await.is_ok() && is_done.await == Ok(true) {
            held.push(format!("c{client} stood still while it held a lock"));
        }
    }
    sleep(lasts).await;
    for client in field.clients_of(fault) {
        let (done, is_done) = oneshot::channel();
        let Some(orders) = field.orders.get(client) else { continue };
        if orders.send(Order::Resume(done)).await.is_ok() {
            drop(is_done.await);
        }
    }
    Ok((!held.is_empty()).then(|| held.join(", ")))
}
