//! Golden transcripts: stories that a person can read, replayed against the machine.
//!
//! Each file in `tests/transcripts/` tells one story. `REWRITE=1 cargo test -p redlatch-core --test
//! transcripts` writes the outputs anew; the diff is then the review.
//!
//! # The format
//!
//! Line by line. Times are in ms since the origin, with as many decimals as they have; nodes are `n0`,
//! `n1`…, several of them `n0,n2`; a token is the number of its attempt, `t1`. What has a value is
//! written `name=value`, in any order.
//!
//! | line | |
//! | --- | --- |
//! | `# …`, empty | for the reader |
//! | `config nodes=3 ttl=1000 …` | before the first input. Also: `node_timeout`, `validity_min`, `drift_ppm`, `hold_max`, `attempts`, `wait`, `delay_min` with `delay_max` |
//! | `> 40 …` | an input at 40 ms |
//! | `> wake` | a timeout at the instant that the outputs before it name |
//! | two spaces and more | an output of the input above; rewritten |
//!
//! | input | |
//! | --- | --- |
//! | `acquire`, `acquire propose=100` | without and with a fence |
//! | `adopt t4 until=900`, `… fence=7` | instead of `acquire`, in a new lock |
//! | `extend`, `release`, `timeout` | |
//! | `n0 applied`, `… fence=7` | the node's reply to the command that it was last given, before this line |
//! | `n0 refused`, `… remaining=300`, `… fence=7` | |
//! | `n0 unknown`, `n0 quarantined remaining=300` | |
//! | `n0 applied to acquire@40` | to an earlier one: its kind, and when it was handed out |
//!
//! | output | |
//! | --- | --- |
//! | `n0,n1 acquire t1 ttl=1000 by 140` | commands, each with its deadline; likewise `seal`, `extend`, `release` |
//! | `granted`, `retrying`, `failed`, `extended`, `at risk`, `lost`, `released` | events |
//! | `held until 988` | validity, where it changed and no event says so |
//! | `error: …` | the input came in the wrong phase |
//! | `wake 140`, `rest` | when a timeout is due, or that none is: the last line of each input |

use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redlatch_core::{
    Cause, Command, Config, Drift, Event, Fence, Instant, Lease, Lock, Loss, NodeId, NodeSet, Op,
    Proposal, Quorum, Released, Renewal, Reply, Retry, Tally, Token, Ttl, WrongPhase,
};

const NONCE: [u8; 16] = [0xA5; 16];

