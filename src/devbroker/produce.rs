//! Produce: validates as `LogValidator` and `UnifiedLog` do, and appends.

use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::apis::Context;
use super::code;
use super::configs::Settings;
use super::header::{Header, LENGTH};
use super::records;
use super::state::{State, now_ms};
use super::txn;

pub(crate) async fn produce(context: &Context, request: ProduceRequest) -> ProduceResponse {
    let mut response = ProduceResponse::default();
    let transactional_id = request.transactional_id.as_ref().map(|id| id.0.to_string());
    let mut moved = false;
    for topic in request.topic_data {
        let mut answer = TopicProduceResponse::default().with_name(topic.name.clone());
        for data in topic.partition_data {
            let records = data.records.unwrap_or_default();
            let outcome = append(context, transactional_id.as_deref(), &topic.name, data.index, &records);
            let mut part = PartitionProduceResponse::default().with_index(data.index).with_base_offset(-1);
            match outcome {
                Ok((appended, log_start)) => {
                    part.base_offset = appended.base_offset;
                    part.log_append_time_ms = appended.append_time;
                    part.log_start_offset = log_start;
                }
                Err((code, reason)) => {
                    part.error_code = code;
                    part.error_message = reason.map(StrBytes::from_static_str);
                    if code == code::INVALID_RECORD {
                        let told = BatchIndexAndErrorMessage::default().with_batch_index(0);
                        part.record_errors =
                            vec![told.with_batch_index_error_message(reason.map(StrBytes::from_static_str))];
                    }
                    if code == code::NOT_LEADER_OR_FOLLOWER && context.version >= 10 {
                        part.current_leader = leader(&context.inner.lock(), &topic.name, data.index);
                        moved = true;
                    }
                }
            }
            answer.partition_responses.push(part);
        }
        response.responses.push(answer);
    }
    if moved {
        let state = context.inner.lock();
        let endpoint = |broker: &super::state::Broker| {
            let endpoint = NodeEndpoint::default().with_node_id(BrokerId(broker.id)).with_port(i32::from(broker.port));
            endpoint.with_host(StrBytes::from_static_str("127.0.0.1"))
        };
        response.node_endpoints = state.brokers.iter().map(endpoint).collect();
    }
    context.inner.logs_changed();
    response
}

fn leader(state: &State, topic: &str, partition: i32) -> LeaderIdAndEpoch {
    let found = state.partition(topic, partition).map_or((-1, -1), |found| (found.leader, found.epoch));
    LeaderIdAndEpoch::default().with_leader_id(BrokerId(found.0)).with_leader_epoch(found.1)
}

