//! What the cluster permits us, asked without doing any of it.
//!
//! Brokers tell the operations that we are authorized for on topics, groups and the cluster (KIP-430, brokers from 2.3). What
//! they don't tell is asked by requests that are refused after the permission is looked at: a topic that is only validated,
//! the end of a transaction that nobody began.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeGroupsRequest, EndTxnRequest, MetadataRequest, ProducerId,
};

use super::{in_order, millis, named, unanswered};
use crate::kafka::cluster::CoordinatorKind;
use crate::kafka::{Cluster, Error, ErrorCode, Role};

/// What an ACL is about. Java's `AclOperation`, with its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the operation of that name")]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// The operations that we are authorized for on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations(i32);

impl Operation {
    /// Kafka's name, as in `kafka-acls --operation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Alter => "ALTER",
            Self::Describe => "DESCRIBE",
            Self::ClusterAction => "CLUSTER_ACTION",
            Self::DescribeConfigs => "DESCRIBE_CONFIGS",
            Self::AlterConfigs => "ALTER_CONFIGS",
            Self::IdempotentWrite => "IDEMPOTENT_WRITE",
        }
    }
}

impl Operations {
    /// Of a broker's answer: one bit an operation. `None` where it did not say.
    fn told(bits: i32) -> Option<Self> {
        (bits != i32::MIN).then_some(Self(bits))
    }

    /// Whether `operation` is among them.
    #[must_use]
    pub fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation as i32) != 0
    }
}

/// What we may do with each topic, in the order given: `Ok(None)` where the broker is too old to say. A topic that does not
/// exist, or may not be seen, is an error.
///
/// # Errors
/// No broker answered in time.
pub async fn topic_operations(
    cluster: &Cluster,
    topics: &[String],
) -> Result<Vec<(String, Result<Option<Operations>, Error>)>, Error> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let topic = |name: &String| MetadataRequestTopic::default().with_name(Some(named(name).into()));
    let build = |version| {
        MetadataRequest::default()
            .with_topics(Some(topics.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false)
            .with_include_topic_authorized_operations(version >= 8)
    };
    let answer = cluster.call_any(Role::Admin, build, |_| ErrorCode::NONE).await?;
    let found = |name: &String| {
        let topic = answer.topics.iter().find(|topic| topic.name.as_ref().is_some_and(|n| n.as_str() == name));
        let topic = topic.ok_or_else(|| unanswered("Metadata", name))?;
        let code = ErrorCode(topic.error_code).ok();
        code.map_err(|code| Error::broker("Metadata", code, name.clone(), None))?;
        Ok(Operations::told(topic.topic_authorized_operations))
    };
    Ok(topics.iter().map(|name| (name.clone(), found(name))).collect())
}

/// What we may do with the cluster itself; `None` where it is too old to say.
///
/// # Errors
/// No broker answered in time.
pub async fn cluster_operations(cluster: &Cluster) -> Result<Option<Operations>, Error> {
    let build = |_| DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let code = |answer: &kafka_protocol::messages::DescribeClusterResponse| ErrorCode(answer.error_code);
    match cluster.call_any(Role::Admin, build, code).await {
        Ok(answer) => return Ok(Operations::told(answer.cluster_authorized_operations)),
        Err(Error::UnsupportedVersion { .. }) => {}
        Err(error) => return Err(error),
    }
    // DescribeCluster is of 2.8; before it the question is part of Metadata.
    let build = |version| {
        MetadataRequest::default()
            .with_topics(Some(Vec::new()))
            .with_include_cluster_authorized_operations((8..=10).contains(&version))
    };
    let answer = cluster.call_any(Role::Admin, build, |_| ErrorCode::NONE).await?;
    Ok(Operations::told(answer.cluster_authorized_operations))
}

/// What we may do with a group; `None` where the broker is too old to say.
///
/// # Errors
/// Not even DESCRIBE is permitted, or its coordinator did not answer in time.
pub async fn group_operations(cluster: &Cluster, group: &str) -> Result<Option<Operations>, Error> {
    let build = |version| {
        DescribeGroupsRequest::default()
            .with_groups(vec![named(group).into()])
            .with_include_authorized_operations(version >= 3)
    };
    let code = |answer: &kafka_protocol::messages::DescribeGroupsResponse| {
        // GROUP_ID_NOT_FOUND: nobody is in it, and we were allowed to learn that.
        let code = answer.groups.first().map_or(ErrorCode::NONE, |group| ErrorCode(group.error_code));
        if code == ErrorCode(69) { ErrorCode::NONE } else { code }
    };
    let answer = cluster.call_coordinator(CoordinatorKind::Group, group, Role::Admin, build, code).await?;
    Ok(answer.groups.first().and_then(|group| Operations::told(group.authorized_operations)))
}

/// Whether topics of these names and replication factors could be created; none is.
///
/// # Errors
/// The controller could not be asked in time.
pub async fn could_create(
    cluster: &Cluster,
    topics: &[(String, i16)],
) -> Result<Vec<(String, Result<(), Error>)>, Error> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let timeout_ms = millis(cluster.config().request_timeout);
    let topic = |(name, factor): &(String, i16)| {
        CreatableTopic::default().with_name(named(name).into()).with_num_partitions(1).with_replication_factor(*factor)
    };
    let build = |_| {
        CreateTopicsRequest::default()
            .with_topics(topics.iter().map(topic).collect())
            .with_timeout_ms(timeout_ms)
            .with_validate_only(true)
    };
    let answer = cluster.call_controller(build, |_| ErrorCode::NONE).await?;
    Ok(in_order(
        "CreateTopics",
        topics.iter().map(|(name, _)| name.as_str()),
        answer.topics.into_iter().map(|t| (t.name.0, t.error_code, t.error_message)),
    ))
}

/// Whether we may write under a transactional id: the end of a transaction by a producer that does not exist is refused for
/// that, once it is permitted.
///
/// # Errors
/// Not permitted, or its coordinator did not answer in time.
pub async fn may_use_transactional_id(cluster: &Cluster, id: &str) -> Result<(), Error> {
    let build = |_| {
        EndTxnRequest::default()
            .with_transactional_id(named(id).into())
            .with_producer_id(ProducerId(i64::MAX))
            .with_producer_epoch(0)
            .with_committed(false)
    };
    let code = |answer: &kafka_protocol::messages::EndTxnResponse| match ErrorCode(answer.error_code) {
        code if code.authorization() => code,
        // INVALID_PRODUCER_ID_MAPPING and its kind: we got as far as the coordinator's own checks.
        ErrorCode(47..=49 | 90 | 105 | 42) => ErrorCode::NONE,
        code => code,
    };
    cluster.call_coordinator(CoordinatorKind::Transaction, id, Role::Admin, build, code).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_operations() {
        let some = Operations::told(1 << 3 | 1 << 10).unwrap();
        assert!(some.contains(Operation::Read) && some.contains(Operation::DescribeConfigs));
        assert!(!some.contains(Operation::Write) && !some.contains(Operation::Describe));
        assert_eq!(Operations::told(i32::MIN), None, "not asked, or too old to say: nothing is known");
        assert_eq!(Operations::told(0), Some(Operations(0)), "nothing is permitted");
    }
}
