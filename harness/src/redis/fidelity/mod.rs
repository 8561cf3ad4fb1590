//! Is the model right? The same random commands to it and to a real server, reply for reply.
//!
//! Time is compared soundly, however slow the machine: each command travels between two `TIME`s in one
//! transaction, so the server itself tells within microseconds when it ran, and the model's wall clock
//! is set to that. Where both `TIME`s and a little before them are one millisecond, even `PTTL` must be
//! equal; where they are not, a time may differ by as much as that window, and by no more than 1 ms. A
//! command during which a key may or may not have expired ends its script, and is counted.

mod server;
mod steps;
mod texts;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use super::codec;
use super::flavour::Flavour;
use super::node::Redis;
use super::resp::Resp;
use super::session::{Protocol, Session};

pub use server::Login;
use server::Server;
use steps::{LISTENED, Step, Times};

/// How far a time may differ, in milliseconds.
pub const TOLERANCE_MS: i64 = 1;
/// How many commands a script has.
pub const SCRIPT_LEN: usize = 60;
/// The cached time by which a server expires keys in a transaction is that of its beginning, which is a
/// few microseconds before the first `TIME`; this many, to be safe.
const BEFORE_US: u64 = 100;
/// Commands are sent in this part of a millisecond of the server's clock, so that they are likely to be
/// carried out within it.
const SENT_US: std::ops::Range<u64> = BEFORE_US..700;
/// The id of the session that listens, in the model.
const LISTENER: u64 = 2;
/// Commands that are shown before one that differs.
const CONTEXT: usize = 8;

/// What was compared, and how it came out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Scripts that were run.
    pub scripts: u64,
    /// Replies that were compared.
    pub replies: u64,
    /// Times in them that were compared, and how many of these differed by 0 and by 1 ms.
    pub times: [u64; 2],
    /// Scripts that ended early because a key may or may not have expired, or the server was too slow
    /// to tell when it did what.
    pub ambiguous: u64,
    /// Where the model was wrong.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scripts, replies, times: [same, near], ambiguous, differences } = self;
        write!(
            f,
            "{replies} replies equal in {scripts} scripts, {} differ; of {} times {same} equal, {near} by \
             1 ms; {ambiguous} scripts cut short",
            differences.len(),
            same + near
        )
    }
}

/// A command to which the model and the server said different things.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The script.
    pub seed: u64,
    /// The command, in the words of a shell.
    pub command: String,
    /// What the server said.
    pub server: Resp,
    /// What the model said.
    pub model: Resp,
    /// The commands before it.
    pub before: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.command)?;
        writeln!(f, "  server: {}", shown(&self.server))?;
        writeln!(f, "  model:  {}", shown(&self.model))?;
        self.before.iter().try_for_each(|command| writeln!(f, "  after:  {command}"))
    }
}

