//! One step, taken: the engine's verbs in order, then the note of it.
//!
//! The note comes after the deed and before the connector is run. So a crash between any two lines leaves something that
//! the next plan finishes: a deed without a note is adopted by the file of that name, a note without a running connector
//! is handed to the engine again.

use std::future::Future;
use std::time::Duration;

use super::plan::{Step, bootstrap};
use crate::destination::state::StateError;
use crate::engine::{self, ClusterIds, Engine};
use crate::spec::TargetState;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The engine's verb did.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The note did.
    #[error(transparent)]
    Note(#[from] StateError),
    /// Neither answered in time.
    #[error("{what} did not end within {} s; whether it was done shows at the next look", .deadline.as_secs())]
    Late {
        /// What was tried.
        what: String,
        /// How long it had.
        deadline: Duration,
    },
}

impl Failed {
    /// Stable code for scripts.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Engine(error) => error.code(),
            Self::Note(StateError::Newer { .. }) => "STATE-NEWER",
            Self::Note(StateError::Unreadable { .. }) => "STATE-UNREADABLE",
            Self::Note(StateError::Unavailable { .. }) => "STATE-UNAVAILABLE",
            Self::Late { .. } => "ENGINE-TIMEOUT",
        }
    }

    /// What to do, where something is to be done.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(engine::Error::Invalid { .. }) => Some("change the file".to_owned()),
            _ => None,
        }
    }
}

/// Bounds a call: a verb that hangs must not stop the other connectors (law 7).
pub(super) async fn bounded<T, X>(
    what: impl FnOnce() -> String,
    deadline: Duration,
    call: impl Future<Output = Result<T, X>>,
) -> Result<T, Failed>
where
    Failed: From<X>,
{
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result.map_err(Failed::from),
        Err(_) => Err(Failed::Late { what: what(), deadline }),
    }
}

/// Takes a step's engine verbs, up to its note.
pub(super) async fn verbs<E: Engine>(engine: &E, step: &Step) -> Result<(), engine::Error> {
    match step {
        Step::RemoveHold { .. } | Step::AcceptCluster { .. } | Step::Forget { .. } | Step::Record { .. } => Ok(()),
        Step::SetState { name, to, .. } => engine.set_state(name, *to).await,
        Step::Update { name, config, .. } | Step::Supply { name, config } => engine.put(name, config).await,
        Step::Delete { name } => match engine.delete(name).await {
            Err(engine::Error::NotFound(_)) => Ok(()),
            other => other,
        },
        Step::Create { name, config, state, .. } => {
            engine.put(name, config).await?;
            if *state != TargetState::Running {
                engine.set_state(name, *state).await?;
            }
            Ok(())
        }
        Step::Adopt { name, config, from, to, changes } => {
            if !changes.is_empty() {
                engine.put(name, config).await?;
            }
            if from != to {
                engine.set_state(name, *to).await?;
            }
            Ok(())
        }
        Step::Rename { from, to, config, state, .. } => {
            engine.rename(from, to, config).await?;
            if *state != TargetState::Running {
                engine.set_state(to, *state).await?;
            }
            Ok(())
        }
    }
}

/// What follows the note: from now on the engine runs it, or expects other clusters under it.
pub(super) async fn run<E: Engine>(engine: &E, step: &Step, clusters: &ClusterIds) -> Result<(), engine::Error> {
    let readdressed =
        || step.changes().iter().any(|d| ["source", "target"].iter().any(|side| d.key == bootstrap(side)));
    match step {
        Step::Create { name, .. }
        | Step::Adopt { name, .. }
        | Step::Rename { to: name, .. }
        | Step::AcceptCluster { name, .. } => engine.adopt(name, clusters).await,
        Step::Update { name, .. } if readdressed() => engine.adopt(name, clusters).await,
        Step::Record { name } if *clusters != ClusterIds::default() => engine.adopt(name, clusters).await,
        _ => Ok(()),
    }
}
