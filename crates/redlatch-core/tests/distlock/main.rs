//! The Redis documentation's page "Distributed Locks with Redis", sentence by sentence, in our own
//! words. Each number is the sentence's; several that say one thing share a test.
//!
//! The nodes here are a model of one key each. What only a real server can show is left to the tests
//! with real ones: 55 and 57 (what an append-only file survives), 56 (a key's time runs on while its
//! server is down). Where randomness and time come from (10, 71) is the drivers' part.

use std::collections::BTreeSet;

use redlatch_core::wire::{Compare, Dialect, Form, Keys, RELEASE, Wire};
use redlatch_core::{
    Cause, Config, Event, Lock, Op, Released, Renewal, Retry, Token, Ttl, WrongPhase,
};

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the rig drives one lock by hand; here several meet model nodes")]
mod support;
mod world;

use support::*;
use world::{Client, World};

fn client(nodes: usize, name: u8) -> Client {
    Client::new(config(nodes), name)
}

fn encoded(dialect: Dialect, op: &Op) -> Vec<Vec<u8>> {
    let wire = Wire::new(Keys::new(&[b"stock"]).expect("one name"), dialect).expect("one key");
    let mut buffer = [0; 512];
    let args = wire.encode(op, Form::Text, &mut buffer).expect("it fits");
    args.as_slice().iter().map(|part| part.to_vec()).collect()
}

const PLAIN: Dialect = Dialect::Plain { compare: Compare::Script };

/// (1) At any moment at most one client holds the lock.
#[test]
fn at_most_one_client_holds_a_lock_at_a_time() {
    let mut world = World::of(5);
    let (mut ours, mut theirs) = (client(5, 1), client(5, 2));
    assert!(ours.acquire(&mut world));
    for _ in 0..VALIDITY {
        assert!(ours.holds(&world));
        if theirs.lock.is_idle() {
            assert!(!theirs.acquire(&mut world));
        }
        world.pass(1);
    }
    assert!(!ours.holds(&world));
}

/// (2, 51) If the holder has crashed, the lock can in the end be taken again, because keys expire.
#[test]
fn a_lock_of_a_crashed_client_becomes_free_by_itself() {
    let mut world = World::of(3);
    assert!(client(3, 1).acquire(&mut world));
    world.pass(TTL);
    assert!(!client(3, 2).acquire(&mut world));
    world.pass(1);
    assert!(client(3, 3).acquire(&mut world));
}

/// (3, 53) The same if the holder is cut off; that costs the others a ttl, and the holder is told first.
#[test]
fn a_lock_of_a_partitioned_client_becomes_free_by_itself() {
    let mut world = World::of(3);
    let mut cut_off = client(3, 1);
    assert!(cut_off.acquire(&mut world));
    world.pass(TTL - 10);
    assert!(!cut_off.holds(&world));
    world.pass(11);
    assert!(client(3, 2).acquire(&mut world));
}

/// (4, 23, 24) While a majority of nodes is up, the lock is acquired, and the others delay nothing.
#[test]
fn a_lock_is_acquired_while_a_majority_of_nodes_is_up() {
    let mut world = World::of(5);
    world.take_down([1, 3]);
    assert!(client(5, 1).acquire(&mut world));
    assert_eq!(world.now, ms(0), "without any wait");

    let mut world = World::of(5);
    world.take_down([0, 1, 3]);
    let mut few = client(5, 1);
    assert!(!few.acquire(&mut world));
    few.wake(&mut world);
    assert_eq!(few.failed_with(), Some(Cause::NoQuorum));
}

/// (5) While a majority of nodes is up, the lock is released.
#[test]
fn a_lock_is_released_while_a_majority_of_nodes_is_up() {
    let mut world = World::of(5);
    let mut ours = client(5, 1);
    assert!(ours.acquire(&mut world));
    world.take_down([0, 4]);
    ours.release(&mut world);
    assert_eq!(ours.events.last(), Some(&Event::Released(Released::Confirmed)));
    assert!(client(5, 2).acquire(&mut world));
}

