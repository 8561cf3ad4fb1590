//! Several `redlatch run` at once.

use std::fs;

use redlatch_tests::{Cluster, unique_resource};

use crate::support::{read, redlatch, start};

#[test]
fn commands_exclude_each_other_and_their_fences_grow() {
    const COMMANDS: usize = 6;
    const LINES: usize = 20;
    let cluster = Cluster::start(5);
    let resource = unique_resource("exclusion");
    let folder = cluster[0].directory();
    let (log, room) = (folder.join("log"), folder.join("room"));
    // Only one can be in the room: `mkdir` is atomic.
    let script = format!(
        "mkdir {room} || exit 9; i=0
         while [ $i -lt {LINES} ]; do echo $REDLATCH_FENCE >>{log}; i=$((i + 1)); done
         rmdir {room}",
        room = room.display(),
        log = log.display(),
    );
    let args = ["run", "--wait", "1m", &resource, "--", "sh", "-c", &script];
    let all: Vec<_> = (0..COMMANDS).map(|_| start(redlatch(&cluster.urls(), args))).collect();
    for running in all {
        assert_eq!(running.end().with_code(0).stderr, "");
    }
    let fences: Vec<u64> = read(&log).lines().map(|line| line.parse().expect("a fence")).collect();
    assert_eq!(fences.len(), COMMANDS * LINES);
    assert!(fences.is_sorted(), "{fences:?}");
    let runs: Vec<_> = fences.chunk_by(|one, other| one == other).map(<[_]>::len).collect();
    assert_eq!(runs, [LINES; COMMANDS]);
    assert!(!fs::exists(&room).expect("the folder"));
}
