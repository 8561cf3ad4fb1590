//! What may be locked, and where its keys are.

use std::sync::LazyLock;

use redlatch_core::wire::{Dialect, Form, Keys, KeysError, Wire};

use crate::{TOKEN, acquire_fenced, seal};

/// What each byte adds to a CRC-16/XMODEM.
static TABLE: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let shifted = |crc: u32, _| (crc << 1) ^ if crc & 0x8000 != 0 { 0x1_1021 } else { 0 };
    (0..256).map(|byte| (0..8).fold(byte << 8, shifted) as u16).collect()
});

/// The slot of `key` by the words of the Redis Cluster specification; nothing is borrowed from what is
/// tested here: a table-driven CRC-16/XMODEM and a search for the tag with string methods.
fn slot(key: &[u8]) -> u16 {
    let hashed = match key.split(|&byte| byte == b'{').next() {
        Some(before) if before.len() < key.len() => {
            let after = &key[before.len() + 1..];
            match after.split(|&byte| byte == b'}').next() {
                Some(tag) if tag.len() < after.len() && !tag.is_empty() => tag,
                _ => key,
            }
        }
        _ => key,
    };
    let crc = hashed
        .iter()
        .fold(0_u16, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]);
    crc & 0x3FFF
}

/// The slot in which the crate sees `key`: told by the error beside a name in another one.
fn seen_slot(key: &[u8]) -> u16 {
    for other in [b"a".as_slice(), b"b"] {
        if let Err(KeysError::Slots { first, .. }) = Keys::new(&[key, other]) {
            return first;
        }
    }
    panic!("{key:?} is in the slots of both a and b");
}

/// What Redis 7.0.15 answered to `CLUSTER KEYSLOT`; the first stands in the specification as well.
const KNOWN_SLOTS: [(&str, u16); 13] = [
    ("123456789", 12_739),
    ("foo", 12_182),
    ("bar", 5_061),
    ("user1000", 3_443),
    ("{user1000}.following", 3_443),
    ("foo{}{bar}", 8_363),
    ("foo{{bar}}zap", 4_015),
    ("foo{bar}{zap}", 5_061),
    ("foo{bar", 15_278),
    ("foo}bar{", 11_073),
    ("{}", 15_257),
    ("}{", 12_793),
    ("hello", 866),
];

#[test]
fn slots_are_those_of_redis_cluster() {
    for (key, slot) in KNOWN_SLOTS {
        assert_eq!(seen_slot(key.as_bytes()), slot, "{key}");
        assert_eq!(self::slot(key.as_bytes()), slot, "{key}, by the test");
    }
}

/// Or a lock on a fence number or on the guard's marker would be one on the library's own keys.
#[test]
fn names_of_the_library_s_own_keys_are_refused() {
    for name in ["redlatch:run_id", "redlatch:quarantine", "redlatch:fence:{report}"] {
        let refused = Keys::new(&[b"report", name.as_bytes()]).unwrap_err();
        assert_eq!(refused, KeysError::Reserved { index: 1 });
        assert!(refused.to_string().contains("choose another"), "{refused}");
    }
}

