//! `kafka.connect.mirror:type=MirrorSourceConnector`: MirrorMaker 2's own figures of each partition. Pure.
//!
//! Attributes and tags are Java's (`MirrorSourceMetrics`, with the tag `source` of Kafka 4); `topic` is the remote topic. The
//! name is what JMX exporter rules make of the MBean's name: `kafka_connect_mirror_mirrorsourceconnector_<attribute>`.

use std::collections::HashSet;

use super::java::jmx;
use super::{Family, MAX_PARTITIONS, float};
use crate::engine::{Live, Measured, Spread};

type Figure = fn(&Measured) -> Option<f64>;

/// Name, help, and the figure; without a figure there is no sample.
const ATTRIBUTES: [(&str, &str, Figure); 12] = [
    ("kafka_connect_mirror_mirrorsourceconnector_record_count", "Records acknowledged since the flow started", |m| {
        Some(float(m.records))
    }),
    (
        "kafka_connect_mirror_mirrorsourceconnector_record_rate",
        "Records acknowledged per second, over half a minute to a minute",
        |m| Some(m.records_per_second),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_byte_count",
        "Bytes acknowledged since the flow started, as on the wire; MirrorMaker 2 counts values only, decompressed",
        |m| Some(float(m.bytes)),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_byte_rate",
        "Bytes acknowledged per second, as on the wire, over half a minute to a minute",
        |m| Some(m.bytes_per_second),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_record_age_ms",
        "Age of the newest record of the last batch when it was read",
        |m| last(m.age_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_record_age_ms_min",
        "Least age of a record when it was read, over half a minute to a minute",
        |m| least(m.age_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_record_age_ms_max",
        "Largest age of a batch's first record when it was read, over half a minute to a minute",
        |m| largest(m.age_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_record_age_ms_avg",
        "Average age of records when they were read, by the first and the newest timestamp of their batches",
        |m| average(m.age_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms",
        "Age of the newest record of the last batch when the target acknowledged it",
        |m| last(m.latency_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_min",
        "Least age of a record when the target acknowledged it, over half a minute to a minute",
        |m| least(m.latency_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_max",
        "Largest age of a batch's first record when the target acknowledged it, over half a minute to a minute",
        |m| largest(m.latency_ms),
    ),
    (
        "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms_avg",
        "Average age of records when the target acknowledged them, by the first and the newest timestamp of their batches",
        |m| average(m.latency_ms),
    ),
];

pub(super) fn families(live: &Live) -> Vec<Family> {
    let mut all = ATTRIBUTES.map(|(name, help, _)| Family::gauge(name, help));
    let flows = live.connectors.values().filter_map(|observed| Some((observed, observed.flow.as_ref()?)));
    let partitions = flows.flat_map(|(observed, flow)| flow.partitions.iter().map(move |one| (observed, one)));
    // Two connectors may copy into one remote partition (`mirrorkeeper.merge`), and Java has one MBean for both: counts and
    // rates add up, and of ages one is told.
    let mut taken = HashSet::new();
    for (observed, partition) in partitions.take(MAX_PARTITIONS) {
        let Some(measured) = &partition.measured else { continue };
        let source = jmx(observed.config.get("source.cluster.alias").unwrap_or_default());
        let target = jmx(observed.config.get("target.cluster.alias").unwrap_or("target"));
        let (topic, number) = (jmx(&partition.remote_topic), partition.partition.to_string());
        let labels = [("source", &*source), ("target", &*target), ("topic", &*topic), ("partition", &*number)];
        let again = !taken.insert(labels.map(|(_, value)| value.to_owned()));
        for (family, (name, _, figure)) in all.iter_mut().zip(ATTRIBUTES) {
            if let Some(value) = figure(measured).filter(|_| !(again && name.contains("_ms"))) {
                family.add(labels, value);
            }
        }
    }
    all.into()
}

fn last(spread: Option<Spread>) -> Option<f64> {
    spread.map(|spread| milliseconds(spread.last))
}

fn least(spread: Option<Spread>) -> Option<f64> {
    spread?.recent.map(|(least, ..)| milliseconds(least))
}

fn largest(spread: Option<Spread>) -> Option<f64> {
    spread?.recent.map(|(_, largest, _)| milliseconds(largest))
}

fn average(spread: Option<Spread>) -> Option<f64> {
    spread?.recent.map(|(.., average)| average)
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 ms, which is 285,000 years")]
fn milliseconds(value: i64) -> f64 {
    value as f64
}
