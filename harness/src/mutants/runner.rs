//! Puts every planted bug to the tiers that are here, and keeps the score.

use std::fmt;
use std::time::Duration;

use super::duel::Duels;
use super::registry::{Mutant, Setting, Trial, each};
use crate::model::{Bounds, Budget, FOR_GOOD, Invariant, Keep, Story, explore};
use crate::system::{Machine, NodeCell};

/// What became of a planted bug.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// An invariant did not hold.
    Killed {
        /// Which.
        by: Invariant,
        /// The shortest way there.
        story: Story,
        /// How many states, or turns, it took to find.
        states: usize,
        /// How long.
        elapsed: Duration,
    },
    /// Everything held.
    Survived {
        /// In how many states, or turns.
        states: usize,
    },
    /// The tier cannot show it.
    NotHere,
}

/// The exhaustive tier.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exhaustive {
    /// What each bug may cost.
    pub budget: Budget,
}

impl Exhaustive {
    /// The model in which `mutant` is looked for, with its settings.
    #[must_use]
    pub fn bounds(mutant: &Mutant) -> Option<Bounds> {
        let bounds = mutant.bounds?();
        Some(match mutant.setting {
            Setting::Right => bounds,
            Setting::NoQuarantine => Bounds { quarantine_ticks: 0, ..bounds },
            Setting::ShortQuarantine => {
                Bounds { quarantine_ticks: bounds.validity_ticks - 1, ..bounds }
            }
            Setting::OutForGood => Bounds { quarantine_ticks: FOR_GOOD, ..bounds },
            Setting::FencesLost => Bounds { keep: Keep::Nothing, ..bounds },
        })
    }
}

impl Trial for Exhaustive {
    type Verdict = Verdict;

    fn put<M: Machine, C: NodeCell>(&mut self, mutant: &Mutant) -> Verdict {
        let Some(bounds) = Self::bounds(mutant) else { return Verdict::NotHere };
        let Ok(outcome) = explore::<M, C>(&bounds, &self.budget) else { return Verdict::NotHere };
        match outcome.violation {
            Some(story) => Verdict::Killed {
                by: story.invariant,
                story,
                states: outcome.states,
                elapsed: outcome.elapsed,
            },
            None => Verdict::Survived { states: outcome.states },
        }
    }
}

/// A planted bug, and what killed it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The bug.
    pub mutant: &'static Mutant,
    /// The tier with the verdict.
    pub tier: &'static str,
    /// The verdict.
    pub verdict: Verdict,
}

impl Row {
    /// Whether it was killed by the invariant that should.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(&self.verdict, Verdict::Killed { by, .. } if *by == self.mutant.killer)
    }
}

/// All planted bugs, and the score.
#[derive(Clone, Debug)]
#[must_use]
pub struct Report {
    /// One for each.
    pub rows: Vec<Row>,
}

impl Report {
    /// Those that were not killed, or not by the invariant that should.
    pub fn survivors(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_killed())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let Mutant { id, wrong, killer, .. } = row.mutant;
            write!(f, "{id:5}{wrong:50}")?;
            match &row.verdict {
                Verdict::Killed { by, story, states, elapsed } => writeln!(
                    f,
                    "{by:13}{:3} steps {states:9} states {:7.2} s  {}",
                    story.steps.len(),
                    elapsed.as_secs_f64(),
                    row.tier
                )?,
                Verdict::Survived { states } => {
                    writeln!(f, "SURVIVED {killer} in {states} states  {}", row.tier)?;
                }
                Verdict::NotHere => writeln!(f, "for another tier")?,
            }
        }
        let killed = self.rows.iter().filter(|row| row.is_killed()).count();
        write!(f, "{killed} of {} killed", self.rows.len())
    }
}

/// Puts every planted bug to the exhaustive tier, and those that it cannot show to the duels.
pub fn run(budget: Budget) -> Report {
    let model = each(&mut Exhaustive { budget });
    let duels = each(&mut Duels);
    let rows = model.into_iter().zip(duels).map(|((mutant, verdict), (_, duel))| match verdict {
        Verdict::NotHere => Row { mutant, tier: "duel", verdict: duel },
        verdict @ (Verdict::Killed { .. } | Verdict::Survived { .. }) => {
            Row { mutant, tier: "model", verdict }
        }
    });
    Report { rows: rows.collect() }
}