#[test]
fn the_hash_tag_is_what_the_specification_says() {
    let slot_of = |key: &str| seen_slot(key.as_bytes());
    assert_eq!(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
    assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
    assert_ne!(slot_of("foo{}{bar}"), slot_of("bar"), "an empty tag is none");
    assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"), "up to the first closing brace");
    assert_eq!(slot_of("foo{bar}{zap}"), slot_of("bar"), "the first tag");
    assert_ne!(slot_of("foo{bar"), slot_of("bar"), "never closed");
    assert_ne!(slot_of("foo}bar{"), slot_of("bar"), "closed before it is opened");
}

/// Names of random bytes, some of them with a liking for braces.
fn random_names(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x5EED_u64;
    println!("seed {state:#x}");
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    (0..count)
        .map(|index| {
            let len = 1 + next() % 24;
            let alphabet: &[u8] = if index % 2 == 0 { b"{}ab:" } else { b"" };
            let mut byte = || match alphabet {
                [] => next() as u8,
                letters => letters[next() % letters.len()],
            };
            (0..len).map(|_| byte()).collect()
        })
        .collect()
}

#[test]
fn slots_are_right_for_random_names() {
    for name in random_names(20_000) {
        if name != b"a" && name != b"b" {
            assert_eq!(seen_slot(&name), slot(&name), "{name:?}");
        }
    }
}

/// R15: one script handles both, so they must be in one slot. No two resources share a fence key but
/// for `b` and `{b}`, whose numbers then rise together.
#[test]
fn a_fence_key_is_in_the_slot_of_its_resource() {
    let mut fence_keys = std::collections::BTreeMap::new();
    let mut refused = 0;
    for name in random_names(20_000) {
        let keys = Keys::new(&[&name]).unwrap();
        let wire = Wire::new(keys, Dialect::SCRIPTS).unwrap();
        let mut buffer = [0; 512];
        match wire.encode(&seal(), Form::Sha1, &mut buffer) {
            Ok(args) => {
                assert_eq!(keys.check_fence_keys(), Ok(()));
                let [_, _, _, resource, fence_key, ..] = args.as_slice() else { panic!("short") };
                assert_eq!(*resource, name);
                assert_eq!(slot(fence_key), slot(&name), "{name:?}: {fence_key:?}");
                assert!(fence_key.starts_with(b"redlatch:fence:"));
                let bare = name.strip_prefix(b"{").and_then(|name| name.strip_suffix(b"}"));
                let resource = bare.filter(|bare| !bare.contains(&b'}')).unwrap_or(&name);
                let before = fence_keys.insert(fence_key.to_vec(), resource.to_vec());
                assert!(before.is_none_or(|before| before == resource), "{fence_key:?}");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error, KeysError::FenceSlot { index: 0 }.into());
                assert_eq!(keys.check_fence_keys(), Err(KeysError::FenceSlot { index: 0 }));
                assert!(name.contains(&b'}'), "{name:?}");
            }
        }
    }
    assert!(refused > 1_000, "names with stray braces are drawn");
    assert!(fence_keys.len() > 8_000);
}

#[test]
fn names_are_keys_byte_for_byte() {
    let name: &[u8] = b"\x00\xff any bytes\r\n";
    let wire = Wire::new(Keys::new(&[name]).unwrap(), Dialect::SCRIPTS).unwrap();
    let mut buffer = [0; 256];
    let args = wire.encode(&acquire_fenced(), Form::Sha1, &mut buffer).unwrap();
    assert_eq!(args.as_slice()[3], name);
    assert_eq!(args.as_slice()[5], TOKEN.to_hex());
}

#[test]
fn limits_of_keys_are_kept_and_explained() {
    let longest = vec![b'x'; Keys::NAME_MAX];
    let too_long = vec![b'x'; Keys::NAME_MAX + 1];
    let nine: Vec<Vec<u8>> = (0..9).map(|index| format!("{{o}}{index}").into_bytes()).collect();
    let nine: Vec<&[u8]> = nine.iter().map(Vec::as_slice).collect();
    assert_eq!(Keys::new(&[&longest]).unwrap().names(), [longest.as_slice()]);
    assert_eq!(Keys::new(&nine[..8]).unwrap().names(), &nine[..8], "in the order given");

    let (stock, invoice) = (slot(b"stock"), slot(b"invoice"));
    let table: [(&[&[u8]], KeysError, &str); 6] = [
        (&[], KeysError::Count { count: 0 }, "a lock takes 1 to 8"),
        (&nine, KeysError::Count { count: 9 }, "a lock takes 1 to 8"),
        (&[b""], KeysError::Length { index: 0, len: 0 }, "it must have 1 to 1024"),
        (
            &[b"{x}", &too_long],
            KeysError::Length { index: 1, len: 1025 },
            "the name of resource 2 has 1025 bytes",
        ),
        (&[b"a", b"a"], KeysError::Duplicate { index: 1 }, "name each one once"),
        (
            &[b"stock", b"invoice"],
            KeysError::Slots { index: 1, slot: invoice, first: stock },
            "give their names one hash tag, as in {order:7}:stock",
        ),
    ];
    for (names, expected, help) in table {
        let error = Keys::new(names).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.to_string().contains(help), "{error}");
    }
    let fence = Keys::new(&[b"a}"]).unwrap().check_fence_keys().unwrap_err();
    for help in ["resource 1", "give it a hash tag", "lock it without a fence"] {
        assert!(fence.to_string().contains(help), "{fence}");
    }
}
