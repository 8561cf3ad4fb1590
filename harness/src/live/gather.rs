//! From what was seen and logged to a [`Record`].

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::observe::{Seen, Sighting};
use super::plan::{Cue, Fault, Kind, Plan};
use super::proxy::{Command, Told};
use super::record::{Acquire, Caps, End, Kept, Record, Strike, Token, What};
use crate::plan::FaultKind;

/// A value shorter than this is no token.
const TOKEN_BYTES_MIN: usize = 8;

/// Everything that was seen and logged.
#[derive(Debug)]
pub(super) struct Seed<'a> {
    pub(super) plan: &'a Plan,
    pub(super) caps: Caps,
    pub(super) keys: &'a [String],
    pub(super) acquires: Vec<Acquire>,
    pub(super) sightings: &'a [Sighting],
    /// For each node, when it was looked at.
    pub(super) looks: &'a [Vec<Duration>],
    pub(super) told: &'a [Told],
    pub(super) strikes: Vec<Strike>,
}

/// What it amounts to; claims and times of the run itself are for the caller to add.
pub(super) fn gather(seed: Seed<'_>) -> Record {
    let Seed { plan, caps, keys, mut acquires, sightings, looks, told, mut strikes } = seed;
    let nodes = nodes_used(plan, keys, told);
    let tokens = tokens(keys, &acquires, sightings, told);
    acquires.iter_mut().for_each(|acquire| note_knowledge(nodes / 2 + 1, keys, told, acquire));
    let mut kept = kept(plan, keys.len(), sightings, &strikes);
    kept.retain(|kept| kept.node < nodes);
    let taken_over = taken_over(plan, &strikes).map(|at| (plan.shape.nodes.into(), at));
    let seen = kept.clone();
    let kept = without(kept, &unseen(keys, looks, told, taken_over));
    for (fault, strike) in plan.faults.iter().zip(&mut strikes) {
        if strike.evidence.is_none() && strike.trouble.is_none() {
            strike.evidence = met(fault, strike, told);
        }
    }
    let ttl = Duration::from_millis(plan.shape.ttl_ms.into());
    Record {
        nodes,
        clients: plan.shape.clients.into(),
        resources: keys.len(),
        ttl,
        keep_max: keep_max(plan, ttl),
        caps,
        acquires,
        seen,
        kept,
        restored: restored(plan),
        tokens,
        strikes,
        ..Record::default()
    }
}

/// A client that talks to fewer nodes than it was given is judged by those.
fn nodes_used(plan: &Plan, keys: &[String], told: &[Told]) -> usize {
    let of_locks = told.iter().filter(|told| resource_of(keys, &told.command).is_some());
    let given = usize::from(plan.shape.nodes);
    of_locks.map(|told| told.node + 1).max().unwrap_or(given).min(given)
}

/// Notes before when the client cannot have claimed what it did: a majority of its nodes had not answered yet.
fn note_knowledge(majority: usize, keys: &[String], told: &[Told], acquire: &mut Acquire) {
    let (client, resource) = (acquire.client, acquire.resource);
    let knew = |asked: Duration, at: Duration| {
        let is_its = |told: &&Told| {
            told.client == client
                && (asked..=at).contains(&told.seen)
                && resource_of(keys, &told.command) == Some(resource)
        };
        // The last command that was answered in time on each node, and of these answers the one that made a majority.
        let mut answers: HashMap<usize, Duration> = HashMap::new();
        for told in told.iter().filter(is_its) {
            let Some(delivered) = told.delivered.filter(|delivered| *delivered <= at) else {
                continue;
            };
            let last = answers.entry(told.node).or_default();
            *last = delivered.max(*last);
        }
        let mut times: Vec<Duration> = answers.into_values().collect();
        times.sort_unstable();
        times.get(majority - 1).copied()
    };
    let End::Granted(hold) = &mut acquire.end else { return };
    hold.knew = knew(acquire.asked, hold.at);
    for extension in &mut hold.extensions {
        extension.knew = knew(extension.asked, extension.at);
    }
}

