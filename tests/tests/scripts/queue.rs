//! Release, where somebody waits: places, calls, and keys that are kept (R18).

use super::*;

const QUEUE: &str = "redlatch:queue:{job}";

/// The nonce of a token of these tests.
fn nonce(digit: u8) -> String {
    hex(token(digit, 0))[..32].to_owned()
}

/// The token in a key that is kept for the waiter of this nonce.
fn kept(digit: u8) -> Owner {
    owner(token(digit, 0))
}

impl Node {
    /// Who waits, first to last.
    fn queue(&self, queue: &str) -> Vec<String> {
        self.server.query(&["ZRANGE", queue, "0", "-1"])
    }

    /// Sends a release of `names`; the key of the first, and how long it lives, at that moment.
    fn release(&mut self, names: &[&str], token: Token) -> (Owner, i64) {
        let args = encode(names, Dialect::SCRIPTS, &release(token), Form::Text);
        let mut pipe = redis::pipe();
        pipe.atomic().add_command(command(&args)).ignore();
        pipe.cmd("GET").arg(names[0]).cmd("PTTL").arg(names[0]);
        let (value, left): (Option<String>, i64) =
            pipe.query(&mut self.connection).expect("a release");
        (value.map_or(Owner::Nobody, Owner::Token), left)
    }

    /// Listens for the client of the waiters of this nonce.
    fn listen(&self, digit: u8) -> Connection {
        let mut connection = connect(&self.server.url());
        let channel = format!("redlatch:call:{}", &nonce(digit)[..16]);
        let subscribe = redis::cmd("SUBSCRIBE").arg(channel).get_packed_command();
        connection.req_packed_command(&subscribe).expect("a subscription");
        connection.set_read_timeout(Some(redlatch_tests::PATIENCE)).expect("a timeout");
        connection
    }
}

fn call(listener: &mut Connection) -> String {
    let call = listener.recv_response().expect("a call");
    let (kind, _, nonce): (String, String, String) =
        redis::from_redis_value(call).expect("a message");
    assert_eq!(kind, "message");
    nonce
}

#[test]
fn a_place_is_taken_and_confirmed_whether_or_not_anything_was_deleted() {
    let mut node = Node::start();
    node.set(KEY, "a stranger");
    assert_eq!(node.ask(queue(token(2, 1), 2_000)), APPLIED);
    assert_eq!(node.ask(queue(token(1, 1), 1_000)), APPLIED);
    assert_eq!(node.ask(queue(token(2, 2), 2_000)), APPLIED);
    // Whoever has waited for longest is first, and nobody is in it twice.
    assert_eq!(node.queue(QUEUE), [nonce(1), nonce(2)]);
    let left = node.server.pttl_ms(QUEUE);
    assert!(left > Some(0) && left <= Some(60_000), "{left:?}");
    assert_eq!(node.server.owner_of(KEY), Owner::Token("a stranger".to_owned()));
}

#[test]
fn whoever_does_not_go_on_waiting_leaves_the_queue() {
    let mut node = Node::start();
    node.set(KEY, "a stranger");
    assert_eq!(node.ask(queue(token(1, 1), 1_000)), APPLIED);
    assert_eq!(node.ask(queue(token(2, 1), 2_000)), APPLIED);
    assert_eq!(node.ask(release(token(1, 2))), REFUSED);
    assert_eq!(node.queue(QUEUE), [nonce(2)]);
}

#[test]
fn a_key_that_is_free_is_kept_for_the_first_who_listens_and_is_called() {
    let mut node = Node::start();
    let mut listeners = [2, 3].map(|digit| node.listen(digit));
    assert_eq!(node.ask(acquire(token(9, 1), MINUTE, 100)), applied(100));
    for digit in 1..=3 {
        assert_eq!(node.ask(queue(token(digit, 1), u64::from(digit))), APPLIED);
    }
    let (owner, left) = node.release(&[KEY], token(9, 1));
    assert_eq!(owner, kept(2), "nobody listens for the first");
    assert!((0..=200).contains(&left), "{left}");
    assert_eq!(call(&mut listeners[0]), nonce(2));
    assert_eq!(node.queue(QUEUE), [nonce(3)]);
}

