//! One member's life: join, agree who holds, heartbeat, leave.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{GroupConfig, MemberState};
use crate::kafka::admin::describe_group;
use crate::kafka::cluster::CoordinatorKind;
use crate::kafka::{Cluster, Connection, Error, ErrorCode, Role};
use crate::supervise::Backoff;

/// What a member says of itself when it joins: it holds the group already, so the leader leaves it to it.
const HOLDS: &[u8] = b"holds";
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs until the membership is lost or left.
pub(super) async fn run(
    cluster: Cluster,
    config: GroupConfig,
    states: watch::Sender<MemberState>,
    mut leaving: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut member = Member { cluster, config, states, id: String::new(), generation: -1, confirmed: None };
    let reason = tokio::select! {
        biased;
        // A dropped sender means that the owner went without leaving: the task is aborted with it.
        _ = leaving.wait_for(|leave| *leave) => None,
        reason = member.live() => Some(reason),
    };
    match reason {
        Some(reason) => {
            member.states.send_replace(MemberState::Lost { reason });
            Ok(())
        }
        None => {
            // Whoever watches stops writing before the place is given away.
            member.states.send_replace(MemberState::Lost { reason: "left".into() });
            member.leave().await
        }
    }
}

struct Member {
    cluster: Cluster,
    config: GroupConfig,
    states: watch::Sender<MemberState>,
    id: String,
    generation: i32,
    /// When the last request was sent that the coordinator confirmed.
    confirmed: Option<Instant>,
}

/// What to do after a join or a heartbeat.
enum Next {
    /// Join (again).
    Join,
    /// All is well.
    Stay,
    /// Over.
    Lost(String),
    /// Something stands in the way; wait a moment.
    Trouble(Error),
    /// Another protocol holds the group.
    Foreign,
}

impl Member {
    /// Gives the reason why it is lost.
    async fn live(&mut self) -> String {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut joined = false;
        loop {
            if let Some(reason) = self.expired() {
                return reason;
            }
            let next = if joined { self.beat().await } else { self.join().await };
            match next {
                Next::Lost(reason) => return reason,
                Next::Stay => {
                    joined = true;
                    backoff.reset();
                    self.pause(self.config.heartbeat).await;
                }
                Next::Join => joined = false,
                Next::Foreign => {
                    self.tell_foreign().await;
                    self.pause(self.config.retry).await;
                }
                Next::Trouble(error) => {
                    self.cluster.forget_coordinator(CoordinatorKind::Group, &self.config.group_id);
                    if !self.holds() {
                        self.tell(MemberState::Joining { trouble: Some(text(&error)) });
                    }
                    self.pause(backoff.next_delay()).await;
                }
            }
        }
    }

    fn holds(&self) -> bool {
        self.states.borrow().holds()
    }

    fn tell(&self, state: MemberState) {
        self.states.send_if_modified(|old| {
            let news = *old != state;
            *old = state;
            news
        });
    }

    /// A holder that was not confirmed for too long gives up before the coordinator gives its place away.
    fn expired(&self) -> Option<String> {
        let trust = self.config.trust();
        let late = self.holds() && self.confirmed.is_none_or(|at| at.elapsed() >= trust);
        late.then(|| {
            let session = self.config.session_timeout;
            format!("no heartbeat was confirmed for {trust:?} (session timeout {session:?})")
        })
    }

    /// Sleeps, but for a holder never beyond the moment when it must give up.
    async fn pause(&self, wanted: Duration) {
        tokio::time::sleep_until(self.bounded(Instant::now() + wanted)).await;
    }

    fn bounded(&self, wanted: Instant) -> Instant {
        match self.confirmed {
            Some(at) if self.holds() => wanted.min(at + self.config.trust()),
            _ => wanted,
        }
    }

