//! What producers write to the source: all codecs, and every kind of record that a mirror must not change.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::time::MissedTickBehavior;

use super::Error;
use super::clusters::PARTITIONS;
use crate::supervise::{self, Task};

/// All codecs, by the names that Kafka and librdkafka share.
const CODECS: [&str; 5] = ["lz4", "zstd", "gzip", "snappy", "none"];

/// How often records are written.
const TICK: Duration = Duration::from_millis(20);

/// How long the last acknowledgements may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Producers at work; they stop when this is dropped.
pub(super) struct Load {
    shared: Arc<Shared>,
    producers: Producers,
    task: Task<Result<u64, Error>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    per_second: AtomicU32,
    breath: AtomicBool,
    topics: Mutex<Vec<String>>,
    delivered: AtomicU64,
    failed: AtomicU64,
}

/// One producer per codec.
type Producers = Arc<Vec<ThreadedProducer<Deliveries>>>;

/// Counts what the brokers acknowledge.
struct Deliveries(Arc<Shared>);

/// A record as it is produced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
    /// Milliseconds; none is now.
    timestamp: Option<i64>,
}

// === impl Load ===

impl Load {
    /// Begins to produce.
    pub(super) fn start(bootstrap: &str, topics: &[&str], per_second: u32) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let producers: Result<Vec<_>, _> = CODECS.iter().map(|codec| producer(bootstrap, codec, &shared)).collect();
        let producers = producers.map_err(|source| Error::Client { what: "making a producer".to_owned(), source })?;
        let producers = Arc::new(producers);
        let task = supervise::spawn("load", produce(shared.clone(), producers.clone()));
        let load = Self { shared, producers, task };
        load.only(topics);
        load.rate(per_second);
        Ok(load)
    }

    /// Records a second from now on.
    pub(super) fn rate(&self, per_second: u32) {
        self.shared.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Writes nothing for a while, or goes on.
    pub(super) fn breathe(&self, breath: bool) {
        self.shared.breath.store(breath, Ordering::Relaxed);
    }

    /// The topics that are written from now on, in turn.
    pub(super) fn only(&self, topics: &[&str]) {
        let mut current = self.shared.topics.lock().unwrap_or_else(PoisonError::into_inner);
        *current = topics.iter().map(|topic| (*topic).to_owned()).collect();
    }

    /// Ends the load: how many records the source acknowledged, which are all that were sent.
    pub(super) async fn stop(self) -> Result<u64, Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let sent = self.task.await.map_err(|lost| Error::Act { what: "the load".into(), why: lost.to_string() })??;
        let producers = self.producers;
        let flushed = supervise::blocking("flushing the producers", PATIENCE * 2, move || {
            producers.iter().try_for_each(|producer| producer.flush(PATIENCE))
        });
        flushed.await?.map_err(|source| Error::Client { what: "awaiting acknowledgements".to_owned(), source })?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (delivered, failed) = (count(&self.shared.delivered), count(&self.shared.failed));
        if delivered != sent || failed > 0 {
            let why = format!("{sent} records sent, {delivered} acknowledged, {failed} refused");
            return Err(Error::Act { what: "producing to the source".to_owned(), why });
        }
        Ok(delivered)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.delivered } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn producer(bootstrap: &str, codec: &str, shared: &Arc<Shared>) -> Result<ThreadedProducer<Deliveries>, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", format!("demo-{codec}"));
    // lingering makes batches of more than one record
    config.set("enable.idempotence", "true").set("compression.type", codec).set("linger.ms", "5");
    config.create_with_context(Deliveries(shared.clone()))
}

/// Writes at the wanted rate until told to stop: how many records were handed over.
async fn produce(shared: Arc<Shared>, producers: Producers) -> Result<u64, Error> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let per_tick = |per_second: u32| u64::from(per_second) / (1_000 / 20);
    let mut number = 0;
    for turn in 0.. {
        ticks.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        if shared.breath.load(Ordering::Relaxed) {
            continue;
        }
        let topics = shared.topics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // One codec a turn, so that its batches hold several records.
        let producer = &producers[turn % producers.len()];
        for _ in 0..per_tick(shared.per_second.load(Ordering::Relaxed)) {
            let Some(topic) = usize::try_from(number).ok().and_then(|n| topics.get(n % topics.len().max(1))) else {
                break;
            };
            if !send(producer, topic, number)? {
                break;
            }
            number += 1;
        }
    }
    Ok(number)
}

/// Hands one record over; whether there was room for it.
fn send(producer: &ThreadedProducer<Deliveries>, topic: &str, number: u64) -> Result<bool, Error> {
    let made = made(number);
    let partition = i32::try_from((number / 7) % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0);
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition);
    record.key = made.key.as_deref();
    record.payload = made.value.as_deref();
    record.timestamp = made.timestamp;
    if !made.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(made.headers.len());
        let add = |headers: OwnedHeaders, (key, value): &(&str, Option<Vec<u8>>)| {
            headers.insert(Header { key, value: value.as_deref() })
        };
        record.headers = Some(made.headers.iter().fold(headers, add));
    }
    match producer.send(record) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
        Err((source, _)) => Err(Error::Client { what: format!("producing to {topic}"), source }),
    }
}

/// The record of a number; no two numbers give the same.
fn made(number: u64) -> Made {
    let text = number.to_string().into_bytes();
    let key = match number % 7 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(vec![0xff, 0x00, 0xc3, 0x28]),
        _ => Some(format!("customer-{}", number % 500).into_bytes()),
    };
    let filler = "item ".repeat(usize::try_from(number % 60).unwrap_or(0));
    let value = match number % 11 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(format!("{{\"order\":{number},\"note\":\"{filler}\"}}").into_bytes()),
    };
    let mut headers = Vec::new();
    if matches!(number % 11, 0 | 1) || number.is_multiple_of(3) {
        headers.push(("number", Some(text)));
    }
    if number.is_multiple_of(5) {
        // repeated keys, a null value, an empty value, bytes that are no text
        headers.push(("trace", Some(b"first".to_vec())));
        headers.push(("absent", None));
        headers.push(("trace", Some(Vec::new())));
        headers.push(("trace", Some(vec![0xfe, 0xff])));
    }
    let hour = i64::try_from(number % 3_600_000).unwrap_or(0);
    let timestamp = number.is_multiple_of(13).then(|| now_ms() - hour);
    Made { key, value, headers, timestamp }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_records_are_equal_and_every_kind_is_there() {
        let all: Vec<Made> = (0..5_000).map(made).collect();
        let distinct: HashSet<_> = all.iter().map(|m| (&m.key, &m.value, &m.headers)).collect();
        assert_eq!(distinct.len(), all.len());
        let some = |kind: fn(&Made) -> bool| assert!(all.iter().any(kind));
        some(|m| m.key.is_none());
        some(|m| m.key.as_ref().is_some_and(Vec::is_empty));
        some(|m| m.value.is_none() && m.key.is_some());
        some(|m| m.value.as_ref().is_some_and(Vec::is_empty));
        some(|m| m.headers.is_empty());
        some(|m| m.headers.iter().filter(|(key, _)| *key == "trace").count() > 1);
        some(|m| m.headers.iter().any(|(_, value)| value.is_none()));
        some(|m| m.timestamp.is_some());
    }
}
