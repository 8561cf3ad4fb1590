//! Several keys in one lock.

use super::*;

const PAIR: [&str; 2] = ["{order:7}:stock", "{order:7}:invoice"];
const PAIR_FENCES: [&str; 2] =
    ["redlatch:fence:{order:7}:stock", "redlatch:fence:{order:7}:invoice"];

impl Node {
    fn ask_pair(&mut self, op: Op) -> Reply {
        self.ask_about(&PAIR, Dialect::SCRIPTS, op)
    }

    fn ask_one(&mut self, place: usize, op: Op) -> Reply {
        self.ask_about(&PAIR[place..=place], Dialect::SCRIPTS, op)
    }

    fn owners(&self) -> [Owner; 2] {
        PAIR.map(|key| self.server.owner_of(key))
    }

    fn numbers(&self) -> [Option<String>; 2] {
        PAIR_FENCES.map(|key| self.number(key))
    }
}

#[test]
fn several_keys_are_taken_together_with_one_number_above_all_of_theirs() {
    let mut node = Node::start();
    node.set(PAIR_FENCES[0], "500");
    node.set(PAIR_FENCES[1], "700");
    assert_eq!(node.ask_pair(acquire(token(1, 1), MINUTE, 100)), applied(701));
    assert_eq!(node.owners(), [owner(token(1, 1)), owner(token(1, 1))]);
    assert_eq!(node.numbers(), [Some("701".to_owned()), Some("701".to_owned())]);
    // A repeat is a yes, in any order of the names.
    let reversed = [PAIR[1], PAIR[0]];
    let again = node.ask_about(&reversed, Dialect::SCRIPTS, acquire(token(1, 1), MINUTE, 100));
    assert_eq!(again, applied(701));
}

#[test]
fn several_keys_are_taken_all_or_none() {
    let mut node = Node::start();
    for (taken, free) in [(0, 1), (1, 0)] {
        node.server.command(&["FLUSHALL"]);
        node.set(PAIR_FENCES[free], "900");
        assert_eq!(node.ask_one(taken, acquire(token(1, 1), MINUTE, 100)), applied(100));
        assert_taken(node.ask_pair(acquire(token(2, 1), 2 * MINUTE, 5_000)), MINUTE, 900);
        assert_eq!(node.server.owner_of(PAIR[free]), Owner::Nobody);
        assert_eq!(node.server.owner_of(PAIR[taken]), owner(token(1, 1)));
        assert_eq!(node.number(PAIR_FENCES[free]), Some("900".to_owned()));
    }
}

/// R13: the lock is free when the last of its keys is.
#[test]
fn a_refusal_about_several_keys_tells_the_longest_time() {
    let mut node = Node::start();
    assert_eq!(node.ask_one(0, acquire(token(1, 1), 10 * MINUTE, 100)), applied(100));
    assert_eq!(node.ask_one(1, acquire(token(2, 1), MINUTE, 100)), applied(100));
    let reply = node.ask_pair(acquire(token(3, 1), MINUTE, 100));
    let Reply::Refused { remaining: Some(remaining), .. } = reply else { panic!("{reply:?}") };
    assert!(remaining > Duration::from_millis(5 * MINUTE), "{remaining:?}");
    for key in [PAIR[1], PAIR[0]] {
        node.server.command(&["PERSIST", key]);
        let reply = node.ask_pair(acquire(token(3, 1), MINUTE, 100));
        assert!(matches!(reply, Reply::Refused { remaining: None, .. }), "{reply:?}");
    }
}

