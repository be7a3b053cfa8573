//! The task that finds out where partitions are, and what their troubles mean.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::state::{Errand, Shared, Sought};
use super::{Trouble, lane};
use crate::kafka::admin::{self, Isolation, OffsetSpec};
use crate::kafka::{Cluster, Error, ErrorCode, Leader, TopicPartition};
use crate::supervise::{self, Task};

/// Metadata lags behind creation: only after so many answers is a topic unknown.
const UNKNOWN_AFTER: u32 = 4;

/// What an errand found.
enum Found {
    Leader(Leader),
    /// Nothing wrong (any more), or at most our metadata.
    Fine,
    Verdict(Trouble),
    Failed(Errand, Error),
}

/// Runs until dropped; owns the brokers' tasks.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut lanes: HashMap<i32, Task<()>> = HashMap::new();
    let mut searches: FuturesUnordered<BoxFuture<'static, (Sought, Found)>> = FuturesUnordered::new();
    loop {
        let (due, next) = shared.due();
        for (sought, errand) in due {
            match shared.cluster.cached_leader(&sought.tp) {
                Some(leader) if errand == Errand::Route => place(&shared, &mut lanes, &sought.tp, leader),
                _ => searches.push(Box::pin(search(shared.cluster.clone(), sought, errand))),
            }
        }
        let later = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((sought, found)) = searches.next(), if !searches.is_empty() => {
                settle(&shared, &mut lanes, &sought, found).await;
            }
            () = shared.routing.notified() => {}
            () = later => {}
        }
    }
}

fn place(shared: &Arc<Shared>, lanes: &mut HashMap<i32, Task<()>>, tp: &TopicPartition, leader: Leader) {
    if let Some((node, Some(inbox))) = shared.place(tp, leader) {
        let task = lane::run(shared.clone(), node, inbox);
        lanes.insert(node, supervise::spawn(format!("fetch from broker {node}"), task));
    }
}

async fn settle(shared: &Arc<Shared>, lanes: &mut HashMap<i32, Task<()>>, sought: &Sought, found: Found) {
    let Sought { tp, want, serial, .. } = sought;
    let kind = match found {
        Found::Leader(leader) => return place(shared, lanes, tp, leader),
        Found::Fine => return shared.seek_again(tp, Errand::Route),
        Found::Verdict(verdict) => verdict,
        Found::Failed(errand, error) => {
            let code = error.broker_code().unwrap_or_default();
            if code.authorization() {
                Trouble::Unauthorized
            } else if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION && sought.attempts >= UNKNOWN_AFTER {
                Trouble::UnknownTopic
            } else if error.retriable() {
                shared.trouble(tp, want.generation, Trouble::Retriable(error)).await;
                return shared.seek_again(tp, errand);
            } else {
                Trouble::Fatal(error)
            }
        }
    };
    if shared.rest(tp, *serial, true) {
        shared.trouble(tp, want.generation, kind).await;
    }
}

async fn search(cluster: Cluster, sought: Sought, errand: Errand) -> (Sought, Found) {
    let found = match errand {
        Errand::Route => cluster.leader(&sought.tp).await.map(Found::Leader),
        Errand::Confirm => confirm(&cluster, &sought).await,
        Errand::Identify => identify(&cluster, &sought).await,
    };
    (sought, found.unwrap_or_else(|error| Found::Failed(errand, error)))
}

/// `OFFSET_OUT_OF_RANGE`: the leader's log start and end decide; within them only the epoch can be what it did not know.
async fn confirm(cluster: &Cluster, sought: &Sought) -> Result<Found, Error> {
    let tp = &sought.tp;
    cluster.leader(tp).await?;
    let wanted = [(tp.clone(), OffsetSpec::Earliest), (tp.clone(), OffsetSpec::Latest)];
    // One partition can't stand twice in a ListOffsets request.
    let (start, end) = tokio::join!(
        admin::list_offsets(cluster, &wanted[..1], Isolation::ReadUncommitted),
        admin::list_offsets(cluster, &wanted[1..], Isolation::ReadUncommitted),
    );
    let (log_start, high_watermark) = (only(start?, tp)?.offset, only(end?, tp)?.offset);
    if sought.want.offset < log_start || sought.want.offset > high_watermark {
        return Ok(Found::Verdict(Trouble::OffsetOutOfRange { log_start, high_watermark }));
    }
    if sought.want.last_epoch >= 0 {
        let ends = admin::offset_for_leader_epoch(cluster, &[(tp.clone(), sought.want.last_epoch)]).await?;
        let end = only(ends, tp)?;
        if end.leader_epoch < 0 || end.end_offset < sought.want.offset {
            let (epoch, end_offset) = (end.leader_epoch, end.end_offset);
            return Ok(Found::Verdict(Trouble::Truncated { epoch, end_offset }));
        }
    }
    Ok(Found::Fine)
}

/// `UNKNOWN_TOPIC_ID`, `INCONSISTENT_TOPIC_ID`: which id the name has now.
async fn identify(cluster: &Cluster, sought: &Sought) -> Result<Found, Error> {
    let name = sought.tp.topic.to_string();
    let topics = cluster.topics(Some(std::slice::from_ref(&name))).await?;
    let code = topics.first().map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error);
    code.ok().map_err(|code| Error::broker("Metadata", code, name, None))?;
    cluster.invalidate(&sought.tp.topic);
    match topics.first().map(|topic| topic.id) {
        Some(topic_id) if !topic_id.is_nil() && !sought.topic_id.is_nil() && topic_id != sought.topic_id => {
            Ok(Found::Verdict(Trouble::Recreated { topic_id }))
        }
        _ => Ok(Found::Fine),
    }
}

fn only<T>(results: Vec<(TopicPartition, Result<T, Error>)>, tp: &TopicPartition) -> Result<T, Error> {
    let found = results.into_iter().find(|(found, _)| found == tp).map(|(_, result)| result);
    found.unwrap_or_else(|| {
        Err(Error::broker("ListOffsets", ErrorCode::LEADER_NOT_AVAILABLE, tp.to_string(), Some("no answer".into())))
    })
}