#[test]
fn every_transcript_is_what_the_machine_does() {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut wrong = String::new();
    for path in transcripts() {
        let told = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let played = play(&told).unwrap_or_else(|error| panic!("{name}: {error}"));
        if rewrite {
            fs::write(&path, &played).unwrap();
        } else if let Some(difference) = first_difference(&told, &played) {
            writeln!(wrong, "{name}, {difference}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "if these are right, REWRITE=1 writes them:\n{wrong}");
}

#[test]
fn each_phase_has_its_stories() {
    let stories: Vec<_> =
        transcripts().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(stories.len() >= 12, "{} stories", stories.len());
    let events = [
        "granted",
        "retrying",
        "failed",
        "extended",
        "at risk",
        "lost",
        "released: confirmed",
        "released: unconfirmed",
        "contended",
        "no quorum",
        "quarantined",
        "cancelled",
        "hold_max",
        "too late",
        "deadline exceeded",
        "seal",
        "> wake",
        "adopt",
        "error:",
        "rest",
        "held until",
    ];
    for event in events {
        assert!(stories.iter().any(|story| story.contains(event)), "no story has {event:?}");
    }
}

/// The canaries: a player that finds every story right is of no use.
#[test]
fn a_wrong_transcript_is_found() {
    let story = "config nodes=1 ttl=1000\n> 0 acquire\n";
    let right = play(story).unwrap();
    assert_eq!(first_difference(&right, &right), None);
    assert!(right.contains("  n0 acquire t1 ttl=1000 by 100\n"), "{right}");
    for wrong in [
        right.replace("by 100", "by 101"),
        right.replace("  wake 100\n", ""),
        right.clone() + "  wake 7\n",
        right.replace("> 0", "> 1"),
    ] {
        assert!(first_difference(&wrong, &play(&wrong).unwrap()).is_some(), "{wrong}");
    }
}

#[test]
fn what_is_no_transcript_is_refused() {
    for (story, complaint) in [
        ("> 0 acquire\n", "no config"),
        ("config nodes=3\n", "ttl is missing"),
        ("config nodes=3 ttl=1000 patience=9\n", "patience"),
        ("config nodes=1 ttl=1000\n> 0 dance\n", "dance"),
        ("config nodes=1 ttl=1000\n> 0 n0 applied\n", "no such command"),
        ("config nodes=1 ttl=1000\n> 0 acquire\n> 1 n0 applied to seal@0\n", "no such command"),
        ("config nodes=1 ttl=1000\n> 0 acquire\n> x n0 applied\n", "x"),
        ("config nodes=1 ttl=1000\nacquire\n", "acquire"),
    ] {
        let error = play(story).unwrap_err();
        assert!(error.contains("line ") && error.contains(complaint), "{story:?}: {error}");
    }
}

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(&folder).expect("tests/transcripts is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

fn first_difference(told: &str, played: &str) -> Option<String> {
    let lines = told.lines().count().max(played.lines().count());
    let (mut told, mut played) = (told.lines(), played.lines());
    (1..=lines).find_map(|number| {
        let (told, played) = (told.next(), played.next());
        let line = |line: Option<&str>| line.unwrap_or("(the end)").trim_end().to_owned();
        (told != played).then(|| {
            format!("line {number}:\n  told:   {}\n  played: {}", line(told), line(played))
        })
    })
}

/// The story as the machine plays it: its outputs replaced, all else as it is.
fn play(story: &str) -> Result<String, String> {
    let mut player: Option<Player> = None;
    let mut played = String::new();
    for (index, line) in story.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        let step = match (line.strip_prefix("> "), line.strip_prefix("config ")) {
            (Some(input), _) => match &mut player {
                Some(player) => player.step(input, &mut played),
                None => Err("no config stands before the first input".to_owned()),
            },
            (None, Some(settings)) => configured(settings).map(|config| {
                player = Some(Player::new(config));
            }),
            (None, None) if line.is_empty() || line.starts_with('#') => Ok(()),
            (None, None) => Err(format!("{line:?} is neither input nor output")),
        };
        step.map_err(|error| format!("line {}: {error}", index + 1))?;
    }
    Ok(played)
}

struct Player {
    lock: Lock,
    now: Instant,
    /// Each command with the instant it was handed out.
    handed_out: Vec<(Instant, Command)>,
    held_until: Option<Instant>,
}

impl Player {
    fn new(config: Config) -> Self {
        Self {
            lock: Lock::new(config),
            now: Instant::ZERO,
            handed_out: Vec::new(),
            held_until: None,
        }
    }

    fn step(&mut self, input: &str, played: &mut String) -> Result<(), String> {
        let (at, rest) = input.split_once(' ').unwrap_or((input, ""));
        if at == "wake" {
            self.now = self.lock.poll_timeout().ok_or("nothing is due")?.max(self.now);
            self.lock.handle_timeout(self.now);
        } else {
            self.now = instant(at)?;
            let fields = Fields::parse(rest)?;
            let first = *fields.words.first().ok_or("an input is missing")?;
            match node_names(first) {
                Ok(nodes) => return self.replies(&nodes, &fields, played),
                Err(_) => {
                    if let Err(error) = self.call(first, &fields)? {
                        played.push_str(&format!("  error: {error}\n"));
                    }
                }
            }
        }
        self.drain(played, true);
        Ok(())
    }

    fn call(&mut self, name: &str, fields: &Fields<'_>) -> Result<Result<(), WrongPhase>, String> {
        let now = self.now;
        Ok(match name {
            "acquire" => self.lock.acquire(now, NONCE, fields.proposal("propose")?),
            "extend" => self.lock.extend(now),
            "release" => self.lock.release(now),
            "timeout" => {
                self.lock.handle_timeout(now);
                Ok(())
            }
            "adopt" => {
                let lease = Lease {
                    token: token(fields.words.get(1).ok_or("a token is missing")?)?,
                    fence: fields.number("fence")?.and_then(Fence::new),
                    valid_until: instant(fields.value("until").ok_or("until is missing")?)?,
                };
                self.lock = Lock::adopt(*self.lock.config(), now, &lease);
                Ok(())
            }
            other => return Err(format!("{other:?} is no input")),
        })
    }

    /// Each node replies in turn, and the machine is drained after each.
    fn replies(
        &mut self,
        nodes: &[NodeId],
        fields: &Fields<'_>,
        played: &mut String,
    ) -> Result<(), String> {
        let fence = fields.number("fence")?.and_then(Fence::new);
        let remaining = fields.duration("remaining")?;
        let reply = match *fields.words.get(1).ok_or("a reply is missing")? {
            "applied" => Reply::Applied { fence },
            "refused" => Reply::Refused { remaining, fence },
            "unknown" => Reply::Unknown,
            "quarantined" => {
                Reply::Quarantined { remaining: remaining.ok_or("remaining is missing")? }
            }
            other => return Err(format!("{other:?} is no reply")),
        };
        let to = fields.words.get(2..).unwrap_or_default();
        let commands: Vec<_> =
            nodes.iter().map(|&node| self.command(node, to)).collect::<Result<_, _>>()?;
        for (index, command) in commands.iter().enumerate() {
            self.lock.handle_reply(self.now, command.id, reply);
            self.drain(played, index + 1 == commands.len());
        }
        Ok(())
    }

    /// What `node` was last given, or what `to kind@time` names.
    fn command(&self, node: NodeId, to: &[&str]) -> Result<Command, String> {
        let (kind, at) = match to {
            [] => (None, None),
            ["to", name] => {
                let (kind, at) = name.split_once('@').ok_or("a command is named kind@time")?;
                (Some(kind), Some(instant(at)?))
            }
            _ => return Err(format!("{to:?} names no command")),
        };
        let named = self.handed_out.iter().rfind(|(handed_out, command)| {
            command.id.node() == node
                && kind.is_none_or(|kind| kind == kind_of(&command.op))
                && at.is_none_or(|at| at == *handed_out)
        });
        named.map(|(_, command)| *command).ok_or(format!("{node:?} was given no such command"))
    }

    /// Writes down the outputs, and with the last of them when a timeout is due.
    fn drain(&mut self, played: &mut String, last: bool) {
        let mut alike: Vec<Command> = Vec::new();
        while let Some(command) = self.lock.poll_command() {
            self.handed_out.push((self.now, command));
            if alike.last().is_some_and(|before| described(before) != described(&command)) {
                write_commands(&alike, played);
                alike.clear();
            }
            alike.push(command);
        }
        write_commands(&alike, played);
        let held_until = self.lock.lease().map(|lease| lease.valid_until);
        let event = self.lock.poll_event();
        if let Some(event) = &event {
            played.push_str(&format!("  {}\n", told(event)));
        } else if let Some(until) = held_until.filter(|_| held_until != self.held_until) {
            played.push_str(&format!("  held until {}\n", time(until)));
        }
        self.held_until = held_until;
        if last {
            played.push_str(&match self.lock.poll_timeout() {
                Some(at) => format!("  wake {}\n", time(at)),
                None => "  rest\n".to_owned(),
            });
        }
    }
}

fn write_commands(alike: &[Command], played: &mut String) {
    let Some(command) = alike.first() else { return };
    let nodes: Vec<_> = alike.iter().map(|command| format!("{:?}", command.id.node())).collect();
    played.push_str(&format!("  {} {}\n", nodes.join(","), described(command)));
}

const fn kind_of(op: &Op) -> &'static str {
    match op {
        Op::Acquire { .. } => "acquire",
        Op::Seal { .. } => "seal",
        Op::Extend { .. } => "extend",
        Op::Release { .. } => "release",
    }
}

/// A command without its node.
fn described(command: &Command) -> String {
    let (token, details) = match command.op {
        Op::Acquire { token, ttl, proposal: None } => (token, ttl_of(ttl)),
        Op::Acquire { token, ttl, proposal: Some(proposal) } => {
            (token, format!("{} propose={}", ttl_of(ttl), proposal.fence()))
        }
        Op::Seal { token, fence } => (token, fence_of(Some(fence))),
        Op::Extend { token, ttl, fence } => (token, ttl_of(ttl) + &fence_of(fence)),
        Op::Release { token, .. } => (token, String::new()),
    };
    let kind = kind_of(&command.op);
    format!("{kind} t{}{details} by {}", token.attempt(), time(command.deadline))
}

fn ttl_of(ttl: Ttl) -> String {
    format!(" ttl={}", ttl.as_millis())
}

fn fence_of(fence: Option<Fence>) -> String {
    fence.map_or_else(String::new, |fence| format!(" fence={fence}"))
}

fn told(event: &Event) -> String {
    match event {
        Event::Granted(lease) => format!("granted {}", lease_of(lease)),
        Event::Retrying { at, cause, tally } => {
            format!("retrying at {}: {}{}", time(*at), cause_of(cause), tally_of(tally))
        }
        Event::Failed { cause, tally } => format!("failed: {}{}", cause_of(cause), tally_of(tally)),
        Event::Extended(lease) => format!("extended {}", lease_of(lease)),
        Event::AtRisk { lease, tally } => format!("at risk {}{}", lease_of(lease), tally_of(tally)),
        Event::Lost { lease, loss } => {
            let loss = match loss {
                Loss::Expired => "expired",
                Loss::HoldMax => "hold_max",
            };
            format!("lost {}: {loss}", lease_of(lease))
        }
        Event::Released(Released::Confirmed) => "released: confirmed".to_owned(),
        Event::Released(Released::Unconfirmed { expires_at }) => {
            format!("released: unconfirmed, the keys expire at {}", time(*expires_at))
        }
    }
}

fn lease_of(lease: &Lease) -> String {
    let (attempt, fence) = (lease.token.attempt(), fence_of(lease.fence));
    format!("t{attempt}{fence} until {}", time(lease.valid_until))
}

fn cause_of(cause: &Cause) -> String {
    match cause {
        Cause::Contended { retry_after: None } => "contended".to_owned(),
        Cause::Contended { retry_after: Some(after) } => {
            format!("contended, useful after {}", span(*after))
        }
        Cause::NoQuorum => "no quorum".to_owned(),
        Cause::TooLate => "too late".to_owned(),
        Cause::Quarantined { remaining } => format!("quarantined for {}", span(*remaining)),
        Cause::DeadlineExceeded => "deadline exceeded".to_owned(),
        Cause::Cancelled => "cancelled".to_owned(),
    }
}

fn tally_of(tally: &Tally) -> String {
    let sets = [
        ("applied", tally.applied),
        ("refused", tally.refused),
        ("unknown", tally.unknown),
        ("quarantined", tally.quarantined),
    ];
    let told = |(name, nodes): (&str, NodeSet)| {
        let nodes: Vec<_> = nodes.iter().map(|node| format!("{node:?}")).collect();
        if nodes.is_empty() { String::new() } else { format!("; {name} {}", nodes.join(",")) }
    };
    sets.map(told).concat()
}

fn time(at: Instant) -> String {
    span(Duration::from_nanos(at.as_nanos()))
}

/// Milliseconds with as many decimals as they have.
fn span(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let text = format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn instant(text: &str) -> Result<Instant, String> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 6 || !digits(whole) || !digits(decimals) {
        return Err(format!("{text:?} is no time"));
    }
    let nanos = format!("{whole}{decimals:0<6}").parse();
    Ok(Instant::from_nanos(nanos.map_err(|_| format!("{text:?} is too long a time"))?))
}

fn token(name: &str) -> Result<Token, String> {
    let attempt = name.strip_prefix('t').and_then(|number| number.parse().ok());
    Ok(Token::new(NONCE, attempt.ok_or(format!("{name:?} is no token"))?))
}

fn node_names(names: &str) -> Result<Vec<NodeId>, String> {
    let node = |name: &str| {
        let index = name.strip_prefix('n').and_then(|index| index.parse().ok());
        index.and_then(NodeId::new).ok_or(format!("{name:?} is no node"))
    };
    names.split(',').map(node).collect()
}

/// The words of a line, and its `name=value` pairs.
struct Fields<'a> {
    words: Vec<&'a str>,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    const NAMES: [&'static str; 14] = [
        "nodes",
        "ttl",
        "node_timeout",
        "validity_min",
        "drift_ppm",
        "hold_max",
        "attempts",
        "wait",
        "delay_min",
        "delay_max",
        "propose",
        "until",
        "fence",
        "remaining",
    ];

    fn parse(line: &'a str) -> Result<Self, String> {
        let (values, words): (Vec<_>, Vec<_>) =
            line.split_whitespace().partition(|word| word.contains('='));
        let values: Vec<_> = values.iter().filter_map(|word| word.split_once('=')).collect();
        match values.iter().find(|(name, _)| !Self::NAMES.contains(name)) {
            Some((name, _)) => Err(format!("{name:?} is not known")),
            None => Ok(Self { words, values }),
        }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let parse = |value: &str| value.parse().map_err(|_| format!("{name}={value} is no number"));
        self.value(name).map(parse).transpose()
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        let millis = self.value(name).map(instant).transpose()?;
        Ok(millis.map(|at| Duration::from_nanos(at.as_nanos())))
    }

    fn proposal(&self, name: &str) -> Result<Option<Proposal>, String> {
        let propose = |micros| Proposal::from_unix_micros(micros).map_err(|e| e.to_string());
        self.number(name)?.map(propose).transpose()
    }
}

