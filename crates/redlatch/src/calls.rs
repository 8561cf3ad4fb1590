//! Calls: a node keeps the key of a lock for one of this client's waiters, and says so (R18).
//!
//! They come on one more connection to each node, which does nothing else. It is made when a waiter of the
//! client was refused for the first time, and closed when none has waited for a while. A call is a hint:
//! without it, the waiter asks from time to time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use redlatch_core::{Instant, NodeId, NodeSet};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::clock;
use crate::error::InvalidRequest;
use crate::node::{Node, lock};

/// How long the connections are kept when nobody waits: one who waits now and then finds them there.
const UNUSED_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether they are still of use.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long to wait before one that broke, or was refused, is made again, from the least to the most. It
/// doubles each time: some users may not listen at all.
const RELISTEN_DELAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));
/// News that a waiter has not looked at yet: each node is listened to, and calls, once.
const NEWS_MAX: usize = 32;

/// Who of a client waits, and which nodes it listens to.
pub(crate) struct Calls {
    /// The first half of every nonce of this client.
    identity: OnceLock<u64>,
    nonces: AtomicU64,
    waiting: Mutex<Waiting>,
    ears: Box<[Ear]>,
}

struct Waiting {
    /// By the second half of the nonce.
    waiters: HashMap<u64, mpsc::Sender<News>>,
    /// When the last one ceased to wait.
    unused_since: Instant,
    /// Nothing more is begun.
    is_closed: bool,
}

/// What a waiter is told.
#[derive(Clone, Copy)]
enum News {
    /// The node called.
    Call(NodeId),
    /// Calls of the node are heard from now on.
    Open(NodeId),
}

/// What its driver is to do about it.
pub(crate) enum Heard {
    /// A node called.
    Call(NodeId),
    /// A majority can call by now, which could not when the waiter last asked to be queued.
    Listening,
}

/// The connection on which one node calls.
#[derive(Default)]
struct Ear {
    /// Which of the node's other connections it goes with, if it is open: see [`Ear::hears`].
    with: AtomicU64,
    /// Told when it is of no use any more. Each connection has its own: what is told late of one that has
    /// gone must not end the next.
    is_over: Mutex<Arc<Notify>>,
    /// What opens it, while anybody waits.
    attendant: Mutex<Option<AbortHandle>>,
}

impl Ear {
    const CLOSED: u64 = 0;
    /// That of a node in memory.
    const ALWAYS: u64 = u64::MAX;

    fn open(&self, generation: u64, is_over: Arc<Notify>) {
        *lock(&self.is_over) = is_over;
        self.with.store(generation + 1, Ordering::Relaxed);
    }

    fn close(&self) {
        self.with.store(Self::CLOSED, Ordering::Relaxed);
    }

    /// Whether a call of the node would be heard now. If the node's other connection had to be replaced,
    /// this one may lead nowhere as well, or to what is not the node any more.
    fn hears(&self, node: &Node) -> bool {
        match self.with.load(Ordering::Relaxed) {
            Self::CLOSED => false,
            Self::ALWAYS => true,
            with => {
                let is_with = node.generation().is_some_and(|generation| with == generation + 1);
                if !is_with {
                    lock(&self.is_over).notify_one();
                }
                is_with
            }
        }
    }
}

impl Calls {
    pub(crate) fn new(nodes: usize) -> Arc<Self> {
        let waiters = HashMap::new();
        let waiting = Waiting { waiters, unused_since: Instant::ZERO, is_closed: false };
        Arc::new(Self {
            identity: OnceLock::new(),
            nonces: AtomicU64::new(0),
            waiting: Mutex::new(waiting),
            ears: (0..nodes).map(|_| Ear::default()).collect(),
        })
    }

    /// Those of nodes that hand their calls to [`hear`](Self::hear) themselves.
    pub(crate) fn in_memory(nodes: usize) -> Arc<Self> {
        let calls = Self::new(nodes);
        for ear in &calls.ears {
            ear.with.store(Ear::ALWAYS, Ordering::Relaxed);
        }
        calls
    }

