//! `run`: a command under a lock.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use redlatch::{Guard, Loss, Options, Redlatch};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::acquire;
use crate::args::RunArgs;
use crate::child::{self, Running};
use crate::config::Settings;
use crate::exit::{Exit, Failure};
use crate::lease::{AFTER_FAILURE, AFTER_SUCCESS};
use crate::output::{Log, human};
use crate::signals::{self, Signals, Terminal};

/// How long the command has to end after SIGTERM, unless told otherwise and if it fits the lease: what
/// `docker stop` gives.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait for a majority to confirm the release. Nodes that are well take a round trip; the
/// others must not keep the command's result back.
const RELEASE_MAX: Duration = Duration::from_secs(1);
/// How often to look whether all of a process group has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long the lock may be held, and when the command must be told that it ends.
#[derive(Clone, Copy)]
struct Terms {
    max_hold: Duration,
    /// From SIGTERM to SIGKILL.
    grace: Duration,
    /// From SIGTERM to the end of the lock, if it cannot be renewed. The lock is renewed when a third
    /// of it is used up, so with a third or less nobody is told without need.
    lead: Duration,
}

impl Terms {
    fn new(settings: &Settings) -> Self {
        let max_hold = settings.max_hold.unwrap_or(Options::HOLD_MAX);
        let fits = settings.ttl().min(max_hold) / 3;
        let grace = settings.grace.unwrap_or(GRACE.min(fits));
        Self { max_hold, grace, lead: grace.min(fits) }
    }
}

/// Runs a command under a lock.
pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let log = Log::new(&args.verbosity);
    let mut settings = Settings::load(&args.nodes)?.with(&args.acquire);
    settings.max_hold = args.max_hold.or(settings.max_hold);
    settings.grace = args.grace.or(settings.grace);
    let terms = Terms::new(&settings);
    let redlatch = settings.connect()?;
    let terminal = Terminal::find();
    // Before the lock is taken, so that no signal ends redlatch while it has something to release.
    let mut signals = Signals::for_command(terminal)?;

    let begun = Instant::now();
    // A lock that is granted too late to be renewed in time is none to start a command with.
    let options = settings.options().renew_up_to(terms.max_hold).validity_min(terms.lead);
    let acquired = tokio::select! {
        biased;
        signal = signals.next_ending() => Ok(Err(signals::exit(signal))),
        guard = acquire::acquire(&redlatch, &args.resources, options) => guard.map(Ok),
    };
    let guard = match acquired {
        Ok(Ok(guard)) => guard,
        Ok(Err(interrupted)) => {
            redlatch.shutdown_within(AFTER_FAILURE).await;
            return Ok(interrupted);
        }
        Err(error) => {
            redlatch.shutdown_within(AFTER_FAILURE).await;
            return Err(error);
        }
    };
    let fence = guard.fence().map(|fence| fence.to_string());
    let told = fence.as_ref().map(|fence| format!(", with fence {fence}")).unwrap_or_default();
    log.note(format_args!("acquired {} after {}{told}", guard.resources(), human(begun.elapsed())));

    let environment = [
        ("REDLATCH_RESOURCE", Some(OsString::from(args.resources.join("\n")))),
        ("REDLATCH_FENCE", fence.map(OsString::from)),
    ];
    let result = if guard.is_valid() {
        match Running::start(&args.command, &environment, terminal) {
            Ok(child) => Supervisor::new(child, &guard, terms, log).supervise(&mut signals).await,
            Err(error) => Ok(child::exit_not_started(&args.command, &error)),
        }
    } else {
        // Redlatch was held up since the grant: nothing is begun under a lock that is over.
        let why = "the lock was over before the command could be started; try again";
        Err(Failure::new(Exit::Contended, why))
    };
    let_go(&redlatch, guard, log).await;
    result
}

/// Releases the lock, however silent the nodes are.
async fn let_go(redlatch: &Redlatch, guard: Guard, log: Log) {
    let resources = guard.resources().clone();
    if guard.is_valid() {
        match timeout(RELEASE_MAX, guard.release()).await {
            Ok(Ok(())) => log.note(format_args!("released {resources}")),
            Ok(Err(error)) => log.warn(error),
            Err(_) => log.warn("too few nodes confirmed the release; the lock ends with its ttl"),
        }
    } else {
        drop(guard);
    }
    redlatch.shutdown_within(AFTER_SUCCESS).await;
}

/// Looks after a running command and its lock.
struct Supervisor<'a> {
    child: Running,
    guard: &'a Guard,
    terms: Terms,
    /// When the lock was granted, or a little later.
    held_since: Instant,
    log: Log,
}

