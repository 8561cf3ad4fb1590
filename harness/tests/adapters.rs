//! The line protocol: what comes with the harness keeps to it, and what does not is told so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use redlatch_harness::embedded::Cluster;
use redlatch_harness::live::adapter::{
    Adapter, AdapterCommand, AdapterError, Init, Options, Overdue, adapters, check,
};

const HARNESS: &str = env!("CARGO_BIN_EXE_redlatch-harness");
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters")
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/adapters.md");
    fs::read_to_string(path).expect("the page")
}

/// The adapter in Python that stands in the page.
fn example() -> String {
    let page = page();
    let (_, rest) = page.split_once("```python\n").expect("an example");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The interpreter of the adapter `plain`, which has all that the example needs.
fn python() -> String {
    let plain = AdapterCommand::load(&folder().join("plain")).expect("the adapter plain");
    assert!(plain.is_installed(), "the adapter plain is not installed; run: just setup");
    plain.argv.into_iter().next().expect("its interpreter")
}

fn try_out(words: &[&str]) -> Output {
    let mut command = Command::new(HARNESS);
    command.current_dir(folder()).args(["adapter", "check"]).args(words);
    command.output().expect("the harness")
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

fn assert_passes(words: &[&str]) {
    let output = try_out(words);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for (name, _) in check::rules() {
        assert!(text.lines().any(|line| line.contains(&format!(" {name} "))), "{name}: {text}");
    }
}

/// A program of `source`, and how it is started.
fn program(source: &str) -> (tempfile::TempDir, AdapterCommand) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("adapter.py");
    fs::write(&path, source).expect("a file");
    let command = AdapterCommand::new(vec![python(), path.display().to_string()]);
    (folder, command)
}

fn init(cluster: &Cluster) -> Init {
    Init { nodes: cluster.urls(), client: "c0".into(), options: Options::default() }
}

#[test]
fn the_native_driver_keeps_to_the_protocol() {
    assert_passes(&["native"]);
}

#[test]
fn the_example_of_the_page_keeps_to_the_protocol() {
    let (_folder, command) = program(&example());
    let mut words = vec!["--"];
    words.extend(command.argv.iter().map(String::as_str));
    assert_passes(&words);
}

#[test]
fn the_example_of_the_page_is_the_adapter_plain() {
    let plain = fs::read_to_string(folder().join("plain/adapter.py")).expect("the adapter plain");
    assert_eq!(example(), plain);
}

#[test]
fn the_plain_lock_keeps_to_the_protocol() {
    assert_passes(&["plain"]);
}

#[test]
fn rslock_keeps_to_the_protocol() {
    assert_passes(&["rslock"]);
}

#[test]
fn the_toy_keeps_to_the_protocol_though_its_locks_are_broken() {
    assert_passes(&["toy"]);
}

#[test]
fn the_page_has_every_rule_that_is_tried() {
    let page = page();
    for (name, rule) in check::rules() {
        assert!(page.contains(&format!("| `{name}` | {rule} |\n")), "{name}");
    }
}

#[test]
fn every_adapter_has_a_manifest_and_at_most_80_lines_of_code() {
    let found = adapters(&folder()).expect("all manifests");
    let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
    let expected = [
        "native",
        "node-redlock",
        "plain",
        "pottery",
        "redlock",
        "redlock-py",
        "rslock",
        "toy",
        "wasm",
    ];
    assert_eq!(names, expected);
    for adapter in &found {
        assert!(!adapter.versions.is_empty() && !adapter.about.is_empty(), "{}", adapter.name);
        let folder = adapter.folder.as_ref().expect("a folder");
        let sources = ["adapter.py", "adapter.cjs", "main.rs"].map(|file| folder.join(file));
        let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/live/adapter/native.rs");
        let source = sources.into_iter().find(|it| it.exists()).unwrap_or(native);
        let text = fs::read_to_string(&source).expect("its source");
        let is_code = |line: &&str| {
            let line = line.trim();
            !(line.is_empty() || line.starts_with("//") || line.starts_with('#'))
        };
        let lines = text.lines().filter(is_code).count();
        assert!(lines <= 80, "{}: {lines} lines", source.display());
    }
}

/// An adapter that is like the example but for one mistake, and the line that has to tell of it.
fn assert_caught(rule: &str, told: &str, mistakes: &[(&str, &str)]) {
    let mut source = example();
    for (right, mistaken) in mistakes {
        let changed = source.replacen(right, mistaken, 1);
        assert_ne!(changed, source, "the example has no longer `{right}`");
        source = changed;
    }
    let (_folder, command) = program(&source);
    let mut words = vec!["--rule", rule, "--"];
    words.extend(command.argv.iter().map(String::as_str));
    let output = try_out(&words);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let begin = text.find(&format!("WRONG  {rule} ")).unwrap_or_else(|| panic!("{rule}: {text}"));
    assert!(text[begin..].contains(told), "{told}: {text}");
}

const LOOP: &str = "for line in sys.stdin:";

#[test]
fn prints_to_stdout_are_caught() {
    let mistake = (LOOP, "print('connected to redis://me:secret@host')\nfor line in sys.stdin:");
    assert_caught("start", "`connected to redis://***@host`", &[mistake]);
}

#[test]
fn a_wrong_id_is_caught() {
    let mistake = ("\"id\": request[\"id\"]", "\"id\": request[\"id\"] + 1");
    assert_caught("start", "a reply with id 2, where the request 1", &[mistake]);
}

#[test]
fn stdout_that_is_never_flushed_is_caught() {
    // Said so, because the environment may switch buffers off.
    let buffer = ("import redis\n", "import redis\nsys.stdout = open(1, \"w\", 65536)\n");
    assert_caught("start", "flush stdout", &[("flush=True", "flush=False"), buffer]);
}

#[test]
fn an_adapter_that_ends_is_caught_and_its_stderr_shown() {
    assert_caught("start", "ModuleNotFoundError", &[("import redis", "import no_such_module")]);
}

#[test]
fn a_misspelt_field_is_caught() {
    assert_caught("free", "unknown field `valid`", &[("\"valid_ms\": max", "\"valid\": max")]);
}

#[test]
fn no_reply_is_caught() {
    let mistake = ("    print(", "    if request[\"op\"] != \"acquire\": print(");
    assert_caught("free", "no reply to acquire", &[mistake]);
}

#[test]
fn a_validity_above_the_ttl_is_caught() {
    assert_caught("free", "valid_ms 2", &[("max(0, ttl_ms -", "max(0, 2 * ttl_ms -")]);
}

#[test]
fn a_handle_for_two_locks_is_caught() {
    assert_caught("free", "for two locks", &[("f\"h{count}\"", "\"h\"")]);
}

#[test]
fn a_key_that_is_not_where_it_is_said_to_be_is_caught() {
    let mistake = ("\"caps\": []", "\"caps\": [], \"key\": \"lock:{resource}\"");
    assert_caught("key", "no node has the key", &[mistake]);
}

#[test]
fn a_key_that_lives_too_long_is_caught() {
    assert_caught("key", "longer than ttl_ms", &[("px=ttl_ms", "px=2 * ttl_ms")]);
}

#[test]
fn a_lock_that_is_granted_twice_is_caught() {
    let told = "granted to a second client";
    assert_caught("taken", told, &[("nx=True, ", "")]);
    assert_caught("wait", told, &[("nx=True, ", "")]);
}

#[test]
fn a_key_that_release_leaves_is_caught() {
    let mistake = ("redis.call('DEL', KEYS[1])", "1");
    assert_caught("release", "still have the key", &[mistake]);
}

#[test]
fn an_unknown_handle_that_is_released_is_caught() {
    let mistake =
        ("raise Failure(\"lost\", \"no lock is held under this handle\", True)", "return {}");
    assert_caught("handle", "`ok` true", &[mistake]);
}

/// What the example cannot do, done badly.
fn pretend<'a>(cap: &'a str, op: &'a str) -> [(&'static str, String); 2] {
    [("\"caps\": []", format!("\"caps\": [\"{cap}\"]")), ("OPS = {", format!("OPS = {{{op}"))]
}

