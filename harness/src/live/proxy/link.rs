//! One client's way to one node.

use std::fmt;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time;

use super::connection;
use super::log::{Answer, Entry, Fate, Log, Recorder};
use super::rule::{Command, Fault, Match, Rule, RuleShared, Rules};
use crate::live::PATIENCE;
use crate::live::host::Host;
use crate::plan::Direction;
use crate::port::{self, Port};

/// How long to wait after the system would not let a client in, for want of handles for example.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What becomes of new connections of a [`Link`].
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

/// A TCP proxy between one client and one node that does to single commands what a network may do.
///
/// It reads the client's bytes as commands, so that a test can say "hold the second `SET`" (see
/// [`inject`](Self::inject), [`Match`] and [`Fault`]). Without a fault it hands on all bytes as they are.
///
/// What the client sees of the server: a server that is killed closes the connection; while the
/// server is down, connections are accepted and reset. A request that is still delayed or held is
/// lost if the server ends before it is due, but not if only the client does.
///
/// Not carried as they should be: TLS, and commands without exactly one reply (`CLIENT REPLY`,
/// `MONITOR`). Subscriptions work as long as their connection sends nothing else.
///
/// `Drop` closes everything; what is still held is then never delivered.
pub struct Link {
    port: Port,
    url: String,
    shared: Arc<Shared>,
    controls: mpsc::UnboundedSender<Order>,
    /// Last: when the last link goes, its thread goes.
    _host: Arc<Host>,
}

/// Without the URL's credentials.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { client, node } = self.shared.place;
        write!(f, "Link(c{client}–n{node} by {})", self.addr())
    }
}

/// Between which client and which node a link is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) client: usize,
    pub(crate) node: usize,
}

/// What the API's threads and the network's thread share.
#[derive(Debug)]
pub(super) struct Shared {
    place: Place,
    recorder: Recorder,
    state: Mutex<State>,
    cut: watch::Sender<Option<Direction>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    /// Where connections lead from now on, if not where they led in the beginning.
    upstream: Option<SocketAddr>,
    request_delay: Duration,
    reply_delay: Duration,
}

struct Order {
    control: Control,
    done: std::sync::mpsc::SyncSender<io::Result<()>>,
}

#[derive(Clone, Copy)]
enum Control {
    Connections(Connections),
    ResetAll,
}

impl Link {
    /// A link that stands alone, with a thread of its own, to the server of this `redis://` URL.
    ///
    /// # Errors
    ///
    /// If there is no port or no thread to be had.
    pub fn alone(url: &str, upstream: SocketAddr) -> io::Result<Self> {
        let recorder = Recorder::new(std::time::Instant::now());
        Self::start(Host::start("link")?, Place::default(), url, upstream, recorder)
    }

    /// `url` is that of the node, of which all but the address is kept.
    pub(crate) fn start(
        host: Arc<Host>,
        place: Place,
        url: &str,
        upstream: SocketAddr,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let port = Port::reserve()?;
        let url = with_address(url, port.addr());
        let state = Mutex::default();
        let shared = Arc::new(Shared { place, recorder, state, cut: watch::Sender::new(None) });
        let (controls, orders) = mpsc::unbounded_channel();
        let gate = Gate {
            addr: port.addr(),
            upstream,
            shared: Arc::clone(&shared),
            modes: watch::Sender::new(Connections::Refuse),
            resets: watch::Sender::default(),
        };
        host.spawn(gate.keep(orders));
        let link = Self { port, url, shared, controls, _host: host };
        link.connections(Connections::Pass)?;
        Ok(link)
    }

    /// The node's `redis://` URL by way of this link, with its credentials.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The address that the link listens on.
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

    /// From now on each request takes this much longer to the node, and each reply this much longer back. Only
    /// longer: many may be on their way at the same time.
    pub fn set_delay(&self, request: Duration, reply: Duration) {
        let mut state = self.shared.state();
        (state.request_delay, state.reply_delay) = (request, reply);
    }

    /// Holds whatever goes in this direction, on all connections, until another call says otherwise; then it arrives,
    /// as TCP sends again what was not received. Requests alone, or replies alone, are a half-open connection.
    pub fn cut(&self, direction: Option<Direction>) {
        self.shared.cut.send_replace(direction);
    }

    /// Leads new connections to another server, as when an address is taken over. Existing ones are not touched.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.shared.state().upstream = Some(upstream);
    }

    /// Decides on new connections; in force when this returns. Existing ones are not touched.
    ///
    /// # Errors
    ///
    /// If the port cannot be listened on, or the network's thread does not answer.
    pub fn connections(&self, mode: Connections) -> io::Result<()> {
        self.order(Control::Connections(mode))
    }

    /// Resets (RST) all connections of the client, also those that hang; done when this returns.
    ///
    /// Requests that were on their way still reach the server, held ones when they are released.
    ///
    /// # Errors
    ///
    /// If the network's thread does not answer.
    pub fn reset_all(&self) -> io::Result<()> {
        self.order(Control::ResetAll)
    }

    /// Ends all faults: rules are released, delays and cuts are gone, and new and hanging connections pass.
    ///
    /// What was lost stays lost: a connection on which something was dropped in silence stays silent.
    ///
    /// # Errors
    ///
    /// As [`connections`](Self::connections).
    pub fn heal(&self) -> io::Result<()> {
        self.shared.state().rules.release_all();
        self.set_delay(Duration::ZERO, Duration::ZERO);
        self.cut(None);
        self.connections(Connections::Pass)
    }

    /// What the client told the node, by this link.
    ///
    /// The handshakes of clients (`CLIENT SETINFO`, `AUTH`, `HELLO`) are commands too. A duplicated command is there
    /// twice.
    #[must_use]
    pub fn log(&self) -> Log {
        let Place { client, node } = self.shared.place;
        self.shared.recorder.of_link(client, node)
    }

    /// Forgets what was told so far, on all links of the same network.
    pub fn clear_log(&self) {
        self.shared.recorder.clear();
    }

    /// Has the network's thread do something and waits until it is done.
    fn order(&self, control: Control) -> io::Result<()> {
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        let ended = |_| io::Error::other("the network's thread ended");
        self.controls.send(Order { control, done }).map_err(ended)?;
        let silent = |_| io::Error::other("the network's thread does not answer");
        is_done.recv_timeout(PATIENCE).map_err(silent)?
    }
}

