//! Passwords and tokens are not shown.

use std::process::Stdio;

use redlatch_tests::{Cluster, unique_resource};

use crate::support::{ended, redlatch, run, run_with_input, start, token, word};

#[test]
fn a_wrong_password_is_told_without_it() {
    let cluster = Cluster::start_with(3, |_, builder| builder.password("opensesame"));
    let resource = unique_resource("password");
    let right = cluster.urls();
    run(&right, ["run", &resource, "--", "true"]).with_code(0);
    let wrong: Vec<_> = right.iter().map(|url| url.replace("opensesame", "barley")).collect();
    for args in [
        &["run", "-v", "--wait", "0", &resource, "--", "true"][..],
        &["acquire", "-v", "--wait", "0", &resource],
        &["status", "-v", &resource],
        &["declare-fresh", "-v"],
    ] {
        let ended = run(&wrong, args);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!said.contains("barley") && !said.contains("opensesame"), "{args:?}: {ended:?}");
        assert_eq!(ended.code, Some(69), "{args:?}: {ended:?}");
        let why = said.contains("WRONGPASS") || said.contains("assword");
        assert!(why || args[0] == "declare-fresh", "{ended:?}");
    }
}

#[test]
fn an_address_that_does_not_work_is_told_without_its_password() {
    for url in ["redis://:sesame@", "http://user:sesame@host", "redis:/user:sesame@host", "sesame"]
    {
        let ended = run(&[], ["status", "-n", url, "report"]).with_code(64);
        assert!(!ended.stderr.contains("sesame"), "{ended:?}");
        assert!(ended.stderr.contains("node 1"), "{ended:?}");
    }
    // Where clap repeats what it was given.
    for args in [
        &["redis://user:sesame@host"][..],
        &["status", "--nodes=redis://user:sesame@host", "report"],
        &["run", "report", "--ttl", "redis://user:sesame@host"],
        &["completions", "redis://user:sesame@host/1 and http://a:sesame@b"],
    ] {
        let ended = run(&[], args).with_code(64);
        assert!(!ended.stderr.contains("sesame"), "{ended:?}");
    }
}

#[test]
fn a_token_is_shown_where_it_was_asked_for_and_nowhere_else() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("token");
    let acquired = run(&nodes, ["acquire", "-v", &resource]).with_code(0);
    let lease = acquired.stdout.clone();
    let token = word(&lease, "token").to_owned();
    let mut said = acquired.stderr;
    for args in [
        &["extend", "-v"][..],
        &["status", "-v", &resource],
        &["acquire", "-v", "--wait", "0", &resource],
        &["run", "-v", "--wait", "0", &resource, "--", "true"],
        &["release", "-v", "--json"],
        &["release", "-v"],
        &["extend", "-v"],
    ] {
        let ended = run_with_input(&nodes, args, &lease);
        said += &ended.stderr;
        if args[0] != "extend" {
            said += &ended.stdout;
        }
    }
    assert!(said.contains(&resource), "{said}");
    assert!(!said.contains(&token), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_token_is_in_no_arguments_and_in_no_environment() {
    let cluster = Cluster::start(3);
    let nodes = cluster.urls();
    let resource = unique_resource("ps");
    // It prints what `ps` shows of itself and of redlatch above it.
    let script = "for pid in $$ $PPID; do cat /proc/$pid/cmdline /proc/$pid/environ; done; read go";
    let mut command = redlatch(&nodes, ["run", &resource, "--", "sh", "-c", script]);
    // The tester's own secrets are none of this test's business.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("REDLATCH_NODES", nodes.join(","));
    command.stdin(Stdio::piped());
    let mut running = start(command);
    crate::support::eventually("the lock is held", || token(&cluster, &resource).is_some());
    let token = token(&cluster, &resource).expect("a token");
    drop(running.stdin());
    let shown = running.end().stdout;
    assert!(shown.contains("REDLATCH_FENCE") && shown.contains(&resource), "{shown}");
    assert!(!shown.contains(&token), "{shown}");
    let ended = ended(redlatch(&nodes, ["release", "--token", &token])).with_code(64);
    assert!(ended.stderr.contains("unexpected argument"), "there is no such flag: {ended:?}");
}
