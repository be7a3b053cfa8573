//! What can run connectors: the Kafka Connect verbs.
//!
//! [`Engine`] is implemented by the embedded engine and served by the REST API; the control loop knows nothing else of
//! replication. This module holds the trait and the values it speaks in; it uses [`crate::spec`] only.
//!
//! Laws: `observe` never reports healthy what is not (law 4), and an error of it is never "nothing runs" (law 8);
//! `put` of what already runs changes nothing (law 5).

pub mod embedded;

use std::collections::BTreeMap;
use std::future::Future;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{Config, Name, TargetState};

/// The Kafka Connect verbs.
pub trait Engine: Send + Sync + 'static {
    /// Everything that runs or should, as it is now.
    fn observe(&self) -> impl Future<Output = Result<Live, Error>> + Send;
    /// Creates the connector or replaces its configuration; nothing happens when it is equal. What is new is not yet run.
    fn put(&self, name: &Name, config: &Config) -> impl Future<Output = Result<(), Error>> + Send;
    /// Runs the connector from now on, in its target state: it is ours. Nothing is copied while other clusters answer than
    /// `clusters`, where known. When it is run already, only those are taken over. Called for everything with an
    /// `applied/` record after a start, and for what a file names, after its record was written.
    fn adopt(&self, name: &Name, clusters: &ClusterIds) -> impl Future<Output = Result<(), Error>> + Send;
    /// Gives the connector `from` the name `to` and this configuration, its progress copied first, `from` removed last; so
    /// that a call after a crash finishes the work. Does what `put` does where `from` is not there.
    fn rename(&self, from: &Name, to: &Name, config: &Config) -> impl Future<Output = Result<(), Error>> + Send;
    /// Running, paused or stopped (KIP-875).
    fn set_state(&self, name: &Name, state: TargetState) -> impl Future<Output = Result<(), Error>> + Send;
    /// Starts the connector's flow anew.
    fn restart(&self, name: &Name, scope: RestartScope) -> impl Future<Output = Result<(), Error>> + Send;
    /// Stops the connector and forgets its configuration; its offsets stay, its topics stay (law 6).
    fn delete(&self, name: &Name) -> impl Future<Output = Result<(), Error>> + Send;
    /// What copying under this configuration would repeat or start, before it does.
    fn estimate(&self, name: &Name, config: &Config) -> impl Future<Output = Result<Estimate, Error>> + Send;
}

/// The clusters that a connector's positions are of; `None`: not known yet, whoever answers is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterIds {
    /// Id of the source cluster.
    pub source: Option<String>,
    /// Id of the target cluster.
    pub target: Option<String>,
}

/// What a restart covers (KIP-745).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartScope {
    /// Tasks too, not only the connector.
    pub tasks: bool,
    /// Only what has failed.
    pub only_failed: bool,
}

/// What the engine runs, by name.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Each connector of the config topic, run or not.
    pub connectors: BTreeMap<Name, Observed>,
    /// Connectors of which something there can't be understood, and why: not absent, and not to be written over unasked.
    pub unreadable: BTreeMap<Name, String>,
}

/// One connector as the engine sees it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The configuration in force, as Kafka Connect's config topic holds it.
    pub config: Config,
    /// The target state in force.
    pub state: TargetState,
    /// Whether the engine runs it: only adopted connectors are run.
    pub adopted: bool,
    /// How it does; `None` while it isn't run.
    pub flow: Option<FlowReport>,
}

/// The health word of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Health {
    /// Copying, or everything copied.
    Healthy,
    /// Somebody asked for the pause or stop.
    Paused,
    /// Another process holds the group.
    Standby,
    /// Not yet reading.
    Starting,
    /// Some partitions or side tasks fail, others go on.
    Degraded,
    /// Nothing is known (yet).
    Unknown,
    /// A readable record lies past the position and nothing was acknowledged for `stall-after`.
    Stalled,
    /// Nothing is copied and nothing will be until somebody acts.
    Failed,
}

