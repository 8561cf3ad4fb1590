//! Puts every planted bug to the tier that shows it, and keeps the score.

use std::fmt;
use std::time::{Duration, Instant};

use super::duel::duel;
use super::registry::{MUTANTS, Mutant, Place, Seen, Setting, Trial, each};
use crate::check::{Invariant, Invariants};
use crate::model::{Bounds, Budget, FOR_GOOD, Keep, Story, explore};
use crate::plan::{Plan, Profile};
use crate::sim::{
    AfterViolation, Campaign, Counterexample, Failure, Shipped, Surroundings, System, check_only,
};
use crate::system::{Machine, NodeCell};

/// What became of a planted bug.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// An invariant did not hold.
    Killed(Box<Kill>),
    /// Everything that was looked at held.
    Survived {
        /// In how many states, seeds or turns.
        tries: u64,
    },
    /// The tier could not tell.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// How a planted bug was found.
#[derive(Clone, Debug)]
pub struct Kill {
    /// What does not hold.
    pub by: Invariant,
    /// The end of the story, in a sentence.
    pub sentence: String,
    /// How long the story is: steps of the model, events of the simulator, turns of a duel.
    pub steps: usize,
    /// How many states, seeds or turns it took to find.
    pub tries: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What there is to show.
    pub evidence: Evidence,
}

/// What there is to show of a kill.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// The shortest way there.
    Story(Story),
    /// A plan, shrunk, and its history.
    Counterexample(Counterexample),
    /// Nothing but the sentence.
    Nothing,
}

/// Which invariants are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The one that should find the bug (in a model, with its family).
    Killer,
    /// All others that the place can check.
    Others,
}

/// Puts a bug to the place that its entry names.
#[derive(Clone, Copy, Debug)]
pub struct Tiers {
    /// What a model may cost.
    pub budget: Budget,
    /// Which invariants are looked at.
    pub asked: Asked,
}

/// The model in which `mutant` is looked for, with its setting.
fn bounds(mutant: &Mutant, bounds: Bounds, asked: Asked) -> Bounds {
    let mut bounds = match mutant.setting {
        Setting::Right | Setting::OpenResource => bounds,
        Setting::NoQuarantine => Bounds { quarantine_ticks: 0, ..bounds },
        Setting::ShortQuarantine => {
            Bounds { quarantine_ticks: bounds.validity_ticks - 1, ..bounds }
        }
        Setting::OutForGood => Bounds { quarantine_ticks: FOR_GOOD, ..bounds },
        Setting::FencesLost => Bounds { keep: Keep::Nothing, ..bounds },
    };
    if asked == Asked::Others {
        bounds.invariants.retain(|invariant| *invariant != mutant.killer);
    }
    bounds
}

impl Tiers {
    fn model<M: Machine, C: NodeCell>(&self, bounds: &Bounds) -> Verdict {
        let outcome = match explore::<M, C>(bounds, &self.budget) {
            Ok(outcome) => outcome,
            Err(error) => return Verdict::Unknown { why: error.to_string() },
        };
        let tries = outcome.states as u64;
        let Some(story) = outcome.violation else {
            return match outcome.complete {
                true => Verdict::Survived { tries },
                false => Verdict::Unknown { why: format!("given up after {tries} states") },
            };
        };
        Verdict::Killed(Box::new(Kill {
            by: story.invariant,
            sentence: story.end.clone(),
            steps: story.steps.len(),
            tries,
            elapsed: outcome.elapsed,
            evidence: Evidence::Story(story),
        }))
    }

    fn simulate<S: System + Sync>(
        &self,
        system: &S,
        killer: Invariant,
        profile: Profile,
        seeds: u64,
    ) -> Verdict {
        let checked = match self.asked {
            Asked::Killer => Invariants::NONE.with(killer),
            Asked::Others => Invariants::ALL.without(killer),
        };
        let jobs = self.budget.threads.map_or(0, std::num::NonZeroUsize::get);
        let campaign = Campaign { checked, jobs, ..Campaign::new(profile, seeds) };
        debug_assert_eq!(campaign.after_violation, AfterViolation::Stop);
        let started = Instant::now();
        let report = campaign.run(system, |_| {});
        let Some((seed, _)) = report.failures.first() else {
            return Verdict::Survived { tries: report.runs };
        };
        let Err(Failure::Violated(found)) =
            check_only(&Plan::draw(*seed, profile), system, checked)
        else {
            let why = format!("seed {seed:#x} fails only sometimes: the simulator is broken");
            return Verdict::Unknown { why };
        };
        let elapsed = started.elapsed();
        let shrunk = found.shrunk(system, checked);
        Verdict::Killed(Box::new(Kill {
            by: shrunk.violation.invariant,
            sentence: shrunk.violation.story.clone(),
            steps: shrunk.history.events().len(),
            tries: seed + 1,
            elapsed,
            evidence: Evidence::Counterexample(shrunk),
        }))
    }
}

impl Trial for Tiers {
    type Verdict = Verdict;

