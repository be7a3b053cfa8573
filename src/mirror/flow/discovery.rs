//! Which partitions are to be copied, and the remote topics made ready for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Problem, Wanted};
use crate::kafka::admin::configs::{
    AlterConfig, ConfigEntry, ConfigSource, describe_topic_configs, incremental_alter_topic_configs,
};
use crate::kafka::admin::topics::{NewTopic, create_partitions, create_topics};
use crate::kafka::{self, Cluster, ErrorCode, TopicInfo, TopicPartition};
use crate::mirror::clients::Clients;
use crate::mirror::config::FlowConfig;
use crate::mirror::filter::should_replicate;
use crate::mirror::shape::ShapePolicy;
use crate::mirror::topics::{Create, Origin, Topic, TopicConfig, TopicPlan};
use crate::mirror::{describe, wall_ms};
use crate::spec::regex::MatchError;

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
    /// Source partitions whose remote partition is not there yet, with the remote topic: looked for again soon.
    pub(super) pending: Vec<(TopicPartition, Arc<str>)>,
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
    clients: &Clients,
    source: &Cluster,
    target: &Cluster,
    sync_configs: bool,
) -> Result<Discovered, kafka::Error> {
    let mut problems = HashMap::new();
    let mut picked = Vec::new();
    for topic in source.topics(None).await? {
        match taken(config, &topic.name) {
            Ok(true) if topic.error.is_none() => picked.push(topic),
            Ok(true) => {
                note(&mut problems, "topics-missing", "SOURCE-TOPIC", format!("{}: {:?}", topic.name, topic.error))
            }
            Ok(false) => {}
            Err(error) => note(&mut problems, "filter", "REGEX-GAVE-UP", error.to_string()),
        }
    }
    let mut remote = remote_topics(config, target, &picked).await?;
    let (here, there) = sides(source, target, &picked, &remote).await?;
    let plan = TopicPlan::new(&here, &there, config, sync_configs);
    for problem in &plan.problems {
        note(&mut problems, "configs", "TOPIC-PLAN", describe(problem));
    }
    if apply(&plan, target, &mut problems).await? {
        remote = remote_topics(config, target, &picked).await?;
    }
    let policies = policies(config, clients, target, &remote).await?;
    let (wanted, pending) = wanted(config, &picked, &remote);
    Ok(Discovered { at: Instant::now(), wanted, pending, policies, problems })
}

async fn remote_topics(
    config: &FlowConfig,
    target: &Cluster,
    picked: &[TopicInfo],
) -> Result<HashMap<String, TopicInfo>, kafka::Error> {
    let mut names: Vec<_> = picked.iter().map(|topic| remote_name(config, &topic.name)).collect();
    names.sort();
    names.dedup();
    let mut found = HashMap::new();
    for names in names.chunks(DESCRIBED_AT_ONCE) {
        for topic in target.topics(Some(names)).await? {
            if topic.error.is_none() {
                found.insert(topic.name.to_string(), topic);
            } else if topic.error != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                // Not "absent": creating what can't be seen would be wrong (law 8).
                return Err(kafka::Error::broker("Metadata", topic.error, &*topic.name, None));
            }
        }
    }
    Ok(found)
}

/// The topics of both sides with their settings.
async fn sides(
    source: &Cluster,
    target: &Cluster,
    picked: &[TopicInfo],
    remote: &HashMap<String, TopicInfo>,
) -> Result<(Vec<Topic>, Vec<Topic>), kafka::Error> {
    let mut source_configs = configs(source, &picked.iter().map(|t| t.name.to_string()).collect::<Vec<_>>()).await?;
    let mut target_configs = configs(target, &remote.keys().cloned().collect::<Vec<_>>()).await?;
    let side = |topic: &TopicInfo, configs: &mut HashMap<String, Vec<ConfigEntry>>| Topic {
        name: topic.name.to_string(),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        configs: configs.remove(&*topic.name).map(|entries| entries.into_iter().map(setting).collect()),
    };
    let here = picked.iter().map(|topic| side(topic, &mut source_configs)).collect();
    let there = remote.values().map(|topic| side(topic, &mut target_configs)).collect();
    Ok((here, there))
}