/// (7) To acquire is one command that sets the key only if it is absent, with an expiry in ms.
#[test]
fn acquiring_sets_the_key_only_if_absent_and_with_an_expiry() {
    let op = Op::Acquire { token: token(1), ttl: config(1).ttl(), proposal: None };
    let args = encoded(PLAIN, &op);
    assert_eq!(args[0], b"SET");
    assert_eq!(args[1], b"stock");
    assert_eq!(args[2], token(1).to_hex());
    assert_eq!(args[3..], [b"NX".to_vec(), b"PX".to_vec(), b"1000".to_vec()]);
}

/// (8) There is no moment at which the key exists without an expiry: whatever sets a lock key, sets it
/// with one.
#[test]
fn a_lock_key_never_exists_without_an_expiry() {
    let acquire = redlatch_core::wire::ACQUIRE.text;
    assert!(acquire.contains("redis.call('SET', KEYS[i], token, 'PX', ARGV[2])"));
    assert!(acquire.matches("'SET', KEYS[i]").count() == 1);
    let op = Op::Extend { token: token(1), ttl: config(1).ttl(), fence: None };
    for compare in [Compare::Delex, Compare::Delifeq] {
        assert!(encoded(Dialect::Plain { compare }, &op).contains(&b"PX".to_vec()));
    }
}

/// (9) The value is unique over all clients and all requests.
#[test]
fn every_lock_request_uses_a_value_of_its_own() {
    let mut seen = BTreeSet::new();
    for name in 0..50 {
        let mut world = World::of(1);
        let mut ours = client(1, name);
        for _ in 0..3 {
            ours.acquire(&mut world);
            ours.release(&mut world);
        }
        for command in &ours.sent {
            if let Op::Acquire { token, .. } = command.op {
                assert!(seen.insert(token.to_hex()));
            }
        }
    }
}

/// (10) A value has twenty bytes: here sixteen random ones and the attempt's number.
#[test]
fn a_lock_value_has_twenty_bytes() {
    assert_eq!(token(1).to_hex().len(), 2 * 20);
}

/// (11, 12, 13) Release deletes the key only if it holds our value, in one step on the server; a plain
/// DEL, which would remove the next holder's lock, is never sent.
#[test]
fn releasing_deletes_the_key_only_if_it_holds_our_value() {
    let op = Op::Release { token: token(1), place: None };
    let hex = token(1).to_hex().to_vec();
    let [script, delex, delifeq] = [Compare::Script, Compare::Delex, Compare::Delifeq]
        .map(|compare| encoded(Dialect::Plain { compare }, &op));
    assert_eq!(script[..2], [b"EVAL".to_vec(), RELEASE.text.as_bytes().to_vec()]);
    assert_eq!(script[5], hex);
    assert_eq!(delex, [b"DELEX".to_vec(), b"stock".to_vec(), b"IFEQ".to_vec(), hex.clone()]);
    assert_eq!(delifeq, [b"DELIFEQ".to_vec(), b"stock".to_vec(), hex]);
    assert_eq!(encoded(Dialect::SCRIPTS, &op), script);

    let mut world = World::of(3);
    let (mut slow, mut next) = (client(3, 1), client(3, 2));
    assert!(slow.acquire(&mut world));
    let late = world.now;
    world.pass(TTL + 1);
    assert!(next.acquire(&mut world));
    slow.lock.handle_timeout(late);
    slow.lock.handle_timeout(world.now);
    let releases = slow.drain();
    assert_eq!(releases.len(), 3);
    slow.exchange(&mut world, releases);
    assert_eq!(world.keys_of(&next), 3);
}

