use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction as Aborted, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::super::super::TopicPartition;
use super::super::super::session::Forgotten;
use super::*;

fn name(index: u8) -> String {
    format!("topic-{index}")
}

fn id(index: u8) -> Uuid {
    Uuid::from_u128(0xabc0_0000 + u128::from(index))
}

fn delta() -> impl Strategy<Value = Delta> {
    let fetch = (0..4_u8, 0..9_i32, 0..i64::MAX, -1..9_i32, -1..9_i32, 1..i32::MAX);
    (prop::collection::vec(fetch, 0..20), prop::collection::vec((0..4_u8, 0..9_i32), 0..9), 0..5_i32, -1..5_i32)
        .prop_map(|(send, forget, session_id, epoch)| Delta {
            session_id,
            epoch,
            send: send
                .into_iter()
                .map(|(t, partition, offset, leader_epoch, last_epoch, max_bytes)| {
                    let tp = TopicPartition { topic: name(t).into(), partition };
                    (tp, PartitionFetch { topic_id: id(t), offset, leader_epoch, last_epoch, max_bytes })
                })
                .collect(),
            forget: forget
                .into_iter()
                .map(|(t, partition)| Forgotten {
                    tp: TopicPartition { topic: name(t).into(), partition },
                    topic_id: id(t),
                })
                .collect(),
        })
}

proptest! {
    /// kafka-protocol reads back what we wrote, in every version.
    #[test]
    fn the_request_is_kafkas(delta in delta(), version in MIN_VERSION..=MAX_VERSION, committed: bool, rack in "[a-z]{0,5}") {
        let isolation = if committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        let ask = Ask { max_wait_ms: 500, min_bytes: 1, max_bytes: 1 << 20, isolation, rack: &rack };
        let mut bytes = encode(version, ask, &delta);
        let read = FetchRequest::decode(&mut bytes, version).expect("decodes");
        prop_assert!(!bytes.has_remaining());
        prop_assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (500, 1, 1 << 20));
        prop_assert_eq!(read.isolation_level, i8::from(committed));
        prop_assert_eq!(read.replica_id, BrokerId(-1));
        if version >= 11 {
            prop_assert_eq!(read.rack_id.as_str(), rack);
        }
        if version >= 7 {
            prop_assert_eq!((read.session_id, read.session_epoch), (delta.session_id, delta.epoch));
            let forgotten: Vec<_> = read.forgotten_topics_data.iter()
                .flat_map(|t| t.partitions.iter().map(move |p| (t.topic.0.to_string(), t.topic_id, *p))).collect();
            let ours: Vec<_> = delta.forget.iter()
                .map(|f| if version >= 13 { (String::new(), f.topic_id, f.tp.partition) } else { (f.tp.topic.to_string(), Uuid::nil(), f.tp.partition) })
                .collect();
            prop_assert_eq!(forgotten, ours);
        }
        let read: Vec<_> = read.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| {
            (t.topic.0.to_string(), t.topic_id, p.partition, p.fetch_offset, p.current_leader_epoch, p.last_fetched_epoch, p.partition_max_bytes)
        })).collect();
        let ours: Vec<_> = delta.send.iter().map(|(tp, f)| {
            let (topic, topic_id) = if version >= 13 { (String::new(), f.topic_id) } else { (tp.topic.to_string(), Uuid::nil()) };
            let leader_epoch = if version >= 9 { f.leader_epoch } else { -1 };
            let last_epoch = if version >= 12 { f.last_epoch } else { -1 };
            (topic, topic_id, tp.partition, f.offset, leader_epoch, last_epoch, f.max_bytes)
        }).collect();
        prop_assert_eq!(read, ours);
    }

    /// We read what kafka-protocol's broker half writes, in every version.
    #[test]
    fn the_answer_is_kafkas(answer in answer(), version in MIN_VERSION..=MAX_VERSION) {
        let (answer, bytes) = write(answer, version);
        prop_assert_eq!(decode(version, bytes).expect("decodes"), answer);
    }

    /// A damaged or cut answer is an error or another answer, never a panic, and never costs more than it has bytes.
    #[test]
    fn hostile_answers_do_not_panic(
        answer in answer(), version in MIN_VERSION..=MAX_VERSION, cut in 0..2000_usize,
        damage in prop::collection::vec((0..2000_usize, any::<u8>()), 0..8)
    ) {
        let (_, bytes) = write(answer, version);
        let mut bytes = bytes.to_vec();
        for (at, byte) in damage {
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        bytes.truncate(cut);
        let _ = decode(version, bytes.into());
    }

    #[test]
    fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), version in MIN_VERSION..=MAX_VERSION) {
        let _ = decode(version, bytes.into());
    }
}

#[test]
fn a_hostile_length_is_refused_before_it_is_allocated() {
    let mut body = vec![0; 10];
    body.extend_from_slice(&i32::MAX.to_be_bytes());
    body.extend_from_slice(&[0; 64]);
    assert_eq!(decode(11, body.into()), Err(Malformed("an array claims more elements than the frame has bytes for")));
}

