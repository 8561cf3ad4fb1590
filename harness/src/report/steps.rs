//! What happened, in sentences: one for what happens at once to one process.

use std::collections::{BTreeSet, HashMap};

use super::scene::{BeliefEnd, FenceChange, KeyEnd, Scene};
use super::window::Window;
use super::words::{self, Fences, answered, asked};
use super::{Axis, Case, Effect, STEP, explain};
use crate::history::{Event, Process, TokenName, What};
use crate::sim::clock::TrueTime;

/// What happens within this time, in nanoseconds, happens at once for somebody who looks now and then.
const ALIKE: TrueTime = 1_000_000;
/// The order of what has no event of its own: after all that happens at the same time.
const AT_THE_END: usize = usize::MAX - 1;
/// So many events at most are about one message.
const ALIKE_MAX: usize = 8;

/// A sentence, when it is about what, and which things of the picture show it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) time: TrueTime,
    pub(super) who: String,
    pub(super) text: String,
    pub(super) is_violation: bool,
    /// The step whose things show it, if it has none of its own.
    pub(super) like: Option<usize>,
    /// What has no step of its own ends after what happens at the same time.
    order: usize,
    origins: Vec<usize>,
}

/// The sentences of a window, in order, and which event belongs to which.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    /// How many were left out, before the first.
    pub(super) left_out: usize,
    of_origin: HashMap<usize, usize>,
}

impl Steps {
    /// The step that tells of an event.
    pub(super) fn of(&self, origin: usize) -> Option<usize> {
        self.of_origin.get(&origin).copied()
    }

    /// All steps of `window`, the last `most` of them.
    pub(super) fn tell(case: &Case, scene: &Scene, window: &Window, most: usize) -> Self {
        let mut teller = Teller { case, fences: Fences::of(scene), steps: Vec::new() };
        match case.axis {
            Axis::Time | Axis::Steps if scene.events == 0 => teller.tell_story(),
            Axis::Steps if !case.story.is_empty() => teller.tell_story(),
            Axis::Steps | Axis::Time => {
                teller.tell_events(scene, window);
                teller.tell_ends(scene, window);
            }
        }
        teller.tell_violation(scene);
        let mut list = teller.steps;
        list.sort_by_key(|step| (step.time, step.order));
        let left_out = list.len().saturating_sub(most);
        list.drain(..left_out);
        Self::link(list, left_out)
    }

    fn link(mut list: Vec<Step>, left_out: usize) -> Self {
        let mut of_origin = HashMap::new();
        for (index, step) in list.iter().enumerate() {
            for &origin in step.origins.iter().filter(|_| step.order != AT_THE_END) {
                of_origin.entry(origin).or_insert(index);
            }
        }
        for step in list.iter_mut().filter(|step| step.order == AT_THE_END) {
            step.like = step.origins.first().and_then(|origin| of_origin.get(origin).copied());
        }
        Self { list, left_out, of_origin }
    }
}

fn sentence(time: TrueTime, text: &str) -> Step {
    Step {
        time,
        who: String::new(),
        text: text.to_owned(),
        is_violation: false,
        like: None,
        order: 0,
        origins: Vec::new(),
    }
}

/// The change of a number that an event told of, if it was one.
fn fence_change<'a>(scene: &'a Scene, event: &Event, origin: usize) -> Option<&'a FenceChange> {
    let (Process::Node(node), What::Fence { resource, .. }) = (event.process, event.what) else {
        return None;
    };
    let changes = scene.nodes.get(usize::from(node))?.fences.get(usize::from(resource))?;
    let place = changes.binary_search_by_key(&origin, |change| change.origin).ok()?;
    changes.get(place)
}

struct Teller<'a> {
    case: &'a Case,
    fences: Fences,
    steps: Vec<Step>,
}

