//! The pool of lanes: flows with equal cluster, security, isolation and rack share one.
//!
//! A source partition is in a lane at most once; a second flow that copies the same partition elsewhere gets a lane of its
//! own. Lanes are dropped with the pool, and with them everything in flight: that is how producing stops when the group is
//! lost.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::lane::Lane;
use super::progress::Progress;
use crate::kafka::admin::offsets::Isolation;
use crate::kafka::fetch::{Budget, FetchSettings, Fetcher};
use crate::kafka::produce::{ProduceSettings, Producer};
use crate::kafka::{Cluster, ClusterConfig, TopicPartition};

/// Lanes to one destination cluster.
pub struct Lanes {
    target: Cluster,
    progress: Arc<Progress>,
    budget: Budget,
    state: Mutex<State>,
}

/// How a lane reads: part of what makes two flows share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reading {
    /// Under `read_committed`, what aborted transactions wrote is left out.
    pub isolation: Isolation,
    /// `fetch.max.wait.ms`, `fetch.min.bytes`, `max.partition.fetch.bytes`, `fetch.max.bytes`.
    pub fetch: Fetch,
}

/// Fetch settings that differ between flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// `fetch.max.wait.ms`.
    pub max_wait_ms: u32,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
}

#[derive(Default)]
struct State {
    clusters: HashMap<ClusterConfig, Cluster>,
    lanes: Vec<Entry>,
    /// Nothing may be produced any more.
    killed: bool,
}

struct Entry {
    config: ClusterConfig,
    reading: Reading,
    lane: Lane,
    partitions: HashSet<TopicPartition>,
}

impl Lanes {
    /// An empty pool.
    #[must_use]
    pub fn new(target: Cluster, progress: Arc<Progress>, budget: Budget) -> Self {
        Self { target, progress, budget, state: Mutex::default() }
    }

    /// The destination.
    #[must_use]
    pub fn target(&self) -> &Cluster {
        &self.target
    }

    /// Progress on the destination.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The shared handle of a source cluster: equal settings share connections and metadata.
    #[must_use]
    pub fn source(&self, config: &ClusterConfig) -> Cluster {
        let mut state = self.state();
        state.clusters.entry(config.clone()).or_insert_with(|| Cluster::new(config.clone())).clone()
    }

    /// Reserves `partitions` in a lane that reads as `reading` says, starting one where needed.
    #[must_use]
    pub fn reserve(&self, source: &Cluster, reading: &Reading, partitions: &[TopicPartition]) -> Lane {
        let mut state = self.state();
        let config = source.config();
        let found = state.lanes.iter().position(|entry| {
            entry.config == *config
                && !entry.lane.ended()
                && entry.reading == *reading
                && partitions.iter().all(|tp| !entry.partitions.contains(tp))
        });
        let at = found.unwrap_or_else(|| {
            let lane = self.start(source, reading, state.lanes.len());
            let (config, reading) = (config.clone(), reading.clone());
            state.lanes.push(Entry { config, reading, lane, partitions: HashSet::new() });
            state.lanes.len() - 1
        });
        if state.killed {
            let lane = state.lanes.swap_remove(at).lane;
            lane.kill();
            return lane;
        }
        let entry = &mut state.lanes[at];
        entry.partitions.extend(partitions.iter().cloned());
        entry.lane.clone()
    }

    /// Ends every lane where it stands: the group is lost, and nothing may be produced any more.
    pub fn kill(&self) {
        let mut state = self.state();
        state.killed = true;
        for entry in state.lanes.drain(..) {
            entry.lane.kill();
        }
    }

    /// Gives partitions back that nobody waited for: the lane lets go of them as soon as it can.
    pub fn abandon(&self, lane: &Lane, partitions: &[TopicPartition]) {
        lane.abandon(partitions.to_vec());
        self.give_back(lane, partitions);
    }

    /// Gives reserved partitions back, after the lane released them.
    pub fn give_back(&self, lane: &Lane, partitions: &[TopicPartition]) {
        let mut state = self.state();
        if let Some(entry) = state.lanes.iter_mut().find(|entry| entry.lane.same(lane)) {
            for tp in partitions {
                entry.partitions.remove(tp);
            }
        }
        state.lanes.retain(|entry| !entry.partitions.is_empty());
    }

    fn start(&self, source: &Cluster, reading: &Reading, number: usize) -> Lane {
        let fetch = &reading.fetch;
        let settings = FetchSettings {
            isolation: reading.isolation,
            rack: source.config().rack.clone(),
            client_id: source.config().client_id.clone(),
            max_wait: std::time::Duration::from_millis(u64::from(fetch.max_wait_ms)),
            min_bytes: fetch.min_bytes,
            max_bytes: usize::try_from(fetch.max_bytes).unwrap_or(usize::MAX),
            partition_max_bytes: fetch.partition_max_bytes,
            budget: self.budget.clone(),
        };
        let fetcher = Fetcher::start(source.clone(), settings);
        let producer =
            Producer::start(self.target.clone(), ProduceSettings::new(self.target.config().client_id.clone()));
        Lane::start(format!("lane {number}"), fetcher, producer, self.progress.clone())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Each change of the pool is one step, so a poisoned lock still guards a whole value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("target", &self.target).finish_non_exhaustive()
    }
}
