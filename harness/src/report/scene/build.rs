//! From a list of events to stretches of time, in one pass.

use std::collections::HashMap;

use super::line::Line;
use super::promise::Keepers;
use super::{
    Access, AccessKind, Ask, AskEnd, Belief, BeliefEnd, Common, FaultSpan, FenceChange, Key,
    KeyEnd, Late, Message, Note, NoteKind, Reading, Scene, Span,
};
use crate::history::{Answered, Asked, Event, Process, TokenName, What};
use crate::report::{Case, Effect};
use crate::sim::clock::TrueTime;

/// The scene of `case`.
pub(in crate::report) fn build(case: &Case) -> Scene {
    let mut builder = Builder::new(case);
    for (index, event) in case.history.events().iter().enumerate() {
        builder.take(index, event);
    }
    builder.finish()
}

/// What is only needed while the scene is being built.
struct Builder<'a> {
    case: &'a Case,
    scene: Scene,
    client_lines: Vec<Line>,
    node_lines: Vec<Line>,
    /// For each client, the tokens that it has given up.
    given_up: Vec<Option<TokenName>>,
    /// Where faults that last are in the scene.
    faults: HashMap<u16, usize>,
    now: TrueTime,
}

impl<'a> Builder<'a> {
    fn new(case: &'a Case) -> Self {
        let shape = &case.shape;
        let mut scene = Scene { events: case.history.events().len(), ..Scene::default() };
        scene.clients.resize_with(shape.clients, Default::default);
        scene.nodes.resize_with(shape.nodes, Default::default);
        scene.accesses.resize_with(shape.resources, Default::default);
        let mut builder = Self {
            case,
            scene,
            client_lines: vec![Line::default(); shape.clients],
            node_lines: vec![Line::default(); shape.nodes],
            given_up: vec![None; shape.clients],
            faults: HashMap::new(),
            now: 0,
        };
        // The shape may say less than the history knows: nothing that happened is left out.
        for event in case.history.events() {
            builder.make_room(event.process);
            if let What::Sent { node, .. } = event.what {
                builder.make_room(Process::Node(node));
            } else if let What::Key { resource, owner, .. } = event.what {
                builder.make_room(Process::Resource(resource));
                let owner = owner.map_or(0, |owner| usize::from(owner.client) + 1);
                builder.scene.looks = builder.scene.looks.max(owner);
            } else if let What::Acquire { resource, .. } = event.what {
                builder.make_room(Process::Resource(resource));
            }
        }
        // The legend shows two.
        builder.scene.looks = builder.scene.looks.max(builder.scene.clients.len()).max(2);
        let resources = builder.scene.accesses.len();
        for node in &mut builder.scene.nodes {
            node.keys.resize_with(resources, Vec::new);
            node.fences.resize_with(resources, Vec::new);
        }
        builder
    }

    fn make_room(&mut self, process: Process) {
        match process {
            Process::Client(client) => {
                let count = self.scene.clients.len().max(usize::from(client) + 1);
                self.scene.clients.resize_with(count, Default::default);
                self.client_lines.resize_with(count, Default::default);
                self.given_up.resize(count, None);
            }
            Process::Node(node) => {
                let count = self.scene.nodes.len().max(usize::from(node) + 1);
                self.scene.nodes.resize_with(count, Default::default);
                self.node_lines.resize_with(count, Default::default);
            }
            Process::Resource(resource) => {
                let count = self.scene.accesses.len().max(usize::from(resource) + 1);
                self.scene.accesses.resize_with(count, Default::default);
            }
            Process::Harness => {}
        }
    }

    fn take(&mut self, origin: usize, event: &Event) {
        self.now = event.time;
        let process = event.process;
        match (process, event.what) {
            (_, What::Sent { message, node, asked, token, copy }) => {
                self.sent(origin, process, message, (node, asked, token, copy));
            }
            (_, What::Executed { message, answered, .. }) => {
                self.executed(origin, message, answered);
            }
            (_, What::Answer { message, .. }) => self.answered(origin, message),
            (_, What::Dropped { message, .. }) => {
                let now = self.now;
                if let Some(message) = self.message(message) {
                    message.lost = Some((now, origin));
                }
            }
            (_, What::Crashed) => self.crashed(origin, process),
            (_, What::Restarted) => {
                let now = self.now;
                if let Some(common) = self.common(process) {
                    close(&mut common.downs, now);
                }
            }
            (_, What::Clock { ahead, ppm }) => self.clock_changed(origin, process, ahead, ppm),
            (_, What::FaultBegan { fault }) => self.fault_began(origin, fault, process),
            (_, What::FaultEnded { fault }) => self.fault_ended(fault),
            (_, What::Healed) => self.scene.healed = Some(self.now),
            (Process::Client(client), what) => self.at_client(origin, client.into(), &what),
            (Process::Node(node), what) => self.at_node(origin, node.into(), &what),
            (Process::Resource(resource), what) => self.at_resource(origin, resource.into(), &what),
            (Process::Harness, _) => {}
        }
    }

