//! What the brokers of a development cluster share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use uuid::Uuid;

use super::DevConfig;
use super::acls::Acl;
use super::code;
use super::faults::Rules;
use super::fetch::Sessions;
use super::group::Group;
use super::log::Log;
use super::txn::Transaction;
use crate::supervise::Task;

/// A partition, its leader and its log.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// -1 when no replica lives.
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) log: Log,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) partitions: Vec<Partition>,
}

/// One broker of the cluster.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) id: i32,
    pub(crate) port: u16,
    pub(crate) alive: bool,
    /// Its listener, which owns its connections.
    pub(crate) listener: Option<Task<()>>,
}

/// All that clients can change.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) transactions: BTreeMap<String, Transaction>,
    pub(crate) acls: BTreeSet<Acl>,
    pub(crate) sessions: HashMap<i32, Sessions>,
    pub(crate) last_producer_id: i64,
    pub(crate) last_id: i64,
    pub(crate) broker_configs: BTreeMap<String, BTreeMap<String, String>>,
}

/// The cluster's shared half.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: DevConfig,
    state: Mutex<State>,
    pub(crate) rules: Mutex<Rules>,
    requests: Mutex<HashMap<i16, u64>>,
    logs: watch::Sender<u64>,
    groups: watch::Sender<u64>,
    /// Connections end when their broker's turn comes: (count, broker or 0 for all).
    pub(crate) cuts: watch::Sender<(u64, i32)>,
}

impl Inner {
    pub(crate) fn new(config: DevConfig) -> Self {
        Self {
            config,
            state: Mutex::default(),
            rules: Mutex::default(),
            requests: Mutex::default(),
            logs: watch::channel(0).0,
            groups: watch::channel(0).0,
            cuts: watch::channel((0, 0)).0,
        }
    }

    /// The state; a panic elsewhere does not make it unusable, tests should see the panic itself.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn node_count(&self) -> i32 {
        i32::try_from(self.config.brokers.max(1)).unwrap_or(1)
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.lock().brokers.iter().map(|broker| broker.port).collect()
    }

    pub(crate) fn count(&self, api: i16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(api).or_default() += 1;
    }

    pub(crate) fn requests(&self, api: i16) -> u64 {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).get(&api).copied().unwrap_or(0)
    }

    /// Wakes the fetches that wait.
    pub(crate) fn logs_changed(&self) {
        self.logs.send_modify(|version| *version += 1);
    }

    /// Wakes the group members that wait.
    pub(crate) fn groups_changed(&self) {
        self.groups.send_modify(|version| *version += 1);
    }

    pub(crate) fn watch_logs(&self) -> watch::Receiver<u64> {
        self.logs.subscribe()
    }

    pub(crate) fn watch_groups(&self) -> watch::Receiver<u64> {
        self.groups.subscribe()
    }

    /// Stops all listeners and with them all connections.
    pub(crate) fn stop_all(&self) {
        let listeners: Vec<_> = self.lock().brokers.iter_mut().map(|broker| broker.listener.take()).collect();
        // dropped outside the lock: a connection may be holding on to it
        drop(listeners);
    }
}

impl State {
    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// The partition, if `broker` leads it and the client's leader epoch (-1: none) is the present one.
    ///
    /// # Errors
    /// Kafka's code: 3, 6, 74 or 75.
    pub(crate) fn led(&mut self, topic: &str, partition: i32, broker: i32, epoch: i32) -> Result<&mut Partition, i16> {
        let found = self.partition_mut(topic, partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        if epoch >= 0 && epoch < found.epoch {
            return Err(code::FENCED_LEADER_EPOCH);
        }
        if epoch > found.epoch {
            return Err(code::UNKNOWN_LEADER_EPOCH);
        }
        if found.leader == broker { Ok(found) } else { Err(code::NOT_LEADER_OR_FOLLOWER) }
    }

    pub(crate) fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id)
    }

    pub(crate) fn alive(&self) -> Vec<i32> {
        self.brokers.iter().filter(|broker| broker.alive).map(|broker| broker.id).collect()
    }

    /// The broker that coordinates a group or transactional id: by the name, over the brokers that live.
    pub(crate) fn coordinator(&self, key: &str) -> Option<i32> {
        let alive = self.alive();
        let hash = key.bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        (!alive.is_empty()).then(|| alive[hash % alive.len()])
    }

    /// A new number, never used before in this cluster.
    pub(crate) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn next_producer_id(&mut self) -> i64 {
        self.last_producer_id += 1;
        self.last_producer_id
    }

    /// Gives a partition another leader, under the next epoch.
    pub(crate) fn lead(partition: &mut Partition, leader: i32) {
        partition.leader = leader;
        if leader >= 0 {
            partition.epoch += 1;
            let epoch = partition.epoch;
            partition.log.begin_epoch(epoch);
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