/// (14, 34, 69) The holder may work for the validity time; then it is told, although it lives.
#[test]
fn the_lock_is_exclusive_only_within_its_validity_time() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    assert!(ours.acquire(&mut world));
    ours.wake(&mut world);
    assert_eq!(world.now, ms(VALIDITY));
    assert!(matches!(ours.events.last(), Some(Event::Lost { .. })));
    assert!(!ours.holds(&world));
}

/// (15, 16, 18, 19, 20, 21, 39) All nodes are asked, at the same time, with the same key, value and
/// ttl, each as a single node would be.
#[test]
fn every_node_is_asked_the_same_at_the_same_time() {
    let world = World::of(5);
    let commands = client(5, 1).begin(&world);
    assert_eq!(targets(&commands), set(0..5));
    assert!(commands.iter().all(|command| command.op == commands[0].op));
    assert!(commands.iter().all(|command| command.deadline == commands[0].deadline));
}

/// (17, 25, 28, 45, 46) The clock is read before the first node is contacted. Keys are set at different
/// times after that, and the majority outlives ttl − elapsed − drift.
#[test]
fn a_majority_of_keys_outlives_the_reported_validity_time() {
    let mut world = World::of(5);
    let mut ours = client(5, 1);
    world.pass(40);
    let commands = ours.begin(&world);
    for command in &commands {
        world.pass(10);
        let reply = world.tell(command).expect("up");
        world.pass(5);
        ours.lock.handle_reply(world.now, command.id, reply);
        ours.drain();
    }
    let Some(Event::Granted(lease)) = ours.events.first() else { panic!("not granted") };
    assert_eq!(lease.valid_until, ms(40 + VALIDITY));
    world.now = lease.valid_until;
    assert_eq!(world.keys_of(&ours), 5);
    let expiries: BTreeSet<_> =
        world.nodes.iter().filter_map(|node| node.key).map(|(_, at)| at).collect();
    assert_eq!(expiries.len(), 5, "each at its own time");
}

/// (22) A node is given little time against the ttl: for 10 s, 5 to 50 ms would do; a tenth, and at
/// most half a second, is what we give, for nodes that are far away.
#[test]
fn the_node_timeout_is_small_against_the_ttl() {
    for ttl in [1_000, 10_000, 30_000, 3_600_000] {
        let config = Config::new(config(5).quorum(), Ttl::from_millis(ttl).unwrap()).unwrap();
        assert!(config.node_timeout() <= millis(ttl / 10).min(millis(500)));
    }
}

/// (26) The lock is acquired if a majority (⌊n/2⌋ + 1) accepted, and only if.
#[test]
fn a_minority_of_votes_is_not_a_lock() {
    for nodes in 1..=16 {
        for held in 0..=nodes {
            let mut world = World::of(nodes);
            for node in &mut world.nodes[..held] {
                node.key = Some((Token::new([0xEE; 16], 1), ms(500)));
            }
            let got = client(nodes, 1).acquire(&mut world);
            assert_eq!(got, nodes - held > nodes / 2, "{held} of {nodes} are taken");
        }
    }
}

/// (27, 29, 30, 31, 49, 50) A majority that took as long as the validity time is no lock, and all nodes
/// are unlocked, also those that seemed to refuse or did not answer.
#[test]
fn a_majority_that_came_too_late_is_not_a_lock() {
    let config = config(3).with_node_timeout(millis(5 * TTL)).unwrap();
    let mut world = World::of(3);
    let mut slow = Client::new(config, 1);
    let commands = slow.begin(&world);
    let replies: Vec<_> = commands.iter().map(|command| world.tell(command).unwrap()).collect();
    world.pass(VALIDITY);
    for (command, reply) in commands.iter().zip(replies) {
        slow.lock.handle_reply(world.now, command.id, reply);
        let undo = slow.drain();
        assert!(!slow.holds(&world));
        slow.exchange(&mut world, undo);
    }
    assert!(slow.failed_with().is_some());
    assert_eq!(world.keys_of(&slow), 0);
}

