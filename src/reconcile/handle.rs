//! How everybody else speaks to the loop: a cheap handle whose requests are answered after a completed pass.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::source::Refresh;
use super::status::Status;
use crate::destination::state::{HistoryEntry, HoldScope};

/// The longest reason or author of a hold, in characters (law 10).
const MAX_TEXT: usize = 1_000;

/// Speaks to the loop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<Status>>,
    refresh: Refresh,
}

/// A hold that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// What to leave alone.
    pub scope: HoldScope,
    /// Why; not empty.
    pub reason: String,
    /// Who asks; not empty.
    pub by: String,
    /// Until when; without it, until it is released.
    pub until: Option<Timestamp>,
}

/// Why a request was not carried out. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The plan is another one by now.
    #[error("plan {asked} is not the current plan, which is {current}: look at it and confirm that one")]
    OtherPlan {
        /// What was to be confirmed.
        asked: String,
        /// What could be.
        current: String,
    },
    /// No step waits for it.
    #[error("nothing waits for it")]
    NothingWaits,
    /// There is no plan now.
    #[error("there is no plan now: {0}")]
    NoPlan(String),
    /// Nobody knows the connector.
    #[error("there is no connector {0}")]
    UnknownConnector(String),
    /// There is no such hold.
    #[error("there is no hold on {0}")]
    NoHold(String),
    /// The request itself makes no sense.
    #[error("{0}")]
    Bad(String),
    /// This process may not write.
    #[error("this process may not write: {0}")]
    Standby(String),
    /// It could not be noted.
    #[error("it could not be noted: {0}")]
    NotNoted(String),
    /// The loop has ended: the process is stopping.
    #[error("the control loop has ended")]
    Stopped,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Ask {
    Reconcile,
    Confirm(String),
    Apply,
    Hold(NewHold),
    Release(HoldScope),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) answer: oneshot::Sender<Result<Arc<Status>, Refused>>,
}

// === impl Handle ===

impl Handle {
    pub(super) fn new(requests: mpsc::Sender<Request>, status: watch::Receiver<Arc<Status>>, refresh: Refresh) -> Self {
        Self { requests, status, refresh }
    }

    /// The status of the last completed pass.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// The status as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Has the repository looked at now, forgets all back-off, and answers after a whole pass that began later than the
    /// call.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn reconcile(&self) -> Result<Arc<Status>, Refused> {
        self.refresh.look().await;
        self.ask(Ask::Reconcile).await
    }

    /// Lets go exactly the steps of the plan with this hash that wait for a confirmation.
    ///
    /// # Errors
    /// The current plan is another one, or nothing in it waits.
    pub async fn confirm(&self, hash: &str) -> Result<Arc<Status>, Refused> {
        self.ask(Ask::Confirm(hash.to_owned())).await
    }

    /// Applies what waits only because `sync` is `manual`; deletions beyond `max-deletes` still want [`Self::confirm`].
    ///
    /// # Errors
    /// There is no plan, or this process may not write.
    pub async fn apply(&self) -> Result<Arc<Status>, Refused> {
        self.ask(Ask::Apply).await
    }

    /// Leaves something alone; survives restarts.
    ///
    /// # Errors
    /// Nobody knows the connector, the text is missing or too long, or the hold could not be noted.
    pub async fn hold(&self, hold: NewHold) -> Result<Arc<Status>, Refused> {
        for (what, text) in [("a reason", &hold.reason), ("who asks", &hold.by)] {
            if text.trim().is_empty() {
                return Err(Refused::Bad(format!("a hold needs {what}")));
            }
            if text.chars().count() > MAX_TEXT {
                return Err(Refused::Bad(format!("{what} is longer than {MAX_TEXT} characters")));
            }
        }
        self.ask(Ask::Hold(hold)).await
    }

    /// Ends a hold before its time.
    ///
    /// # Errors
    /// There is none on it, or its end could not be noted.
    pub async fn release(&self, scope: HoldScope) -> Result<Arc<Status>, Refused> {
        self.ask(Ask::Release(scope)).await
    }

    /// The plan after the last pass, for people; as JSON it is in the status.
    #[must_use]
    pub fn plan(&self) -> String {
        super::render::plan(&self.status.borrow())
    }

    /// The last passes that did something, newest first.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.status.borrow().history.clone()
    }

    async fn ask(&self, ask: Ask) -> Result<Arc<Status>, Refused> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { ask, answer }).await.map_err(|_| Refused::Stopped)?;
        answered.await.map_err(|_| Refused::Stopped)?
    }
}