/// How far the command has been ended.
#[derive(Clone, Copy)]
enum Stage {
    Running,
    /// SIGTERM was sent.
    Told {
        why: Loss,
        kill_at: Instant,
    },
    /// SIGKILL was sent.
    Killed {
        why: Loss,
    },
}

impl<'a> Supervisor<'a> {
    fn new(child: Running, guard: &'a Guard, terms: Terms, log: Log) -> Self {
        Self { child, guard, terms, held_since: Instant::now(), log }
    }

    /// Waits until the command has ended, by itself or because the lock is being lost.
    async fn supervise(mut self, signals: &mut Signals) -> Result<Exit, Failure> {
        let mut stage = Stage::Running;
        let status = loop {
            tokio::select! {
                biased;
                status = self.child.wait() => break status,
                signal = signals.next_relayed() => self.child.signal(signal),
                next = next_stage(self.guard, self.terms, self.held_since, stage) => {
                    stage = self.enter(next);
                }
            }
        };
        self.ended(status, stage).await
    }

    fn enter(&self, stage: Stage) -> Stage {
        match stage {
            Stage::Running => {}
            Stage::Told { why, .. } => {
                let left = self.guard.remaining();
                self.log.warn(match why {
                    _ if left.is_zero() => "the lock was lost; ending the command".to_owned(),
                    Loss::Expired => format!(
                        "the lock could not be renewed and is lost in {}; ending the command",
                        human(left)
                    ),
                    Loss::HoldMax => format!(
                        "the lock may be held for {}, which ends in {}; ending the command",
                        human(self.terms.max_hold),
                        human(left)
                    ),
                });
                self.child.signal(Signal::TERM);
                // A command that is stopped could not act on it.
                self.child.signal(Signal::CONT);
            }
            Stage::Killed { .. } => {
                self.log.warn("the command did not end in time; killing it");
                self.child.signal(Signal::KILL);
            }
        }
        stage
    }

    async fn ended(self, status: io::Result<ExitStatus>, stage: Stage) -> Result<Exit, Failure> {
        let status = status.map_err(|error| {
            Failure::new(Exit::Internal, format!("the command cannot be waited for: {error}"))
        })?;
        match stage {
            Stage::Running if self.guard.is_valid() => Ok(child::exit(status)),
            Stage::Running => Err(Failure::new(
                Exit::Lost,
                "the lock was lost just before the command ended; somebody else may have held it",
            )),
            Stage::Told { why, kill_at } => {
                self.end_group(kill_at).await;
                Err(ended_for(why, self.terms))
            }
            Stage::Killed { why } => Err(ended_for(why, self.terms)),
        }
    }

    /// Gives what the command has started in its process group the rest of its time.
    async fn end_group(&self, kill_at: Instant) {
        while self.child.is_reachable() {
            if Instant::now() >= kill_at {
                self.child.signal(Signal::KILL);
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits for the moment at which something must be done to the command.
async fn next_stage(guard: &Guard, terms: Terms, held_since: Instant, stage: Stage) -> Stage {
    match stage {
        Stage::Running => {
            let why = about_to_be_lost(guard, terms, held_since).await;
            Stage::Told { why, kill_at: Instant::now() + terms.grace }
        }
        Stage::Told { why, kill_at } => {
            sleep_until(kill_at).await;
            Stage::Killed { why }
        }
        Stage::Killed { .. } => std::future::pending().await,
    }
}

/// Waits until less than the lead is left of the lock, and tells why that is so.
async fn about_to_be_lost(guard: &Guard, terms: Terms, held_since: Instant) -> Loss {
    let mut lost = std::pin::pin!(guard.lost());
    loop {
        let left = guard.remaining();
        if left <= terms.lead {
            // A lock that goes on to the end of its longest hold is not renewed any more.
            let end = held_since.elapsed() + left;
            return if end >= terms.max_hold.saturating_sub(terms.lead / 2) {
                Loss::HoldMax
            } else {
                Loss::Expired
            };
        }
        tokio::select! {
            loss = &mut lost => return loss,
            // It may have been renewed by then.
            () = sleep(left - terms.lead) => {}
        }
    }
}

fn ended_for(why: Loss, terms: Terms) -> Failure {
    Failure::new(
        Exit::Lost,
        match why {
            Loss::Expired => {
                "the command was ended because its lock could not be renewed".to_owned()
            }
            Loss::HoldMax => format!(
                "the command was ended because its lock may be held for {} (--max-hold)",
                human(terms.max_hold)
            ),
        },
    )
}
