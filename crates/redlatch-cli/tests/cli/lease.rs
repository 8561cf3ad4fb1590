//! `acquire`, `extend`, `release`: a lease in the hands of a script.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use redlatch_tests::{Cluster, unique_resource};

use crate::support::{holders, is_free, read, redlatch, run, run_with_input, word};

#[test]
fn a_lease_goes_round_by_standard_input() {
    let cluster = Cluster::start(5);
    let nodes = cluster.urls();
    for json in [&[][..], &["--json"]] {
        let resource = unique_resource("pipe");
        let acquire = ["acquire", "--ttl", "20s", &resource];
        let lease = run(&nodes, acquire.iter().chain(json)).with_code(0).stdout;
        let told = run(&nodes, ["status", "--json", &resource]).with_code(0).json();
        assert_eq!(told["state"], "held");
        let extended = run_with_input(&nodes, &["extend"], &lease).with_code(0).stdout;
        assert_ne!(extended, lease, "it is good for longer");
        run(&nodes, ["status", &resource]).with_code(0);
        let released = run_with_input(&nodes, &["release"], &extended).with_code(0);
        assert_eq!((released.stdout.as_str(), released.stderr.as_str()), ("", ""));
        run(&nodes, ["status", &resource]).with_code(1);
        assert!(is_free(&cluster, &resource));
    }
}

#[test]
fn a_lease_goes_round_by_a_file_that_only_its_owner_reads() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("file");
    let file = cluster[0].directory().join("lease");
    let link = cluster[0].directory().join("link");
    fs::write(&file, "of another lock").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its owner");
    symlink(&file, &link).expect("a link");
    let name = link.to_str().expect("a path in UTF-8");

    let acquired = run(&nodes, ["acquire", "--lease-file", name, &resource]).with_code(0);
    assert_eq!(acquired.stdout, "", "the token is in the file alone");
    let before = read(&file);
    assert_eq!(mode(&file), 0o600);
    let extended = run(&nodes, ["extend", "--lease-file", name]).with_code(0);
    assert_eq!(extended.stdout, "");
    let after = read(&file);
    assert_eq!(word(&before, "token"), word(&after, "token"));
    assert_eq!(word(&before, "fence"), word(&after, "fence"));
    let until = |line| word(line, "valid_until_ms").parse::<u64>().expect("a number");
    assert!(until(&before) < until(&after));
    assert_eq!(mode(&file), 0o600);
    assert!(link.is_symlink(), "the link was followed, not replaced");
    run(&nodes, ["release", "--lease-file", name]).with_code(0);
    assert!(is_free(&cluster, &resource));
    let drafts = fs::read_dir(cluster[0].directory()).expect("the folder").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with(".redlatch-")
    });
    assert_eq!(drafts.count(), 0);
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("the file").permissions().mode() & 0o777
}

#[test]
fn the_json_of_a_lease_has_the_documented_fields() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let (one, two) = (unique_resource("{json}:1"), unique_resource("{json}:2"));
    let lease = run(&nodes, ["acquire", "--json", "--ttl", "20s", &one, &two]).with_code(0);
    let json = lease.json();
    let names: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
    let mut expected =
        ["version", "resources", "token", "fence", "ttl_ms", "valid_until_ms", "valid_until"];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(json["version"], 1);
    assert_eq!(json["resources"], serde_json::json!([one, two]));
    assert_eq!(json["token"].as_str().map(str::len), Some(40));
    assert!(json["fence"].as_u64().is_some_and(|fence| fence > 0));
    assert_eq!(json["ttl_ms"], 20_000);
    let until = json["valid_until"].as_str().expect("a string");
    let until = humantime::parse_rfc3339(until).expect("a time by RFC 3339");
    let until = until.duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    assert_eq!(json["valid_until_ms"].as_u64().map(u128::from), Some(until.as_millis()));

    let token = json["token"].as_str().expect("a string");
    assert!(cluster.holds(&one, token) >= 2 && cluster.holds(&two, token) >= 2);
    let extended = run_with_input(&nodes, &["extend"], &lease.stdout).with_code(0).json();
    assert!(extended["valid_until_ms"].as_u64() > json["valid_until_ms"].as_u64());
    let released = run_with_input(&nodes, &["release", "--json"], &lease.stdout).with_code(0);
    let expected = serde_json::json!({ "version": 1, "resources": [one, two], "released": true });
    assert_eq!(released.json(), expected);

    let lease = run(&nodes, ["acquire", "--json", "--no-fence", &one]).with_code(0).json();
    assert!(lease["fence"].is_null());
}

