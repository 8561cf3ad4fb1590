//! What is to be seen: a live view on a terminal, lines elsewhere, a summary in the end.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use redlatch_harness::embedded::{Cluster, State};

use super::record::What;
use super::referee::{Counts, Referee};

/// Between two pictures; also how exactly the plan is kept.
pub(super) const SHOW_EVERY: Duration = Duration::from_millis(20);

pub(super) enum View {
    Terminal(Terminal),
    Lines { shown: usize },
}

pub(super) struct Terminal {
    bars: MultiProgress,
    nodes: Vec<ProgressBar>,
    resources: Vec<ProgressBar>,
    total: ProgressBar,
    shown: usize,
}

impl View {
    pub(super) fn new(nodes: usize, resources: &[String]) -> Self {
        if !io::stdout().is_terminal() {
            return Self::Lines { shown: 0 };
        }
        let bars = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::stdout());
        let line = || {
            let bar = bars.add(ProgressBar::no_length());
            // The template has one field, and its name is known.
            bar.set_style(
                ProgressStyle::with_template("  {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        };
        let nodes = (0..nodes).map(|_| line()).collect();
        let resources = resources.iter().map(|_| line()).collect();
        let total = line();
        Self::Terminal(Terminal { bars, nodes, resources, total, shown: 0 })
    }

    /// Shows how things stand.
    pub(super) fn show(&mut self, cluster: &Cluster, referee: &Referee) {
        match self {
            Self::Terminal(terminal) => terminal.show(cluster, referee),
            Self::Lines { shown } => {
                for line in news(shown, referee) {
                    say!("{line}");
                }
            }
        }
    }

    pub(super) fn finish(self) {
        if let Self::Terminal(terminal) = self {
            // Nothing is lost if the terminal has gone.
            drop(terminal.bars.clear());
        }
    }
}

impl Terminal {
    fn show(&mut self, cluster: &Cluster, referee: &Referee) {
        for (index, (bar, node)) in self.nodes.iter().zip(cluster).enumerate() {
            let offset = node.clock_offset_ms();
            let commands = node.commands();
            bar.set_message(format!(
                "n{index}  {:<8} clock {offset:>+4} ms  {commands:>7} commands",
                state(node.state())
            ));
        }
        let holders = referee.holders();
        for ((bar, name), holder) in self.resources.iter().zip(referee.names()).zip(holders) {
            bar.set_message(match holder {
                Some((worker, fence)) => format!("{name}  held by w{worker}, fence {fence}"),
                None => format!("{name}  free"),
            });
        }
        let counts = referee.counts();
        let seconds = referee.record().elapsed().as_secs_f64();
        self.total.set_message(format!(
            "{seconds:4.1} s  {} grants, {} lost, {} writes, {} stale ones refused",
            counts.grants, counts.losses, counts.writes, counts.stale_writes
        ));
        for line in news(&mut self.shown, referee).into_iter().filter(|line| line.contains("WRONG"))
        {
            // As above.
            drop(self.bars.println(line));
        }
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Serving => "serves",
        State::Hung => "hangs",
        State::Deaf => "is deaf",
        State::Mute => "is mute",
        State::Down => "is down",
    }
}

/// What is worth a line of what happened since the last time.
fn news(shown: &mut usize, referee: &Referee) -> Vec<String> {
    let events = referee.record().since(*shown);
    *shown += events.len();
    let line = |event: super::record::Event| {
        let seconds = event.at.as_secs_f64();
        let text = match event.what {
            What::FaultBegan { node, text, .. } => format!("n{node} {text}"),
            What::FaultEnded { node, .. } => format!("n{node} is back"),
            What::Lost { hold } => {
                format!("w{} lost {} and was told", hold.worker, referee.names()[hold.resource])
            }
            What::Written { hold, fence, accepted: false } => {
                let name = &referee.names()[hold.resource];
                format!("{name} refused a late write of w{}, fence {fence}", hold.worker)
            }
            What::Violation { text, .. } => format!("WRONG: {text}"),
            What::Healed => "everything healed".to_owned(),
            What::Clock { .. }
            | What::Crashed { .. }
            | What::Restarted { .. }
            | What::Asked { .. }
            | What::Granted { .. }
            | What::NotGranted { .. }
            | What::Extended { .. }
            | What::GivenUp { .. }
            | What::Released { .. }
            | What::Key { .. }
            | What::Written { accepted: true, .. } => return None,
        };
        Some(format!("{seconds:6.2} s  {text}"))
    };
    events.into_iter().filter_map(line).collect()
}

/// Numbers and rates.
pub(super) fn summary(counts: &Counts, cluster: &Cluster, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = |count: u64| format!("{:.0}/s", count as f64 / seconds);
    let commands = cluster.iter().map(|node| node.commands()).sum::<u64>();
    let rows = [
        ("grants", counts.grants, rate(counts.grants)),
        ("extensions", counts.extensions, rate(counts.extensions)),
        ("writes accepted", counts.writes, rate(counts.writes)),
        ("late writes refused by their fence", counts.stale_writes, String::new()),
        (
            "locks lost",
            counts.losses,
            format!("told at most {:.1} ms late", counts.loss_late_max.as_secs_f64() * 1e3),
        ),
        ("waits without success", counts.refusals, String::new()),
        ("waits called off", counts.cancelled, String::new()),
        ("looks at all nodes", counts.looks, rate(counts.looks)),
        ("commands that nodes carried out", commands, rate(commands)),
    ];
    say!();
    for (name, count, note) in rows {
        say!("  {name:<34} {count:>8}  {note}");
    }
    say!("  {:<34} {:>5} ms", "longest wait for a grant", counts.acquire_max.as_millis());
    say!();
}

/// What was checked, all of it in vain.
pub(super) fn all_well(nodes: usize) {
    let quorum = nodes / 2 + 1;
    say!("No two workers held one resource at a time.");
    say!("Whoever held one was backed, at every look, by {quorum} of {nodes} nodes or more.");
    say!("All fences were different, rose from grant to grant, and were accepted from holders.");
    say!("Every loss was told in time, every wait ended, and no key was left behind.");
}
