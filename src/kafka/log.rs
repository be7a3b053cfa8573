//! A compacted topic as a keyed log. Connect's `KafkaBasedLog`.
//!
//! Laws: a topic that is not compacted is refused, because retention would lose keyed state; an append returns only
//! after all in-sync replicas have it; what is read to the end is everything that was acknowledged before the call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Cluster, TopicPartition};

mod append;
mod open;
mod read;

pub use append::partition_of;

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
    topic: Arc<str>,
    /// Next offset to read, by partition; every partition is here.
    next: BTreeMap<i32, i64>,
    /// One append at a time: order within a key is the order of calls.
    turn: Semaphore,
    writer: Mutex<append::Writer>,
}

impl KeyedLog {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The number of its partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.next.len()
    }

    /// Reads from the beginning again, next time.
    pub fn rewind(&mut self) {
        self.next.values_mut().for_each(|next| *next = 0);
    }

    fn partition(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition }
    }
}
