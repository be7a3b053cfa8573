//! A compacted topic as a keyed log. Connect's `KafkaBasedLog`.
//!
//! Laws: a topic that is not compacted is refused, because retention would lose keyed state; an append returns only
//! after all in-sync replicas have it; what is read to the end is everything that was acknowledged before the call.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Cluster, Error};

/// Which topic, and how to create it when it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// The topic.
    pub topic: String,
    /// Partitions of a new topic.
    pub partitions: i32,
    /// Replication factor of a new topic; -1: the broker's default.
    pub replication_factor: i16,
    /// Further configuration of a new topic; `cleanup.policy=compact` is always set.
    pub configs: Vec<(String, String)>,
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; `None`: the key was deleted.
    pub value: Option<Bytes>,
    /// Headers in their order, repeats kept.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Timestamp (ms).
    pub timestamp: i64,
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Key; decides the partition.
    pub key: Bytes,
    /// Value; `None` deletes the key.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// A compacted topic, read from its beginning and appended to.
#[derive(Debug)]
pub struct KeyedLog {
    cluster: Cluster,
    topic: String,
    /// Next offset to read, by partition; every partition is here.
    next: BTreeMap<i32, i64>,
}

mod append;
mod open;
mod read;
