//! What each node was told, in order and with times.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::rule::{Command, Fault};

/// How many bytes the log keeps: some hundred thousand commands of locks.
const BYTES_MAX: usize = 128 << 20;

/// What an entry takes beside its texts, roughly.
const ENTRY_BYTES: usize = 256;

/// What the nodes of a network were told.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In the order in which the commands came from the clients.
    pub told: Vec<Told>,
    /// How many further commands were not kept, because there were too many: where this is not 0, the log proves
    /// nothing.
    pub missed: u64,
}

/// A command that a client sent to a node, and what became of it.
///
/// Times are counted from the origin of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which node, by its place.
    pub node: usize,
    /// Which client, by its place.
    pub client: usize,
    /// By which connection of this client to this node, counted from 1.
    pub connection: usize,
    /// When it came from the client.
    pub seen: Duration,
    /// When it went to the node; `None` if it has not, or never will. The node handled it between this and `answered`.
    pub at: Option<Duration>,
    /// When the node's answer was there.
    pub answered: Option<Duration>,
    /// When that answer went to the client; `None` if it has not, or never will.
    pub delivered: Option<Duration>,
    /// What was said.
    pub command: Command,
    /// What the node answered.
    pub answer: Option<Answer>,
    /// Which fault it met.
    pub fate: Fate,
}

/// Which fault a command met. A link's delay or cut is not one of a command; times tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// None.
    Passed,
    /// That of a rule.
    Struck(Fault),
    /// It is the second copy of the one before, made by [`Fault::Duplicate`].
    Copied,
    /// It came after one that was lost, so that it is lost too.
    Lost,
}

/// An answer, as far as a judge of locks wants to know it.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// `OK`, `QUEUED` and the like.
    Status(String),
    /// No value.
    Nil,
    /// A number.
    Integer(i64),
    /// A text, cut off where it is long.
    Text(Vec<u8>),
    /// A refusal.
    Error(String),
    /// Several answers.
    Array(Vec<Answer>),
    /// Another kind, or one that lies too deep.
    Other,
}

/// A text may be a token.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => f.write_str(status),
            Self::Nil => f.write_str("nil"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{} bytes", text.len()),
            Self::Error(error) => write!(f, "error {:?}", error.split(' ').next().unwrap_or("")),
            Self::Array(answers) => f.debug_list().entries(answers).finish(),
            Self::Other => f.write_str("another kind of answer"),
        }
    }
}

/// The log of one network, or of one link that stands alone.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    origin: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug)]
struct Record {
    log: Log,
    bytes: usize,
    bytes_max: usize,
    /// How many entries were cleared away: the number of the first that is left.
    cleared: usize,
}

/// The number of an entry; it outlives a clearing, and then names nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(Option<usize>);

impl Recorder {
    pub(crate) fn new(origin: Instant) -> Self {
        Self::bounded(origin, BYTES_MAX)
    }

    fn bounded(origin: Instant, bytes_max: usize) -> Self {
        let record = Record { log: Log::default(), bytes: 0, bytes_max, cleared: 0 };
        Self { origin, record: Arc::new(Mutex::new(record)) }
    }

    pub(crate) fn log(&self) -> Log {
        self.record().log.clone()
    }

    pub(super) fn of_link(&self, client: usize, node: usize) -> Log {
        let record = self.record();
        let of_it = |told: &&Told| told.client == client && told.node == node;
        let told = record.log.told.iter().filter(of_it).cloned().collect();
        Log { told, missed: record.log.missed }
    }

    pub(crate) fn clear(&self) {
        let mut record = self.record();
        record.cleared += record.log.told.len();
        record.log = Log::default();
        record.bytes = 0;
    }

    pub(super) fn note(&self, client: usize, node: usize, command: Command, fate: Fate) -> Entry {
        let seen = self.origin.elapsed();
        let mut record = self.record();
        let bytes = command.args().iter().map(Vec::len).sum::<usize>() + ENTRY_BYTES;
        if record.bytes + bytes > record.bytes_max {
            record.log.missed += 1;
            return Entry(None);
        }
        record.bytes += bytes;
        let connection = command.connection();
        record.log.told.push(Told {
            node,
            client,
            connection,
            seen,
            at: None,
            answered: None,
            delivered: None,
            command,
            answer: None,
            fate,
        });
        Entry(Some(record.cleared + record.log.told.len() - 1))
    }

    pub(super) fn forwarded(&self, entry: Entry) {
        self.change(entry, |told, now| told.at = Some(now));
    }

    pub(super) fn answered(&self, entry: Entry, answer: Answer) {
        self.change(entry, |told, now| (told.answered, told.answer) = (Some(now), Some(answer)));
    }

    pub(super) fn delivered(&self, entry: Entry) {
        self.change(entry, |told, now| told.delivered = Some(now));
    }

    fn change(&self, entry: Entry, change: impl FnOnce(&mut Told, Duration)) {
        let now = self.origin.elapsed();
        let mut record = self.record();
        let cleared = record.cleared;
        let place = entry.0.and_then(|number| number.checked_sub(cleared));
        if let Some(told) = place.and_then(|place| record.log.told.get_mut(place)) {
            change(told, now);
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str) -> Command {
        Command::new(1, vec![name.into(), vec![0; 100]])
    }

    #[test]
    fn a_full_log_says_so_and_a_cleared_one_begins_anew() {
        let recorder = Recorder::bounded(Instant::now(), 2 * (ENTRY_BYTES + 110));
        let first = recorder.note(0, 0, command("SET"), Fate::Passed);
        recorder.note(1, 0, command("GET"), Fate::Passed);
        let third = recorder.note(0, 1, command("DEL"), Fate::Passed);
        recorder.answered(third, Answer::Nil);
        recorder.answered(first, Answer::Integer(1));
        let log = recorder.log();
        assert_eq!((log.told.len(), log.missed), (2, 1));
        assert_eq!(log.told[0].answer, Some(Answer::Integer(1)));
        assert_eq!(recorder.of_link(1, 0).told, log.told[1..]);
        assert_eq!(recorder.of_link(0, 1).missed, 1, "any of them may be missing");

        recorder.clear();
        let again = recorder.note(0, 0, command("PING"), Fate::Passed);
        recorder.answered(first, Answer::Nil);
        assert_eq!(recorder.log().told[0].answer, None, "of one that was cleared away");
        recorder.forwarded(again);
        assert!(recorder.log().told[0].at.is_some() && recorder.log().missed == 0);
    }

    #[test]
    fn no_token_is_shown() {
        let recorder = Recorder::new(Instant::now());
        let login = Command::new(1, vec![b"AUTH".into(), b"s3cret".into()]);
        let entry = recorder.note(0, 0, login, Fate::Passed);
        let text = || Answer::Text(b"s3cret".into());
        recorder.answered(entry, Answer::Array(vec![text(), Answer::Error("NO s3cret".into())]));
        let shown = format!("{recorder:?} {:?}", recorder.log());
        assert!(shown.contains("AUTH") && !shown.contains("s3cret"), "{shown}");
    }
}
