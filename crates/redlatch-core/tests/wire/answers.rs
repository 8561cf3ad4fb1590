//! From a Redis value to a reply. What is not of the expected form tells nothing (R5).

use std::time::Duration;

use redlatch_core::wire::{Answer, Compare, Dialect, Keys, Sighting, Value, Wire};
use redlatch_core::{Fence, Op, Reply, Ttl};

use crate::{
    COMPARES, GUARDED, OPS, acquire, acquire_fenced, extend, extend_fenced, release, seal,
};
use Value::{Array, Bytes, Error, Int, Nil};

const APPLIED: Reply = Reply::Applied { fence: None };
const REFUSED: Reply = Reply::Refused { remaining: None, fence: None };

fn wire(dialect: Dialect) -> Wire<'static> {
    Wire::new(Keys::new(&[b"r"]).expect("a name"), dialect).expect("one key")
}

fn decoded(dialect: Dialect, op: &Op, value: &Value<'_>) -> Reply {
    match wire(dialect).decode(op, value) {
        Answer::Reply(reply) => reply,
        Answer::ScriptMissing => panic!("{value:?} is no NOSCRIPT"),
    }
}

fn applied(fence: u64) -> Reply {
    Reply::Applied { fence: Fence::new(fence) }
}

fn refused(remaining_ms: u64, fence: u64) -> Reply {
    let remaining = Some(Duration::from_millis(remaining_ms));
    Reply::Refused { remaining, fence: Fence::new(fence) }
}

