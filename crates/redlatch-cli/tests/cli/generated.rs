//! Completion scripts and manual pages.

use crate::support::run;

const COMMANDS: [&str; 9] = [
    "run",
    "acquire",
    "extend",
    "release",
    "status",
    "doctor",
    "declare-fresh",
    "completions",
    "man",
];

#[test]
fn every_shell_gets_completions_for_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&[], ["completions", shell]).with_code(0).stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: no {command}");
        }
        assert!(script.contains("max-hold"), "{shell}: no flags");
    }
}

#[test]
fn the_manual_page_names_every_command_and_every_code() {
    let page = run(&[], ["man"]).with_code(0).stdout;
    assert!(page.contains(".TH redlatch 1"), "{page}");
    // In a manual page every hyphen is escaped.
    let page = page.replace("\\-", "-");
    for command in COMMANDS {
        assert!(page.contains(&format!("redlatch-{command}(1)")), "no {command}: {page}");
    }
    for code in ["64", "65", "69", "75", "76", "128+N"] {
        assert!(page.contains(code), "no {code}: {page}");
    }
}

#[test]
fn every_command_has_a_page_of_its_own() {
    for command in COMMANDS {
        let page = run(&[], ["man", command]).with_code(0).stdout.replace("\\-", "-");
        assert!(page.contains(&format!(".TH redlatch-{command} 1")), "{page}");
        assert!(page.contains(&format!("redlatch {command}")), "{page}");
        let version = format!("\"redlatch {}\"", env!("CARGO_PKG_VERSION"));
        let title = page.lines().find(|line| line.starts_with(".TH"));
        assert!(title.is_some_and(|title| title.contains(&version)), "{title:?}");
    }
}
