//! Topics, producers and readers on librdkafka: another implementation than the one under test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::records::{Rec, Sent};
use super::{block_on, raw, wait_for};

/// How long a client waits for a cluster before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a reader sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Everything, aborted records too.
    Uncommitted,
    /// Committed records, up to the last stable offset.
    Committed,
}

/// Creates a topic and waits until every partition has a leader. `replicas` at most the brokers.
pub(crate) fn create_topic(cluster: &Cluster, name: &str, partitions: i32, replicas: i32, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    for (key, value) in configs {
        topic = topic.set(key, value);
    }
    let outcome = block_on(admin(cluster).create_topics([&topic], &options())).expect("the request is answered");
    match &outcome[0] {
        Ok(_) => {}
        Err((name, code)) => panic!("topic {name} was not created: {code}"),
    }
    wait_for_partitions(cluster, name, partitions);
}

/// Raises the number of partitions.
pub(crate) fn create_partitions(cluster: &Cluster, name: &str, total: usize) {
    let request = NewPartitions::new(name, total);
    let outcome = block_on(admin(cluster).create_partitions([&request], &options())).expect("answered");
    assert!(outcome[0].is_ok(), "partitions of {name}: {:?}", outcome[0]);
    wait_for_partitions(cluster, name, i32::try_from(total).expect("few partitions"));
}

/// Deletes a topic and waits until it is gone.
pub(crate) fn delete_topic(cluster: &Cluster, name: &str) {
    let outcome = block_on(admin(cluster).delete_topics(&[name], &options())).expect("answered");
    assert!(outcome[0].is_ok(), "deletion of {name}: {:?}", outcome[0]);
    wait_for(&format!("topic {name} is gone"), PATIENCE, || match partitions(cluster, name)? {
        None => Ok(()),
        Some(count) => Err(format!("it has {count} partitions")),
    });
}

/// Sets entries of a topic's configuration to these, and all others back to their defaults: the protocol of old, which
/// every broker knows.
pub(crate) fn set_config(cluster: &Cluster, name: &str, entries: &[(&str, &str)]) {
    let mut config = AlterConfig::new(ResourceSpecifier::Topic(name));
    for (key, value) in entries {
        config = config.set(key, value);
    }
    let outcome = block_on(admin(cluster).alter_configs([&config], &options())).expect("answered");
    assert!(outcome[0].is_ok(), "configuration of {name}: {:?}", outcome[0]);
}

/// The value of an entry of a topic's configuration.
pub(crate) fn config_of(cluster: &Cluster, name: &str, key: &str) -> Result<String, String> {
    let described = block_on(admin(cluster).describe_configs([&ResourceSpecifier::Topic(name)], &options()));
    let mut described = described.map_err(|error| error.to_string())?;
    let described = described.pop().ok_or("no answer")?.map_err(|error| error.to_string())?;
    let entry = described.get(key).ok_or_else(|| format!("no {key}"))?;
    entry.value.clone().ok_or_else(|| format!("{key} has no value"))
}

/// Deletes the records before `offset`.
pub(crate) fn delete_records(cluster: &Cluster, name: &str, partition: i32, offset: i64) {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(name, partition, Offset::Offset(offset)).expect("a valid offset");
    block_on(admin(cluster).delete_records(&before, &options())).expect("records are deleted");
}

/// The number of partitions, `None` when there is no such topic.
pub(crate) fn partitions(cluster: &Cluster, name: &str) -> Result<Option<i32>, String> {
    let answer = cluster.bootstrap().split(',').find_map(|address| raw::metadata(address, Some(name)).ok());
    let answer = answer.ok_or("no broker answers")?;
    let topic = answer.topics.first().ok_or("no answer about the topic")?;
    // 3: UNKNOWN_TOPIC_OR_PARTITION.
    match topic.error_code {
        0 => Ok(Some(i32::try_from(topic.partitions.len()).expect("few partitions"))),
        3 => Ok(None),
        code => Err(format!("error {code}")),
    }
}

