//! What was recorded in the words of all tiers: for the picture, for people, and for other checkers.

use std::collections::HashMap;
use std::time::Duration;

use super::gather::{resource_of, token_of, values};
use super::observe::Sighting;
use super::plan::{Kind, LiveKind, Plan};
use super::proxy::{Answer, Fate, Told};
use super::record::{AccessKind, Acquire, End, Record, What as Kept};
use crate::history::{Answered, Asked, History, Process, TokenName, What};
use crate::plan::{FaultKind, Who};
use crate::report::{Effect, Fault, Shape};

/// How many of everything, and what befell them.
pub(super) fn shape(plan: &Plan, record: &Record) -> Shape {
    Shape {
        nodes: record.nodes,
        clients: record.clients,
        resources: record.resources,
        majority: record.majority(),
        guarded: record.caps.guard,
        faults: plan.faults.iter().map(|fault| reported(plan, fault)).collect(),
    }
}

fn reported(plan: &Plan, fault: &super::plan::Fault) -> Fault {
    let clients = (0..plan.shape.clients).map(Process::Client);
    let nodes = (0..plan.shape.nodes).map(Process::Node);
    let who = match fault.who {
        Who::Node(node) => vec![Process::Node(node)],
        Who::Client(client) => vec![Process::Client(client)],
        Who::Link(client, node) => vec![Process::Client(client), Process::Node(node)],
        Who::All => clients.chain(nodes).collect(),
    };
    let effect = match fault.kind {
        Kind::Known(FaultKind::Pause) => Effect::Stops,
        Kind::Known(FaultKind::Jump { .. } | FaultKind::Evict | FaultKind::Flush) => Effect::Moment,
        Kind::Known(_) => Effect::Lasts,
        Kind::Live(
            LiveKind::Overtaken
            | LiveKind::Duplicated
            | LiveKind::ReplyLost
            | LiveKind::ResetAfter
            | LiveKind::Refused
            | LiveKind::ScriptsForgotten
            | LiveKind::Occupied,
        ) => Effect::Lasts,
    };
    Fault { who, text: fault.to_string(), effect }
}

/// Everything that happened, until something was wrong: what comes after it explains nothing.
pub(super) fn history(
    plan: &Plan,
    record: &Record,
    until: Option<Duration>,
    keys: &[String],
    sightings: &[Sighting],
    told: &[Told],
) -> History {
    let mut story = Story { record, events: Vec::new() };
    story.clients();
    story.nodes();
    story.faults(plan);
    story.resources();
    story.messages(keys, sightings, told);
    if let Some(healed) = record.healed {
        story.note(healed, Process::Harness, What::Healed);
    }
    story.events.sort_by_key(|(at, ..)| *at);
    story.events.retain(|(at, ..)| until.is_none_or(|until| *at <= until));
    let mut history = History::default();
    history.restart(true);
    for (at, process, what) in story.events {
        history.note(nanos(at), process, what);
    }
    history
}

struct Story<'a> {
    record: &'a Record,
    events: Vec<(Duration, Process, What)>,
}

