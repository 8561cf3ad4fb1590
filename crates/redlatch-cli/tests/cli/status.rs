//! `status`.

use redlatch_tests::{Cluster, unique_resource};

use crate::support::{eventually, holders, redlatch, run, run_with_input, start, token, word};

#[test]
fn a_lock_is_free_held_and_free_again() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("status");
    let free = run(&nodes, ["status", &resource]).with_code(1);
    assert!(free.stdout.starts_with(&format!("{resource}: free\n")), "{free:?}");
    let lease = run(&nodes, ["acquire", &resource]).with_code(0).stdout;
    let held = run(&nodes, ["status", &resource]).with_code(0);
    assert!(held.stdout.starts_with(&format!("{resource}: held, for 2")), "{held:?}");
    assert!(held.stdout.matches(": taken, for 2").count() >= 2, "{held:?}");
    for node in cluster.iter() {
        assert!(held.stdout.contains(&format!("  {}: ", node.addr())), "{held:?}");
    }
    assert!(!held.stdout.contains(word(&lease, "token")), "{held:?}");
    run_with_input(&nodes, &["release"], &lease).with_code(0);
    run(&nodes, ["status", &resource]).with_code(1);
}

#[test]
fn its_json_has_the_documented_fields() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("json");
    let args = ["run", "--node-timeout", "5s", &resource, "--", "sh", "-c"];
    let script = ["echo $REDLATCH_FENCE; exec sleep 600"];
    let mut running = start(redlatch(&nodes, args.iter().chain(&script)));
    let fence = running.line();
    eventually("all have it", || holders(&cluster, &resource) == 3);
    let token = token(&cluster, &resource).expect("a token");
    cluster[2].kill();
    let json = run(&nodes, ["status", "--json", &resource]).with_code(0).json();
    assert_eq!(json["version"], 1);
    assert_eq!(json["resources"], serde_json::json!([resource]));
    assert_eq!(json["state"], "held");
    assert!(json["remaining_ms"].as_u64().is_some_and(|left| (1..=30_000).contains(&left)));
    assert_eq!(json["nodes"].as_array().map(Vec::len), Some(3));
    let node = &json["nodes"][0];
    assert_eq!(node["node"], cluster[0].addr().to_string());
    assert_eq!(node["state"], "taken");
    assert!(node["remaining_ms"].as_u64().is_some());
    assert_eq!(node["fence"].to_string(), fence);
    assert!(node["error"].is_null());
    let dead = &json["nodes"][2];
    assert_eq!(dead["state"], "unknown");
    assert!(dead["remaining_ms"].is_null());
    assert!(dead["error"].as_str().is_some_and(|error| !error.is_empty()));
    assert!(!json.to_string().contains(&token));
}

#[test]
fn what_cannot_be_told_has_codes_of_its_own() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("undecided");
    // One node has one token, another another: it is being taken.
    cluster[0].command(&["SET", &resource, "one", "PX", "30000"]);
    cluster[1].command(&["SET", &resource, "two", "PX", "30000"]);
    let ended = run(&nodes, ["status", &resource]).with_code(75);
    assert!(ended.stdout.starts_with(&format!("{resource}: undecided\n")), "{ended:?}");
    cluster[0].kill();
    cluster[1].kill();
    let ended = run(&nodes, ["status", "--json", &resource]).with_code(69);
    assert_eq!(ended.json()["state"], "undecided");
    assert!(ended.stderr.starts_with("redlatch: too few nodes answered"), "{ended:?}");
}

#[test]
fn a_lock_that_never_expires_is_told_so() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("forever");
    for node in cluster.iter() {
        node.command(&["SET", &resource, "foreign"]);
    }
    let ended = run(&cluster.urls(), ["status", &resource]).with_code(0);
    assert!(ended.stdout.starts_with(&format!("{resource}: held, without end\n")), "{ended:?}");
}
