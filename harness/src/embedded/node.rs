//! One node, and what can be done to it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use crate::node::WallMillis;
use crate::redis::{Clock, Flavour, Keep, Redis, Resp, Session};

use super::server::{self, Order};
use crate::port::Port;

/// What a node does with the commands that it gets.
///
/// ```text
///            carried out   answered
/// Serving    yes           yes
/// Hung       on resume     on resume
/// Deaf       never         never
/// Mute       yes           never
/// Down       no connection
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It carries them out and answers.
    Serving,
    /// It does nothing, as a process that was stopped. What comes meanwhile waits, and is carried out
    /// on [`Node::resume`], however late.
    Hung,
    /// It takes them and forgets them: the way to it loses everything.
    Deaf,
    /// It carries them out and does not answer: the way back from it loses everything.
    Mute,
    /// There is no process. Connections are refused.
    Down,
}

/// One embedded node.
///
/// All calls take `&self`, take effect before they return, and block for less than a millisecond on an
/// idle machine.
pub struct Node {
    shared: Arc<Shared>,
    port: Port,
    /// Always there until the drop.
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the node's thread and its owner share.
pub(super) struct Shared {
    world: Mutex<World>,
    state: watch::Sender<State>,
    delay_us: AtomicU64,
    commands: AtomicU64,
}

/// The server and its clock.
pub(super) struct World {
    redis: Redis,
    clock: Clock,
    started: Instant,
    /// The wall clock of this machine at `started`.
    origin: WallMillis,
    state: State,
    /// Those that are open, by the ids of their sessions.
    connections: HashMap<u64, mpsc::UnboundedSender<Resp>>,
}

/// A node at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse<'a> {
    /// What is in it; of a node that is down, what it had.
    pub redis: &'a Redis,
    /// What its wall clock shows.
    pub now: WallMillis,
    /// What it does with commands.
    pub state: State,
}

impl World {
    fn now(&self) -> WallMillis {
        self.clock.read(self.started.elapsed())
    }

    /// Hands a message to a connection, unless that is just ending.
    fn hand_on(&self, id: u64, message: Resp) {
        if let Some(connection) = self.connections.get(&id) {
            drop(connection.send(message));
        }
    }

    pub(super) fn glimpse(&self) -> Glimpse<'_> {
        Glimpse { redis: &self.redis, now: self.now(), state: self.state }
    }
}

/// What became of a command.
pub(super) enum Fate {
    Answered(Resp),
    /// There will be no answer.
    Swallowed,
    /// The node is hung or down: not carried out, as yet.
    Waits,
}

impl Shared {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        // No panic can leave it half-changed.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }

    pub(super) fn execute<A: AsRef<[u8]>>(&self, session: &mut Session, args: &[A]) -> Fate {
        let mut world = self.world();
        let now = world.now();
        match world.state {
            State::Hung | State::Down => return Fate::Waits,
            State::Deaf => return Fate::Swallowed,
            State::Serving | State::Mute => {}
        }
        self.commands.fetch_add(1, Ordering::Relaxed);
        let reply = world.redis.execute(now, session, args);
        let messages = world.redis.take_messages();
        match world.state {
            State::Mute => Fate::Swallowed,
            State::Serving | State::Hung | State::Deaf | State::Down => {
                for (id, message) in messages {
                    world.hand_on(id, message);
                }
                Fate::Answered(reply)
            }
        }
    }

    /// A connection has come, which takes messages from now on.
    pub(super) fn join(&self, id: u64, messages: mpsc::UnboundedSender<Resp>) {
        self.world().connections.insert(id, messages);
    }

    /// It has gone.
    pub(super) fn leave(&self, id: u64) {
        let mut world = self.world();
        world.connections.remove(&id);
        world.redis.leave(id);
    }

    /// Writes to disk what a server with fsync every second has written by now.
    pub(super) fn sync(&self) {
        let mut world = self.world();
        match world.state {
            State::Serving | State::Deaf | State::Mute => world.redis.sync(),
            State::Hung | State::Down => {}
        }
    }

    /// No command is carried out between the change and the return.
    fn set_state(&self, state: State) {
        self.world().state = state;
        self.state.send_replace(state);
    }
}

