//! Topic configurations with Kafka's defaults and sources, and the APIs that read and change them.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;

use super::DevConfig;
use super::apis::Context;
use super::code;
use super::state::State;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// `DescribeConfigsResponse.ConfigType`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Topic configurations of Kafka 4.1 and their defaults.
const TOPIC_CONFIGS: &[(&str, Kind, &str)] = &[
    ("cleanup.policy", Kind::List, "delete"),
    ("compression.gzip.level", Kind::Int, "-1"),
    ("compression.lz4.level", Kind::Int, "9"),
    ("compression.type", Kind::String, "producer"),
    ("compression.zstd.level", Kind::Int, "3"),
    ("delete.retention.ms", Kind::Long, "86400000"),
    ("file.delete.delay.ms", Kind::Long, "60000"),
    ("flush.messages", Kind::Long, "9223372036854775807"),
    ("flush.ms", Kind::Long, "9223372036854775807"),
    ("follower.replication.throttled.replicas", Kind::List, ""),
    ("index.interval.bytes", Kind::Int, "4096"),
    ("leader.replication.throttled.replicas", Kind::List, ""),
    ("local.retention.bytes", Kind::Long, "-2"),
    ("local.retention.ms", Kind::Long, "-2"),
    ("max.compaction.lag.ms", Kind::Long, "9223372036854775807"),
    ("max.message.bytes", Kind::Int, "1048588"),
    ("message.timestamp.after.max.ms", Kind::Long, "3600000"),
    ("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807"),
    ("message.timestamp.type", Kind::String, "CreateTime"),
    ("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    ("min.compaction.lag.ms", Kind::Long, "0"),
    ("min.insync.replicas", Kind::Int, "1"),
    ("preallocate", Kind::Boolean, "false"),
    ("remote.log.copy.disable", Kind::Boolean, "false"),
    ("remote.log.delete.on.disable", Kind::Boolean, "false"),
    ("remote.storage.enable", Kind::Boolean, "false"),
    ("retention.bytes", Kind::Long, "-1"),
    ("retention.ms", Kind::Long, "604800000"),
    ("segment.bytes", Kind::Int, "1073741824"),
    ("segment.index.bytes", Kind::Int, "10485760"),
    ("segment.jitter.ms", Kind::Long, "0"),
    ("segment.ms", Kind::Long, "604800000"),
    ("unclean.leader.election.enable", Kind::Boolean, "false"),
];

/// What a topic's configuration means for its logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) max_message_bytes: usize,
    pub(crate) after_max_ms: i64,
    pub(crate) before_max_ms: i64,
    pub(crate) compacted: bool,
    pub(crate) log_append_time: bool,
    deleted: bool,
    retention_bytes: i64,
    retention_ms: i64,
}

impl Settings {
    pub(crate) fn of(config: &DevConfig, own: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| effective(config, own, name).0;
        let number = |name: &str| value(name).parse().unwrap_or(i64::MAX);
        let policy = value("cleanup.policy");
        Self {
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            after_max_ms: number("message.timestamp.after.max.ms"),
            before_max_ms: number("message.timestamp.before.max.ms"),
            compacted: policy.contains("compact"),
            log_append_time: value("message.timestamp.type") == "LogAppendTime",
            deleted: policy.contains("delete"),
            retention_bytes: number("retention.bytes"),
            retention_ms: number("retention.ms"),
        }
    }

    /// Most bytes a partition may hold, if that is bounded.
    pub(crate) fn held_bytes(&self, config: &DevConfig) -> Option<u64> {
        let own = u64::try_from(self.retention_bytes).ok().filter(|_| self.deleted);
        own.into_iter().chain(config.partition_bytes).min()
    }
}

/// Value and source (1 the topic's own, 4 the brokers' settings, 5 Kafka's default) of a topic configuration.
fn effective(config: &DevConfig, own: &BTreeMap<String, String>, name: &str) -> (String, i8) {
    if let Some(value) = own.get(name) {
        return (value.clone(), 1);
    }
    if let Some(value) = config.topic_defaults.get(name) {
        return (value.clone(), 4);
    }
    let default = TOPIC_CONFIGS.iter().find(|(known, _, _)| *known == name).map_or("", |(_, _, default)| default);
    (default.to_owned(), 5)
}