    /// Sixteen bytes that are never used again (R3). The first half is this client's, by which nodes call
    /// it. The second half is a count, so that no two locks in a row have the same, and 40 bits that are
    /// drawn anew, so that the copies of a machine that was running do not go on with one count.
    pub(crate) fn nonce(&self) -> Result<[u8; 16], InvalidRequest> {
        const DRAWN: u32 = 40;
        let client = self.identity()?;
        let count = self.nonces.fetch_add(1, Ordering::Relaxed);
        let own = count << DRAWN | draw()? >> (u64::BITS - DRAWN);
        let nonce = u128::from(client) << 64 | u128::from(own);
        Ok(nonce.to_be_bytes())
    }

    fn identity(&self) -> Result<u64, InvalidRequest> {
        match self.identity.get() {
            Some(identity) => Ok(*identity),
            None => draw().map(|drawn| *self.identity.get_or_init(|| drawn)),
        }
    }

    /// One who may come to wait for the lock of this nonce.
    pub(crate) fn waiter(self: &Arc<Self>, nonce: [u8; 16]) -> Waiter {
        let (_, own) = halves(u128::from_be_bytes(nonce));
        Waiter { calls: self.clone(), own, news: None, unheard: NodeSet::EMPTY }
    }

    /// Takes the call of a node, which has `message` to say. `false` if nobody waits for it.
    pub(crate) fn hear(&self, node: NodeId, message: &[u8]) -> bool {
        let Some((client, own)) = nonce_of(message) else { return false };
        if self.identity.get().is_none_or(|us| *us != client) {
            return false;
        }
        let waiting = lock(&self.waiting);
        // Who has not looked at so many calls has enough of them.
        waiting.waiters.get(&own).is_some_and(|waiter| waiter.try_send(News::Call(node)).is_ok())
    }

    /// Stops listening, for good.
    pub(crate) fn close(&self) {
        lock(&self.waiting).is_closed = true;
        for ear in &self.ears {
            ear.close();
            if let Some(attendant) = lock(&ear.attendant).take() {
                attendant.abort();
            }
        }
    }

    /// Whether a call of `node` would be heard. If it would not, that is seen to: not in time for this
    /// question, but for the next.
    fn listens_to(self: &Arc<Self>, id: NodeId, node: &Arc<Node>) -> bool {
        let Some(ear) = self.ears.get(id.index()) else { return false };
        let is_open = ear.hears(node);
        if !is_open && node.can_be_listened_to() {
            let mut attendant = lock(&ear.attendant);
            // One that ended otherwise than by itself did so with the runtime that it was on.
            let is_attended = attendant.as_ref().is_some_and(|it| !it.is_finished());
            if !is_attended && !lock(&self.waiting).is_closed {
                let attend = attend(Arc::downgrade(self), id, node.clone());
                *attendant = Some(tokio::spawn(attend).abort_handle());
            }
        }
        is_open
    }

    fn channel(&self) -> Option<String> {
        self.identity.get().map(|client| format!("redlatch:call:{client:016x}"))
    }

    /// Whether nobody waits, and nobody has for a while.
    fn is_unused(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.waiters.is_empty()
            && clock::now().saturating_duration_since(waiting.unused_since) >= UNUSED_MAX
    }

    /// Notes that the node is listened to, and tells whoever waits.
    fn opened(&self, id: NodeId, generation: u64, is_over: Arc<Notify>) {
        if let Some(ear) = self.ears.get(id.index()) {
            ear.open(generation, is_over);
        }
        for waiter in lock(&self.waiting).waiters.values() {
            // Who has so much news yet to hear asks again soon.
            let _full = waiter.try_send(News::Open(id));
        }
    }

    /// Notes that the node is not listened to any more.
    fn closed(&self, id: NodeId) {
        if let Some(ear) = self.ears.get(id.index()) {
            ear.close();
        }
    }

    /// Whether there is no majority without these.
    fn needs(&self, nodes: NodeSet) -> bool {
        self.ears.len() - nodes.len() < self.ears.len() / 2 + 1
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.close();
    }
}

/// One acquire that may wait. It is called from the time when it first asks to be, until this is dropped.
pub(crate) struct Waiter {
    calls: Arc<Calls>,
    own: u64,
    news: Option<mpsc::Receiver<News>>,
    /// Nodes that could not call when it last asked to be queued.
    unheard: NodeSet,
}

impl Waiter {
    /// Whether `node` can call this waiter, so that it may queue it.
    pub(crate) fn can_be_called(&mut self, id: NodeId, node: &Arc<Node>) -> bool {
        if self.news.is_none() {
            let (waiter, news) = mpsc::channel(NEWS_MAX);
            lock(&self.calls.waiting).waiters.insert(self.own, waiter);
            self.news = Some(news);
        }
        let can_be_called = self.calls.listens_to(id, node);
        if can_be_called {
            self.unheard.remove(id);
        } else {
            self.unheard.insert(id);
        }
        can_be_called
    }

