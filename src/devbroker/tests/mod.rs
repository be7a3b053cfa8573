//! Driven by librdkafka, which knows nothing of this broker.

mod admin;
mod disturb;
mod group;
mod oracle;
mod produce;
mod protocol;
mod raw;
mod txn;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::FutureProducer;

use super::{DevCluster, DevConfig};

pub(super) async fn cluster(brokers: usize) -> DevCluster {
    DevCluster::start(DevConfig { brokers, ..DevConfig::default() }).await.unwrap()
}

pub(super) fn client(cluster: &DevCluster, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap()).set("topic.metadata.refresh.interval.ms", "500");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

pub(super) fn producer(cluster: &DevCluster, settings: &[(&str, &str)]) -> FutureProducer {
    client(cluster, settings).create().unwrap()
}

/// What a consumer of one partition reads until it has `count` records or 20 s have passed.
pub(super) async fn read<T: Send + 'static>(
    cluster: &DevCluster,
    topic: &str,
    count: usize,
    settings: &[(&str, &str)],
    map: impl Fn(&BorrowedMessage<'_>) -> T + Send + 'static,
) -> Vec<T> {
    let mut all = vec![
        ("group.id", "reader"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("check.crcs", "true"),
    ];
    all.extend_from_slice(settings);
    let consumer: BaseConsumer = client(cluster, &all).create().unwrap();
    let mut assignment = rdkafka::TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    crate::supervise::blocking("reader", Duration::from_secs(30), move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut read = Vec::new();
        while read.len() < count && Instant::now() < deadline {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let _offset = message.offset();
                read.push(map(&message));
            }
        }
        read
    })
    .await
    .unwrap()
}

/// A cluster to try other clients on by hand: `cargo test -- --ignored --nocapture serve_for_an_hour`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "by hand"]
async fn serve_for_an_hour() {
    let cluster = cluster(3).await;
    println!("bootstrap {}", cluster.bootstrap());
    tokio::time::sleep(Duration::from_secs(3600)).await;
}
