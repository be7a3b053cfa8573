//! Membership of a classic group, static: at most one holder writes.
//!
//! A [`Membership`] is a task of its own; its state is watched. The holder is one member of the group: the one that
//! the group's leader assigned. Members that speak another protocol (Java Connect) and further members of ours wait.
//! Laws: whoever is not told in time that it still is a member says [`MemberState::Lost`] before the coordinator gives
//! its place away; `Lost` is final, a new [`Membership::join`] begins anew.

use std::time::Duration;

use tokio::sync::watch;

use super::{Cluster, Error};
use crate::supervise::{self, Task};

mod member;

/// How to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// The worker's `group.id`.
    pub group_id: String,
    /// `connect`.
    pub protocol_type: String,
    /// `mirrorkeeper`.
    pub protocol: String,
    /// `group.instance.id`: a process that comes back under the same one takes its own place at once.
    pub instance_id: String,
    /// After this long without a heartbeat the coordinator gives the place away.
    pub session_timeout: Duration,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Time between tries while another protocol holds the group.
    pub retry: Duration,
}

/// Where the membership stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberState {
    /// Not in yet.
    Joining {
        /// Why not, where something stands in the way.
        trouble: Option<String>,
    },
    /// Somebody else holds the group.
    Waiting {
        /// Who: instance or member id and host.
        holder: String,
        /// Why we wait.
        reason: String,
    },
    /// We hold the group.
    Member {
        /// Given by the coordinator.
        member_id: String,
        /// Grows with every rebalance.
        generation: i32,
    },
    /// We held it, or could have, and no longer do. Final.
    Lost {
        /// Why.
        reason: String,
    },
}

impl MemberState {
    /// Whether we hold the group now.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self, MemberState::Member { .. })
    }
}

/// A membership; dropping it stops heartbeats (the coordinator notices after the session timeout).
#[derive(Debug)]
pub struct Membership {
    /// Kept so that watchers see `Lost` rather than the end of the channel.
    states: watch::Sender<MemberState>,
    leave: watch::Sender<bool>,
    task: Task<Result<(), Error>>,
}

impl GroupConfig {
    /// Membership of `group_id` as `instance_id`, with Connect's timeouts.
    #[must_use]
    pub fn new(group_id: impl Into<String>, instance_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            protocol_type: "connect".into(),
            protocol: "mirrorkeeper".into(),
            instance_id: instance_id.into(),
            session_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(3),
            retry: Duration::from_secs(2),
        }
    }

    /// How long after the last confirmed heartbeat we stop by ourselves: the session timeout less a margin of a fifth.
    #[must_use]
    pub fn trust(&self) -> Duration {
        self.session_timeout.mul_f64(0.8)
    }
}

impl Membership {
    /// Begins to join; never blocks. Watch [`Membership::state`].
    #[must_use]
    pub fn join(cluster: Cluster, config: GroupConfig) -> Membership {
        let states = watch::Sender::new(MemberState::Joining { trouble: None });
        let (leave, leaving) = watch::channel(false);
        let name = format!("membership of {}", config.group_id);
        let task = supervise::spawn(name, member::run(cluster, config, states.clone(), leaving));
        Membership { states, leave, task }
    }

    /// Where it stands, as it changes; the present state counts as seen.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<MemberState> {
        self.states.subscribe()
    }

    /// Leaves the group, so that the next in line need not wait for the session timeout.
    ///
    /// # Errors
    /// The coordinator could not be told; it notices by itself after the session timeout.
    pub async fn leave(self) -> Result<(), Error> {
        let _ = self.leave.send(true);
        self.task.await.unwrap_or(Ok(()))
    }
}
