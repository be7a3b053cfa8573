//! Transactions, by librdkafka and by hand.

use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{AddPartitionsToTxnRequest, EndTxnRequest, ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use rdkafka::message::Message;
use rdkafka::producer::{FutureRecord, Producer};

use super::raw::{Raw, batch, body, header, topic};
use super::{cluster, producer, read};
use crate::devbroker::header::Header;

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_committed_data_skip_what_was_aborted() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let producer = producer(&cluster, &[("transactional.id", "id"), ("linger.ms", "0")]);
    producer.init_transactions(Duration::from_secs(10)).unwrap();
    for (text, commit) in [("one", true), ("two", false), ("three", true)] {
        producer.begin_transaction().unwrap();
        for _ in 0..10 {
            producer.send(FutureRecord::to("t").key("k").payload(text), Duration::from_secs(5)).await.unwrap();
        }
        if commit {
            producer.commit_transaction(Duration::from_secs(10)).unwrap();
        } else {
            producer.abort_transaction(Duration::from_secs(10)).unwrap();
        }
    }
    let text = |message: &rdkafka::message::BorrowedMessage<'_>| {
        String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
    };
    let committed = read(&cluster, "t", 20, &[("isolation.level", "read_committed")], text).await;
    assert_eq!(committed, [vec!["one"; 10], vec!["three"; 10]].concat());
    let all = read(&cluster, "t", 30, &[("isolation.level", "read_uncommitted")], text).await;
    assert_eq!(all, [vec!["one"; 10], vec!["two"; 10], vec!["three"; 10]].concat());
    assert_eq!(cluster.high_watermark("t", 0), Some(33), "each marker takes an offset");
}

fn id(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

fn add(raw: &mut Raw, producer: (i64, i16)) -> i16 {
    let topics = vec![AddPartitionsToTxnTopic::default().with_name(topic("t")).with_partitions(vec![0])];
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id("id"))
        .with_v3_and_below_producer_id(ProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(topics);
    raw.call(&request, 3).results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

fn end(raw: &mut Raw, producer: (i64, i16), commit: bool) -> i16 {
    let request = EndTxnRequest::default().with_transactional_id(id("id")).with_producer_id(ProducerId(producer.0));
    raw.call(&request.with_producer_epoch(producer.1).with_committed(commit), 3).error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_back_committed_readers() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    let producer = raw.producer(Some("id"));
    let sealed = |sequence: i32| {
        Header { attributes: 0x10, ..header(2, Some((producer.0, producer.1, sequence))) }.seal(&body(2))
    };
    assert_eq!(raw.produce_to("t", 0, &sealed(0), Some("id")).error_code, 120, "not added");
    assert_eq!(add(&mut raw, producer), 0);
    assert_eq!(raw.produce("t", &batch(1, None)), (0, 0));
    assert_eq!(raw.produce_to("t", 0, &sealed(0), Some("id")).base_offset, 1);
    assert_eq!(raw.produce("t", &batch(1, Some((producer.0, producer.1, 2)))).0, 48, "not transactional within one");
    assert_eq!(raw.produce("t", &batch(1, None)), (0, 3));
    let open = raw.fetch("t", 0, 1 << 20, true);
    assert_eq!((open.last_stable_offset, open.high_watermark), (1, 4));
    assert_eq!(open.records.unwrap().len(), batch(1, None).len());
    assert_eq!(end(&mut raw, producer, false), 0);
    assert_eq!(end(&mut raw, producer, false), 0, "said again");
    assert_eq!(end(&mut raw, producer, true), 48);
    let ended = raw.fetch("t", 0, 1 << 20, true);
    assert_eq!((ended.last_stable_offset, ended.high_watermark), (5, 5));
    let aborted = ended.aborted_transactions.unwrap();
    assert_eq!((aborted.len(), aborted[0].producer_id.0, aborted[0].first_offset), (1, producer.0, 1));
    // an empty transaction takes one offset
    assert_eq!((add(&mut raw, producer), end(&mut raw, producer, true)), (0, 0));
    assert_eq!(cluster.high_watermark("t", 0), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_of_an_id_fences_the_first() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    let first = raw.producer(Some("id"));
    assert_eq!(add(&mut raw, first), 0);
    let second = raw.producer(Some("id"));
    assert_eq!(second, (first.0, first.1 + 1));
    assert_eq!(cluster.high_watermark("t", 0), Some(1), "the open transaction was aborted");
    assert_eq!(add(&mut raw, first), 90);
    assert_eq!(end(&mut raw, first, true), 90);
    // plain batches under such an identity: the older epoch is taken until the newer has written there
    cluster.create_topic("plain", 1, &[]).unwrap();
    assert_eq!(raw.produce("plain", &batch(1, Some((first.0, first.1, 0)))).0, 0);
    assert_eq!(raw.produce("plain", &batch(1, Some((second.0, second.1, 0)))).0, 0);
    assert_eq!(raw.produce("plain", &batch(1, Some((first.0, first.1, 1)))).0, 47);
}
