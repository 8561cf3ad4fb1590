//! From an operation to a list of byte strings.

use redlatch_core::wire::{
    ACQUIRE, Compare, DECLARE_FRESH, Dialect, EXTEND, Form, INSPECT, Keys, RELEASE, SCRIPTS, SEAL,
    Script, Value, Wire, WireError, encode_declare_fresh,
};
use redlatch_core::{Config, Fence, Instant, Lock, Op, Place, Proposal, Quorum, Token, Ttl};

use crate::{
    COMPARES, GUARDED, HEX, OPS, TOKEN, acquire, acquire_fenced, extend, extend_fenced, release,
    release_queued, seal, ttl,
};

fn wire<'a>(names: &[&'a [u8]], dialect: Dialect) -> Wire<'a> {
    Wire::new(Keys::new(names).expect("legal names"), dialect).expect("names of this dialect")
}

/// The command as text; a script's text becomes its name.
fn text(args: &[&[u8]]) -> String {
    let names = [
        (ACQUIRE, "ACQUIRE"),
        (SEAL, "SEAL"),
        (EXTEND, "EXTEND"),
        (RELEASE, "RELEASE"),
        (INSPECT, "INSPECT"),
        (DECLARE_FRESH, "DECLARE_FRESH"),
    ];
    let named = |arg: &[u8]| {
        let is_it = |script: &Script| {
            if args[0] == b"EVAL" {
                script.text.as_bytes() == arg
            } else {
                script.sha1.as_bytes() == arg
            }
        };
        match names.iter().find(|(script, _)| is_it(script)) {
            Some((_, name)) => (*name).to_owned(),
            None => String::from_utf8_lossy(arg).replace(HEX, "TOKEN"),
        }
    };
    args.iter().map(|arg| named(arg)).collect::<Vec<_>>().join(" ")
}

fn encoded(names: &[&[u8]], dialect: Dialect, op: &Op, form: Form) -> String {
    let wire = wire(names, dialect);
    let mut buffer = [0; 1024];
    text(wire.encode(op, form, &mut buffer).expect("it fits").as_slice())
}

/// The texts are what the servers hash.
#[test]
fn each_sha1_is_that_of_its_text() {
    for script in SCRIPTS {
        assert_eq!(script.sha1, sha1_smol::Sha1::from(script.text).digest().to_string());
    }
}

/// What is sent is the source, line by line, without what only its reader needs.
#[test]
fn each_text_is_its_source_without_comments_and_indentation() {
    let sources = ["acquire", "seal", "extend", "release", "inspect", "declare_fresh"];
    for (script, name) in SCRIPTS.iter().zip(sources) {
        let path = format!("{}/src/wire/{name}.lua", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).expect("the source of a script");
        let lines = source.lines().map(str::trim_start).filter(|line| !line.starts_with("--"));
        assert_eq!(script.text, lines.map(|line| format!("{line}\n")).collect::<String>());
    }
}

#[test]
fn all_scripts_are_loaded() {
    assert_eq!(SCRIPTS, [ACQUIRE, SEAL, EXTEND, RELEASE, INSPECT, DECLARE_FRESH]);
}