type Refused = (i16, Option<&'static str>);

fn append(
    context: &Context,
    transactional_id: Option<&str>,
    topic: &str,
    partition: i32,
    bytes: &[u8],
) -> Result<(super::log::Appended, i64), Refused> {
    if let Some(code) = context.planned(topic, Some(partition)) {
        return Err((code, Some("injected")));
    }
    let header = whole_batch(bytes)?;
    let settings = {
        let mut state = context.inner.lock();
        state.led(topic, partition, context.broker, -1).map_err(|code| (code, None))?;
        let settings = state.topics.get(topic).map(|topic| Settings::of(&context.inner.config, &topic.configs));
        settings.ok_or((code::UNKNOWN_TOPIC_OR_PARTITION, None))?
    };
    let now = now_ms();
    check(&header, bytes, &settings, now, context.inner.config.validate_records)?;
    // decompressing is done: the lock is held for the append alone
    let mut state = context.inner.lock();
    if header.is_transactional() {
        let id = transactional_id.ok_or((code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, None))?;
        txn::permits(&state, id, &header, topic, partition).map_err(|code| match code {
            // KIP-890 gave this a name of its own
            code::INVALID_TXN_STATE if context.version >= 11 => (code::TRANSACTION_ABORTABLE, None),
            code => (code, None),
        })?;
    }
    let found = state.led(topic, partition, context.broker, -1).map_err(|code| (code, None))?;
    let append_time = settings.log_append_time.then_some(now);
    let epoch = found.epoch;
    let appended = found.log.append(header, bytes, epoch, append_time).map_err(|code| (code, None))?;
    if let Some(limit) = settings.held_bytes(&context.inner.config) {
        found.log.retain_bytes(limit);
    }
    Ok((appended, found.log.start()))
}

/// Exactly one batch of format 2, whole, with a good CRC.
fn whole_batch(bytes: &[u8]) -> Result<Header, Refused> {
    let header = Header::parse(bytes).ok_or((code::INVALID_RECORD, Some("no whole batch header")))?;
    if header.magic != 2 {
        return Err((code::UNSUPPORTED_FOR_MESSAGE_FORMAT, Some("only message format 2")));
    }
    match header.total() {
        total if total < LENGTH || total > bytes.len() => return Err((code::CORRUPT_MESSAGE, Some("wrong length"))),
        total if total < bytes.len() => return Err((code::INVALID_RECORD, Some("more than one batch"))),
        _ => {}
    }
    if crc32c::crc32c(&bytes[21..]) == header.crc {
        Ok(header)
    } else {
        Err((code::CORRUPT_MESSAGE, Some("the CRC is wrong")))
    }
}

fn check(header: &Header, bytes: &[u8], settings: &Settings, now: i64, deep: bool) -> Result<(), Refused> {
    if header.base_offset != 0 {
        return Err((code::INVALID_RECORD, Some("base offset is not 0")));
    }
    if header.is_control() {
        return Err((code::INVALID_RECORD, Some("clients don't write control batches")));
    }
    if header.record_count <= 0 {
        return Err((code::INVALID_RECORD, Some("no records")));
    }
    if header.last_offset_delta != header.record_count - 1 {
        return Err((code::INVALID_RECORD, Some("inconsistent batch offset range")));
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err((code::INVALID_RECORD, Some("producer id without sequence or epoch")));
    }
    if header.codec() > 4 {
        // tried on 4.1: not UNSUPPORTED_COMPRESSION_TYPE, the codec has no name there
        return Err((code::UNKNOWN_SERVER_ERROR, None));
    }
    if bytes.len() > settings.max_message_bytes {
        return Err((code::MESSAGE_TOO_LARGE, None));
    }
    if header.log_append_time() && header.codec() != 0 {
        return Err((code::INVALID_TIMESTAMP, Some("a compressed batch claims the broker's time")));
    }
    if !settings.log_append_time {
        timestamp(header.max_timestamp, settings, now)?;
        if header.codec() == 0 || header.base_timestamp >= 0 {
            timestamp(header.base_timestamp, settings, now)?;
        }
    }
    if deep || settings.compacted {
        read(header, bytes, settings)?;
    }
    Ok(())
}

fn timestamp(timestamp: i64, settings: &Settings, now: i64) -> Result<(), Refused> {
    let late = timestamp.saturating_sub(now) > settings.after_max_ms;
    let early = timestamp >= 0 && now.saturating_sub(timestamp) > settings.before_max_ms;
    if late || early { Err((code::INVALID_TIMESTAMP, Some("timestamp out of range"))) } else { Ok(()) }
}

fn read(header: &Header, bytes: &[u8], settings: &Settings) -> Result<(), Refused> {
    let section = records::section(header, bytes).map_err(|_| (code::CORRUPT_MESSAGE, Some("can't decompress")))?;
    let views = records::views(&section, header.record_count);
    let views = views.map_err(|_| (code::INVALID_RECORD, Some("records can't be read")))?;
    if views.iter().zip(0i64..).any(|(view, at)| view.offset_delta != at) {
        return Err((code::INVALID_RECORD, Some("offset deltas are not 0, 1, 2, ...")));
    }
    if settings.compacted && views.iter().any(|view| view.key.is_none()) {
        return Err((code::INVALID_RECORD, Some("compacted topic cannot accept message without key")));
    }
    let newest = views.iter().map(|view| header.base_timestamp.saturating_add(view.timestamp_delta)).max();
    if newest != Some(header.max_timestamp) && !header.log_append_time() {
        tracing::debug!(?newest, told = header.max_timestamp, "development broker: max timestamp differs");
    }
    Ok(())
}
