//! The two development clusters of the demo.

use super::Error;
use crate::devbroker::{DevCluster, DevConfig};

/// Brokers per cluster: enough that leaders differ from partition to partition.
const BROKERS: usize = 3;

/// Partitions of each of the demo's topics.
pub(super) const PARTITIONS: i32 = 3;

/// A source and a target.
#[derive(Debug)]
pub(super) struct Clusters {
    pub(super) source: DevCluster,
    pub(super) target: DevCluster,
}

// === impl Clusters ===

impl Clusters {
    /// Starts both and makes the source's topics.
    pub(super) async fn start(topics: &[&str]) -> Result<Self, Error> {
        let config = |id: &str| DevConfig {
            brokers: BROKERS,
            cluster_id: id.to_owned(),
            auto_create_topics: false,
            default_replication: 3,
            ..DevConfig::default()
        };
        let source = DevCluster::start(config("demo-source")).await.map_err(Error::Cluster)?;
        let target = DevCluster::start(config("demo-target")).await.map_err(Error::Cluster)?;
        for topic in topics {
            source.create_topic(topic, PARTITIONS, &[])?;
        }
        Ok(Self { source, target })
    }

    /// Records in a topic of the source.
    pub(super) fn produced(&self, topic: &str) -> u64 {
        records(&self.source, topic)
    }

    /// The end of each partition of a topic of the source.
    pub(super) fn ends(&self, topic: &str) -> Vec<i64> {
        (0..PARTITIONS).map(|partition| self.source.high_watermark(topic, partition).unwrap_or(0)).collect()
    }

    /// Records in the remote topics of a source topic: those that have its name, behind an alias or not.
    pub(super) fn copied(&self, topic: &str) -> u64 {
        let behind_alias = format!(".{topic}");
        let topics = self.target.topics();
        let remote = topics.iter().filter(|name| *name == topic || name.ends_with(&behind_alias));
        remote.map(|name| records(&self.target, name)).sum()
    }
}

/// No topic of the demo has holes or an end of retention, so offsets count records.
fn records(cluster: &DevCluster, topic: &str) -> u64 {
    let ends = (0..).map_while(|partition| cluster.high_watermark(topic, partition));
    ends.map(|end| u64::try_from(end).unwrap_or(0)).sum()
}
