//! Rules of the log that a well-behaved client never meets; each was tried on Apache Kafka 4.1.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use super::cluster;
use super::raw::{Raw, batch, body, fetch_request, header, partition, topic};
use crate::devbroker::header::Header;

#[tokio::test(flavor = "multi_thread")]
async fn sequences_follow_kip_98() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    let (id, epoch) = raw.producer(None);
    // without state any sequence is taken, so the retry of the one before is lost for ever
    assert_eq!(raw.produce("t", &batch(1, Some((id, epoch, 7)))), (0, 0));
    assert_eq!(raw.produce("t", &batch(7, Some((id, epoch, 0)))).0, 45);
    for at in 0..6 {
        assert_eq!(raw.produce("t", &batch(2, Some((id, epoch, 8 + 2 * at)))), (0, 1 + 2 * i64::from(at)));
    }
    // the last five are known, on any connection, and keep their offsets; older ones are not
    let mut other = Raw::connect(&cluster, 0);
    for at in 1..6 {
        assert_eq!(other.produce("t", &batch(2, Some((id, epoch, 8 + 2 * at)))), (0, 1 + 2 * i64::from(at)));
    }
    assert_eq!(other.produce("t", &batch(2, Some((id, epoch, 8)))).0, 45);
    assert_eq!(other.produce("t", &batch(1, Some((id, epoch, 21)))).0, 45, "a gap");
    assert_eq!(cluster.high_watermark("t", 0), Some(13));
    // a new epoch starts at 0 and fences the old one
    assert_eq!(raw.produce("t", &batch(1, Some((id, epoch + 1, 20)))).0, 45);
    assert_eq!(raw.produce("t", &batch(1, Some((id, epoch + 1, 0)))), (0, 13));
    assert_eq!(raw.produce("t", &batch(1, Some((id, epoch, 20)))).0, 47);
    // idle for a week
    cluster.faults().forget_producers("t", 0).unwrap();
    assert_eq!(raw.produce("t", &batch(1, Some((id, epoch, 20)))), (0, 14));
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_wrap() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    assert_eq!(raw.produce("t", &batch(10, Some((1, 0, i32::MAX - 4)))), (0, 0));
    assert_eq!(raw.produce("t", &batch(1, Some((1, 0, 5)))), (0, 10));
    assert_eq!(raw.produce("t", &batch(5, Some((2, 0, i32::MAX - 4)))), (0, 11));
    assert_eq!(raw.produce("t", &batch(1, Some((2, 0, 0)))), (0, 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_refuses_is_refused() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    cluster.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).unwrap();
    cluster.create_topic("small", 1, &[("max.message.bytes", "100")]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    let good = batch(3, None);
    let mut flipped = good.to_vec();
    flipped[70] ^= 1;
    assert_eq!(raw.produce("t", &flipped.into()).0, 2, "CRC");
    let twice: Bytes = [&good[..], &good[..]].concat().into();
    assert_eq!(raw.produce("t", &twice).0, 87, "two batches");
    assert_eq!(raw.produce("t", &good.slice(..good.len() - 1)).0, 2, "cut short");
    let mut old = good.to_vec();
    old[16] = 1;
    assert_eq!(raw.produce("t", &old.into()).0, 43, "message format 1");
    let holes = Header { last_offset_delta: 5, ..header(3, None) }.seal(&body(3));
    assert_eq!(raw.produce("t", &holes).0, 87, "offsets with holes");
    let empty = Header { last_offset_delta: -1, ..header(0, None) }.seal(&[]);
    assert_eq!(raw.produce("t", &empty).0, 87, "no records");
    let more = header(4, None).seal(&body(3));
    assert_eq!(raw.produce("t", &more).0, 87, "fewer records than told");
    let control = Header { attributes: 0x20, ..header(3, None) }.seal(&body(3));
    assert_eq!(raw.produce("t", &control).0, 87, "control");
    let late = header(3, None).max_timestamp + 2 * 3_600_000;
    let late = Header { max_timestamp: late, ..header(3, None) }.seal(&body(3));
    assert_eq!(raw.produce("t", &late).0, 32, "two hours ahead");
    let keyless = header(1, None).seal(&[14, 0, 0, 0, 1, 2, b'v', 0]);
    assert_eq!(raw.produce("compacted", &keyless).0, 87, "no key");
    assert_eq!(raw.produce("t", &keyless), (0, 0));
    assert_eq!(raw.produce("small", &batch(40, None)).0, 10, "too large");
    assert_eq!(raw.produce("none", &good).0, 3);
    assert_eq!(cluster.high_watermark("t", 0), Some(1), "nothing else was written");
    // a test may write what a client may not
    assert_eq!(cluster.append_raw("t", 0, &holes), Ok(1));
    assert_eq!(cluster.high_watermark("t", 0), Some(7));
    assert_eq!(cluster.append_raw("t", 0, &holes[1..]).unwrap_err().code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_session_tells_only_news() {
    let cluster = cluster(1).await;
    cluster.create_topic("a", 1, &[]).unwrap();
    cluster.create_topic("b", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    raw.produce("a", &batch(3, None));
    let mut full = fetch_request("a", 0, 1 << 20).with_session_epoch(0);
    full.topics.extend(fetch_request("b", 0, 1 << 20).topics);
    let opened = raw.call(&full, 12);
    assert!(opened.session_id != 0);
    assert_eq!(opened.responses.len(), 2, "the first answer tells all");
    let next = |epoch: i32| {
        FetchRequest::default().with_session_id(opened.session_id).with_session_epoch(epoch).with_max_bytes(1 << 20)
    };
    // the offset of a has not moved, so its records come again; b has no news
    let again = raw.call(&next(1).with_min_bytes(1), 12);
    assert_eq!(again.responses.iter().map(|told| told.topic.to_string()).collect::<Vec<_>>(), ["a"]);
    let moved = next(2).with_topics(fetch_request("a", 3, 1 << 20).topics);
    assert!(raw.call(&moved, 12).responses.is_empty());
    raw.produce("b", &batch(1, None));
    let told = raw.call(&next(3), 12);
    assert_eq!(told.responses.iter().map(|told| told.topic.to_string()).collect::<Vec<_>>(), ["b"]);
    let forgotten = ForgottenTopic::default().with_topic(topic("b")).with_partitions(vec![0]);
    assert!(raw.call(&next(4).with_forgotten_topics_data(vec![forgotten]), 12).responses.is_empty());
    assert_eq!(raw.call(&next(9), 12).error_code, 71, "an epoch that does not follow");
    let unknown = FetchRequest::default().with_session_id(opened.session_id + 99).with_session_epoch(1);
    assert_eq!(raw.call(&unknown, 12).error_code, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_keeps_its_limits() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    for _ in 0..4 {
        raw.produce("t", &batch(10, None));
    }
    let one = batch(10, None).len();
    let size = |data: kafka_protocol::messages::fetch_response::PartitionData| data.records.unwrap().len();
    assert_eq!(size(raw.fetch("t", 0, 1, false)), one, "at least one batch");
    assert_eq!(size(raw.fetch("t", 15, i32::try_from(2 * one).unwrap(), false)), 2 * one, "from the batch of 15 on");
    assert_eq!(size(raw.fetch("t", 0, 1 << 20, false)), 4 * one);
    assert_eq!(raw.fetch("t", 41, 1 << 20, false).error_code, 1);
    assert_eq!(raw.fetch("t", 40, 1 << 20, false).error_code, 0);
    // a long poll ends with what arrives
    let mut waiting = Raw::connect(&cluster, 0);
    waiting.send(&fetch_request("t", 40, 1 << 20).with_max_wait_ms(9000), 12);
    raw.produce("t", &batch(1, None));
    let told = partition(waiting.receive::<FetchRequest>(12).unwrap());
    assert_eq!((told.high_watermark, told.records.unwrap().len()), (41, batch(1, None).len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_tell_of_truncation() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    raw.produce("t", &batch(10, None));
    raw.produce("t", &batch(10, None));
    cluster.faults().truncate("t", 0, 10).unwrap();
    raw.produce("t", &batch(5, None));
    assert_eq!(cluster.high_watermark("t", 0), Some(15));
    let asked = |epoch: i32, offset: i64| {
        let mut request = fetch_request("t", offset, 1 << 20);
        request.topics[0].partitions[0].last_fetched_epoch = epoch;
        request
    };
    let told = partition(raw.call(&asked(0, 15), 12));
    assert_eq!((told.diverging_epoch.epoch, told.diverging_epoch.end_offset), (0, 10));
    assert_eq!(partition(raw.call(&asked(1, 15), 12)).error_code, 0);
    assert_eq!(partition(raw.call(&asked(9, 15), 12)).error_code, 1, "an epoch that never was");
    let mut stale = fetch_request("t", 0, 1 << 20);
    stale.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(partition(raw.call(&stale, 12)).error_code, 74);
    stale.topics[0].partitions[0].current_leader_epoch = 5;
    assert_eq!(partition(raw.call(&stale, 12)).error_code, 75);
    let ask = OffsetForLeaderPartition::default().with_partition(0).with_leader_epoch(0);
    let ask = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![ask]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![ask]);
    let told = raw.call(&request, 4).topics[0].partitions[0].clone();
    assert_eq!((told.leader_epoch, told.end_offset), (0, 10));
    cluster.faults().move_leader("t", 0, 2).unwrap();
    let moved = raw.fetch("t", 0, 1 << 20, false);
    assert_eq!(
        (moved.error_code, moved.current_leader.leader_id, moved.current_leader.leader_epoch),
        (6, BrokerId(2), 2)
    );
    assert_eq!(raw.produce_to("t", 0, &batch(1, None), None).current_leader.leader_id, BrokerId(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_time_and_after_deletion() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[("retention.bytes", "300")]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    let at = |time: i64| Header { base_timestamp: time, max_timestamp: time, ..header(2, None) }.seal(&body(2));
    for time in [1000, 3000, 2000] {
        assert_eq!(raw.produce("t", &at(time)).0, 0);
    }
    let mut ask = |timestamp: i64| {
        let asked = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp);
        let asked = ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![asked]);
        let told = raw.call(&ListOffsetsRequest::default().with_topics(vec![asked]), 7);
        let told = &told.topics[0].partitions[0];
        (told.offset, told.timestamp)
    };
    assert_eq!([ask(0), ask(1500), ask(3001)], [(0, 1000), (2, 3000), (-1, -1)]);
    assert_eq!([ask(-1), ask(-2), ask(-3)], [(6, -1), (0, -1), (2, 3000)]);
    let mut raw = Raw::connect(&cluster, 0);
    raw.produce("t", &at(4000));
    assert_eq!(cluster.log_start("t", 0), Some(2), "300 bytes hold three batches");
    assert_eq!(raw.fetch("t", 0, 1 << 20, false).error_code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_leaves_holes() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[("cleanup.policy", "compact")]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    for _ in 0..3 {
        raw.produce("t", &batch(4, None));
    }
    cluster.compact("t", 0, false).unwrap();
    let kept = cluster.batches("t", 0);
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].base_offset, kept[0].last_offset), (8, 11));
    let told = Header::parse(&kept[0].bytes).unwrap();
    assert_eq!((told.record_count, crc32c::crc32c(&kept[0].bytes[21..])), (1, told.crc));
    assert_eq!(raw.fetch("t", 0, 1 << 20, false).records.unwrap(), kept[0].bytes);
    assert_eq!(raw.produce("t", &batch(1, None)), (0, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_answered_or_cut() {
    use std::io::{Read, Write};
    let cluster = cluster(1).await;
    let mut raw = Raw::connect(&cluster, 0);
    for version in 0..=4 {
        assert_eq!(raw.call(&ApiVersionsRequest::default(), version).error_code, 0);
    }
    // a version of tomorrow gets an answer of version 0
    let connect = || std::net::TcpStream::connect(cluster.bootstrap()).unwrap();
    let mut stream = connect();
    stream.write_all(&[0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 7, 0, 0, 0, 0]).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..10], [0, 0, 0, 7, 0, 35]);
    // hostile lengths
    for length in [i32::MAX, -1, 3] {
        let mut stream = connect();
        stream.write_all(&length.to_be_bytes()).unwrap();
        stream.write_all(&[0; 3]).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        assert!(matches!(stream.read(&mut answer), Ok(0) | Err(_)), "{length}");
    }
    assert_eq!(raw.call(&ApiVersionsRequest::default(), 3).error_code, 0, "others go on");
}
