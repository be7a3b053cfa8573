//! Offsets by time and by leader epoch, asked of each partition's leader.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, OffsetForLeaderEpochRequest};

use super::{by_topic, millis, named, unanswered};
use crate::kafka::{Cluster, Error, ErrorCode, Leader, Role, TopicPartition};

/// Which offset is asked for. Java's `OffsetSpec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetSpec {
    /// The log's start.
    Earliest,
    /// The log's end: high watermark, or last stable offset under [`Isolation::ReadCommitted`].
    Latest,
    /// The first record with this timestamp (ms) or a later one.
    Timestamp(i64),
    /// The record with the greatest timestamp (brokers from 3.0).
    MaxTimestamp,
}

/// Which records a reader sees. Java's `IsolationLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// All.
    #[default]
    ReadUncommitted,
    /// Only those of no transaction, or of a committed one.
    ReadCommitted,
}

/// An offset as a leader told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetInfo {
    /// The offset; -1 where no record fits a timestamp.
    pub offset: i64,
    /// Timestamp of that record (ms); -1 where none was asked for.
    pub timestamp: i64,
    /// Its leader epoch; -1 unknown.
    pub leader_epoch: i32,
}

/// Where a leader epoch ended. Java's `EpochEndOffset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The greatest epoch not beyond the one asked for; -1 unknown.
    pub leader_epoch: i32,
    /// The offset after its last record; -1 unknown.
    pub end_offset: i64,
}

impl Isolation {
    /// The number on the wire.
    #[must_use]
    pub const fn id(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}

impl OffsetSpec {
    const fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Timestamp(ms) => ms,
        }
    }
}

/// Offsets of partitions; one result each, in the order given. Leaders that moved are found again within
/// `config.api_timeout`.
///
/// # Errors
/// None as a whole: what concerns all is said of each.
pub async fn list_offsets(
    cluster: &Cluster,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: Isolation,
) -> Result<Vec<(TopicPartition, Result<OffsetInfo, Error>)>, Error> {
    let timeout_ms = millis(cluster.config().request_timeout);
    let specs: HashMap<TopicPartition, i64> = wanted.iter().map(|(tp, spec)| (tp.clone(), spec.timestamp())).collect();
    let ask = |node: i32, partitions: Vec<(TopicPartition, Leader)>| {
        let specs = &specs;
        async move {
            let connection = cluster.broker(node, Role::Admin).await?;
            let lowest = partitions.iter().filter_map(|(tp, _)| specs.get(tp)).min().copied().unwrap_or(-1);
            let min = if lowest == -3 { 7 } else { 1 };
            let version = connection.version_of::<ListOffsetsRequest>(9)?;
            if version < min {
                return Err(Error::UnsupportedVersion {
                    api: "ListOffsets",
                    addr: connection.addr().to_owned(),
                    wanted: format!("the greatest timestamp needs 7, spoken is {version}"),
                });
            }
            let topics = by_topic(partitions).into_iter().map(|(topic, list)| {
                let partition = |(index, leader): (i32, Leader)| {
                    let tp = TopicPartition::new(topic.clone(), index);
                    let p = ListOffsetsPartition::default()
                        .with_partition_index(index)
                        .with_timestamp(specs.get(&tp).copied().unwrap_or(-1));
                    if version >= 4 { p.with_current_leader_epoch(leader.epoch) } else { p }
                };
                ListOffsetsTopic::default()
                    .with_name(named(&topic).into())
                    .with_partitions(list.into_iter().map(partition).collect())
            });
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.collect());
            let request = if version >= 2 { request.with_isolation_level(isolation.id()) } else { request };
            let request = if version >= 10 { request.with_timeout_ms(timeout_ms) } else { request };
            let answer = connection.call_with(version, |_| request).await?;
            let mut results = Vec::new();
            for topic in answer.topics {
                for p in topic.partitions {
                    let info = OffsetInfo { offset: p.offset, timestamp: p.timestamp, leader_epoch: p.leader_epoch };
                    results.push((TopicPartition::new(topic.name.as_str(), p.partition_index), p.error_code, info));
                }
            }
            Ok(results)
        }
    };
    let asked: Vec<TopicPartition> = wanted.iter().map(|(tp, _)| tp.clone()).collect();
    Ok(ask_leaders(cluster, "ListOffsets", &asked, ask).await)
}