    /// Waits for `call`, but for a holder never beyond the moment when it must give up.
    async fn trusted<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = Duration::from_secs(3600);
        match tokio::time::timeout_at(self.bounded(Instant::now() + limit), call).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                api: "Heartbeat",
                addr: self.cluster.name(),
                after: self.config.trust(),
                source: None,
            }),
        }
    }

    async fn coordinator(&self, role: Role) -> Result<Connection, Error> {
        self.cluster.coordinator(CoordinatorKind::Group, &self.config.group_id, role).await
    }

    async fn join(&mut self) -> Next {
        match self.try_join().await {
            Ok(next) => next,
            Err(error) => Next::Trouble(error),
        }
    }

    async fn try_join(&mut self) -> Result<Next, Error> {
        let connection = self.trusted(self.coordinator(Role::Group)).await?;
        let sent = Instant::now();
        let answer = {
            let asking = self.ask_to_join(&connection);
            tokio::pin!(asking);
            loop {
                let tick = self.bounded(Instant::now() + self.config.heartbeat);
                tokio::select! {
                    answer = &mut asking => break answer?,
                    () = tokio::time::sleep_until(tick) => {}
                }
                // The coordinator answers when the others have joined too. Until then a holder's place is confirmed
                // on another connection: this one is answered in order.
                if self.holds() {
                    if let Some(reason) = self.expired() {
                        return Ok(Next::Lost(reason));
                    }
                    let at = Instant::now();
                    match self.heartbeat(Role::Admin).await {
                        Ok(code) if code.is_none() || code == ErrorCode::REBALANCE_IN_PROGRESS => {
                            self.confirmed = Some(at);
                        }
                        Ok(code) if code == ErrorCode::FENCED_INSTANCE_ID => return Ok(Next::Lost(fenced())),
                        // The rebalance may just be over: the answer under way says how.
                        _ => {}
                    }
                }
            }
        };
        let code = ErrorCode(answer.error_code);
        match code {
            ErrorCode::NONE => {}
            ErrorCode::MEMBER_ID_REQUIRED => {
                self.id = answer.member_id.to_string();
                return Ok(Next::Join);
            }
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL if !self.holds() => return Ok(Next::Foreign),
            code => return Ok(self.refused("JoinGroup", code)),
        }
        self.id = answer.member_id.to_string();
        self.generation = answer.generation_id;
        // A holder's time runs from its last confirmation: an answer to a join confirms it as well.
        if !self.holds() {
            self.confirmed = Some(sent);
        } else {
            self.confirmed = self.confirmed.max(Some(sent));
        }
        self.sync(&connection, &answer).await
    }

    /// The future borrows nothing of `self`, so that heartbeats can go on meanwhile.
    fn ask_to_join(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<JoinGroupResponse, Error>> + Send + use<> {
        let (connection, config, id, holds) = (connection.clone(), self.config.clone(), self.id.clone(), self.holds());
        async move {
            let metadata = Bytes::from_static(if holds { HOLDS } else { b"" });
            connection
                .call_within(i16::MAX, rebalance_timeout(&config) + Duration::from_secs(5), |version| {
                    let protocol = JoinGroupRequestProtocol::default()
                        .with_name(StrBytes::from_string(config.protocol.clone()))
                        .with_metadata(metadata);
                    let request = JoinGroupRequest::default()
                        .with_group_id(StrBytes::from_string(config.group_id.clone()).into())
                        .with_session_timeout_ms(millis(config.session_timeout))
                        .with_member_id(StrBytes::from_string(id))
                        .with_protocol_type(StrBytes::from_string(config.protocol_type.clone()))
                        .with_protocols(vec![protocol]);
                    let request = match version {
                        0 => request,
                        _ => request.with_rebalance_timeout_ms(millis(rebalance_timeout(&config))),
                    };
                    // Brokers before 2.3 know no static members: there the place is free after the session timeout.
                    match version {
                        ..5 => request,
                        _ => request.with_group_instance_id(Some(StrBytes::from_string(config.instance_id.clone()))),
                    }
                })
                .await
        }
    }

    /// Learns who holds the group; as its leader, decides it.
    async fn sync(&mut self, connection: &Connection, joined: &JoinGroupResponse) -> Result<Next, Error> {
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let assignments = if leads { assign(joined) } else { Vec::new() };
        let sent = Instant::now();
        let config = &self.config;
        let call = connection.call_with(i16::MAX, |version| {
            let request = SyncGroupRequest::default()
                .with_group_id(StrBytes::from_string(config.group_id.clone()).into())
                .with_generation_id(joined.generation_id)
                .with_member_id(joined.member_id.clone())
                .with_assignments(assignments);
            let request = match version {
                ..3 => request,
                _ => request.with_group_instance_id(Some(StrBytes::from_string(config.instance_id.clone()))),
            };
            match version {
                ..5 => request,
                _ => request
                    .with_protocol_type(Some(StrBytes::from_string(config.protocol_type.clone())))
                    .with_protocol_name(Some(StrBytes::from_string(config.protocol.clone()))),
            }
        });
        let answer = self.trusted(call).await?;
        if let Err(code) = ErrorCode(answer.error_code).ok() {
            return Ok(self.refused("SyncGroup", code));
        }
        self.confirmed = Some(sent);
        // A member of no instance (an old broker) is named by its id, which the assignment then holds.
        let holder = String::from_utf8_lossy(&answer.assignment).into_owned();
        if holder == self.config.instance_id || holder == self.id {
            self.tell(MemberState::Member { member_id: self.id.clone(), generation: self.generation });
        } else if self.holds() {
            return Ok(Next::Lost(format!("{holder} was given the group {}", self.config.group_id)));
        } else {
            let reason = format!("{holder} mirrors for group {} already", self.config.group_id);
            self.tell(MemberState::Waiting { holder, reason });
        }
        Ok(Next::Stay)
    }

    async fn beat(&mut self) -> Next {
        let sent = Instant::now();
        match self.trusted(self.heartbeat(Role::Group)).await {
            Err(error) => Next::Trouble(error),
            Ok(code) => match code {
                ErrorCode::NONE => {
                    self.confirmed = Some(sent);
                    Next::Stay
                }
                ErrorCode::REBALANCE_IN_PROGRESS => {
                    self.confirmed = Some(sent);
                    Next::Join
                }
                code => self.refused("Heartbeat", code),
            },
        }
    }

    async fn heartbeat(&self, role: Role) -> Result<ErrorCode, Error> {
        let connection = self.coordinator(role).await?;
        // Its own, short time: a hanging connection must not cost the membership.
        let timeout = self.config.heartbeat.max(Duration::from_millis(500));
        let answer = connection
            .call_within(i16::MAX, timeout, |version| {
                let request = HeartbeatRequest::default()
                    .with_group_id(StrBytes::from_string(self.config.group_id.clone()).into())
                    .with_generation_id(self.generation)
                    .with_member_id(StrBytes::from_string(self.id.clone()));
                match version {
                    ..3 => request,
                    _ => request.with_group_instance_id(Some(StrBytes::from_string(self.config.instance_id.clone()))),
                }
            })
            .await?;
        Ok(ErrorCode(answer.error_code))
    }

    /// What a refusal means.
    fn refused(&mut self, api: &'static str, code: ErrorCode) -> Next {
        match code {
            ErrorCode::FENCED_INSTANCE_ID => Next::Lost(fenced()),
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.id.clear();
                self.generation = -1;
                if self.holds() {
                    Next::Lost(format!("the coordinator of {} no longer knows us", self.config.group_id))
                } else {
                    Next::Join
                }
            }
            // A generation passed without us. If we still hold, the join says so.
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::REBALANCE_IN_PROGRESS => Next::Join,
            code => Next::Trouble(Error::broker(api, code, self.config.group_id.clone(), None)),
        }
    }

    /// Who holds the group with another protocol.
    async fn tell_foreign(&self) {
        let group = &self.config.group_id;
        let state = match describe_group(&self.cluster, group).await {
            Ok(found) => {
                let members: Vec<String> = found.members.iter().map(super::super::admin::GroupMember::label).collect();
                let kind = format!("{}/{}", found.protocol_type, found.protocol);
                MemberState::Waiting {
                    holder: if members.is_empty() { "another program".into() } else { members.join(", ") },
                    reason: format!("group {group} is held by {} member(s) that speak {kind}", members.len()),
                }
            }
            Err(error) => MemberState::Waiting {
                holder: "another program".into(),
                reason: format!("group {group} is held with another protocol; by whom can't be told: {}", text(&error)),
            },
        };
        self.tell(state);
    }

    async fn leave(&self) -> Result<(), Error> {
        if self.id.is_empty() {
            return Ok(());
        }
        let farewell = async {
            let connection = self.coordinator(Role::Admin).await?;
            connection
                .call_with(i16::MAX, |version| {
                    let group = StrBytes::from_string(self.config.group_id.clone()).into();
                    let id = StrBytes::from_string(self.id.clone());
                    if version < 3 {
                        return LeaveGroupRequest::default().with_group_id(group).with_member_id(id);
                    }
                    let instance = Some(StrBytes::from_string(self.config.instance_id.clone()));
                    let member = MemberIdentity::default().with_member_id(id).with_group_instance_id(instance);
                    LeaveGroupRequest::default().with_group_id(group).with_members(vec![member])
                })
                .await
        };
        let late = || Error::Timeout { api: "LeaveGroup", addr: self.cluster.name(), after: FAREWELL, source: None };
        let answer = tokio::time::timeout(FAREWELL, farewell).await.map_err(|_| late())??;
        let code = answer.members.first().map_or(answer.error_code, |m| m.error_code.max(answer.error_code));
        ErrorCode(code).ok().map_err(|code| Error::broker("LeaveGroup", code, self.config.group_id.clone(), None))
    }
}