    fn at_client(&mut self, origin: usize, client: usize, what: &What) {
        let now = self.now;
        let span = Span { from: now, to: TrueTime::MAX, origin };
        if let What::Acquire { resource, acquire } = *what {
            self.end_belief(client, BeliefEnd::Lapsed);
            let (end, retries) = (AskEnd::Open, Vec::new());
            self.scene.clients[client].asks.push(Ask { span, resource, acquire, end, retries });
        } else if let What::Granted { token, fence, until } = *what {
            let resource = self.scene.clients[client].asks.last().map_or(0, |ask| ask.resource);
            self.end_ask(client, AskEnd::Granted);
            self.end_belief(client, BeliefEnd::Lapsed);
            let (end, extended) = (BeliefEnd::Open, Vec::new());
            let belief = Belief { span, token, fence, resource, until, end, extended };
            self.scene.clients[client].beliefs.push(belief);
        } else if let What::Extended { until, .. } = *what {
            if let Some(belief) = self.belief(client) {
                belief.until = until;
                belief.extended.push((now, origin));
            }
        } else if let What::Lost { token } = *what {
            self.end_belief(client, BeliefEnd::Lost);
            self.given_up[client] = Some(token);
            self.note(client, origin, NoteKind::Lost);
        } else if *what == What::Retrying {
            if let Some(ask) = self.scene.clients[client].asks.last_mut() {
                ask.retries.push((now, origin));
            }
        } else if *what == What::Failed {
            self.end_ask(client, AskEnd::Failed);
        } else if *what == What::AtRisk {
            self.note(client, origin, NoteKind::AtRisk);
        } else if *what == What::Release {
            self.end_ask(client, AskEnd::CalledOff);
            self.end_belief(client, BeliefEnd::Released);
        }
    }

    fn at_node(&mut self, origin: usize, node: usize, what: &What) {
        let now = self.now;
        let lane = &mut self.scene.nodes[node];
        if let What::Key { resource, owner, until } = *what {
            let keys = &mut lane.keys[usize::from(resource)];
            if let Some(last) = keys.last_mut().filter(|key| key.span.to > now) {
                if owner == Some(last.owner) {
                    last.span.to = until.max(now);
                    return;
                }
                last.span.to = now;
                last.end = KeyEnd::Removed;
            }
            if let Some(owner) = owner {
                let to = if until == 0 { TrueTime::MAX } else { until.max(now) };
                keys.push(Key {
                    span: Span { from: now, to, origin },
                    owner,
                    end: KeyEnd::Expired,
                });
            }
        } else if let What::Fence { resource, fence } = *what {
            let Some(fences) = lane.fences.get_mut(usize::from(resource)) else { return };
            let before = fences.last().map_or(0, |change| change.fence);
            if fence != before {
                fences.push(FenceChange { at: now, fence, fell: fence < before, origin });
            }
        } else if let What::Quarantined { until } = *what {
            if let Some(last) = lane.quarantines.last_mut().filter(|last| last.to >= now) {
                last.to = until;
                return;
            }
            // It has not voted since it was started again; only now it was asked.
            let up = lane.common.downs.iter().rev().map(|down| down.to).find(|to| *to <= now);
            let keys = lane.keys.iter().filter_map(|keys| keys.last());
            let last = keys.map(|key| key.span.to.min(now)).max().unwrap_or(0);
            let from = up.filter(|up| *up >= last).unwrap_or(now);
            lane.quarantines.push(Span { from, to: until, origin });
        }
    }

