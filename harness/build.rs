//! Notes which commit is built, for the first line of every run.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../crates/redlatch-core/src");
    // Written by every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // A package from a registry has no tree; that of whoever unpacked it is none of ours.
    let is_ours = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let commit = git(&["describe", "--always", "--dirty", "--exclude", "*"]);
    if let (true, Some(commit)) = (is_ours, commit) {
        println!("cargo::rustc-env=REDLATCH_COMMIT={commit}");
    }
}