fn assert_pretence_caught(rule: &str, told: &str, cap: &str, op: &str) {
    let mistakes = pretend(cap, op);
    let mistakes = mistakes.each_ref().map(|(right, mistaken)| (*right, mistaken.as_str()));
    let used = if op.is_empty() { &mistakes[..1] } else { &mistakes[..] };
    assert_caught(rule, told, used);
}

#[test]
fn an_extension_that_extends_nothing_is_caught() {
    let op = "\"extend\": lambda request: {\"valid_ms\": 1}, ";
    assert_pretence_caught("extend", "no key lives longer", "extend", op);
}

#[test]
fn a_lock_that_is_said_to_be_held_after_its_ttl_is_caught() {
    let op = "\"check\": lambda request: {\"valid_ms\": 1}, ";
    assert_pretence_caught("check", "whose ttl has passed", "check", op);
}

#[test]
fn a_fence_that_is_not_given_is_caught() {
    assert_pretence_caught("fence", "no fence", "fence", "");
}

#[test]
fn a_loss_that_is_not_told_is_caught() {
    assert_pretence_caught("lost", "no event", "lost_event", "");
}

#[test]
fn a_lock_that_does_not_end_is_caught() {
    let right = "locks[handle] = (resource, token)";
    let mistaken = format!("{right}; ttl_ms < 1000 and node.persist(resource)");
    assert_caught("expiry", "long after the ttl", &[(right, &mistaken)]);
}

#[test]
fn an_adapter_that_does_not_bear_silent_nodes_is_caught() {
    let mistake = ("except redis.RedisError as error:", "except ZeroDivisionError as error:");
    assert_caught("nobody", "the process ended", &[mistake]);
}

#[test]
fn an_adapter_that_does_not_bear_an_unknown_op_is_caught() {
    let mistake = ("raise Failure(\"other\", \"this", "sys.exit(\"this");
    let syntax = ("does not know that op\", True)", "does not know that op\")");
    assert_caught("unknown", "the process ended", &[mistake, syntax]);
}

