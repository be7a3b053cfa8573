//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords, DescribeProducers, DescribeLogDirs: questions to a log.

use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeProducersRequest, DescribeProducersResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::apis::Context;
use super::code;
use super::log::{Log, Stored};
use super::records;

pub(crate) async fn list(context: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut response = ListOffsetsResponse::default();
    let committed = request.isolation_level == 1;
    let mut state = context.inner.lock();
    for topic in request.topics {
        let mut answer = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let mut part = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            let planned = context.planned(&topic.name, Some(asked.partition_index));
            let found = match planned {
                Some(code) => Err(code),
                None => {
                    let epoch = asked.current_leader_epoch;
                    state.led(&topic.name, asked.partition_index, context.broker, epoch)
                }
            };
            match found {
                Err(code) => part.error_code = code,
                Ok(found) => {
                    let limit = if committed { found.log.last_stable_offset() } else { found.log.high_watermark() };
                    (part.timestamp, part.offset) = lookup(&found.log, asked.timestamp, limit);
                    if context.version >= 4 && part.offset >= 0 {
                        part.leader_epoch = found.log.epoch_at(part.offset);
                    }
                }
            }
            answer.partitions.push(part);
        }
        response.topics.push(answer);
    }
    response
}

/// (timestamp, offset) for a time, or -1 latest, -2 earliest, -3 newest record.
fn lookup(log: &Log, timestamp: i64, limit: i64) -> (i64, i64) {
    let none = (-1, -1);
    match timestamp {
        -1 => (-1, limit),
        -2 | -4 => (-1, log.start()),
        -3 => {
            let newest = log.newest();
            newest.map_or(none, |stored| at_time(stored, stored.header.max_timestamp, log.start()).unwrap_or(none))
        }
        wanted if wanted >= 0 => {
            let found = log.batch_at_time(wanted).and_then(|stored| at_time(stored, wanted, log.start()));
            found.filter(|(_, offset)| *offset < limit).unwrap_or(none)
        }
        _ => none,
    }
}

/// The first record of a batch at or after a time.
fn at_time(stored: &Stored, wanted: i64, start: i64) -> Option<(i64, i64)> {
    let header = stored.header;
    if header.log_append_time() {
        return Some((header.max_timestamp, header.base_offset.max(start)));
    }
    let section = records::section(&header, &stored.bytes).ok()?;
    let views = records::views(&section, header.record_count).ok()?;
    let times =
        views.iter().map(|view| (header.base_timestamp + view.timestamp_delta, header.base_offset + view.offset_delta));
    times.into_iter().find(|(time, offset)| *time >= wanted && *offset >= start)
}

pub(crate) async fn for_leader_epoch(
    context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    let mut state = context.inner.lock();
    for topic in request.topics {
        let mut answer = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
        for asked in topic.partitions {
            let mut part = EpochEndOffset::default().with_partition(asked.partition);
            let planned = context.planned(&topic.topic, Some(asked.partition));
            let epoch = asked.current_leader_epoch;
            match planned.map_or_else(|| state.led(&topic.topic, asked.partition, context.broker, epoch), Err) {
                Err(code) => part.error_code = code,
                Ok(found) => (part.leader_epoch, part.end_offset) = found.log.end_of_epoch(asked.leader_epoch),
            }
            answer.partitions.push(part);
        }
        response.topics.push(answer);
    }
    response
}

pub(crate) async fn delete_records(context: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    let mut state = context.inner.lock();
    for topic in request.topics {
        let mut answer = DeleteRecordsTopicResult::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let mut part = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            part.low_watermark = -1;
            let planned = context.planned(&topic.name, Some(asked.partition_index));
            match planned.map_or_else(|| state.led(&topic.name, asked.partition_index, context.broker, -1), Err) {
                Err(code) => part.error_code = code,
                Ok(found) => {
                    // -1 is the high watermark
                    let end = found.log.high_watermark();
                    let until = if asked.offset == -1 { end } else { asked.offset };
                    if (0..=end).contains(&until) {
                        found.log.delete_before(until);
                        part.low_watermark = found.log.start();
                    } else {
                        part.error_code = code::OFFSET_OUT_OF_RANGE;
                    }
                }
            }
            answer.partitions.push(part);
        }
        response.topics.push(answer);
    }
    drop(state);
    context.inner.logs_changed();
    response
}

pub(crate) async fn describe_producers(
    context: &Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut response = DescribeProducersResponse::default();
    let mut state = context.inner.lock();
    for topic in request.topics {
        let mut answer = TopicResponse::default().with_name(topic.name.clone());
        for index in topic.partition_indexes {
            let mut part = PartitionResponse::default().with_partition_index(index);
            let planned = context.planned(&topic.name, Some(index));
            match planned.map_or_else(|| state.led(&topic.name, index, context.broker, -1), Err) {
                Err(code) => part.error_code = code,
                Ok(found) => {
                    let told = |(id, entry): (i64, &super::log::ProducerEntry)| {
                        ProducerState::default()
                            .with_producer_id(ProducerId(id))
                            .with_producer_epoch(i32::from(entry.epoch))
                            .with_last_sequence(entry.last_sequence())
                            .with_last_timestamp(entry.last_timestamp)
                            .with_coordinator_epoch(0)
                            .with_current_txn_start_offset(found.log.transaction_start(id))
                    };
                    part.active_producers = found.log.producers().map(told).collect();
                }
            }
            answer.partitions.push(part);
        }
        response.topics.push(answer);
    }
    response
}

pub(crate) async fn describe_log_dirs(context: &Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let state = context.inner.lock();
    let wanted = |name: &str, index: i32| {
        let asked = |topics: &Vec<kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic>| {
            topics.iter().any(|topic| topic.topic.as_str() == name && topic.partitions.contains(&index))
        };
        request.topics.as_ref().is_none_or(asked)
    };
    let mut result = DescribeLogDirsResult::default().with_log_dir(StrBytes::from_static_str("memory"));
    for (name, topic) in &state.topics {
        let mut told = DescribeLogDirsTopic::default().with_name(TopicName(StrBytes::from_string(name.clone())));
        for (index, partition) in (0i32..).zip(&topic.partitions) {
            if wanted(name, index) && partition.replicas.contains(&context.broker) {
                let size = i64::try_from(partition.log.bytes()).unwrap_or(i64::MAX);
                told.partitions
                    .push(DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(size));
            }
        }
        if !told.partitions.is_empty() {
            result.topics.push(told);
        }
    }
    DescribeLogDirsResponse::default().with_results(vec![result])
}
