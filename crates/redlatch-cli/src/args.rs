//! The arguments, and with them the help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit;

/// What the configuration file may say, and where it is.
const SETTINGS: &str = "\
Nodes and other settings come from the flags, else from the environment
(REDLATCH_NODES, separated by commas or spaces), else from a configuration
file: --config, else $REDLATCH_CONFIG, else ~/.config/redlatch.toml
($XDG_CONFIG_HOME is respected). All of its keys:

  nodes = [
    \"redis://10.0.0.1\",
    { name = \"attic\", url = \"rediss://user:password@10.0.0.2\" },
    \"redis+unix:///run/redis/redis.sock\",
  ]
  ttl = \"30s\"
  wait = \"10s\"
  max_hold = \"1h\"
  grace = \"10s\"
  node_timeout = \"200ms\"
  restart_guard = \"1m\"
  key_prefix = \"lock:\"
  plain = false
  fence = true

A URL with a password belongs in the file (mode 0600) or the environment:
other users see the arguments of a process. Every client of a lock must have
the same nodes, key prefix and restart guard.";

/// Run a command, or a part of a script, under a distributed lock on a majority of Redis nodes
#[derive(Debug, Parser)]
#[command(name = "redlatch", version, max_term_width = 100)]
#[command(after_help = exit::TABLE)]
#[command(after_long_help = format!("{SETTINGS}\n\n{}", exit::TABLE))]
#[command(infer_subcommands = false, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Acquire(AcquireArgs),
    Extend(ExtendArgs),
    Release(ReleaseArgs),
    Status(StatusArgs),
    Doctor(DoctorArgs),
    DeclareFresh(DeclareFreshArgs),
    /// Print a completion script for a shell
    Completions {
        shell: Shell,
    },
    /// Print the manual page, of redlatch or of one of its commands
    Man {
        /// The command, such as `run`
        command: Option<String>,
    },
}

/// Run a command under the lock
///
/// Takes the lock, runs the command, renews the lock while it runs, releases it, and ends with the
/// command's code. The command finds the resource in REDLATCH_RESOURCE (several, one a line) and the
/// fencing token, if there is one, in REDLATCH_FENCE: whatever the lock protects should refuse a
/// lower one than the highest it has seen.
#[derive(Debug, Args)]
#[command(after_help = "Example: redlatch run --wait 1m nightly-report -- ./report.sh --all\n\n\
    Codes of redlatch's own are 64 to 76, 126 and 127: `redlatch --help` lists them.")]
#[command(after_long_help = RUN_DETAILS)]
pub(crate) struct RunArgs {
    /// What to lock; several are locked together and need one {hash tag}
    #[arg(required = true, value_name = "RESOURCE")]
    pub(crate) resources: Vec<String>,
    /// What to run, and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) acquire: AcquireFlags,
    /// How long the lock may be held; then the command is ended [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) max_hold: Option<Duration>,
    /// How long the command has to end, from SIGTERM to SIGKILL, when the lock is being lost
    /// [default: 10s, at most a third of --ttl and --max-hold]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

const RUN_DETAILS: &str = "\
Examples:
  redlatch run --wait 1m nightly-report -- ./report.sh --all
  redlatch run -n redis://a -n redis://b -n redis://c deploy -- \\
    sh -c 'echo fence $REDLATCH_FENCE'

Losing the lock: a lock that cannot be renewed, or was held for --max-hold,
ends. The command gets SIGTERM before that, --grace earlier, and SIGKILL when it
has not ended within the grace, so that it is not at work when somebody else may
be. (A grace of more than a third of --ttl or --max-hold begins a third before
the end, and goes on after it.) The code is then 76, whatever the command's was.

Signals: HUP, TERM, USR1 and USR2 are passed on to the command. The rest depends
on whether redlatch has a terminal. With one, the command stays in redlatch's
process group, and Ctrl-C, Ctrl-\\, Ctrl-Z and changes of the window reach it
from the terminal itself: INT and QUIT are not passed on, so that nothing comes
twice. Without one (cron, services, CI) the command leads a process group of its
own, and INT, QUIT, TSTP, CONT and WINCH are passed on too, each to the whole
group, as is what ends the command when the lock is lost. Signals that redlatch
was started to ignore, as by nohup, stay ignored. While redlatch waits for the
lock, HUP, INT, QUIT and TERM end it.

If redlatch itself is killed (SIGKILL), Linux kills the command with it. What
the command has started, and set-user-ID programs, go on, and on other systems so
does the command. The lock then ends by itself, after its ttl at the latest.

Exit codes: 64 to 75 mean that the command was not started, 76 that the lock was
lost and the command was ended for it, 126 and 127 that the command cannot be
executed or was not found, 128+N that signal N ended it. All others are the
command's own. For a command that uses these itself: on each of its own codes
redlatch prints a line that begins with `redlatch:` on standard error.";

/// Take the lock and print the lease
///
/// Nobody renews the lock: it is free after --ttl unless `redlatch extend` is told the lease in
/// time. The lease has the token of the lock in it, which lets anybody release it: keep it secret.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lease=$(redlatch acquire --ttl 1m report) || exit
  …
  printf '%s\\n' \"$lease\" | redlatch release")]
