//! What is measured: the scenarios, and who takes part in each.

/// Bytes of every key.
pub(crate) const KEY_BYTES: usize = 12;

/// Partitions of every topic, and `tasks.max` of MirrorMaker 2.
pub(crate) const PARTITIONS: usize = 4;

/// A program that copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum System {
    /// The least that copying costs: see [`crate::floor`].
    Floor,
    /// The daemon of this crate, release build.
    Mirrorkeeper,
    /// Apache Kafka's MirrorMaker 2 as it is shipped.
    Mm2,
    /// MirrorMaker 2 with a producer that waits for large batches.
    Mm2Tuned,
    /// A loop over librdkafka's consumer and producer.
    Librdkafka,
}

/// How a scenario's topic was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batches {
    /// 1,000,000 bytes before compression.
    Filled,
    /// 16,384 bytes before compression: the Java producer's default.
    Kib16,
    /// Each record alone.
    Single,
}

/// What happens in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A full topic is copied.
    Near,
    /// A topic whose cleaner has removed every other record is copied.
    Compacted,
    /// A full topic is copied to a target behind a round trip of 40 ms.
    Far,
    /// 5,000 records a second are written while they are copied.
    Paced,
    /// A process starts and copies its first record.
    Start,
}

/// One line of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value_bytes: usize,
    pub(crate) codec: &'static str,
    pub(crate) batches: Batches,
    /// Megabytes of keys and values before compression.
    pub(crate) volume: u64,
    pub(crate) systems: &'static [System],
    /// Part of a run that names no scenario.
    pub(crate) usual: bool,
}

use Batches::{Filled, Kib16, Single};
use Kind::{Compacted, Far, Near, Paced, Start};
use System::{Floor, Librdkafka, Mirrorkeeper, Mm2, Mm2Tuned};

const PASSED: &[System] = &[Floor, Mirrorkeeper, Mm2];
const SMALL: &[System] = &[Floor, Librdkafka, Mirrorkeeper, Mm2, Mm2Tuned];
/// Brokers refuse batches with holes: there is no floor.
const REBUILT: &[System] = &[Librdkafka, Mirrorkeeper, Mm2];
const WIDE: &[System] = &[Floor, Mirrorkeeper, Mm2, Mm2Tuned];

const fn scenario(name: &'static str, kind: Kind, value_bytes: usize, codec: &'static str) -> Scenario {
    let volume = if value_bytes < 1000 { 400 } else { 1500 };
    Scenario { name, kind, value_bytes, codec, batches: Filled, volume, systems: PASSED, usual: true }
}

const fn paced(name: &'static str, value_bytes: usize, codec: &'static str, usual: bool) -> Scenario {
    Scenario { batches: Kib16, systems: WIDE, usual, ..scenario(name, Paced, value_bytes, codec) }
}

/// All scenarios, in the order of the report.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("1k-none", Near, 1000, "none"),
    scenario("1k-lz4", Near, 1000, "lz4"),
    scenario("1k-zstd", Near, 1000, "zstd"),
    scenario("100b-none", Near, 100, "none"),
    scenario("100b-lz4", Near, 100, "lz4"),
    scenario("100b-zstd", Near, 100, "zstd"),
    Scenario { batches: Kib16, volume: 400, systems: SMALL, ..scenario("16k-batches", Near, 1000, "lz4") },
    Scenario { batches: Single, volume: 60, systems: SMALL, ..scenario("one-record-batches", Near, 1000, "none") },
    Scenario { volume: 400, systems: REBUILT, ..scenario("compacted", Compacted, 1000, "lz4") },
    Scenario { volume: 600, systems: WIDE, ..scenario("far-1k-lz4", Far, 1000, "lz4") },
    Scenario { batches: Kib16, volume: 200, systems: PASSED, ..scenario("far-16k-batches", Far, 1000, "lz4") },
    paced("latency-1k-lz4", 1000, "lz4", true),
    paced("latency-1k-none", 1000, "none", false),
    paced("latency-1k-zstd", 1000, "zstd", false),
    paced("latency-100b-none", 100, "none", false),
    paced("latency-100b-lz4", 100, "lz4", false),
    paced("latency-100b-zstd", 100, "zstd", false),
    Scenario { volume: 1, systems: &[Floor, Mirrorkeeper, Mm2], ..scenario("start", Start, 100, "none") },
];

impl System {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Floor => "floor",
            Mirrorkeeper => "mirrorkeeper",
            Mm2 => "MM2",
            Mm2Tuned => "MM2 tuned",
            Librdkafka => "librdkafka loop",
        }
    }
}

impl Scenario {
    /// Bytes of a record's key and value.
    pub(crate) fn record_bytes(&self) -> usize {
        KEY_BYTES + self.value_bytes
    }

    /// Records to be written, `share` of the usual volume; the same number for each partition.
    pub(crate) fn records(&self, share: f64) -> u64 {
        let bytes = self.volume as f64 * 1e6 * share;
        let partitions = PARTITIONS as u64;
        ((bytes / self.record_bytes() as f64) as u64 / partitions).max(1) * partitions
    }
}