#[test]
fn an_adapter_that_leaves_its_process_group_is_caught() {
    let mistake = (
        "import redis\n",
        "import redis, os\nif os.fork():\n    os.wait()\n    sys.exit()\nos.setsid()\n",
    );
    assert_caught("pause", "while its process group was stopped", &[mistake]);
}

#[test]
fn another_status_than_0_is_caught() {
    assert_caught("quit", "exit status: 3", &[("        break\n", "        sys.exit(3)\n")]);
}

#[test]
fn an_adapter_that_outlives_its_stdin_is_caught() {
    let mistake = (
        LOOP,
        "import itertools\nfor line in itertools.chain(sys.stdin, iter(lambda: time.sleep(1), 1)):\n    if line is None: continue",
    );
    assert_caught("end", "still running", &[mistake]);
}

#[test]
fn what_is_not_installed_is_told_with_the_command_that_installs_it() {
    let tree = tempfile::tempdir().expect("a folder");
    let folder = tree.path().join("harness/adapters/absent");
    fs::create_dir_all(&folder).expect("a folder");
    let manifest = "about = \"x\"\nargv = [\"{target}/x\"]\npinned = [\"adapter.toml\"]\ninstall = [[\"true\"]]\n";
    fs::write(folder.join("adapter.toml"), manifest).expect("a manifest");
    let above = folder.parent().expect("its folder").display().to_string();
    let output = try_out(&["absent", "--adapters", &above]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("redlatch-harness adapter install absent"), "{told}");

    let absent = AdapterCommand::load(&folder).expect("a manifest");
    absent.install().expect("nothing to be done");
    assert!(absent.is_installed());
    fs::write(folder.join("adapter.toml"), format!("{manifest}versions = {{ x = \"2\" }}\n"))
        .expect("another version");
    assert!(!AdapterCommand::load(&folder).expect("a manifest").is_installed());
}

#[tokio::test]
async fn a_reply_that_is_late_can_be_fetched_and_nothing_else_is_asked_before() {
    let cluster = Cluster::embedded(3).expect("nodes");
    let (_folder, command) = program(&example());
    let (mut adapter, hello) =
        Adapter::start(&command, &init(&cluster), PATIENCE).await.expect("an adapter");
    assert!(hello.name.starts_with("SET NX PX"), "{hello:?}");
    let ttl = Duration::from_secs(60);

    adapter.pause().expect("paused");
    let hung = adapter.acquire("r", ttl, Duration::ZERO, Duration::ZERO).await;
    assert!(matches!(hung, Err(AdapterError::Hung { what: "acquire", .. })), "{hung:?}");
    let busy = adapter.acquire("s", ttl, Duration::ZERO, PATIENCE).await;
    assert!(matches!(busy, Err(AdapterError::Busy)), "{busy:?}");
    assert_eq!(cluster[0].value("r"), None);

    adapter.resume().expect("resumed");
    let Ok(Some(Overdue::Acquire(answer))) = adapter.overdue(PATIENCE).await else {
        panic!("the reply that was late");
    };
    let grant = answer.outcome.expect("granted");
    assert!(grant.valid <= ttl && answer.sent <= answer.read);
    assert!(cluster[0].value("r").is_some());
    assert!(matches!(adapter.overdue(PATIENCE).await, Ok(None)));
    adapter.release(&grant.handle, PATIENCE).await.expect("a reply").outcome.expect("released");
    assert_eq!(cluster[0].value("r"), None);
    assert!(adapter.quit(PATIENCE).await.expect("an exit").success());
}

#[tokio::test]
async fn a_killed_client_is_dead_and_keeps_its_lock_until_the_ttl() {
    let cluster = Cluster::embedded(3).expect("nodes");
    let (_folder, command) = program(&example());
    let (mut adapter, _) =
        Adapter::start(&command, &init(&cluster), PATIENCE).await.expect("an adapter");
    let ttl = Duration::from_secs(60);
    let answer = adapter.acquire("r", ttl, Duration::ZERO, PATIENCE).await.expect("a reply");
    let handle = answer.outcome.expect("granted").handle;
    adapter.kill();
    assert!(cluster[0].value("r").is_some());
    let dead = adapter.release(&handle, PATIENCE).await;
    assert!(matches!(dead, Err(AdapterError::Died { status: Some(_), .. })), "{dead:?}");
    assert!(adapter.lost().await.is_none());
    assert!(adapter.losses().is_empty());
}

#[tokio::test]
async fn stderr_is_kept_without_secrets() {
    let cluster = Cluster::embedded(1).expect("a node");
    let source = example().replacen(
        LOOP,
        "sys.exit('no: redis://me:secret@host/')\nfor line in sys.stdin:",
        1,
    );
    let (_folder, mut command) = program(&source);
    command.environment = BTreeMap::from([("PYTHONUNBUFFERED".into(), "1".into())]);
    match Adapter::start(&command, &init(&cluster), PATIENCE).await {
        Err(AdapterError::Died { status: Some(status), errors }) => {
            assert_eq!(status.code(), Some(1));
            assert_eq!(errors.trim(), "no: redis://***@host/");
        }
        other => panic!("{other:?}"),
    }
}
