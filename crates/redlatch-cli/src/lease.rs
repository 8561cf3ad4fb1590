//! `acquire`, `extend` and `release`: a lease in the hands of a script.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redlatch::{AdoptError, ExtendError, LeaseParts, Redlatch, Vote, Votes};
use rustix::process::Signal;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::acquire;
use crate::args::{AcquireArgs, ExtendArgs, ReleaseArgs};
use crate::config::Settings;
use crate::document::{self, Form, VERSION};
use crate::exit::{Exit, Failure};
use crate::output::{self, Log, human};
use crate::signals::{self, Signals};

/// How long to wait, when all that was asked for is done, for nodes that are still silent: long for a
/// healthy node, and too short to be noticed. What is left on the others expires.
pub(crate) const AFTER_SUCCESS: Duration = Duration::from_millis(50);
/// How long to wait when something is being cleared up: the most that a node may take to answer,
/// unless told otherwise.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// The most that is read as a lease: more than eight resources of 1024 escaped bytes.
const LEASE_BYTES_MAX: u64 = 256 * 1024;

/// Takes the lock and writes the lease down.
pub(crate) async fn acquire(args: AcquireArgs) -> Result<Exit, Failure> {
    let log = Log::new(&args.verbosity);
    let settings = Settings::load(&args.nodes)?.with(&args.acquire);
    let form = if args.json { Form::Json } else { Form::Line };
    // Before the lock is taken: a file that cannot be written is no reason to have it.
    let sink = match &args.lease_file {
        Some(path) => Sink::File(LeaseFile::prepare(path)?),
        None => Sink::StandardOutput,
    };
    let redlatch = settings.connect()?;
    let mut signals = Signals::while_waiting()?;
    let result = tokio::select! {
        biased;
        signal = signals.next() => Err(Interrupted::By(signal)),
        result = take(&redlatch, &args, &settings) => result.map_err(Interrupted::Not),
    };
    // From here on a signal waits: a lease that nobody was told of would hold the lock for its ttl.
    let result = match result {
        Ok(lease) => match document::write(&lease, form).and_then(|text| sink.write(&text)) {
            Ok(()) => {
                log.note(acquired(&lease));
                Ok(Exit::Done)
            }
            Err(failure) => {
                // Nobody could extend or release it.
                drop(redlatch.release(&lease).await);
                Err(failure)
            }
        },
        Err(Interrupted::By(signal)) => Ok(signals::exit(signal)),
        Err(Interrupted::Not(failure)) => Err(failure),
    };
    let within = if matches!(result, Ok(Exit::Done)) { AFTER_SUCCESS } else { AFTER_FAILURE };
    redlatch.shutdown_within(within).await;
    result
}

/// Why there is no lease.
enum Interrupted {
    By(Signal),
    Not(Failure),
}

async fn take(
    redlatch: &Redlatch,
    args: &AcquireArgs,
    settings: &Settings,
) -> Result<LeaseParts, Failure> {
    let guard = acquire::acquire(redlatch, &args.resources, settings.options()).await?;
    guard.into_parts().await.map_err(Failure::lost)
}

fn acquired(lease: &LeaseParts) -> String {
    let fence = lease.fence.map(|fence| format!(", with fence {fence}")).unwrap_or_default();
    format!("acquired {} for {}{fence}", lease.resources, human(lease.ttl))
}

/// Extends a lease and writes it down anew.
pub(crate) async fn extend(args: ExtendArgs) -> Result<Exit, Failure> {
    let log = Log::new(&args.verbosity);
    let settings = Settings::load(&args.nodes)?;
    let file = args.source.lease_file.as_deref();
    let (lease, form) = document::read(&read(file)?)?;
    let form = if args.json { Form::Json } else { form };
    let sink = match file {
        Some(path) => Sink::File(LeaseFile::prepare(path)?),
        None => Sink::StandardOutput,
    };
    let redlatch = settings.connect()?;
    let result = match lengthen(&redlatch, &lease, &settings).await {
        Ok(lease) => document::write(&lease, form).and_then(|text| sink.write(&text)).map(|()| {
            log.note(format_args!("extended {} for {}", lease.resources, human(lease.ttl)));
            Exit::Done
        }),
        Err(failure) => Err(failure),
    };
    let within = if result.is_ok() { AFTER_SUCCESS } else { AFTER_FAILURE };
    redlatch.shutdown_within(within).await;
    result
}

