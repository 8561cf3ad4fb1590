//! What a node has to do.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redlatch_harness::live::PATIENCE;
use redlatch_harness::live::network::Network;
use redlatch_harness::live::node::{Ability, Eviction, Fsync, Keep, Node};
use redlatch_harness::live::observe::{Seen, Watch};
use redlatch_harness::live::proxy::{Answer, Fault, Link, Match, Then};
use redlatch_harness::plan::Direction;

use crate::eventually;

/// How long something must stay silent to count as hanging: longer than an answer takes.
const SILENCE: Duration = Duration::from_millis(100);

pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Ability],
    pub(crate) run: fn(&dyn Node),
}

pub(crate) const ALL: &[Check] = &[
    Check { name: "it answers", needs: &[Ability::Command], run: it_answers },
    Check {
        name: "what is killed is gone, and comes back at its place",
        needs: &[Ability::Process],
        run: killed,
    },
    Check {
        name: "what is stopped is gone, and comes back at its place",
        needs: &[Ability::Process],
        run: stopped,
    },
    Check {
        name: "it keeps its data or not",
        needs: &[Ability::Process, Ability::Wipe],
        run: keeps,
    },
    Check { name: "power takes what was not synced", needs: &[Ability::PowerLoss], run: power },
    Check { name: "a paused one stands still", needs: &[Ability::Pause], run: paused },
    Check {
        name: "one that is killed while paused does nothing more",
        needs: &[Ability::Pause, Ability::Process],
        run: killed_while_paused,
    },
    Check { name: "it forgets its scripts", needs: &[Ability::Command], run: scripts },
    Check { name: "it has limits of memory", needs: &[Ability::Command], run: memory },
    Check { name: "it evicts locks by itself", needs: &[Ability::Command], run: evicts },
    Check { name: "expiries jump", needs: &[Ability::Command], run: jumps },
    Check {
        name: "its clock jumps",
        needs: &[Ability::ClockShift, Ability::Process],
        run: clock_jumps,
    },
    Check { name: "its clock runs at another rate", needs: &[Ability::ClockRate], run: clock_runs },
];

fn set(node: &dyn Node, key: &str, px: &str) {
    let _ = node.command(&["SET", key, "value", "PX", px]).expect("SET");
}

fn has(node: &dyn Node, key: &str) -> bool {
    node.query(&["EXISTS", key]).expect("EXISTS")
}

fn left_ms(node: &dyn Node, key: &str) -> i64 {
    node.query(&["PTTL", key]).expect("PTTL")
}

fn run_id(node: &dyn Node) -> String {
    let info: String = node.query(&["INFO", "server"]).expect("INFO");
    info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a run_id").to_owned()
}