/// The member that holds already, else the leader itself; told to everybody.
fn assign(joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let holder = joined
        .members
        .iter()
        .find(|m| m.metadata == HOLDS)
        .or_else(|| joined.members.iter().find(|m| m.member_id == joined.member_id));
    let name = holder.map(|m| m.group_instance_id.clone().unwrap_or_else(|| m.member_id.clone())).unwrap_or_default();
    let told = |m: &kafka_protocol::messages::join_group_response::JoinGroupResponseMember| {
        SyncGroupRequestAssignment::default()
            .with_member_id(m.member_id.clone())
            .with_assignment(Bytes::copy_from_slice(name.as_bytes()))
    };
    joined.members.iter().map(told).collect()
}

/// Longer than the session: who does not join again in time has lost its session before others go on without it.
fn rebalance_timeout(config: &GroupConfig) -> Duration {
    config.session_timeout * 3
}

fn fenced() -> String {
    "another process took our place under the same instance-id".into()
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;

    use super::*;

    fn member(id: &'static str, metadata: &'static [u8]) -> JoinGroupResponseMember {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_static_str(id))
            .with_group_instance_id(Some(StrBytes::from_string(format!("i-{id}"))))
            .with_metadata(Bytes::from_static(metadata))
    }

    #[test]
    fn the_leader_leaves_the_group_to_who_holds_it() {
        let joined = |b: &'static [u8]| {
            JoinGroupResponse::default()
                .with_member_id(StrBytes::from_static_str("a"))
                .with_leader(StrBytes::from_static_str("a"))
                .with_members(vec![member("a", b""), member("b", b)])
        };
        let told: Vec<_> = assign(&joined(HOLDS)).into_iter().map(|a| a.assignment).collect();
        assert_eq!(told, ["i-b", "i-b"]);
        let told: Vec<_> = assign(&joined(b"")).into_iter().map(|a| a.assignment).collect();
        assert_eq!(told, ["i-a", "i-a"]);
    }

    #[test]
    fn a_holder_gives_up_before_the_session_ends() {
        let config = GroupConfig::new("g", "i");
        assert!(config.trust() < config.session_timeout);
        assert!(rebalance_timeout(&config) > config.session_timeout);
    }
}