async fn lengthen(
    redlatch: &Redlatch,
    lease: &LeaseParts,
    settings: &Settings,
) -> Result<LeaseParts, Failure> {
    let guard = redlatch.adopt(lease, &settings.options())?;
    match guard.extend().await {
        Ok(()) => guard.into_parts().await.map_err(Failure::lost),
        Err(ExtendError::AtRisk { votes, .. }) if is_refused(&votes) => Err(Failure::new(
            Exit::Lost,
            format!(
                "too few nodes have this lease: it was released, or they have forgotten it; \
                 somebody else may hold the lock: {votes}"
            ),
        )),
        Err(error @ ExtendError::AtRisk { .. }) => {
            // The lease is still good. Dropping the guard would release it.
            drop(guard.into_parts().await);
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether so many nodes said that they do not have the lease that the others are no majority.
fn is_refused(votes: &Votes) -> bool {
    let refused = votes.iter().filter(|(_, vote)| matches!(vote, Vote::Refused { .. })).count();
    let others = votes.iter().len() - refused;
    others <= votes.iter().len() / 2
}

/// The JSON of `release`.
#[derive(Serialize)]
struct ReleasedDocument {
    version: u32,
    resources: Vec<String>,
    /// Whether it was done while the lease was good.
    released: bool,
}

/// Releases a lease.
pub(crate) async fn release(args: ReleaseArgs) -> Result<Exit, Failure> {
    let log = Log::new(&args.verbosity);
    let settings = Settings::load(&args.nodes)?;
    let (lease, _) = document::read(&read(args.source.lease_file.as_deref())?)?;
    let redlatch = settings.connect()?;
    let result = redlatch.release(&lease).await;
    redlatch.shutdown_within(AFTER_SUCCESS).await;
    if args.json {
        output::print(&output::json(&ReleasedDocument {
            version: VERSION,
            resources: document::names(&lease.resources),
            released: result.is_ok(),
        })?)?;
    }
    match result {
        Ok(()) => {
            log.note(format_args!("released {}", lease.resources));
            Ok(Exit::Done)
        }
        Err(AdoptError::Lost(_)) => Err(Failure::new(
            Exit::Lost,
            "the lease was over before it was released; somebody else may have held the lock since",
        )),
        Err(error) => Err(error.into()),
    }
}

/// The text of a lease: from a file, else from standard input, never from an argument.
fn read(file: Option<&Path>) -> Result<String, Failure> {
    let mut text = String::new();
    let result = match file {
        Some(path) => fs::File::open(path)
            .and_then(|file| file.take(LEASE_BYTES_MAX).read_to_string(&mut text)),
        None => io::stdin().lock().take(LEASE_BYTES_MAX).read_to_string(&mut text),
    };
    match result {
        Ok(_) => Ok(text),
        Err(error) => {
            let source = file.map_or("standard input".into(), Path::to_string_lossy);
            let message = format!("the lease cannot be read from {source}: {error}");
            Err(Failure::new(Exit::File, message))
        }
    }
}

/// Where a lease is written.
enum Sink {
    StandardOutput,
    File(LeaseFile),
}

impl Sink {
    fn write(self, text: &str) -> Result<(), Failure> {
        match self {
            Self::StandardOutput => output::print(text),
            Self::File(file) => file.write(text),
        }
    }
}

/// A file that is to have a lease: written beside its place and then put there, so that whoever
/// reads it finds a whole lease, and nobody but its owner finds any.
struct LeaseFile {
    path: PathBuf,
    /// Made with mode 0600.
    draft: NamedTempFile,
}

impl LeaseFile {
    fn prepare(path: &Path) -> Result<Self, Failure> {
        // A link is followed here, because putting the draft in its place would replace it.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if path.exists() && !path.is_file() {
            let message =
                format!("{} is no regular file, so no lease is put there", path.display());
            return Err(Failure::new(Exit::File, message));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        match NamedTempFile::with_prefix_in(".redlatch-", folder) {
            Ok(draft) => Ok(Self { path, draft }),
            Err(error) => Err(unwritten(&path, &error)),
        }
    }

    fn write(self, text: &str) -> Result<(), Failure> {
        let Self { path, mut draft } = self;
        let written = draft.write_all(text.as_bytes());
        let placed = written.and_then(|()| draft.persist(&path).map_err(|error| error.error));
        placed.map(drop).map_err(|error| unwritten(&path, &error))
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    // The draft's path would only confuse.
    let error = error.to_string();
    let reason = error.split(" at path ").next().unwrap_or_default();
    let message = format!("the lease file {} cannot be written: {reason}", path.display());
    Failure::new(Exit::File, message)
}
