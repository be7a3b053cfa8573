//! Kafka requests that librdkafka has no call for, one connection each: leader moves, batches laid down byte by byte.
//!
//! Metadata, ListOffsets and Produce in versions that brokers of 2.1 know: some stories are told on those.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, ListOffsetsRequest, MetadataRequest,
    MetadataResponse, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer};

/// One request, one answer, on a new connection.
pub(crate) fn call<R: Request>(address: &str, version: i16, request: &R) -> Result<R::Response, String> {
    let explain = |error: &dyn std::fmt::Display| format!("{address}: {error}");
    let mut stream = TcpStream::connect(address).map_err(|error| explain(&error))?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|error| explain(&error))?;

    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut body = BytesMut::new();
    encode_request_header_into_buffer(&mut body, &header).map_err(|error| explain(&error))?;
    request.encode(&mut body, version).map_err(|error| explain(&error))?;
    let mut frame = BytesMut::with_capacity(body.len() + 4);
    frame.put_u32(u32::try_from(body.len()).expect("a request of a test is small"));
    frame.extend_from_slice(&body);
    stream.write_all(&frame).map_err(|error| explain(&error))?;

    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(|error| explain(&error))?;
    let mut answer = vec![0; (&length[..]).get_u32() as usize];
    stream.read_exact(&mut answer).map_err(|error| explain(&error))?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(|error| explain(&error))?;
    R::Response::decode(&mut answer, version).map_err(|error| explain(&error))
}

/// Brokers, cluster id and the named topics (no topic when `None`).
pub(crate) fn metadata(address: &str, topic: Option<&str>) -> Result<MetadataResponse, String> {
    let topics = topic.map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).into_iter();
    let request = MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false);
    call(address, 7, &request)
}

/// The leader of a partition, its epoch and its replicas.
pub(crate) fn leader(address: &str, topic: &str, partition: i32) -> Result<(i32, i32, Vec<i32>), String> {
    let answer = metadata(address, Some(topic))?;
    let described = answer.topics.first().ok_or_else(|| format!("no answer about {topic}"))?;
    let found = described.partitions.iter().find(|described| described.partition_index == partition);
    let found =
        found.ok_or_else(|| format!("{topic} has no partition {partition} (error {})", described.error_code))?;
    let replicas = found.replica_nodes.iter().map(|node| node.0).collect();
    Ok((found.leader_id.0, found.leader_epoch, replicas))
}

/// ListOffsets' word for the first offset.
pub(crate) const EARLIEST: i64 = -2;

/// ListOffsets' word for the offset after the last record (the high watermark).
pub(crate) const LATEST: i64 = -1;

/// The offset of each partition of a topic, each asked of its leader.
pub(crate) fn list_offsets(address: &str, topic: &str, timestamp: i64) -> Result<BTreeMap<i32, i64>, String> {
    let answer = metadata(address, Some(topic))?;
    let described = answer.topics.first().ok_or_else(|| format!("no answer about {topic}"))?;
    none_failed(topic, [described.error_code], &[])?;
    let mut offsets = BTreeMap::new();
    for broker in &answer.brokers {
        let led = described.partitions.iter().filter(|partition| partition.leader_id == broker.node_id);
        let asked: Vec<_> = led
            .map(|partition| {
                ListOffsetsPartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(timestamp)
            })
            .collect();
        if asked.is_empty() {
            continue;
        }
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(asked)]);
        let answer = call(&format!("{}:{}", broker.host.as_str(), broker.port), 4, &request)?;
        for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            none_failed(&format!("{topic}-{}", found.partition_index), [found.error_code], &[])?;
            offsets.insert(found.partition_index, found.offset);
        }
    }
    Ok(offsets)
}

/// Replaces the replicas of a partition; the first is the preferred leader.
pub(crate) fn reassign(address: &str, topic: &str, partition: i32, replicas: &[i32]) -> Result<(), String> {
    let replicas = replicas.iter().map(|node| BrokerId(*node)).collect();
    let request = AlterPartitionReassignmentsRequest::default().with_timeout_ms(20_000).with_topics(vec![
        ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(vec![
            ReassignablePartition::default().with_partition_index(partition).with_replicas(Some(replicas)),
        ]),
    ]);
    let answer = call(address, 0, &request)?;
    let per_partition = answer.responses.iter().flat_map(|topic| &topic.partitions).map(|answer| answer.error_code);
    none_failed("reassignment", std::iter::once(answer.error_code).chain(per_partition), &[])
}

