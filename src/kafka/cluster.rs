//! One cluster as a client sees it: metadata, leaders by epoch, coordinators, shared connections, calls with retry.
//!
//! A [`Cluster`] is a cheap handle; clones share everything. Laws: a leader is never replaced by one of an older epoch;
//! what another cluster answers under the same address is not taken over (records of two would be mixed); refreshes of
//! metadata are coalesced and rate-limited; a call with retries ends within its deadline (law 10);
//! connections are shared per broker and [`Role`], so administration never waits behind data.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::security::Authenticator;
use super::{ClusterConfig, Error, ErrorCode, TopicPartition};

mod calls;
mod connections;
mod metadata;

use connections::Connections;
use metadata::Metadata;

/// What a connection is for. Data is kept apart from administration, and a join that waits in the coordinator from
/// everything else (a broker answers one connection's requests strictly in order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Metadata, topics, configurations, offsets.
    Admin,
    /// Fetch of data.
    Fetch,
    /// Fetch of data under `read_committed`: a fetch that waits at the broker holds up its whole connection.
    FetchCommitted,
    /// Produce of data.
    Produce,
    /// Positions and our own keyed logs.
    Progress,
    /// Group membership.
    Group,
}

/// A partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leader {
    /// Broker id.
    pub node: i32,
    /// Leader epoch; -1 where the broker is too old to say.
    pub epoch: i32,
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id; nil where the cluster has none (before 2.8).
    pub id: Uuid,
    /// Whether it belongs to Kafka itself.
    pub internal: bool,
    /// Why it can't be described; [`ErrorCode::NONE`] when it can.
    pub error: ErrorCode,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub index: i32,
    /// Broker id of its leader; -1: none.
    pub leader: i32,
    /// Leader epoch; -1: unknown.
    pub leader_epoch: i32,
    /// Broker ids of its replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of those in sync.
    pub isr: Vec<i32>,
    /// For example LEADER_NOT_AVAILABLE.
    pub error: ErrorCode,
}

/// A cluster; clones share connections and metadata.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClusterConfig,
    authenticator: Arc<Authenticator>,
    metadata: Mutex<Metadata>,
    connections: Mutex<Connections>,
    coordinators: Mutex<HashMap<(CoordinatorKind, String), i32>>,
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoordinatorKind {
    /// A consumer or Connect group.
    Group,
    /// A transactional id.
    Transaction,
}

