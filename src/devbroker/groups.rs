//! The group APIs: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and their administration.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::apis::Context;
use super::code;
use super::group::{Ask, Group, Joined, Phase, Step};
use super::state::State;

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The group, if this broker coordinates it and no error is planned.
fn coordinated<'a>(context: &Context, state: &'a mut State, id: &str) -> Result<&'a mut Group, i16> {
    if let Some(code) = context.planned(id, None) {
        return Err(code);
    }
    if state.coordinator(id) != Some(context.broker) {
        return Err(code::NOT_COORDINATOR);
    }
    state.groups.get_mut(id).ok_or(code::UNKNOWN_MEMBER_ID)
}

pub(crate) async fn join(context: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let id = request.group_id.0.to_string();
    let is_static = request.group_instance_id.is_some();
    let session = millis(request.session_timeout_ms);
    let rebalance = if context.version == 0 { session } else { millis(request.rebalance_timeout_ms) };
    let ask = Ask {
        member: request.member_id.to_string(),
        instance: request.group_instance_id.map(|instance| instance.to_string()),
        client_id: context.client_id.clone(),
        host: format!("/{}", context.host),
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|entry| (entry.name.to_string(), entry.metadata)).collect(),
        session,
        rebalance,
        id_first: context.version >= 4,
    };
    let mut changes = context.inner.watch_groups();
    let step = first(context, &id, ask);
    let (member, ticket) = match step {
        Step::Done(joined) => return joined_response(joined),
        Step::Refused(code, member) => return refused_response(context, code, &member),
        Step::Wait(member, ticket) => (member, ticket),
    };
    context.inner.groups_changed();
    loop {
        changes.borrow_and_update();
        let outcome = {
            let mut state = context.inner.lock();
            let group = state.groups.get_mut(&id);
            group.map_or(Some(Err(code::UNKNOWN_MEMBER_ID)), |group| group.outcome(&member, ticket, is_static))
        };
        match outcome {
            Some(Ok(joined)) => return joined_response(joined),
            Some(Err(code)) => return refused_response(context, code, &member),
            None => _ = changes.changed().await,
        }
    }
}

fn first(context: &Context, id: &str, ask: Ask) -> Step {
    let config = &context.inner.config;
    let mut state = context.inner.lock();
    let refused = match coordinated(context, &mut state, id) {
        Ok(_) => None,
        Err(code::UNKNOWN_MEMBER_ID) if id.is_empty() => Some(code::INVALID_GROUP_ID),
        Err(code::UNKNOWN_MEMBER_ID) if ask.member.is_empty() => None,
        Err(code) => Some(code),
    };
    let refused = refused.or((ask.session < config.min_session_timeout).then_some(code::INVALID_SESSION_TIMEOUT));
    if let Some(code) = refused {
        return Step::Refused(code, ask.member);
    }
    let now = Instant::now();
    let group = state.groups.entry(id.to_owned()).or_default();
    let step = group.join(ask, now, config.initial_rebalance_delay);
    group.advance(now);
    step
}

fn joined_response(joined: Joined) -> JoinGroupResponse {
    let member = |(id, instance, metadata): (String, Option<String>, Bytes)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata);
        member.with_group_instance_id(instance.map(text))
    };
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(joined.protocol_type)))
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member))
        .with_members(joined.members.into_iter().map(member).collect())
}

fn refused_response(context: &Context, code: i16, member: &str) -> JoinGroupResponse {
    // the protocol's name was not nullable before version 7
    let response = JoinGroupResponse::default().with_error_code(code).with_member_id(text(member));
    response.with_protocol_name((context.version < 7).then(StrBytes::new))
}

pub(crate) async fn sync(context: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let id = request.group_id.0.to_string();
    let member = request.member_id.to_string();
    let instance = request.group_instance_id.as_deref();
    let mut changes = context.inner.watch_groups();
    let mut assignments = Some(request.assignments);
    loop {
        changes.borrow_and_update();
        let (outcome, kind, protocol) = {
            let mut state = context.inner.lock();
            match coordinated(context, &mut state, &id) {
                Err(code) => (Some(Err(code)), String::new(), String::new()),
                Ok(group) => {
                    let known = group.check(&member, instance, request.generation_id).is_ok();
                    if known && group.phase == Phase::Completing && group.leader == member {
                        let given = assignments.take().unwrap_or_default();
                        group.assign(given.into_iter().map(|entry| (entry.member_id.to_string(), entry.assignment)));
                        context.inner.groups_changed();
                    }
                    let outcome = group.synced(&member, instance, request.generation_id);
                    (outcome, group.protocol_type.clone(), group.protocol.clone())
                }
            }
        };
        match outcome {
            Some(Ok(assignment)) => {
                let response = SyncGroupResponse::default().with_assignment(assignment);
                return response.with_protocol_type(Some(text(kind))).with_protocol_name(Some(text(protocol)));
            }
            Some(Err(code)) => return SyncGroupResponse::default().with_error_code(code),
            None => _ = changes.changed().await,
        }
    }
}

