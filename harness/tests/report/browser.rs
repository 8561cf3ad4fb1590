//! The page in a real browser. What is tried is in `tests/browser/timeline.mjs`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use redlatch_harness::report::{Case, timeline_html};

use crate::folder;
use crate::page::evil_case;
use crate::stories::{everything, long, unbacked, untimed};

/// Where `just setup` puts what Node needs.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/browser");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/timeline.mjs");
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ON_A_MAC: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

fn chromium() -> PathBuf {
    if let Some(path) = env::var_os("CHROMIUM") {
        return path.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let named = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut all = named.chain(ON_A_MAC.iter().map(PathBuf::from));
    let found = all.find(|path| path.is_file());
    found
        .expect("Chromium is missing; `just setup` installs it or says how, CHROMIUM names another")
}

/// Opens pages in Chromium and does with each what its check says.
fn browser(tries: &[(&str, Case)]) {
    let modules = Path::new(MODULES);
    assert!(
        modules.join("node_modules/playwright-core").is_dir(),
        "playwright-core is missing; `just setup` installs it"
    );
    let mut command = Command::new("node");
    command.arg(SCRIPT).arg(chromium()).arg(modules);
    for (number, (check, case)) in tries.iter().enumerate() {
        let page = folder(&format!("browser_{check}_{number}")).join("timeline.html");
        fs::write(&page, timeline_html(case)).expect("it can be written");
        command.arg(check).arg(&page);
    }
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("Node is missing; `just setup` installs it: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_page_shows_what_happened_in_every_light_and_width() {
    browser(&[("shows", unbacked()), ("themes", unbacked()), ("fits", unbacked())]);
}

#[test]
fn the_picture_zooms_and_moves_and_finds_the_violation_again() {
    browser(&[("zooms", unbacked()), ("pans", unbacked()), ("jumps", unbacked())]);
}

#[test]
fn things_have_tooltips_for_pointers_and_keys_and_show_their_steps() {
    browser(&[("tells", unbacked()), ("links", unbacked())]);
}

#[test]
fn nothing_from_data_runs_and_nothing_may_be_asked_for() {
    let evil = "<script>window.evil=1</script><img src=x onerror=evil()>";
    browser(&[("obeys", evil_case(evil)), ("confines", unbacked())]);
}

#[test]
fn every_kind_of_page_is_drawn_without_a_complaint() {
    browser(&[("draws", everything()), ("draws", untimed()), ("draws", long(3_000))]);
}

/// The checks can fail.
#[test]
#[should_panic(expected = "shows on ")]
fn a_page_without_a_violation_does_not_pass_for_one() {
    browser(&[("shows", everything())]);
}
