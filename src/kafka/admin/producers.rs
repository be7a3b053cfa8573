//! Producer identities: taken, and what a partition knows of them.

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{DescribeProducersRequest, InitProducerIdRequest, ProducerId};

use super::offsets::ask_leaders;
use super::{by_topic, millis, named};
use crate::kafka::cluster::CoordinatorKind;
use crate::kafka::{Cluster, Error, ErrorCode, Leader, Role, TopicPartition};

/// Who writes idempotently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerIdentity {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
}

/// What a partition knows of a producer (KIP-664).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub epoch: i32,
    /// Sequence of its last record; -1 none.
    pub last_sequence: i32,
    /// When it last wrote (ms).
    pub last_timestamp: i64,
    /// First offset of its open transaction; -1 none.
    pub transaction_start: i64,
}

/// Takes a producer identity; through a transactional id, the older holder of that id is fenced.
///
/// # Errors
/// Not permitted, or nobody answered within `config.api_timeout`.
pub async fn init_producer_id(
    cluster: &Cluster,
    transactional_id: Option<&str>,
    transaction_timeout: std::time::Duration,
) -> Result<ProducerIdentity, Error> {
    let build = |version| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional_id.map(|id| named(id).into()))
            .with_transaction_timeout_ms(millis(transaction_timeout));
        if version >= 3 { request.with_producer_id(ProducerId(-1)).with_producer_epoch(-1) } else { request }
    };
    let code = |r: &kafka_protocol::messages::InitProducerIdResponse| ErrorCode(r.error_code);
    let answer = match transactional_id {
        Some(id) => cluster.call_coordinator(CoordinatorKind::Transaction, id, Role::Admin, build, code).await?,
        None => cluster.call_any(Role::Admin, build, code).await?,
    };
    Ok(ProducerIdentity { id: answer.producer_id.0, epoch: answer.producer_epoch })
}

/// The producers that partitions know; one result each, in the order given. Brokers from 2.8.
///
/// # Errors
/// None as a whole: what concerns all is said of each.
pub async fn describe_producers(
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<Vec<(TopicPartition, Result<Vec<ProducerState>, Error>)>, Error> {
    let ask = |node: i32, partitions: Vec<(TopicPartition, Leader)>| async move {
        let connection = cluster.broker(node, Role::Admin).await?;
        let topics = by_topic(partitions).into_iter().map(|(topic, list)| {
            TopicRequest::default()
                .with_name(named(&topic).into())
                .with_partition_indexes(list.into_iter().map(|(index, _)| index).collect())
        });
        let request = DescribeProducersRequest::default().with_topics(topics.collect());
        let answer = connection.call(request).await?;
        let mut results = Vec::new();
        for topic in answer.topics {
            for p in topic.partitions {
                let state = |s: &kafka_protocol::messages::describe_producers_response::ProducerState| ProducerState {
                    producer_id: s.producer_id.0,
                    epoch: s.producer_epoch,
                    last_sequence: s.last_sequence,
                    last_timestamp: s.last_timestamp,
                    transaction_start: s.current_txn_start_offset,
                };
                let tp = TopicPartition::new(topic.name.as_str(), p.partition_index);
                results.push((tp, p.error_code, p.active_producers.iter().map(state).collect::<Vec<_>>()));
            }
        }
        Ok(results)
    };
    Ok(ask_leaders(cluster, "DescribeProducers", partitions, ask).await)
}