/// Drops what a topic's own `retention.ms` calls old; the default of a week is beyond a development tool.
pub(crate) fn retain(config: &DevConfig, state: &mut State, now: i64) -> bool {
    let mut changed = false;
    for topic in state.topics.values_mut().filter(|topic| topic.configs.contains_key("retention.ms")) {
        let settings = Settings::of(config, &topic.configs);
        if !settings.deleted || settings.retention_ms < 0 {
            continue;
        }
        for partition in &mut topic.partitions {
            let before = partition.log.start();
            partition.log.retain_since(now.saturating_sub(settings.retention_ms));
            changed |= partition.log.start() != before;
        }
    }
    changed
}

/// Checks a topic configuration's name and value.
///
/// # Errors
/// The reason, as Kafka words it.
pub(crate) fn validate(name: &str, value: &str) -> Result<(), String> {
    let Some((_, kind, _)) = TOPIC_CONFIGS.iter().find(|(known, _, _)| *known == name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    let allowed: &[&str] = match name {
        "cleanup.policy" => &["compact", "delete"],
        "compression.type" => &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
        "message.timestamp.type" => &["CreateTime", "LogAppendTime"],
        _ => &[],
    };
    let fits = match kind {
        Kind::Boolean => value == "true" || value == "false",
        Kind::Int => value.trim().parse::<i32>().is_ok(),
        Kind::Long => value.trim().parse::<i64>().is_ok(),
        Kind::Double => value.trim().parse::<f64>().is_ok(),
        Kind::List => allowed.is_empty() || value.split(',').all(|item| allowed.contains(&item.trim())),
        Kind::String => allowed.is_empty() || allowed.contains(&value),
    };
    if fits { Ok(()) } else { Err(format!("Invalid value {value} for configuration {name}")) }
}

fn broker_defaults(config: &DevConfig) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = [
        ("auto.create.topics.enable", config.auto_create_topics.to_string()),
        ("default.replication.factor", config.default_replication.to_string()),
        ("num.partitions", config.default_partitions.to_string()),
        ("socket.request.max.bytes", config.max_frame_bytes.to_string()),
        ("group.initial.rebalance.delay.ms", config.initial_rebalance_delay.as_millis().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let renamed = [("max.message.bytes", "message.max.bytes"), ("compression.type", "compression.type")];
    let renamed =
        renamed.iter().chain(&[("cleanup.policy", "log.cleanup.policy"), ("retention.ms", "log.retention.ms")]);
    for (topic, broker) in renamed {
        values.push(((*broker).to_owned(), effective(config, &BTreeMap::new(), topic).0));
    }
    values
}

pub(crate) async fn describe(context: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = context.inner.lock();
    let one = |asked: DescribeConfigsResource| {
        let mut result = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name.clone())
            .with_error_message(None);
        let wanted = |name: &str| {
            asked.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
        };
        let topic = state.topics.get(asked.resource_name.as_str());
        if let Some(code) = context.planned(&asked.resource_name, None) {
            return result.with_error_code(code);
        }
        match (asked.resource_type, topic) {
            (TOPIC, Some(topic)) => {
                for (name, kind, _) in TOPIC_CONFIGS.iter().filter(|(name, _, _)| wanted(name)) {
                    let (value, source) = effective(&context.inner.config, &topic.configs, name);
                    let synonyms = if request.include_synonyms {
                        synonyms(&context.inner.config, &topic.configs, name)
                    } else {
                        Vec::new()
                    };
                    let entry = entry(name, value, source, *kind, context.version).with_synonyms(synonyms);
                    result.configs.push(entry);
                }
            }
            (TOPIC, None) => result.error_code = code::UNKNOWN_TOPIC_OR_PARTITION,
            (BROKER, _) => {
                let own = state.broker_configs.get(asked.resource_name.as_str());
                let mut values: BTreeMap<String, (String, i8)> = broker_defaults(&context.inner.config)
                    .into_iter()
                    .map(|(name, value)| (name, (value, 4)))
                    .collect();
                for (name, value) in own.into_iter().flatten() {
                    values.insert(name.clone(), (value.clone(), 2));
                }
                for (name, (value, source)) in values.into_iter().filter(|(name, _)| wanted(name)) {
                    result.configs.push(entry(&name, value, source, Kind::String, context.version));
                }
            }
            _ => {}
        }
        result
    };
    DescribeConfigsResponse::default().with_results(request.resources.into_iter().map(one).collect())
}

fn entry(name: &str, value: String, source: i8, kind: Kind, version: i16) -> DescribeConfigsResourceResult {
    let entry = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(Some(StrBytes::from_string(value)))
        .with_config_source(source);
    if version >= 3 { entry.with_config_type(kind as i8).with_documentation(None) } else { entry }
}

fn synonyms(config: &DevConfig, own: &BTreeMap<String, String>, name: &str) -> Vec<DescribeConfigsSynonym> {
    let layers = [effective(config, own, name), effective(config, &BTreeMap::new(), name)];
    let mut told: Vec<DescribeConfigsSynonym> = Vec::new();
    for (value, source) in layers {
        if told.iter().all(|synonym| synonym.source != source) {
            let synonym = DescribeConfigsSynonym::default().with_name(StrBytes::from_string(name.to_owned()));
            told.push(synonym.with_value(Some(StrBytes::from_string(value))).with_source(source));
        }
    }
    told
}

type Refused = (i16, Option<String>);

/// (operation 0 set, 1 delete, 2 append, 3 subtract; name; value).
type Change = (i8, String, Option<String>);

fn change(
    context: &Context,
    kind: i8,
    resource: &str,
    changes: &[Change],
    replace: bool,
    validate_only: bool,
) -> Result<(), Refused> {
    if let Some(code) = context.planned(resource, None) {
        return Err((code, Some("injected".to_owned())));
    }
    let mut state = context.inner.lock();
    let mut own = match kind {
        TOPIC => state.topics.get(resource).map(|topic| topic.configs.clone()),
        _ => Some(state.broker_configs.get(resource).cloned().unwrap_or_default()),
    }
    .ok_or((code::UNKNOWN_TOPIC_OR_PARTITION, None))?;
    if replace {
        own.clear();
    }
    for (operation, name, value) in changes {
        let given = value.clone().unwrap_or_default();
        let mut items: Vec<String> = if *operation >= 2 {
            let present = effective(&context.inner.config, &own, name).0;
            present.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        let next = match operation {
            1 => None,
            2 => {
                items.extend(
                    given
                        .split(',')
                        .filter(|item| !items.iter().any(|known| known == item))
                        .map(str::to_owned)
                        .collect::<Vec<_>>(),
                );
                Some(items.join(","))
            }
            3 => {
                items.retain(|item| !given.split(',').any(|gone| gone == item));
                Some(items.join(","))
            }
            _ if value.is_none() => {
                return Err((code::INVALID_CONFIG, Some(format!("Null value not supported for: {name}"))));
            }
            _ => Some(given),
        };
        match next {
            Some(next) => {
                if kind == TOPIC {
                    validate(name, &next).map_err(|reason| (code::INVALID_CONFIG, Some(reason)))?;
                }
                own.insert(name.clone(), next);
            }
            None => _ = own.remove(name),
        }
    }
    if !validate_only {
        match kind {
            TOPIC => {
                if let Some(topic) = state.topics.get_mut(resource) {
                    topic.configs = own;
                }
            }
            _ => _ = state.broker_configs.insert(resource.to_owned(), own),
        }
    }
    Ok(())
}

fn outcome(done: Result<(), Refused>) -> (i16, Option<StrBytes>) {
    done.err().map_or((code::NONE, None), |(code, reason)| (code, reason.map(StrBytes::from_string)))
}

pub(crate) async fn alter(context: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut response = AlterConfigsResponse::default();
    for resource in request.resources {
        let changes: Vec<Change> = resource
            .configs
            .iter()
            .map(|entry| (0, entry.name.to_string(), entry.value.as_ref().map(ToString::to_string)))
            .collect();
        let name = resource.resource_name;
        let done = change(context, resource.resource_type, &name, &changes, true, request.validate_only);
        let (code, message) = outcome(done);
        let answer = alter_configs_response::AlterConfigsResourceResponse::default().with_resource_name(name);
        let answer = answer.with_resource_type(resource.resource_type).with_error_code(code);
        response.responses.push(answer.with_error_message(message));
    }
    response
}

pub(crate) async fn incremental_alter(
    context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut response = IncrementalAlterConfigsResponse::default();
    for resource in request.resources {
        let told = |entry: &kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig| {
            (entry.config_operation, entry.name.to_string(), entry.value.as_ref().map(ToString::to_string))
        };
        let changes: Vec<Change> = resource.configs.iter().map(told).collect();
        let name = resource.resource_name;
        let done = change(context, resource.resource_type, &name, &changes, false, request.validate_only);
        let (code, message) = outcome(done);
        let answer =
            incremental_alter_configs_response::AlterConfigsResourceResponse::default().with_resource_name(name);
        let answer = answer.with_resource_type(resource.resource_type).with_error_code(code);
        response.responses.push(answer.with_error_message(message));
    }
    response
}
