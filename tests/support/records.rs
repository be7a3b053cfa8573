//! Records as tests send and read them, and a mixture of everything that a mirror must not change.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rdkafka::Timestamp;

/// All codecs, by the names that Kafka and librdkafka share.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Topic configuration under which every record of [`mixed`] is accepted and none is deleted for its age.
pub(crate) const ANY_TIME: [(&str, &str); 3] = [
    ("retention.ms", "-1"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
];

/// A record to be produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    /// `None` is a null key.
    pub(crate) key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// In order, repeats allowed.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds; `None` is now. librdkafka takes 0 for now: see [`super::raw::batch`] for that one.
    pub(crate) timestamp: Option<i64>,
}

/// A record as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: Timestamp,
}

/// `count` records for each of `partitions`, round robin: null, empty and repeated keys, tombstones, empty values,
/// headers with repeated keys and null values, old and far future timestamps, mostly small, a few up to 1 MB. Equal
/// seeds give equal records.
pub(crate) fn mixed(partitions: i32, count: usize, seed: u64) -> Vec<Sent> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut records = Vec::new();
    for number in 0..count {
        records.extend((0..partitions).map(|partition| one(&mut random, partition, number)));
    }
    records
}

/// Records whose values number them per partition, `from` up to but not including `to`; see
/// [`super::compare::Census`].
pub(crate) fn numbered(partitions: i32, from: u64, to: u64) -> Vec<Sent> {
    let all = (from..to).flat_map(|number| (0..partitions).map(move |partition| (partition, number)));
    all.map(|(partition, number)| numbered_record(partition, number)).collect()
}

/// One record that carries its number.
pub(crate) fn numbered_record(partition: i32, number: u64) -> Sent {
    let padding = "-".repeat(60);
    Sent {
        partition,
        key: Some(format!("key-{}", number % 100).into_bytes()),
        value: Some(format!("{number} {padding}").into_bytes()),
        headers: Vec::new(),
        timestamp: None,
    }
}

/// Bytes that no codec makes smaller.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn one(random: &mut StdRng, partition: i32, number: usize) -> Sent {
    let key = match random.random_range(0..10) {
        0..3 => None,
        3 => Some(Vec::new()),
        4 => Some(noise(16, random.random())),
        _ => Some(format!("key-{}", random.random_range(0..50)).into_bytes()),
    };
    let size = match random.random_range(0..1000) {
        0 => random.random_range(100_000..1_000_000),
        1..20 => random.random_range(1_000..20_000),
        _ => random.random_range(1..400),
    };
    let value = match random.random_range(0..20) {
        0 => None,
        1 => Some(Vec::new()),
        2..6 => Some(noise(size, random.random())),
        _ => Some(format!("{{\"n\":{number},\"p\":{partition}}} ").repeat(size / 16 + 1).into_bytes()),
    };
    let headers = match random.random_range(0..10) {
        0 => vec![("trace".to_owned(), Some(b"1".to_vec()))],
        1 => vec![
            ("twice".to_owned(), Some(b"first".to_vec())),
            ("between".to_owned(), None),
            ("twice".to_owned(), Some(Vec::new())),
            (String::new(), Some(noise(20, random.random()))),
            ("\u{e9}t\u{e9}".to_owned(), Some("\u{2713}".as_bytes().to_vec())),
        ],
        _ => Vec::new(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let timestamp = match random.random_range(0..20) {
        0 => Some(1),
        // The year 2255.
        1 => Some(9_000_000_000_000),
        2 => Some(i64::try_from(now).expect("before the year 200 million") - random.random_range(0..100_000_000)),
        _ => None,
    };
    Sent { partition, key, value, headers, timestamp }
}