/// Waits until the topic exists with that many partitions, all with a leader.
pub(crate) fn wait_for_partitions(cluster: &Cluster, name: &str, count: i32) {
    let addresses = cluster.bootstrap();
    wait_for(&format!("topic {name} has {count} partitions"), PATIENCE, || {
        // Every broker: a client may ask any of them next.
        for address in addresses.split(',') {
            let answer = raw::metadata(address, Some(name))?;
            let topic = answer.topics.first().ok_or("no answer")?;
            let led = topic.partitions.iter().filter(|partition| partition.leader_id.0 >= 0).count();
            if i32::try_from(led) != Ok(count) {
                return Err(format!("{address} knows {led} with a leader (error {})", topic.error_code));
            }
        }
        Ok(())
    });
}

/// Asks for the ends of partitions. Not through librdkafka, which may look for a leader at a broker that is gone until
/// its time-out.
pub(crate) struct Ends(Vec<String>);

impl Ends {
    /// Nothing is asked yet.
    pub(crate) fn of(bootstrap: &str) -> Self {
        Self(bootstrap.split(',').map(str::to_owned).collect())
    }

    /// The first offset and the one after the last of a partition.
    pub(crate) fn span(&self, topic: &str, partition: i32) -> Result<(i64, i64), String> {
        let starts = self.list(topic, raw::EARLIEST)?;
        let ends = self.list(topic, raw::LATEST)?;
        let of = |offsets: &BTreeMap<i32, i64>| {
            offsets.get(&partition).copied().ok_or_else(|| format!("{topic} has no partition {partition}"))
        };
        Ok((of(&starts)?, of(&ends)?))
    }

    /// The offsets after the last record, markers and holes included, of partitions 0 up to `partitions`.
    pub(crate) fn ends(&self, topic: &str, partitions: i32) -> Result<Vec<i64>, String> {
        let ends = self.list(topic, raw::LATEST)?;
        let of = |partition| ends.get(&partition).copied().ok_or_else(|| format!("{topic}: {ends:?} only"));
        (0..partitions).map(of).collect()
    }

    fn list(&self, topic: &str, timestamp: i64) -> Result<BTreeMap<i32, i64>, String> {
        let mut last = String::new();
        for address in &self.0 {
            match raw::list_offsets(address, topic, timestamp) {
                Ok(offsets) => return Ok(offsets),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A client configuration that speaks to `bootstrap`.
pub(crate) fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "bench");
    // A broker that comes back is to be found soon.
    config.set("reconnect.backoff.max.ms", "1000").set("topic.metadata.refresh.fast.interval.ms", "100");
    config
}

/// Produces the records in order, idempotently, and waits for every acknowledgement.
pub(crate) fn produce(bootstrap: &str, topic: &str, codec: &str, records: &[Sent]) {
    let producer = producer(bootstrap, codec, None);
    send_all(&producer, topic, records);
    producer.flush(PATIENCE).expect("all records are acknowledged");
    assert_eq!(producer.in_flight_count(), 0);
}

/// Produces the records, each in a batch of its own.
pub(crate) fn produce_one_by_one(bootstrap: &str, topic: &str, records: &[Sent]) {
    let mut config = config(bootstrap);
    config.set("enable.idempotence", "true").set("batch.num.messages", "1").set("linger.ms", "0");
    let producer: BaseProducer = config.create().expect("a producer");
    send_all(&producer, topic, records);
    producer.flush(PATIENCE).expect("all records are acknowledged");
}

/// Produces the records without a producer id, as topics of old formats need it.
pub(crate) fn produce_plainly(bootstrap: &str, topic: &str, records: &[Sent]) {
    let producer: BaseProducer = config(bootstrap).set("acks", "all").create().expect("a producer");
    send_all(&producer, topic, records);
    producer.flush(PATIENCE).expect("all records are acknowledged");
}

/// Produces each group in a transaction of its own; `true` commits it, `false` aborts it.
pub(crate) fn produce_transactions(bootstrap: &str, topic: &str, codec: &str, transactions: &[(&[Sent], bool)]) {
    let producer = producer(bootstrap, codec, Some(&super::unique("bench")));
    producer.init_transactions(PATIENCE).expect("a transactional producer");
    for (records, commit) in transactions {
        producer.begin_transaction().expect("a transaction");
        send_all(&producer, topic, records);
        // Written, not only queued: an abort would purge the queue, and there would be nothing to filter.
        producer.flush(PATIENCE).expect("all records are acknowledged");
        if *commit {
            producer.commit_transaction(PATIENCE).expect("a commit");
        } else {
            producer.abort_transaction(PATIENCE).expect("an abort");
        }
    }
}

/// A producer; `linger.ms=20`, so that batches hold more than one record.
pub(crate) fn producer(bootstrap: &str, codec: &str, transactional_id: Option<&str>) -> BaseProducer {
    let mut config = config(bootstrap);
    config.set("enable.idempotence", "true").set("compression.type", codec).set("linger.ms", "20");
    config.set("message.max.bytes", "8000000").set("queue.buffering.max.kbytes", "262144");
    // librdkafka hashes without a key too, then; every record names its partition anyhow.
    config.set("partitioner", "murmur2_random");
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
    }
    config.create().expect("a producer")
}

/// Queues the records in order, polling while the queue is full.
pub(crate) fn send_all(producer: &BaseProducer, topic: &str, records: &[Sent]) {
    for sent in records {
        send(producer, topic, sent);
    }
}

/// Queues one record, polling while the queue is full.
pub(crate) fn send(producer: &BaseProducer, topic: &str, sent: &Sent) {
    let mut headers = OwnedHeaders::new_with_capacity(sent.headers.len());
    for (key, value) in &sent.headers {
        headers = headers.insert(Header { key, value: value.as_deref() });
    }
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(sent.partition);
    record.key = sent.key.as_deref();
    record.payload = sent.value.as_deref();
    record.timestamp = sent.timestamp;
    if !sent.headers.is_empty() {
        record.headers = Some(headers);
    }
    let start = Instant::now();
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if start.elapsed() < PATIENCE => {
                record = back;
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => panic!("a record for {topic} was refused: {error}"),
        }
    }
    producer.poll(Duration::ZERO);
}

