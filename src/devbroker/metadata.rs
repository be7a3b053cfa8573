//! ApiVersions, Metadata, DescribeCluster and FindCoordinator: who is where.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::apis::{self, Context};
use super::state::{Partition, State, Topic};
use super::{code, topics};

const HOST: StrBytes = StrBytes::from_static_str("127.0.0.1");

pub(crate) async fn api_versions(context: &Context, _request: ApiVersionsRequest) -> ApiVersionsResponse {
    let refused = context.planned("", None).unwrap_or(code::NONE);
    ApiVersionsResponse::default().with_error_code(refused).with_api_keys(apis::advertised())
}

pub(crate) async fn metadata(context: &Context, request: MetadataRequest) -> MetadataResponse {
    let mut state = context.inner.lock();
    let mut response = MetadataResponse::default()
        .with_cluster_id(Some(StrBytes::from_string(context.inner.config.cluster_id.clone())))
        .with_controller_id(BrokerId(state.alive().first().copied().unwrap_or(-1)));
    for broker in state.brokers.iter().filter(|broker| broker.alive) {
        let told = MetadataResponseBroker::default().with_node_id(BrokerId(broker.id)).with_host(HOST);
        response.brokers.push(told.with_port(i32::from(broker.port)));
    }
    // before version 1 an empty list meant all
    let all = request.topics.as_ref().is_none_or(|topics| topics.is_empty() && context.version == 0);
    if all {
        response.topics = state.topics.iter().map(|(name, topic)| told(context, &state, name, topic)).collect();
        return response;
    }
    for asked in request.topics.unwrap_or_default() {
        response.topics.push(one(context, &mut state, asked, request.allow_auto_topic_creation));
    }
    response
}

fn one(context: &Context, state: &mut State, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let Some(name) = asked.name else {
        let found = state.topics.iter().find(|(_, topic)| topic.id == asked.topic_id);
        return match found {
            Some((name, topic)) => told(context, state, name, topic),
            None => MetadataResponseTopic::default()
                .with_error_code(code::UNKNOWN_TOPIC_ID)
                .with_topic_id(asked.topic_id)
                .with_name(None),
        };
    };
    let mut refused = code::UNKNOWN_TOPIC_OR_PARTITION;
    if !state.topics.contains_key(name.as_str()) && create && context.inner.config.auto_create_topics {
        let config = &context.inner.config;
        if let Err((code, _)) = topics::create(config, state, &name, -1, -1, BTreeMap::new(), false) {
            refused = code;
        }
    }
    match state.topics.get(name.as_str()) {
        Some(topic) => told(context, state, &name, topic),
        None => MetadataResponseTopic::default().with_error_code(refused).with_name(Some(name)),
    }
}

fn told(context: &Context, state: &State, name: &str, topic: &Topic) -> MetadataResponseTopic {
    let name = StrBytes::from_string(name.to_owned());
    if let Some(code) = context.planned(&name, None) {
        return MetadataResponseTopic::default().with_error_code(code).with_name(Some(TopicName(name)));
    }
    let alive = state.alive();
    let partition = |(index, partition): (usize, &Partition)| {
        let replicas = || partition.replicas.iter().copied();
        MetadataResponsePartition::default()
            .with_error_code(if partition.leader < 0 { code::LEADER_NOT_AVAILABLE } else { code::NONE })
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_id(BrokerId(partition.leader))
            .with_leader_epoch(partition.epoch)
            .with_replica_nodes(replicas().map(BrokerId).collect())
            .with_isr_nodes(replicas().filter(|id| alive.contains(id)).map(BrokerId).collect())
            .with_offline_replicas(replicas().filter(|id| !alive.contains(id)).map(BrokerId).collect())
    };
    MetadataResponseTopic::default()
        .with_is_internal(name.as_str() == "__consumer_offsets")
        .with_name(Some(TopicName(name)))
        .with_topic_id(topic.id)
        .with_partitions(topic.partitions.iter().enumerate().map(partition).collect())
}

pub(crate) async fn describe_cluster(context: &Context, _request: DescribeClusterRequest) -> DescribeClusterResponse {
    let state = context.inner.lock();
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(context.inner.config.cluster_id.clone()))
        .with_controller_id(BrokerId(state.alive().first().copied().unwrap_or(-1)));
    for broker in state.brokers.iter().filter(|broker| broker.alive) {
        let told = DescribeClusterBroker::default().with_broker_id(BrokerId(broker.id)).with_host(HOST);
        response.brokers.push(told.with_port(i32::from(broker.port)));
    }
    response
}

pub(crate) async fn find_coordinator(context: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let state = context.inner.lock();
    let find = |key: &StrBytes| {
        let planned = context.planned(key, None);
        let found = state.coordinator(key).and_then(|id| state.broker(id)).map(|broker| (broker.id, broker.port));
        match (planned, found) {
            (None, Some((id, port))) => (code::NONE, id, i32::from(port)),
            (planned, _) => (planned.unwrap_or(code::COORDINATOR_NOT_AVAILABLE), -1, -1),
        }
    };
    if context.version < 4 {
        let (code, id, port) = find(&request.key);
        let response = FindCoordinatorResponse::default().with_error_code(code).with_node_id(BrokerId(id));
        return response.with_host(HOST).with_port(port);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let (code, id, port) = find(&key);
        let coordinator = Coordinator::default().with_key(key).with_error_code(code).with_node_id(BrokerId(id));
        coordinator.with_host(HOST).with_port(port)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
