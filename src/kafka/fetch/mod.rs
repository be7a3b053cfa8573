//! The data path's source port: record sets of many partitions, fetched from their leaders as they are.
//!
//! A [`Fetcher`] has one task per broker that has wanted partitions ([`lane`]) and one that finds out where partitions
//! are and what their troubles mean ([`route`]). All partitions of a broker are in one incremental fetch session
//! (KIP-227), one request in flight. Memory is reserved from a [`Budget`] before a request and counted by what came.
//!
//! **Credit.** [`Fetcher::want`] names the next offset of a partition and is credit for one [`Chunk`] with records; after
//! it the partition leaves the session until it is wanted again. So a partition under back-pressure is forgotten, not
//! fetched and thrown away.
//!
//! **Latency.** A request waits at the broker until some partition has data, and a partition that is wanted again
//! meanwhile would wait with it. A second connection for busy partitions would only move that problem to the partitions
//! that have just become idle there. Instead: after an answer with records the task waits a moment (1 ms) for these
//! partitions to be wanted again, which takes a running mirror some microseconds; and while one of them has not come
//! back, requests wait at the broker for 10 ms, doubled with every empty answer up to `max_wait`: so a partition that
//! was away waits at most about as long as it was away. With all of them back the wait is `max_wait` and costs nothing,
//! because the broker answers as soon as there is data.
//!
//! Laws: one partition's error never stops another (7); what can pass is retried here with capped back-off and told as
//! [`Trouble::Retriable`] and [`Trouble::Recovered`]; any other trouble is told once and uses up the credit; a follower's
//! word about offsets is checked with the leader before any verdict; a throttled connection is silent and no error.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

pub use super::admin::Isolation;
pub use super::batch::AbortedTransaction;
use super::{Cluster, Error, TopicPartition};
use crate::supervise::{self, Task};

mod budget;
mod lane;
pub mod message;
mod route;
mod state;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Permit};
use state::Shared;

/// Events that wait for the receiver. Chunks are bounded by credit and budget, so this bounds only how far tasks run ahead.
const EVENTS: usize = 1024;

/// How a [`Fetcher`] fetches.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Which records count as readable.
    pub isolation: Isolation,
    /// Our rack: where brokers know a replica near it, that one is read (KIP-392).
    pub rack: Option<String>,
    /// `client.id` of the requests.
    pub client_id: String,
    /// `fetch.max.wait.ms`: how long a broker holds a request without data.
    pub max_wait: Duration,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`: largest answer, further bounded by half the budget.
    pub max_bytes: usize,
    /// `max.partition.fetch.bytes`: largest record set; a larger single batch still comes, alone.
    pub partition_max_bytes: i32,
    /// Memory for what was fetched.
    pub budget: Budget,
}

impl FetchSettings {
    /// Defaults of Java's consumer (answers up to 8 MiB instead of 50), with this budget.
    pub fn new(client_id: impl Into<String>, budget: Budget) -> FetchSettings {
        FetchSettings {
            isolation: Isolation::ReadUncommitted,
            rack: None,
            client_id: client_id.into(),
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 8 << 20,
            partition_max_bytes: 1 << 20,
            budget,
        }
    }
}

/// What is wanted of a partition next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Offset of the next record.
    pub offset: i64,
    /// Leader epoch of the record before it, so that truncation is seen (KIP-595); -1 unknown.
    pub last_epoch: i32,
    /// The topic's id, so that a recreated topic is seen; `None` takes the id that the cluster tells now.
    pub topic_id: Option<Uuid>,
    /// Echoed in every event, so that the receiver can drop what it no longer wants.
    pub generation: u64,
}

/// What a [`Fetcher`] tells.
#[derive(Debug)]
pub enum FetchEvent {
    /// Records, or news about offsets.
    Chunk(Chunk),
    /// Something about a partition that is no record.
    Trouble {
        /// The partition.
        tp: TopicPartition,
        /// From its [`Want`].
        generation: u64,
        /// What.
        kind: Trouble,
    },
}

/// A record set. Without records it tells a changed high watermark or log start, and the credit is not used.
#[derive(Debug)]
pub struct Chunk {
    /// The partition.
    pub tp: TopicPartition,
    /// From its [`Want`].
    pub generation: u64,
    /// The offset asked for; the first batch may begin before it, and the first record may lie behind it.
    pub fetch_offset: i64,
    /// The record set as the broker stores it; may end within a batch.
    pub records: Bytes,
    /// Offset behind the last replicated record.
    pub high_watermark: i64,
    /// Offset behind the last decided transaction; -1 unknown.
    pub last_stable_offset: i64,
    /// First offset of the log; -1 unknown.
    pub log_start: i64,
    /// Under `read_committed`: aborted transactions within the records.
    pub aborted: Vec<AbortedTransaction>,
    /// The records' bytes in the budget.
    pub permit: Permit,
}

/// What is wrong with a partition. All but [`Trouble::Retriable`] and [`Trouble::Recovered`] use up the credit: the
/// partition rests until it is wanted again.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The wanted offset is not in the leader's log.
    OffsetOutOfRange {
        /// First offset of the log.
        log_start: i64,
        /// Offset behind the last replicated record.
        high_watermark: i64,
    },
    /// The log was cut and went on otherwise: the records before the wanted offset are not those we read.
    Truncated {
        /// The leader's largest epoch not above `last_epoch`; -1 when it knows none.
        epoch: i32,
        /// Where that epoch ended; -1 unknown.
        end_offset: i64,
    },
    /// The topic has another id: it was deleted and created again.
    Recreated {
        /// The new id.
        topic_id: Uuid,
    },
    /// The cluster has no such topic or partition, asked several times.
    UnknownTopic,
    /// READ on the topic is not granted.
    Unauthorized,
    /// A passing trouble, being retried here.
    Retriable(Error),
    /// The trouble last told has passed.
    Recovered,
    /// An error that repeating does not cure.
    Fatal(Error),
}

/// Fetches partitions of one cluster; dropping it ends all of its tasks.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
    _router: Task<()>,
}

impl Fetcher {
    /// Starts with nothing wanted. The receiver must be read, or everything waits. Needs a tokio runtime.
    pub fn start(cluster: Cluster, settings: FetchSettings) -> (Fetcher, mpsc::Receiver<FetchEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared::new(cluster, settings, events));
        let router = supervise::spawn("fetch router", route::run(shared.clone()));
        (Fetcher { shared, _router: router }, receiver)
    }

    /// Sets or replaces what is wanted of a partition; `None` forgets it. Cheap, never waits; events of an older want
    /// may still be on their way.
    pub fn want(&self, tp: &TopicPartition, want: Option<Want>) {
        self.shared.want(tp, want);
    }

    /// Milliseconds for which brokers asked for silence so far (quotas).
    pub fn throttled_ms(&self) -> u64 {
        self.shared.throttled_ms.load(Ordering::Relaxed)
    }
}
