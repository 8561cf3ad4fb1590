//! What happened, in order; as a [`History`] it is in the words of all other tiers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redlatch_core::Token;
use redlatch_harness::check::{Invariant, Violation};
use redlatch_harness::history::{self, History, Process, TokenName};

/// Something that happened in the demo. Times are since its beginning.
#[derive(Clone, Debug)]
pub(super) enum What {
    FaultBegan { node: usize, place: usize, text: String },
    FaultEnded { node: usize, place: usize },
    Clock { node: usize, ahead_ms: i64, rate_ppm: i32 },
    Crashed { node: usize },
    Restarted { node: usize },
    Asked { hold: Hold },
    Granted { hold: Hold, fence: u64, until: Duration },
    NotGranted { hold: Hold },
    Extended { hold: Hold, until: Duration },
    GivenUp { hold: Hold },
    Released { hold: Hold, confirmed: bool },
    Lost { hold: Hold },
    Written { hold: Hold, fence: u64, accepted: bool },
    Key { node: usize, resource: usize, token: Option<Vec<u8>>, until: Duration },
    Violation { invariant: Invariant, text: String },
    Healed,
}

/// Which acquire of whom, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hold {
    pub(super) worker: usize,
    /// The how-manyeth of this worker, from 1.
    pub(super) acquire: u32,
    pub(super) resource: usize,
}

/// An event and when it happened, since the beginning.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) what: What,
}

/// All events.
pub(super) struct Record {
    begin: Instant,
    events: Mutex<Vec<Event>>,
    is_violated: AtomicBool,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            events: Mutex::default(),
            is_violated: AtomicBool::new(false),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(super) fn note(&self, what: What) {
        if matches!(what, What::Violation { .. }) {
            self.is_violated.store(true, Ordering::Relaxed);
        }
        let mut events = self.events();
        events.push(Event { at: self.begin.elapsed(), what });
    }

    /// The events from the `from`-th on.
    pub(super) fn since(&self, from: usize) -> Vec<Event> {
        self.events().get(from..).map(<[Event]>::to_vec).unwrap_or_default()
    }

    pub(super) fn is_violated(&self) -> bool {
        self.is_violated.load(Ordering::Relaxed)
    }

    /// What is wrong, if anything is: the first.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.events().iter().find_map(|event| match &event.what {
            What::Violation { invariant, text } => Some(Violation {
                invariant: *invariant,
                time: nanos(event.at),
                client: None,
                story: text.clone(),
            }),
            What::FaultBegan { .. }
            | What::FaultEnded { .. }
            | What::Clock { .. }
            | What::Crashed { .. }
            | What::Restarted { .. }
            | What::Asked { .. }
            | What::Granted { .. }
            | What::NotGranted { .. }
            | What::Extended { .. }
            | What::GivenUp { .. }
            | What::Released { .. }
            | What::Lost { .. }
            | What::Written { .. }
            | What::Key { .. }
            | What::Healed => None,
        })
    }

    /// The events in the common words. `tokens` tells which hold had which token, as far as is known;
    /// other tokens are those of acquires that were never granted, and `strangers` is whose they are
    /// said to be.
    pub(super) fn to_history(&self, tokens: &HashMap<Vec<u8>, Hold>, strangers: usize) -> History {
        let mut names = Names { tokens, strangers, unknown: HashMap::new(), values: 0 };
        let mut history = History::default();
        history.restart(true);
        for Event { at, what } in self.events().iter() {
            let (process, what) = names.translate(what);
            history.note(nanos(*at), process, what);
        }
        history
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// Gives names to tokens.
struct Names<'a> {
    tokens: &'a HashMap<Vec<u8>, Hold>,
    strangers: usize,
    /// Nonces of acquires that were never granted, in the order in which they were seen.
    unknown: HashMap<[u8; 16], u32>,
    /// How many writes there were: each writes its number.
    values: u64,
}

impl Names<'_> {
    fn of_hold(&self, hold: Hold) -> TokenName {
        let token = self.tokens.iter().find(|(_, known)| **known == hold).map(|(token, _)| token);
        let attempt =
            token.and_then(|token| Token::from_hex(token).ok()).map_or(1, |t| t.attempt());
        TokenName { client: small(hold.worker), acquire: hold.acquire, attempt }
    }

    fn of_token(&mut self, hex: &[u8]) -> Option<TokenName> {
        let token = Token::from_hex(hex).ok()?;
        let attempt = token.attempt();
        // All attempts of an acquire have one nonce.
        let is_same =
            |known: &[u8]| Token::from_hex(known).is_ok_and(|known| known.nonce() == token.nonce());
        if let Some((_, hold)) = self.tokens.iter().find(|(known, _)| is_same(known)) {
            return Some(TokenName { attempt, ..self.of_hold(*hold) });
        }
        let next = u32::try_from(self.unknown.len()).unwrap_or(u32::MAX).saturating_add(1);
        let acquire = *self.unknown.entry(token.nonce()).or_insert(next);
        Some(TokenName { client: small(self.strangers), acquire, attempt })
    }

    fn translate(&mut self, what: &What) -> (Process, history::What) {
        use history::What as To;

        let client = |hold: &Hold| Process::Client(small(hold.worker));
        let node = |node: &usize| Process::Node(small(*node));
        let fault = |place: &usize| u16::try_from(*place).unwrap_or(u16::MAX);
        match what {
            What::FaultBegan { node: at, place, .. } => {
                (node(at), To::FaultBegan { fault: fault(place) })
            }
            What::FaultEnded { node: at, place } => {
                (node(at), To::FaultEnded { fault: fault(place) })
            }
            What::Clock { node: at, ahead_ms, rate_ppm } => {
                (node(at), To::Clock { ahead: ahead_ms.saturating_mul(1_000_000), ppm: *rate_ppm })
            }
            What::Crashed { node: at } => (node(at), To::Crashed),
            What::Restarted { node: at } => (node(at), To::Restarted),
            What::Asked { hold } => {
                let resource = small(hold.resource);
                (client(hold), To::Acquire { resource, acquire: hold.acquire })
            }
            What::Granted { hold, fence, until } => {
                let (token, until) = (self.of_hold(*hold), nanos(*until));
                (client(hold), To::Granted { token, fence: *fence, until })
            }
            What::NotGranted { hold } => (client(hold), To::Failed),
            What::Extended { hold, until } => {
                let (token, until) = (self.of_hold(*hold), nanos(*until));
                (client(hold), To::Extended { token, until })
            }
            What::GivenUp { hold } => (client(hold), To::Release),
            What::Released { hold, confirmed } => {
                (client(hold), To::Released { confirmed: *confirmed })
            }
            What::Lost { hold } => (client(hold), To::Lost { token: self.of_hold(*hold) }),
            What::Written { hold, fence, accepted } => {
                self.values += 1;
                let value = self.values;
                let written = To::Written {
                    client: small(hold.worker),
                    fence: *fence,
                    accepted: *accepted,
                    value,
                    lost_update: false,
                };
                (Process::Resource(small(hold.resource)), written)
            }
            What::Key { node: at, resource, token, until } => {
                let owner = token.as_deref().and_then(|token| self.of_token(token));
                let key = To::Key { resource: small(*resource), owner, until: nanos(*until) };
                (node(at), key)
            }
            What::Violation { invariant, .. } => {
                (Process::Harness, To::Violated { invariant: *invariant })
            }
            What::Healed => (Process::Harness, To::Healed),
        }
    }
}