impl Node {
    pub(super) fn start(flavour: Flavour, seed: u64, port: u16) -> io::Result<Self> {
        let port = Port::take(port)?;
        let mut redis = Redis::new(flavour, seed);
        redis.set_port(port.number());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let origin = WallMillis::try_from(since_epoch.as_millis()).unwrap_or(WallMillis::MAX);
        let world = World {
            redis,
            clock: Clock::new(origin),
            started: Instant::now(),
            origin,
            state: State::Serving,
            connections: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            state: watch::Sender::new(State::Serving),
            delay_us: AtomicU64::new(0),
            commands: AtomicU64::new(0),
        });
        let (orders, received) = mpsc::unbounded_channel();
        let thread = server::spawn(port.addr(), shared.clone(), received)?;
        let node = Self { shared, port, orders: Some(orders), thread: Some(thread) };
        node.order(Order::Open)?;
        Ok(node)
    }

    /// The address to hand to any client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The TCP address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.addr()
    }

    /// What it does with the commands that it gets.
    #[must_use]
    pub fn state(&self) -> State {
        self.world().state
    }

    /// Stops it as SIGSTOP does: see [`State::Hung`]. Nothing if it is down.
    pub fn hang(&self) {
        self.change(State::Hung);
    }

    /// Loses every command: see [`State::Deaf`]. Nothing if it is down.
    pub fn deafen(&self) {
        self.change(State::Deaf);
    }

    /// Loses every answer: see [`State::Mute`]. Nothing if it is down.
    pub fn mute(&self) {
        self.change(State::Mute);
    }

    /// Serves again after [`hang`](Self::hang), [`deafen`](Self::deafen) or [`mute`](Self::mute).
    /// Nothing if it is down.
    pub fn resume(&self) {
        self.change(State::Serving);
    }

    fn change(&self, state: State) {
        if self.state() != State::Down {
            self.shared.set_state(state);
        }
    }

    /// Ends it at once: every connection breaks, new ones are refused.
    pub fn kill(&self) {
        self.shared.set_state(State::Down);
        // A thread that has ended serves nobody either.
        drop(self.order(Order::Close));
    }

    /// Starts it again, on the same port, under another `run_id`, with what it has kept. One that runs
    /// is killed first.
    ///
    /// # Errors
    /// If the port was taken, which can happen on other systems than Linux.
    pub fn restart(&self, keep: Keep) -> io::Result<()> {
        self.kill();
        {
            let mut world = self.world();
            let now = world.now();
            world.redis.restart(now, keep);
        }
        self.shared.set_state(State::Serving);
        self.order(Order::Open)
    }

    /// Lets its wall clock run `rate_ppm` parts per million faster than it should, from now on.
    pub fn drift(&self, rate_ppm: i32) {
        let mut world = self.world();
        let elapsed = world.started.elapsed();
        world.clock.set_rate(elapsed, rate_ppm);
    }

    /// Steps its wall clock by `millis`, forward or back.
    pub fn jump(&self, millis: i64) {
        self.world().clock.jump(millis);
    }

    /// How far its wall clock is ahead, in milliseconds.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        let world = self.world();
        world.clock.offset_ms(world.origin, world.started.elapsed())
    }

    /// Lets every command wait for `delay` before it is carried out; zero for a node that is as fast as
    /// it can.
    pub fn slow(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay_us.store(micros, Ordering::Relaxed);
    }

    /// Takes every key away, as `FLUSHALL`.
    pub fn flush(&self) {
        self.world().redis.flush();
    }

    /// Takes one key away, as a server that is short of memory does; whether it was there.
    pub fn evict(&self, key: impl AsRef<[u8]>) -> bool {
        self.change_redis(|redis, now| redis.evict(now, key.as_ref()))
    }

    /// What is in a key, if it is there; of a node that is down, what was.
    #[must_use]
    pub fn value(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let world = self.world();
        world.redis.value(world.now(), key.as_ref()).map(<[u8]>::to_vec)
    }

    /// How many commands it has carried out.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.shared.commands.load(Ordering::Relaxed)
    }

    /// Does to the server inside what no command does: faults, planted bugs. The second argument is what
    /// its wall clock shows.
    pub fn change_redis<T>(&self, change: impl FnOnce(&mut Redis, WallMillis) -> T) -> T {
        let mut world = self.world();
        let now = world.now();
        change(&mut world.redis, now)
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Has the node's thread do something, and waits until it is done.
    fn order(&self, order: fn(server::Done) -> Order) -> io::Result<()> {
        let gone = || io::Error::other("the node's thread has ended");
        let (done, waiting) = sync_channel(1);
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(order(done)).map_err(|_| gone())?;
        waiting.recv().map_err(|_| gone())?
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Without anybody to give it orders the thread ends, and everything that it serves with it.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("url", &self.url())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