/// How long a key may stay: a slow clock keeps it for longer.
fn keep_max(plan: &Plan, ttl: Duration) -> Duration {
    let slowest = plan.faults.iter().filter_map(|fault| match fault.kind {
        Kind::Known(FaultKind::Rate { ppm }) if ppm < 0 => Some(ppm),
        Kind::Known(_) | Kind::Live(_) => None,
    });
    let slowest = slowest.min().unwrap_or(0);
    ttl.mul_f64(1e6 / (1e6 + f64::from(slowest.max(-900_000))))
}

/// Nodes that came back with old data.
fn restored(plan: &Plan) -> Vec<usize> {
    let is_restored = |fault: &&Fault| match fault.kind {
        Kind::Known(FaultKind::Crash { .. } | FaultKind::Failover) => true,
        Kind::Known(_) | Kind::Live(_) => false,
    };
    let faults = plan.faults.iter().filter(is_restored);
    faults
        .flat_map(|fault| (0..plan.shape.nodes.into()).filter(|node| fault.who.is_node(*node)))
        .collect()
}

/// Which resource a command is about.
pub(super) fn resource_of(keys: &[String], command: &Command) -> Option<usize> {
    let arguments = command.args().get(1..)?;
    keys.iter().position(|key| arguments.iter().any(|argument| argument == key.as_bytes()))
}

/// Which argument is a token: one that was seen in a key; or else the first that could be.
pub(super) fn token_of<'a>(
    keys: &[String],
    known: &HashMap<&[u8], ()>,
    command: &'a Command,
) -> Option<&'a [u8]> {
    let arguments = command.args().get(1..)?;
    let seen = arguments.iter().find(|argument| known.contains_key(argument.as_slice()));
    let could_be = |argument: &&Vec<u8>| {
        argument.len() >= TOKEN_BYTES_MIN
            && !argument.iter().all(u8::is_ascii_digit)
            && !keys.iter().any(|key| contains(argument, key.as_bytes()))
            && !argument.starts_with(b"redlatch:")
    };
    // The first argument of a script is the script, or its name.
    let skip = usize::from(command.name().starts_with("EVAL"));
    let seen = seen.or_else(|| arguments.iter().skip(skip).find(could_be));
    seen.map(Vec::as_slice)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

/// Values that were seen in keys.
pub(super) fn values(sightings: &[Sighting]) -> HashMap<&[u8], ()> {
    let values = sightings.iter().filter_map(|sighting| match &sighting.seen {
        Seen::Value { value, .. } => Some((value.as_slice(), ())),
        Seen::Nobody | Seen::Withheld | Seen::Unreachable => None,
    });
    values.collect()
}

/// Whose each value is: whose connection it came by first, and in which acquire.
fn tokens(
    keys: &[String],
    acquires: &[Acquire],
    sightings: &[Sighting],
    told: &[Told],
) -> Vec<Token> {
    let known = values(sightings);
    let mut attempts: HashMap<(usize, u32), u32> = HashMap::new();
    let mut tokens: Vec<Token> = Vec::new();
    let mut seen: HashMap<&[u8], Option<usize>> = HashMap::new();
    for told in told {
        let Some(resource) = resource_of(keys, &told.command) else { continue };
        let Some(value) = token_of(keys, &known, &told.command) else { continue };
        let last = told.answered.or(told.at).unwrap_or_default();
        if let Some(place) = seen.get(value) {
            if let Some(token) = place.and_then(|place| tokens.get_mut(place)) {
                token.last = token.last.max(last);
            }
            continue;
        }
        seen.insert(value, None);
        let asked = |acquire: &&Acquire| {
            acquire.client == told.client
                && acquire.resource == resource
                && acquire.asked <= told.seen
        };
        let Some(acquire) = acquires.iter().rev().find(asked) else { continue };
        let attempt = attempts.entry((told.client, acquire.number)).or_insert(0);
        *attempt += 1;
        seen.insert(value, Some(tokens.len()));
        tokens.push(Token {
            value: value.to_vec(),
            client: told.client,
            acquire: acquire.number,
            attempt: *attempt,
            last,
        });
    }
    tokens
}