/// Names, how nodes are spoken to, an operation, and what is sent after the command's name.
type Case<'a> = (&'a [&'a [u8]], Dialect, fn() -> Op, String);

#[test]
fn scripts_take_their_arguments_in_order() {
    let two: &[&[u8]] = &[b"{o}:a", b"{o}:b"];
    let day = 24 * 60 * 60 * 1000;
    let long = 2 * day;
    let plain = Dialect::SCRIPTS;
    let table: [Case<'_>; 20] = [
        (&[b"r"], plain, acquire, format!("ACQUIRE 1 r TOKEN 30000 1 0 {long} 0")),
        (
            &[b"r"],
            plain,
            acquire_fenced,
            format!("ACQUIRE 2 r redlatch:fence:{{r}} TOKEN 30000 1 1700000000000000 {long} 0"),
        ),
        (
            &[b"r"],
            GUARDED,
            acquire,
            format!("ACQUIRE 3 r redlatch:run_id redlatch:quarantine TOKEN 30000 1 0 {day} 60000"),
        ),
        (
            &[b"r"],
            GUARDED,
            acquire_fenced,
            format!(
                "ACQUIRE 4 r redlatch:fence:{{r}} redlatch:run_id redlatch:quarantine TOKEN 30000 1 \
                 1700000000000000 {day} 60000"
            ),
        ),
        (two, plain, acquire, format!("ACQUIRE 2 {{o}}:a {{o}}:b TOKEN 30000 2 0 {long} 0")),
        (
            two,
            GUARDED,
            acquire_fenced,
            format!(
                "ACQUIRE 6 {{o}}:a {{o}}:b redlatch:fence:{{o}}:a redlatch:fence:{{o}}:b \
                 redlatch:run_id redlatch:quarantine TOKEN 30000 2 1700000000000000 {day} 60000"
            ),
        ),
        (&[b"r"], plain, seal, format!("SEAL 2 r redlatch:fence:{{r}} TOKEN 77 1 {long}")),
        (
            two,
            GUARDED,
            seal,
            format!(
                "SEAL 4 {{o}}:a {{o}}:b redlatch:fence:{{o}}:a redlatch:fence:{{o}}:b TOKEN 77 2 {day}"
            ),
        ),
        (&[b"r"], plain, extend, format!("EXTEND 1 r TOKEN 30000 1 {long}")),
        (
            &[b"r"],
            GUARDED,
            extend_fenced,
            format!("EXTEND 2 r redlatch:fence:{{r}} TOKEN 30000 1 {day}"),
        ),
        (two, plain, extend, format!("EXTEND 2 {{o}}:a {{o}}:b TOKEN 30000 2 {long}")),
        (
            two,
            plain,
            extend_fenced,
            format!(
                "EXTEND 4 {{o}}:a {{o}}:b redlatch:fence:{{o}}:a redlatch:fence:{{o}}:b TOKEN 30000 2 \
                 {long}"
            ),
        ),
        (&[b"r"], plain, release, "RELEASE 2 r redlatch:queue:{r} TOKEN 1".to_owned()),
        (&[b"r"], GUARDED, release, "RELEASE 2 r redlatch:queue:{r} TOKEN 1".to_owned()),
        (
            &[b"r"],
            plain,
            release_queued,
            "RELEASE 2 r redlatch:queue:{r} TOKEN 1 1700000000000".to_owned(),
        ),
        (
            two,
            plain,
            release,
            "RELEASE 4 {o}:a {o}:b redlatch:queue:{o}:a redlatch:queue:{o}:b TOKEN 2".to_owned(),
        ),
        // A waiter of several keys does not queue, nor one of a name without a place for a queue.
        (
            two,
            plain,
            release_queued,
            "RELEASE 4 {o}:a {o}:b redlatch:queue:{o}:a redlatch:queue:{o}:b TOKEN 2".to_owned(),
        ),
        (&[b"a}b"], plain, release, "RELEASE 1 a}b TOKEN 1".to_owned()),
        (&[b"a}b"], plain, release_queued, "RELEASE 1 a}b TOKEN 1".to_owned()),
        // The queue of `{b}` would be that of `b`.
        (&[b"{b}"], plain, release_queued, "RELEASE 1 {b} TOKEN 1".to_owned()),
    ];
    for (names, dialect, op, expected) in table {
        assert_eq!(encoded(names, dialect, &op(), Form::Sha1), format!("EVALSHA {expected}"));
        assert_eq!(encoded(names, dialect, &op(), Form::Text), format!("EVAL {expected}"));
    }
}

/// Both forms, because a plain command has one only.
#[test]
fn the_plain_dialect_uses_the_best_command_there_is() {
    let set = "SET r TOKEN NX PX 30000";
    let keep = "SET r TOKEN IFEQ TOKEN PX 30000";
    let table = [
        (
            Compare::Script,
            set,
            "EVALSHA EXTEND 1 r TOKEN 30000 1 0",
            "EVALSHA RELEASE 2 r redlatch:queue:{r} TOKEN 1",
        ),
        (Compare::Delex, set, keep, "DELEX r IFEQ TOKEN"),
        (Compare::Delifeq, set, keep, "DELIFEQ r TOKEN"),
    ];
    for (compare, acquired, extended, released) in table {
        for (form, eval) in [(Form::Sha1, "EVALSHA"), (Form::Text, "EVAL")] {
            let plain = |op| encoded(&[b"r"], Dialect::Plain { compare }, &op, form);
            assert_eq!(plain(acquire()), acquired);
            assert_eq!(plain(extend()), extended.replace("EVALSHA", eval));
            assert_eq!(plain(release()), released.replace("EVALSHA", eval));
            assert_eq!(plain(release_queued()), released.replace("EVALSHA", eval));
        }
    }
}

/// R18: whoever would find its own reservation in its way, or only some of its keys reserved, polls.
#[test]
fn waiters_of_one_key_with_scripts_can_queue_and_no_others() {
    for names in [&[b"r".as_slice()][..], &[b"{o}:a"], &[b"{"]] {
        assert!(wire(names, Dialect::SCRIPTS).can_queue());
        assert!(wire(names, GUARDED).can_queue());
        for compare in COMPARES {
            assert!(!wire(names, Dialect::Plain { compare }).can_queue());
        }
    }
    for names in [&[b"{o}:a".as_slice(), b"{o}:b"][..], &[b"a}b"], &[b"{o}"]] {
        assert!(!wire(names, Dialect::SCRIPTS).can_queue());
    }
}

/// R15: rather no command than a lock without the fence that was asked for.
#[test]
fn the_plain_dialect_refuses_what_it_cannot_do() {
    for compare in COMPARES {
        let wire = wire(&[b"r"], Dialect::Plain { compare });
        for op in [acquire_fenced(), seal(), extend_fenced()] {
            let error = wire.encode(&op, Form::Text, &mut [0; 512]).unwrap_err();
            assert_eq!(error, WireError::PlainFence);
            assert!(error.to_string().contains("use the scripts dialect"), "{error}");
        }
        let two = Keys::new(&[b"{o}:a", b"{o}:b"]).unwrap();
        let error = Wire::new(two, Dialect::Plain { compare }).unwrap_err();
        assert_eq!(error, WireError::PlainKeys);
        assert!(error.to_string().contains("use the scripts dialect"), "{error}");
    }
}

#[test]
fn a_name_without_a_place_for_its_fence_is_refused() {
    let wire = wire(&[b"a}b"], Dialect::SCRIPTS);
    for op in [acquire_fenced(), seal(), extend_fenced()] {
        let error = wire.encode(&op, Form::Sha1, &mut [0; 512]).unwrap_err();
        assert!(matches!(error, WireError::Keys(_)), "{error}");
    }
    assert!(wire.encode(&acquire(), Form::Sha1, &mut [0; 512]).is_ok(), "but locked without one");
}

/// R3: whoever knows a token, or its nonce, can release the lock.
#[test]
fn debug_shows_no_token() {
    let one = Config::new(Quorum::of(1).unwrap(), ttl()).unwrap();
    let mut lock = Lock::new(one);
    lock.acquire(Instant::ZERO, TOKEN.nonce(), None).unwrap();
    let mut buffer = [0; 512];
    let args = wire(&[b"r"], Dialect::SCRIPTS).encode(&release(), Form::Sha1, &mut buffer).unwrap();
    let hex = TOKEN.to_hex();
    let shown = [
        format!("{lock:?} {:?}", lock.poll_command()),
        format!("{args:?}"),
        format!("{:?}", Value::Array(&[Value::Bytes(&hex), Value::Error(&hex)])),
    ];
    let bytes = format!("{:?}", TOKEN.nonce());
    let digits = str::from_utf8(&hex[..32]).unwrap();
    let hex_bytes = format!("{:?}", &hex[..8]);
    for text in shown {
        for secret in [bytes.trim_matches(['[', ']']), digits, hex_bytes.trim_matches(['[', ']'])] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn inspecting_reads_every_key_and_its_fence() {
    let mut buffer = [0; 256];
    let one = wire(&[b"r"], Dialect::SCRIPTS);
    let args = one.encode_inspect(Form::Sha1, &mut buffer).unwrap();
    assert_eq!(text(args.as_slice()), "EVALSHA INSPECT 2 r redlatch:fence:{r} 1");
    let two = wire(&[b"{o}:a", b"{o}:b"], GUARDED);
    let args = two.encode_inspect(Form::Text, &mut buffer).unwrap();
    assert_eq!(
        text(args.as_slice()),
        "EVAL INSPECT 4 {o}:a {o}:b redlatch:fence:{o}:a redlatch:fence:{o}:b 2"
    );
    let plain = wire(&[b"r"], Dialect::Plain { compare: Compare::Delex });
    let args = plain.encode_inspect(Form::Sha1, &mut buffer).unwrap();
    assert_eq!(text(args.as_slice()), "PTTL r");
}

/// R16
#[test]
fn declaring_a_node_fresh_names_the_marker() {
    let mut buffer = [0; 20];
    let args = encode_declare_fresh(Form::Sha1, &mut buffer).unwrap();
    assert_eq!(text(args.as_slice()), "EVALSHA DECLARE_FRESH 1 redlatch:run_id");
    let args = encode_declare_fresh(Form::Text, &mut buffer).unwrap();
    assert_eq!(text(args.as_slice()), "EVAL DECLARE_FRESH 1 redlatch:run_id");
}

/// At every length: an error below what is needed, the same command from there on.
#[test]
fn a_buffer_that_is_too_small_is_an_error_at_every_length() {
    let one: &[&[u8]] = &[b"r"];
    let eight: Vec<Vec<u8>> = (0..8).map(|index| format!("{{o}}:{index}").into_bytes()).collect();
    let eight: Vec<&[u8]> = eight.iter().map(Vec::as_slice).collect();
    let mut wires = vec![wire(one, Dialect::SCRIPTS), wire(&eight, GUARDED)];
    wires.extend(COMPARES.map(|compare| wire(one, Dialect::Plain { compare })));
    for wire in wires {
        for op in OPS.map(|op| op()) {
            let mut enough = vec![0; wire.buffer_len()];
            let Ok(whole) = wire.encode(&op, Form::Sha1, &mut enough) else { continue };
            let whole = text(whole.as_slice());
            let outcomes: Vec<bool> = (0..=wire.buffer_len())
                .map(|len| {
                    let mut buffer = vec![0; len];
                    match wire.encode(&op, Form::Sha1, &mut buffer) {
                        Ok(args) => {
                            assert_eq!(text(args.as_slice()), whole);
                            true
                        }
                        Err(error) => {
                            assert_eq!(error, WireError::BufferTooSmall);
                            assert!(error.to_string().contains("buffer_len"), "{error}");
                            false
                        }
                    }
                })
                .collect();
            assert!(outcomes.is_sorted(), "{op:?}: once enough, always enough");
            assert!(!outcomes[Token::HEX_LEN - 1], "{op:?}: not even a token fits");
        }
        let mut enough = vec![0; wire.buffer_len()];
        assert!(wire.encode_inspect(Form::Sha1, &mut enough).is_ok());
    }
}

/// The longest names, the largest numbers, and everything switched on.
#[test]
fn buffer_len_is_enough_for_the_largest_command() {
    let names: Vec<Vec<u8>> = (0..Keys::MAX)
        .map(|index| {
            let mut name = format!("{{o}}{index}").into_bytes();
            name.resize(Keys::NAME_MAX, b'x');
            name
        })
        .collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let dialect = Dialect::Scripts {
        restart_guard: Some(Ttl::MAX),
        fence_retention: std::time::Duration::MAX,
    };
    let wire = wire(&names, dialect);
    let largest = [
        Op::Acquire {
            token: TOKEN,
            ttl: Ttl::MAX,
            proposal: Proposal::from_unix_micros(Proposal::MAX).ok(),
        },
        Op::Seal { token: TOKEN, fence: Fence::new(Fence::MAX).unwrap() },
        Op::Extend { token: TOKEN, ttl: Ttl::MAX, fence: Fence::new(1) },
        Op::Release { token: TOKEN, place: Some(Place::since_millis(u64::MAX)) },
    ];
    for op in largest {
        let mut buffer = vec![0; wire.buffer_len()];
        let args = wire.encode(&op, Form::Text, &mut buffer).unwrap();
        assert!(args.as_slice().len() <= 27);
        let is_release = matches!(op, Op::Release { .. });
        let retention = u64::MAX.to_string();
        assert_eq!(args.as_slice().contains(&retention.as_bytes()), !is_release, "{op:?}");
    }
}

/// Of every length, at both of its ends.
#[test]
fn numbers_are_written_in_decimal() {
    let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
    let numbers = powers.flat_map(|power| [power - 1, power, power + 1, power / 2 * 3]);
    for number in numbers.chain([u64::MAX]) {
        let fence_retention = std::time::Duration::from_millis(number);
        let wire = wire(&[b"report"], Dialect::Scripts { restart_guard: None, fence_retention });
        let mut buffer = vec![0; wire.buffer_len()];
        let args = wire.encode(&seal(), Form::Sha1, &mut buffer).unwrap();
        assert_eq!(args.as_slice().last(), Some(&number.to_string().as_bytes()));
    }
}

/// R3: forty digits, the nonce first, so that text order is the order of attempts.
#[test]
fn a_token_survives_the_wire() {
    assert_eq!(core::str::from_utf8(&TOKEN.to_hex()), Ok(HEX));
    for attempt in [0, 1, 255, 256, 0x0102_0304, u32::MAX] {
        for nonce in [[0; 16], [0xFF; 16], TOKEN.nonce()] {
            let token = Token::new(nonce, attempt);
            let back = Token::from_hex(&token.to_hex()).unwrap();
            assert_eq!((back.nonce(), back.attempt()), (nonce, attempt));
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let upper = HEX.to_uppercase();
    for hex in ["", &HEX[1..], &format!("{HEX}0"), &upper, &HEX.replace('0', "g"), &" ".repeat(40)]
    {
        let error = Token::from_hex(hex.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("40 lowercase hexadecimal digits"), "{error}");
    }
}

/// A token is a capability.
#[test]
fn debug_output_hides_the_token() {
    for op in OPS.map(|op| op()) {
        let shown = format!("{op:?}");
        assert!(shown.contains("attempt 42") && !shown.contains("0102"), "{shown}");
        assert!(!shown.contains("254, 255"), "{shown}");
    }
}