/// A key of ours beside one that is gone is a lock that broke, not one that is being taken again.
#[test]
fn half_of_ones_own_keys_is_no_yes() {
    let mut node = Node::start();
    assert_eq!(node.ask_pair(acquire(token(1, 1), MINUTE, 100)), applied(100));
    node.server.command(&["DEL", PAIR[1]]);
    let reply = node.ask_pair(acquire(token(1, 1), MINUTE, 100));
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    assert_eq!(node.owners(), [owner(token(1, 1)), Owner::Nobody]);

    assert_eq!(node.ask_pair(seal(token(1, 1), 200)), REFUSED);
    assert_eq!(node.numbers(), [Some("100".to_owned()), Some("100".to_owned())]);

    let expires_at = node.expires_at(PAIR[0]);
    assert_eq!(node.ask_pair(extend(token(1, 1), 10 * MINUTE, 100)), REFUSED);
    assert_eq!(node.expires_at(PAIR[0]), expires_at);
    assert_eq!(node.owners(), [owner(token(1, 1)), Owner::Nobody]);

    assert_eq!(node.ask_one(1, acquire(token(2, 1), MINUTE, 100)), applied(101));
    // A release gives back what is left.
    assert_eq!(node.ask_pair(release(token(1, 1))), APPLIED);
    assert_eq!(node.owners(), [Owner::Nobody, owner(token(2, 1))]);
}

#[test]
fn several_keys_are_sealed_extended_and_released_together() {
    let mut node = Node::start();
    assert_eq!(node.ask_pair(acquire(token(1, 1), MINUTE, 100)), applied(100));
    node.set(PAIR_FENCES[1], "150");
    assert_eq!(node.ask_pair(seal(token(1, 1), 120)), applied(150));
    assert_eq!(node.numbers(), [Some("150".to_owned()), Some("150".to_owned())]);

    let before = PAIR.map(|key| node.expires_at(key));
    assert_eq!(node.ask_pair(extend(token(1, 1), 10 * MINUTE, 150)), APPLIED);
    for (key, before) in PAIR.into_iter().zip(before) {
        assert!(node.expires_at(key) > before);
    }
    assert_eq!(node.ask_pair(release(token(1, 1))), APPLIED);
    assert_eq!(node.owners(), [Owner::Nobody, Owner::Nobody]);
    assert_eq!(node.numbers(), [Some("150".to_owned()), Some("150".to_owned())]);
}

/// The fence key is in its name's slot, also by the server's reckoning.
#[test]
fn a_lock_works_within_one_slot_of_a_redis_cluster() {
    let server = RedisServer::builder().args(&["--cluster-enabled", "yes"]).start();
    let names = ["job", "{order:7}:stock", "a{b}c{d}", "{}x", "{{y}", "a:b", "ключ"];
    for name in names {
        let op = acquire(token(1, 1), MINUTE, 100);
        let names = [name.as_bytes()];
        let keys = Keys::new(&names).expect("a name");
        if keys.check_fence_keys().is_err() {
            assert_eq!(name, "{}x", "only a brace without a tag has no fence key");
            continue;
        }
        let args = encode(&[name], Dialect::SCRIPTS, &op, Form::Sha1);
        let fence = String::from_utf8(args[4].clone()).expect("text");
        let slot = |key: &str| server.query::<u16>(&["CLUSTER", "KEYSLOT", key]);
        assert_eq!(slot(name), slot(&fence), "{name} {fence}");
    }
    let apart = [b"job".as_slice(), b"task"];
    let slot = |key: &str| server.query::<u16>(&["CLUSTER", "KEYSLOT", key]);
    let expected = KeysError::Slots { index: 1, slot: slot("task"), first: slot("job") };
    assert_eq!(Keys::new(&apart), Err(expected));

    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    while !server.query::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {}
    let mut node = Node::on(server);
    assert_eq!(node.ask_pair(acquire(token(1, 1), MINUTE, 100)), applied(100));
    assert_eq!(node.ask_pair(extend(token(1, 1), MINUTE, 100)), APPLIED);
    assert_eq!(node.ask_pair(release(token(1, 1))), APPLIED);
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
}

#[test]
fn a_look_at_several_keys_sees_any_that_is_taken() {
    let mut node = Node::start();
    assert_eq!(node.ask_one(1, acquire(token(1, 1), MINUTE, 100)), applied(100));
    let seen = node.inspect(&PAIR);
    assert!(seen.holder.is_some());
    assert!(seen.remaining > Some(Duration::ZERO));
    assert_eq!(seen.fence, fence(100));
}
