//! OffsetCommit, OffsetFetch and OffsetDelete.

use std::collections::BTreeSet;

use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::apis::Context;
use super::code;
use super::group::{Group, Phase};
use super::state::State;

/// `offset.metadata.max.bytes`.
const MAX_METADATA: usize = 4096;

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

fn refused(context: &Context, state: &State, group: &str) -> Option<i16> {
    let elsewhere = (state.coordinator(group) != Some(context.broker)).then_some(code::NOT_COORDINATOR);
    context.planned(group, None).or(elsewhere)
}

fn permits(state: &mut State, request: &OffsetCommitRequest) -> Result<(), i16> {
    let id = request.group_id.0.as_str();
    let generation = request.generation_id_or_member_epoch;
    if generation >= 0 && !state.groups.contains_key(id) {
        return Err(code::ILLEGAL_GENERATION);
    }
    let group = state.groups.entry(id.to_owned()).or_default();
    if generation < 0 && group.phase == Phase::Empty {
        return Ok(());
    }
    group.check(&request.member_id, request.group_instance_id.as_deref(), generation)?;
    // a commit counts as a sign of life, but not between join and sync
    if group.phase == Phase::Completing { Err(code::REBALANCE_IN_PROGRESS) } else { Ok(()) }
}

pub(crate) async fn commit(context: &Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut state = context.inner.lock();
    let id = request.group_id.0.to_string();
    let verdict = refused(context, &state, &id).or_else(|| permits(&mut state, &request).err());
    let mut response = OffsetCommitResponse::default();
    for topic in request.topics {
        let mut answer = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let metadata = asked.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
            let code = if let Some(code) = verdict {
                code
            } else if state.partition(&topic.name, asked.partition_index).is_none() {
                code::UNKNOWN_TOPIC_OR_PARTITION
            } else if metadata.len() > MAX_METADATA {
                code::OFFSET_METADATA_TOO_LARGE
            } else {
                let leader_epoch = asked.committed_leader_epoch;
                let commit = Committed { offset: asked.committed_offset, leader_epoch, metadata };
                let group = state.groups.entry(id.clone()).or_default();
                group.offsets.insert((topic.name.to_string(), asked.partition_index), commit);
                code::NONE
            };
            let part = OffsetCommitResponsePartition::default().with_partition_index(asked.partition_index);
            answer.partitions.push(part.with_error_code(code));
        }
        response.topics.push(answer);
    }
    response
}

type Asked = Option<Vec<(TopicName, Vec<i32>)>>;
type Told = Vec<(TopicName, Vec<(i32, i16, Committed)>)>;

fn nothing() -> Committed {
    Committed { offset: -1, leader_epoch: -1, metadata: String::new() }
}

fn told(group: Option<&Group>, asked: Asked, stable: bool) -> Told {
    let name = |name: &str| TopicName(StrBytes::from_string(name.to_owned()));
    let asked = asked.unwrap_or_else(|| {
        let mut all: Vec<(TopicName, Vec<i32>)> = Vec::new();
        for (topic, partition) in group.iter().flat_map(|group| group.offsets.keys()) {
            match all.last_mut().filter(|(last, _)| last.as_str() == topic) {
                Some((_, partitions)) => partitions.push(*partition),
                None => all.push((name(topic), vec![*partition])),
            }
        }
        all
    });
    let one = |topic: &str, index: i32| {
        let key = (topic.to_owned(), index);
        let open = group.is_some_and(|group| group.pending.values().any(|pending| pending.contains_key(&key)));
        if stable && open {
            return (index, code::UNSTABLE_OFFSET_COMMIT, nothing());
        }
        let commit = group.and_then(|group| group.offsets.get(&key)).cloned();
        (index, code::NONE, commit.unwrap_or_else(nothing))
    };
    asked
        .into_iter()
        .map(|(topic, partitions)| {
            let parts = partitions.into_iter().map(|index| one(&topic, index)).collect();
            (topic, parts)
        })
        .collect()
}

pub(crate) async fn fetch(context: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let state = context.inner.lock();
    let stable = request.require_stable;
    if context.version < 8 {
        if let Some(code) = refused(context, &state, &request.group_id) {
            return OffsetFetchResponse::default().with_error_code(code);
        }
        let asked: Asked = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let mut response = OffsetFetchResponse::default();
        for (topic, parts) in told(state.groups.get(request.group_id.as_str()), asked, stable) {
            let part = |(index, code, commit): (i32, i16, Committed)| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(code)
                    .with_committed_offset(commit.offset)
                    .with_committed_leader_epoch(commit.leader_epoch)
                    .with_metadata(Some(StrBytes::from_string(commit.metadata)))
            };
            let parts = parts.into_iter().map(part).collect();
            response.topics.push(OffsetFetchResponseTopic::default().with_name(topic).with_partitions(parts));
        }
        return response;
    }
    let mut response = OffsetFetchResponse::default();
    for asked in request.groups {
        let mut answer = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
        if let Some(code) = refused(context, &state, &asked.group_id) {
            response.groups.push(answer.with_error_code(code));
            continue;
        }
        let wanted: Asked =
            asked.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        for (topic, parts) in told(state.groups.get(asked.group_id.as_str()), wanted, stable) {
            let part = |(index, code, commit): (i32, i16, Committed)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_error_code(code)
                    .with_committed_offset(commit.offset)
                    .with_committed_leader_epoch(commit.leader_epoch)
                    .with_metadata(Some(StrBytes::from_string(commit.metadata)))
            };
            let parts = parts.into_iter().map(part).collect();
            answer.topics.push(OffsetFetchResponseTopics::default().with_name(topic).with_partitions(parts));
        }
        response.groups.push(answer);
    }
    response
}

pub(crate) async fn delete(context: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut state = context.inner.lock();
    if let Some(code) = refused(context, &state, &request.group_id) {
        return OffsetDeleteResponse::default().with_error_code(code);
    }
    let Some(group) = state.groups.get_mut(request.group_id.as_str()) else {
        return OffsetDeleteResponse::default().with_error_code(code::GROUP_ID_NOT_FOUND);
    };
    let subscribed: BTreeSet<String> = group.subscribed();
    let mut response = OffsetDeleteResponse::default();
    for topic in request.topics {
        let mut answer = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let code = if subscribed.contains(topic.name.as_str()) {
                code::GROUP_SUBSCRIBED_TO_TOPIC
            } else {
                group.offsets.remove(&(topic.name.to_string(), asked.partition_index));
                code::NONE
            };
            let part = OffsetDeleteResponsePartition::default().with_partition_index(asked.partition_index);
            answer.partitions.push(part.with_error_code(code));
        }
        response.topics.push(answer);
    }
    response
}
