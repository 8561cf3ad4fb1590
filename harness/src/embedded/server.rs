//! The thread of a node: its port, its connections.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::redis::codec::{put_reply, take_command};
use crate::redis::{Protocol, Resp, Session};

use super::node::{Fate, Shared, State};
use crate::port::listen;

/// How often a server with `appendfsync everysec` writes to disk.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long the listener rests when the system has no more sockets to give.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// Who waits until an order is carried out.
pub(super) type Done = SyncSender<io::Result<()>>;

/// What a node's owner wants of its thread.
pub(super) enum Order {
    /// Listen.
    Open(Done),
    /// Stop listening, and break every connection.
    Close(Done),
}

/// Starts the thread, which ends when nobody can give it orders any more.
pub(super) fn spawn(
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name(format!("node {}", address.port()))
        .spawn(move || runtime.block_on(serve(address, shared, orders)))
}

async fn serve(
    address: SocketAddr,
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut listener = None;
    let mut connections = JoinSet::new();
    let mut ids = 0;
    let mut syncs = interval(SYNC_EVERY);
    syncs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Open(done)) => {
                    let opened = listen(address).map(|opened| listener = Some(opened));
                    // Whoever gave the order may have gone.
                    drop(done.send(opened));
                }
                Some(Order::Close(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    drop(done.send(Ok(())));
                }
            },
            stream = accept(listener.as_ref()) => {
                ids += 1;
                connections.spawn(converse(stream, shared.clone(), ids));
            }
            Some(_) = connections.join_next() => {}
            _ = syncs.tick() => shared.sync(),
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // A client that has gone, or no sockets left: neither ends a server.
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
    }
}

/// One connection, until it breaks. An error of it is nobody's but the client's, who sees it too.
async fn converse(stream: TcpStream, shared: Arc<Shared>, id: u64) {
    drop(stream.set_nodelay(true));
    let (states, input, output) = (shared.watch(), BytesMut::new(), BytesMut::new());
    let arrived = Instant::now();
    let (sender, messages) = mpsc::unbounded_channel();
    let session = Session::new(id);
    let guest = Guest { shared, id };
    guest.shared.join(id, sender);
    drop(
        Connection { stream, guest, states, session, input, output, arrived, messages }.run().await,
    );
}

/// A connection, as long as it lasts: also one whose task is ended from outside.
struct Guest {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

struct Connection {
    stream: TcpStream,
    guest: Guest,
    states: watch::Receiver<State>,
    session: Session,
    input: BytesMut,
    output: BytesMut,
    /// When the last bytes came.
    arrived: Instant,
    /// What is published to it.
    messages: mpsc::UnboundedReceiver<Resp>,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        while !self.session.has_quit() {
            self.while_hung().await;
            match take_command(&mut self.input) {
                Ok(Some(words)) if words.is_empty() => {}
                Ok(Some(words)) => self.answer(&words).await?,
                Ok(None) => {
                    self.write().await?;
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Err(malformed) => {
                    self.put(&Resp::error(format!("ERR {malformed}")), Protocol::Resp2)?;
                    break;
                }
            }
        }
        self.write().await
    }

    /// What came while the node hangs is carried out later.
    async fn while_hung(&mut self) {
        let is_awake = |state: &State| match state {
            State::Hung => false,
            State::Serving | State::Deaf | State::Mute | State::Down => true,
        };
        // An error means that the node is about to be dropped, and this task with it.
        drop(self.states.wait_for(is_awake).await);
    }

    async fn answer(&mut self, words: &[Bytes]) -> io::Result<()> {
        let delay = self.guest.shared.delay();
        if !delay.is_zero() {
            self.write().await?;
            sleep_until(self.arrived + delay).await;
        }
        loop {
            match self.guest.shared.execute(&mut self.session, words) {
                Fate::Answered(reply) => return self.put(&reply, self.session.protocol()),
                Fate::Swallowed => return Ok(()),
                // Hung in this moment, or down: then this task is being ended.
                Fate::Waits => {
                    self.while_hung().await;
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn put(&mut self, reply: &Resp, protocol: Protocol) -> io::Result<()> {
        put_reply(reply, protocol, &mut self.output).map_err(io::Error::other)
    }

    async fn write(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all_buf(&mut self.output).await?;
        }
        Ok(())
    }

    /// Whether there was anything to read, or to hand on.
    async fn read(&mut self) -> io::Result<bool> {
        tokio::select! {
            len = self.stream.read_buf(&mut self.input) => {
                self.arrived = Instant::now();
                Ok(len? > 0)
            }
            Some(message) = self.messages.recv() => {
                self.while_hung().await;
                self.put(&message, self.session.protocol())?;
                Ok(true)
            }
        }
    }
}
