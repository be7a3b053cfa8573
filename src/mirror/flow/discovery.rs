//! Which partitions are to be copied, and the remote topics made ready for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::{Problem, Wanted};
use crate::kafka::admin::configs::{ConfigEntry, describe_topic_configs, incremental_alter_topic_configs};
use crate::kafka::admin::topics::{create_partitions, create_topics};
use crate::kafka::{self, Cluster, ErrorCode, TopicInfo, TopicPartition};
use crate::mirror::config::FlowConfig;
use crate::mirror::shape::ShapePolicy;
use crate::mirror::topics::{Pair, Side, TopicPlan};
use crate::mirror::{describe, wall_ms};

/// The areas of problems that a discovery sets or clears.
pub(super) const AREAS: [&str; 4] = ["filter", "create", "configs", "topics-missing"];

/// Topics described in one request.
const DESCRIBED_AT_ONCE: usize = 500;

/// Kafka's default of `max.message.bytes`, where the target does not tell.
const MAX_MESSAGE_BYTES: usize = 1_048_588;

/// What a look at both clusters found.
pub(super) struct Discovered {
    pub(super) at: Instant,
    pub(super) wanted: Vec<Wanted>,
    /// By remote topic: what the target takes.
    pub(super) policies: HashMap<Arc<str>, Arc<ShapePolicy>>,
    /// By area.
    pub(super) problems: HashMap<&'static str, Problem>,
}

/// Looks at both clusters, creates and grows remote topics and brings their settings in line.
///
/// # Errors
/// A cluster can't be asked for its topics: what was known stays true.
pub(super) async fn discover(
    config: &FlowConfig,
    source: &Cluster,
    target: &Cluster,
    sync_configs: bool,
) -> Result<Discovered, kafka::Error> {
    let mut problems = HashMap::new();
    let mut picked = Vec::new();
    for topic in source.topics(None).await? {
        match config.topics.takes(&topic.name, &config.policy) {
            Ok(true) if topic.error.is_none() => picked.push(topic),
            Ok(true) => note(&mut problems, "topics-missing", "SOURCE-TOPIC", format!("{}: {:?}", topic.name, topic.error)),
            Ok(false) => {}
            Err(error) => note(&mut problems, "filter", "REGEX-GAVE-UP", error.to_string()),
        }
    }
    let mut remote = remote_topics(config, target, &picked).await?;
    let pairs = pairs(config, source, target, &picked, &remote).await?;
    let plan = TopicPlan::new(&pairs, &config.configs, config.replication_factor, sync_configs);
    for (topic, why) in &plan.problems {
        note(&mut problems, "configs", "TOPIC-SETTINGS", format!("{topic}: {why}"));
    }
    if apply(&plan, target, &mut problems).await? {
        remote = remote_topics(config, target, &picked).await?;
    }
    let policies = policies(config, target, &remote).await?;
    let wanted = wanted(config, &picked, &remote);
    Ok(Discovered { at: Instant::now(), wanted, policies, problems })
}

async fn remote_topics(
    config: &FlowConfig,
    target: &Cluster,
    picked: &[TopicInfo],
) -> Result<HashMap<String, TopicInfo>, kafka::Error> {
    let mut names: Vec<_> = picked.iter().map(|topic| config.policy.remote_topic(&topic.name)).collect();
    names.sort();
    names.dedup();
    let mut found = HashMap::new();
    for names in names.chunks(DESCRIBED_AT_ONCE) {
        for topic in target.topics(Some(names)).await? {
            if topic.error.is_none() {
                found.insert(topic.name.to_string(), topic);
            } else if topic.error != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                // Not "absent": creating what can't be seen would be wrong (law 8).
                return Err(kafka::Error::broker("Metadata", topic.error, topic.name.to_string(), None));
            }
        }
    }
    Ok(found)
}

async fn pairs(
    config: &FlowConfig,
    source: &Cluster,
    target: &Cluster,
    picked: &[TopicInfo],
    remote: &HashMap<String, TopicInfo>,
) -> Result<Vec<Pair>, kafka::Error> {
    let names: Vec<_> = picked.iter().map(|topic| topic.name.to_string()).collect();
    let source_configs = configs(source, &names).await?;
    let there: Vec<_> = remote.keys().cloned().collect();
    let target_configs = configs(target, &there).await?;
    let count = |topic: &TopicInfo| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    for topic in picked {
        let name = config.policy.remote_topic(&topic.name);
        let side = Side { partitions: count(topic), configs: source_configs.get(&*topic.name).cloned() };
        let existing = remote.get(&name);
        let target = existing.map(|t| Side { partitions: count(t), configs: target_configs.get(&name).cloned() });
        // Several topics into one (mirrorkeeper.merge): the widest decides.
        pairs
            .entry(name.clone())
            .and_modify(|pair| pair.source.partitions = pair.source.partitions.max(side.partitions))
            .or_insert(Pair { remote: name, source: side, target });
    }
    Ok(pairs.into_values().collect())
}

