//! Each layout agrees with the codec: what the codec encodes is walked to its last byte, in every version.

use bytes::BytesMut;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, Message, StrBytes};

use super::*;

fn agrees<M: Message + Encodable>(api: ApiKey, build: impl Fn(i16) -> M) {
    let key = api as i16;
    assert!(knows(key), "{api:?}");
    for version in M::VERSIONS.min..=M::VERSIONS.max {
        let mut body = BytesMut::new();
        build(version).encode(&mut body, version).unwrap_or_else(|e| panic!("{api:?} v{version}: {e:#}"));
        let body = body.freeze();
        check(key, version, &body).unwrap_or_else(|e| panic!("{api:?} v{version}: {e}"));
        // One byte less must be missed: so the walk really reaches the end.
        let cut = body.slice(..body.len() - 1);
        assert!(check(key, version, &cut).is_err(), "{api:?} v{version} does not reach the end");
    }
}

fn text() -> StrBytes {
    StrBytes::from_static_str("text")
}

#[test]
fn layouts_are_those_of_the_codec() {
    agrees(ApiKey::ApiVersions, |v| {
        use api_versions_response::{ApiVersion, SupportedFeatureKey};
        let r = ApiVersionsResponse::default().with_api_keys(vec![ApiVersion::default(); 2]);
        if v >= 3 { r.with_supported_features(vec![SupportedFeatureKey::default().with_name(text())]) } else { r }
    });
    agrees(ApiKey::Metadata, |v| {
        use metadata_response::*;
        let partition = MetadataResponsePartition::default()
            .with_replica_nodes(vec![BrokerId(1); 3])
            .with_isr_nodes(vec![BrokerId(1); 2]);
        let topic = MetadataResponseTopic::default().with_name(Some(text().into())).with_partitions(vec![partition; 2]);
        let broker = MetadataResponseBroker::default().with_host(text());
        let r = MetadataResponse::default().with_brokers(vec![broker; 2]).with_topics(vec![topic; 2]);
        if v >= 2 { r.with_cluster_id(Some(text())) } else { r }
    });
    agrees(ApiKey::FindCoordinator, |v| {
        use find_coordinator_response::Coordinator;
        if v >= 4 {
            FindCoordinatorResponse::default().with_coordinators(vec![Coordinator::default().with_key(text()); 2])
        } else {
            FindCoordinatorResponse::default().with_host(text())
        }
    });
    agrees(ApiKey::JoinGroup, |_| {
        use join_group_response::JoinGroupResponseMember;
        let member = JoinGroupResponseMember::default().with_member_id(text()).with_metadata(text().into_bytes());
        JoinGroupResponse::default().with_protocol_name(Some(text())).with_members(vec![member; 2])
    });
    agrees(ApiKey::LeaveGroup, |v| {
        use leave_group_response::MemberResponse;
        let r = LeaveGroupResponse::default();
        if v >= 3 { r.with_members(vec![MemberResponse::default().with_member_id(text()); 2]) } else { r }
    });
    agrees(ApiKey::DescribeGroups, |_| {
        use describe_groups_response::*;
        let member = DescribedGroupMember::default().with_member_id(text()).with_member_metadata(text().into_bytes());
        let group = DescribedGroup::default().with_group_state(text()).with_members(vec![member; 2]);
        DescribeGroupsResponse::default().with_groups(vec![group; 2])
    });
    agrees(ApiKey::CreateTopics, |_| {
        use create_topics_response::CreatableTopicResult;
        let topic = CreatableTopicResult::default().with_name(text().into());
        CreateTopicsResponse::default().with_topics(vec![topic; 2])
    });
    agrees(ApiKey::CreatePartitions, |_| {
        use create_partitions_response::CreatePartitionsTopicResult;
        let topic = CreatePartitionsTopicResult::default().with_name(text().into());
        CreatePartitionsResponse::default().with_results(vec![topic; 2])
    });
    agrees(ApiKey::DescribeConfigs, |_| {
        use describe_configs_response::*;
        let synonym = DescribeConfigsSynonym::default().with_name(text());
        let config = DescribeConfigsResourceResult::default().with_name(text()).with_synonyms(vec![synonym; 2]);
        let result = DescribeConfigsResult::default().with_resource_name(text()).with_configs(vec![config; 2]);
        DescribeConfigsResponse::default().with_results(vec![result; 2])
    });
    agrees(ApiKey::IncrementalAlterConfigs, |_| {
        use incremental_alter_configs_response::AlterConfigsResourceResponse;
        let response = AlterConfigsResourceResponse::default().with_resource_name(text());
        IncrementalAlterConfigsResponse::default().with_responses(vec![response; 2])
    });
    agrees(ApiKey::ListOffsets, |_| {
        use list_offsets_response::*;
        let topic = ListOffsetsTopicResponse::default()
            .with_name(text().into())
            .with_partitions(vec![ListOffsetsPartitionResponse::default(); 2]);
        ListOffsetsResponse::default().with_topics(vec![topic; 2])
    });
    agrees(ApiKey::OffsetForLeaderEpoch, |_| {
        use offset_for_leader_epoch_response::*;
        let topic = OffsetForLeaderTopicResult::default()
            .with_topic(text().into())
            .with_partitions(vec![EpochEndOffset::default(); 2]);
        OffsetForLeaderEpochResponse::default().with_topics(vec![topic; 2])
    });
    agrees(ApiKey::DescribeProducers, |_| {
        use describe_producers_response::*;
        let partition = PartitionResponse::default().with_active_producers(vec![ProducerState::default(); 2]);
        let topic = TopicResponse::default().with_name(text().into()).with_partitions(vec![partition; 2]);
        DescribeProducersResponse::default().with_topics(vec![topic; 2])
    });
    agrees(ApiKey::Produce, |v| {
        use produce_response::*;
        let topic =
            TopicProduceResponse::default().with_partition_responses(vec![PartitionProduceResponse::default(); 2]);
        let topic = if v <= 12 { topic.with_name(text().into()) } else { topic };
        let r = ProduceResponse::default().with_responses(vec![topic; 2]);
        if v >= 10 { r.with_node_endpoints(vec![NodeEndpoint::default().with_host(text())]) } else { r }
    });
    agrees(ApiKey::Fetch, |v| {
        use fetch_response::*;
        let partition = PartitionData::default()
            .with_aborted_transactions(Some(vec![AbortedTransaction::default(); 2]))
            .with_records(Some(text().into_bytes()));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition; 2]);
        let topic = if v <= 12 { topic.with_topic(text().into()) } else { topic };
        FetchResponse::default().with_responses(vec![topic; 2])
    });
    agrees(ApiKey::SaslHandshake, |_| SaslHandshakeResponse::default().with_mechanisms(vec![text(); 2]));
}

#[test]
fn hostile_lengths_are_refused() {
    let metadata = |bytes: &'static [u8], version| check(3, version, &Bytes::from_static(bytes));
    assert!(metadata(b"\0\0\0\0\x7f\xff\xff\xff\0", 4).is_err());
    assert!(metadata(b"\0\0\0\0\xff\xff\xff\xff\x0f\0", 12).is_err());
    // In a tagged field of ApiVersions, too.
    let hostile = Bytes::from_static(b"\0\0\x01\0\0\0\0\x01\0\x05\xff\xff\xff\xff\x0f");
    assert!(check(18, 3, &hostile).is_err());
}
