//! The same requests to this broker and to Apache Kafka: the answers must be the same.
//!
//! Needs a broker of Apache Kafka 4 whose topics may be created: `KAFKA_BOOTSTRAP=127.0.0.1:9092 cargo test --
//! --ignored answers_as_kafka_does`.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, CreateTopicsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
    ListOffsetsRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster;
use super::raw::{Raw, batch, body, fetch_request, header, partition, topic};
use crate::devbroker::header::Header;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn create(raw: &mut Raw, name: &str, configs: &[(&str, &str)]) {
    let config = |(key, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let made = CreatableTopic::default().with_name(topic(name)).with_num_partitions(1).with_replication_factor(1);
    let made = made.with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![made]).with_timeout_ms(10_000);
    assert_eq!(raw.call(&request, 7).topics[0].error_code, 0);
    // Kafka answers before the leader is in office
    loop {
        let told = raw.fetch(name, 0, 1, false).error_code;
        match told {
            0 => return,
            3 | 5 | 6 => std::thread::sleep(std::time::Duration::from_millis(20)),
            other => panic!("{name}: {other}"),
        }
    }
}

/// All that is asked, and what was answered.
fn interrogate(raw: &mut Raw, tag: &str) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = Vec::new();
    macro_rules! note {
        ($what:expr, $answer:expr) => {
            told.push(($what.to_owned(), format!("{:?}", $answer)))
        };
    }
    let name = |what: &str| format!("{what}-{tag}");
    let [plain, sequences, compacted, small, stamped, times, txn] =
        ["plain", "sequences", "compacted", "small", "stamped", "times", "txn"].map(name);
    create(raw, &plain, &[]);
    create(raw, &sequences, &[]);
    create(raw, &compacted, &[("cleanup.policy", "compact")]);
    create(raw, &small, &[("max.message.bytes", "100")]);
    create(raw, &stamped, &[("message.timestamp.type", "LogAppendTime")]);
    create(raw, &times, &[("retention.ms", "-1")]);
    create(raw, &txn, &[]);

    let good = batch(3, None);
    note!("good", raw.produce(&plain, &good));
    let mut flipped = good.to_vec();
    flipped[70] ^= 1;
    note!("crc", raw.produce(&plain, &flipped.into()));
    note!("two batches", raw.produce(&plain, &[&good[..], &good[..]].concat().into()));
    note!("holes", raw.produce(&plain, &Header { last_offset_delta: 5, ..header(3, None) }.seal(&body(3))));
    note!("none", raw.produce(&plain, &Header { last_offset_delta: -1, ..header(0, None) }.seal(&[])));
    note!("fewer", raw.produce(&plain, &header(4, None).seal(&body(3))));
    note!("more", raw.produce(&plain, &header(2, None).seal(&body(3))));
    note!("control", raw.produce(&plain, &Header { attributes: 0x20, ..header(3, None) }.seal(&body(3))));
    note!("codec 7", raw.produce(&plain, &Header { attributes: 7, ..header(3, None) }.seal(&body(3))));
    note!("transactional", raw.produce(&plain, &Header { attributes: 0x10, ..header(3, None) }.seal(&body(3))));
    note!("claims append time", raw.produce(&plain, &Header { attributes: 8, ..header(3, None) }.seal(&body(3))));
    note!("base offset", raw.produce(&plain, &Header { base_offset: 9, ..header(3, None) }.seal(&body(3))));
    let base = header(3, None);
    let late = base.max_timestamp + 2 * 3_600_000;
    note!("late", raw.produce(&plain, &Header { base_timestamp: late, max_timestamp: late, ..base }.seal(&body(3))));
    let keyless = header(1, None).seal(&[14, 0, 0, 0, 1, 2, b'v', 0]);
    note!("no key", raw.produce(&compacted, &keyless));
    note!("no key, not compacted", raw.produce(&plain, &keyless));
    note!("too large", raw.produce(&small, &batch(40, None)));
    note!("not too large", raw.produce(&small, &batch(4, None)));
    let time = raw.produce_to(&stamped, 0, &good, None);
    note!("stamped", (time.error_code, time.base_offset, time.log_append_time_ms > 0));
    note!("producer without sequence", raw.produce(&plain, &batch(1, Some((77, 0, -1)))));

    let (id, epoch) = raw.producer(None);
    let mut send = |what: &str, sequence: i32, epoch: i16, count: i32| {
        let answer = raw.produce(&sequences, &batch(count, Some((id, epoch, sequence))));
        told.push((format!("{what} {sequence} epoch {epoch}"), format!("{answer:?}")));
    };
    send("first", 7, epoch, 1);
    send("overtaken", 0, epoch, 7);
    (0..6).for_each(|at| send("next", 8 + 2 * at, epoch, 2));
    (0..6).for_each(|at| send("again", 8 + 2 * at, epoch, 2));
    send("part of a known one", 18, epoch, 1);
    send("gap", 21, epoch, 1);
    send("new epoch", 20, epoch + 1, 1);
    send("new epoch", 0, epoch + 1, 1);
    send("old epoch", 20, epoch, 1);

    let at = |time: i64| Header { base_timestamp: time, max_timestamp: time, ..header(2, None) }.seal(&body(2));
    for time in [1000, 3000, 2000] {
        told.push(("timed".to_owned(), format!("{:?}", raw.produce(&times, &at(time)))));
    }
    for timestamp in [-1, -2, -3, 0, 1000, 1500, 3000, 3001] {
        let asked = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp);
        let asked = ListOffsetsTopic::default().with_name(topic(&times)).with_partitions(vec![asked]);
        let answer = raw.call(&ListOffsetsRequest::default().with_topics(vec![asked]), 7);
        let part = &answer.topics[0].partitions[0];
        told.push((format!("time {timestamp}"), format!("{:?}", (part.error_code, part.offset, part.timestamp))));
    }
    for (offset, epoch) in [(0, -1), (3, 0), (6, 0), (7, -1), (6, 5)] {
        let mut request = fetch_request(&times, offset, 1);
        request.topics[0].partitions[0].last_fetched_epoch = epoch;
        let part = partition(raw.call(&request, 12));
        let size = part.records.as_ref().map_or(0, bytes::Bytes::len);
        let answer = (part.error_code, part.high_watermark, part.last_stable_offset, part.log_start_offset, size);
        told.push((format!("fetch {offset} epoch {epoch}"), format!("{answer:?} {:?}", part.diverging_epoch)));
    }
    told.extend(session(raw, &plain));
    told.extend(transaction(raw, &txn, tag));
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(tag)]);
    while raw.call(&find, 4).coordinators[0].error_code != 0 || super::group::loading(raw, tag) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    told.extend(super::group::interrogate(raw, tag));
    told
}

