//! A TCP proxy that understands Redis commands, for faults of the network.

mod link;
mod resp;
mod rule;

use std::future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::rule::{Command, Fault, Match, Rule, Then};
use self::rule::{RuleShared, Rules};
use crate::port::{Listener, Port};
use crate::server::RedisServer;
use crate::wait::PATIENCE;

/// How many commands the log keeps: far more than a test of faults sends, some 10 MB.
const LOG_MAX: usize = 100_000;

/// What becomes of new connections to a [`FaultProxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// They are carried to the server.
    Pass,
    /// They are accepted and then nothing happens, as with a paused server. Once connections pass
    /// again, those that hang are carried on, with what they sent meanwhile.
    Hang,
    /// They are refused, as if no server were there.
    Refuse,
}

/// A TCP proxy in front of one server that does to single commands what a network may do.
///
/// It reads the client's bytes as commands, so that a test can say "hold the second `SET`" (see
/// [`inject`](Self::inject), [`Match`] and [`Fault`]). It runs on a thread and a runtime of its
/// own. Without a fault it hands on all bytes as they are.
///
/// What the client sees of the server: a server that is killed closes the connection; while the
/// server is down, connections are accepted and reset. A request that is still delayed or held is
/// lost if the server ends before it is due, but not if only the client does.
///
/// Not carried as they should be: TLS, and commands without exactly one reply (`CLIENT REPLY`,
/// `MONITOR`). Subscriptions work as long as their connection sends nothing else.
///
/// `Drop` closes everything; what is still held is then never delivered.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    login: String,
    shared: Arc<Shared>,
    controls: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What the API's threads and the proxy's thread share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    log: Vec<Command>,
    is_log_full: bool,
}

struct Order {
    control: Control,
    done: std::sync::mpsc::SyncSender<()>,
}

#[derive(Clone, Copy)]
enum Control {
    Connections(Connections),
    ResetAll,
    Stop,
}

impl FaultProxy {
    /// Starts a proxy in front of `server`'s plain TCP port; it stays valid over restarts.
    ///
    /// # Panics
    ///
    /// If the server has only a unix socket.
    #[must_use]
    pub fn start(server: &RedisServer) -> Self {
        let port = Port::reserve();
        let shared = Arc::new(Shared::default());
        let (controls, orders) = mpsc::unbounded_channel();
        let gate = Gate {
            addr: port.addr(),
            upstream: server.addr(),
            shared: Arc::clone(&shared),
            modes: watch::Sender::new(Connections::Refuse),
            resets: watch::Sender::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime for the proxy");
        let thread = thread::Builder::new()
            .name("fault-proxy".into())
            // Leaving this closure drops the runtime, its tasks and all their sockets.
            .spawn(move || runtime.block_on(gate.keep(orders)))
            .expect("a thread for the proxy");
        let login = server.default_login();
        let proxy = Self { port, login, shared, controls, thread: Some(thread) };
        proxy.connections(Connections::Pass);
        proxy
    }

    /// `redis://` URL of the server's default user, by way of this proxy.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}{}", self.login, self.addr())
    }

    /// The address that the proxy listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Injects a fault: from now on `fault` happens to the commands that `matcher` names.
    ///
    /// If several rules match a command, the first injected strikes it, and those after it neither
    /// strike nor count it.
    pub fn inject(&self, matcher: Match, fault: Fault) -> Rule {
        self.shared.state().rules.add(matcher, fault)
    }

    /// Decides on new connections; in force when this returns. Existing ones are not touched.
    ///
    /// # Panics
    ///
    /// If the proxy's thread is no more.
    pub fn connections(&self, mode: Connections) {
        self.order(Control::Connections(mode)).expect("the proxy's thread answers");
    }

    /// Resets (RST) all clients' connections, also those that hang; done when this returns.
    ///
    /// Requests that were on their way still reach the server, held ones when they are released.
    ///
    /// # Panics
    ///
    /// If the proxy's thread is no more.
    pub fn reset_all(&self) {
        self.order(Control::ResetAll).expect("the proxy's thread answers");
    }