impl Teller<'_> {
    /// The sentences of the case itself: the n-th tells of step n.
    fn tell_story(&mut self) {
        let events = self.case.history.events();
        for (number, text) in (1..).zip(&self.case.story) {
            let time = number * STEP;
            let at = |event: &&(usize, &Event)| event.1.time / STEP == number;
            let events: Vec<_> = events.iter().enumerate().collect();
            let origins = events.iter().filter(at).map(|(index, _)| *index).collect();
            self.steps.push(Step { origins, ..sentence(time, text) });
        }
    }

    fn tell_events(&mut self, scene: &Scene, window: &Window) {
        let events = self.case.history.events();
        let first = events.partition_point(|event| event.time < window.from);
        let mut index = first;
        while index < events.len() {
            let taken = self.tell(scene, events, index).max(1);
            index += taken;
        }
    }

    fn push(&mut self, event: &Event, range: std::ops::Range<usize>, text: String) {
        let who = match event.process {
            Process::Harness => String::new(),
            Process::Client(_) | Process::Node(_) | Process::Resource(_) => {
                event.process.to_string()
            }
        };
        self.steps.push(Step {
            time: event.time,
            who,
            text,
            is_violation: matches!(event.what, What::Violated { .. }),
            like: None,
            order: range.start,
            origins: range.collect(),
        });
    }

    /// Tells what begins with the event at `index`; returns how many events that is.
    fn tell(&mut self, scene: &Scene, events: &[Event], index: usize) -> usize {
        let event = &events[index];
        let same = |other: &Event| other.time == event.time && other.process == event.process;
        match event.what {
            What::Sent { .. } => return self.tell_sent(events, index),
            What::Key { .. } | What::Fence { .. } | What::Quarantined { .. } => {
                // A message is carried out: the answer says the rest.
                let rest = events[index..].iter().take_while(|other| same(other));
                let mut rest = rest.take(ALIKE_MAX);
                let place = rest.position(|other| matches!(other.what, What::Executed { .. }));
                return match place {
                    Some(place) => self.tell_node(scene, events, index, place + 1),
                    None => self.tell_alike(scene, events, index),
                };
            }
            What::Executed { .. } => return self.tell_node(scene, events, index, 1),
            What::Acquire { .. }
            | What::Granted { .. }
            | What::Retrying
            | What::Failed
            | What::Extend
            | What::Extended { .. }
            | What::AtRisk
            | What::Lost { .. }
            | What::Release
            | What::Released { .. }
            | What::Answer { .. }
            | What::Dropped { .. }
            | What::Calls { .. }
            | What::Called { .. }
            | What::Crashed
            | What::Restarted
            | What::FaultBegan { .. }
            | What::FaultEnded { .. }
            | What::Clock { .. }
            | What::Read { .. }
            | What::Written { .. }
            | What::Healed
            | What::Demand { .. }
            | What::Violated { .. } => {}
        }
        if let Some(text) = self.words(scene, event, index) {
            self.push(event, index..index + 1, text);
        }
        1
    }

    /// One client's messages of one kind, and which of them are lost at once.
    fn tell_sent(&mut self, events: &[Event], index: usize) -> usize {
        let event = &events[index];
        let What::Sent { asked: kind, token, .. } = event.what else { return 1 };
        let mut to: Vec<String> = Vec::new();
        let mut lost: Vec<String> = Vec::new();
        let mut last = None;
        let mut count = 0;
        for other in &events[index..] {
            if other.time != event.time || other.process != event.process {
                break;
            }
            if let What::Sent { message, node, asked, token: whose, copy } = other.what
                && (asked, whose) == (kind, token)
            {
                let twice = if copy > 0 { " (again)" } else { "" };
                to.push(format!("n{node}{twice}"));
                last = Some((message, node));
            } else if let What::Dropped { message, answer: false } = other.what
                && let Some((number, node)) = last
                && number == message
            {
                lost.push(format!("n{node}"));
            } else {
                break;
            }
            count += 1;
        }
        let lost = match lost.as_slice() {
            [] => String::new(),
            [one] => format!("; the message to {one} is lost"),
            more => format!("; those to {} are lost", words::list(more)),
        };
        let text = format!("sends {} of {token} to {}{lost}", asked(kind), words::list(&to));
        self.push(event, index..index + count, text);
        count
    }

    /// The same key on several nodes at almost the same time, as somebody sees it who looks now and
    /// then.
    fn tell_alike(&mut self, scene: &Scene, events: &[Event], index: usize) -> usize {
        let event = &events[index];
        let What::Key { resource, owner, .. } = event.what else {
            return self.tell_node(scene, events, index, 1);
        };
        let is_alike = |other: &&Event| {
            let is_same = matches!(other.what, What::Key { resource: on, owner: whose, .. }
                if (on, whose) == (resource, owner));
            is_same && other.time - event.time <= ALIKE
        };
        let count = events[index..].iter().take_while(is_alike).count();
        if count < 2 {
            return self.tell_node(scene, events, index, 1);
        }
        let range = index..index + count;
        let nodes: BTreeSet<Process> =
            events[range.clone()].iter().map(|event| event.process).collect();
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        let nodes = words::list(&nodes);
        let on = if scene.accesses.len() > 1 { format!(" of r{resource}") } else { String::new() };
        let text = match owner {
            Some(owner) => format!("{nodes}: the key{on} is {}", whose(owner)),
            None => format!("{nodes}: the key{on} is gone"),
        };
        self.push(event, range, text);
        if let Some(step) = self.steps.last_mut() {
            step.who = "nodes".to_owned();
        }
        count
    }

    /// What a node does: `count` events, the last of which says what it answers, if it was asked.
    fn tell_node(&mut self, scene: &Scene, events: &[Event], index: usize, count: usize) -> usize {
        let range = index..index + count;
        let mut parts: Vec<String> = Vec::new();
        for (origin, event) in range.clone().zip(&events[range.clone()]) {
            if let What::Executed { message, asked: kind, answered: answer, fence } = event.what {
                let whose = scene.message(message);
                let whose = whose.map_or_else(String::new, |known| format!(" of {}", known.token));
                let number = match fence {
                    0 => String::new(),
                    fence => format!(", number {}", self.fences.short(fence)),
                };
                parts.insert(
                    0,
                    format!("is asked for {}{whose}: {}{number}", asked(kind), answered(answer)),
                );
            } else if let What::Key { resource, owner, until } = event.what {
                parts.push(match owner {
                    Some(owner) if until > 0 => {
                        let until = words::time(self.case.axis, until);
                        match self.case.axis {
                            Axis::Time => format!("its key is {} until {until}", whose(owner)),
                            Axis::Steps => format!("its key is {}", whose(owner)),
                        }
                    }
                    Some(owner) => format!("its key is {}", whose(owner)),
                    None if scene.accesses.len() > 1 => format!("its key of r{resource} is gone"),
                    None => "its key is gone".to_owned(),
                });
            } else if let What::Quarantined { until } = event.what {
                let until = words::time(self.case.axis, until);
                parts.push(format!("it may have forgotten keys and does not vote until {until}"));
            } else if let What::Fence { fence, .. } = event.what {
                match fence_change(scene, event, origin) {
                    Some(change) if change.fell => {
                        parts.push(format!("its number falls to {}", self.fences.short(fence)));
                    }
                    Some(_) if count == 1 => {
                        parts.push(format!("its number is {}", self.fences.short(fence)));
                    }
                    Some(_) | None => {}
                }
            }
        }
        if !parts.is_empty() {
            self.push(&events[index], range, parts.join("; "));
        }
        count
    }

    fn words(&self, scene: &Scene, event: &Event, origin: usize) -> Option<String> {
        let axis = self.case.axis;
        let short = |fence: u64| match fence {
            0 => String::new(),
            fence => format!(", fence {}", self.fences.short(fence)),
        };
        let until = |until: TrueTime| match axis {
            Axis::Time => format!(" until {}", words::time(axis, until)),
            Axis::Steps => String::new(),
        };
        let accepted = |accepted: bool| if accepted { "accepted" } else { "refused" };
        Some(match event.what {
            What::Acquire { resource, .. } if scene.accesses.len() > 1 => {
                format!("asks for the lock on r{resource}")
            }
            What::Acquire { .. } => "asks for the lock".to_owned(),
            What::Granted { token, fence, until: end } => {
                format!("is granted the lock: {token}{}{}", short(fence), until(end))
            }
            What::Retrying => "lost the attempt and will try again".to_owned(),
            What::Failed => "does not get the lock".to_owned(),
            What::Extend => "asks for more time".to_owned(),
            What::Extended { until: end, .. } => format!("now believes{}", until(end)),
            What::AtRisk => "is told that an extension missed".to_owned(),
            What::Lost { token } => format!("has lost the lock {token}"),
            What::Release => "gives the lock up".to_owned(),
            What::Released { confirmed: true } => "has released it, says a majority".to_owned(),
            What::Released { confirmed: false } => {
                "has released it, as far as can be told".to_owned()
            }
            What::Answer { message, answered: answer } => {
                let sent = Self::message(scene, message);
                match sent {
                    Some((node, kind)) => {
                        format!("hears {} to its {kind} from n{node}", answered(answer))
                    }
                    None => format!("hears {}", answered(answer)),
                }
            }
            What::Dropped { message, answer } => {
                let what = if answer { "the answer" } else { "the message" };
                match Self::message(scene, message) {
                    Some((node, kind)) => format!("{what} to {kind} at n{node} is lost"),
                    None => format!("{what} is lost"),
                }
            }
            What::Calls { token } => format!("calls {}", waiter(token)),
            What::Called { node, token } => {
                format!("is called by n{node}, as {}", waiter(token))
            }
            What::Crashed => "crashes".to_owned(),
            What::Restarted => "is started again".to_owned(),
            What::FaultBegan { fault } => {
                let known = self.case.shape.faults.get(usize::from(fault));
                let is_moment = known.is_some_and(|fault| fault.effect == Effect::Moment);
                let what = if is_moment { "Fault" } else { "Fault begins" };
                format!("{what}: {}", self.fault(fault))
            }
            What::FaultEnded { fault } => format!("Fault is over: {}", self.fault(fault)),
            // How it runs from the beginning on is no news.
            What::Clock { .. } if event.time == 0 => return None,
            What::Clock { .. } => {
                let clock = &scene.common(event.process)?.clock;
                let place = clock.binary_search_by_key(&origin, |reading| reading.origin).ok()?;
                let reading = clock.get(place)?;
                format!("has a clock that {}", words::clock_change(reading))
            }
            What::Read { client, fence, accepted: yes, value } => {
                format!("c{client} reads {value}{}: {}", short(fence), accepted(yes))
            }
            What::Written { client, fence, accepted: yes, value, lost_update } => {
                let lost = if lost_update { ", over an update that it had not read" } else { "" };
                format!("c{client} writes {value}{}{lost}: {}", short(fence), accepted(yes))
            }
            What::Healed => "Everything heals; from here on there must be progress".to_owned(),
            What::Demand { .. } => return None,
            What::Violated { .. } => match &self.case.violation {
                Some(violation) => explain::told(self.case, scene, violation),
                None => return None,
            },
            What::Sent { .. }
            | What::Executed { .. }
            | What::Key { .. }
            | What::Fence { .. }
            | What::Quarantined { .. } => return None,
        })
    }

    fn message(scene: &Scene, number: u32) -> Option<(u8, &'static str)> {
        let message = scene.message(number)?;
        Some((message.node, asked(message.asked)))
    }

    fn fault(&self, number: u16) -> String {
        let known = self.case.shape.faults.get(usize::from(number));
        known.map_or_else(|| format!("fault {number}"), |fault| fault.text.clone())
    }

    /// The violation, if the history does not have it.
    fn tell_violation(&mut self, scene: &Scene) {
        let Some(violation) = &self.case.violation else { return };
        if self.steps.iter().any(|step| step.is_violation) {
            return;
        }
        let text = explain::told(self.case, scene, violation);
        // Nothing is told after it.
        let last = self.steps.iter().map(|step| step.time).max().unwrap_or(0);
        let step = sentence(violation.time.max(last), &text);
        self.steps.push(Step { is_violation: true, order: usize::MAX, ..step });
    }

    /// What ends by itself, without an event.
    fn tell_ends(&mut self, scene: &Scene, window: &Window) {
        let end = scene.end;
        let seen = |at: TrueTime| at >= window.from && at <= end;
        let mut ends: Vec<(TrueTime, String, String, usize)> = Vec::new();
        for (node, lane) in scene.nodes.iter().enumerate() {
            for key in lane.keys.iter().flatten() {
                if key.end == KeyEnd::Expired && seen(key.span.to) {
                    let text = match key.owner.attempt {
                        0 => format!("keeps the key for {} no longer", waiter(key.owner)),
                        _ => format!("lets the key of {} expire", key.owner),
                    };
                    ends.push((key.span.to, format!("n{node}"), text, key.span.origin));
                }
            }
        }
        for (client, lane) in scene.clients.iter().enumerate() {
            for belief in &lane.beliefs {
                if belief.end == BeliefEnd::Lapsed && seen(belief.span.to) {
                    let text = format!("believes in {} no longer: its time is over", belief.token);
                    ends.push((belief.span.to, format!("c{client}"), text, belief.span.origin));
                }
            }
        }
        for (time, who, text, origin) in ends {
            let origins = vec![origin];
            self.steps.push(Step { who, origins, order: AT_THE_END, ..sentence(time, &text) });
        }
    }
}

/// One who waits: no attempt of its own.
fn waiter(token: TokenName) -> String {
    format!("c{}.{}", token.client, token.acquire)
}

/// What a key is: a holder's, or kept for a waiter.
fn whose(owner: TokenName) -> String {
    match owner.attempt {
        0 => format!("kept for {}", waiter(owner)),
        _ => owner.to_string(),
    }
}