impl Cluster {
    /// A handle; nothing is sent until it is used.
    #[must_use]
    pub fn new(config: ClusterConfig) -> Cluster {
        Cluster {
            inner: Arc::new(Inner {
                authenticator: Authenticator::new(&config),
                config,
                metadata: Mutex::default(),
                connections: Mutex::default(),
                coordinators: Mutex::default(),
            }),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.inner.config
    }

    /// The bootstrap list, for messages.
    pub(crate) fn name(&self) -> String {
        self.inner.config.bootstrap.join(",")
    }

    /// The cluster's id: of the first that answered, whoever answers now.
    ///
    /// # Errors
    /// No broker answered within `config.api_timeout`, or the brokers tell none.
    pub async fn id(&self) -> Result<String, Error> {
        if let Some(id) = self.inner.metadata().cluster_id.clone() {
            return Ok(id);
        }
        self.within(|| Box::pin(self.refresh())).await?;
        self.inner
            .metadata()
            .cluster_id
            .clone()
            .ok_or_else(|| Error::Protocol { addr: self.name(), message: "the cluster tells no id".into() })
    }

    /// The id of the cluster that answers now, which may be another one than this handle is of.
    ///
    /// # Errors
    /// No broker answered within `config.api_timeout`, or the brokers tell none.
    pub async fn answering(&self) -> Result<String, Error> {
        let seen = self
            .within(|| {
                Box::pin(async {
                    match self.refresh().await {
                        Err(Error::OtherCluster { is, .. }) => Ok(Some(is)),
                        other => other.map(|()| None),
                    }
                })
            })
            .await?;
        match seen {
            Some(other) => Ok(other),
            None => self.id().await,
        }
    }

    /// The id of the cluster that answered last, as far as heard.
    #[must_use]
    pub fn answered(&self) -> Option<String> {
        let metadata = self.inner.metadata();
        metadata.other.clone().or_else(|| metadata.cluster_id.clone())
    }

    /// Makes this a handle of the cluster that answers now.
    pub fn accept(&self) {
        self.inner.metadata().accept();
        self.inner.coordinators().clear();
    }

    /// The number of live brokers.
    ///
    /// # Errors
    /// No broker answered within `config.api_timeout`.
    pub async fn broker_ids(&self) -> Result<Vec<i32>, Error> {
        self.within(|| Box::pin(self.refresh())).await?;
        let mut ids: Vec<i32> = self.inner.metadata().brokers.keys().copied().collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The leader of a partition: from the cache, else after one refresh.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, a missing permission, or why no broker answered.
    pub async fn leader(&self, tp: &TopicPartition) -> Result<Leader, Error> {
        if let Some(leader) = self.cached_leader(tp) {
            return Ok(leader);
        }
        self.inner.metadata().want(&tp.topic);
        // A refresh under way may have begun without this topic; then a second one has it.
        for _ in 0..2 {
            self.refresh().await?;
            if let Some(found) = self.inner.metadata().verdict(tp) {
                return found.map_err(|code| Error::broker("Metadata", code, tp.to_string(), None));
            }
        }
        Err(Error::broker("Metadata", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, tp.to_string(), None))
    }

    /// The leader as last heard, unless that is too old or was called wrong.
    #[must_use]
    pub fn cached_leader(&self, tp: &TopicPartition) -> Option<Leader> {
        self.inner.metadata().leader(tp, self.inner.config.metadata_max_age)
    }

    /// Takes a leader from a produce or fetch answer (KIP-951), if its epoch is newer.
    pub fn note_leader(&self, tp: &TopicPartition, leader: Leader) {
        self.inner.metadata().note_leader(tp, leader);
    }

    /// Takes a broker's address from a produce or fetch answer (KIP-951).
    pub fn note_broker(&self, node: i32, host: &str, port: i32) {
        self.inner.metadata().brokers.insert(node, metadata::address(host, port));
    }

    /// Distrusts what is known of `topic`: the next [`Cluster::leader`] asks again.
    pub fn invalidate(&self, topic: &str) {
        self.inner.metadata().invalidate(topic);
    }

    /// The id of a topic as last heard; `None` when unknown or when the cluster has no ids.
    #[must_use]
    pub fn cached_topic_id(&self, topic: &str) -> Option<Uuid> {
        self.inner.metadata().topic_id(topic)
    }

    /// Describes topics; `None`: all. A topic that does not exist comes with UNKNOWN_TOPIC_OR_PARTITION. Never creates.
    ///
    /// # Errors
    /// No broker answered within `config.api_timeout`.
    pub async fn topics(&self, names: Option<&[String]>) -> Result<Vec<TopicInfo>, Error> {
        if names.is_some_and(<[String]>::is_empty) {
            return Ok(Vec::new());
        }
        let response =
            self.call_any(Role::Admin, |version| metadata_request(names, version), |_| ErrorCode::NONE).await?;
        self.inner.metadata().brokers_from(&response).map_err(|ids| self.is_other(ids))?;
        let mut topics: Vec<TopicInfo> = response.topics.iter().map(metadata::topic_info).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }
}

impl Cluster {
    fn is_other(&self, (was, is): (String, String)) -> Error {
        Error::OtherCluster { addr: self.name(), was, is }
    }
}

fn metadata_request(names: Option<&[String]>, _version: i16) -> MetadataRequest {
    let topic =
        |name: &String| MetadataRequestTopic::default().with_name(Some(StrBytes::from_string(name.clone()).into()));
    MetadataRequest::default()
        .with_topics(names.map(|names| names.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false)
}

impl Inner {
    fn metadata(&self) -> MutexGuard<'_, Metadata> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coordinators(&self) -> MutexGuard<'_, HashMap<(CoordinatorKind, String), i32>> {
        self.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.inner.config.bootstrap).finish_non_exhaustive()
    }
}

/// The least time between two refreshes of metadata.
const REFRESH_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