pub(crate) struct AcquireArgs {
    /// What to lock; several are locked together and need one {hash tag}
    #[arg(required = true, value_name = "RESOURCE")]
    pub(crate) resources: Vec<String>,
    #[command(flatten)]
    pub(crate) acquire: AcquireFlags,
    /// Write the lease to this file, for its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) lease_file: Option<PathBuf>,
    /// Print the lease as JSON: version, resources, token, fence, ttl_ms, valid_until_ms, valid_until
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// Extend a lease for its ttl, and print it anew
///
/// A lease that was over cannot be extended: somebody else may have held the lock since.
#[derive(Debug, Args)]
#[command(after_help = "Example: redlatch extend --lease-file /run/report.lease")]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    pub(crate) source: LeaseFlags,
    /// Print the lease as JSON; otherwise it is printed as it was read
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// Release a lease
#[derive(Debug, Args)]
#[command(after_help = "Example: printf '%s\\n' \"$lease\" | redlatch release")]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) source: LeaseFlags,
    /// Print as JSON what was released: version, resources, released
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// Tell whether a lock is held, and for how long still
///
/// Asks every node. It is a look, not a promise: the answer may be over when it is printed. Ends
/// with 0 if the lock is held, 1 if it is free, 75 if it is just being taken or released, 69 if too
/// few nodes answered.
#[derive(Debug, Args)]
#[command(after_help = "Example: redlatch status report || echo nobody is at work")]
pub(crate) struct StatusArgs {
    /// What is locked; several as they are locked together
    #[arg(required = true, value_name = "RESOURCE")]
    pub(crate) resources: Vec<String>,
    /// Print JSON: version, resources, state, remaining_ms, nodes
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// Tell what is wrong with the nodes, and what to do about it
///
/// Looks whether each node can be reached, lets redlatch in, runs scripts, is a server of its own
/// without replicas, keeps what it stores (persistence or the restart guard; no eviction), is new
/// enough, agrees with the others on the time, and answers well within the node timeout. Changes
/// nothing. Prints one row for each node and finding: `mend` and what to do, `unknown` where a node
/// does not tell, `advice` where locks are as safe without. Ends with 0 if all is well, advice aside,
/// 1 if there is something to mend or to find out.
#[derive(Debug, Args)]
#[command(after_help = "Example: redlatch doctor -n redis://a -n redis://b -n redis://c")]
pub(crate) struct DoctorArgs {
    /// The time to live that locks have: the allowance for clocks and the time to answer follow it
    /// [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Print JSON: version, nodes, findings
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// Let new nodes vote at once in spite of the restart guard
///
/// Only while setting nodes up: a node that has lost its keys looks like a new one, and declaring
/// that fresh can give a lock two holders. Prints the nodes that are fresh now, one a line, and ends
/// with 0 if that is all of them, 69 if some had been seen before or did not answer.
#[derive(Debug, Args)]
pub(crate) struct DeclareFreshArgs {
    /// Print JSON: version, fresh
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) nodes: NodeFlags,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// How to ask for a lock.
#[derive(Debug, Args)]
pub(crate) struct AcquireFlags {
    /// How long the nodes keep the lock if redlatch is gone [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// How long to wait for the lock if it is taken; 0 tries once [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Ask for no fencing token
    #[arg(long)]
    pub(crate) no_fence: bool,
}

/// Where to read a lease.
#[derive(Debug, Args)]
pub(crate) struct LeaseFlags {
    /// Read the lease from this file instead of standard input; what is extended is written back
    #[arg(long, value_name = "FILE")]
    pub(crate) lease_file: Option<PathBuf>,
}

/// The nodes and what they have in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "Nodes (see `redlatch --help`)")]
pub(crate) struct NodeFlags {
    /// A node, as redis://, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://; once for
    /// each [default: $REDLATCH_NODES, else those of the file]
    // A parser of clap would repeat the URL, and the password in it, when it does not like it.
    #[arg(short = 'n', long = "node", value_name = "URL")]
    pub(crate) nodes: Vec<String>,
    /// Read settings from this file [default: $REDLATCH_CONFIG, else ~/.config/redlatch.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How long a node may take to answer [default: a tenth of the ttl, 50ms to 500ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) node_timeout: Option<Duration>,
    /// Keep nodes that may have forgotten keys from voting for this long: the longest ttl that any
    /// client uses
    #[arg(long, value_name = "TTL_MAX", value_parser = humantime::parse_duration)]
    pub(crate) restart_guard: Option<Duration>,
    /// Put this before the name of every resource
    #[arg(long, value_name = "PREFIX")]
    pub(crate) key_prefix: Option<String>,
    /// Lock by SET NX instead of scripts: one resource, no fence, no restart guard
    #[arg(long)]
    pub(crate) plain: bool,
}

/// How much to say.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct Verbosity {
    /// Say nothing on standard error, but for bad usage; the exit code tells
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say on standard error what happens
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
