//! Messages: how they leave, what becomes of them, and what happens where they arrive.

use redlatch_core::{Reply, Token};

use crate::check::{Mark, Nodes};
use crate::history::{Answered, Asked, Process, TokenName, What};
use crate::node::{Called, Nonce, is_reservation, reservation};
use crate::sim::clock::TrueTime;
use crate::sim::dice::{fate, mix, part};
use crate::sim::heal::Stage;
use crate::sim::node::{Script, View};
use crate::sim::queue::Due;
use crate::sim::system::{Input, Node, Request, System};
use crate::sim::world::{Rules, World, kind, topic};

/// What faults do to the messages between one client and one node, and how far these are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    /// Requests are cut off until then.
    pub(crate) requests_cut: TrueTime,
    /// Replies are cut off until then.
    pub(crate) replies_cut: TrueTime,
    pub(crate) slow: u64,
    pub(crate) reorder: u64,
    pub(crate) loss_permille: u64,
    pub(crate) duplicate_permille: u64,
    last_request: TrueTime,
    last_reply: TrueTime,
    /// The last token whose release the node carried out.
    released: Option<Token>,
}

impl Link {
    /// Without faults; where messages are stays known.
    pub(crate) const fn heal(&mut self) {
        self.requests_cut = 0;
        self.replies_cut = 0;
        self.slow = 0;
        self.reorder = 0;
        self.loss_permille = 0;
        self.duplicate_permille = 0;
    }
}

/// A request, or the reply to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<R> {
    request: R,
    /// `None` on the way to the node.
    reply: Option<Reply>,
    number: u32,
    /// Identifies it among the client's messages, whatever else happens: see [`fate`].
    identity: (u64, u64),
    client: u8,
    node: u8,
    copy: u8,
    asked: Asked,
    /// The run of the client's process that sent it.
    run: u16,
    /// What the client's clock read then.
    sent: u64,
    /// On the way to the node, after everything healed: its reply is lost, and a copy follows, as
    /// from a proxy that tries again.
    reply_lost: bool,
}

/// A call on its way from a node to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    node: u8,
    client: u8,
    /// The run of the client's process that listens.
    run: u16,
    nonce: Nonce,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    Request,
    Reply,
}

impl<S: System> World<S> {
    /// Lets a request leave.
    pub(super) fn send(&mut self, rules: &Rules, client: usize, node: usize, request: S::Request) {
        let asked = request.asked();
        let token = TokenName::of(&request.token());
        let sender = &mut self.clients[client];
        let ordinal = &mut sender.ordinals[node][kind(asked)];
        let what = client as u64 | (node as u64) << 8 | (asked as u64) << 16;
        let identity = (
            what | u64::from(*ordinal) << 32,
            u64::from(token.acquire) << 32 | u64::from(token.attempt),
        );
        *ordinal = ordinal.wrapping_add(1);
        let (run, sent) = (sender.run, sender.seen);
        let luck = fate(rules.seed, identity.0, identity.1);
        let duplicate = self.links[client][node].duplicate_permille;
        let twice = self.stage.is_retried_by_proxy()
            || self.stage == Stage::Chaos
                && part(luck, 3, 1_000) < duplicate.max(rules.duplicate_permille);
        for copy in 0..=u8::from(twice) {
            let number = self.next_message;
            self.next_message += 1;
            let process = Process::Client(client as u8);
            let node_number = node as u8;
            self.history.note(
                self.now,
                process,
                What::Sent { message: number, node: node_number, asked, token, copy },
            );
            let message = Message {
                request,
                reply: None,
                number,
                identity,
                client: client as u8,
                node: node_number,
                copy,
                asked,
                run,
                sent,
                reply_lost: copy == 0 && twice && self.stage.is_retried_by_proxy(),
            };
            self.in_flight[kind(asked)] += 1;
            let slot = self.messages.insert(message);
            self.carry(rules, slot, Leg::Request);
        }
    }

    /// Decides what becomes of a message on one leg of its way.
    fn carry(&mut self, rules: &Rules, slot: u32, leg: Leg) {
        let message = self.messages.at(slot);
        let (client, node) = (usize::from(message.client), usize::from(message.node));
        let (what, which) = message.identity;
        let what = what | u64::from(message.copy) << 24 | (leg as u64) << 28;
        let (number, reply_lost) = (message.number, message.reply_lost);
        let luck = fate(rules.seed, what, which);
        let at = if self.stage == Stage::Chaos {
            self.transit(rules, client, node, leg, luck)
        } else if self.stage == Stage::Lockstep {
            Some(self.now + self.lockstep_latency(rules, client, node))
        } else if leg == Leg::Reply && reply_lost {
            None
        } else {
            Some(self.now + self.in_order(client, node, leg, calm_latency(rules, luck)))
        };
        match at {
            Some(at) => self.queue.push(at, Due::Message(slot)),
            None => {
                let answer = leg == Leg::Reply;
                let process = match leg {
                    Leg::Request => Process::Client(client as u8),
                    Leg::Reply => Process::Node(node as u8),
                };
                self.history.note(self.now, process, What::Dropped { message: number, answer });
                self.forget(slot);
            }
        }
    }