/// Reads a topic from its earliest to its last readable offset, CRCs checked: per partition, in log order.
pub(crate) fn read_all(bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<Vec<Rec>> {
    let mut config = config(bootstrap);
    config.set("group.id", "bench").set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("check.crcs", "true").set("enable.partition.eof", "true").set("fetch.wait.max.ms", "50");
    config.set("auto.offset.reset", "error").set("queued.max.messages.kbytes", "65536");
    config.set(
        "isolation.level",
        match isolation {
            Isolation::Uncommitted => "read_uncommitted",
            Isolation::Committed => "read_committed",
        },
    );
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
    let described = &metadata.topics()[0];
    assert!(described.error().is_none(), "topic {topic}: {:?}", described.error());
    let ids: BTreeSet<i32> = described.partitions().iter().map(|partition| partition.id()).collect();

    let mut read: BTreeMap<i32, Vec<Rec>> = ids.iter().map(|id| (*id, Vec::new())).collect();
    let mut unread = ids.clone();
    let mut assignment = TopicPartitionList::new();
    for id in &ids {
        assignment.add_partition_offset(topic, *id, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let start = Instant::now();
    while !unread.is_empty() {
        assert!(start.elapsed() < PATIENCE, "partitions {unread:?} of {topic} were not read within {PATIENCE:?}");
        match consumer.poll(Duration::from_millis(500)) {
            None => {}
            Some(Ok(message)) if unread.contains(&message.partition()) => {
                read.get_mut(&message.partition()).expect("assigned").push(Rec::from_message(&message));
            }
            // Under load: a partition that has been read once to its end is done, whatever comes later.
            Some(Ok(_)) => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(unread.remove(&partition)),
            // librdkafka reports lost connections here and goes on by itself.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => panic!("reading {topic}: {error}"),
        }
    }
    read.into_values().collect()
}

impl Rec {
    /// The record of a message of librdkafka.
    pub(crate) fn from_message(message: &impl Message) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            timestamp: message.timestamp(),
        }
    }
}

fn admin(cluster: &Cluster) -> AdminClient<DefaultClientContext> {
    config(&cluster.bootstrap()).create().expect("an admin client")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}