#[test]
fn a_lease_that_is_over_is_neither_extended_nor_released() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("over");
    let lease = run(&nodes, ["acquire", "--ttl", "100ms", &resource]).with_code(0).stdout;
    crate::support::eventually("its keys have expired", || is_free(&cluster, &resource));
    let next = run(&nodes, ["acquire", &resource]).with_code(0).stdout;
    for command in ["extend", "release"] {
        let ended = run_with_input(&nodes, &[command], &lease).with_code(76);
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.starts_with("redlatch: the l"), "{ended:?}");
    }
    let json = run_with_input(&nodes, &["release", "--json"], &lease).with_code(76).json();
    assert_eq!(json["released"], false);
    // Whoever came after is not disturbed.
    let held = cluster.holds(&resource, word(&next, "token"));
    assert!(held >= 2, "{:?}", cluster.owner_of(&resource));
}

#[test]
fn a_lease_that_nodes_have_forgotten_is_lost() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("forgotten");
    let lease = run(&nodes, ["acquire", &resource]).with_code(0).stdout;
    for node in cluster.iter().take(2) {
        node.command(&["DEL", &resource]);
    }
    let ended = run_with_input(&nodes, &["extend"], &lease).with_code(76);
    assert!(ended.stderr.contains("somebody else may hold the lock"), "{ended:?}");
}

#[test]
fn a_lease_is_not_harmed_when_too_few_nodes_extend_it() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("risk");
    let lease = run(&nodes, ["acquire", &resource]).with_code(0).stdout;
    cluster[0].pause();
    cluster[1].pause();
    let ended = run_with_input(&nodes, &["extend"], &lease).with_code(69);
    assert!(ended.stderr.contains("too few nodes extended the lock"), "{ended:?}");
    assert_eq!(ended.stdout, "");
    let unconfirmed = run_with_input(&nodes, &["status"], "").with_code(64);
    assert!(unconfirmed.stderr.contains("RESOURCE"), "{unconfirmed:?}");
    cluster[0].resume();
    cluster[1].resume();
    assert!(cluster.holds(&resource, word(&lease, "token")) >= 2);
    run_with_input(&nodes, &["extend"], &lease).with_code(0);
}

#[test]
fn a_release_that_is_not_confirmed_tells_when_the_lock_is_free() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let lease = run(&nodes, ["acquire", &unique_resource("silent")]).with_code(0).stdout;
    cluster[0].kill();
    cluster[1].kill();
    let ended = run_with_input(&nodes, &["release"], &lease).with_code(69);
    assert!(ended.stderr.contains("the lock is free in"), "{ended:?}");
}

#[test]
fn what_is_no_lease_is_refused() {
    let cluster = Cluster::start(3);
    for command in ["extend", "release"] {
        for text in ["", "sesame", "{}", "{\"version\":1,\"token\":\"sesame\"}"] {
            let ended = run_with_input(&cluster.urls(), &[command], text).with_code(65);
            assert!(!ended.stderr.contains("sesame"), "{ended:?}");
        }
        let args = [command, "--lease-file", "/nonexistent/lease"];
        run(&cluster.urls(), args).with_code(74);
    }
}

#[test]
fn a_lease_that_cannot_be_written_is_given_back() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("unwritten");
    // Found out before the lock is taken,
    for path in ["/nonexistent/lease", "/"] {
        let args = ["acquire", "--lease-file", path, &resource];
        let ended = run(&cluster.urls(), args).with_code(74);
        assert!(ended.stderr.starts_with("redlatch: "), "{ended:?}");
        assert!(!ended.stderr.contains(".redlatch-"), "{ended:?}");
        assert_eq!(holders(&cluster, &resource), 0);
    }
    // or afterwards: this is a disk without space.
    #[cfg(target_os = "linux")]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
        let mut command = redlatch(&cluster.urls(), ["acquire", &resource]);
        command.stdout(full);
        let ended = crate::support::ended(command).with_code(74);
        assert!(ended.stderr.contains("standard output cannot be written"), "{ended:?}");
        assert!(is_free(&cluster, &resource));
    }
}