/// Where leader epochs ended (KIP-320); one result each, in the order given.
///
/// # Errors
/// None as a whole: what concerns all is said of each.
pub async fn offset_for_leader_epoch(
    cluster: &Cluster,
    wanted: &[(TopicPartition, i32)],
) -> Result<Vec<(TopicPartition, Result<EpochEnd, Error>)>, Error> {
    let epochs: HashMap<TopicPartition, i32> = wanted.iter().cloned().collect();
    let ask = |node: i32, partitions: Vec<(TopicPartition, Leader)>| {
        let epochs = &epochs;
        async move {
            let connection = cluster.broker(node, Role::Admin).await?;
            let topics = by_topic(partitions).into_iter().map(|(topic, list)| {
                let partition = |(index, leader): (i32, Leader)| {
                    let tp = TopicPartition::new(topic.clone(), index);
                    OffsetForLeaderPartition::default()
                        .with_partition(index)
                        .with_current_leader_epoch(leader.epoch)
                        .with_leader_epoch(epochs.get(&tp).copied().unwrap_or(-1))
                };
                OffsetForLeaderTopic::default()
                    .with_topic(named(&topic).into())
                    .with_partitions(list.into_iter().map(partition).collect())
            });
            let topics: Vec<_> = topics.collect();
            let build = |version| {
                let request = OffsetForLeaderEpochRequest::default().with_topics(topics);
                if version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request }
            };
            let answer = connection.call_with(i16::MAX, build).await?;
            let mut results = Vec::new();
            for topic in answer.topics {
                for p in topic.partitions {
                    let end = EpochEnd { leader_epoch: p.leader_epoch, end_offset: p.end_offset };
                    results.push((TopicPartition::new(topic.topic.as_str(), p.partition), p.error_code, end));
                }
            }
            Ok(results)
        }
    };
    let asked: Vec<TopicPartition> = wanted.iter().map(|(tp, _)| tp.clone()).collect();
    Ok(ask_leaders(cluster, "OffsetForLeaderEpoch", &asked, ask).await)
}

type Answers<T> = Vec<(TopicPartition, i16, T)>;

/// Asks each leader about its partitions, leaders side by side, and again where one moved, within the deadline.
pub(super) async fn ask_leaders<T, F, A>(
    cluster: &Cluster,
    api: &'static str,
    asked: &[TopicPartition],
    ask: F,
) -> Vec<(TopicPartition, Result<T, Error>)>
where
    T: Clone,
    F: Fn(i32, Vec<(TopicPartition, Leader)>) -> A,
    A: Future<Output = Result<Answers<T>, Error>>,
{
    let deadline = tokio::time::Instant::now() + cluster.config().api_timeout;
    let mut backoff =
        crate::supervise::Backoff::new(std::time::Duration::from_millis(50), std::time::Duration::from_secs(1));
    let mut results: HashMap<TopicPartition, Result<T, Error>> = HashMap::new();
    let mut left: Vec<TopicPartition> = asked.to_vec();
    loop {
        let mut by_node: BTreeMap<i32, Vec<(TopicPartition, Leader)>> = BTreeMap::new();
        let mut again = Vec::new();
        for tp in left.drain(..) {
            match cluster.leader(&tp).await {
                Ok(leader) => by_node.entry(leader.node).or_default().push((tp, leader)),
                Err(error) => again.push((tp, error)),
            }
        }
        let calls = by_node.into_iter().map(|(node, partitions)| {
            let call = ask(node, partitions.clone());
            async move { (partitions, call.await) }
        });
        for (partitions, answer) in join_all(calls).await {
            match answer {
                Err(error) => again.extend(partitions.into_iter().map(|(tp, _)| (tp, error.clone()))),
                Ok(answers) => {
                    for (tp, _) in partitions {
                        match answers.iter().find(|(answered, ..)| *answered == tp) {
                            None => again.push((tp.clone(), unanswered(api, &tp.to_string()))),
                            Some((_, 0, value)) => {
                                results.insert(tp, Ok(value.clone()));
                            }
                            Some((_, code, _)) => {
                                let error = Error::broker(api, ErrorCode(*code), tp.to_string(), None);
                                again.push((tp, error));
                            }
                        }
                    }
                }
            }
        }
        let next = tokio::time::Instant::now() + backoff.next_delay();
        for (tp, error) in again {
            cluster.invalidate(&tp.topic);
            // A topic that is not there is an answer, not a hiccup: one more look, in case it was just created.
            let missing = error.broker_code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) && backoff.attempts() > 2;
            if error.retriable() && !missing && next < deadline {
                left.push(tp);
            } else {
                results.insert(tp, Err(error));
            }
        }
        if left.is_empty() {
            break;
        }
        tokio::time::sleep_until(next).await;
    }
    let taken = |tp: &TopicPartition| results.get(tp).cloned().unwrap_or_else(|| Err(unanswered(api, &tp.to_string())));
    asked.iter().map(|tp| (tp.clone(), taken(tp))).collect()
}
