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

use super::link::{Connections, Shared, Way};
use super::log::{Entry, Fate};
use super::resp::{self, Frames};
use super::rule::{Command, Fault, RuleShared, Then};
use crate::live::PATIENCE;

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
    entry: Entry,
    outcome: Outcome,
    /// Told of the reply's coming.
    rule: Option<Arc<RuleShared>>,
}

/// What becomes of a reply.
enum Outcome {
    Pass,
    Delay(Duration),
    Hold(Arc<RuleShared>),
    Swallow,
    Lose(Then),
}

/// Something for the client, in the order in which it is to see it.
enum Delivery {
    Frame { frame: Vec<u8>, due: Due, answers: Option<Entry> },
    Nothing,
    Lost(Then),
}

enum Due {
    Now,
    At(Instant),
    Released(Arc<RuleShared>),
}

impl Due {
    /// After both delays.
    fn after(rule: Duration, link: Duration) -> Self {
        match rule + link {
            Duration::ZERO => Self::Now,
            delay => Self::At(Instant::now() + delay),
        }
    }

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
            tokio::spawn(carry(upstream, Arc::clone(&shared), to_server, from_server));
            talk(
                read_requests(Frames::new(reader), connection, &shared, requests),
                write_replies(writer, &shared, replies),
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
            shared.lose(command);
            continue;
        }
        // A closed queue means that the server is gone, which the other half tells the client.
        match route(frame, command, shared) {
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

/// What becomes of a command's frame by the rule that strikes it.
fn route(frame: Vec<u8>, command: Command, shared: &Shared) -> Route {
    let copy = command.clone();
    let (entry, rule) = shared.strike(command);
    let link_delay = shared.request_delay();
    let late = |delay| Due::after(delay, link_delay);
    let due = late(Duration::ZERO);
    let Some(rule) = rule else {
        let expected = Expected { entry, outcome: Outcome::Pass, rule: None };
        return Route::Once(Request { frame, due, expected });
    };
    let (due, outcome) = match rule.fault {
        Fault::DelayRequest(delay) => (late(delay), Outcome::Pass),
        Fault::HoldRequest => (Due::Released(Arc::clone(&rule)), Outcome::Pass),
        Fault::DelayReply(delay) => (due, Outcome::Delay(delay)),
        Fault::HoldReply => (due, Outcome::Hold(Arc::clone(&rule))),
        Fault::DropReply(then) => (due, Outcome::Lose(then)),
        Fault::DropRequest(then) => return Route::Lost(then),
        Fault::Duplicate => {
            let first = Expected { entry, outcome: Outcome::Pass, rule: None };
            let entry = shared.note(copy, Fate::Copied);
            let second = Expected { entry, outcome: Outcome::Swallow, rule: Some(rule) };
            return Route::Twice(
                Request { frame: frame.clone(), due, expected: first },
                Request { frame, due: late(Duration::ZERO), expected: second },
            );
        }
    };
    Route::Once(Request { frame, due, expected: Expected { entry, outcome, rule: Some(rule) } })
}

async fn write_replies(
    mut writer: impl AsyncWrite + Unpin,
    shared: &Shared,
    mut deliveries: mpsc::Receiver<Delivery>,
) -> End {
    while let Some(delivery) = deliveries.recv().await {
        match delivery {
            Delivery::Frame { frame, due, answers } => {
                due.wait().await;
                shared.passable(Way::Reply).await;
                if let Some(entry) = answers {
                    shared.delivered(entry);
                }
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
    shared: Arc<Shared>,
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
    let forwarding = forward(writer, &shared, requests, expect);
    let answering = answer(Frames::new(reader), &shared, expected, deliveries);
    tokio::pin!(forwarding, answering);
    tokio::select! {
        () = &mut forwarding => drop(answering.await),
        _ = &mut answering => {}
    }
}

async fn forward(
    mut writer: impl AsyncWrite + Unpin,
    shared: &Shared,
    mut requests: mpsc::Receiver<Request>,
    expect: mpsc::UnboundedSender<Expected>,
) {
    while let Some(Request { frame, due, expected }) = requests.recv().await {
        due.wait().await;
        shared.passable(Way::Request).await;
        let entry = expected.entry;
        // Announced before it is written, so that no reply comes unexpected.
        if expect.send(expected).is_err() {
            return;
        }
        shared.forwarded(entry);
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Hands on each reply as its request wants it; ends with the server, or after the last reply.
async fn answer(
    mut frames: Frames<impl AsyncRead + Unpin>,
    shared: &Shared,
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
                    expected.delivery(frame, shared)
                }
            },
            // Nothing is owed: a push, or a message to a subscriber.
            frame = frames.next() => match frame? {
                None => return Ok(()),
                Some(frame) => Delivery::push(frame),
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
        let _ = deliveries.send(Delivery::push(frame)).await;
    }
    Ok(None)
}

impl Delivery {
    fn push(frame: Vec<u8>) -> Self {
        Self::Frame { frame, due: Due::Now, answers: None }
    }
}

impl Expected {
    fn delivery(self, frame: Vec<u8>, shared: &Shared) -> Delivery {
        shared.answered(self.entry, resp::answer(&frame));
        if let Some(rule) = &self.rule {
            rule.note_answer();
        }
        let link_delay = shared.reply_delay();
        let late = |delay| Due::after(delay, link_delay);
        let due = match self.outcome {
            Outcome::Pass => late(Duration::ZERO),
            Outcome::Delay(delay) => late(delay),
            Outcome::Hold(rule) => Due::Released(rule),
            Outcome::Swallow => return Delivery::Nothing,
            Outcome::Lose(then) => return Delivery::Lost(then),
        };
        Delivery::Frame { frame, due, answers: Some(self.entry) }
    }
}