fn configured(settings: &str) -> Result<Config, String> {
    let fields = Fields::parse(settings)?;
    let nodes = fields.number("nodes")?.ok_or("nodes is missing")? as usize;
    let ttl = fields.number("ttl")?.ok_or("ttl is missing")?;
    let quorum = Quorum::of(nodes).map_err(|error| error.to_string())?;
    let ttl = Ttl::from_millis(ttl).map_err(|error| error.to_string())?;
    let mut config = Config::new(quorum, ttl).map_err(|error| error.to_string())?;
    if let Some(ppm) = fields.number("drift_ppm")? {
        let drift =
            u32::try_from(ppm).ok().and_then(Drift::from_ppm).ok_or("drift is too large")?;
        config = config.with_drift(drift).map_err(|error| error.to_string())?;
    }
    if let Some(timeout) = fields.duration("node_timeout")? {
        config = config.with_node_timeout(timeout).map_err(|error| error.to_string())?;
    }
    if let Some(least) = fields.duration("validity_min")? {
        config = config.with_validity_min(least).map_err(|error| error.to_string())?;
    }
    if let Some(hold_max) = fields.duration("hold_max")? {
        config = config.with_renewal(Renewal::up_to(hold_max));
    }
    Ok(config.with_retry(retry(&fields)?))
}

fn retry(fields: &Fields<'_>) -> Result<Retry, String> {
    let attempts = fields.number("attempts")?.and_then(|count| u32::try_from(count).ok());
    let attempts = attempts.and_then(NonZeroU32::new);
    let retry = match (fields.duration("wait")?, attempts) {
        (None, None) => Retry::never(),
        (None, Some(attempts)) => Retry::attempts(attempts),
        (Some(wait), None) => Retry::within(wait),
        (Some(wait), Some(attempts)) => Retry::within(wait).with_attempts_max(attempts),
    };
    Ok(match (fields.duration("delay_min")?, fields.duration("delay_max")?) {
        (Some(min), Some(max)) => retry.with_delays(min, max),
        (None, None) => retry,
        _ => return Err("delay_min and delay_max go together".to_owned()),
    })
}
