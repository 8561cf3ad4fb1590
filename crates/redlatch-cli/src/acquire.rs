//! Acquiring, and telling why not in a way that scripts can rely on.

use redlatch::{AcquireError, Guard, Inspection, LockState, Options, Redlatch, Vote};

use crate::exit::{Exit, Failure};
use crate::output::human;

/// Acquires the lock on `resources`.
pub(crate) async fn acquire(
    redlatch: &Redlatch,
    resources: &[String],
    options: Options,
) -> Result<Guard, Failure> {
    match redlatch.acquire(resources.to_vec(), options).await {
        Ok(guard) => Ok(guard),
        Err(error) => Err(explain(redlatch, resources, error).await),
    }
}

/// The failure behind an error. When the wait ended in the middle of an attempt, its votes do not tell
/// a taken lock from a lack of nodes: whoever has just been asked is silent in both. So nodes are
/// looked at once more.
async fn explain(redlatch: &Redlatch, resources: &[String], error: AcquireError) -> Failure {
    let AcquireError::DeadlineExceeded { votes: Some(votes) } = &error else {
        return error.into();
    };
    if votes.iter().any(|(_, vote)| matches!(vote, Vote::Refused { .. })) {
        return Failure::new(Exit::Contended, error.to_string());
    }
    match redlatch.inspect(resources.to_vec()).await {
        Ok(inspection) if has_quorum(&inspection) => {
            Failure::new(Exit::Contended, waited_in_vain(&inspection))
        }
        Ok(_) | Err(_) => error.into(),
    }
}

/// Whether a majority of the nodes answered.
pub(crate) fn has_quorum(inspection: &Inspection) -> bool {
    let answers = inspection.nodes.iter().filter(|node| node.sighting.is_ok()).count();
    answers > inspection.nodes.len() / 2
}

fn waited_in_vain(inspection: &Inspection) -> String {
    match inspection.state {
        LockState::Held { remaining: Some(remaining) } => {
            let left = human(remaining);
            format!("the lock is taken, for at most {left} unless it is extended; wait longer")
        }
        LockState::Held { remaining: None } => {
            "the lock is taken, and its keys never expire; see who has set them".to_owned()
        }
        LockState::Free | LockState::Undecided | _ => {
            "the lock was taken for as long as was waited, and may be free now; try again"
                .to_owned()
        }
    }
}
