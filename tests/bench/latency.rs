//! What mirroring adds to the time at which a consumer reads a record, under a steady load.
//!
//! One consumer reads the source, one the target, both in this process, so one clock tells when each read a record; the
//! difference is the added latency of that record. All records of the measured seconds count, also the slowest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use crate::data::{self, Values};
use crate::measure::{Figures, first_record};
use crate::process::peak_resident_bytes;
use crate::rig::{Rig, Route, Running};
use crate::scenario::{PARTITIONS, Scenario};
use crate::support::client::{self, PATIENCE};

/// Records per second.
const RATE: u64 = 5000;

/// Seconds at the start of the load that don't count.
const SKIP: u64 = 2;

/// When each record was read, by its number.
type Times = Vec<Option<Instant>>;

/// Writes [`RATE`] records a second for that many seconds and more, and compares when they were read.
///
/// # Errors
/// When the system ends, or does not copy all records.
pub(crate) fn paced(
    rig: &Rig,
    scenario: &Scenario,
    route: &Route,
    mut running: Running<'_>,
    seconds: u64,
) -> Result<Figures, String> {
    let values = Values::new(scenario.value_bytes);
    // A producer that waits little, so that the load itself adds little.
    let producer = data::producer(&rig.source.bootstrap(), scenario.codec, scenario.batches, 2);
    let send = |number: u64, value: &[u8]| {
        data::send(&producer, &route.topic, (number % PARTITIONS as u64) as i32, &data::key(number), value);
    };
    // Something to start on, without a number.
    (0..PARTITIONS as u64).for_each(|number| send(number, b"{}"));
    producer.flush(PATIENCE).expect("all records are acknowledged");
    first_record(rig, &mut running, &route.target_topic(), Instant::now())?;

    let total = RATE * (seconds + SKIP);
    let (stop, target_topic) = (AtomicBool::new(false), route.target_topic());
    let (source, target) = std::thread::scope(|scope| {
        let source = scope.spawn(|| read(&rig.source.bootstrap(), &route.topic, total, &stop));
        let target = scope.spawn(|| read(&rig.target.bootstrap(), &target_topic, total, &stop));
        let start = Instant::now();
        for number in 0..total {
            send(number, &values.numbered(number));
            producer.poll(Duration::ZERO);
            let due = Duration::from_micros((number + 1) * 1_000_000 / RATE);
            // Five at a time: a timer is no finer than that.
            if number % 5 == 4 {
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        producer.flush(PATIENCE).expect("all records are acknowledged");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && !(source.is_finished() && target.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        (source.join().expect("the reader doesn't panic"), target.join().expect("the reader doesn't panic"))
    });
    if let Some(words) = running.ended() {
        return Err(format!("it ended under load: {words}"));
    }

    let pairs = source.iter().zip(&target).skip((RATE * SKIP) as usize);
    let mut added: Vec<f64> = pairs.filter_map(|(source, target)| Some(ms((*target)?) - ms((*source)?))).collect();
    let expected = RATE * seconds;
    if (added.len() as u64) < expected {
        return Err(format!("{} of {expected} records were read on both sides: {}", added.len(), running.explain()));
    }
    added.sort_by(f64::total_cmp);
    let quantile = |part: f64| added[((added.len() - 1) as f64 * part) as usize];
    Ok(Figures {
        latency_p50_ms: Some(quantile(0.5)),
        latency_p99_ms: Some(quantile(0.99)),
        peak_rss_mb: peak_resident_bytes(running.pid()).map(|bytes| bytes as f64 / 1e6),
        ..Figures::default()
    })
}

/// Since some moment that is the same for all.
fn ms(at: Instant) -> f64 {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let origin = *ORIGIN.get_or_init(|| at);
    match at.checked_duration_since(origin) {
        Some(after) => after.as_secs_f64() * 1e3,
        None => -(origin.duration_since(at).as_secs_f64() * 1e3),
    }
}

/// Reads a topic until all numbered records have come, or `stop`.
fn read(bootstrap: &str, topic: &str, total: u64, stop: &AtomicBool) -> Times {
    let mut config = client::config(bootstrap);
    config.set("group.id", "bench").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in (0_i32..).take(PARTITIONS) {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut times: Times = vec![None; total as usize];
    let mut missing = total;
    while missing > 0 && !stop.load(Ordering::Relaxed) {
        // librdkafka recovers from errors by itself; what stays unread is counted by the caller.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let now = Instant::now();
        if let Some(slot) = message.payload().and_then(data::number).and_then(|number| times.get_mut(number))
            && slot.is_none()
        {
            *slot = Some(now);
            missing -= 1;
        }
    }
    times
}
