//! One client's connection through the proxy.
//!
//! Two tasks, joined by two queues. The *client side* owns the client's socket: it reads commands,
//! asks the rules and writes replies. The *server side* owns the server's socket: it writes
//! requests when they are due and reads replies. When the client is gone the client side ends, and
//! the server side first delivers what is still on its way. Each socket has one owner, so that
//! ending the task closes it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Instant};

use super::resp::{self, Frames};
use super::rule::{Command, Fault, RuleShared, Then};
use super::{Connections, Shared};
use crate::wait::PATIENCE;

/// How many frames one connection may have on their way per direction. When they are held, the
/// client's further ones stay in its socket and are not seen by rules or log, as with TCP.
const FRAMES_MAX: usize = 1024;

/// A command on its way to the server.
struct Request {
    frame: Vec<u8>,
    due: Due,
    expected: Expected,
}

/// A reply that the server owes, in the order of the requests.
struct Expected {
    fate: Fate,
    /// Told of the reply's coming.
    rule: Option<Arc<RuleShared>>,
}

enum Fate {
    Pass,
    Delay(Duration),
    Hold(Arc<RuleShared>),
    Swallow,
    Lose(Then),
}

/// Something for the client, in the order in which it is to see it.
enum Delivery {
    Frame(Vec<u8>, Due),
    Nothing,
    Lost(Then),
}

enum Due {
    Now,
    At(Instant),
    Released(Arc<RuleShared>),
}

impl Due {
    async fn wait(self) {
        match self {
            Self::Now => {}
            Self::At(instant) => time::sleep_until(instant).await,
            Self::Released(rule) => rule.wait_released().await,
        }
    }
}

/// How one half of the client side came to its end.
enum End {
    /// No more comes from there; the other half may go on.
    Closed,
    /// What is left of this direction was lost in silence.
    Silent,
    /// The client is to see a reset.
    Reset,
}

/// The client side, from the accepted socket to its end.
pub(super) async fn serve(
    mut client: TcpStream,
    connection: usize,
    upstream: SocketAddr,
    shared: Arc<Shared>,
    mut modes: watch::Receiver<Connections>,
    mut resets: watch::Receiver<()>,
) {
    let _ = client.set_nodelay(true);
    let end = tokio::select! {
        biased;
        _ = resets.changed() => End::Reset,
        end = async {
            if modes.wait_for(|mode| *mode == Connections::Pass).await.is_err() {
                return End::Closed;
            }
            let (reader, writer) = client.split();
            let (requests, to_server) = mpsc::channel(FRAMES_MAX);
            let (from_server, replies) = mpsc::channel(FRAMES_MAX);
            tokio::spawn(carry(upstream, to_server, from_server));
            talk(
                read_requests(Frames::new(reader), connection, &shared, requests),
                write_replies(writer, replies),
            )
            .await
        } => end,
    };
    if matches!(end, End::Reset) {
        // Closing a socket with a zero linger time sends RST instead of FIN.
        let _ = client.set_zero_linger();
    }
}

/// Runs both halves until the connection is over.
async fn talk(reads: impl Future<Output = End>, writes: impl Future<Output = End>) -> End {
    tokio::pin!(reads, writes);
    tokio::select! {
        end = &mut reads => match end {
            // The client may have closed only its sending half: replies still go out.
            End::Closed => writes.await,
            End::Silent | End::Reset => end,
        },
        end = &mut writes => match end {
            End::Silent => reads.await,
            End::Closed | End::Reset => end,
        },
    }
}

async fn read_requests(
    mut frames: Frames<impl AsyncRead + Unpin>,
    connection: usize,
    shared: &Shared,
    requests: mpsc::Sender<Request>,
) -> End {
    let mut is_lost = false;
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return End::Closed,
            Err(_) => return End::Reset,
        };
        let Ok(args) = resp::arguments(&frame) else { return End::Reset };
        let command = Command::new(connection, args);
        if is_lost {
            shared.note(command);
            continue;
        }
        // A closed queue means that the server is gone, which the other half tells the client.
        match route(frame, shared.strike(command)) {
            Route::Once(request) => drop(requests.send(request).await),
            Route::Twice(first, second) => {
                let _ = requests.send(first).await;
                let _ = requests.send(second).await;
            }
            Route::Lost(Then::Reset) => return End::Reset,
            // The queue stays open: its end would close the client's connection.
            Route::Lost(Then::Hang) => is_lost = true,
        }
    }
}

enum Route {
    Once(Request),
    Twice(Request, Request),
    Lost(Then),
}

