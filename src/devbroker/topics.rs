//! CreateTopics, DeleteTopics and CreatePartitions.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::DevConfig;
use super::apis::Context;
use super::state::{Partition, State, Topic};
use super::{code, configs};

/// Most partitions a topic may have: a typing error should not eat the machine.
const MAX_PARTITIONS: i32 = 10_000;

/// What was, or would be, created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Created {
    id: Uuid,
    partitions: i32,
    replication: i16,
}

/// Creates a topic; -1 partitions or replicas are the cluster's defaults.
///
/// # Errors
/// Kafka's code and the reason.
pub(crate) fn create(
    config: &DevConfig,
    state: &mut State,
    name: &str,
    partitions: i32,
    replication: i16,
    own: BTreeMap<String, String>,
    validate_only: bool,
) -> Result<Created, (i16, String)> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.bytes().all(legal) {
        return Err((code::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: '{name}'")));
    }
    if state.topics.contains_key(name) {
        return Err((code::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
    }
    let partitions = if partitions == -1 { config.default_partitions } else { partitions };
    if !(1..=MAX_PARTITIONS).contains(&partitions) {
        return Err((code::INVALID_PARTITIONS, "Number of partitions must be larger than 0.".to_owned()));
    }
    let brokers = i16::try_from(state.brokers.len()).unwrap_or(i16::MAX);
    let replication = if replication == -1 { config.default_replication.min(brokers) } else { replication };
    if replication <= 0 || replication > brokers {
        let reason = format!("Unable to replicate the partition {replication} time(s): only {brokers} broker(s).");
        return Err((code::INVALID_REPLICATION_FACTOR, reason));
    }
    for (key, value) in &own {
        configs::validate(key, value).map_err(|reason| (code::INVALID_CONFIG, reason))?;
    }
    let id = Uuid::new_v4();
    if !validate_only {
        let mut topic = Topic { id, configs: own, partitions: Vec::new() };
        grow(state, &mut topic, partitions, replication);
        state.topics.insert(name.to_owned(), topic);
    }
    Ok(Created { id, partitions, replication })
}

fn grow(state: &State, topic: &mut Topic, partitions: i32, replication: i16) {
    let brokers: Vec<i32> = state.brokers.iter().map(|broker| broker.id).collect();
    let alive = state.alive();
    while topic.partitions.len() < usize::try_from(partitions).unwrap_or(0) {
        let at = topic.partitions.len();
        let replicas: Vec<i32> =
            (0..usize::try_from(replication).unwrap_or(1)).map(|nth| brokers[(at + nth) % brokers.len()]).collect();
        let leader = replicas.iter().find(|id| alive.contains(id)).copied().unwrap_or(-1);
        topic.partitions.push(Partition { leader, replicas, ..Partition::default() });
    }
}

pub(crate) async fn create_topics(context: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut response = CreateTopicsResponse::default();
    let mut state = context.inner.lock();
    for topic in request.topics {
        let assigned = i32::try_from(topic.assignments.len()).unwrap_or(0);
        let own = topic
            .configs
            .iter()
            .filter_map(|entry| entry.value.as_ref().map(|value| (entry.name.to_string(), value.to_string())));
        let partitions = if assigned > 0 { assigned } else { topic.num_partitions };
        let replicas = topic.assignments.first().and_then(|first| i16::try_from(first.broker_ids.len()).ok());
        let done = match context.planned(&topic.name, None) {
            Some(code) => Err((code, "injected".to_owned())),
            None => {
                let replication = replicas.unwrap_or(topic.replication_factor);
                let config = &context.inner.config;
                create(config, &mut state, &topic.name, partitions, replication, own.collect(), request.validate_only)
            }
        };
        let answer = CreatableTopicResult::default().with_name(topic.name).with_error_message(None);
        response.topics.push(match done {
            Ok(created) => answer
                .with_topic_id(if request.validate_only { Uuid::nil() } else { created.id })
                .with_num_partitions(created.partitions)
                .with_replication_factor(created.replication),
            Err((code, reason)) => answer.with_error_code(code).with_error_message(Some(StrBytes::from_string(reason))),
        });
    }
    drop(state);
    context.inner.logs_changed();
    response
}

pub(crate) async fn delete_topics(context: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut response = DeleteTopicsResponse::default();
    let named = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let mut state = context.inner.lock();
    for asked in request.topics.into_iter().chain(named) {
        let by_id = asked.name.is_none();
        let name = match asked.name {
            Some(name) => Some(name.0.to_string()),
            None => state.topics.iter().find(|(_, topic)| topic.id == asked.topic_id).map(|(name, _)| name.clone()),
        };
        let planned = name.as_deref().and_then(|name| context.planned(name, None));
        let gone = name.as_deref().filter(|_| planned.is_none()).and_then(|name| state.topics.remove(name));
        let unknown = if by_id { code::UNKNOWN_TOPIC_ID } else { code::UNKNOWN_TOPIC_OR_PARTITION };
        let code = match (&gone, planned) {
            (_, Some(code)) => code,
            (Some(_), None) => code::NONE,
            (None, None) => unknown,
        };
        if let Some(name) = name.as_deref().filter(|_| gone.is_some()) {
            for group in state.groups.values_mut() {
                group.offsets.retain(|(topic, _), _| topic != name);
            }
        }
        response.responses.push(
            DeletableTopicResult::default()
                .with_name(name.map(|name| TopicName(StrBytes::from_string(name))))
                .with_topic_id(gone.map_or(asked.topic_id, |topic| topic.id))
                .with_error_code(code),
        );
    }
    drop(state);
    context.inner.logs_changed();
    response
}

pub(crate) async fn create_partitions(context: &Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut response = CreatePartitionsResponse::default();
    let mut state = context.inner.lock();
    for asked in request.topics {
        let done = match context.planned(&asked.name, None) {
            Some(code) => Err((code, "injected".to_owned())),
            None => enlarge(&mut state, &asked.name, asked.count, request.validate_only),
        };
        let answer = CreatePartitionsTopicResult::default().with_name(asked.name).with_error_message(None);
        response.results.push(match done {
            Ok(()) => answer,
            Err((code, reason)) => answer.with_error_code(code).with_error_message(Some(StrBytes::from_string(reason))),
        });
    }
    response
}

fn enlarge(state: &mut State, name: &str, count: i32, validate_only: bool) -> Result<(), (i16, String)> {
    let Some(mut topic) = state.topics.remove(name) else {
        return Err((code::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic '{name}' does not exist.")));
    };
    let present = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let fits = count > present && count <= MAX_PARTITIONS;
    if fits && !validate_only {
        let replication = topic.partitions.first().map_or(1, |first| first.replicas.len());
        grow(state, &mut topic, count, i16::try_from(replication).unwrap_or(1));
    }
    state.topics.insert(name.to_owned(), topic);
    let reason = format!("Topic currently has {present} partitions, which is not less than the requested {count}.");
    if fits { Ok(()) } else { Err((code::INVALID_PARTITIONS, reason)) }
}