pub(crate) async fn heartbeat(context: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let mut state = context.inner.lock();
    let instance = request.group_instance_id.as_deref();
    let done = coordinated(context, &mut state, &request.group_id).and_then(|group| {
        group.check(&request.member_id, instance, request.generation_id)?;
        if group.phase == Phase::Preparing { Err(code::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    });
    HeartbeatResponse::default().with_error_code(done.err().unwrap_or(code::NONE))
}

pub(crate) async fn leave(context: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let mut response = LeaveGroupResponse::default();
    let mut state = context.inner.lock();
    let now = Instant::now();
    match coordinated(context, &mut state, &request.group_id) {
        Err(code) => response.error_code = code,
        Ok(group) => {
            let mut leaving = request.members;
            if context.version < 3 {
                leaving = vec![MemberIdentity::default().with_member_id(request.member_id)];
            }
            for member in leaving {
                let done = group.leave(&member.member_id, member.group_instance_id.as_deref(), now);
                let code = done.err().unwrap_or(code::NONE);
                if context.version < 3 {
                    response.error_code = code;
                } else {
                    let told = MemberResponse::default().with_member_id(member.member_id).with_error_code(code);
                    response.members.push(told.with_group_instance_id(member.group_instance_id));
                }
            }
            group.advance(now);
        }
    }
    drop(state);
    context.inner.groups_changed();
    response
}

pub(crate) async fn describe(context: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut response = DescribeGroupsResponse::default();
    let mut state = context.inner.lock();
    for id in request.groups {
        let answer = DescribedGroup::default().with_group_id(id.clone());
        response.groups.push(match coordinated(context, &mut state, &id) {
            Err(code::UNKNOWN_MEMBER_ID) => answer.with_group_state(text("Dead")),
            Err(code) => answer.with_error_code(code),
            Ok(group) => {
                let member = |(id, member): (&String, &super::group::Member)| {
                    let chosen = member.protocols.iter().find(|(name, _)| *name == group.protocol);
                    DescribedGroupMember::default()
                        .with_member_id(text(id))
                        .with_group_instance_id(member.instance.clone().map(text).filter(|_| context.version >= 4))
                        .with_client_id(text(&member.client_id))
                        .with_client_host(text(&member.host))
                        .with_member_metadata(chosen.map(|(_, metadata)| metadata.clone()).unwrap_or_default())
                        .with_member_assignment(member.assignment.clone())
                };
                answer
                    .with_group_state(text(group.state_name()))
                    .with_protocol_type(text(&group.protocol_type))
                    // there is one once all have their assignment
                    .with_protocol_data(text(if group.phase == Phase::Stable { &group.protocol } else { "" }))
                    .with_members(group.members.iter().map(member).collect())
            }
        });
    }
    response
}

pub(crate) async fn list(context: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let state = context.inner.lock();
    if let Some(code) = context.planned("", None) {
        return ListGroupsResponse::default().with_error_code(code);
    }
    let wanted = |group: &Group| {
        let filter = &request.states_filter;
        filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(group.state_name()))
    };
    let here = state.groups.iter().filter(|(id, group)| state.coordinator(id) == Some(context.broker) && wanted(group));
    let told = |(id, group): (&String, &Group)| {
        let listed = ListedGroup::default().with_group_id(GroupId(text(id)));
        listed.with_protocol_type(text(&group.protocol_type)).with_group_state(text(group.state_name()))
    };
    ListGroupsResponse::default().with_groups(here.map(told).collect())
}

pub(crate) async fn delete(context: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    let mut state = context.inner.lock();
    for id in request.groups_names {
        let code = match coordinated(context, &mut state, &id) {
            Err(code::UNKNOWN_MEMBER_ID) => code::GROUP_ID_NOT_FOUND,
            Err(code) => code,
            Ok(group) if group.phase != Phase::Empty => code::NON_EMPTY_GROUP,
            Ok(_) => {
                state.groups.remove(id.as_str());
                code::NONE
            }
        };
        response.results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(code));
    }
    response
}
