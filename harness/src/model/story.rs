//! A violation, told step by step: found by its fingerprints, and gone through once more.

use std::fmt;

use redlatch_core::{Op, Reply, Token};

use super::bounds::{Keep, TICK_NANOS, Time};
use super::chronicle::Chronicle;
use super::explore::Breach;
use super::local::{Act, Message, Told, client_of};
use super::space::{Client, How, Memo, Move, Space, State, Step};
use crate::check::Invariant;
use crate::history::{History, TokenName};
use crate::node::is_reservation;
use crate::system::{Machine, NodeCell};

/// The shortest way to break an invariant.
#[derive(Clone, Debug)]
pub struct Story {
    /// What does not hold.
    pub invariant: Invariant,
    /// What is wrong at the end, in a sentence.
    pub end: String,
    /// What happened, one sentence each.
    pub steps: Vec<String>,
    /// The same as events; step k is at k times [`STEP`](super::STEP).
    pub history: History,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:3}. {step}")?;
        }
        write!(f, "     {}: {}", self.invariant, self.end)
    }
}

/// Goes along `path` and then takes the step of `breach`.
pub(crate) fn tell<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    path: &[u64],
    breach: &Breach,
) -> Story {
    let mut state = space.initial();
    let mut memo = Memo::default();
    let mut steps = Vec::new();
    let mut chronicle = Chronicle::new();
    let mut ticks = 0;
    for &to in path.iter().skip(1) {
        let taken = first(space, &state, &mut memo, |next, broken| {
            broken.is_none() && space.fingerprint(next) == to
        });
        let Some((step, next)) = taken else { break };
        chronicle.note_step(space, &state, &next, step);
        steps.push(words(space, &state, &next, step, &mut ticks));
        state = next;
    }
    let last = first(space, &state, &mut memo, |next, broken| {
        let broken = broken.or_else(|| space.broken(next));
        broken == Some(breach.invariant) && space.fingerprint(next) == breach.to
    });
    let mut granted_last = None;
    if let Some((step, next)) = last {
        chronicle.note_step(space, &state, &next, step);
        steps.push(words(space, &state, &next, step, &mut ticks));
        granted_last = granted(space, &state, step);
        state = next;
    }
    let invariant = breach.invariant;
    let end = end(space, &state, invariant, granted_last);
    Story { invariant, end, steps, history: chronicle.finish(invariant) }
}

/// The first step after which `wanted` says yes.
fn first<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    state: &State,
    memo: &mut Memo,
    wanted: impl Fn(&State, Option<Invariant>) -> bool,
) -> Option<(Move, State)> {
    let mut found = None;
    space.successors(state, memo, |step, next, broken| {
        if found.is_none() && wanted(&next, broken) {
            found = Some((step, next));
        }
    });
    found
}

fn granted<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    state: &State,
    step: Move,
) -> Option<(u8, Token, u64)> {
    let Move::Client { client, step } = step else { return None };
    let entry = space.client(state.clients[usize::from(client)]);
    let lease = space.steps(entry).get(usize::from(step))?.told.granted?;
    Some((client, lease.token, lease.fence.map_or(0, |fence| fence.get())))
}

fn words<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    before: &State,
    after: &State,
    step: Move,
    ticks: &mut u32,
) -> String {
    match step {
        Move::Client { client, step } => {
            let entry = space.client(before.clients[usize::from(client)]);
            match space.steps(entry).get(usize::from(step)) {
                Some(step) => client_words(space, client, entry, step),
                None => format!("c{client} does something"),
            }
        }
        Move::Carry { client, place, how, heir } => {
            let entry = space.client(before.clients[usize::from(client)]);
            let Some(message) = entry.local.messages.get(usize::from(place)) else {
                return format!("a message of c{client} arrives");
            };
            carry_words(space, before, client, message, (how, heir))
        }
        Move::Expire { node } => match space.site(before.sites[usize::from(node)]).owner {
            Some(owner) => format!("n{node}: the key of {} expires", name(&owner)),
            None => format!("n{node}: a key expires"),
        },
        Move::Crash { node } => {
            let kept = match space.bounds.keep {
                Keep::All => "with everything it had",
                Keep::Fences => "without its key",
                Keep::Nothing => "without its key and its number",
            };
            let votes = match space.site(after.sites[usize::from(node)]).site.is_quarantined() {
                true => format!("does not vote for {} ms", space.bounds.quarantine_ticks),
                false => "votes at once".to_owned(),
            };
            format!("n{node} crashes and is back {kept}; it {votes}")
        }
        Move::Tick => {
            *ticks += 1;
            let mut words = vec![format!("a millisecond passes: {ticks} ms")];
            for client in 0..space.bounds.clients {
                let (before, after) = (before.clients[client], after.clients[client]);
                let (before, after) = (space.client(before), space.client(after));
                let told = before.tick.get().map_or(Told::default(), |(_, told)| *told);
                let mut news = news(&told, before, after);
                if before.belief.is_some() && after.belief.is_none() && !told.lost {
                    news.insert(0, "believes no longer".to_owned());
                }
                words.extend(news.iter().map(|news| format!("c{client} {news}")));
            }
            words.join("; ")
        }
    }
}

