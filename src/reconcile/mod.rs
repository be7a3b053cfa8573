//! The control loop: observe, plan, apply, status.
//!
//! One loop per process. It wakes by timer, new snapshot, engine change or request; what woke it is told and never acted
//! on. Each pass takes the latest snapshot, reads it ([`crate::spec::load`]), observes the engine, plans
//! ([`plan::Plan::new`], pure), takes the plan's steps without stopping at the first failure, and publishes a
//! [`status::Status`].
//!
//! The loop is infallible: whatever fails is in the status, and is tried again with capped, jittered back-off. Git
//! failing leaves the last snapshot in force; before the first snapshot, what ran goes on and nothing is planned (law 8).
//! An unchanged repository and an unchanged live side make no engine call but `observe`.
//!
//! It knows the engine by its trait only, the destination by its state only, and nothing of Kafka or HTTP.

mod apply;
mod books;
pub mod compare;
mod handle;
mod pass;
pub mod plan;
pub mod render;
pub mod source;
pub mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::destination::state::StateStore;
use crate::engine::Engine;
use crate::spec::Scope;
use crate::supervise::{self, Task};

pub use handle::{Handle, NewHold, Refused};
pub use source::{Refresh, Snapshot};

/// What the loop is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who speaks in the status.
    pub instance: status::Instance,
    /// The part of the repository that it looks after.
    pub scope: Scope,
    /// Unknown keys are errors.
    pub strict: bool,
    /// What it may do.
    pub rules: status::Rules,
    /// The longest time between two passes: how old the status can be, and how long drift goes unseen.
    pub interval: Duration,
    /// First and longest wait before a failed connector is tried again.
    pub retry: (Duration, Duration),
    /// How long one engine verb or one write to the state may take.
    pub deadline: Duration,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// What the loop follows. A sender that is gone is no news.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The latest snapshot; none before the first.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// How reading the repository goes; `observed`, `applied` and `commit` are filled in by the loop.
    pub source: watch::Receiver<status::Source>,
    /// Changes whenever the engine has something new to observe.
    pub engine: watch::Receiver<u64>,
    /// Why this process may not write, while it may not: another member holds the group.
    pub standby: watch::Receiver<Option<String>>,
    /// How `POST /reconcile` has the repository looked at.
    pub refresh: Refresh,
}

impl Settings {
    /// Defaults for one instance: 5 s between passes, back-off from 1 s to 5 min, 30 s per verb.
    #[must_use]
    pub fn new(instance: status::Instance, scope: Scope, rules: status::Rules) -> Self {
        Self {
            instance,
            scope,
            strict: false,
            rules,
            interval: Duration::from_secs(5),
            retry: (Duration::from_secs(1), Duration::from_secs(300)),
            deadline: Duration::from_secs(30),
            clock: Timestamp::now,
        }
    }

    /// This instance, as its `applied/` records call it.
    #[must_use]
    pub fn owner(&self) -> String {
        let scope = &self.scope;
        let limited = if scope.sources.is_empty() { String::new() } else { format!("/{}", scope.sources.join("+")) };
        format!("{}/{}{limited}", scope.environment, scope.destination)
    }
}

/// Starts the loop. It ends when its task is dropped; what the engine runs goes on.
pub fn start<E: Engine, S: StateStore>(
    settings: Settings,
    engine: Arc<E>,
    store: S,
    inputs: Inputs,
) -> (Handle, Task<()>) {
    // Callers wait for their answer, so a short queue is enough; more than that wait for a place in it (law 10).
    let (sender, requests) = mpsc::channel(64);
    let refresh = inputs.refresh.clone();
    let (driver, status) = pass::Driver::new(settings, engine, store, inputs);
    (Handle::new(sender, status, refresh), supervise::spawn("reconcile", driver.run(requests)))
}