/// What becomes of a command's frame by the rule that struck it.
fn route(frame: Vec<u8>, rule: Option<Arc<RuleShared>>) -> Route {
    let pass = |frame| Request { frame, due: Due::Now, expected: Expected::pass(None) };
    let Some(rule) = rule else { return Route::Once(pass(frame)) };
    let fault = rule.fault;
    let due = match fault {
        Fault::DelayRequest(delay) => Due::At(Instant::now() + delay),
        Fault::HoldRequest => Due::Released(Arc::clone(&rule)),
        Fault::DelayReply(_)
        | Fault::HoldReply
        | Fault::DropRequest(_)
        | Fault::DropReply(_)
        | Fault::Duplicate => Due::Now,
    };
    let fate = match fault {
        Fault::DelayReply(delay) => Fate::Delay(delay),
        Fault::HoldReply => Fate::Hold(Arc::clone(&rule)),
        Fault::DropReply(then) => Fate::Lose(then),
        Fault::DropRequest(then) => return Route::Lost(then),
        Fault::Duplicate => {
            let first = pass(frame.clone());
            let expected = Expected { fate: Fate::Swallow, rule: Some(rule) };
            return Route::Twice(first, Request { frame, due, expected });
        }
        Fault::DelayRequest(_) | Fault::HoldRequest => Fate::Pass,
    };
    Route::Once(Request { frame, due, expected: Expected { fate, rule: Some(rule) } })
}

impl Expected {
    fn pass(rule: Option<Arc<RuleShared>>) -> Self {
        Self { fate: Fate::Pass, rule }
    }
}

async fn write_replies(
    mut writer: impl AsyncWrite + Unpin,
    mut deliveries: mpsc::Receiver<Delivery>,
) -> End {
    while let Some(delivery) = deliveries.recv().await {
        match delivery {
            Delivery::Frame(frame, due) => {
                due.wait().await;
                if writer.write_all(&frame).await.is_err() {
                    return End::Closed;
                }
            }
            Delivery::Nothing => {}
            Delivery::Lost(Then::Reset) => return End::Reset,
            // Dropping the queue makes the server side throw later replies away.
            Delivery::Lost(Then::Hang) => return End::Silent,
        }
    }
    End::Closed
}

/// The server side: ends when the server does, or when all requests are delivered and answered.
async fn carry(
    upstream: SocketAddr,
    requests: mpsc::Receiver<Request>,
    deliveries: mpsc::Sender<Delivery>,
) {
    let Ok(Ok(mut server)) = time::timeout(PATIENCE, TcpStream::connect(upstream)).await else {
        let _ = deliveries.send(Delivery::Lost(Then::Reset)).await;
        return;
    };
    let _ = server.set_nodelay(true);
    let (reader, writer) = server.split();
    let (expect, expected) = mpsc::unbounded_channel();
    let forwarding = forward(writer, requests, expect);
    let answering = answer(Frames::new(reader), expected, deliveries);
    tokio::pin!(forwarding, answering);
    tokio::select! {
        () = &mut forwarding => drop(answering.await),
        _ = &mut answering => {}
    }
}

async fn forward(
    mut writer: impl AsyncWrite + Unpin,
    mut requests: mpsc::Receiver<Request>,
    expect: mpsc::UnboundedSender<Expected>,
) {
    while let Some(Request { frame, due, expected }) = requests.recv().await {
        due.wait().await;
        // Announced before it is written, so that no reply comes unexpected.
        if expect.send(expected).is_err() || writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Hands on each reply as its request wants it; ends with the server, or after the last reply.
async fn answer(
    mut frames: Frames<impl AsyncRead + Unpin>,
    mut expected: mpsc::UnboundedReceiver<Expected>,
    deliveries: mpsc::Sender<Delivery>,
) -> io::Result<()> {
    loop {
        let delivery = tokio::select! {
            biased;
            next = expected.recv() => match next {
                None => return Ok(()),
                Some(expected) => {
                    let Some(frame) = next_reply(&mut frames, &deliveries).await? else {
                        return Ok(());
                    };
                    expected.delivery(frame)
                }
            },
            // Nothing is owed: a push, or a message to a subscriber.
            frame = frames.next() => match frame? {
                None => return Ok(()),
                Some(frame) => Delivery::Frame(frame, Due::Now),
            },
        };
        // The client may be gone; the server's answers are awaited all the same.
        let _ = deliveries.send(delivery).await;
    }
}

/// The next frame that answers a command; pushes before it are handed on.
async fn next_reply(
    frames: &mut Frames<impl AsyncRead + Unpin>,
    deliveries: &mpsc::Sender<Delivery>,
) -> io::Result<Option<Vec<u8>>> {
    while let Some(frame) = frames.next().await? {
        if !resp::is_push(&frame) {
            return Ok(Some(frame));
        }
        let _ = deliveries.send(Delivery::Frame(frame, Due::Now)).await;
    }
    Ok(None)
}

impl Expected {
    fn delivery(self, frame: Vec<u8>) -> Delivery {
        if let Some(rule) = &self.rule {
            rule.note_answer();
        }
        match self.fate {
            Fate::Pass => Delivery::Frame(frame, Due::Now),
            Fate::Delay(delay) => Delivery::Frame(frame, Due::At(Instant::now() + delay)),
            Fate::Hold(rule) => Delivery::Frame(frame, Due::Released(rule)),
            Fate::Swallow => Delivery::Nothing,
            Fate::Lose(then) => Delivery::Lost(then),
        }
    }
}
