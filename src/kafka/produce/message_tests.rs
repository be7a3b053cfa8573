use bytes::{Buf, BytesMut};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;

type Request = Vec<(String, Vec<(i32, Sealed)>)>;

fn request() -> impl Strategy<Value = Request> {
    let sealed = (prop::collection::vec(any::<u8>(), 61), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(header, body)| Sealed { header: header.into(), body: body.into() });
    prop::collection::vec(("[a-z.]{1,20}", prop::collection::vec((0..9_i32, sealed), 0..4)), 0..4)
}

fn answer() -> impl Strategy<Value = Answer> {
    let partition = (
        "[a-z]{1,9}",
        any::<i32>(),
        any::<i16>(),
        (any::<i64>(), any::<i64>(), any::<i64>()),
        prop::option::of("[a-z]{0,9}"),
        prop::option::of((0..9_i32, 0..9_i32)),
    )
        .prop_map(|(topic, index, error_code, offsets, message, current_leader)| PartitionAnswer {
            topic: topic.into(),
            index,
            error_code,
            base_offset: offsets.0,
            log_append_time: offsets.1,
            log_start: offsets.2,
            message,
            current_leader,
        });
    let broker = (0..9_i32, "[a-z]{1,9}", 1..99_i32);
    (prop::collection::vec(partition, 0..6), prop::collection::vec(broker, 0..3), any::<i32>())
        .prop_map(|(partitions, brokers, throttle_ms)| Answer { partitions, brokers, throttle_ms })
}

/// Writes `answer` with kafka-protocol; what that version does not carry is blanked in the returned one.
fn write(mut answer: Answer, version: i16) -> (Answer, Bytes) {
    if version < 10 {
        answer.brokers.clear();
    }
    let mut topics = Vec::new();
    for p in &mut answer.partitions {
        if version < 5 {
            p.log_start = -1;
        }
        if version < 8 {
            p.message = None;
        }
        if version < 10 {
            p.current_leader = None;
        }
        let mut data = PartitionProduceResponse::default()
            .with_index(p.index)
            .with_error_code(p.error_code)
            .with_base_offset(p.base_offset)
            .with_log_append_time_ms(p.log_append_time)
            .with_log_start_offset(p.log_start);
        if version >= 8 {
            data = data
                .with_error_message(p.message.clone().map(StrBytes::from_string))
                .with_record_errors(vec![BatchIndexAndErrorMessage::default().with_batch_index(3)]);
        }
        if let Some((node, epoch)) = p.current_leader {
            let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(node)).with_leader_epoch(epoch);
            data = data.with_current_leader(leader);
        }
        let name = String::from_utf8(p.topic.to_vec()).expect("text");
        topics.push(
            TopicProduceResponse::default()
                .with_name(TopicName(StrBytes::from_string(name)))
                .with_partition_responses(vec![data]),
        );
    }
    let endpoint = |(node, host, port): &(i32, String, i32)| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(*node))
            .with_host(StrBytes::from_string(host.clone()))
            .with_port(*port)
    };
    let mut bytes = BytesMut::new();
    ProduceResponse::default()
        .with_responses(topics)
        .with_throttle_time_ms(answer.throttle_ms)
        .with_node_endpoints(answer.brokers.iter().map(endpoint).collect())
        .encode(&mut bytes, version)
        .expect("encodes");
    (answer, bytes.freeze())
}

proptest! {
    /// kafka-protocol reads back what we wrote, in every version, and the records are not copied.
    #[test]
    fn the_request_is_kafkas(request in request(), version in MIN_VERSION..=MAX_VERSION, txn in prop::option::of("[a-z]{1,5}")) {
        let borrowed: Vec<_> = request.iter()
            .map(|(topic, partitions)| (topic.as_str(), partitions.iter().map(|(p, sealed)| (*p, sealed)).collect()))
            .collect();
        let parts = encode(version, txn.as_deref(), -1, 30_000, &borrowed);
        let bodies = request.iter().flat_map(|(_, partitions)| partitions).filter(|(_, sealed)| !sealed.body.is_empty());
        for (_, sealed) in bodies {
            prop_assert!(parts.iter().any(|part| part.as_ptr() == sealed.body.as_ptr()));
        }
        let mut bytes: Bytes = parts.concat().into();
        let read = ProduceRequest::decode(&mut bytes, version).expect("decodes");
        prop_assert!(!bytes.has_remaining());
        prop_assert_eq!((read.acks, read.timeout_ms), (-1, 30_000));
        prop_assert_eq!(read.transactional_id.map(|id| id.0.to_string()), txn);
        let read: Vec<_> = read.topic_data.iter().map(|t| {
            let partitions = t.partition_data.iter().map(|p| (p.index, p.records.clone().expect("there"))).collect::<Vec<_>>();
            (t.name.0.to_string(), partitions)
        }).collect();
        let ours: Vec<_> = request.iter().map(|(topic, partitions)| {
            (topic.clone(), partitions.iter().map(|(p, sealed)| (*p, sealed.to_bytes())).collect::<Vec<_>>())
        }).collect();
        prop_assert_eq!(read, ours);
    }

    /// We read what kafka-protocol's broker half writes, in every version.
    #[test]
    fn the_answer_is_kafkas(answer in answer(), version in MIN_VERSION..=MAX_VERSION) {
        let (answer, bytes) = write(answer, version);
        prop_assert_eq!(decode(version, bytes).expect("decodes"), answer);
    }

    /// A damaged or cut answer is an error or another answer, never a panic.
    #[test]
    fn hostile_answers_do_not_panic(
        answer in answer(), version in MIN_VERSION..=MAX_VERSION, cut in 0..800_usize,
        damage in prop::collection::vec((0..800_usize, any::<u8>()), 0..8)
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
}