fn client_words<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    client: u8,
    entry: &Client<M>,
    step: &Step,
) -> String {
    let messages = &entry.local.messages;
    let act = match step.act {
        Act::Acquire => format!("c{client} asks for the lock"),
        Act::Extend => format!("c{client} asks for more time"),
        Act::Release => match entry.local.belief() {
            Some(_) => format!("c{client} releases the lock"),
            None => format!("c{client} gives up"),
        },
        Act::Timer => format!("a timer of c{client} fires"),
        Act::Called { node } => format!("c{client} is called by n{node}"),
        Act::Hear { others, last } => {
            let heard = (0..32).filter(|place| others >> place & 1 == 1).chain([last]);
            let heard = heard.filter_map(|place| messages.get(usize::from(place)));
            let heard: Vec<String> = heard.map(reply_words).collect();
            format!("c{client} hears {}", heard.join(", "))
        }
    };
    let mut words = vec![act];
    words.extend(news(&step.told, entry, space.client(step.next)));
    words.join("; ")
}

/// What a client was told, and what it sends.
fn news<M: Machine>(told: &Told, before: &Client<M>, after: &Client<M>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(lease) = told.granted {
        let fence = lease.fence.map_or_else(String::new, |fence| format!(" with fence {fence}"));
        words.push(format!("is granted the lock{fence}, for {}", left(&lease, after)));
    }
    let mentions = [
        (told.retrying, "will try again"),
        (told.lost, "has lost the lock"),
        (told.extended, "may keep it for longer"),
    ];
    words.extend(mentions.iter().filter(|mention| mention.0).map(|mention| mention.1.to_owned()));
    let mut old: Vec<_> = before.local.requests().map(|(_, message)| message).collect();
    let mut sent = Vec::new();
    for (_, message) in after.local.requests() {
        // Nobody may wait for the reply any more, but it is the same request.
        let same = |old: &&Message| old.node == message.node && old.op == message.op;
        match old.iter().position(same) {
            Some(place) => {
                old.swap_remove(place);
            }
            None => sent.push(request_words(message)),
        }
    }
    if !sent.is_empty() {
        words.push(format!("sends {}", sent.join(", ")));
    }
    words
}

fn left<M: Machine>(lease: &redlatch_core::Lease, entry: &Client<M>) -> String {
    let (until, now) = (lease.valid_until.as_nanos(), entry.local.now);
    if until < now {
        return "no time at all: it is over".to_owned();
    }
    let (ticks, rest) = ((until - now) / TICK_NANOS, (until - now) % TICK_NANOS);
    if rest == 0 { format!("{ticks} ms") } else { format!("{ticks} ms and {rest} ns") }
}

fn request_words(message: &Message) -> String {
    let node = message.node;
    match message.op {
        Op::Acquire { token, .. } => format!("acquire#{} to n{node}", token.attempt()),
        Op::Seal { fence, .. } => format!("seal {fence} to n{node}"),
        Op::Extend { .. } => format!("extend to n{node}"),
        Op::Release { token, .. } => format!("release#{} to n{node}", token.attempt()),
    }
}

fn reply_words(message: &Message) -> String {
    let node = message.node;
    let to = match message.op {
        Op::Acquire { token, .. } => format!("acquire#{}", token.attempt()),
        Op::Seal { fence, .. } => format!("seal {fence}"),
        Op::Extend { .. } => "extend".to_owned(),
        Op::Release { token, .. } => format!("release#{}", token.attempt()),
    };
    match &message.reply {
        Some(reply) => format!("{} of n{node} to {to}", answer(reply)),
        None => format!("nothing of n{node} to {to}"),
    }
}

fn answer(reply: &Reply) -> String {
    match reply {
        Reply::Applied { fence: Some(fence) } => format!("yes ({fence})"),
        Reply::Applied { fence: None } => "yes".to_owned(),
        Reply::Refused { fence: Some(fence), .. } => format!("no ({fence})"),
        Reply::Refused { fence: None, .. } => "no".to_owned(),
        Reply::Unknown => "unknown".to_owned(),
        Reply::Quarantined { .. } => "quarantined".to_owned(),
    }
}

