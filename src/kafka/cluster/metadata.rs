//! What is known of the cluster's topics and brokers; no I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, WeakShared};
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Leader, PartitionInfo, TopicInfo};
use crate::kafka::{Error, ErrorCode, TopicPartition};

/// A topic nobody asked for this long is no longer asked about. Java's `metadata.max.idle.ms`.
const IDLE: Duration = Duration::from_secs(300);

pub(super) type Refresh = WeakShared<BoxFuture<'static, Result<(), Error>>>;

/// The cache.
#[derive(Default)]
pub(super) struct Metadata {
    /// The cluster that this is the metadata of: the first that answered, until [`Metadata::accept`].
    pub(super) cluster_id: Option<String>,
    /// Another one that answers now.
    pub(super) other: Option<String>,
    pub(super) controller: Option<i32>,
    /// `host:port` by broker id.
    pub(super) brokers: HashMap<i32, String>,
    topics: HashMap<Arc<str>, Topic>,
    /// The refresh under way, for everybody who wants one.
    pub(super) refresh: Option<Refresh>,
    /// When the last refresh was sent.
    pub(super) asked: Option<Instant>,
}

struct Topic {
    wanted: Instant,
    /// When it was described; `None`: never, or distrusted since.
    described: Option<Instant>,
    id: Uuid,
    error: ErrorCode,
    partitions: HashMap<i32, Partition>,
}

#[derive(Clone, Copy)]
struct Partition {
    leader: Leader,
    error: ErrorCode,
}

impl Metadata {
    /// Wants `topic` in the next refreshes.
    pub(super) fn want(&mut self, topic: &Arc<str>) {
        let now = Instant::now();
        self.topics.entry(topic.clone()).or_insert_with(|| Topic::new(now)).wanted = now;
    }

    /// The topics to ask about.
    pub(super) fn wanted(&mut self) -> Vec<String> {
        let now = Instant::now();
        self.topics.retain(|_, topic| now.saturating_duration_since(topic.wanted) < IDLE);
        self.topics.keys().map(|name| name.to_string()).collect()
    }

    pub(super) fn leader(&mut self, tp: &TopicPartition, max_age: Duration) -> Option<Leader> {
        let now = Instant::now();
        let topic = self.topics.get_mut(&tp.topic)?;
        topic.wanted = now;
        if !topic.error.is_none() || now.saturating_duration_since(topic.described?) >= max_age {
            return None;
        }
        topic.partitions.get(&tp.partition).filter(|p| p.leader.node >= 0).map(|p| p.leader)
    }

    /// What the last description says; `None` when the topic has not been described.
    pub(super) fn verdict(&self, tp: &TopicPartition) -> Option<Result<Leader, ErrorCode>> {
        let topic = self.topics.get(&tp.topic)?;
        topic.described?;
        if let Err(code) = topic.error.ok() {
            return Some(Err(code));
        }
        Some(match topic.partitions.get(&tp.partition) {
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Some(p) if p.leader.node >= 0 => Ok(p.leader),
            Some(p) if p.error.is_none() => Err(ErrorCode::LEADER_NOT_AVAILABLE),
            Some(p) => Err(p.error),
        })
    }

    pub(super) fn note_leader(&mut self, tp: &TopicPartition, leader: Leader) {
        if let Some(topic) = self.topics.get_mut(&tp.topic)
            && let Some(partition) = topic.partitions.get_mut(&tp.partition)
            && leader.epoch > partition.leader.epoch
            && leader.node >= 0
        {
            *partition = Partition { leader, error: ErrorCode::NONE };
            // The news is fresher than what made us distrust the topic.
            topic.described.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn invalidate(&mut self, topic: &str) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.described = None;
        }
    }

    /// Distrusts every topic of which `node` leads a partition.
    pub(super) fn distrust(&mut self, node: i32) {
        for topic in self.topics.values_mut() {
            if topic.partitions.values().any(|p| p.leader.node == node) {
                topic.described = None;
            }
        }
    }

    pub(super) fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.topics.get(topic).map(|t| t.id).filter(|id| !id.is_nil())
    }

    /// Takes brokers and controller over; nothing of another cluster, whose ids are then the answer: was and is.
    pub(super) fn brokers_from(&mut self, response: &MetadataResponse) -> Result<(), (String, String)> {
        if let Some(id) = &response.cluster_id {
            let known = self.cluster_id.get_or_insert_with(|| id.to_string());
            if *known != **id {
                self.other = Some(id.to_string());
                return Err((known.clone(), id.to_string()));
            }
            self.other = None;
        }
        if !response.brokers.is_empty() {
            self.brokers = response.brokers.iter().map(|b| (b.node_id.0, address(&b.host, b.port))).collect();
        }
        self.controller = Some(response.controller_id.0).filter(|id| *id >= 0);
        Ok(())
    }

    /// The cluster that answers now is the right one: what was known is of the one before.
    pub(super) fn accept(&mut self) {
        if let Some(id) = self.other.take() {
            self.cluster_id = Some(id);
            self.controller = None;
            self.brokers.clear();
            for topic in self.topics.values_mut() {
                *topic = Topic::new(topic.wanted);
            }
        }
    }

    pub(super) fn absorb(&mut self, response: &MetadataResponse) -> Result<(), (String, String)> {
        let now = Instant::now();
        self.brokers_from(response)?;
        for news in &response.topics {
            let Some(name) = &news.name else { continue };
            let topic = self.topics.entry(Arc::from(name.as_str())).or_insert_with(|| Topic::new(now));
            topic.absorb(news, now);
        }
        Ok(())
    }
}

impl Topic {
    fn new(now: Instant) -> Self {
        Topic { wanted: now, described: None, id: Uuid::nil(), error: ErrorCode::NONE, partitions: HashMap::new() }
    }

    fn absorb(&mut self, news: &MetadataResponseTopic, now: Instant) {
        self.described = Some(now);
        self.error = ErrorCode(news.error_code);
        if !self.error.is_none() {
            // Leaders stay known: a broker that has not heard of the topic yet must not make us forget them.
            return;
        }
        if self.id != news.topic_id {
            // Another topic of the same name: epochs begin anew.
            self.partitions.clear();
            self.id = news.topic_id;
        }
        let old = std::mem::take(&mut self.partitions);
        for p in &news.partitions {
            let leader = Leader { node: p.leader_id.0, epoch: p.leader_epoch };
            let heard = Partition { leader, error: ErrorCode(p.error_code) };
            // A broker that lags behind may tell of an older leader.
            let kept = old.get(&p.partition_index).filter(|o| o.leader.epoch > leader.epoch && leader.epoch >= 0);
            self.partitions.insert(p.partition_index, kept.copied().unwrap_or(heard));
        }
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(super) fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn topic_info(topic: &MetadataResponseTopic) -> TopicInfo {
    let mut partitions: Vec<PartitionInfo> = topic
        .partitions
        .iter()
        .map(|p| PartitionInfo {
            index: p.partition_index,
            leader: p.leader_id.0,
            leader_epoch: p.leader_epoch,
            replicas: p.replica_nodes.iter().map(|n| n.0).collect(),
            isr: p.isr_nodes.iter().map(|n| n.0).collect(),
            error: ErrorCode(p.error_code),
        })
        .collect();
    partitions.sort_by_key(|p| p.index);
    TopicInfo {
        name: topic.name.as_ref().map(|n| n.to_string()).unwrap_or_default(),
        id: topic.topic_id,
        internal: topic.is_internal,
        error: ErrorCode(topic.error_code),
        partitions,
    }
}