fn refuses_connections(node: &dyn Node) {
    let error = TcpStream::connect(node.addr()).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

fn it_answers(node: &dyn Node) {
    set(node, "key", "60000");
    assert_eq!(node.query::<String>(&["GET", "key"]).as_deref(), Ok("value"));
    node.flush().expect("FLUSHALL");
    assert!(!has(node, "key"));
    let error = node.command(&["NO-SUCH-COMMAND"]).expect_err("no such command").to_string();
    assert!(error.contains("n0") && error.contains("NO-SUCH-COMMAND"), "{error}");
}

fn killed(node: &dyn Node) {
    let (addr, before) = (node.addr(), run_id(node));
    node.kill().expect("it can be killed");
    refuses_connections(node);
    node.kill().expect("a second time, too");
    assert!(node.pause().is_err() && node.resume().is_err());
    node.start(Keep::All).expect("it starts");
    assert_eq!(node.addr(), addr);
    assert_ne!(run_id(node), before);
    // Also while it runs.
    node.start(Keep::All).expect("it starts");
}

fn stopped(node: &dyn Node) {
    let before = run_id(node);
    node.stop().expect("it can be stopped");
    refuses_connections(node);
    node.stop().expect("a second time, too");
    node.start(Keep::All).expect("it starts");
    assert_ne!(run_id(node), before);
    node.pause().expect("it can be paused");
    assert!(node.stop().is_err(), "it cannot end by itself");
    node.resume().expect("it goes on");
}

fn keeps(node: &dyn Node) {
    set(node, "key", "60000");
    node.start(Keep::All).expect("it starts");
    assert!(!has(node, "key"), "without an append-only file there is nothing to keep");
    set(node, "before", "60000");
    node.set_fsync(Fsync::EverySecond).expect("an append-only file");
    set(node, "after", "60000");
    node.start(Keep::All).expect("it starts");
    let policy: (String, String) = node.query(&["CONFIG", "GET", "appendfsync"]).expect("CONFIG");
    assert_eq!(policy.1, "everysec", "a setting outlives a restart");
    assert!(has(node, "before") && has(node, "after"));
    assert!((1..=60_000).contains(&left_ms(node, "after")));
    node.stop().expect("it stops");
    node.start(Keep::All).expect("it starts");
    assert!(has(node, "after"));
    node.start(Keep::Nothing).expect("it starts");
    assert!(!has(node, "before") && !has(node, "after"));
    set(node, "again", "60000");
    node.start(Keep::All).expect("it starts");
    assert!(has(node, "again"));
    node.set_fsync(Fsync::Off).expect("no append-only file");
    node.start(Keep::All).expect("it starts");
    assert!(!has(node, "again"));
}

fn power(node: &dyn Node) {
    for (fsync, keeps) in [(Fsync::Always, true), (Fsync::Never, false), (Fsync::Off, false)] {
        node.start(Keep::Nothing).expect("it starts");
        node.set_fsync(fsync).expect("an append-only file");
        set(node, "key", "60000");
        node.kill().expect("it can be killed");
        node.start(Keep::Synced).expect("it starts");
        assert_eq!(has(node, "key"), keeps, "{fsync:?}");
    }
    // Written in the second before the end, and longer ago: the server's own seconds tell.
    node.start(Keep::Nothing).expect("it starts");
    node.set_fsync(Fsync::EverySecond).expect("an append-only file");
    set(node, "old", "600000");
    let second = || node.clock().expect("TIME").as_secs();
    let begin = second();
    eventually("two of its seconds pass", || second() > begin + 2);
    let lost = (0..10).any(|_| {
        let before = Instant::now();
        set(node, "new", "600000");
        node.kill().expect("it can be killed");
        // A machine that took a second for this has shown nothing.
        let is_quick = before.elapsed() < Duration::from_secs(1);
        node.start(Keep::Synced).expect("it starts");
        assert!(has(node, "old"));
        assert!(!is_quick || !has(node, "new"));
        is_quick
    });
    assert!(lost, "ten times this machine took more than a second to kill a server");
    node.set_fsync(Fsync::Off).expect("no append-only file");
}

/// A connection whose reads end.
fn connect(node: &dyn Node) -> TcpStream {
    let stream = TcpStream::connect(node.addr()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn paused(node: &dyn Node) {
    let mut stream = connect(node);
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").expect("some bytes");
    stream.read_exact(&mut [0; 7]).expect("an answer");
    // Often, because a pause that is not waited for would let some answer slip through.
    for _ in 0..5 {
        node.pause().expect("it can be paused");
        stream.write_all(b"GET x\r\n").expect("the kernel takes it");
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
        assert!(stream.read(&mut answer).is_err(), "expected silence");
        // The kernel lets clients in all the same.
        let _ = TcpStream::connect(node.addr()).expect("a connection");
        node.resume().expect("it goes on");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"$-1\r\n");
    }
    node.resume().expect("one that runs goes on");
}

fn killed_while_paused(node: &dyn Node) {
    node.set_fsync(Fsync::Always).expect("an append-only file");
    let mut stream = connect(node);
    stream.write_all(b"SET early value\r\n").expect("some bytes");
    stream.read_exact(&mut [0; 5]).expect("an answer");
    node.pause().expect("it can be paused");
    stream.write_all(b"SET late value\r\n").expect("the kernel takes it");
    node.kill().expect("it can be killed");
    refuses_connections(node);
    node.start(Keep::All).expect("it starts");
    assert!(has(node, "early") && !has(node, "late"));
    node.set_fsync(Fsync::Off).expect("no append-only file");
}

fn scripts(node: &dyn Node) {
    let name: String = node.query(&["SCRIPT", "LOAD", "return 1"]).expect("SCRIPT LOAD");
    let is_known = || node.query::<Vec<u8>>(&["SCRIPT", "EXISTS", &name]).expect("SCRIPT EXISTS");
    assert_eq!(is_known(), [1]);
    node.flush_scripts().expect("SCRIPT FLUSH");
    assert_eq!(is_known(), [0]);
}

fn memory(node: &dyn Node) {
    node.limit_memory(Some(1), Eviction::Refuse).expect("a limit");
    let error = node.command(&["SET", "key", "value"]).expect_err("no memory").to_string();
    assert!(error.to_lowercase().contains("memory"), "{error}");
    node.limit_memory(None, Eviction::Refuse).expect("no limit");
    set(node, "key", "60000");
    node.limit_memory(Some(1), Eviction::Random).expect("a limit");
    eventually("the key is evicted", || !has(node, "key"));
    node.limit_memory(None, Eviction::Refuse).expect("no limit");
}

fn evicts(node: &dyn Node) {
    let _ = node.command(&["SET", "marker", "value"]).expect("SET");
    set(node, "fence", "86400000");
    for lock in ["lock:a", "lock:b"] {
        set(node, lock, "60000");
    }
    let gone = node.evict(&["lock:a", "lock:b"]).expect("they can be evicted");
    assert!(gone >= 2, "{gone}");
    assert!(!has(node, "lock:a") && !has(node, "lock:b") && has(node, "marker"));
    // The server takes new ones.
    set(node, "lock:a", "60000");
    assert!(has(node, "lock:a"));
    assert!(node.evict(&["marker"]).is_err(), "what does not expire is not evicted");
    set(node, "lock:b", "60000");
}

fn jumps(node: &dyn Node) {
    set(node, "short", "5000");
    set(node, "long", "600000");
    let _ = node.command(&["SET", "endless", "value"]).expect("SET");
    node.jump(300_000).expect("it jumps");
    assert!(!has(node, "short"));
    assert!((1..=300_000).contains(&left_ms(node, "long")));
    assert_eq!(left_ms(node, "endless"), -1);
    node.jump(-600_000).expect("it jumps back");
    assert!((300_001..=900_000).contains(&left_ms(node, "long")));
}

/// How far ahead of true time the server's clock is, in ms: at least and at most.
fn ahead_ms(node: &dyn Node) -> (i128, i128) {
    let true_ms =
        || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i128;
    let before = true_ms();
    let shown = node.clock().expect("TIME").as_millis() as i128;
    (shown - true_ms() - 1, shown - before + 1)
}

fn clock_jumps(node: &dyn Node) {
    let is_ahead = |expected: i128| {
        let (least, most) = ahead_ms(node);
        assert!(least <= expected && expected <= most, "{expected}: {least}..={most}");
    };
    is_ahead(0);
    set(node, "lock", "60000");
    node.set_clock(61_000, 0).expect("it jumps");
    is_ahead(61_000);
    assert!(!has(node, "lock"));
    set(node, "lock", "60000");
    node.set_clock(-3_600_000, 0).expect("it jumps back");
    is_ahead(-3_600_000);
    assert!(left_ms(node, "lock") > 3_600_000);
    node.start(Keep::All).expect("it starts");
    is_ahead(-3_600_000);
    // One that is down has it at its next start.
    node.kill().expect("it can be killed");
    node.set_clock(5_500, 0).expect("it jumps");
    node.start(Keep::All).expect("it starts");
    is_ahead(5_500);
    node.set_clock(0, 0).expect("it is right again");
    is_ahead(0);
}

fn clock_runs(node: &dyn Node) {
    for rate_ppm in [1_000_000, -500_000, 100_000] {
        node.set_clock(0, rate_ppm).expect("it runs at another rate");
        let (begin, from) = (Instant::now(), node.clock().expect("TIME"));
        let after_from = Instant::now();
        // Long enough that the rate shows beside what two questions take.
        eventually("half a second of its own", || {
            node.clock().expect("TIME") - from >= Duration::from_millis(500)
        });
        let before_to = Instant::now();
        let shown = (node.clock().expect("TIME") - from).as_secs_f64();
        let (least, most) = ((before_to - after_from).as_secs_f64(), begin.elapsed().as_secs_f64());
        let rate = 1.0 + f64::from(rate_ppm) / 1e6;
        assert!(
            least * rate * 0.99 <= shown && shown <= most * rate * 1.01,
            "{rate}: {shown} in {least}..{most}"
        );
    }
    node.set_clock(0, 0).expect("it is right again");
    let (least, most) = ahead_ms(node);
    assert!(least <= 0 && 0 <= most);
}

/// A node can follow another one, and then serve alone.
pub(crate) fn follows(nodes: &[Arc<dyn Node>]) {
    let (node, replica) = (nodes[0].as_ref(), nodes[1].as_ref());
    // Else a server waits for further replicas for some seconds.
    let _ = node.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).expect("CONFIG");
    set(node, "lock", "600000");
    let addr = node.addr_among_nodes().expect("it runs");
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    let _ = replica.command(&["REPLICAOF", &host, &port]).expect("REPLICAOF");
    eventually("it follows", || has(replica, "lock"));
    node.kill().expect("it can be killed");
    let _ = replica.command(&["REPLICAOF", "NO", "ONE"]).expect("REPLICAOF");
    set(replica, "another", "60000");
    assert!(has(replica, "lock"));
    node.start(Keep::Nothing).expect("it starts");
    replica.start(Keep::Nothing).expect("it starts");
}

/// The network works before these nodes as before any other.
pub(crate) fn network(nodes: &[Arc<dyn Node>]) {
    nodes.iter().for_each(|node| {
        let _ = node.command(&["DEL", "lock"]).expect("DEL");
    });
    let origin = Instant::now();
    let network = Network::start(nodes, 2, origin).expect("a network");
    let watch = Watch::start(nodes, vec!["lock".to_owned()], origin).expect("a watch");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(faults(nodes, &network));

    let log = network.log();
    assert_eq!(log.missed, 0);
    let mut held = log.told.iter().filter(|told| told.command.is("SET") && told.client == 0);
    let zombie = held.next().expect("the held SET");
    let free = log.told.iter().find(|told| told.command.is("SET") && told.client == 1);
    let free = free.expect("the one that passed it");
    assert!(zombie.seen < free.seen && free.at < zombie.at, "{zombie:?} {free:?}");
    assert_eq!(free.answer, Some(Answer::Status("OK".to_owned())));
    assert!(free.at <= free.answered && free.answered <= free.delivered);
    let shown = format!("{log:?} {network:?} {:?}", network.link(0, 0));
    assert!(!shown.contains("zombie") && !shown.contains("s3cret"), "{shown}");

    let sightings = watch.stop();
    assert!(sightings.is_sorted_by_key(|sighting| sighting.until));
    let seen = |node: usize, token: &[u8]| {
        sightings.iter().any(|sighting| {
            sighting.node == node
                && matches!(&sighting.seen, Seen::Value { value, .. } if value == token)
        })
    };
    assert!(seen(0, b"zombie"), "{sightings:?}");
    assert!(!seen(1, b"zombie"));
    assert!(!format!("{sightings:?}").contains("zombie"));
}

async fn ask(link: &Link, line: &str) -> redis::RedisResult<String> {
    let client = redis::Client::open(link.url())?;
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().expect("a name"));
    command.arg(words.collect::<Vec<_>>()).query_async(&mut connection).await
}