/// What nodes surely kept, from when to when.
fn kept(plan: &Plan, resources: usize, sightings: &[Sighting], strikes: &[Strike]) -> Vec<Kept> {
    let nodes = usize::from(plan.shape.nodes);
    let mut kept = Vec::new();
    for place in 0..=nodes {
        // Behind the nodes is the one that took the address of node 0 over, from then on.
        let (node, span) = match taken_over(plan, strikes) {
            Some(at) if place == 0 => (0, Duration::ZERO..at),
            Some(at) if place == nodes => (0, at..Duration::MAX),
            None if place == nodes => continue,
            Some(_) | None => (place, Duration::ZERO..Duration::MAX),
        };
        for resource in 0..resources {
            let here = |sighting: &&Sighting| sighting.node == place && sighting.key == resource;
            let here: Vec<&Sighting> = sightings.iter().filter(here).collect();
            for (index, sighting) in here.iter().enumerate() {
                let end = here.get(index + 1).map_or(Duration::MAX, |next| next.since);
                let during = sighting.until.max(span.start)..end.min(span.end);
                let what = match &sighting.seen {
                    Seen::Nobody => What::Nothing,
                    Seen::Withheld => What::Withheld,
                    Seen::Value { value, remaining } => What::Key {
                        value: value.clone(),
                        until: remaining.map(|remaining| sighting.until + remaining),
                    },
                    Seen::Unreachable => continue,
                };
                if during.start < during.end {
                    kept.push(Kept { node, resource, during, what });
                }
            }
        }
    }
    kept
}

/// Stretches, by node and resource, in which something may have come and gone between two looks: from when a command
/// that names the key went to the node to the first look after it had answered.
fn unseen(
    keys: &[String],
    looks: &[Vec<Duration>],
    told: &[Told],
    taken_over: Option<(usize, Duration)>,
) -> HashMap<(usize, usize), Vec<Range<Duration>>> {
    let mut unseen: HashMap<_, Vec<_>> = HashMap::new();
    for told in told {
        let (Some(at), Some(resource)) = (told.at, resource_of(keys, &told.command)) else {
            continue;
        };
        let place = match taken_over {
            Some((place, since)) if told.node == 0 && at >= since => place,
            Some(_) | None => told.node,
        };
        let looks = looks.get(place).map_or(&[][..], Vec::as_slice);
        // What was never answered went down with its node, or its connection.
        let over = told.answered.unwrap_or(at);
        let until = looks.get(looks.partition_point(|look| *look < over)).copied();
        let until = until.unwrap_or(Duration::MAX);
        unseen.entry((told.node, resource)).or_default().push(at..until);
    }
    unseen.values_mut().for_each(|gaps| gaps.sort_by_key(|gap| gap.start));
    unseen
}

/// What is certain, less what was not seen.
fn without(kept: Vec<Kept>, unseen: &HashMap<(usize, usize), Vec<Range<Duration>>>) -> Vec<Kept> {
    let mut certain = Vec::new();
    for mut kept in kept {
        for gap in unseen.get(&(kept.node, kept.resource)).into_iter().flatten() {
            if gap.end <= kept.during.start || gap.start >= kept.during.end {
                continue;
            }
            // They come in the order of their beginnings.
            if gap.start > kept.during.start {
                let during = kept.during.start..gap.start;
                certain.push(Kept { during, ..kept.clone() });
            }
            kept.during.start = gap.end.max(kept.during.start);
        }
        if kept.during.start < kept.during.end {
            certain.push(kept);
        }
    }
    certain
}

/// When the address of node 0 was taken over, if it was.
fn taken_over(plan: &Plan, strikes: &[Strike]) -> Option<Duration> {
    let is_failover = |kind: &Kind| *kind == Kind::Known(FaultKind::Failover);
    let mut faults = plan.faults.iter().zip(strikes);
    faults.find(|(fault, _)| is_failover(&fault.kind)).and_then(|(_, strike)| strike.ended)
}

/// What shows that a fault of links or nodes met somebody while it lasted.
fn met(fault: &Fault, strike: &Strike, told: &[Told]) -> Option<String> {
    let lasts = match fault.kind {
        Kind::Known(FaultKind::Pause | FaultKind::Cut { .. } | FaultKind::Slow { .. }) => true,
        Kind::Known(_) | Kind::Live(_) => false,
    };
    let during: Range<Duration> = strike.began?..strike.ended?;
    if lasts && fault.when == Cue::Granted {
        return Some("c0 held a lock".to_owned());
    }
    let met =
        |told: &&Told| fault.who.is_link(told.client, told.node) && during.contains(&told.seen);
    let count = told.iter().filter(met).count();
    (lasts && count > 0).then(|| format!("{count} commands met it"))
}
