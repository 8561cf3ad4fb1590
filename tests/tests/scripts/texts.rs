//! The scripts themselves.

use super::*;

#[test]
fn the_server_computes_the_same_hash_of_every_script() {
    let node = Node::start();
    for script in SCRIPTS {
        let sha1: String = node.server.query(&["SCRIPT", "LOAD", script.text]);
        assert_eq!(sha1, script.sha1);
    }
}

#[test]
fn a_script_that_the_server_lacks_is_sent_once_and_named_from_then_on() {
    let mut node = Node::start();
    for round in 1..=2 {
        for attempt in 1..=3 {
            assert_eq!(node.ask(acquire_unfenced(token(1, attempt))), APPLIED);
            assert_eq!(node.ask(release(token(1, attempt))), APPLIED);
        }
        let stats: String = node.server.query(&["INFO", "commandstats"]);
        assert!(stats.contains(&format!("cmdstat_eval:calls={}", 2 * round)), "{stats}");
        node.server.command(&["SCRIPT", "FLUSH"]);
    }
}

#[test]
fn a_server_without_the_script_says_so_and_does_nothing() {
    let mut node = Node::start();
    let op = acquire(token(1, 1), MINUTE, 100);
    let error =
        node.send(&encode(&[KEY], Dialect::SCRIPTS, &op, Form::Sha1)).expect_err("NOSCRIPT");
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::NoScript));
    assert_eq!(node.server.owner_of(KEY), Owner::Nobody);
}
