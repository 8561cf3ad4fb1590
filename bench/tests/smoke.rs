//! One subject on real servers, so that the benchmark itself cannot rot.

use std::process::Command;

use redlatch_bench::record::Run;

#[test]
fn a_subject_is_measured_on_real_servers_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("run.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_redlatch-bench"));
    bench.args([
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--subject",
        "ours-plain",
        "--subject",
        "raw-1t",
    ]);
    bench.args(["--scenario", "one", "--scenario", "hung1", "--scenario", "contention-2"]);
    let output = bench.arg("--json").arg(&json).output().expect("the benchmark runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = std::fs::read_to_string(&json).expect("what it wrote");
    let run: Run = serde_json::from_str(&text).expect("a run");
    // Contention has a shared client and one each; the floor takes no part in it.
    assert_eq!(run.records.len(), 2 + 2 + 2, "{errors}");
    for record in &run.records {
        assert_eq!(record.failure, None);
        assert_eq!(record.keys_left, 0, "{record:?}");
        assert_eq!(record.phases.len(), record.scenario.phases());
        for phase in &record.phases {
            assert!(phase.measured.pairs_counted > 0, "{record:?}");
            assert!(phase.measured.allocations > Some(0), "{record:?}");
            assert!(phase.seen.calls["evalsha"] > 0.0, "{record:?}");
        }
    }
    let report = String::from_utf8(output.stdout).expect("text");
    assert!(report.contains("## Goals"), "{report}");
}