fn shown(resp: &Resp) -> String {
    match resp {
        Resp::Nil => "(nil)".to_owned(),
        Resp::Int(int) => format!("(integer) {int}"),
        Resp::Simple(text) => format!("{text} (status)"),
        Resp::Bulk(text) | Resp::Verbatim(text) => format!("\"{}\"", text.escape_ascii()),
        Resp::Error(text) => format!("(error) {}", text.escape_ascii()),
        Resp::Score(score) => format!("(score) {score}"),
        Resp::Array(items) | Resp::Push(items) | Resp::Several(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        Resp::Map(pairs) => {
            let pairs =
                pairs.iter().map(|(key, value)| format!("{}: {}", shown(key), shown(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A real server to compare with.
pub struct Fidelity {
    server: Server,
    /// Another connection, which listens.
    listener: Server,
    flavour: Flavour,
}

impl Fidelity {
    /// Connects to the server at `address`, whose keys will all be deleted: it must have none.
    ///
    /// # Errors
    /// If it cannot be reached, does not let us in, or has keys.
    pub fn connect(address: SocketAddr, login: &Login) -> io::Result<Self> {
        let mut server = Server::connect(address, login)?;
        if !server.is_empty()? {
            let text = "the server has keys, and they would be deleted; name one without";
            return Err(io::Error::other(text));
        }
        let flavour = server.flavour()?;
        let mut listener = Server::connect(address, login)?;
        listener.listen(LISTENED)?;
        Ok(Self { server, listener, flavour })
    }

    /// Which of the model's flavours the server is nearest to.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// What the server says its version is.
    #[must_use]
    pub fn version(&self) -> &str {
        self.server.version()
    }

    /// Runs the script drawn from `seed` on both and adds what came out to `report`. It ends at the
    /// first difference.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn run(&mut self, seed: u64, report: &mut Report) -> io::Result<()> {
        self.server.clear()?;
        let mut model = Redis::new(self.flavour, seed);
        let mut session = Session::new(1);
        let mut listener = Session::new(LISTENER);
        let _ = model.execute(0, &mut listener, &["SUBSCRIBE", LISTENED]);
        let _ = self.listener.heard()?;
        let mut before = VecDeque::new();
        let mut slack = 0;
        report.scripts += 1;
        for step in steps::steps(seed, SCRIPT_LEN) {
            std::thread::sleep(step.pause);
            self.wait_for_clear_time(&model)?;
            let (server, first_us, last_us) = self.server.run(&step)?;
            let (from, to) = ((first_us - BEFORE_US) / 1_000, last_us / 1_000);
            slack += i64::try_from(to - from).unwrap_or(i64::MAX);
            let expiry = model.expires_between(from.saturating_sub(1), to + 1);
            let reply = on_the_wire(&model.execute(first_us / 1_000, &mut session, &step.args))?;
            // Whether one expiry is later than another is as uncertain as both are.
            let compares = slack > 0 && step.compares_times();
            if expiry || compares || slack > TOLERANCE_MS {
                report.ambiguous += 1;
                return Ok(());
            }
            if !agree(&server, &reply, &step, slack, &mut report.times) {
                report.differences.push(Difference {
                    seed,
                    command: step.to_string(),
                    server,
                    model: reply,
                    before: before.into(),
                });
                return Ok(());
            }
            report.replies += 1;
            before.push_back(step.to_string());
            if before.len() > CONTEXT {
                before.pop_front();
            }
        }
        let server = self.listener.heard()?;
        let model = model.take_messages().into_iter().map(|(_, message)| on_the_wire(&message));
        let model: Vec<Resp> = model.collect::<io::Result<_>>()?;
        report.replies += 1;
        if server != model {
            let (server, model) = (Resp::Array(server), Resp::Array(model));
            let command = "what was published in all of it".to_owned();
            report.differences.push(Difference {
                seed,
                command,
                server,
                model,
                before: before.into(),
            });
        }
        Ok(())
    }

    /// Waits until no key is about to expire, and a millisecond has just begun.
    fn wait_for_clear_time(&mut self, model: &Redis) -> io::Result<()> {
        const LOOKS_MAX: u32 = 1_000;
        for _ in 0..LOOKS_MAX {
            let now_us = self.server.time_us()?;
            let now = now_us / 1_000;
            if model.expires_between(now.saturating_sub(2), now + 3) {
                std::thread::sleep(Duration::from_millis(2));
            } else if SENT_US.contains(&(now_us % 1_000)) {
                break;
            }
        }
        Ok(())
    }
}

/// The reply as it is read by whoever speaks RESP2.
fn on_the_wire(reply: &Resp) -> io::Result<Resp> {
    let mut bytes = BytesMut::new();
    codec::put_reply(reply, Protocol::Resp2, &mut bytes).map_err(io::Error::other)?;
    let reply = codec::take_reply(&mut bytes).map_err(io::Error::other)?;
    reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Whether two replies are the same, but for times, which may differ by `slack`.
fn agree(server: &Resp, model: &Resp, step: &Step, slack: i64, times: &mut [u64; 2]) -> bool {
    match (step.times, server, model) {
        (Times::Whole, Resp::Int(server), Resp::Int(model)) => {
            // Under 0 it is no time.
            near(*server, *model, if *server < 0 { 0 } else { slack }, times)
        }
        (Times::Item(at), Resp::Array(server), Resp::Array(model))
            if server.len() == model.len()
                && at < server.len()
                && server[0] == model[0]
                && server[0] != Resp::YES =>
        {
            let rest = |items: &[Resp]| {
                let mut items = items.to_vec();
                items.remove(at);
                items
            };
            let time = match (&server[at], &model[at]) {
                (Resp::Int(server), Resp::Int(model)) => near(*server, *model, slack, times),
                (server, model) => server == model,
            };
            time && rest(server) == rest(model)
        }
        (Times::None | Times::Whole | Times::Item(_), server, model) => server == model,
    }
}

fn near(server: i64, model: i64, slack: i64, times: &mut [u64; 2]) -> bool {
    let difference = (server - model).abs();
    if let Some(count) = usize::try_from(difference).ok().and_then(|at| times.get_mut(at)) {
        *count += 1;
    }
    difference <= slack
}
