//! An in-memory Kafka cluster that speaks TCP to any client: a development tool, not Kafka.
//!
//! It serves the demo, the tests, and fault injection. It keeps one copy of everything in memory, enforces no access
//! rules, and loses all when it is dropped; what is claimed about Kafka is to be tested on Kafka. Its APIs answer as
//! Apache Kafka 4.1 does where that was tried, and their versions stop where topic ids and the newer group and
//! transaction protocols begin. Each "broker" is a loopback port; state is shared, but a partition answers only at
//! its leader and a group or transactional id only at its coordinator.
//!
//! Anyone may use it; it uses `supervise` only. Laws: dropping the [`DevCluster`] stops everything it started; frames
//! are capped and logs can be bounded (law 10); stored bytes are never re-encoded, only the offset and leader epoch
//! (and, for `LogAppendTime`, the time) are written into a batch's header (law 3).

mod acls;
mod apis;
mod cleaner;
mod code;
mod commits;
mod configs;
mod faults;
mod fetch;
mod group;
mod groups;
mod header;
mod log;
mod metadata;
mod offsets;
mod produce;
mod records;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod txn;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::supervise::{Task, spawn};
pub use faults::{Cut, Faults, Target};
use state::Inner;

/// What a development cluster is like.
#[derive(Clone, Debug)]
pub struct DevConfig {
    /// How many brokers (ports), at least 1; node ids start at 1.
    pub brokers: usize,
    /// The cluster's id, as `Metadata` tells it.
    pub cluster_id: String,
    /// Whether asking for an unknown topic's metadata creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a number (`num.partitions`).
    pub default_partitions: i32,
    /// Replication factor of a topic that is created without one; capped by the number of brokers.
    pub default_replication: i16,
    /// The brokers' defaults of topic configurations, by topic configuration name; what is absent is Kafka's own.
    pub topic_defaults: BTreeMap<String, String>,
    /// Whether the records of a produced batch are decompressed and read, not only its header.
    pub validate_records: bool,
    /// Most bytes a partition holds, whatever its `retention.bytes`; the oldest batches go.
    pub partition_bytes: Option<u64>,
    /// Largest request frame in bytes (`socket.request.max.bytes`).
    pub max_frame_bytes: usize,
    /// Fetch sessions a broker keeps (`max.incremental.fetch.session.cache.slots`).
    pub fetch_sessions: usize,
    /// Shortest session time-out a group member may ask for (`group.min.session.timeout.ms`, Kafka: 6 s).
    pub min_session_timeout: Duration,
    /// How long the first rebalance of an empty group waits for more members (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
}

/// A running development cluster; dropping it stops it.
#[derive(Debug)]
pub struct DevCluster {
    inner: Arc<Inner>,
    faults: Faults,
    _housekeeper: Task<()>,
}

/// Why a topic could not be created or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("development broker: {topic}: Kafka error {code}")]
pub struct TopicError {
    /// The topic's name.
    pub topic: String,
    /// Kafka's error code.
    pub code: i16,
}

/// One stored batch, as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The whole batch with its 61-byte header, as a fetch returns it.
    pub bytes: Bytes,
}

// === impl DevConfig ===

impl Default for DevConfig {
    fn default() -> Self {
        Self {
            brokers: 1,
            cluster_id: "development".to_owned(),
            auto_create_topics: true,
            default_partitions: 1,
            default_replication: 1,
            topic_defaults: BTreeMap::new(),
            validate_records: true,
            partition_bytes: None,
            max_frame_bytes: 100 * 1024 * 1024,
            fetch_sessions: 1000,
            min_session_timeout: Duration::from_millis(100),
            initial_rebalance_delay: Duration::ZERO,
        }
    }
}

// === impl DevCluster ===

impl DevCluster {
    /// Starts a cluster on loopback ports that the system gives.
    ///
    /// # Errors
    /// When a port can't be bound.
    pub async fn start(config: DevConfig) -> io::Result<Self> {
        let inner = Arc::new(Inner::new(config));
        for node in 1..=inner.node_count() {
            server::listen(&inner, node, 0).await?;
        }
        let faults = Faults::new(Arc::clone(&inner));
        let housekeeper = spawn("devbroker housekeeper", server::keep_house(Arc::clone(&inner)));
        Ok(Self { inner, faults, _housekeeper: housekeeper })
    }

