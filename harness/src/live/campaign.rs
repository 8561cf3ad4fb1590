//! Many runs, a few of them at the same time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use super::plan::Plan;
use super::run::{Run, RunError, Setup, run};

/// How often a run is made again in which the fault did not strike: real machines do not come to the same point at
/// the same time twice.
const AGAIN_MAX: usize = 2;

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// With what.
    pub setup: Arc<Setup>,
    /// What.
    pub plan: Plan,
}

/// Makes all runs, up to `jobs` at the same time, and tells of each as it ends; those that would begin after `until`
/// are not made. Returns how many were not.
pub fn campaign(
    todo: Vec<Job>,
    jobs: usize,
    until: Option<Instant>,
    mut told: impl FnMut(&Job, Result<Run, RunError>),
) -> usize {
    let queue = Mutex::new(todo.into_iter().collect::<VecDeque<Job>>());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let done = done.clone();
            scope.spawn(move || {
                while until.is_none_or(|until| Instant::now() < until) {
                    let Some(job) = next() else { return };
                    let came = run_until_it_tells(&job);
                    if done.send((job, came)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (job, came) in ended {
            told(&job, came);
        }
    });
    queue.into_inner().unwrap_or_else(PoisonError::into_inner).len()
}

/// Runs it, and again if its fault met nobody.
fn run_until_it_tells(job: &Job) -> Result<Run, RunError> {
    let mut came = run(&job.setup, &job.plan);
    for _ in 1..AGAIN_MAX {
        match &came {
            Ok(run) if run.unknown.is_some() && run.broken.is_empty() => {}
            Ok(_) | Err(_) => break,
        }
        came = run_again(job, came);
    }
    came
}

fn run_again(job: &Job, before: Result<Run, RunError>) -> Result<Run, RunError> {
    match run(&job.setup, &job.plan) {
        Ok(again) => Ok(again),
        Err(_) => before,
    }
}
