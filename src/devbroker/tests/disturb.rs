//! Faults, and that clients get over them.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;

use super::raw::{Raw, batch, produce_request};
use super::{cluster, producer, read};
use crate::devbroker::{Cut, DevCluster, Target};

const PRODUCE: i16 = 0;

/// Sends 300 records one after another in the log, `disturb` after the first third.
async fn survives(cluster: &DevCluster, disturb: impl AsyncFnOnce(&DevCluster)) {
    cluster.create_topic("t", 1, &[]).unwrap();
    let settings =
        [("enable.idempotence", "true"), ("linger.ms", "1"), ("retry.backoff.ms", "20"), ("batch.num.messages", "10")];
    let producer = producer(cluster, &settings);
    let values: Vec<String> = (0..300).map(|at| format!("{at}")).collect();
    let send = |value: &str| producer.send_result(FutureRecord::<str, str>::to("t").payload(value)).unwrap();
    let mut sent: Vec<_> = values[..100].iter().map(|value| send(value)).collect();
    disturb(cluster).await;
    sent.extend(values[100..].iter().map(|value| send(value)));
    for delivery in sent {
        delivery.await.unwrap().unwrap();
    }
    let text = |message: &rdkafka::message::BorrowedMessage<'_>| {
        String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
    };
    assert_eq!(read(cluster, "t", 300, &[], text).await, values);
    assert_eq!(cluster.high_watermark("t", 0), Some(300), "nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_moves() {
    survives(&cluster(2).await, async |cluster| cluster.faults().move_leader("t", 0, 2).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_lost() {
    survives(&cluster(1).await, async |cluster| {
        cluster.faults().cut(PRODUCE, Cut::After, 3);
        cluster.faults().cut_connections(None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_stops_and_comes_back() {
    survives(&cluster(2).await, async |cluster| {
        cluster.faults().stop_broker(1);
        assert_eq!(cluster.faults().leader("t", 0), Some((-1, 0)));
        cluster.faults().start_broker(1).await.unwrap();
        assert_eq!(cluster.faults().leader("t", 0), Some((1, 1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_answer_errors() {
    survives(&cluster(1).await, async |cluster| {
        // once there is state, a refused batch is no danger to its followers
        while cluster.high_watermark("t", 0) == Some(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.faults().fail(PRODUCE, Target::Partition("t".to_owned(), 0), 7, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_hit_what_they_are_aimed_at() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 2, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    cluster.faults().fail(PRODUCE, Target::Partition("t".to_owned(), 1), 19, 2);
    let mut codes = |partition: i32| raw.produce_to("t", partition, &batch(1, None), None).error_code;
    assert_eq!([codes(0), codes(1), codes(1), codes(1)], [0, 19, 19, 0]);
    cluster.faults().fail(PRODUCE, Target::Any, 7, u32::MAX);
    assert_eq!([codes(0), codes(1)], [7, 7]);
    cluster.faults().clear();
    assert_eq!([codes(0), codes(1)], [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distant_network_delays_but_does_not_serialise() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    cluster.faults().round_trip(Duration::from_secs(1));
    let mut raw = Raw::connect(&cluster, 0);
    let began = Instant::now();
    let request = produce_request("t", 0, &batch(1, None), None);
    for _ in 0..5 {
        raw.send(&request, 11);
    }
    for _ in 0..5 {
        assert_eq!(raw.receive::<ProduceRequest>(11).unwrap().responses[0].partition_responses[0].error_code, 0);
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttle_cut_and_silence() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let mut raw = Raw::connect(&cluster, 0);
    let request = produce_request("t", 0, &batch(1, None), None);
    cluster.faults().throttle(PRODUCE, 250, 1);
    assert_eq!(raw.call(&request, 11).throttle_time_ms, 250);
    assert_eq!(raw.call(&request, 11).throttle_time_ms, 0);
    cluster.faults().cut(PRODUCE, Cut::Before, 1);
    raw.send(&request, 11);
    assert!(raw.receive::<ProduceRequest>(11).is_err());
    assert_eq!(cluster.high_watermark("t", 0), Some(2));
    let mut raw = Raw::connect(&cluster, 0);
    cluster.faults().cut(PRODUCE, Cut::After, 1);
    raw.send(&request, 11);
    assert!(raw.receive::<ProduceRequest>(11).is_err());
    assert_eq!(cluster.high_watermark("t", 0), Some(3));
    let mut raw = Raw::connect(&cluster, 0);
    cluster.faults().hang(PRODUCE, 1);
    raw.send(&request, 11);
    // the next request is answered, the silent one never
    assert_eq!(raw.call(&ApiVersionsRequest::default(), 3).error_code, 0);
    assert_eq!(cluster.high_watermark("t", 0), Some(3));
    let address = cluster.bootstrap();
    drop(cluster);
    let gone = async {
        while std::net::TcpStream::connect(&address).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("a dropped cluster is gone");
}
