//! Where settings come from, and which wins.

use std::fs;
use std::path::PathBuf;

use redlatch_tests::{Cluster, Owner, RedisServer, unique_resource};

use crate::support::{Ended, ended, redlatch};

/// A folder for the files of one test: that of a server, gone with it.
fn file(server: &RedisServer, name: &str, text: &str) -> PathBuf {
    let path = server.directory().join(name);
    fs::write(&path, text).expect("a file");
    path
}

/// Acquires with these arguments, and with a configuration file in one of its three places.
fn acquire(args: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = redlatch(&[], ["acquire", "--json"].iter().chain(args));
    command.envs(environment.iter().copied());
    ended(command)
}

fn has(server: &RedisServer, resource: &str) -> bool {
    server.owner_of(resource) != Owner::Nobody
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let cluster = Cluster::start(3);
    let [flagged, environment, filed] = [&cluster[0], &cluster[1], &cluster[2]];
    let text = format!("nodes = [\"{}\"]\nttl = \"20s\"\nfence = false\n", filed.url());
    let config = file(filed, "redlatch.toml", &text);
    let config = config.to_str().expect("a path in UTF-8");

    let resource = unique_resource("file");
    let lease = acquire(&["--config", config, &resource], &[]).with_code(0).json();
    assert!(has(filed, &resource));
    assert_eq!(lease["ttl_ms"], 20_000);
    assert!(lease["fence"].is_null());

    let resource = unique_resource("environment");
    let nodes = environment.url();
    let settings = [("REDLATCH_NODES", nodes.as_str()), ("REDLATCH_CONFIG", config)];
    let lease = acquire(&[&resource], &settings).with_code(0).json();
    assert!(has(environment, &resource) && !has(filed, &resource));
    assert_eq!(lease["ttl_ms"], 20_000, "the rest of the file stays");

    let resource = unique_resource("flag");
    let flags = ["-n", &flagged.url(), "--ttl", "5s", &resource];
    let lease = acquire(&flags, &settings).with_code(0).json();
    assert!(has(flagged, &resource) && !has(environment, &resource) && !has(filed, &resource));
    assert_eq!(lease["ttl_ms"], 5_000);
}

#[test]
fn the_file_is_found_where_people_keep_such_files() {
    let cluster = Cluster::start(1);
    let server = &cluster[0];
    let text = format!("nodes = [{{ name = \"attic\", url = \"{}\" }}]", server.url());
    let folder = server.directory();
    file(server, "redlatch.toml", &text);
    fs::create_dir(folder.join(".config")).expect("a folder");
    file(server, ".config/redlatch.toml", &text);
    let folder = folder.to_str().expect("a path in UTF-8");
    let places =
        [[("XDG_CONFIG_HOME", folder), ("HOME", "/")], [("HOME", folder), ("XDG_CONFIG_HOME", "")]];
    for environment in places {
        acquire(&[&unique_resource("place")], &environment).with_code(0);
    }
    let mut command = redlatch(&[], ["status", "report"]);
    command.env("HOME", folder).env("XDG_CONFIG_HOME", "");
    assert!(ended(command).with_code(1).stdout.contains("  attic: free"));
}

#[test]
fn nodes_in_the_environment_stand_between_commas_and_spaces() {
    let cluster = Cluster::start(3);
    let urls = cluster.urls();
    let resource = unique_resource("separators");
    let nodes = format!(" {},{}\n\t{} ,", urls[0], urls[1], urls[2]);
    acquire(&[&resource], &[("REDLATCH_NODES", &nodes)]).with_code(0);
    assert!(cluster.iter().filter(|node| has(node, &resource)).count() >= 2);
}

#[test]
fn a_node_in_the_environment_may_have_several_hosts() {
    let nodes = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main,redis+cluster://127.0.0.1:3,127.0.0.1:4 \
                 redis://127.0.0.1:5,redis://127.0.0.1:6";
    let mut command = redlatch(&[], ["status", "report"]);
    command.env("REDLATCH_NODES", nodes);
    let output = ended(command);
    let text = format!("{}{}", output.stdout, output.stderr);
    for name in
        ["127.0.0.1:1,127.0.0.1:2/main", "127.0.0.1:3,127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6"]
    {
        assert!(text.contains(&format!("  {name}: ")), "{name}: {text}");
    }
}

#[test]
fn a_key_prefix_stands_before_the_name_on_the_nodes() {
    let cluster = Cluster::start(1);
    let resource = unique_resource("prefix");
    let url = cluster[0].url();
    let lease = acquire(&["-n", &url, "--key-prefix", "lock:", &resource], &[]).with_code(0);
    assert_eq!(lease.json()["resources"], serde_json::json!([resource]));
    assert!(has(&cluster[0], &format!("lock:{resource}")) && !has(&cluster[0], &resource));
}

#[test]
fn all_documented_keys_are_known_and_others_are_refused_by_name() {
    let cluster = Cluster::start(1);
    let server = &cluster[0];
    let nodes = format!("nodes = [\"{}\"]\n", server.url());
    let all = "ttl = \"20s\"\nwait = \"10s\"\nmax_hold = \"1h\"\ngrace = \"5s\"\n\
               node_timeout = \"200ms\"\nkey_prefix = \"lock:\"\nplain = true\nfence = true\n";
    let path = file(server, "all.toml", &(nodes.clone() + all));
    let path = path.to_str().expect("a path in UTF-8");
    acquire(&["--config", path, &unique_resource("keys")], &[]).with_code(0);

    let cases = [
        ("tll = \"20s\"", "unknown key `tll`"),
        ("ttl = 20", "`ttl` must be a duration in quotes"),
        ("ttl = \"20\"", "`ttl` must be a duration in quotes"),
        ("plain = \"yes\"", "`plain` must be true or false"),
        ("key_prefix = 1", "`key_prefix` must be a string"),
        ("nodes = \"redis://:sesame@a\"", "`nodes` must be a list"),
        ("nodes = [{ url = \"redis://:sesame@a\", nmae = \"a\" }]", "`nodes` must be a list"),
        ("nodes = [\"redis://:sesame@a\"", "line 1 is not TOML"),
        ("nodes = [\"redis://:sesame@a\n\"]", "line 2 is not TOML"),
        ("wait = \"1s\"\nwait = \"sesame\"", "line 2 is not TOML"),
        ("restart_guard = \"1m\"\nplain = true\nnodes = [\"redis://a\"]", "restart guard"),
    ];
    for (text, expected) in cases {
        let path = file(server, "wrong.toml", text);
        let path = path.to_str().expect("a path in UTF-8");
        let ended = acquire(&["--config", path, "report"], &[]).with_code(64);
        assert!(ended.stderr.contains(expected), "{text}: {ended:?}");
        assert!(ended.stderr.starts_with("redlatch: "), "{ended:?}");
        assert!(!ended.stderr.contains("sesame"), "{ended:?}");
    }
}

#[test]
fn a_file_that_was_named_must_exist() {
    for (args, environment) in [
        (&["--config", "/nonexistent/file", "report"][..], &[][..]),
        (&["report"], &[("REDLATCH_CONFIG", "/nonexistent/file")]),
    ] {
        let ended = acquire(args, environment).with_code(64);
        assert!(ended.stderr.contains("/nonexistent/file: cannot be read"), "{ended:?}");
    }
}
