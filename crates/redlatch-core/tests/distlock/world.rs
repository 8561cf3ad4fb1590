//! Model nodes of one key each, and clients that talk to them at once.

use redlatch_core::{
    Cause, Command, Config, Event, Instant, Lock, Op, Proposal, Reply, Token, Ttl,
};

use crate::support::{NO, YES, millis, ms, yes};

/// One Redis node: a key, and what becomes of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Node {
    pub(crate) key: Option<(Token, Instant)>,
    pub(crate) fence: u64,
    pub(crate) is_down: bool,
    /// R16: no vote until then.
    pub(crate) quarantined_until: Instant,
}

impl Node {
    fn apply(&mut self, now: Instant, op: &Op) -> Reply {
        self.key = self.key.filter(|(_, expires_at)| now <= *expires_at);
        let held = self.key.map(|(token, _)| token);
        let expiry = |ttl: Ttl| now.saturating_add(ttl.as_duration());
        match *op {
            Op::Acquire { .. } if now < self.quarantined_until => Reply::Quarantined {
                remaining: self.quarantined_until.saturating_duration_since(now),
            },
            Op::Acquire { token, ttl, proposal } => match self.key {
                Some((holder, expires_at)) if holder != token => {
                    let remaining = expires_at.saturating_duration_since(now);
                    Reply::Refused { remaining: Some(remaining), fence: None }
                }
                Some(_) => yes(self.fence),
                None => {
                    let proposed = proposal.map_or(0, |proposal| proposal.fence().get());
                    self.fence = (self.fence + 1).max(proposed);
                    self.key = Some((token, expiry(ttl)));
                    yes(self.fence)
                }
            },
            Op::Seal { token, .. } | Op::Extend { token, .. } if held != Some(token) => NO,
            Op::Seal { fence, .. } => {
                self.fence = self.fence.max(fence.get());
                yes(self.fence)
            }
            Op::Extend { token, ttl, .. } => {
                self.key = Some((token, expiry(ttl)));
                YES
            }
            Op::Release { token, .. } if held == Some(token) => {
                self.key = None;
                YES
            }
            Op::Release { .. } => NO,
        }
    }
}

/// All nodes, and the time.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
}

impl World {
    pub(crate) fn of(nodes: usize) -> Self {
        Self { now: ms(0), nodes: vec![Node::default(); nodes] }
    }

    pub(crate) fn pass(&mut self, duration_ms: u64) {
        self.now = self.now.saturating_add(millis(duration_ms));
    }

    pub(crate) fn take_down(&mut self, nodes: impl IntoIterator<Item = usize>) {
        for node in nodes {
            self.nodes[node].is_down = true;
        }
    }

    pub(crate) fn tell(&mut self, command: &Command) -> Option<Reply> {
        let node = &mut self.nodes[command.id.node().index()];
        (!node.is_down).then(|| node.apply(self.now, &command.op))
    }

    /// How many nodes have a key of this client.
    pub(crate) fn keys_of(&self, client: &Client) -> usize {
        let is_its = |node: &&Node| {
            node.key.is_some_and(|(token, expires_at)| {
                token.nonce() == client.nonce && self.now <= expires_at
            })
        };
        self.nodes.iter().filter(is_its).count()
    }

    /// A restart without persistence.
    pub(crate) fn forget(&mut self, node: usize) {
        self.nodes[node] = Node::default();
    }
}

pub(crate) struct Client {
    pub(crate) lock: Lock,
    pub(crate) nonce: [u8; 16],
    pub(crate) events: Vec<Event>,
    pub(crate) sent: Vec<Command>,
}

impl Client {
    pub(crate) fn new(config: Config, name: u8) -> Self {
        let mut nonce = [0; 16];
        nonce[0] = name;
        Self { lock: Lock::new(config), nonce, events: Vec::new(), sent: Vec::new() }
    }

    /// Hands commands out, and delivers nothing.
    pub(crate) fn begin(&mut self, world: &World) -> Vec<Command> {
        self.lock.acquire(world.now, self.nonce, None).expect("idle");
        self.drain()
    }

    pub(crate) fn begin_fenced(&mut self, world: &World, proposal: u64) -> Vec<Command> {
        let proposal = Proposal::from_unix_micros(proposal).expect("a proposal");
        self.lock.acquire(world.now, self.nonce, Some(proposal)).expect("idle");
        self.drain()
    }

    pub(crate) fn acquire(&mut self, world: &mut World) -> bool {
        let commands = self.begin(world);
        self.exchange(world, commands);
        self.lock.is_valid(world.now)
    }

    pub(crate) fn extend(&mut self, world: &mut World) {
        self.lock.extend(world.now).expect("held");
        let commands = self.drain();
        self.exchange(world, commands);
    }

    pub(crate) fn release(&mut self, world: &mut World) {
        self.lock.release(world.now).expect("held");
        let commands = self.drain();
        self.exchange(world, commands);
    }

    /// Delivers `commands` and all that follow from them, at once; nodes that are down say nothing.
    pub(crate) fn exchange(&mut self, world: &mut World, mut commands: Vec<Command>) {
        while let Some(command) = (!commands.is_empty()).then(|| commands.remove(0)) {
            if let Some(reply) = world.tell(&command) {
                self.lock.handle_reply(world.now, command.id, reply);
                commands.extend(self.drain());
            }
        }
    }

    /// Sleeps until the lock is to be woken.
    pub(crate) fn wake(&mut self, world: &mut World) {
        world.now = self.lock.poll_timeout().expect("something is due").max(world.now);
        self.lock.handle_timeout(world.now);
        let commands = self.drain();
        self.exchange(world, commands);
    }

    pub(crate) fn drain(&mut self) -> Vec<Command> {
        let commands: Vec<_> = core::iter::from_fn(|| self.lock.poll_command()).collect();
        self.sent.extend(&commands);
        self.events.extend(self.lock.poll_event());
        commands
    }

    pub(crate) fn holds(&self, world: &World) -> bool {
        self.lock.is_valid(world.now)
    }

    pub(crate) fn failed_with(&self) -> Option<Cause> {
        self.events.iter().find_map(|event| {
            let Event::Failed { cause, .. } = event else { return None };
            Some(*cause)
        })
    }
}