impl Story<'_> {
    fn note(&mut self, at: Duration, process: Process, what: What) {
        self.events.push((at, process, what));
    }

    /// The name of the token by which `acquire` was granted, as far as it is known: the last one that was sent.
    fn granted(&self, acquire: &Acquire) -> TokenName {
        let is_its = |token: &&super::record::Token| {
            token.client == acquire.client && token.acquire == acquire.number
        };
        let attempt = self.record.tokens.iter().filter(is_its).map(|token| token.attempt).max();
        TokenName {
            client: small(acquire.client),
            acquire: acquire.number,
            attempt: attempt.unwrap_or(1),
        }
    }

    fn clients(&mut self) {
        for acquire in &self.record.acquires {
            let who = Process::Client(small(acquire.client));
            let (resource, number) = (small(acquire.resource), acquire.number);
            self.note(acquire.asked, who, What::Acquire { resource, acquire: number });
            let hold = match &acquire.end {
                End::Granted(hold) => hold,
                End::Refused { at, .. } => {
                    self.note(*at, who, What::Failed);
                    continue;
                }
                End::Hung { .. } | End::Killed { .. } => continue,
            };
            let token = self.granted(acquire);
            let until = nanos(hold.until);
            self.note(hold.at, who, What::Granted { token, fence: hold.fence.unwrap_or(0), until });
            for extension in &hold.extensions {
                self.note(extension.asked, who, What::Extend);
                let what = match extension.until {
                    Some(until) => What::Extended { token, until: nanos(until) },
                    None => What::AtRisk,
                };
                self.note(extension.at, who, what);
            }
            if let Some(lost) = hold.lost {
                self.note(lost, who, What::Lost { token });
            }
            if let Some(given_up) = hold.given_up {
                self.note(given_up, who, What::Release);
            }
            if let Some((at, confirmed)) = hold.released {
                self.note(at, who, What::Released { confirmed });
            }
        }
        for (client, at) in &self.record.killed {
            self.note(*at, Process::Client(small(*client)), What::Crashed);
        }
    }

    fn nodes(&mut self) {
        let strangers = small(self.record.clients);
        let mut kept: Vec<_> = self.record.seen.iter().collect();
        kept.sort_by_key(|kept| kept.during.start);
        let mut last: HashMap<(usize, usize), Option<TokenName>> = HashMap::new();
        for kept in kept {
            let who = Process::Node(small(kept.node));
            let (owner, until) = match &kept.what {
                Kept::Nothing => (None, Duration::ZERO),
                Kept::Withheld => {
                    let until = nanos(kept.during.end.min(self.record.ended));
                    self.note(kept.during.start, who, What::Quarantined { until });
                    (None, Duration::ZERO)
                }
                Kept::Key { value, until } => {
                    let token = self.record.tokens.iter().find(|token| token.value == *value);
                    let name = token.map_or(
                        TokenName { client: strangers, acquire: 1, attempt: 1 },
                        |token| TokenName {
                            client: small(token.client),
                            acquire: token.acquire,
                            attempt: token.attempt,
                        },
                    );
                    (Some(name), until.unwrap_or(Duration::ZERO))
                }
            };
            let place = (kept.node, kept.resource);
            if owner.is_none() && last.get(&place).copied().flatten().is_none() {
                continue;
            }
            last.insert(place, owner);
            let resource = small(kept.resource);
            self.note(kept.during.start, who, What::Key { resource, owner, until: nanos(until) });
        }
    }

    fn faults(&mut self, plan: &Plan) {
        for (place, (fault, strike)) in (0..).zip(plan.faults.iter().zip(&self.record.strikes)) {
            let (Some(began), Some(ended)) = (strike.began, strike.ended) else { continue };
            let who = match fault.who {
                Who::Node(node) => Process::Node(node),
                Who::Client(client) | Who::Link(client, _) => Process::Client(client),
                Who::All => Process::Harness,
            };
            self.note(began, who, What::FaultBegan { fault: place });
            self.note(ended, who, What::FaultEnded { fault: place });
            let is_of_node = matches!(fault.who, Who::Node(_));
            match fault.kind {
                Kind::Known(FaultKind::Crash { .. }) if is_of_node => {
                    self.note(began, who, What::Crashed);
                    self.note(ended, who, What::Restarted);
                }
                Kind::Known(FaultKind::Rate { ppm }) => {
                    let gained = nanos(ended - began) as i128 * i128::from(ppm) / 1_000_000;
                    let ahead = i64::try_from(gained).unwrap_or(0);
                    self.note(began, who, What::Clock { ahead: 0, ppm });
                    self.note(ended, who, What::Clock { ahead, ppm: 0 });
                }
                Kind::Known(FaultKind::Jump { by_us }) => {
                    self.note(began, who, What::Clock { ahead: 0, ppm: 0 });
                    self.note(ended, who, What::Clock { ahead: by_us * 1_000, ppm: 0 });
                }
                Kind::Known(_) | Kind::Live(_) => {}
            }
        }
    }

    fn resources(&mut self) {
        for access in &self.record.accesses {
            let (client, fence) = (small(access.client), access.fence.unwrap_or(0));
            let (accepted, value) = (access.accepted, access.value);
            let what = match access.kind {
                AccessKind::Read => What::Read { client, fence, accepted, value },
                AccessKind::Write => {
                    What::Written { client, fence, accepted, value, lost_update: false }
                }
                AccessKind::LostUpdate => {
                    What::Written { client, fence, accepted, value, lost_update: accepted }
                }
            };
            self.note(access.at, Process::Resource(small(access.resource)), what);
        }
    }

    fn messages(&mut self, keys: &[String], sightings: &[Sighting], told: &[Told]) {
        let known = values(sightings);
        let mut copies: HashMap<(usize, usize, Vec<u8>), u8> = HashMap::new();
        for (message, told) in (0..).zip(told) {
            if told.node >= self.record.nodes || resource_of(keys, &told.command).is_none() {
                continue;
            }
            let Some(value) = token_of(keys, &known, &told.command) else { continue };
            let Some(token) = self.record.tokens.iter().find(|token| token.value == value) else {
                continue;
            };
            let name = TokenName {
                client: small(token.client),
                acquire: token.acquire,
                attempt: token.attempt,
            };
            let place = (told.client, told.node, value.to_vec());
            let before = copies.entry(place).or_insert(0);
            let asked = self.asked(told, *before);
            *before = before.saturating_add(1);
            let copy = u8::from(told.fate == Fate::Copied);
            let (client, node) = (Process::Client(small(told.client)), small(told.node));
            self.note(told.seen, client, What::Sent { message, node, asked, token: name, copy });
            let here = Process::Node(node);
            let answered = answered(told.answer.as_ref());
            match (told.at, told.answered) {
                (Some(_), Some(at)) => {
                    let executed = What::Executed { message, asked, answered, fence: 0 };
                    self.note(at, here, executed);
                    match told.delivered {
                        Some(at) => self.note(at, client, What::Answer { message, answered }),
                        None if told.fate != Fate::Copied => {
                            self.note(at, here, What::Dropped { message, answer: true });
                        }
                        None => {}
                    }
                }
                (_, None) => {
                    let at = told.at.unwrap_or(told.seen);
                    self.note(at, here, What::Dropped { message, answer: false });
                }
                (None, Some(_)) => {}
            }
        }
    }

    /// What a command asked for, by what its client was doing: the first command with a token takes the lock.
    fn asked(&self, told: &Told, before: u8) -> Asked {
        if before == 0 || told.fate == Fate::Copied && before == 1 {
            return Asked::Acquire;
        }
        let now = |acquire: &&Acquire| acquire.client == told.client && acquire.asked <= told.seen;
        let Some(acquire) = self.record.acquires.iter().rev().find(now) else {
            return Asked::Release;
        };
        let End::Granted(hold) = &acquire.end else { return Asked::Release };
        let is_during = |extension: &super::record::Extension| {
            (extension.asked..=extension.at).contains(&told.seen)
        };
        if hold.extensions.iter().any(is_during) {
            Asked::Extend
        } else if told.seen < hold.at {
            Asked::Seal
        } else {
            Asked::Release
        }
    }
}

/// What an answer amounts to, whatever script it is of: no value and 0 are a no.
fn answered(answer: Option<&Answer>) -> Answered {
    match answer {
        None | Some(Answer::Error(_)) => Answered::Unknown,
        Some(Answer::Nil | Answer::Integer(0)) => Answered::Refused,
        Some(Answer::Array(answers)) => match answers.first() {
            Some(Answer::Integer(first)) if *first <= 0 => Answered::Refused,
            Some(_) | None => Answered::Applied,
        },
        Some(Answer::Status(_) | Answer::Integer(_) | Answer::Text(_) | Answer::Other) => {
            Answered::Applied
        }
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

fn small(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}