#[test]
fn a_key_that_nobody_waits_for_any_more_is_free() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(9, 1), MINUTE, 100)), applied(100));
    assert_eq!(node.ask(queue(token(1, 1), 1_000)), APPLIED);
    assert_eq!(node.release(&[KEY], token(9, 1)), (Owner::Nobody, -2));
    assert_eq!(node.queue(QUEUE), [""; 0], "nobody listens for it");
}

#[test]
fn a_key_that_somebody_holds_is_kept_for_nobody() {
    let mut node = Node::start();
    let _listener = node.listen(1);
    assert_eq!(node.ask(acquire(token(9, 1), MINUTE, 100)), applied(100));
    assert_eq!(node.ask(queue(token(1, 1), 1_000)), APPLIED);
    assert_eq!(node.release(&[KEY], token(8, 1)).0, owner(token(9, 1)));
    assert_eq!(node.queue(QUEUE), [nonce(1)]);
}

/// A waiter that frees a key by its release is no exception.
#[test]
fn a_waiter_that_frees_a_key_calls_the_first_as_well() {
    let mut node = Node::start();
    let mut listener = node.listen(1);
    assert_eq!(node.ask(acquire(token(2, 1), MINUTE, 100)), applied(100));
    assert_eq!(node.ask(queue(token(1, 1), 1_000)), APPLIED);
    assert_eq!(node.ask(queue(token(2, 1), 2_000)), APPLIED);
    assert_eq!(call(&mut listener), nonce(1));
    assert_eq!(node.queue(QUEUE), [nonce(2)]);
}

/// R18, R15: it is taken for everybody else, and a change of owner when it is acquired.
#[test]
fn a_key_that_is_kept_is_free_to_the_one_it_is_kept_for() {
    let mut node = Node::start();
    assert_eq!(node.ask(acquire(token(9, 1), MINUTE, 100)), applied(100));
    node.server.command(&["SET", KEY, &hex(token(1, 0)), "PX", "60000"]);
    assert_taken(node.ask(acquire(token(2, 1), MINUTE, 100)), MINUTE, 100);
    // Nor is it anything that an earlier attempt of somebody else left.
    assert_eq!(node.ask(release(token(2, 1))), REFUSED);
    assert_eq!(node.ask(acquire(token(1, 7), MINUTE, 100)), applied(101));
    assert_eq!(node.server.owner_of(KEY), owner(token(1, 7)));
    assert!(node.server.pttl_ms(KEY) > Some(200));
}

/// R4: whoever gives up gives back what is kept for it, and the next one is called.
#[test]
fn a_key_that_is_kept_is_given_back() {
    let mut node = Node::start();
    let mut listener = node.listen(2);
    node.server.command(&["SET", KEY, &hex(token(1, 0)), "PX", "60000"]);
    assert_eq!(node.ask(queue(token(2, 1), 2_000)), APPLIED);
    assert_eq!(node.release(&[KEY], token(1, 3)).0, kept(2));
    assert_eq!(call(&mut listener), nonce(2));
}

#[test]
fn several_keys_are_kept_each_for_its_own_first() {
    let mut node = Node::start();
    let _listeners = [1, 2].map(|digit| node.listen(digit));
    let names = ["{a}1", "{a}2"];
    let dialect = Dialect::SCRIPTS;
    assert_eq!(node.ask_about(&names, dialect, acquire_unfenced(token(9, 1))), APPLIED);
    assert_eq!(node.ask_about(&names[..1], dialect, queue(token(1, 1), 1_000)), APPLIED);
    assert_eq!(node.ask_about(&names[1..], dialect, queue(token(2, 1), 1_000)), APPLIED);
    // Whoever waits for both of them has no place.
    assert_eq!(node.ask_about(&names, dialect, queue(token(3, 1), 1)), REFUSED);
    assert_eq!(node.queue("redlatch:queue:{a}1"), [nonce(1)]);
    assert_eq!(node.release(&names, token(9, 1)).0, kept(1));
    assert_eq!(node.queue("redlatch:queue:{a}1"), [""; 0]);
    assert_eq!(node.queue("redlatch:queue:{a}2"), [""; 0]);
}