    /// The next that its driver is to know.
    pub(crate) async fn hear(&mut self) -> Heard {
        let Some(news) = &mut self.news else { return std::future::pending().await };
        loop {
            match news.recv().await {
                Some(News::Call(node)) => return Heard::Call(node),
                Some(News::Open(node)) => {
                    let was_needed = self.calls.needs(self.unheard);
                    self.unheard.remove(node);
                    if was_needed && !self.calls.needs(self.unheard) {
                        return Heard::Listening;
                    }
                }
                None => return std::future::pending().await,
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.news.is_some() {
            let mut waiting = lock(&self.calls.waiting);
            waiting.waiters.remove(&self.own);
            waiting.unused_since = clock::now();
        }
    }
}

/// Keeps an ear open while anybody waits.
async fn attend(calls: Weak<Calls>, id: NodeId, node: Arc<Node>) {
    let (min, max) = RELISTEN_DELAY;
    let mut delay = min;
    loop {
        let channel = calls.upgrade().and_then(|calls| calls.channel());
        let Some(channel) = channel else { return };
        let is_over = Arc::new(Notify::new());
        let heard = hears(calls.clone(), id, is_over.clone());
        // The other connection comes first: without it, it is not known whose calls these are.
        if let Ok(generation) = node.connect_if_down().await
            && let Ok(_connection) = node.listen(&channel, heard).await
        {
            let _listening = Listening::begin(&calls, id, generation, is_over.clone());
            delay = min;
            until_useless(&calls, &is_over).await;
        }
        let Some(calls) = calls.upgrade() else { return };
        if ends(&calls, id) {
            return;
        }
        drop(calls);
        tokio::time::sleep(delay).await;
        delay = delay.saturating_mul(2).min(max);
    }
}

/// What becomes of the messages of a connection.
fn hears(
    calls: Weak<Calls>,
    id: NodeId,
    is_over: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    move |push| {
        if push.kind == PushKind::Disconnection {
            is_over.notify_one();
        }
        if let (PushKind::Message, [_, Value::BulkString(message)]) = (push.kind, &*push.data)
            && let Some(calls) = calls.upgrade()
        {
            calls.hear(id, message);
        }
        Ok(())
    }
}

/// Ends when the connection is over, or when nobody has waited for a while.
async fn until_useless(calls: &Weak<Calls>, is_over: &Notify) {
    loop {
        tokio::select! {
            () = is_over.notified() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if calls.upgrade().is_none_or(|calls| calls.is_unused()) {
            return;
        }
    }
}

/// Whether the ear is to be left closed.
fn ends(calls: &Calls, id: NodeId) -> bool {
    let Some(ear) = calls.ears.get(id.index()) else { return true };
    // Under this lock nobody can begin to wait and find it attended.
    let mut attendant = lock(&ear.attendant);
    let is_over = calls.is_unused();
    if is_over {
        *attendant = None;
    }
    is_over
}

/// A node that is listened to until this is dropped, however that comes about.
struct Listening<'a> {
    calls: &'a Weak<Calls>,
    id: NodeId,
}

impl<'a> Listening<'a> {
    fn begin(calls: &'a Weak<Calls>, id: NodeId, generation: u64, is_over: Arc<Notify>) -> Self {
        if let Some(calls) = calls.upgrade() {
            calls.opened(id, generation, is_over);
        }
        Self { calls, id }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        if let Some(calls) = self.calls.upgrade() {
            calls.closed(self.id);
        }
    }
}

fn draw() -> Result<u64, InvalidRequest> {
    let mut drawn = [0; 8];
    getrandom::fill(&mut drawn).map_err(|_| InvalidRequest::Randomness)?;
    Ok(u64::from_ne_bytes(drawn))
}

/// The nonce that a message consists of, in two halves.
fn nonce_of(message: &[u8]) -> Option<(u64, u64)> {
    let is_nonce = message.len() == 32 && message.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(message).ok().filter(|_| is_nonce)?;
    u128::from_str_radix(digits, 16).ok().map(halves)
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart")]
const fn halves(whole: u128) -> (u64, u64) {
    ((whole >> 64) as u64, whole as u64)
}