/// One command is held while a later one passes; a cut holds all, in one direction; a reset is seen.
async fn faults(nodes: &[Arc<dyn Node>], network: &Network) {
    let (held, free) = (network.link(0, 0), network.link(1, 0));
    let owner = || nodes[0].query::<Option<String>>(&["GET", "lock"]).expect("GET");
    let rule = held.inject(Match::command("SET"), Fault::HoldRequest);
    let late = async {
        rule.wait_struck(1).await.expect("it is held");
        assert_eq!(ask(free, "SET lock free PX 60000").await.as_deref(), Ok("OK"));
        assert_eq!(ask(free, "DEL lock").await.as_deref(), Ok("1"));
        assert_eq!(owner(), None);
        rule.release();
    };
    let (set, ()) = tokio::join!(ask(held, "SET lock zombie PX 60000"), late);
    assert_eq!(set.as_deref(), Ok("OK"));
    assert_eq!(owner().as_deref(), Some("zombie"));

    for (direction, is_handled) in
        [(Direction::Requests, false), (Direction::Replies, true), (Direction::Both, false)]
    {
        let _ = nodes[0].command(&["DEL", "count"]).expect("DEL");
        let mut incr = std::pin::pin!(async {
            // On a connection from before the cut, as on one that begins within it.
            ask(free, "INCR count").await
        });
        free.cut(Some(direction));
        assert!(tokio::time::timeout(SILENCE, &mut incr).await.is_err(), "{direction:?}");
        // The handshake already waits for its replies, so a raw client tells whether requests pass.
        let mut raw = TcpStream::connect(free.addr()).expect("a connection");
        let login = if nodes[0].url().contains('@') { "AUTH s3cret\r\n" } else { "" };
        raw.write_all(format!("{login}INCR count\r\n").as_bytes()).expect("some bytes");
        let count = || nodes[0].query::<Option<u32>>(&["GET", "count"]).expect("GET");
        if is_handled {
            eventually("the request arrives", || count() == Some(1));
        } else {
            std::thread::sleep(SILENCE);
            assert_eq!(count(), None, "{direction:?}");
        }
        free.cut(None);
        let incr = tokio::time::timeout(PATIENCE, incr).await.expect("an answer in time");
        assert!(incr.is_ok(), "{incr:?}");
        eventually("both arrive", || count() == Some(2));
    }

    free.set_delay(SILENCE, SILENCE);
    let begin = Instant::now();
    assert_eq!(ask(free, "PING").await.as_deref(), Ok("PONG"));
    assert!(begin.elapsed() >= 2 * SILENCE);
    let other = network.link(0, 1).inject(Match::command("PING"), Fault::DropReply(Then::Reset));
    assert!(ask(network.link(0, 1), "PING").await.is_err());
    assert_eq!(other.struck(), 1);
    network.heal().expect("it heals");
    assert_eq!(ask(network.link(0, 1), "PING").await.as_deref(), Ok("PONG"));
}
