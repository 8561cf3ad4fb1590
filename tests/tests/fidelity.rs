//! The model node is right: the same random commands to it and to real servers, reply for reply.
//!
//! `redlatch-harness fidelity` does the same with any server.

#![expect(clippy::unwrap_used, reason = "a server that cannot be asked fails the test")]

use std::path::Path;

use redlatch_harness::redis::Flavour;
use redlatch_harness::redis::fidelity::{Fidelity, Login, Report, SCRIPT_LEN};
use redlatch_tests::RedisServer;

/// Some 6,000 commands for each server; seconds, of which most is waiting for keys to expire.
const SCRIPTS: u64 = 100;
/// Beyond this many scripts that ended early, the machine is too slow to compare anything.
const AMBIGUOUS_MAX: u64 = SCRIPTS / 2;

fn compare(server: &RedisServer, flavour: Flavour) {
    let mut fidelity = Fidelity::connect(server.addr(), &Login::default()).unwrap();
    assert_eq!(fidelity.flavour(), flavour);
    let mut report = Report::default();
    for seed in 0..SCRIPTS {
        fidelity.run(seed, &mut report).unwrap();
    }
    println!("{} {report}", fidelity.version());
    let shown: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    assert!(report.ambiguous <= AMBIGUOUS_MAX, "{report}");
    assert!(report.replies > SCRIPTS * SCRIPT_LEN as u64 / 2, "{report}");
    assert!(report.times[0] > 100, "hardly a time was compared: {report}");
}

/// A server that `just setup` puts there.
fn newer(name: &str) -> RedisServer {
    let path = format!("target/servers/{name}/{name}-server");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&path);
    assert!(program.exists(), "{path} is missing; run `just setup`, which makes it or says how");
    RedisServer::builder().program(program).start()
}

#[test]
fn the_model_answers_as_redis_7() {
    compare(&RedisServer::start(), Flavour::Redis7);
}

#[test]
fn the_model_answers_as_redis_8() {
    compare(&newer("redis"), Flavour::Redis8);
}

#[test]
fn the_model_answers_as_valkey_9() {
    compare(&newer("valkey"), Flavour::Valkey9);
}

#[test]
fn a_server_with_keys_is_left_alone() {
    let server = RedisServer::start();
    server.command(&["SET", "precious", "1"]);
    let refused = Fidelity::connect(server.addr(), &Login::default()).err().unwrap();
    assert!(refused.to_string().contains("has keys"), "{refused}");
}