    /// Ends all faults: rules are released, and new and hanging connections pass.
    ///
    /// # Panics
    ///
    /// If the proxy's thread is no more.
    pub fn heal(&self) {
        self.shared.state().rules.release_all();
        self.connections(Connections::Pass);
    }

    /// All commands seen, in the order in which they came from the clients.
    ///
    /// Each counts once, whether it was duplicated, held or dropped later. The handshakes of
    /// clients (`CLIENT SETINFO`, `AUTH`, `HELLO`) are commands too.
    ///
    /// # Panics
    ///
    /// If there were more than 100,000 since the last [`clear_log`](Self::clear_log).
    #[must_use]
    pub fn log(&self) -> Vec<Command> {
        self.shared.state().full_log().to_vec()
    }

    /// How many commands of this name were seen, by the [`log`](Self::log).
    ///
    /// # Panics
    ///
    /// As [`log`](Self::log).
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        let state = self.shared.state();
        state.full_log().iter().filter(|command| command.is(name)).count()
    }

    /// Forgets the commands seen so far.
    pub fn clear_log(&self) {
        let mut state = self.shared.state();
        state.log.clear();
        state.is_log_full = false;
    }

    /// Has the proxy's thread do something and waits until it is done.
    fn order(&self, control: Control) -> Result<(), &'static str> {
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        self.controls.send(Order { control, done }).map_err(|_| "the proxy's thread ended")?;
        is_done.recv_timeout(PATIENCE).map_err(|_| "the proxy's thread does not answer")
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // A thread that does not answer (a predicate may wait for ever) is not waited for.
        if self.order(Control::Stop).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no predicate of a rule panicked")
    }

    fn note(&self, command: Command) {
        self.state().note(command);
    }

    /// Notes a command and says which rule strikes it.
    fn strike(&self, command: Command) -> Option<Arc<RuleShared>> {
        let mut state = self.state();
        let rule = state.rules.strike(&command);
        state.note(command);
        rule
    }
}

impl State {
    fn note(&mut self, command: Command) {
        if self.log.len() < LOG_MAX {
            self.log.push(command);
        } else {
            self.is_log_full = true;
        }
    }

    /// A log with a hole proves nothing, so there is none to be had.
    fn full_log(&self) -> &[Command] {
        assert!(!self.is_log_full, "more than {LOG_MAX} commands: call clear_log in between");
        &self.log
    }
}

/// The proxy's thread: it lets connections in and takes orders.
struct Gate {
    addr: SocketAddr,
    upstream: SocketAddr,
    shared: Arc<Shared>,
    modes: watch::Sender<Connections>,
    resets: watch::Sender<()>,
}

impl Gate {
    async fn keep(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut listener: Option<Listener> = None;
        let mut clients = JoinSet::new();
        let mut accepted = 0;
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                Some(_) = clients.join_next() => continue,
                client = accept(listener.as_ref()) => {
                    accepted += 1;
                    clients.spawn(link::serve(
                        client,
                        accepted,
                        self.upstream,
                        Arc::clone(&self.shared),
                        self.modes.subscribe(),
                        self.resets.subscribe(),
                    ));
                    continue;
                }
            };
            let Some(Order { control, done }) = order else { return };
            match control {
                Control::Connections(mode) => {
                    let is_open = mode != Connections::Refuse;
                    if is_open != listener.is_some() {
                        listener = is_open.then(|| Listener::on(self.addr));
                    }
                    self.modes.send_replace(mode);
                }
                Control::ResetAll => {
                    self.resets.send_replace(());
                    while clients.join_next().await.is_some() {}
                }
                Control::Stop => {
                    let _ = done.send(());
                    return;
                }
            }
            let _ = done.send(());
        }
    }
}

/// The next client; waits for ever without a listener.
async fn accept(listener: Option<&Listener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await,
        None => future::pending().await,
    }
}
