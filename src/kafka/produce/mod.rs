//! The data path's sink port: sealed batches of many partitions, written to their leaders.
//!
//! A [`Producer`] has one task per broker with a connection that carries up to five requests at a time, each with at most
//! one batch per partition (brokers refuse two), and one task that finds leaders. The records are not copied on the way.
//!
//! It does not retry: every batch that [`Producer::submit`] took gets exactly one [`Ack`], and the partition's own state
//! machine ([`sequence`](super::sequence)) hands it in again, in order. What it does keep: batches of a partition go on
//! the wire in the order in which they were submitted (law 2), also when the leader moves, because a partition changes
//! its broker only when it has nothing unanswered; and after a failure that can pass its next batch waits for a capped
//! back-off, so that a state machine may resubmit at once.
//!
//! Law 10: at most [`MAX_UNANSWERED`] batches of a partition and `max_batches` in all wait here; more is [`Full`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::batch::Sealed;
use super::fetch::Permit;
use super::sequence::Reply;
use super::{Cluster, Error, ErrorCode, TopicPartition};
use crate::supervise::{self, Task};

mod lane;
pub mod message;
mod route;
mod state;

use state::{Item, Shared};

/// Batches of one partition that may be unanswered: a window of five and its parts after a split.
pub const MAX_UNANSWERED: usize = 16;
/// Acks that wait for the receiver.
const ACKS: usize = 1024;

/// How a [`Producer`] writes.
#[derive(Clone, Debug)]
pub struct ProduceSettings {
    /// `acks`: -1 = all replicas in sync.
    pub acks: i16,
    /// How long a broker may wait for the replicas (Java: `request.timeout.ms`).
    pub timeout: Duration,
    /// `client.id` of the requests.
    pub client_id: String,
    /// A request takes further batches up to this many bytes; a larger single batch goes alone.
    pub max_request_bytes: usize,
    /// Batches that may wait here in all.
    pub max_batches: usize,
    /// `transactional.id` for batches written within a transaction.
    pub transactional_id: Option<String>,
}

impl ProduceSettings {
    /// All replicas, 30 s, requests up to 4 MiB, not transactional.
    pub fn new(client_id: impl Into<String>) -> ProduceSettings {
        ProduceSettings {
            acks: -1,
            timeout: Duration::from_secs(30),
            client_id: client_id.into(),
            max_request_bytes: 4 << 20,
            max_batches: 16_384,
            transactional_id: None,
        }
    }
}

/// Too much waits here: back-pressure. Try again after the next [`Ack`] (of the partition, where it alone is full).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the producer's queue is full")]
pub struct Full;

/// What became of one submitted batch.
#[derive(Debug)]
pub struct Ack {
    /// The partition.
    pub tp: TopicPartition,
    /// From [`Producer::submit`].
    pub tag: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Appended, or recognised by the broker as a repeat whose offset it knows.
    Written {
        /// Offset of its first record; -1 unknown.
        base_offset: i64,
        /// Time that the broker gave the records, ms; -1 where the topic keeps ours.
        log_append_time: i64,
    },
    /// `DUPLICATE_SEQUENCE_NUMBER`: already there, offset not told.
    Duplicate,
    /// Not acknowledged.
    Failed {
        /// Why.
        error: Error,
        /// The broker's code, where it gave one.
        code: Option<ErrorCode>,
        /// Whether it may have been written all the same.
        unknown: bool,
    },
}

impl Outcome {
    /// The outcome as a [`Window`](super::sequence::Window) takes it.
    pub fn reply(&self) -> Reply {
        match self {
            Outcome::Written { base_offset, .. } => Reply::Written { base_offset: *base_offset },
            Outcome::Duplicate => Reply::Duplicate,
            Outcome::Failed { code: Some(code), error, .. } => match Reply::from_code(code.0, -1) {
                Reply::Refused(_) if error.retriable() => Reply::Retry,
                reply => reply,
            },
            // Whatever it was, the same again will tell.
            Outcome::Failed { code: None, .. } => Reply::Retry,
        }
    }
}

/// Writes to one cluster; dropping it ends all of its tasks.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    _router: Task<()>,
}

impl Producer {
    /// Starts idle. The receiver must be read, or everything waits. Needs a tokio runtime.
    pub fn start(cluster: Cluster, settings: ProduceSettings) -> (Producer, mpsc::Receiver<Ack>) {
        let (acks, receiver) = mpsc::channel(ACKS);
        let shared = Arc::new(Shared::new(cluster, settings, acks));
        let router = supervise::spawn("produce router", route::run(shared.clone()));
        (Producer { shared, _router: router }, receiver)
    }

    /// Hands over one sealed batch. `permit` (the batch's memory) is released with its [`Ack`].
    ///
    /// # Errors
    /// [`Full`]; the batch was not taken.
    pub fn submit(&self, tp: &TopicPartition, batch: Sealed, tag: u64, permit: Option<Permit>) -> Result<(), Full> {
        self.shared.submit(tp, Item { batch, tag, _permit: permit })
    }

    /// Milliseconds for which brokers asked for silence so far (quotas).
    pub fn throttled_ms(&self) -> u64 {
        self.shared.throttled_ms.load(Ordering::Relaxed)
    }
}
