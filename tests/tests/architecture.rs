//! The rules of the tree: who may depend on whom, and what every file keeps to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

// The graph of dependencies.

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).features(CargoOpt::AllFeatures);
    command.other_options(["--locked".to_owned()]);
    command.exec().expect("the graph of dependencies")
}

fn member<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a Package> {
    metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == name)
}

/// The members that users get.
fn published(metadata: &Metadata) -> Vec<&Package> {
    let crates = root().join("crates");
    let members = metadata.workspace_packages().into_iter();
    let published: Vec<_> =
        members.filter(|package| package.manifest_path.starts_with(&crates)).collect();
    assert!(published.len() >= 3, "there are crates to look at");
    published
}

/// All that is built to build `package`, itself included, by name: without what only its tests need.
fn closure<'a>(metadata: &'a Metadata, package: &Package) -> BTreeMap<&'a str, &'a Package> {
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    let mut todo = vec![&package.id];
    while let Some(id) = todo.pop() {
        if seen.insert(id) {
            let node = nodes.iter().find(|node| node.id == *id).expect("a node of the graph");
            let built = node.deps.iter().filter(|dep| {
                dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            todo.extend(built.map(|dep| &dep.pkg));
        }
    }
    seen.into_iter().map(|id| (metadata[id].name.as_str(), &metadata[id])).collect()
}

#[test]
fn the_core_has_no_dependencies() {
    let metadata = metadata();
    let core = member(&metadata, "redlatch-core").expect("the core");
    let built = core.dependencies.iter().filter(|dep| dep.kind != DependencyKind::Development);
    let names: Vec<_> = built.map(|dep| &dep.name).collect();
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(closure(&metadata, core).len(), 1);
}

#[test]
fn nothing_that_users_get_stands_on_the_harness_or_the_tests() {
    let metadata = metadata();
    for package in published(&metadata) {
        for above in ["redlatch-harness", "redlatch-tests"] {
            let built = closure(&metadata, package);
            assert!(!built.contains_key(above), "{} stands on {above}", package.name);
        }
    }
}

#[test]
fn the_drivers_do_not_know_each_other() {
    let metadata = metadata();
    for (one, other) in [("redlatch", "redlatch-wasm"), ("redlatch-wasm", "redlatch")] {
        let package = member(&metadata, one).expect("a driver");
        let known = package.dependencies.iter().any(|dep| dep.name == other);
        assert!(!known && !closure(&metadata, package).contains_key(other), "{one} knows {other}");
    }
}

#[test]
fn the_core_and_the_edge_are_free_of_tokio_and_redis() {
    let metadata = metadata();
    for name in ["redlatch-core", "redlatch-wasm"] {
        let package = member(&metadata, name).expect("the core or the edge driver");
        let built = closure(&metadata, package);
        for kept_out in ["tokio", "redis"] {
            assert!(!built.contains_key(kept_out), "{name} stands on {kept_out}");
        }
    }
    // The canary: the native driver stands on both.
    let native = closure(&metadata, member(&metadata, "redlatch").expect("the native driver"));
    assert!(native.contains_key("tokio") && native.contains_key("redis"));
}

/// What the manifest promises is what the dependencies keep.
#[test]
fn the_rust_version_is_no_older_than_that_of_any_dependency() {
    let metadata = metadata();
    let members = metadata.workspace_packages();
    let ours = members[0].rust_version.clone().expect("a rust-version");
    for package in &members {
        assert_eq!(package.rust_version.as_ref(), Some(&ours), "{}", package.name);
        for (name, dependency) in closure(&metadata, package) {
            let theirs = dependency.rust_version.as_ref();
            assert!(theirs.is_none_or(|theirs| *theirs <= ours), "{name} needs Rust {theirs:?}");
        }
    }
}

/// The lines of the dependency table of a manifest that give no reason. Crates of our own need none.
fn lines_without_reason(manifest: &str) -> Vec<&str> {
    let table = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let lines = table.take_while(|line| !line.starts_with('['));
    let dependencies = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let others = dependencies.filter(|line| !line.contains("path = \""));
    others.filter(|line| line.split_once(" # ").is_none_or(|(_, why)| why.len() < 10)).collect()
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    assert!(manifest.contains("\n[workspace.dependencies]\n"));
    assert_eq!(lines_without_reason(&manifest), Vec::<&str>::new());

    let canary = "[workspace.dependencies]\na = \"1\"\nb = \"1\" # because we must\n[x]\nc = \"1\"";
    assert_eq!(lines_without_reason(canary), ["a = \"1\""]);
}

/// Members name no version of their own: there is one, with its reason, for all of them.
#[test]
fn every_dependency_is_inherited_from_the_workspace() {
    let table =
        |line: &str| line.starts_with('[') && line.trim_end_matches(']').ends_with("dependencies");
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest");
        let mut in_table = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_table = table(line);
            } else if in_table && line.contains(" = ") {
                let inherited = line.contains("workspace = true");
                assert!(inherited, "{}: {line}", package.manifest_path);
            }
        }
    }
}

