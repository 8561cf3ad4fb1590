//! A look from outside.

use super::*;

#[test]
fn a_look_tells_the_holder_the_time_and_the_number() {
    let mut node = Node::start();
    let nothing = Sighting { holder: None, remaining: None, fence: None };
    assert_eq!(node.inspect(&[KEY]), nothing);
    assert_eq!(node.ask(acquire(token(1, 1), MINUTE, 100)), applied(100));
    let seen = node.inspect(&[KEY]);
    let remaining = seen.remaining.expect("a time");
    assert!(remaining > Duration::ZERO && remaining <= Duration::from_millis(MINUTE));
    assert_eq!(seen.fence, fence(100));
    assert_eq!(node.inspect(&[KEY]).holder, seen.holder, "one token, one fingerprint");

    assert_eq!(node.ask(release(token(1, 1))), APPLIED);
    assert_eq!(node.inspect(&[KEY]), Sighting { fence: fence(100), ..nothing });
    assert_eq!(node.ask(acquire(token(2, 1), MINUTE, 200)), applied(200));
    assert_ne!(node.inspect(&[KEY]).holder, seen.holder);
    node.set(KEY, "for ever");
    let seen = node.inspect(&[KEY]);
    assert!(seen.holder.is_some());
    assert_eq!(seen.remaining, None);
}