    /// When a message arrives, if it does, while anything may fail.
    fn transit(
        &mut self,
        rules: &Rules,
        client: usize,
        node: usize,
        leg: Leg,
        luck: u64,
    ) -> Option<TrueTime> {
        let link = &self.links[client][node];
        let cut_until = match leg {
            Leg::Request => link.requests_cut,
            Leg::Reply => link.replies_cut,
        };
        let delay = self.delay(rules, link, cut_until, luck)?;
        if link.reorder > 0 || !rules.ordered {
            return Some(self.now + delay + part(mix(luck), 1, link.reorder));
        }
        Some(self.now + self.in_order(client, node, leg, delay))
    }

    /// How long what is sent over a link that is cut until then is under way, if it arrives, while anything may
    /// fail and before it is put in order.
    fn delay(&self, rules: &Rules, link: &Link, cut_until: TrueTime, luck: u64) -> Option<u64> {
        let more = mix(luck);
        if part(luck, 2, 1_000) < rules.loss_permille.max(link.loss_permille) {
            return None;
        }
        let mut delay = rules.latency / 2 + part(luck, 0, rules.latency) + link.slow;
        if part(luck, 1, 1_000) < rules.tail_permille {
            delay += part(more, 0, rules.tail);
        }
        if cut_until > self.now {
            if more >> 63 == 0 {
                return None;
            }
            delay += cut_until - self.now;
        }
        Some(delay)
    }

    /// At least `delay`, and after all that left before on this way.
    fn in_order(&mut self, client: usize, node: usize, leg: Leg, delay: u64) -> u64 {
        let link = &mut self.links[client][node];
        let last = match leg {
            Leg::Request => &mut link.last_request,
            Leg::Reply => &mut link.last_reply,
        };
        *last = (self.now + delay).max(*last + 1);
        *last - self.now
    }

    /// The slot is free, and one request less is under way.
    fn forget(&mut self, slot: u32) {
        self.in_flight[kind(self.messages.at(slot).asked)] -= 1;
        self.messages.remove(slot);
    }

    /// A message arrives.
    pub(super) fn arrive(&mut self, rules: &Rules, slot: u32) {
        if self.messages.at(slot).reply.is_some() {
            self.reply_arrives(rules, slot);
        } else {
            self.request_arrives(rules, slot);
        }
    }

    fn request_arrives(&mut self, rules: &Rules, slot: u32) {
        let message = *self.messages.at(slot);
        let (client, node) = (usize::from(message.client), usize::from(message.node));
        let target = &self.nodes[node];
        if target.paused_until > self.now {
            self.queue.push(target.paused_until, Due::Message(slot));
            return;
        }
        self.events += 1;
        let (what, which) = message.identity;
        let luck = fate(rules.seed, topic::SCRIPT | what, which);
        if target.hung || target.down > 0 && luck & 1 == 0 {
            let dropped = What::Dropped { message: message.number, answer: false };
            self.history.note(self.now, Process::Node(message.node), dropped);
            self.forget(slot);
            return;
        }
        let reply = if target.down > 0 {
            // Nobody listens: the connection is refused.
            Reply::Unknown
        } else {
            self.execute(rules, client, node, &message, luck)
        };
        let executed = What::Executed {
            message: message.number,
            asked: message.asked,
            answered: answered(&reply),
            fence: fence_in(&reply),
        };
        self.history.note(self.now, Process::Node(message.node), executed);
        self.messages.at_mut(slot).reply = Some(reply);
        self.carry(rules, slot, Leg::Reply);
    }