fn session(raw: &mut Raw, name: &str) -> Vec<(String, String)> {
    let end = raw.fetch(name, 0, 1, false).high_watermark;
    let opened = raw.call(&fetch_request(name, end, 1 << 20).with_session_epoch(0), 12);
    let mut told = vec![("session".to_owned(), format!("{:?}", (opened.session_id > 0, opened.responses.len())))];
    let next = |epoch: i32| FetchRequest::default().with_session_id(opened.session_id).with_session_epoch(epoch);
    for (what, epoch) in [("quiet", 1), ("skipped", 9), ("follows", 2)] {
        let answer = raw.call(&next(epoch).with_max_bytes(1 << 20).with_min_bytes(1), 12);
        told.push((format!("session {what}"), format!("{:?}", (answer.error_code, answer.responses.len()))));
    }
    let gone = raw.call(&next(1).with_session_id(opened.session_id ^ 0x55), 12);
    told.push(("session unknown".to_owned(), format!("{:?}", gone.error_code)));
    told
}

fn transaction(raw: &mut Raw, name: &str, tag: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let id = format!("id-{tag}");
    let transactional_id = || TransactionalId(text(&id));
    let find = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![text(&id)]);
    while raw.call(&find, 4).coordinators[0].error_code != 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let producer = raw.producer(Some(&id));
    let add = |raw: &mut Raw, producer: (i64, i16)| loop {
        let topics = vec![AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(vec![0])];
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id())
            .with_v3_and_below_producer_id(ProducerId(producer.0))
            .with_v3_and_below_producer_epoch(producer.1)
            .with_v3_and_below_topics(topics);
        let answer = raw.call(&request, 3).results_by_topic_v3_and_below[0].results_by_partition[0].clone();
        // 51: Kafka is still writing the last markers
        if answer.partition_error_code != 51 {
            return answer.partition_error_code;
        }
    };
    let end = |raw: &mut Raw, producer: (i64, i16), commit: bool| loop {
        let request = EndTxnRequest::default().with_transactional_id(transactional_id());
        let request = request.with_producer_id(ProducerId(producer.0)).with_producer_epoch(producer.1);
        let code = raw.call(&request.with_committed(commit), 3).error_code;
        if code != 51 {
            return code;
        }
    };
    let sealed = |sequence: i32| {
        Header { attributes: 0x10, ..header(2, Some((producer.0, producer.1, sequence))) }.seal(&body(2))
    };
    let view = |raw: &mut Raw| {
        let part = raw.fetch(name, 0, 1 << 20, true);
        let aborted: Vec<_> = part.aborted_transactions.iter().flatten().map(|aborted| aborted.first_offset).collect();
        let size = part.records.as_ref().map_or(0, bytes::Bytes::len);
        format!("{:?}", (part.last_stable_offset, part.high_watermark, size, aborted))
    };
    let mut note = |what: &str, answer: String| told.push((format!("txn {what}"), answer));
    note("not added", format!("{:?}", raw.produce_to(name, 0, &sealed(0), Some(&id)).error_code));
    note("add", add(raw, producer).to_string());
    note("first", format!("{:?}", raw.produce_to(name, 0, &sealed(0), Some(&id)).base_offset));
    note("plain within", format!("{:?}", raw.produce(name, &batch(1, Some((producer.0, producer.1, 2))))));
    note("stranger", format!("{:?}", raw.produce(name, &batch(1, None))));
    note("open", view(raw));
    note("abort", end(raw, producer, false).to_string());
    note("abort again", end(raw, producer, false).to_string());
    note("commit aborted", end(raw, producer, true).to_string());
    note("add again", add(raw, producer).to_string());
    note("empty", end(raw, producer, true).to_string());
    note(
        "next sequence",
        format!("{:?}", (add(raw, producer), raw.produce_to(name, 0, &sealed(2), Some(&id)).base_offset)),
    );
    note("commit", end(raw, producer, true).to_string());
    // settles the last markers
    note("settled", (add(raw, producer), end(raw, producer, false), add(raw, producer)).0.to_string());
    note("ended", view(raw));
    told
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KAFKA_BOOTSTRAP"]
async fn answers_as_kafka_does() {
    let kafka = std::env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP names a broker of Apache Kafka");
    let tag = uuid::Uuid::new_v4().to_string();
    let cluster = cluster(1).await;
    let ours = interrogate(&mut Raw::connect(&cluster, 0), &tag);
    let theirs = interrogate(&mut Raw::to(&kafka), &tag);
    let differ: Vec<_> = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).collect();
    assert!(differ.is_empty(), "(ours, Kafka's): {differ:#?}");
}