fn carry_words<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    before: &State,
    client: u8,
    message: &Message,
    (how, heir): (How, u8),
) -> String {
    let node = message.node;
    let what = match message.op {
        Op::Acquire { token, .. } => format!("acquire of {}", name(&token)),
        Op::Seal { token, fence } => format!("seal {fence} of {}", name(&token)),
        Op::Extend { token, .. } => format!("extend of {}", name(&token)),
        Op::Release { token, .. } => format!("release of {}", name(&token)),
    };
    if how == How::NotYet {
        return format!("c{client} hears that nothing is known of its {what} to n{node}");
    }
    let place = space.site(before.sites[usize::from(node)]);
    let Some((site, reply)) = place.site.apply(&message.op, heir) else {
        return format!("n{node} carries out {what}");
    };
    let key = match (place.owner, site.owner()) {
        (before, after) if before == after => String::new(),
        (_, Some(owner)) if is_reservation(&owner) => {
            format!("; its key is kept for c{}, who is called", client_of(&owner))
        }
        (_, Some(owner)) => format!("; its key is {}'s", name(&owner)),
        (_, None) => "; its key is gone".to_owned(),
    };
    let fence = match site.fence() == place.site.fence() {
        true => String::new(),
        false => format!("; its number is {}", site.fence()),
    };
    let twice = match how {
        How::Once | How::NotYet => "",
        How::RequestTwice => " (and will arrive again)",
        How::ReplyTwice => " (the reply will arrive twice)",
    };
    format!("n{node} carries out {what}{twice}: {}{key}{fence}", answer(&reply))
}

fn name(token: &Token) -> String {
    match client_of(token) {
        u8::MAX => "somebody else".to_owned(),
        _ => TokenName::of(token).to_string(),
    }
}

fn end<M: Machine, C: NodeCell>(
    space: &Space<M, C>,
    state: &State,
    broken: Invariant,
    granted: Option<(u8, Token, u64)>,
) -> String {
    let entries = || (0..space.bounds.clients).map(|c| (c, space.client(state.clients[c])));
    let believers: Vec<(String, Token, u32)> = entries()
        .filter_map(|(c, entry)| entry.belief.map(|b| (format!("c{c}"), b.token, b.fence)))
        .collect();
    let names =
        believers.iter().map(|(client, ..)| client.as_str()).collect::<Vec<_>>().join(" and ");
    match broken {
        Invariant::Witness => {
            let unbacked = |token: &Token| space.witnesses(state, token) < space.bounds.majority();
            let granted = granted.map(|(client, token, _)| (format!("c{client}"), token));
            let mut all = believers.iter().map(|(client, token, _)| (client.clone(), *token));
            let Some((client, token)) = all.find(|(_, token)| unbacked(token)).or(granted) else {
                return "somebody believes without a majority".to_owned();
            };
            let nodes: Vec<String> = (0..space.bounds.nodes)
                .filter(|&node| {
                    let place = space.site(state.sites[node]);
                    place.owner == Some(token) || place.site.is_quarantined()
                })
                .map(|node| format!("n{node}"))
                .collect();
            let nodes = if nodes.is_empty() { "no node".to_owned() } else { nodes.join(", ") };
            let (majority, count) = (space.bounds.majority(), space.bounds.nodes);
            let keeps = if nodes.contains(',') { "keep" } else { "keeps" };
            format!(
                "{client} believes that it holds the lock, but only {nodes} {keeps} its key or gives \
                 the lock to nobody; {majority} of {count} must"
            )
        }
        Invariant::Mutex => format!("{names} believe at once that they hold the lock"),
        Invariant::FenceUnique => match granted {
            Some((client, _, fence)) => format!("c{client} is granted fence {fence} once more"),
            None => "a fence is granted twice".to_owned(),
        },
        Invariant::FenceOrder => match granted {
            Some((client, _, fence)) => format!(
                "c{client} is granted fence {fence}, no larger than {}, which was granted before it \
                 asked",
                state.granted[0]
            ),
            None => "fences fall".to_owned(),
        },
        Invariant::HoldOrder => {
            format!(
                "{names} believe with fence {}, but fence {} has been granted",
                believers.iter().map(|b| b.2).min().unwrap_or(0),
                state.granted[0]
            )
        }
        Invariant::NoGhost => match space.ghost(state) {
            Some(node) => format!("all is quiet, but {node:?} still holds a key that nobody uses"),
            None => "a key is left behind".to_owned(),
        },
        Invariant::Progress => "a client without rivals is refused".to_owned(),
        // Bounds that ask for these make no model.
        Invariant::FenceWitness
        | Invariant::Resource
        | Invariant::LeaseSound
        | Invariant::NoFalseLoss
        | Invariant::Api => format!("{broken} does not hold"),
        Invariant::Termination => {
            let untimed =
                if space.bounds.time == Time::Untimed { ", whatever time it is" } else { "" };
            format!("something is under way that no timer will ever end{untimed}")
        }
    }
}