#[test]
fn records_share_the_frame() {
    let (_, bytes) = write(
        Answer {
            throttle_ms: 0,
            error_code: 0,
            session_id: 1,
            topics: vec![TopicAnswer { topic: TopicRef::Id(id(1)), partitions: vec![partition(vec![7; 1000])] }],
        },
        13,
    );
    let range = bytes.as_ptr_range();
    #[expect(clippy::redundant_clone, reason = "the frame must live as long as its address is compared")]
    let answer = decode(13, bytes.clone()).expect("decodes");
    assert!(range.contains(&answer.topics[0].partitions[0].records.as_ptr()));
}

fn partition(records: Vec<u8>) -> PartitionAnswer {
    PartitionAnswer {
        index: 0,
        error_code: 0,
        high_watermark: 5,
        last_stable_offset: 5,
        log_start: 0,
        aborted: vec![],
        preferred_read_replica: -1,
        records: records.into(),
        diverging_epoch: None,
        current_leader: None,
    }
}

fn answer() -> impl Strategy<Value = Answer> {
    let aborted = (any::<i64>(), any::<i64>())
        .prop_map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
    let partition = (
        (any::<i32>(), any::<i16>(), any::<i64>(), any::<i64>(), any::<i64>()),
        prop::collection::vec(aborted, 0..4),
        -1..9_i32,
        prop::collection::vec(any::<u8>(), 0..300),
        prop::option::of((0..9_i32, 0..99_i64)),
        prop::option::of((0..9_i32, 0..9_i32)),
    )
        .prop_map(|(numbers, aborted, preferred_read_replica, records, diverging_epoch, current_leader)| {
            let (index, error_code, high_watermark, last_stable_offset, log_start) = numbers;
            PartitionAnswer {
                index,
                error_code,
                high_watermark,
                last_stable_offset,
                log_start,
                aborted,
                preferred_read_replica,
                records: records.into(),
                diverging_epoch,
                current_leader,
            }
        });
    let topic = (0..9_u8, prop::collection::vec(partition, 0..4))
        .prop_map(|(t, partitions)| TopicAnswer { topic: TopicRef::Id(id(t)), partitions });
    (any::<i32>(), any::<i16>(), any::<i32>(), prop::collection::vec(topic, 0..4)).prop_map(
        |(throttle_ms, error_code, session_id, topics)| Answer { throttle_ms, error_code, session_id, topics },
    )
}

/// Writes `answer` with kafka-protocol; what that version does not carry is blanked in the returned one.
fn write(mut answer: Answer, version: i16) -> (Answer, Bytes) {
    if version < SESSIONS {
        (answer.error_code, answer.session_id) = (0, 0);
    }
    let mut topics = Vec::new();
    for topic in &mut answer.topics {
        let TopicRef::Id(id) = topic.topic.clone() else { panic!("generated by id") };
        if version < BY_ID {
            topic.topic = TopicRef::Name(Bytes::from(id.to_string()));
        }
        let mut partitions = Vec::new();
        for p in &mut topic.partitions {
            if version < 5 {
                p.log_start = -1;
            }
            if version < 11 {
                p.preferred_read_replica = -1;
            }
            if version < FLEXIBLE {
                (p.diverging_epoch, p.current_leader) = (None, None);
            }
            let mut data = PartitionData::default()
                .with_partition_index(p.index)
                .with_error_code(p.error_code)
                .with_high_watermark(p.high_watermark)
                .with_last_stable_offset(p.last_stable_offset)
                .with_log_start_offset(p.log_start)
                .with_preferred_read_replica(BrokerId(p.preferred_read_replica))
                .with_records(Some(p.records.clone()))
                .with_aborted_transactions(Some(
                    p.aborted
                        .iter()
                        .map(|a| {
                            Aborted::default()
                                .with_producer_id(ProducerId(a.producer_id))
                                .with_first_offset(a.first_offset)
                        })
                        .collect(),
                ));
            if let Some((epoch, end)) = p.diverging_epoch {
                data = data.with_diverging_epoch(EpochEndOffset::default().with_epoch(epoch).with_end_offset(end));
            }
            if let Some((node, epoch)) = p.current_leader {
                let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(node)).with_leader_epoch(epoch);
                data = data.with_current_leader(leader);
            }
            partitions.push(data);
        }
        let mut written = FetchableTopicResponse::default().with_partitions(partitions);
        if version < BY_ID {
            written = written.with_topic(TopicName(StrBytes::from_string(id.to_string())));
        } else {
            written = written.with_topic_id(id);
        }
        topics.push(written);
    }
    let mut bytes = BytesMut::new();
    FetchResponse::default()
        .with_throttle_time_ms(answer.throttle_ms)
        .with_error_code(answer.error_code)
        .with_session_id(answer.session_id)
        .with_responses(topics)
        .encode(&mut bytes, version)
        .expect("encodes");
    (answer, bytes.freeze())
}
