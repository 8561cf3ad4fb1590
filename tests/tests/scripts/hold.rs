//! Seal, extend and release: what a holder does.

use super::*;

/// R15: a node is registered for m when it saw the token and answered exactly m.
#[test]
fn a_seal_raises_the_number_to_exactly_the_fence() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    let expires_at = node.expires_at(KEY);
    assert_eq!(node.ask(seal(token(1, 1), 250)), applied(250));
    assert_eq!(node.number(FENCE), Some("250".to_owned()));
    assert_eq!(node.ask(seal(token(1, 1), 250)), applied(250));
    // A number never falls; the answer tells that the node is registered for another fence.
    assert_eq!(node.ask(seal(token(1, 1), 200)), applied(250));
    assert_eq!(node.number(FENCE), Some("250".to_owned()));
    assert_eq!(node.ask(seal(token(1, 1), Fence::MAX)), applied(Fence::MAX));
    assert_eq!(node.number(FENCE), Some(Fence::MAX.to_string()));
    assert_eq!(node.expires_at(KEY), expires_at);
    assert!(node.server.pttl_ms(FENCE) > Some(86_400_000));
}

/// R15: the next owner's number is above the sealed one.
#[test]
fn an_acquire_after_a_seal_gets_a_larger_number() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    assert_eq!(node.ask(seal(token(1, 1), 250)), applied(250));
    assert_eq!(node.ask(release(token(1, 1))), APPLIED);
    assert_eq!(node.ask(acquire(token(2, 1), MINUTE, 200)), applied(251));
}

#[test]
fn a_seal_without_the_token_is_refused_and_changes_nothing() {
    let mut node = Node::start();
    assert_eq!(node.ask(seal(token(1, 1), 250)), REFUSED);
    assert_eq!(node.number(FENCE), None);
    assert_eq!(node.ask(acquire(token(2, 1), MINUTE, 100)), applied(100));
    assert_eq!(node.ask(seal(token(1, 1), 250)), REFUSED);
    // R3: the token of another attempt is another token.
    assert_eq!(node.ask(seal(token(2, 2), 250)), REFUSED);
    assert_eq!(node.number(FENCE), Some("100".to_owned()));
}

/// R10.
#[test]
fn an_extension_lengthens_and_never_shortens() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    let expires_at = node.expires_at(KEY);
    assert_eq!(node.ask(extend(token(1, 1), MINUTE / 2, 100)), APPLIED);
    assert_eq!(node.expires_at(KEY), expires_at);
    assert_eq!(node.ask(extend(token(1, 1), 1, 100)), APPLIED);
    assert_eq!(node.expires_at(KEY), expires_at);
    assert_eq!(node.ask(extend(token(1, 1), 10 * MINUTE, 100)), APPLIED);
    let extended = node.expires_at(KEY);
    assert!(extended > expires_at, "{extended} after {expires_at}");
    assert_eq!(node.number(FENCE), Some("100".to_owned()));

    node.server.command(&["PERSIST", KEY]);
    assert_eq!(node.ask(extend(token(1, 1), MINUTE, 100)), APPLIED);
    assert_eq!(node.expires_at(KEY), -1);
}

/// R10.
#[test]
fn an_extension_never_creates_a_key_nor_touches_another_holders() {
    let mut node = Node::start();
    assert_eq!(node.ask(extend(token(1, 1), MINUTE, 100)), REFUSED);
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
    assert_eq!(node.number(FENCE), None);

    assert_eq!(node.ask(acquire(token(2, 1), MINUTE, 100)), applied(100));
    let (expires_at, kept_until) = (node.expires_at(KEY), node.expires_at(FENCE));
    assert_eq!(node.ask(extend(token(1, 1), 10 * MINUTE, 100)), REFUSED);
    assert_eq!(node.ask(extend(token(2, 2), 10 * MINUTE, 100)), REFUSED);
    assert_eq!((node.expires_at(KEY), node.expires_at(FENCE)), (expires_at, kept_until));
    assert_eq!(node.server.owner_of(KEY), Owner::Token(hex(token(2, 1))));
}

/// R15: the number must outlive every hold.
#[test]
fn an_extension_renews_the_retention_of_the_number() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    node.server.command(&["PEXPIRE", FENCE, "60000"]);
    assert_eq!(node.ask(extend(token(1, 1), MINUTE, 0)), APPLIED);
    assert!(node.server.pttl_ms(FENCE) <= Some(60_000), "no fence, so no number is touched");
    assert_eq!(node.ask(extend(token(1, 1), MINUTE, 100)), APPLIED);
    assert!(node.server.pttl_ms(FENCE) > Some(86_400_000));

    // A number that is gone is not made up.
    node.server.command(&["DEL", FENCE]);
    assert_eq!(node.ask(extend(token(1, 1), MINUTE, 100)), APPLIED);
    assert_eq!(node.number(FENCE), None);
}

/// R3, R4: a release undoes its own attempt and the earlier ones of the same acquire, nothing else.
#[test]
fn a_release_deletes_what_its_own_attempts_left() {
    let mut node = Node::start();
    let own = 7;
    let table: &[(Option<String>, u32, Reply)] = &[
        (None, 2, REFUSED),
        (Some(hex(token(own, 2))), 2, APPLIED),
        (Some(hex(token(own, 1))), 2, APPLIED),
        (Some(hex(token(own, 3))), 2, REFUSED),
        (Some(hex(token(own, 10))), 9, REFUSED),
        (Some(hex(token(own, 9))), 10, APPLIED),
        (Some(hex(token(own, u32::MAX))), u32::MAX, APPLIED),
        (Some(hex(token(own, u32::MAX))), u32::MAX - 1, REFUSED),
        (Some(hex(token(8, 1))), 2, REFUSED),
        (Some(hex(token(8, 2))), 2, REFUSED),
        (Some("somebody else".to_owned()), 2, REFUSED),
        (Some(hex(token(own, 1))[..32].to_owned()), 2, REFUSED),
        (Some(format!("{}0", hex(token(own, 1)))), 2, REFUSED),
    ];
    for (held, attempt, reply) in table {
        node.server.command(&["DEL", KEY]);
        if let Some(held) = held {
            node.set(KEY, held);
        }
        assert_eq!(node.ask(release(token(own, *attempt))), *reply, "{held:?} {attempt}");
        let left = if *reply == APPLIED { None } else { held.clone() };
        assert_eq!(node.number(KEY), left, "{held:?} {attempt}");
    }
}

/// R15.
#[test]
fn a_release_leaves_the_number() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    let kept_until = node.expires_at(FENCE);
    assert_eq!(node.ask(release(token(1, 1))), APPLIED);
    assert_eq!(node.number(FENCE), Some("100".to_owned()));
    assert_eq!(node.expires_at(FENCE), kept_until);
}