    fn at_resource(&mut self, origin: usize, resource: usize, what: &What) {
        let (client, fence, accepted, kind) =
            if let What::Read { client, fence, accepted, .. } = *what {
                (client, fence, accepted, AccessKind::Read)
            } else if let What::Written { client, fence, accepted, lost_update, .. } = *what {
                let kind = if lost_update { AccessKind::LostUpdate } else { AccessKind::Write };
                (client, fence, accepted, kind)
            } else {
                return;
            };
        let access = Access { at: self.now, origin, client, fence, kind, accepted };
        self.scene.accesses[resource].push(access);
    }

    fn sent(
        &mut self,
        origin: usize,
        process: Process,
        number: u32,
        (node, asked, token, copy): (u8, Asked, TokenName, u8),
    ) {
        let Process::Client(client) = process else { return };
        if asked == Asked::Release {
            self.given_up[usize::from(client)] = Some(token);
        }
        self.scene.numbers.insert(number, self.scene.messages.len());
        self.scene.messages.push(Message {
            client,
            node,
            asked,
            token,
            copy,
            sent: self.now,
            origin,
            executed: None,
            answered: None,
            lost: None,
            late: Late::Nothing,
        });
    }

    fn executed(&mut self, origin: usize, message: u32, answered: Answered) {
        let now = self.now;
        let Some(&index) = self.scene.numbers.get(&message) else { return };
        let message = &mut self.scene.messages[index];
        message.executed = Some((now, answered, origin));
        if is_over(message, self.given_up[usize::from(message.client)]) {
            message.late = Late::Both;
        }
    }

    fn answered(&mut self, origin: usize, message: u32) {
        let now = self.now;
        let Some(&index) = self.scene.numbers.get(&message) else { return };
        let message = &mut self.scene.messages[index];
        message.answered = Some((now, origin));
        let given_up = self.given_up[usize::from(message.client)];
        if message.late == Late::Nothing && is_over(message, given_up) {
            message.late = Late::Answer;
        }
    }

    fn crashed(&mut self, origin: usize, process: Process) {
        if let Process::Client(client) = process {
            self.end_ask(client.into(), AskEnd::CalledOff);
            self.end_belief(client.into(), BeliefEnd::Crashed);
        }
        let span = Span { from: self.now, to: TrueTime::MAX, origin };
        if let Some(common) = self.common(process) {
            common.downs.push(span);
        }
    }

    fn clock_changed(&mut self, origin: usize, process: Process, ahead: i64, ppm: i32) {
        let now = self.now;
        let jump = match process {
            Process::Client(client) => {
                let client = usize::from(client);
                let beliefs = self.scene.clients[client].beliefs.iter_mut().rev();
                let beliefs = beliefs.take_while(|belief| belief.end == BeliefEnd::Open);
                let ends = beliefs.map(|belief| &mut belief.until);
                self.client_lines[client].change(now, ahead, ppm, ends)
            }
            Process::Node(node) => {
                let node = usize::from(node);
                let lane = &mut self.scene.nodes[node];
                let keys = lane.keys.iter_mut().filter_map(|keys| keys.last_mut());
                let keys = keys.map(|key| &mut key.span.to);
                let quarantine = lane.quarantines.last_mut().map(|span| &mut span.to);
                self.node_lines[node].change(now, ahead, ppm, keys.chain(quarantine))
            }
            Process::Resource(_) | Process::Harness => return,
        };
        if let Some(common) = self.common(process) {
            common.clock.push(Reading { at: now, ahead, ppm, jump, origin });
        }
    }

    fn fault_began(&mut self, origin: usize, number: u16, process: Process) {
        let known = self.case.shape.faults.get(usize::from(number));
        let text = known.map_or_else(|| format!("{process}: {number}"), |fault| fault.text.clone());
        let is_moment = known.is_some_and(|fault| fault.effect == Effect::Moment);
        let to = if is_moment { self.now } else { TrueTime::MAX };
        let span = Span { from: self.now, to, origin };
        if let Some(fault) = known.filter(|fault| fault.effect == Effect::Stops) {
            for process in &fault.who {
                if let Some(common) = self.common(*process) {
                    common.stops.push(span);
                }
            }
        }
        self.faults.insert(number, self.scene.faults.len());
        self.scene.faults.push(FaultSpan { span, text });
    }