// Files.

/// Every file of the tree that is text, by its path from the root.
fn files() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().expect("its type");
            // A second tree of one repository has a file `.git`.
            let is_made = ["target", "node_modules", ".git"].iter().any(|made| name == *made);
            if is_made {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).expect("below the root").to_owned();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 50, "there are files to look at");
    files
}

/// A path of one person's machine, or of what lies beside this tree. Written in parts, so that it is
/// not found here.
fn foreign_path(line: &str) -> Option<&'static str> {
    const BESIDE: &str = concat!("../", "shared");
    const FOLDERS: [&str; 4] = [
        concat!("/", "home/"),
        concat!("/", "work/"),
        concat!("/", "root/"),
        concat!("/", "Users/"),
    ];
    if line.contains(BESIDE) {
        return Some(BESIDE);
    }
    FOLDERS.into_iter().find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            // Within a longer path, of a URL for example, it is another folder.
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "_-.}*~$".contains(c))
        })
    })
}

#[test]
fn no_file_names_a_path_outside_of_the_tree() {
    for (path, text) in files() {
        for (number, line) in (1..).zip(text.lines()) {
            let found = foreign_path(line);
            assert_eq!(found, None, "{}:{number}: {line}", path.display());
        }
    }
    for canary in [
        concat!("see ../", "shared/design"),
        concat!("/", "home/me/x"),
        concat!("\"/", "root/.cargo\""),
        concat!("cd=/", "work/main"),
    ] {
        assert!(foreign_path(canary).is_some(), "{canary}");
    }
    assert_eq!(foreign_path(concat!("https://example.org/", "home/")), None);
}

/// Whether `text` has the id of rule `number`, and not only that of another which begins like it.
fn cites(text: &str, number: usize) -> bool {
    let id = format!("R{number}");
    text.match_indices(&id).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + id.len()..].chars().next();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The rule is on a line of the source, and a test says that it tests it.
#[test]
fn every_rule_is_cited_where_it_is_kept_and_where_it_is_tested() {
    const RULES: usize = 18;
    let files = files();
    // The crate documentation lists the rules; that implements none of them.
    let is_source = |path: &Path| {
        let mut parts = path.iter();
        parts.next().is_some_and(|part| part == "crates")
            && parts.nth(1).is_some_and(|part| part == "src")
            && path.file_name().is_some_and(|name| name != "lib.rs")
    };
    let is_test = |path: &Path| {
        path.iter().any(|part| part == "tests") && path.extension().is_some_and(|it| it == "rs")
    };
    for number in 1..=RULES {
        let cited = |is_one: &dyn Fn(&Path) -> bool| {
            files.iter().any(|(path, text)| is_one(path) && cites(text, number))
        };
        assert!(cited(&is_source), "no line of the source cites rule {number}");
        assert!(cited(&is_test), "no test cites rule {number}");
    }
    let text = files.iter().find(|(path, _)| path.ends_with("redlatch-core/src/lib.rs"));
    let (_, text) = text.expect("the core's documentation");
    assert!(cites(text, RULES) && !cites(text, RULES + 1), "there are {RULES} rules");
    let canary = format!("R{}1 xR{} R{}", 1, 1, 12);
    assert!(!cites(&canary, 1) && cites(&canary, 12) && cites(&canary, 11));
}
