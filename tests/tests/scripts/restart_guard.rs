//! A node that may have forgotten keys (R16).

use super::*;

fn utf8(key: &[u8]) -> &str {
    str::from_utf8(key).expect("text")
}

fn assert_quarantined(reply: Reply, ttl_max_ms: u64) {
    let Reply::Quarantined { remaining } = reply else { panic!("{reply:?}") };
    assert!(remaining <= Duration::from_millis(ttl_max_ms), "{remaining:?}");
}

/// R16.
#[test]
fn a_node_that_was_never_seen_is_quarantined_once() {
    let mut node = Node::start();
    let (marker, quarantine) = (utf8(MARKER), utf8(QUARANTINE));
    let op = acquire(token(1, 1), MINUTE, 100);
    assert_quarantined(node.ask_about(&[KEY], GUARD, op), MINUTE);
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), None);
    assert_eq!(node.number(marker), Some(node.run_id()));
    assert_eq!(node.expires_at(marker), -1);
    let until = node.expires_at(quarantine);
    assert!(until > 0);
    // Another try does not start the wait anew.
    assert_quarantined(node.ask_about(&[KEY], GUARD, acquire(token(1, 2), 1, 100)), MINUTE);
    assert_eq!(node.expires_at(quarantine), until);

    node.server.command(&["DEL", quarantine]);
    assert_eq!(node.ask_about(&[KEY], GUARD, op), applied(100));
    assert_eq!(node.expires_at(quarantine), -2);
}

/// R16: not even the holder's own repeat counts, because another key may be gone.
#[test]
fn a_node_under_another_run_id_is_quarantined_whoever_asks() {
    let mut node = Node::start();
    assert_eq!(node.declare_fresh(), redis::Value::Array(vec![redis::Value::Int(1)]));
    let op = acquire(token(1, 1), MINUTE, 100);
    assert_eq!(node.ask_about(&[KEY], GUARD, op), applied(100));
    node.set(utf8(MARKER), "0123456789abcdef0123456789abcdef01234567");
    assert_quarantined(node.ask_about(&[KEY], GUARD, op), MINUTE);
    assert_quarantined(node.ask_about(&["other"], GUARD, acquire(token(2, 1), 1, 1)), MINUTE);
    assert_eq!(node.number(utf8(MARKER)), Some(node.run_id()));
    // What is held there may be given back, and lengthened: neither lets anybody else in.
    assert_eq!(node.ask_about(&[KEY], GUARD, extend(token(1, 1), MINUTE, 100)), APPLIED);
    assert_eq!(node.ask_about(&[KEY], GUARD, release(token(1, 1))), APPLIED);
}

/// R16: the wait is set before the marker, so that a script that fails in between waits again.
#[test]
fn the_quarantine_is_written_before_the_marker() {
    let mut node = Node::start();
    // Half a millisecond cannot be written as a wait, so the marker must not be written either.
    let op = acquire(token(1, 1), 1, 100);
    let mut args = encode(&[KEY], guarded(7_777), &op, Form::Text);
    *args.last_mut().expect("arguments") = b"1.5".to_vec();
    let error = node.send(&args).expect_err("an error");
    assert!(error.to_string().contains("not an integer"), "{error}");
    assert_eq!(node.number(utf8(MARKER)), None);
    assert_quarantined(node.ask_about(&[KEY], guarded(7_777), op), 7_777);
}

/// R16.
#[test]
fn a_ttl_longer_than_the_guard_is_an_error_before_anything_is_written() {
    let mut node = Node::start();
    let error = node.refuse(guarded(1_000), acquire(token(1, 1), 1_001, 100));
    assert_eq!(error.code(), Some("REDLATCH"));
    assert_eq!(error.detail(), Some("the ttl is longer than the restart guard"));
    assert_eq!(node.server.query::<Vec<String>>(&["KEYS", "*"]), Vec::<String>::new());
    assert_quarantined(
        node.ask_about(&[KEY], guarded(1_000), acquire(token(1, 1), 1_000, 100)),
        1_000,
    );
}

/// R16.
#[test]
fn only_a_node_that_was_never_seen_believes_that_it_is_fresh() {
    let mut node = Node::start();
    let told = |fresh| redis::Value::Array(vec![redis::Value::Int(fresh)]);
    assert_eq!(node.declare_fresh(), told(1));
    assert_eq!(node.number(utf8(MARKER)), Some(node.run_id()));
    assert_eq!(node.declare_fresh(), told(0));
    assert_eq!(node.ask_about(&[KEY], GUARD, acquire(token(1, 1), MINUTE, 100)), applied(100));

    node.server.command(&["FLUSHALL"]);
    assert_quarantined(node.ask_about(&[KEY], GUARD, acquire(token(1, 1), MINUTE, 100)), MINUTE);
    assert_eq!(node.declare_fresh(), told(0), "too late: it waits already");
    assert_quarantined(node.ask_about(&[KEY], GUARD, acquire(token(1, 1), MINUTE, 100)), MINUTE);
}

#[test]
fn without_a_guard_nothing_of_it_is_written() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    let mut keys: Vec<String> = node.server.query(&["KEYS", "*"]);
    keys.sort_unstable();
    assert_eq!(keys, [KEY, FENCE]);
}