    fn execute(
        &mut self,
        rules: &Rules,
        client: usize,
        node: usize,
        message: &Message<S::Request>,
        luck: u64,
    ) -> Reply {
        let resource = self.checker.resource_of(client);
        let token = message.request.token();
        self.note_order(client, node, message.asked, token);
        let now = self.now;
        let target = &mut self.nodes[node];
        let script = match part(luck, 1, 1_000) < u64::from(target.half_permille) {
            false => Script::Runs,
            true if part(luck, 2, 2) == 0 => Script::StopsBefore,
            true => Script::StopsWithin,
        };
        target.sync(now, rules.sync);
        let wall = target.wall(now);
        let (before, pause) = (target.data.cells[resource], target.data.quarantine);
        let owner = before.owner(wall);
        let guard = rules.guard_ms.map(S::quarantine_ms);
        let mut heir = None;
        // Now and then a client has lost its subscription, and does not know it yet.
        let is_lost = rules.queues && part(luck, 3, 16) == 0;
        let clients = &self.clients;
        let mut call = |nonce: &Nonce| {
            let name = TokenName::of(&reservation(nonce));
            let listener = clients.get(usize::from(name.client)).filter(|client| {
                client.down == 0 && name.acquire > client.acquires_buried && !is_lost
            });
            if listener.is_none() {
                return Called::Gone;
            }
            heir = Some((name.client, *nonce));
            Called::Heard
        };
        let reply = target.execute(now, resource, &message.request, guard, script, &mut call);
        if let Some((client, nonce)) = heir {
            self.ring(rules, node, client, nonce);
        }
        let target = &mut self.nodes[node];
        let after = target.data.cells[resource];
        let is_paused = target.data.quarantine != pause;
        let quarantined = matches!(reply, Reply::Quarantined { .. });
        if script != Script::Runs {
            self.checker.mark(Mark::HalfScript);
        }
        if quarantined {
            self.checker.mark(Mark::Quarantined);
            let until = self.nodes[node].quarantined_until();
            self.history.note(now, Process::Node(node as u8), What::Quarantined { until });
        }
        let applied = matches!(reply, Reply::Applied { .. });
        if message.asked == Asked::Acquire && applied && owner == Some(token) {
            self.checker.mark(Mark::OwnToken);
        }
        if rules.queues {
            let reserved = &mut self.reserved[node][resource];
            if reserved.is_some() && owner.is_none() {
                self.checker.mark(Mark::ReservationLapsed);
            }
            *reserved = after.owner(wall).filter(is_reservation);
        }
        if before != after {
            self.node_changed(node, resource, wall, &before, &after);
        }
        if is_paused {
            // Until now nobody knew when the node would vote again.
            (0..rules.resources).for_each(|resource| self.rejudge_all(resource));
        }
        reply
    }

    /// Tells history and checker what a request has done to a node.
    fn node_changed(
        &mut self,
        node: usize,
        resource: usize,
        wall: u64,
        before: &S::Node,
        after: &S::Node,
    ) {
        self.note_cell(node, resource);
        if after.fence() < before.fence() {
            let view = View { nodes: &self.nodes, guarded: self.is_guarded() };
            self.checker.check_fence_fall(&view, resource, self.now);
        }
        // A belief can only suffer where a key is taken away or will go earlier than before. A node that
        // was kept from voting is judged again when it votes.
        if before.owner(wall).is_some() {
            self.rejudge_all(resource);
        }
    }

    /// Notes the key and the number that a node has now.
    pub(super) fn note_cell(&mut self, node: usize, resource: usize) {
        let target = &self.nodes[node];
        let cell = &target.data.cells[resource];
        let owner = cell.owner(target.wall(self.now)).map(|token| TokenName::of(&token));
        let mut until = 0;
        if self.history.is_recording() && owner.is_some() {
            until = self.key_death(node, resource);
        }
        let process = Process::Node(node as u8);
        let resource_number = resource as u8;
        let fence = cell.fence();
        self.history.note(self.now, process, What::Key { resource: resource_number, owner, until });
        self.history.note(self.now, process, What::Fence { resource: resource_number, fence });
    }

    /// When the key will be gone, if nothing but time passes: looked for, as the node does not tell.
    fn key_death(&self, node: usize, resource: usize) -> TrueTime {
        let view = View { nodes: &self.nodes, guarded: false };
        let owner = view.owner(node, resource, self.now);
        let day = 86_400_000_000_000;
        let (mut alive, mut gone) = (self.now, self.now + day);
        while gone - alive > 1 {
            let middle = alive + (gone - alive) / 2;
            if view.owner(node, resource, middle) == owner {
                alive = middle;
            } else {
                gone = middle;
            }
        }
        gone
    }

    /// A release that comes before the acquire that it is to undo.
    fn note_order(&mut self, client: usize, node: usize, asked: Asked, token: Token) {
        let link = &mut self.links[client][node];
        match asked {
            Asked::Release => link.released = Some(token),
            Asked::Acquire if link.released == Some(token) => {
                self.checker.mark(Mark::ReleaseOvertook);
            }
            Asked::Acquire | Asked::Seal | Asked::Extend => {}
        }
    }