/// An operation, the items of the array that answers it, and what that means.
type Case<'a> = (fn() -> Op, &'a [Value<'a>], Reply);

#[test]
fn scripts_answer_arrays() {
    const MAX: i64 = Fence::MAX as i64;
    let table: [Case<'_>; 22] = [
        (acquire, &[Int(1), Int(0)], APPLIED),
        (acquire, &[Int(1), Int(9)], APPLIED),
        (acquire_fenced, &[Int(1), Int(9)], applied(9)),
        (acquire_fenced, &[Int(1), Int(MAX)], applied(Fence::MAX)),
        (acquire, &[Int(0), Int(250), Int(0)], refused(250, 0)),
        (acquire_fenced, &[Int(0), Int(250), Int(9)], refused(250, 9)),
        (acquire_fenced, &[Int(0), Int(0), Int(MAX + 1)], refused(0, 0)),
        // A key that never expires, by whoever set it.
        (acquire, &[Int(0), Int(-1), Int(0)], REFUSED),
        (
            acquire,
            &[Int(2), Int(800)],
            Reply::Quarantined { remaining: Duration::from_millis(800) },
        ),
        (
            acquire_fenced,
            &[Int(2), Int(-1)],
            Reply::Quarantined { remaining: Ttl::MAX.as_duration() },
        ),
        (seal, &[Int(1), Int(77)], applied(77)),
        (seal, &[Int(1), Int(78)], applied(78)),
        (seal, &[Int(0)], REFUSED),
        (extend, &[Int(1)], APPLIED),
        (extend, &[Int(0)], REFUSED),
        (extend_fenced, &[Int(1)], APPLIED),
        (extend_fenced, &[Int(0)], REFUSED),
        (release, &[Int(1)], APPLIED),
        (release, &[Int(0)], REFUSED),
        // R15: a yes without a number is none.
        (acquire_fenced, &[Int(1), Int(0)], Reply::Unknown),
        (acquire_fenced, &[Int(1), Int(-9)], Reply::Unknown),
        (seal, &[Int(1), Int(MAX + 1)], Reply::Unknown),
    ];
    for (op, items, reply) in table {
        for dialect in [Dialect::SCRIPTS, GUARDED] {
            assert_eq!(decoded(dialect, &op(), &Array(items)), reply, "{:?}: {items:?}", op());
        }
    }
}

#[test]
fn plain_commands_answer_ok_nothing_or_a_count() {
    for compare in COMPARES {
        let plain = |op: Op, value| decoded(Dialect::Plain { compare }, &op, &value);
        assert_eq!(plain(acquire(), Bytes(b"OK")), APPLIED);
        assert_eq!(plain(acquire(), Nil), REFUSED);
        let (set, none) = match compare {
            Compare::Script => ([Int(1)], [Int(0)]),
            Compare::Delex | Compare::Delifeq => {
                assert_eq!(plain(extend(), Bytes(b"OK")), APPLIED);
                assert_eq!(plain(extend(), Nil), REFUSED);
                assert_eq!(plain(release(), Int(1)), APPLIED);
                assert_eq!(plain(release(), Int(0)), REFUSED);
                continue;
            }
        };
        for op in [extend(), release()] {
            assert_eq!(plain(op, Array(&set)), APPLIED);
            assert_eq!(plain(op, Array(&none)), REFUSED);
        }
    }
}

/// R5: a proxy, another program, or another version may answer anything.
#[test]
fn nonsense_is_unknown() {
    const ONE: &[Value<'_>] = &[Int(1)];
    let nonsense = [
        Bytes(b""),
        Bytes(b"ok"),
        Bytes(b"QUEUED"),
        Bytes(b"1"),
        Int(-1),
        Int(2),
        Int(i64::MIN),
        Array(&[]),
        Array(&[Nil]),
        Array(&[Int(3)]),
        Array(&[Int(-1), Int(5)]),
        Array(&[Int(2)]),
        Array(&[Int(1), Nil]),
        Array(&[Bytes(b"1"), Bytes(b"5")]),
        Array(&[Int(0), Int(5)]),
        Array(&[Int(0), Nil, Nil]),
        Array(&[Int(1), Int(5), Int(5), Int(5)]),
        Array(&[Array(ONE)]),
        Array(&[Error(b"ERR")]),
        Error(b""),
        Error(b"ERR unknown command"),
        Error(b"READONLY You can't write against a read only replica."),
        Error(b"MOVED 866 127.0.0.1:7001"),
        Error(b"REDLATCH the ttl is longer than the restart guard"),
        Error(b"NOPERM NOSCRIPT"),
        Error(b"noscript"),
    ];
    let mut dialects = vec![Dialect::SCRIPTS, GUARDED];
    dialects.extend(COMPARES.map(|compare| Dialect::Plain { compare }));
    for dialect in dialects {
        for op in OPS.map(|op| op()) {
            for value in &nonsense {
                assert_eq!(decoded(dialect, &op, value), Reply::Unknown, "{op:?}: {value:?}");
            }
        }
    }
}

/// R5: what is an answer to one operation is none to another.
#[test]
fn an_answer_to_something_else_is_unknown() {
    let scripts = |op: Op, value| decoded(Dialect::SCRIPTS, &op, &value);
    assert_eq!(scripts(acquire(), Array(&[Int(1)])), Reply::Unknown);
    assert_eq!(scripts(acquire(), Array(&[Int(0)])), Reply::Unknown);
    assert_eq!(scripts(seal(), Array(&[Int(1)])), Reply::Unknown);
    assert_eq!(scripts(extend(), Array(&[Int(1), Int(5)])), Reply::Unknown);
    assert_eq!(scripts(release(), Array(&[Int(1), Int(0)])), Reply::Unknown);
    assert_eq!(scripts(release(), Array(&[Int(2), Int(800)])), Reply::Unknown);
    for op in OPS.map(|op| op()) {
        for value in [Bytes(b"OK"), Nil, Int(1), Int(0)] {
            assert_eq!(scripts(op, value), Reply::Unknown, "no script answers {value:?}");
        }
    }
}

/// R5: `SET`, `DELEX` and `DELIFEQ` answer no arrays, whatever may be in them.
#[test]
fn an_answer_of_a_script_is_unknown_to_a_plain_command() {
    let arrays: [&[Value<'_>]; 6] = [
        &[Int(1)],
        &[Int(0)],
        &[Int(1), Int(0)],
        &[Int(1), Int(9)],
        &[Int(0), Int(250), Int(0)],
        &[Int(2), Int(800)],
    ];
    for items in arrays {
        for compare in COMPARES {
            let plain = |op| decoded(Dialect::Plain { compare }, &op, &Array(items));
            assert_eq!(plain(acquire()), Reply::Unknown, "{compare:?}: SET, {items:?}");
            if compare != Compare::Script {
                assert_eq!(plain(extend()), Reply::Unknown, "{compare:?}: SET IFEQ, {items:?}");
                assert_eq!(plain(release()), Reply::Unknown, "{compare:?}, {items:?}");
            }
        }
    }
}

#[test]
fn a_plain_answer_to_another_command_is_unknown() {
    for compare in [Compare::Delex, Compare::Delifeq] {
        let plain = |op: Op, value| decoded(Dialect::Plain { compare }, &op, &value);
        assert_eq!(plain(acquire(), Int(1)), Reply::Unknown);
        assert_eq!(plain(extend(), Int(1)), Reply::Unknown);
        assert_eq!(plain(release(), Bytes(b"OK")), Reply::Unknown);
        assert_eq!(plain(release(), Nil), Reply::Unknown);
    }
    let script = |op: Op, value| decoded(Dialect::Plain { compare: Compare::Script }, &op, &value);
    for value in [Bytes(b"OK"), Nil, Int(1), Int(0)] {
        assert_eq!(script(extend(), value), Reply::Unknown);
        assert_eq!(script(release(), value), Reply::Unknown);
    }
}

#[test]
fn a_missing_script_is_to_be_sent() {
    let missing = Error(b"NOSCRIPT No matching script. Please use EVAL.");
    for dialect in [Dialect::SCRIPTS, GUARDED, Dialect::Plain { compare: Compare::Script }] {
        for op in OPS.map(|op| op()) {
            assert_eq!(wire(dialect).decode(&op, &missing), Answer::ScriptMissing);
        }
    }
}

#[test]
fn an_inspection_tells_who_holds_what() {
    let token: &[u8] = b"000102030405060708090a0b0c0dfeff0000002a";
    let scripts = wire(Dialect::SCRIPTS);
    let look = |items: &[Value<'_>]| scripts.decode_inspect(&Array(items)).unwrap();
    let held = look(&[Bytes(token), Int(900), Int(5)]);
    assert_eq!(held.remaining, Some(Duration::from_millis(900)));
    assert_eq!(held.fence, Fence::new(5));
    assert_eq!(held.holder, look(&[Bytes(token), Int(1), Int(0)]).holder, "on every node");
    assert_ne!(held.holder, look(&[Bytes(b"somebody else"), Int(1), Int(0)]).holder);
    assert_eq!(look(&[Bytes(b"x"), Int(-1), Int(0)]).remaining, None, "it never expires");
    let free = Sighting { holder: None, remaining: None, fence: Fence::new(5) };
    assert_eq!(look(&[Nil, Int(0), Int(5)]), free);

    let plain = wire(Dialect::Plain { compare: Compare::Script });
    let look = |left| plain.decode_inspect(&Int(left)).unwrap();
    assert_eq!(look(-2).holder, None);
    assert!(look(-1).holder.is_some());
    assert_eq!(look(70).remaining, Some(Duration::from_millis(70)));
    for value in [Nil, Bytes(b"OK"), Error(b"ERR"), Array(&[]), Array(&[Int(1), Int(2), Int(3)])] {
        assert_eq!(scripts.decode_inspect(&value), None, "{value:?}");
        assert_eq!(plain.decode_inspect(&value), None, "{value:?}");
    }
}

/// Nodes with one holder are counted by it, so two tokens should not look like one.
#[test]
fn tokens_that_differ_in_one_digit_are_told_apart() {
    let scripts = wire(Dialect::SCRIPTS);
    let mut holders = std::collections::BTreeSet::new();
    for place in 0..40 {
        for digit in b"123456789abcdef" {
            let mut token = [b'0'; 40];
            token[place] = *digit;
            let items = [Bytes(&token), Int(1), Int(0)];
            let seen = scripts.decode_inspect(&Array(&items)).unwrap();
            assert!(holders.insert(seen.holder), "{digit} at {place} looks like another token");
        }
    }
}

/// `INFO server` of Redis 7.0.15 and 8.6.3, as they answered; of 8.0 and 8.4 it differs in the numbers.
const REDIS: &str = "# Server\r\nredis_version:VERSION\r\nredis_git_sha1:00000000\r\n\
    redis_git_dirty:0\r\nredis_build_id:ae4d7c971a948f0\r\nredis_mode:standalone\r\n\
    os:Linux 6.18.44 x86_64\r\narch_bits:64\r\nmonotonic_clock:POSIX clock_gettime\r\n\
    multiplexing_api:epoll\r\natomicvar_api:c11-builtin\r\ngcc_version:12.2.0\r\n\
    process_id:8478\r\nprocess_supervised:no\r\n\
    run_id:9c040c8b26b987db0a13cd53f9b111a57c297afc\r\ntcp_port:0\r\n\
    server_time_usec:1795437736231136\r\nuptime_in_seconds:1\r\nuptime_in_days:0\r\nhz:10\r\n\
    configured_hz:10\r\nlru_clock:275624\r\nexecutable:/usr/bin/redis-server\r\nconfig_file:\r\n";

/// `INFO server` of Valkey 8.1.8 and 9.1.2, as they answered; of 9.0 it differs in the numbers.
const VALKEY: &str = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\n\
    valkey_version:VERSION\r\nvalkey_release_stage:ga\r\nredis_git_sha1:00000000\r\n\
    redis_git_dirty:1\r\nredis_build_id:7eb4ebc9d7e91f4e\r\nserver_mode:standalone\r\n\
    os:Linux 6.18.44 x86_64\r\narch_bits:64\r\nmonotonic_clock:X86 TSC @ 2600.31 ticks/us\r\n\
    multiplexing_api:epoll\r\ngcc_version:10.2.1\r\nprocess_id:8529\r\nprocess_supervised:no\r\n\
    run_id:e8f07a2c316fba847255c3a85555400fba71c561\r\ntcp_port:0\r\n\
    server_time_usec:1795437737678865\r\nuptime_in_seconds:0\r\nuptime_in_days:0\r\nhz:10\r\n\
    configured_hz:10\r\nclients_hz:10\r\n";

#[test]
fn a_server_is_spoken_to_as_it_understands() {
    for (info, version, compare) in [
        (REDIS, "6.2.14", Compare::Script),
        (REDIS, "7.0.15", Compare::Script),
        (REDIS, "8.0.3", Compare::Script),
        (REDIS, "8.2.1", Compare::Script),
        (REDIS, "8.4.0", Compare::Delex),
        (REDIS, "8.6.3", Compare::Delex),
        (REDIS, "8.10.0", Compare::Delex),
        (REDIS, "10.0.0", Compare::Delex),
        (VALKEY, "7.2.9", Compare::Script),
        (VALKEY, "8.1.8", Compare::Script),
        (VALKEY, "9.0.0", Compare::Delifeq),
        (VALKEY, "9.0.0-rc1", Compare::Delifeq),
        (VALKEY, "9.1.2", Compare::Delifeq),
        (VALKEY, "10.0.0", Compare::Delifeq),
    ] {
        let info = info.replace("VERSION", version);
        assert_eq!(Compare::of_server(info.as_bytes()), compare, "{info}");
        assert_eq!(Compare::of_server(info.replace('\r', "").as_bytes()), compare, "{info}");
    }
}

/// What tells no version is spoken to as the oldest server is.
#[test]
fn an_unknown_server_gets_scripts() {
    for info in [
        "",
        "redis_version",
        "redis_version:",
        "redis_version:9",
        "redis_version:x.y",
        "redis_version:.9",
        "my_redis_version:9.9.9",
        "# Server\r\ndragonfly_version:df-v1.36.0\r\n",
    ] {
        assert_eq!(Compare::of_server(info.as_bytes()), Compare::Script, "{info:?}");
    }
    let huge = "redis_version:99999999999999999999.0";
    assert_eq!(Compare::of_server(huge.as_bytes()), Compare::Delex);
}