/// Which replica becomes the leader.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Election {
    /// The first of the replicas.
    Preferred = 0,
    /// Where no replica in sync lives, one that is not.
    Unclean = 1,
}

/// Makes a replica the leader.
pub(crate) fn elect(address: &str, topic: &str, partition: i32, election: Election) -> Result<(), String> {
    let request = ElectLeadersRequest::default()
        .with_election_type(election as i8)
        .with_timeout_ms(20_000)
        .with_topic_partitions(Some(vec![
            TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(vec![partition]),
        ]));
    let answer = call(address, 2, &request)?;
    let per_partition = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    // 84 ELECTION_NOT_NEEDED: it leads already.
    none_failed("election", std::iter::once(answer.error_code).chain(per_partition.map(|r| r.error_code)), &[84])
}

/// Produces one batch (format v2) as it is, to the partition's leader, acks all. The base offset.
pub(crate) fn produce(bootstrap: &str, topic: &str, partition: i32, batch: &Bytes) -> Result<i64, String> {
    let described = metadata(bootstrap, Some(topic))?;
    let (node, ..) = leader(bootstrap, topic, partition)?;
    let broker = described.brokers.iter().find(|broker| broker.node_id.0 == node);
    let broker = broker.ok_or_else(|| format!("{topic}-{partition} has no leader"))?;
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(20_000).with_topic_data(vec![
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![
            PartitionProduceData::default().with_index(partition).with_records(Some(batch.clone())),
        ]),
    ]);
    let answer = call(&format!("{}:{}", broker.host, broker.port), 7, &request)?;
    let answer = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let answer = answer.ok_or("the answer names no partition")?;
    none_failed("produce", [answer.error_code], &[])?;
    Ok(answer.base_offset)
}

/// A record of a hand-made batch. Header keys are bytes: they need not be text.
pub(crate) struct RawRecord {
    /// Absolute, in milliseconds.
    pub(crate) timestamp: i64,
    /// `None` is a null key.
    pub(crate) key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// In order, repeats allowed.
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// An uncompressed batch of format v2 without producer id.
pub(crate) fn batch(records: &[RawRecord]) -> Bytes {
    let base = records.first().map_or(0, |record| record.timestamp);
    let newest = records.iter().map(|record| record.timestamp).max().unwrap_or(0);
    let count = i32::try_from(records.len()).expect("a batch of a test is small");

    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(count - 1);
    checked.put_i64(base);
    checked.put_i64(newest);
    checked.put_i64(-1);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(count);
    for (delta, record) in (0_i64..).zip(records) {
        let mut body = BytesMut::new();
        body.put_i8(0);
        varint(&mut body, record.timestamp - base);
        varint(&mut body, delta);
        nullable(&mut body, record.key.as_deref());
        nullable(&mut body, record.value.as_deref());
        varint(&mut body, i64::try_from(record.headers.len()).expect("few headers"));
        for (key, value) in &record.headers {
            nullable(&mut body, Some(key));
            nullable(&mut body, value.as_deref());
        }
        varint(&mut checked, i64::try_from(body.len()).expect("a record of a test is small"));
        checked.extend_from_slice(&body);
    }

    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(i32::try_from(checked.len() + 9).expect("a batch of a test is small"));
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.extend_from_slice(&checked);
    batch.freeze()
}

fn varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).expect("small")));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// An error when one of the codes is none of `fine`.
pub(crate) fn none_failed(what: &str, codes: impl IntoIterator<Item = i16>, fine: &[i16]) -> Result<(), String> {
    match codes.into_iter().find(|code| *code != 0 && !fine.contains(code)) {
        Some(code) => Err(format!("{what}: error {code}")),
        None => Ok(()),
    }
}