    fn fault_ended(&mut self, number: u16) {
        let Some(index) = self.faults.remove(&number) else { return };
        let began = self.scene.faults[index].span.origin;
        self.scene.faults[index].span.to = self.now;
        let clients = self.scene.clients.iter_mut().map(|lane| &mut lane.common);
        let nodes = self.scene.nodes.iter_mut().map(|lane| &mut lane.common);
        for stop in clients.chain(nodes).flat_map(|common| &mut common.stops) {
            if stop.origin == began {
                stop.to = self.now;
            }
        }
    }

    fn common(&mut self, process: Process) -> Option<&mut Common> {
        match process {
            Process::Client(client) => {
                self.scene.clients.get_mut(usize::from(client)).map(|lane| &mut lane.common)
            }
            Process::Node(node) => {
                self.scene.nodes.get_mut(usize::from(node)).map(|lane| &mut lane.common)
            }
            Process::Resource(_) | Process::Harness => None,
        }
    }

    fn message(&mut self, number: u32) -> Option<&mut Message> {
        let index = *self.scene.numbers.get(&number)?;
        self.scene.messages.get_mut(index)
    }

    /// The belief that has not ended, as far as events tell.
    fn belief(&mut self, client: usize) -> Option<&mut Belief> {
        self.scene.clients[client].beliefs.last_mut().filter(|belief| belief.end == BeliefEnd::Open)
    }

    fn end_belief(&mut self, client: usize, end: BeliefEnd) {
        let now = self.now;
        let Some(belief) = self.belief(client) else { return };
        let lapsed = belief.until <= now && end != BeliefEnd::Lost;
        belief.span.to = belief.until.min(now).max(belief.span.from);
        belief.end = if lapsed { BeliefEnd::Lapsed } else { end };
    }

    fn end_ask(&mut self, client: usize, end: AskEnd) {
        let now = self.now;
        let open = self.scene.clients[client].asks.last_mut();
        if let Some(ask) = open.filter(|ask| ask.end == AskEnd::Open) {
            ask.span.to = now;
            ask.end = end;
        }
    }

    fn note(&mut self, client: usize, origin: usize, kind: NoteKind) {
        self.scene.clients[client].notes.push(Note { at: self.now, origin, kind });
    }

    fn finish(mut self) -> Scene {
        let end = self.now.max(self.case.violation.as_ref().map_or(0, |violation| violation.time));
        let scene = &mut self.scene;
        scene.end = end;
        let clients = scene.clients.iter_mut().map(|lane| &mut lane.common);
        for common in clients.chain(scene.nodes.iter_mut().map(|lane| &mut lane.common)) {
            close(&mut common.downs, end);
            close(&mut common.stops, end);
        }
        for fault in scene.faults.iter_mut().filter(|fault| fault.span.to == TrueTime::MAX) {
            // It began and never ended: one moment, or until the end.
            fault.span.to = end;
        }
        for node in &mut scene.nodes {
            for key in node.keys.iter_mut().flatten() {
                if key.span.to > end && key.end == KeyEnd::Expired {
                    key.end = KeyEnd::Open;
                }
            }
        }
        for lane in &mut scene.clients {
            for ask in lane.asks.iter_mut().filter(|ask| ask.end == AskEnd::Open) {
                ask.span.to = end;
            }
            for belief in lane.beliefs.iter_mut().filter(|belief| belief.end == BeliefEnd::Open) {
                belief.span.to = belief.until.max(belief.span.from);
                if belief.until <= end {
                    belief.end = BeliefEnd::Lapsed;
                }
            }
        }
        let shape = &self.case.shape;
        let keepers = Keepers::of(&scene.nodes, shape.majority.max(1), shape.guarded);
        for lane in &mut scene.clients {
            lane.promises = lane.beliefs.iter().flat_map(|belief| keepers.back(belief)).collect();
        }
        self.scene
    }
}

/// Whether the attempt for which `message` was sent is over.
fn is_over(message: &Message, given_up: Option<TokenName>) -> bool {
    let Some(given_up) = given_up else { return false };
    let token = message.token;
    match message.asked {
        Asked::Release => false,
        Asked::Acquire | Asked::Seal | Asked::Extend => {
            (token.acquire, token.attempt) <= (given_up.acquire, given_up.attempt)
        }
    }
}

fn close(spans: &mut [Span], now: TrueTime) {
    for span in spans.iter_mut().filter(|span| span.to == TrueTime::MAX) {
        span.to = now;
    }
}