    /// All brokers' addresses, `127.0.0.1:p1,127.0.0.1:p2`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let ports = self.inner.ports();
        ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Creates a topic with the default replication factor.
    ///
    /// # Errors
    /// [`TopicError`] with the code Kafka would answer: 17, 36, 37 or 40.
    pub fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), TopicError> {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut state = self.inner.lock();
        let made = topics::create(&self.inner.config, &mut state, name, partitions, -1, configs, false);
        made.map(|_| ()).map_err(|(code, _)| TopicError { topic: name.to_owned(), code })
    }

    /// Deletes a topic with all it holds; one of the same name gets another id.
    ///
    /// # Errors
    /// [`TopicError`] with code 3 when there is none.
    pub fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        let gone = self.inner.lock().topics.remove(name);
        self.inner.logs_changed();
        gone.map(|_| ()).ok_or_else(|| TopicError { topic: name.to_owned(), code: code::UNKNOWN_TOPIC_OR_PARTITION })
    }

    /// Names of all topics.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.inner.lock().topics.keys().cloned().collect()
    }

    /// What disturbs the cluster.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The stored batches of a partition, oldest first; empty when there is no such partition.
    #[must_use]
    pub fn batches(&self, topic: &str, partition: i32) -> Vec<StoredBatch> {
        let state = self.inner.lock();
        let stored = |stored: &log::Stored| StoredBatch {
            base_offset: stored.header.base_offset,
            last_offset: stored.header.last_offset(),
            bytes: stored.bytes.clone(),
        };
        state.partition(topic, partition).map(|found| found.log.batches().map(stored).collect()).unwrap_or_default()
    }

    /// Offset after the last record; `None` when there is no such partition.
    #[must_use]
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        self.inner.lock().partition(topic, partition).map(|found| found.log.high_watermark())
    }

    /// First offset still held; `None` when there is no such partition.
    #[must_use]
    pub fn log_start(&self, topic: &str, partition: i32) -> Option<i64> {
        self.inner.lock().partition(topic, partition).map(|found| found.log.start())
    }

    /// The committed offset of a group, if any.
    #[must_use]
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let state = self.inner.lock();
        state.groups.get(group)?.offsets.get(&(topic.to_owned(), partition)).map(|commit| commit.offset)
    }

    /// Writes a whole v2 batch to a partition as it is, with no check but that of its length: for logs that no client
    /// may write (holes, control records, odd attributes, a wrong CRC). Returns its base offset.
    ///
    /// # Errors
    /// [`TopicError`] with code 3 when there is no such partition, 2 when the batch is not whole, or what its
    /// sequence earns (45, 47, 48).
    pub fn append_raw(&self, topic: &str, partition: i32, batch: &[u8]) -> Result<i64, TopicError> {
        let appended = header::Header::parse(batch)
            .filter(|header| header.total() == batch.len() && header.last_offset_delta >= 0)
            .ok_or(code::CORRUPT_MESSAGE)
            .and_then(|header| {
                let mut state = self.inner.lock();
                let found = state.partition_mut(topic, partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
                let epoch = found.epoch;
                found.log.append(header, batch, epoch, None)
            });
        self.inner.logs_changed();
        let refused = |code| TopicError { topic: topic.to_owned(), code };
        appended.map(|appended| appended.base_offset).map_err(refused)
    }

    /// Runs a cleaner over a partition now, as `cleanup.policy=compact` would in time: of each key the newest record
    /// stays, offsets keep their holes. With `drop_tombstones`, records without a value go too.
    ///
    /// # Errors
    /// [`TopicError`] with code 3 when there is no such partition, 2 when a batch can't be read.
    pub fn compact(&self, topic: &str, partition: i32, drop_tombstones: bool) -> Result<(), TopicError> {
        let mut state = self.inner.lock();
        let found = state.partition_mut(topic, partition);
        let done = found.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION).and_then(|partition| {
            let cleaned = cleaner::clean(&partition.log, drop_tombstones).map_err(|_| code::CORRUPT_MESSAGE)?;
            partition.log.replace(cleaned);
            Ok(())
        });
        done.map_err(|code| TopicError { topic: topic.to_owned(), code })
    }

    /// How many requests of an API (its key) the cluster has answered or tried to.
    #[must_use]
    pub fn requests(&self, api: i16) -> u64 {
        self.inner.requests(api)
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        // the listeners hold the state that holds them
        self.inner.stop_all();
    }
}
