//! The records: JSON-like values that compress about as well as real ones, written in batches of a chosen size.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::scenario::{Batches, KEY_BYTES, PARTITIONS, Scenario};
use crate::support::client::{self, PATIENCE};
use crate::support::cluster::Cluster;

/// Different values that records take turns with.
const VALUES: usize = 4096;

/// Where a paced record's number stands in its value.
const NUMBER: std::ops::Range<usize> = 6..16;

/// Values of one size.
pub(crate) struct Values(Vec<Vec<u8>>);

impl Values {
    /// Equal for equal sizes.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        Self((0..VALUES).map(|_| value(&mut random, bytes)).collect())
    }

    /// The value of a record.
    pub(crate) fn of(&self, number: u64) -> &[u8] {
        &self.0[(number % VALUES as u64) as usize]
    }

    /// The value of a record, with its number in it.
    pub(crate) fn numbered(&self, number: u64) -> Vec<u8> {
        let mut value = self.of(number).to_vec();
        value[NUMBER].copy_from_slice(format!("{number:010}").as_bytes());
        value
    }
}

/// The number in a value of [`Values::numbered`].
pub(crate) fn number(value: &[u8]) -> Option<usize> {
    std::str::from_utf8(value.get(NUMBER)?).ok()?.parse().ok()
}

/// `{"id":0000000000,...}`: field names and words that repeat, ids and figures that don't.
fn value(random: &mut StdRng, bytes: usize) -> Vec<u8> {
    const EVENTS: [&str; 6] = ["page_view", "add_to_cart", "checkout", "payment_accepted", "shipment", "refund"];
    const FIELDS: [&str; 8] = ["user", "session", "device", "campaign", "warehouse", "supplier", "invoice", "trace"];
    const PLACES: [&str; 5] = ["eu-central-1", "us-east-2", "ap-southeast-1", "eu-west-3", "sa-east-1"];
    let mut text = String::from(r#"{"id":0000000000,"#);
    while text.len() < bytes {
        let (field, event) = (FIELDS.choose(random), EVENTS.choose(random));
        let part = match random.random_range(0..4) {
            0 => format!(r#""{}_id":"{:016x}","#, field.expect("not empty"), random.random::<u64>()),
            1 => format!(
                r#""{}_at":{},"#,
                event.expect("not empty"),
                random.random_range(1_700_000_000_000_u64..1_800_000_000_000)
            ),
            2 => format!(r#""region":"{}","#, PLACES.choose(random).expect("not empty")),
            _ => format!(r#""amount":{}.{:02},"#, random.random_range(1..2000), random.random_range(0..100)),
        };
        text.push_str(&part);
    }
    text.truncate(bytes - 1);
    text.push('}');
    text.into_bytes()
}

/// A producer that fills its batches as the scenario says.
pub(crate) fn producer(bootstrap: &str, codec: &str, batches: Batches, linger_ms: u32) -> BaseProducer {
    let (bytes, records) = match batches {
        Batches::Filled => ("1000000", "1000000"),
        Batches::Kib16 => ("16384", "1000000"),
        Batches::Single => ("1000000", "1"),
    };
    let mut config = client::config(bootstrap);
    config.set("enable.idempotence", "true").set("compression.type", codec);
    config.set("batch.size", bytes).set("batch.num.messages", records).set("linger.ms", linger_ms.to_string());
    config.set("message.max.bytes", "1048588").set("queue.buffering.max.kbytes", "262144");
    config.create().expect("a producer")
}

/// Queues one record, polling while the queue is full.
pub(crate) fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &str, value: &[u8]) {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => panic!("a record for {topic} was refused: {error}"),
        }
    }
}

/// The key of a record; `KEY_BYTES` long.
pub(crate) fn key(number: u64) -> String {
    let key = format!("key-{number:08}");
    debug_assert_eq!(key.len(), KEY_BYTES);
    key
}

/// Writes `records` records, round robin over the partitions.
pub(crate) fn fill(cluster: &Cluster, topic: &str, scenario: &Scenario, records: u64) {
    let values = Values::new(scenario.value_bytes);
    let linger_ms = if scenario.batches == Batches::Single { 0 } else { 1000 };
    let producer = producer(&cluster.bootstrap(), scenario.codec, scenario.batches, linger_ms);
    for number in 0..records {
        let partition = (number % PARTITIONS as u64) as i32;
        send(&producer, topic, partition, &key(number), values.of(number / PARTITIONS as u64));
    }
    producer.flush(PATIENCE).expect("all records are acknowledged");
}

/// Topic settings under which the cleaner takes what [`fill_and_compact`] writes.
pub(crate) const COMPACT: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "4194304"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("min.compaction.lag.ms", "0"),
];

/// Writes records of which every other is superseded by a later one, and waits until the cleaner has removed them: the
/// records that are left.
pub(crate) fn fill_and_compact(cluster: &Cluster, topic: &str, scenario: &Scenario, records: u64) -> u64 {
    let values = Values::new(scenario.value_bytes);
    let producer = producer(&cluster.bootstrap(), scenario.codec, scenario.batches, 1000);
    for number in 0..records {
        let partition = (number % PARTITIONS as u64) as i32;
        let round = number / PARTITIONS as u64;
        // A few hundred keys share the odd rounds, each even round has its own.
        let key = if round.is_multiple_of(2) { key(round) } else { key(90_000_000 + round % 500) };
        send(&producer, topic, partition, &key, values.of(round));
    }
    producer.flush(PATIENCE).expect("all records are acknowledged");

    let folders: Vec<_> = (0_i32..).take(PARTITIONS).map(|index| cluster.log_folder(1, topic, index)).collect();
    let size = || folders.iter().map(|folder| log_bytes(folder)).sum::<u64>();
    let (full, start) = (size(), Instant::now());
    let (mut last, mut since) = (full, Instant::now());
    // The active segments stay as they are; the rest shrinks, and then no more. How far depends on the volume: that there
    // are holes is what counts.
    while last >= full || since.elapsed() < Duration::from_secs(5) {
        assert!(start.elapsed() < PATIENCE, "the cleaner left {last} of {full} bytes of {topic}");
        std::thread::sleep(Duration::from_millis(100));
        let now = size();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    count(cluster, topic)
}

fn log_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // The cleaner renames and deletes meanwhile: what is gone counts nothing.
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    logs.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// The records that a reader finds.
fn count(cluster: &Cluster, topic: &str) -> u64 {
    let mut config = client::config(&cluster.bootstrap());
    config.set("group.id", "bench").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in (0_i32..).take(PARTITIONS) {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let (mut ended, mut records, start) = (0, 0, Instant::now());
    while ended < PARTITIONS {
        assert!(start.elapsed() < PATIENCE, "{topic} was not read within {PATIENCE:?}");
        match consumer.poll(Duration::from_millis(500)) {
            None => {}
            Some(Ok(_)) => records += 1,
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("reading {topic}: {error}"),
        }
    }
    records
}