/// (29, 31, 40, 52) After a loss all nodes are unlocked at once, also where the reply got lost, so that
/// nobody waits for an expiry.
#[test]
fn a_failed_acquisition_unlocks_every_node() {
    let mut world = World::of(5);
    let mut ours = client(5, 1);
    for node in &mut world.nodes[..3] {
        node.key = Some((Token::new([0xEE; 16], 1), ms(500)));
    }
    let commands = ours.begin(&world);
    // Node 4 takes the key, but its reply is lost.
    world.tell(&commands[4]);
    for node in [3, 0, 1, 2] {
        let reply = world.tell(&commands[node]).unwrap();
        ours.lock.handle_reply(world.now, commands[node].id, reply);
    }
    let releases = ours.drain();
    assert_eq!(targets(&releases), set(0..5));
    assert!(releases.iter().all(|command| released(command).is_some()));
    assert_eq!(world.keys_of(&ours), 2);
    ours.exchange(&mut world, releases);
    assert_eq!(world.keys_of(&ours), 0);
    assert_eq!(world.now, ms(0));
}

/// (32, 33, 35) Clocks need no common time, only rates that are nearly equal; the error is taken off.
#[test]
fn the_validity_time_is_shortened_by_the_clock_drift() {
    for ttl in [500_u64, 1_000, 30_000, 86_400_000] {
        let config = Config::new(config(5).quorum(), Ttl::from_millis(ttl).unwrap()).unwrap();
        let validity = config.validity();
        assert_eq!(validity, millis(ttl) - millis(ttl) / 100 - millis(2));
        // A node's clock that is 0.5 % fast, and a holder's that is 0.5 % slow.
        let kept = ttl as u128 * 1_000_000 * 1_000 / 1_005;
        let believed = validity.as_nanos() * 1_000 / 995;
        assert!(believed < kept, "{believed} ns of {kept} ns");
    }
}

/// (36, 37, 38) Clients that split the votes so that nobody wins try again after random delays, and one
/// of them wins.
#[test]
fn contenders_that_split_the_votes_resolve_by_retrying() {
    let mut world = World::of(3);
    let config = config(3).with_retry(Retry::within(millis(5_000)));
    let mut contenders: Vec<_> = (1..=3).map(|name| Client::new(config, name)).collect();
    let commands: Vec<_> = contenders.iter_mut().map(|one| one.begin(&world)).collect();
    // Each reaches another node first, and all have asked everywhere before anyone hears of it.
    let mut replies = Vec::new();
    for offset in 0..3 {
        for (name, commands) in commands.iter().enumerate() {
            let command = &commands[(name + offset) % 3];
            replies.push((name, command, world.tell(command).unwrap()));
        }
    }
    for (name, command, reply) in replies {
        contenders[name].lock.handle_reply(world.now, command.id, reply);
        let undo = contenders[name].drain();
        contenders[name].exchange(&mut world, undo);
    }
    let retries: BTreeSet<_> =
        contenders.iter().map(|one| one.lock.poll_timeout().unwrap()).collect();
    assert_eq!(retries.len(), 3, "at three different times");
    let first = contenders.iter_mut().min_by_key(|one| one.lock.poll_timeout()).unwrap();
    first.wake(&mut world);
    assert!(first.holds(&world));
    assert_eq!(contenders.iter().filter(|one| one.holds(&world)).count(), 1);
}

/// (41) Behind a partition, partial locks free themselves by expiry.
#[test]
fn partial_locks_behind_a_partition_free_themselves_by_expiry() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    let commands = ours.begin(&world);
    world.tell(&commands[0]);
    world.tell(&commands[1]);
    world.take_down(0..3);
    while !ours.lock.is_idle() {
        ours.wake(&mut world);
    }
    assert_eq!(world.keys_of(&ours), 0);
    assert!(world.now <= ms(NODE_TIMEOUT + EXPIRY));
}

