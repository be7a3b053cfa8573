//! Groups described: who holds one.

use kafka_protocol::messages::DescribeGroupsRequest;

use super::{named, unanswered};
use crate::kafka::cluster::CoordinatorKind;
use crate::kafka::{Cluster, Error, ErrorCode, Role};

/// A classic group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Group id.
    pub group_id: String,
    /// `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable` or `Dead`.
    pub state: String,
    /// `consumer`, `connect`, or empty.
    pub protocol_type: String,
    /// The protocol chosen.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
}

impl GroupMember {
    /// What a reader of `Waiting for ...` recognises: instance id, else member id, and the host.
    #[must_use]
    pub fn label(&self) -> String {
        let host = self.client_host.trim_start_matches('/');
        format!("{} at {host}", self.instance_id.as_deref().unwrap_or(&self.member_id))
    }
}

/// Describes a classic group. A group nobody is in comes with state `Dead` and no members.
///
/// # Errors
/// Not permitted, or its coordinator did not answer within `config.api_timeout`.
pub async fn describe_group(cluster: &Cluster, group_id: &str) -> Result<GroupDescription, Error> {
    let build = |_| DescribeGroupsRequest::default().with_groups(vec![named(group_id).into()]);
    let code = |r: &kafka_protocol::messages::DescribeGroupsResponse| {
        // v6 says GROUP_ID_NOT_FOUND where older ones describe a dead group.
        let code = r.groups.first().map_or(ErrorCode::NONE, |g| ErrorCode(g.error_code));
        if code == ErrorCode(69) { ErrorCode::NONE } else { code }
    };
    let answer = cluster.call_coordinator(CoordinatorKind::Group, group_id, Role::Admin, build, code).await?;
    let Some(group) = answer.groups.into_iter().next() else { return Err(unanswered("DescribeGroups", group_id)) };
    let member = |m: kafka_protocol::messages::describe_groups_response::DescribedGroupMember| GroupMember {
        member_id: m.member_id.to_string(),
        instance_id: m.group_instance_id.map(|id| id.to_string()),
        client_id: m.client_id.to_string(),
        client_host: m.client_host.to_string(),
    };
    Ok(GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        members: group.members.into_iter().map(member).collect(),
    })
}
