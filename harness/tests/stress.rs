//! `redlatch-harness stress` finds what is wrong on purpose. That it finds nothing in what is right is a run of its
//! own, of minutes: `just stress`, and one of `just live`.

use std::process::{Command, Output};
use std::thread;

fn stress(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redlatch-harness"));
    command.args(["stress", "--seed", "5", "--clients", "16", "--resources", "4", "--for", "4s"]);
    command.args(args).output().expect("the command of this package")
}

fn text(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}

/// Each is told as what it is. Memory takes more acquires to be seen than a test should ask for.
#[test]
fn what_is_wrong_on_purpose_is_found() {
    let planted =
        [("exclusion", "witness"), ("task", "task"), ("client", "connection"), ("key", "key")];
    thread::scope(|scope| {
        let runs =
            planted.map(|(plant, what)| (what, scope.spawn(move || stress(&["--plant", plant]))));
        for (what, run) in runs {
            let output = run.join().expect("no panic");
            let text = text(&output);
            assert_eq!(output.status.code(), Some(1), "{what}: {text}");
            assert!(text.contains(&format!("BROKEN  {what}: ")), "{what}: {text}");
        }
    });
}