async fn configs(cluster: &Cluster, names: &[String]) -> Result<HashMap<String, Vec<ConfigEntry>>, kafka::Error> {
    let mut found = HashMap::new();
    for names in names.chunks(DESCRIBED_AT_ONCE) {
        for (name, entries) in describe_topic_configs(cluster, names).await? {
            match entries {
                Ok(entries) => {
                    found.insert(name, entries);
                }
                Err(error) => tracing::debug!(topic = %name, %error, "settings can't be read"),
            }
        }
    }
    Ok(found)
}

/// Applies the plan, topic by topic; whether topics or partitions were created.
async fn apply(
    plan: &TopicPlan,
    target: &Cluster,
    problems: &mut HashMap<&'static str, Problem>,
) -> Result<bool, kafka::Error> {
    for (topic, outcome) in create_topics(target, &plan.create).await? {
        match outcome {
            Ok(()) => tracing::info!(%topic, "created the remote topic"),
            Err(error) if error.broker_code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            Err(error) => refused(problems, "create", &topic, &error),
        }
    }
    for (topic, outcome) in create_partitions(target, &plan.grow).await? {
        match outcome {
            Ok(()) => tracing::info!(%topic, "added partitions to the remote topic"),
            Err(error) => refused(problems, "create", &topic, &error),
        }
    }
    for (topic, changes) in &plan.alter {
        match incremental_alter_topic_configs(target, topic, changes).await {
            Ok(()) => tracing::info!(%topic, changes = changes.len(), "brought the remote topic's settings in line"),
            Err(error) => refused(problems, "configs", topic, &error),
        }
    }
    Ok(!plan.create.is_empty() || !plan.grow.is_empty())
}

async fn policies(
    config: &FlowConfig,
    target: &Cluster,
    remote: &HashMap<String, TopicInfo>,
) -> Result<HashMap<Arc<str>, Arc<ShapePolicy>>, kafka::Error> {
    let names: Vec<_> = remote.keys().cloned().collect();
    let entries = configs(target, &names).await?;
    let policy = |name: &str| {
        let value = |key: &str| {
            let found = entries.get(name)?.iter().find(|entry| entry.name == key)?;
            found.value.clone()
        };
        let max = value("max.message.bytes").and_then(|v| v.parse().ok()).unwrap_or(MAX_MESSAGE_BYTES);
        let defaults = ShapePolicy::default();
        Arc::new(ShapePolicy {
            target_codec: if config.force_codec { config.codec } else { None },
            codec_if_none: config.codec,
            max_batch_bytes: max,
            merge_up_to: defaults.merge_up_to.min(max),
            read_committed: config.reading.isolation == crate::kafka::admin::offsets::Isolation::ReadCommitted,
            target_log_append_time: value("message.timestamp.type").as_deref() == Some("LogAppendTime"),
            ..defaults
        })
    };
    Ok(names.iter().map(|name| (Arc::from(name.as_str()), policy(name))).collect())
}

/// Partitions that exist on both sides; those whose remote partition is not there yet come with the next look.
fn wanted(config: &FlowConfig, picked: &[TopicInfo], remote: &HashMap<String, TopicInfo>) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for topic in picked {
        let name: Arc<str> = config.policy.remote_topic(&topic.name).into();
        let Some(there) = remote.get(&*name) else { continue };
        for partition in &topic.partitions {
            if there.partitions.iter().any(|p| p.index == partition.index) {
                wanted.push(Wanted {
                    source: TopicPartition { topic: Arc::from(&*topic.name), partition: partition.index },
                    source_id: Some(topic.id).filter(|id| !id.is_nil()),
                    target: TopicPartition { topic: name.clone(), partition: partition.index },
                    target_id: Some(there.id).filter(|id| !id.is_nil()).map(|id| id.to_string()),
                });
            }
        }
    }
    wanted
}

fn refused(problems: &mut HashMap<&'static str, Problem>, area: &'static str, topic: &str, error: &kafka::Error) {
    note(problems, area, error.code(), format!("{topic}: {}", describe(error)));
    if let Some(problem) = problems.get_mut(area) {
        problem.hint = error.hint();
    }
}

/// The first problem of an area is shown in words, the others are counted.
fn note(problems: &mut HashMap<&'static str, Problem>, area: &'static str, code: &str, message: String) {
    tracing::warn!(code, "{message}");
    problems
        .entry(area)
        .and_modify(|problem| {
            if !problem.message.ends_with(" (and others)") {
                problem.message.push_str(" (and others)");
            }
        })
        .or_insert_with(|| Problem { code: code.to_owned(), message, hint: None, since_ms: wall_ms(), fatal: false });
}
