//! A connector's configuration as the engine uses it: typed, with every problem at once. Pure.
//!
//! Which keys reach which client follows `MirrorConnectorConfig`: `source.cluster.*`, then `consumer.*` or `admin.*`, then
//! `source.consumer.*` or `source.admin.*`, later ones winning; the worker's `consumer.*` are not read for the source.

use std::collections::BTreeMap;
use std::time::Duration;

use super::filter::{ConfigFilter, TopicFilter, flag};
use super::lanes::{Fetch, Reading};
use super::naming::Policy;
use super::start::Reset;
use super::stops;
use crate::kafka::ClusterConfig;
use crate::kafka::admin::offsets::Isolation;
use crate::kafka::compress::Codec;
use crate::kafka::properties::cluster_config;
use crate::spec::{Config, keys};

/// What a flow needs to know.
#[derive(Debug, Clone)]
pub struct FlowConfig {
    /// Connector name.
    pub name: String,
    /// `source.cluster.alias`.
    pub source_alias: String,
    /// `target.cluster.alias`.
    pub target_alias: String,
    /// The source cluster.
    pub source: ClusterConfig,
    /// Which topics.
    pub topics: TopicFilter,
    /// Which of their settings.
    pub configs: ConfigFilter,
    /// How they are named.
    pub policy: Policy,
    /// `refresh.topics.interval.seconds`; a very long time where it is switched off.
    pub refresh_topics_interval: Duration,
    /// `sync.topic.configs.interval.seconds`; `None` where it is switched off.
    pub sync_configs_interval: Option<Duration>,
    /// `replication.factor` of new remote topics.
    pub replication_factor: i16,
    /// `tasks.max`.
    pub tasks_max: usize,
    /// Isolation and fetch sizes.
    pub reading: Reading,
    /// `auto.offset.reset`.
    pub reset: Reset,
    /// Codec for uncompressed batches (`compression.type` of the producer), and for all with `force`.
    pub codec: Option<Codec>,
    /// `mirrorkeeper.compression=force`.
    pub force_codec: bool,
    /// `mirrorkeeper.max.bytes.per.second`.
    pub max_bytes_per_second: Option<u64>,
    /// `mirrorkeeper.on.purged`.
    pub on_purged: stops::Policy,
    /// `mirrorkeeper.on.recreated`.
    pub on_recreated: stops::Policy,
    /// `mirrorkeeper.on.truncated`.
    pub on_truncated: stops::Policy,
    /// `enabled=false`: it looks and copies nothing.
    pub enabled: bool,
}

/// Not for ever, so that deadlines can be computed: longer than any process lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl FlowConfig {
    /// The typed configuration. `worker` holds the worker's own client keys, of which only `producer.*` matter here.
    ///
    /// # Errors
    /// Every problem, one line each; no value that could be a secret is quoted.
    pub fn of(name: &str, config: &Config, worker: &BTreeMap<String, String>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let consumer = client(config, "consumer.");
        let source = match cluster_config(&consumer) {
            Ok(mut cluster) => {
                cluster.client_id = client_id(name, config, &consumer);
                Some(cluster)
            }
            Err(found) => {
                problems.extend(found.iter().map(|p| format!("source.cluster.{}: {}", p.key, p.message)));
                None
            }
        };
        let topics = TopicFilter::of(config).map_err(|e| problems.push(e.to_string())).ok();
        let configs = ConfigFilter::of(config).map_err(|e| problems.push(e.to_string())).ok();
        let codec = producer(config, worker, "compression.type").map(|word| codec(&word, &mut problems));
        let word = |key: &str| config.get(key).or_else(|| keys::default(key)).unwrap_or_default().trim().to_owned();
        let isolation = match consumer.get("isolation.level").map(|v| v.trim().to_ascii_lowercase()) {
            Some(level) if level == "read_committed" => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let number = |key: &str, default: i64| consumer.get(key).and_then(|v| v.trim().parse().ok()).unwrap_or(default);
        let (Some(source), Some(topics), Some(configs), true) = (source, topics, configs, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            name: name.to_owned(),
            source_alias: word("source.cluster.alias"),
            target_alias: word("target.cluster.alias"),
            source,
            topics,
            configs,
            policy: Policy::of(config),
            refresh_topics_interval: interval(config, "refresh.topics").unwrap_or(NEVER),
            sync_configs_interval: interval(config, "sync.topic.configs"),
            replication_factor: word("replication.factor").parse().unwrap_or(2),
            tasks_max: word("tasks.max").parse().unwrap_or(1),
            reading: Reading {
                isolation,
                fetch: Fetch {
                    max_wait_ms: u32::try_from(number("fetch.max.wait.ms", 500)).unwrap_or(500),
                    min_bytes: i32::try_from(number("fetch.min.bytes", 1)).unwrap_or(1),
                    max_bytes: i32::try_from(number("fetch.max.bytes", 52_428_800)).unwrap_or(i32::MAX),
                    partition_max_bytes: i32::try_from(number("max.partition.fetch.bytes", 1_048_576)).unwrap_or(i32::MAX),
                },
            },
            reset: match consumer.get("auto.offset.reset").map(|v| v.trim().to_ascii_lowercase()) {
                Some(reset) if reset == "latest" => Reset::Latest,
                _ => Reset::Earliest,
            },
            codec: codec.flatten(),
            force_codec: word("mirrorkeeper.compression") == "force",
            max_bytes_per_second: config.get("mirrorkeeper.max.bytes.per.second").and_then(|v| v.trim().parse().ok()),
            on_purged: policy(&word("mirrorkeeper.on.purged")),
            on_recreated: policy(&word("mirrorkeeper.on.recreated")),
            on_truncated: policy(&word("mirrorkeeper.on.truncated")),
            enabled: flag(config, "enabled"),
        })
    }
}