/// The URL with another host and port.
pub(crate) fn with_address(url: &str, addr: SocketAddr) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    match authority.rsplit_once('@') {
        Some((login, _)) => format!("{scheme}://{login}@{addr}{path}"),
        None => format!("{scheme}://{addr}{path}"),
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes a command that is lost behind another.
    pub(super) fn lose(&self, command: Command) {
        self.note(command, Fate::Lost);
    }

    pub(super) fn note(&self, command: Command, fate: Fate) -> Entry {
        let Place { client, node } = self.place;
        self.recorder.note(client, node, command, fate)
    }

    /// Notes a command and says which rule strikes it.
    pub(super) fn strike(&self, command: Command) -> (Entry, Option<Arc<RuleShared>>) {
        let rule = self.state().rules.strike(&command);
        let fate = rule.as_ref().map_or(Fate::Passed, |rule| Fate::Struck(rule.fault));
        let entry = self.note(command, fate);
        // Whoever waits for the strike may look at the log then.
        if let Some(rule) = &rule {
            rule.note_strike();
        }
        (entry, rule)
    }

    pub(super) fn forwarded(&self, entry: Entry) {
        self.recorder.forwarded(entry);
    }

    pub(super) fn answered(&self, entry: Entry, answer: Answer) {
        self.recorder.answered(entry, answer);
    }

    pub(super) fn delivered(&self, entry: Entry) {
        self.recorder.delivered(entry);
    }

    fn upstream(&self) -> Option<SocketAddr> {
        self.state().upstream
    }

    pub(super) fn request_delay(&self) -> Duration {
        self.state().request_delay
    }

    pub(super) fn reply_delay(&self) -> Duration {
        self.state().reply_delay
    }

    /// Waits until messages pass in this direction.
    pub(super) async fn passable(&self, way: Way) {
        let is_open = |cut: &Option<Direction>| match (cut, way) {
            (None, _)
            | (Some(Direction::Requests), Way::Reply)
            | (Some(Direction::Replies), Way::Request) => true,
            (Some(Direction::Both), _)
            | (Some(Direction::Requests), Way::Request)
            | (Some(Direction::Replies), Way::Reply) => false,
        };
        // The sender is a field of self, so it cannot be gone.
        let _ = self.cut.subscribe().wait_for(is_open).await;
    }
}

/// Where a message goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Request,
    Reply,
}

/// The network's side of a link: it lets connections in and takes orders.
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
                    clients.spawn(connection::serve(
                        client,
                        accepted,
                        self.shared.upstream().unwrap_or(self.upstream),
                        Arc::clone(&self.shared),
                        self.modes.subscribe(),
                        self.resets.subscribe(),
                    ));
                    continue;
                }
            };
            let Some(Order { control, done }) = order else { return };
            let result = match control {
                Control::Connections(mode) => {
                    let listens = listen(&mut listener, mode, self.addr);
                    self.modes.send_replace(mode);
                    listens
                }
                Control::ResetAll => {
                    self.resets.send_replace(());
                    while clients.join_next().await.is_some() {}
                    Ok(())
                }
            };
            let _ = done.send(result);
        }
    }
}

fn listen(listener: &mut Option<Listener>, mode: Connections, addr: SocketAddr) -> io::Result<()> {
    let is_open = mode != Connections::Refuse;
    if is_open != listener.is_some() {
        *listener = if is_open { Some(Listener(port::listen(addr)?)) } else { None };
    }
    Ok(())
}

/// The next client; waits for ever without a listener.
async fn accept(listener: Option<&Listener>) -> TcpStream {
    let Some(listener) = listener else { return future::pending().await };
    loop {
        match listener.0.accept().await {
            Ok((client, _)) => return client,
            // A client that gave up before it was let in.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// A listener that stops listening when it is dropped, at once.
///
/// Closing it would not do: while any thread starts a process, the child holds a copy of every
/// socket from its fork to its exec, and a copy of a listener goes on listening.
struct Listener(TcpListener);

impl Drop for Listener {
    fn drop(&mut self) {
        // Systems other than Linux refuse this for a listener; there closing has to do.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::with_address;

    #[test]
    fn a_url_keeps_all_but_its_address() {
        let addr = "127.0.0.1:7".parse().expect("an address");
        for (url, expected) in [
            ("redis://there:6379", "redis://127.0.0.1:7"),
            ("redis://:p%40ss@there:6379/2", "redis://:p%40ss@127.0.0.1:7/2"),
            ("redis://me:p@[::1]:6379/?protocol=resp3", "redis://me:p@127.0.0.1:7/?protocol=resp3"),
        ] {
            assert_eq!(with_address(url, addr), expected);
        }
    }
}