fn setting(entry: ConfigEntry) -> TopicConfig {
    let origin = match entry.source {
        ConfigSource::DynamicTopic => Origin::Topic,
        ConfigSource::DynamicBroker | ConfigSource::DynamicDefaultBroker => Origin::DynamicBroker,
        ConfigSource::StaticBroker => Origin::StaticBroker,
        // A source that we do not know is nothing that anybody set on the topic.
        ConfigSource::Default | ConfigSource::Other(_) => Origin::Default,
    };
    let ConfigEntry { name, value, read_only, sensitive, .. } = entry;
    TopicConfig { name, value, origin, read_only, sensitive }
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
    let creates: Vec<_> = plan.creates.iter().map(new_topic).collect();
    for (topic, outcome) in create_topics(target, &creates).await? {
        match outcome {
            Ok(()) => tracing::info!(%topic, "created the remote topic"),
            Err(error) if error.broker_code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            Err(error) => refused(problems, "create", &topic, &error),
        }
    }
    let growths: Vec<_> = plan.growths.iter().map(|growth| (growth.remote.clone(), growth.to)).collect();
    for (topic, outcome) in create_partitions(target, &growths).await? {
        match outcome {
            Ok(()) => tracing::info!(%topic, "added partitions to the remote topic"),
            Err(error) => refused(problems, "create", &topic, &error),
        }
    }
    for alter in &plan.alters {
        let topic = &alter.remote;
        let set = alter.set.iter().map(|(name, value)| AlterConfig::Set(name.clone(), value.clone()));
        let changes: Vec<_> = set.chain(alter.delete.iter().cloned().map(AlterConfig::Delete)).collect();
        match incremental_alter_topic_configs(target, topic, &changes).await {
            Ok(()) => tracing::info!(%topic, changes = changes.len(), "brought the remote topic's settings in line"),
            Err(error) => refused(problems, "configs", topic, &error),
        }
    }
    Ok(!plan.creates.is_empty() || !plan.growths.is_empty())
}

fn new_topic(create: &Create) -> NewTopic {
    NewTopic {
        name: create.remote.clone(),
        partitions: create.partitions,
        replication_factor: create.replication_factor,
        configs: create.configs.clone(),
    }
}

/// Whether a source topic is to be copied.
pub(super) fn taken(config: &FlowConfig, topic: &str) -> Result<bool, MatchError> {
    should_replicate(topic, &config.topics, config.heartbeats, &config.naming, &config.target_alias)
}

/// Its name on the target.
fn remote_name(config: &FlowConfig, topic: &str) -> String {
    config.naming.format_remote_topic(&config.source_alias, topic)
}

async fn policies(
    config: &FlowConfig,
    clients: &Clients,
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
            target_codec: clients.codec.filter(|_| config.force_compression),
            codec_if_none: clients.codec,
            max_batch_bytes: max,
            merge_up_to: defaults.merge_up_to.min(max),
            read_committed: config.read_committed,
            target_log_append_time: value("message.timestamp.type").as_deref() == Some("LogAppendTime"),
            ..defaults
        })
    };
    Ok(names.iter().map(|name| (Arc::from(name.as_str()), policy(name))).collect())
}

/// Partitions that exist on both sides, and those whose remote partition is not there yet.
fn wanted(
    config: &FlowConfig,
    picked: &[TopicInfo],
    remote: &HashMap<String, TopicInfo>,
) -> (Vec<Wanted>, Vec<(TopicPartition, Arc<str>)>) {
    let (mut wanted, mut pending) = (Vec::new(), Vec::new());
    for topic in picked {
        let name: Arc<str> = remote_name(config, &topic.name).into();
        let there = remote.get(&*name);
        for partition in &topic.partitions {
            let source = TopicPartition { topic: Arc::from(&*topic.name), partition: partition.index };
            match there.filter(|there| there.partitions.iter().any(|p| p.index == partition.index)) {
                Some(there) => wanted.push(Wanted {
                    source,
                    source_id: Some(topic.id).filter(|id| !id.is_nil()),
                    target: TopicPartition { topic: name.clone(), partition: partition.index },
                    target_id: Some(there.id).filter(|id| !id.is_nil()).map(|id| id.to_string()),
                }),
                None => pending.push((source, name.clone())),
            }
        }
    }
    (wanted, pending)
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