    fn put<M: Machine, C: NodeCell>(&mut self, mutant: &Mutant) -> Verdict {
        match (mutant.place, mutant.setting) {
            (Place::Model(of), _) => self.model::<M, C>(&bounds(mutant, of(), self.asked)),
            (Place::Simulator(profile, seeds), Setting::OpenResource) => {
                let system = Shipped::<M, C, Open>::new();
                self.simulate(&system, mutant.killer, profile, seeds)
            }
            (Place::Simulator(profile, seeds), Setting::ShortQuarantine) => {
                let system = Shipped::<M, C, Hasty>::new();
                self.simulate(&system, mutant.killer, profile, seeds)
            }
            (Place::Simulator(profile, seeds), Setting::Right) => {
                self.simulate(&Shipped::<M, C>::new(), mutant.killer, profile, seeds)
            }
            (
                Place::Simulator(..),
                Setting::NoQuarantine | Setting::OutForGood | Setting::FencesLost,
            ) => Verdict::Unknown { why: "the simulator has no such setting".to_owned() },
            (Place::Duel, _) => in_step::<M, C>(),
        }
    }
}

/// X3: a resource that does not look at fences.
#[derive(Clone, Copy, Debug)]
struct Open;

impl Surroundings for Open {
    fn admits(_: u64, _: u64) -> bool {
        true
    }
}

/// X11: nodes that may have forgotten something vote again too early.
#[derive(Clone, Copy, Debug)]
struct Hasty;

impl Surroundings for Hasty {
    fn quarantine_ms(ttl_max_ms: u64) -> u64 {
        ttl_max_ms / 2
    }
}

fn in_step<M: Machine, C: NodeCell>() -> Verdict {
    let started = Instant::now();
    match duel::<M, C>() {
        Ok(duel) if duel.granted_at.is_none() => Verdict::Killed(Box::new(Kill {
            by: Invariant::Progress,
            sentence: format!(
                "two clients ask at once, lose {} attempts in step, and neither is ever granted the \
                 lock",
                duel.ties
            ),
            steps: duel.turns,
            tries: 1,
            elapsed: started.elapsed(),
            evidence: Evidence::Nothing,
        })),
        Ok(duel) => Verdict::Survived { tries: duel.turns as u64 },
        Err(error) => Verdict::Unknown { why: error.to_string() },
    }
}

/// A planted bug, and what became of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The bug.
    pub mutant: &'static Mutant,
    /// What its killer made of it.
    pub verdict: Verdict,
    /// Where only its killer should see it: what all others made of it.
    pub others: Option<Verdict>,
}

impl Row {
    /// Whether it was killed by the invariant that should, and by no other if that is what it is for.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        let killed =
            matches!(&self.verdict, Verdict::Killed(kill) if kill.by == self.mutant.killer);
        killed && matches!(self.others, None | Some(Verdict::Survived { .. }))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mutant { id, wrong, killer, place, .. } = self.mutant;
        write!(f, "{id:5}{wrong:58}{:6}", place.tier())?;
        match &self.verdict {
            Verdict::Killed(kill) => {
                let Kill { by, steps, tries, elapsed, .. } = &**kill;
                let seconds = elapsed.as_secs_f64();
                let by = by.to_string();
                write!(f, "{by:17}{steps:6} steps {tries:9} tried {seconds:7.2} s")?;
            }
            Verdict::Survived { tries } => write!(f, "SURVIVED {killer}, {tries} tried")?,
            Verdict::Unknown { why } => write!(f, "UNKNOWN: {why}")?,
        }
        match &self.others {
            Some(Verdict::Survived { .. }) if self.is_as_expected() => {
                f.write_str("  no other sees it there")
            }
            Some(Verdict::Survived { .. }) | None => Ok(()),
            Some(Verdict::Unknown { why }) => write!(f, "  others UNKNOWN: {why}"),
            Some(Verdict::Killed(kill)) => write!(f, "  BUT {} SEES IT TOO", kill.by),
        }
    }
}

/// Planted bugs, and the score.
#[derive(Clone, Debug)]
#[must_use]
pub struct Report {
    /// One for each.
    pub rows: Vec<Row>,
}

impl Report {
    /// Those that were not killed, or not by the invariant that should.
    pub fn unexpected(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_as_expected())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed = self.rows.len() - self.unexpected().count();
        let alone = |row: &&Row| row.others.is_some() && row.is_as_expected();
        let alone: Vec<&Row> = self.rows.iter().filter(alone).collect();
        write!(f, "{killed} of {} killed; ", self.rows.len())?;
        let mut invariants: Vec<_> = alone.iter().map(|row| row.mutant.killer).collect();
        invariants.sort_unstable();
        invariants.dedup();
        let all = Invariant::ALL.len();
        write!(
            f,
            "{} of {all} invariants have a bug that no other of its tier sees",
            invariants.len()
        )
    }
}

/// Puts one planted bug to its place, by its id; `None` if there is none of this name.
#[must_use]
pub fn run_one(id: &str, budget: Budget) -> Option<Row> {
    let mutant = MUTANTS.iter().find(|mutant| mutant.id == id)?;
    let put = |asked| {
        let mut verdicts = each(|other| other.id == id, &mut Tiers { budget, asked });
        verdicts.pop().map(|(_, verdict)| verdict)
    };
    let verdict = put(Asked::Killer)?;
    let others = match mutant.seen {
        Seen::Once => put(Asked::Others),
        Seen::Often => None,
    };
    Some(Row { mutant, verdict, others })
}

/// Puts every planted bug to its place.
pub fn run(budget: Budget) -> Report {
    Report { rows: MUTANTS.iter().filter_map(|mutant| run_one(mutant.id, budget)).collect() }
}
