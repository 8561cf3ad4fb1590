//! Acquire.

use super::*;

/// R15: F := max(F + 1, proposal).
#[test]
fn an_acquire_raises_the_number_above_the_last_one_and_to_the_proposal() {
    let mut node = Node::start();
    let table: &[(Option<u64>, u64, u64)] = &[
        (None, 1, 1),
        (None, 1_700_000_000_000_000, 1_700_000_000_000_000),
        (Some(41), 7, 42),
        (Some(41), 41, 42),
        (Some(41), 42, 42),
        (Some(41), 43, 43),
        // Seventeen digits would not survive a number's default format in Lua.
        (Some((1 << 53) - 3), 1 << 52, (1 << 53) - 2),
        (Some((1 << 53) - 2), 1, (1 << 53) - 1),
    ];
    for (attempt, &(before, proposal, after)) in (1..).zip(table) {
        node.server.command(&["FLUSHALL"]);
        if let Some(before) = before {
            node.set(FENCE, &before.to_string());
        }
        let token = token(1, attempt);
        assert_eq!(node.ask(acquire(token, MINUTE, proposal)), applied(after));
        assert_eq!(node.number(FENCE), Some(after.to_string()));
        assert_eq!(node.server.owner_of(KEY), Owner::Token(hex(token)));
        let left = node.server.pttl_ms(KEY).expect("a node that runs");
        assert!(left > 0 && left <= 60_000, "{left}");
        let kept = node.server.pttl_ms(FENCE).expect("a node that runs");
        let retention = i64::try_from(Dialect::FENCE_RETENTION.as_millis()).expect("days");
        assert!(kept > 86_400_000 && kept <= retention, "{kept}");
    }
}

#[test]
fn a_number_that_is_no_fence_is_no_answer() {
    let mut node = Node::start();
    node.set(FENCE, &Fence::MAX.to_string());
    let op = acquire(token(1, 1), MINUTE, 1);
    let answer = node.send(&encode(&[KEY], Dialect::SCRIPTS, &op, Form::Text)).expect("an answer");
    let names = [KEY.as_bytes()];
    let wire = Wire::new(Keys::new(&names).expect("names"), Dialect::SCRIPTS).expect("a wire");
    let answer = with_value(&answer, |value| wire.decode(&op, value));
    assert_eq!(answer, Answer::Reply(Reply::Unknown));
}

/// R3, R7: a command that was delivered twice finds its own token, and that is a yes.
#[test]
fn a_repeated_acquire_says_yes_and_changes_neither_time_nor_number() {
    let mut node = Node::start();
    let first = acquire(token(1, 1), MINUTE, 100);
    assert_eq!(node.ask(first), applied(100));
    let expires_at = node.expires_at(KEY);
    assert_eq!(node.ask(first), applied(100));
    assert_eq!(node.ask(acquire(token(1, 1), 2 * MINUTE, 100)), applied(100));
    assert_eq!(node.ask(acquire(token(1, 1), 1, 100)), applied(100));
    assert_eq!(node.expires_at(KEY), expires_at);
    assert_eq!(node.number(FENCE), Some("100".to_owned()));

    let unfenced = acquire_unfenced(token(2, 1));
    assert_eq!(node.ask(release(token(1, 1))), APPLIED);
    assert_eq!(node.ask(unfenced), APPLIED);
    assert_eq!(node.ask(unfenced), APPLIED);
}

/// R13: a refusal carries the holder's remaining time, and the number.
#[test]
fn a_taken_key_refuses_with_its_time_and_number_and_stays_as_it_is() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    let expires_at = node.expires_at(KEY);
    assert_taken(node.ask(acquire(token(2, 1), 2 * MINUTE, 7_000)), MINUTE, 100);
    // Without a fence the number is not asked for.
    assert_taken(node.ask(acquire_unfenced(token(2, 1))), MINUTE, 0);
    // R3: an earlier attempt of the same acquire is another holder.
    assert_taken(node.ask(acquire(token(1, 2), MINUTE, 7_000)), MINUTE, 100);
    assert_eq!(node.server.owner_of(KEY), Owner::Token(hex(token(1, 1))));
    assert_eq!(node.expires_at(KEY), expires_at);
    assert_eq!(node.number(FENCE), Some("100".to_owned()));
}

#[test]
fn a_key_that_never_expires_refuses_without_a_time() {
    let mut node = Node::start();
    node.set(KEY, "a token of somebody else's");
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), REFUSED);
    assert_eq!(node.number(FENCE), None);
}

#[test]
fn an_expired_key_is_free() {
    let mut node = Node::start();
    node.server.command(&["SET", KEY, "somebody", "PX", "1"]);
    while node.server.owner_of(KEY) != Owner::Nobody {}
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 5)), applied(5));
}

/// R15: the number is written before the key.
#[test]
fn an_acquire_that_fails_half_way_leaves_no_lock() {
    let mut node = Node::start();
    let op = acquire(token(1, 1), MINUTE, 100);

    // The write of the key fails, after the number's: only a ttl that no `Ttl` can be does that.
    let error = node.provoke(op, (b"60000", "0"));
    assert!(error.to_string().contains("invalid expire time"), "{error}");
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), Some("100".to_owned()));
    assert_eq!(node.ask(acquire(token(2, 1), MINUTE, 50)), applied(101));
    assert_eq!(node.ask(release(token(2, 1))), APPLIED);

    // The write of the number fails.
    let retention = Dialect::FENCE_RETENTION.as_millis().to_string();
    let error = node.provoke(op, (retention.as_bytes(), "0"));
    assert!(error.to_string().contains("invalid expire time"), "{error}");
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), Some("101".to_owned()));
}

#[test]
fn an_acquire_whose_number_cannot_be_read_leaves_no_lock() {
    let mut node = Node::start();
    let op = acquire(token(1, 1), MINUTE, 100);
    node.server.command(&["RPUSH", FENCE, "1"]);
    assert_eq!(node.refuse(Dialect::SCRIPTS, op).code(), Some("WRONGTYPE"));
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);

    node.server.command(&["DEL", FENCE]);
    node.set(FENCE, "no number");
    node.refuse(Dialect::SCRIPTS, op);
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), Some("no number".to_owned()));
}

#[test]
fn an_acquire_that_the_server_forbids_leaves_nothing() {
    let rules = ["~*", "+evalsha", "+eval", "+get", "+pttl"];
    let server = RedisServer::builder().user("reader", "secret", &rules).start();
    let connection = connect(&server.url_as("reader"));
    let mut node = Node { server, connection };
    let op = acquire(token(1, 1), MINUTE, 100);
    let error = node.refuse(Dialect::SCRIPTS, op);
    assert!(error.to_string().contains("can't run this command"), "{error}");
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), None);

    let mut node = Node::on(node.server);
    node.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(node.refuse(Dialect::SCRIPTS, op).code(), Some("OOM"));
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), None);
}