/// The properties of one of the source's clients: cluster, then unscoped, then scoped.
fn client(config: &Config, role: &str) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for prefix in ["source.cluster.".to_owned(), role.to_owned(), format!("source.{role}")] {
        for (key, value) in config.with_prefix(&prefix) {
            properties.insert(key.to_owned(), value.to_owned());
        }
    }
    properties
}

/// The worker's producer with the connector's overrides: the data producer of Kafka Connect.
fn producer(config: &Config, worker: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let own = config.get(&format!("producer.override.{key}")).map(str::to_owned);
    own.or_else(|| worker.get(&format!("producer.{key}")).cloned())
}

/// `client.id` as MirrorMaker makes it, because quotas are keyed on it.
fn client_id(name: &str, config: &Config, consumer: &BTreeMap<String, String>) -> String {
    let user = consumer.get("client.id").map(|id| format!("{id}|")).unwrap_or_default();
    let source = config.get("source.cluster.alias").unwrap_or_default();
    let target = config.get("target.cluster.alias").unwrap_or("target");
    let _ = name;
    // Flows that share a lane share its id: the connector's name is left out, or nothing could be shared.
    format!("{user}{source}->{target}|replication-consumer")
}

fn interval(config: &Config, feature: &str) -> Option<Duration> {
    if !flag(config, &format!("{feature}.enabled")) {
        return None;
    }
    let key = format!("{feature}.interval.seconds");
    let seconds: i64 = config.get(&key).or_else(|| keys::default(&key))?.trim().parse().ok()?;
    u64::try_from(seconds).ok().map(Duration::from_secs).map(|every| every.max(Duration::from_secs(1)))
}

fn codec(word: &str, problems: &mut Vec<String>) -> Option<Codec> {
    match word.trim().parse::<Codec>() {
        Ok(Codec::None) => None,
        Ok(codec) => Some(codec),
        Err(error) => {
            problems.push(format!("producer.override.compression.type: {error}"));
            None
        }
    }
}

fn policy(word: &str) -> stops::Policy {
    if word == "continue" { stops::Policy::Continue } else { stops::Policy::Fail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (key, value) in [("source.cluster.alias", "a"), ("source.cluster.bootstrap.servers", "localhost:1")].iter().chain(pairs) {
            config.insert(*key, *value);
        }
        config
    }

    #[test]
    fn defaults_are_mirror_makers() {
        let flow = FlowConfig::of("c", &config(&[]), &BTreeMap::new()).unwrap();
        assert_eq!(flow.refresh_topics_interval, Duration::from_secs(600));
        assert_eq!((flow.replication_factor, flow.tasks_max), (2, 1));
        assert_eq!((flow.reading.isolation, flow.reset), (Isolation::ReadUncommitted, Reset::Earliest));
        assert_eq!((flow.on_purged, flow.on_recreated), (stops::Policy::Continue, stops::Policy::Fail));
    }

    #[test]
    fn scoped_client_keys_win() {
        let pairs = [("consumer.isolation.level", "read_uncommitted"), ("source.consumer.isolation.level", "read_committed")];
        let flow = FlowConfig::of("c", &config(&pairs), &BTreeMap::new()).unwrap();
        assert_eq!(flow.reading.isolation, Isolation::ReadCommitted);
    }

    #[test]
    fn the_workers_codec_is_overridden_by_the_file() {
        let worker = BTreeMap::from([("producer.compression.type".to_owned(), "gzip".to_owned())]);
        let of = |pairs: &[(&str, &str)]| FlowConfig::of("c", &config(pairs), &worker).unwrap().codec;
        assert_eq!(of(&[]), Some(Codec::Gzip));
        assert_eq!(of(&[("producer.override.compression.type", "zstd")]), Some(Codec::Zstd));
        assert_eq!(of(&[("producer.override.compression.type", "none")]), None);
    }
}
