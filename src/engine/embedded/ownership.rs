//! One writer: membership of the worker's group on the destination, held for as long as the process lives.

use tokio::sync::watch;

use super::Settings;
use crate::kafka::Cluster;
use crate::kafka::group::{GroupConfig, MemberState, Membership};
use crate::supervise::Backoff;

/// Whether this process may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// Not known yet.
    Joining,
    /// It may.
    Held,
    /// It may not: who does, or why not.
    Waiting(String),
}

/// Joins and keeps the group; every loss is said before the next attempt.
pub(super) async fn hold(
    cluster: Cluster,
    settings: Settings,
    owner: watch::Sender<Ownership>,
    mut leaving: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(3));
    loop {
        let config = GroupConfig::new(&settings.group, &settings.instance_id);
        let membership = Membership::join(cluster.clone(), config);
        let mut states = membership.state();
        loop {
            let state = states.borrow_and_update().clone();
            let next = match state {
                MemberState::Joining { trouble: None } => Ownership::Joining,
                MemberState::Joining { trouble: Some(why) } => Ownership::Waiting(why),
                MemberState::Waiting { holder, reason } => {
                    Ownership::Waiting(format!("{holder} holds {}: {reason}", settings.group))
                }
                MemberState::Member { .. } => {
                    backoff.reset();
                    Ownership::Held
                }
                MemberState::Lost { reason } => {
                    owner.send_replace(Ownership::Waiting(format!(
                        "membership of {} was lost: {reason}",
                        settings.group
                    )));
                    break;
                }
            };
            owner.send_if_modified(|now| {
                let changed = *now != next;
                *now = next;
                changed
            });
            let leave = tokio::select! {
                changed = states.changed() => {
                    if changed.is_err() {
                        owner.send_replace(Ownership::Waiting(format!("membership of {} ended", settings.group)));
                        break;
                    }
                    false
                }
                told = leaving.wait_for(|leaving| *leaving) => told.is_ok(),
            };
            if leave {
                if let Err(error) = membership.leave().await {
                    tracing::warn!(%error, "the group could not be left; its session runs out by itself");
                }
                owner.send_replace(Ownership::Waiting(format!("{} was left", settings.group)));
                return;
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