/// (42) The retry delay is long against the time that a majority takes to answer: by default it grows
/// from 10 ms, several round trips, to 200 ms.
#[test]
fn the_retry_delay_is_longer_than_a_round_of_requests() {
    assert_eq!((Retry::DELAY_MIN, Retry::DELAY_MAX), (millis(10), millis(200)));
}

/// (43) Release goes to all nodes, whether or not the client believes to have the key there.
#[test]
fn releasing_asks_every_node() {
    let mut world = World::of(5);
    world.take_down([4]);
    world.nodes[3].key = Some((Token::new([0xEE; 16], 1), ms(500)));
    let mut ours = client(5, 1);
    assert!(ours.acquire(&mut world));
    ours.sent.clear();
    ours.lock.release(world.now).unwrap();
    assert_eq!(targets(&ours.drain()), set(0..5));
}

/// (44) To release what is not held is harmless.
#[test]
fn releasing_a_lock_that_is_not_held_changes_nothing() {
    let mut lock = Lock::new(config(3));
    let before = lock;
    assert_eq!(lock.release(ms(0)), Err(WrongPhase::Idle));
    assert_eq!(lock, before);
}

/// (47, 48) While a majority of keys exists nobody else can get one, the holder itself included.
#[test]
fn the_holder_cannot_acquire_its_lock_a_second_time() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    assert!(ours.acquire(&mut world));
    assert_eq!(ours.lock.acquire(world.now, [7; 16], None), Err(WrongPhase::NotIdle));
    let mut again = client(3, 2);
    assert!(!again.acquire(&mut world));
    assert!(matches!(again.failed_with(), Some(Cause::Contended { retry_after: Some(_) })));
}

/// (52) A lock that is released can be acquired at once.
#[test]
fn a_released_lock_can_be_acquired_at_once() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    assert!(ours.acquire(&mut world));
    ours.release(&mut world);
    assert!(client(3, 2).acquire(&mut world));
    assert_eq!(world.now, ms(0));
}

/// Two holders, the second with a node that forgot the first: of a lock on three nodes of which the
/// first holder got 0 and 1.
fn after_a_restart(world: &mut World) -> (Client, Client) {
    let (mut first, mut second) = (client(3, 1), client(3, 2));
    world.take_down([2]);
    let commands = first.begin_fenced(world, 1_000);
    first.exchange(world, commands);
    assert!(first.holds(world));
    world.nodes[2].is_down = false;
    world.forget(1);
    world.pass(10);
    let commands = second.begin_fenced(world, 11_000);
    second.exchange(world, commands);
    (first, second)
}

/// (6, 54, 60, 68) A node that comes back without its keys, or as a replica that did not have them yet,
/// lets a second client win: Redlock alone cannot prevent it. The fence tells the two apart.
#[test]
fn a_node_that_lost_its_data_can_break_exclusion_and_the_fence_shows_it() {
    let mut world = World::of(3);
    let (first, second) = after_a_restart(&mut world);
    assert!(first.holds(&world) && second.holds(&world), "the hazard");
    let fence = |client: &Client| client.lock.lease().unwrap().fence;
    assert!(fence(&first) < fence(&second));
}

/// (58, 59, 60) With no persistence at all, exclusion holds if the node takes no part until every lock
/// that was active has expired.
#[test]
fn a_restarted_node_counts_again_only_after_the_longest_ttl() {
    let mut world = World::of(3);
    let mut first = client(3, 1);
    world.take_down([2]);
    assert!(first.acquire(&mut world));
    world.nodes[2].is_down = false;
    world.forget(1);
    world.nodes[1].quarantined_until = world.now.saturating_add(millis(TTL));
    for name in 2..100 {
        assert!(!client(3, name).acquire(&mut world));
        world.pass(10);
    }
    world.now = ms(TTL + 1);
    assert!(!first.holds(&world));
    assert!(client(3, 100).acquire(&mut world));
}