    /// A node calls a waiter.
    fn ring(&mut self, rules: &Rules, node: usize, client: u8, nonce: Nonce) {
        let listener = &mut self.clients[usize::from(client)];
        let ordinal = &mut listener.calls[node];
        *ordinal += 1;
        let (what, which) = (u64::from(client) | (node as u64) << 8, u64::from(*ordinal));
        let run = listener.run;
        let token = TokenName::of(&reservation(&nonce));
        self.history.note(self.now, Process::Node(node as u8), What::Calls { token });
        let luck = fate(rules.seed, topic::CALL | what, which);
        let link = &self.links[usize::from(client)][node];
        let duplicate = link.duplicate_permille.max(rules.duplicate_permille);
        let twice = self.stage == Stage::Chaos && part(luck, 3, 1_000) < duplicate;
        for copy in 0..=u8::from(twice) {
            let luck =
                fate(rules.seed, topic::CALL | what | u64::from(copy) << 24 | 1 << 28, which);
            let at = if self.stage == Stage::Chaos {
                self.call_transit(rules, client.into(), node, luck)
            } else if self.stage == Stage::Lockstep {
                Some(self.now + self.lockstep_latency(rules, client.into(), node))
            } else {
                Some(self.now + calm_latency(rules, luck))
            };
            let Some(at) = at else { continue };
            let slot = self.calls.insert(Ring { node: node as u8, client, run, nonce });
            self.queue.push(at, Due::Call(slot));
        }
    }

    /// When a call arrives, if it does. It is not on the connection on which requests are answered, so
    /// it keeps no order with replies.
    fn call_transit(
        &self,
        rules: &Rules,
        client: usize,
        node: usize,
        luck: u64,
    ) -> Option<TrueTime> {
        let link = &self.links[client][node];
        let delay = self.delay(rules, link, link.replies_cut, luck)?;
        Some(self.now + delay + part(mix(luck), 1, link.reorder))
    }

    pub(super) fn call_arrives(&mut self, rules: &Rules, slot: u32) {
        let Ring { node, client, run, nonce } = *self.calls.at(slot);
        let listener = &self.clients[usize::from(client)];
        let gone = listener.down > 0 || listener.run != run;
        if !gone && listener.paused_until > self.now {
            self.queue.push(listener.paused_until, Due::Call(slot));
            return;
        }
        self.events += 1;
        self.calls.remove(slot);
        if !gone {
            let token = TokenName::of(&reservation(&nonce));
            self.history.note(self.now, Process::Client(client), What::Called { node, token });
            self.drive(rules, client.into(), Input::Call { node: node.into(), nonce });
        }
    }

    fn reply_arrives(&mut self, rules: &Rules, slot: u32) {
        let message = *self.messages.at(slot);
        let Some(reply) = message.reply else { return };
        let client = usize::from(message.client);
        let receiver = &self.clients[client];
        if receiver.down > 0 || receiver.run != message.run {
            self.events += 1;
            self.forget(slot);
            return;
        }
        if receiver.paused_until > self.now {
            self.queue.push(receiver.paused_until, Due::Message(slot));
            return;
        }
        self.events += 1;
        let what = What::Answer { message: message.number, answered: answered(&reply) };
        self.history.note(self.now, Process::Client(message.client), what);
        self.forget(slot);
        let node = usize::from(message.node);
        let request = message.request;
        self.drive(rules, client, Input::Reply { node, request, reply });
        let answered = answered(&reply);
        let token = request.token();
        self.checker.answered(client, node, message.asked, &token, answered, message.sent);
    }
}

/// One way in good weather, short enough for a node timeout to be no excuse.
fn calm_latency(rules: &Rules, luck: u64) -> u64 {
    let latency = rules.latency.min(rules.node_timeout / 16);
    latency / 2 + part(luck, 0, latency)
}

fn answered(reply: &Reply) -> Answered {
    match reply {
        Reply::Applied { .. } => Answered::Applied,
        Reply::Refused { .. } => Answered::Refused,
        Reply::Unknown => Answered::Unknown,
        Reply::Quarantined { .. } => Answered::Quarantined,
    }
}

fn fence_in(reply: &Reply) -> u64 {
    match reply {
        Reply::Applied { fence: Some(fence) } | Reply::Refused { fence: Some(fence), .. } => {
            fence.get()
        }
        Reply::Applied { fence: None }
        | Reply::Refused { fence: None, .. }
        | Reply::Unknown
        | Reply::Quarantined { .. } => 0,
    }
}