/// Why something is not as it should be, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable code for scripts.
    pub code: String,
    /// What was tried, on what, why it failed. One line.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// How one connector's replication does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowReport {
    /// The worst that is true.
    pub health: Health,
    /// What is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Readable source records past the position, summed; `None` before the first look.
    pub lag_records: Option<u64>,
    /// Age in milliseconds of the oldest record not yet copied; 0 when all is copied.
    pub oldest_uncopied_ms: Option<u64>,
    /// When the target last acknowledged.
    pub last_acknowledged: Option<Timestamp>,
    /// Bytes acknowledged per second, over the last ten seconds, as on the wire.
    pub bytes_per_second: u64,
    /// Records acknowledged since the process started: by this run of the flow and earlier ones.
    pub records_total: u64,
    /// Bytes acknowledged since the process started.
    pub bytes_total: u64,
    /// `batch` or `record`, and why.
    pub path: String,
    /// Batches by what was done with them (`pass`, `rebuild`, `merge`, `split`, `drop`) and reason.
    pub shapes: BTreeMap<String, u64>,
    /// `idempotent` or `plain`, with the reason.
    pub mode: String,
    /// Milliseconds the clusters asked us to stay silent, since the connections of this run began.
    pub throttled_ms: u64,
    /// Tasks as Kafka Connect would split the partitions.
    pub tasks: Vec<TaskReport>,
    /// Each partition.
    pub partitions: Vec<PartitionReport>,
    /// The source cluster that answers, once known.
    pub source_cluster_id: Option<String>,
    /// The target cluster that answers, once known.
    pub target_cluster_id: Option<String>,
    /// When this run of the flow began.
    pub started: Timestamp,
    /// Failed attempts in a row.
    pub retries: u32,
    /// When the next attempt is due, while backing off.
    pub next_attempt: Option<Timestamp>,
    /// Records lost at the source before they were copied (purged), where the policy went on.
    pub lost_records: u64,
    /// Where records are, or may be, on the target twice, and why: the newest.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

/// One task of the reported split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskReport {
    /// Number of the task.
    pub id: u32,
    /// Kafka Connect's word: `RUNNING`, `PAUSED`, `FAILED`, `UNASSIGNED`, `RESTARTING`.
    pub state: String,
    /// `topic-partition` items.
    pub partitions: Vec<String>,
    /// What failed, for `FAILED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// One source partition of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionReport {
    /// Source topic.
    pub topic: String,
    /// Partition number, the same on both sides.
    pub partition: i32,
    /// Remote topic.
    pub remote_topic: String,
    /// State word: `copying`, `starting`, `throttled`, `retrying`, or a named stop such as `record-too-large`.
    pub state: String,
    /// Next source offset to be acknowledged.
    pub position: Option<i64>,
    /// The source's readable end (high watermark, or last stable offset under `read_committed`).
    pub end: Option<i64>,
    /// `end - position`.
    pub lag: Option<u64>,
    /// The problem, when it is stopped or retrying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What was measured; for `/metrics`, not in the status document.
    #[serde(skip)]
    pub measured: Option<Measured>,
}

/// What was read and copied of one partition since its flow began, in MirrorMaker 2's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Records acknowledged.
    pub records: u64,
    /// Bytes of their batches, as on the wire.
    pub bytes: u64,
    /// Records acknowledged per second, over half a minute to a minute.
    pub records_per_second: f64,
    /// Bytes acknowledged per second, over the same time.
    pub bytes_per_second: f64,
    /// Age in ms of records when they were read; `None` before the first.
    pub age_ms: Option<Spread>,
    /// Age in ms of records when the target acknowledged them; `None` before the first.
    pub latency_ms: Option<Spread>,
}

/// Ages in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Of the newest record of the last batch.
    pub last: i64,
    /// Least, largest and average over half a minute to a minute; `None` when nothing came.
    pub recent: Option<(i64, i64, f64)>,
}

/// What a configuration would copy that was not asked for in so many words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Topics that would be copied.
    pub topics: Vec<String>,
    /// Records between the position (or the log start) and the end.
    pub records: u64,
    /// Bytes, where the source tells.
    pub bytes: Option<u64>,
}

/// A verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine can't be asked now; trying again may help.
    #[error("{what} is not possible now: {why}")]
    Unavailable {
        /// The verb and its object.
        what: String,
        /// Why.
        why: String,
    },
    /// There is no such connector.
    #[error("connector {0} does not exist")]
    NotFound(Name),
    /// The configuration can't be run.
    #[error("connector {name} can't be run: {why}")]
    Invalid {
        /// The connector.
        name: Name,
        /// Why, and what to do.
        why: String,
    },
    /// The destination refused or failed the verb.
    #[error("{what} failed: {why}")]
    Failed {
        /// The verb and its object.
        what: String,
        /// Why.
        why: String,
    },
}

impl Error {
    /// Stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "ENGINE-UNAVAILABLE",
            Self::NotFound(_) => "ENGINE-NOT-FOUND",
            Self::Invalid { .. } => "ENGINE-INVALID",
            Self::Failed { .. } => "ENGINE-FAILED",
        }
    }
}