/// (61) The price: if a majority restarts, nothing can be locked for one ttl, and the error says so.
#[test]
fn after_a_crash_of_the_majority_nothing_is_lockable_for_one_ttl() {
    let mut world = World::of(3);
    for node in 0..2 {
        world.nodes[node].quarantined_until = ms(TTL);
    }
    let mut ours = client(3, 1);
    assert!(!ours.acquire(&mut world));
    assert_eq!(ours.failed_with(), Some(Cause::Quarantined { remaining: millis(TTL) }));
    world.now = ms(TTL);
    assert!(client(3, 2).acquire(&mut world));
}

/// (62, 63, 65, 66) Extension goes to all nodes, gives a new ttl only where our value is in the key, and
/// brings no expired key back. It counts if a majority was extended; validity is computed anew.
#[test]
fn an_extension_needs_the_votes_of_a_majority() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    assert!(ours.acquire(&mut world));
    world.pass(500);
    world.nodes[0].key = None;
    ours.extend(&mut world);
    let Some(Event::Extended(lease)) = ours.events.last() else { panic!("not extended") };
    assert_eq!(lease.valid_until, ms(500 + VALIDITY));
    assert_eq!(world.keys_of(&ours), 2, "the key that was gone stays gone");

    world.pass(100);
    world.nodes[1].key = None;
    ours.extend(&mut world);
    assert!(matches!(ours.events.last(), Some(Event::AtRisk { .. })));
    assert_eq!(ours.lock.lease().unwrap().valid_until, ms(500 + VALIDITY));
}

/// (64) An extension that comes after the validity time extends nothing.
#[test]
fn an_extension_that_came_too_late_is_not_valid() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    assert!(ours.acquire(&mut world));
    world.pass(VALIDITY - 1);
    ours.lock.extend(world.now).unwrap();
    let commands = ours.drain();
    world.pass(1);
    ours.exchange(&mut world, commands);
    assert!(matches!(ours.events.last(), Some(Event::Lost { .. })));
    assert!(!ours.holds(&world));
}

/// (67) The number of extensions is limited, or others would never get the lock.
#[test]
fn the_number_of_extensions_is_limited() {
    let mut world = World::of(3);
    let mut ours = Client::new(config(3).with_renewal(Renewal::up_to(millis(10 * TTL))), 1);
    assert!(ours.acquire(&mut world));
    for _ in 0..100 {
        if ours.holds(&world) {
            ours.wake(&mut world);
        }
    }
    assert_eq!(world.now, ms(10 * TTL));
    assert!(client(3, 2).acquire(&mut world));
}

/// (70) Servers expire by wall clock: if it jumps on a majority, two clients hold the lock. On a
/// minority it does no harm.
#[test]
fn a_wall_clock_jump_on_a_majority_of_nodes_can_break_exclusion() {
    for (jumps, both) in [(1, false), (2, true)] {
        let mut world = World::of(3);
        let (mut ours, mut theirs) = (client(3, 1), client(3, 2));
        assert!(ours.acquire(&mut world));
        for node in &mut world.nodes[..jumps] {
            node.key = None;
        }
        assert_eq!(theirs.acquire(&mut world), both, "{jumps} jumped");
        assert!(ours.holds(&world), "and cannot know");
    }
}

/// (71) A clock that is set back changes no validity.
#[test]
fn a_clock_that_is_set_back_does_not_change_the_validity() {
    let mut world = World::of(3);
    let mut ours = client(3, 1);
    world.pass(5_000);
    assert!(ours.acquire(&mut world));
    ours.lock.handle_timeout(ms(1));
    assert_eq!(ours.lock.lease().unwrap().valid_until, ms(5_000 + VALIDITY));
    ours.lock.handle_timeout(ms(5_000 + VALIDITY));
    assert!(!ours.lock.is_valid(ms(1)));
}
