//! Consumer groups by librdkafka, group membership by hand.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;

use super::raw::Raw;
use super::{client, cluster, producer};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Whether the coordinator is still getting ready (14, 15, 16).
pub(super) fn loading(raw: &mut Raw, group: &str) -> bool {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
    matches!(raw.call(&request, 2).results[0].error_code, 14..=16)
}

/// What a group is asked in the test against Apache Kafka, and what it answers.
pub(super) fn interrogate(raw: &mut Raw, group: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut note = |what: &str, answer: String| told.push((format!("group {what}"), answer));
    let id = || GroupId(text(group));
    let join = |raw: &mut Raw, member: &str, instance: Option<&str>, kind: &str, protocol: &str| {
        let request =
            join_request(member, instance, kind, protocol).with_group_id(id()).with_session_timeout_ms(20_000);
        raw.call(&request, 7)
    };
    let sync = |raw: &mut Raw, member: &StrBytes, generation: i32| {
        let given = SyncGroupRequestAssignment::default().with_member_id(member.clone());
        let given = vec![given.with_assignment(Bytes::from_static(b"a"))];
        let request = SyncGroupRequest::default().with_group_id(id()).with_assignments(given);
        let answer = raw.call(&request.with_generation_id(generation).with_member_id(member.clone()), 4);
        format!("{:?}", (answer.error_code, answer.assignment))
    };
    let beat = |raw: &mut Raw, member: &StrBytes, generation: i32, instance: Option<&str>| {
        let request = HeartbeatRequest::default().with_group_id(id()).with_generation_id(generation);
        let request = request.with_member_id(member.clone()).with_group_instance_id(instance.map(text));
        raw.call(&request, 4).error_code.to_string()
    };
    let state = |raw: &mut Raw| {
        let answer = raw.call(&DescribeGroupsRequest::default().with_groups(vec![id()]), 5);
        let group = &answer.groups[0];
        format!(
            "{:?}",
            (group.error_code, &group.group_state, &group.protocol_type, &group.protocol_data, group.members.len())
        )
    };
    let delete = |raw: &mut Raw| {
        let answer = raw.call(&DeleteGroupsRequest::default().with_groups_names(vec![id()]), 2);
        answer.results[0].error_code.to_string()
    };
    note("unknown", state(raw));
    note("delete unknown", delete(raw));
    note("beat unknown", beat(raw, &text("m"), 1, None));
    note("sync unknown", sync(raw, &text("m"), 1));
    note("join with a wrong id", join(raw, "m", None, "connect", "p").error_code.to_string());
    let first = join(raw, "", Some("host"), "connect", "p");
    let told_of = |joined: &JoinGroupResponse| {
        let leads = joined.leader == joined.member_id;
        format!("{:?}", (joined.error_code, joined.generation_id, &joined.protocol_name, leads, joined.members.len()))
    };
    note("join", told_of(&first));
    note("beat before sync", beat(raw, &first.member_id, 1, Some("host")));
    note("sync of another generation", sync(raw, &first.member_id, 2));
    note("sync", sync(raw, &first.member_id, 1));
    note("synced", state(raw));
    note("sync again", sync(raw, &first.member_id, 1));
    note("beat", beat(raw, &first.member_id, 1, Some("host")));
    note("beat of another generation", beat(raw, &first.member_id, 0, Some("host")));
    note("beat of a stranger", beat(raw, &text("m"), 1, None));
    note("beat of an unknown instance", beat(raw, &first.member_id, 1, Some("other")));
    for (kind, protocol) in [("connect", "q"), ("consumer", "p"), ("consumer", "range")] {
        note("alien", join(raw, "", None, kind, protocol).error_code.to_string());
    }
    note("new member", join(raw, "", None, "connect", "p").error_code.to_string());
    note("delete", delete(raw));
    let back = join(raw, "", Some("host"), "connect", "p");
    note("comes back", told_of(&back));
    note("former self", beat(raw, &first.member_id, 1, Some("host")));
    note("present self", beat(raw, &back.member_id, 1, Some("host")));
    note("sync of who came back", sync(raw, &back.member_id, 1));
    let changed = join(raw, &back.member_id, Some("host"), "connect", "r");
    note("changes its protocol", told_of(&changed));
    let leaving = MemberIdentity::default().with_group_instance_id(Some(text("host")));
    let stranger = MemberIdentity::default().with_member_id(text("m"));
    let leave = LeaveGroupRequest::default().with_group_id(id()).with_members(vec![leaving, stranger]);
    let answer = raw.call(&leave, 4);
    let codes: Vec<i16> = answer.members.iter().map(|member| member.error_code).collect();
    note("leave", format!("{:?}", (answer.error_code, codes)));
    told
}

fn join_request(member: &str, instance: Option<&str>, kind: &str, protocol: &str) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text(protocol)).with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(2000)
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text(kind))
        .with_protocols(vec![protocol])
}

fn join(raw: &mut Raw, member: &str, instance: Option<&str>) -> JoinGroupResponse {
    raw.call(&join_request(member, instance, "connect", "mirrorkeeper"), 7)
}

fn sync(raw: &mut Raw, joined: &JoinGroupResponse) -> i16 {
    let given = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone());
    let given = vec![given.with_assignment(Bytes::from_static(b"a"))];
    let request = SyncGroupRequest::default().with_group_id(GroupId(text("g"))).with_assignments(given);
    let request = request.with_generation_id(joined.generation_id).with_member_id(joined.member_id.clone());
    raw.call(&request, 4).error_code
}

fn beat(raw: &mut Raw, joined: &JoinGroupResponse, instance: Option<&str>) -> i16 {
    let request =
        HeartbeatRequest::default().with_group_id(GroupId(text("g"))).with_generation_id(joined.generation_id);
    raw.call(&request.with_member_id(joined.member_id.clone()).with_group_instance_id(instance.map(text)), 4).error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_a_topic_and_positions_stay() {
    let cluster = cluster(3).await;
    cluster.create_topic("t", 4, &[]).unwrap();
    let producer = producer(&cluster, &[]);
    for at in 0..200 {
        let key = format!("{at}");
        producer.send(FutureRecord::to("t").key(&key).payload("v"), Duration::from_secs(5)).await.unwrap();
    }
    let settings = [("group.id", "g"), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    let members: Vec<BaseConsumer> = (0..2).map(|_| client(&cluster, &settings).create().unwrap()).collect();
    let read = crate::supervise::blocking("members", Duration::from_secs(40), move || {
        for member in &members {
            member.subscribe(&["t"]).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut seen = std::collections::BTreeSet::new();
        let shared = || members.iter().all(|member| member.assignment().unwrap().count() == 2);
        // whoever got a partition later reads it from the start again: positions tell when all are through
        let through = || {
            let positions = members.iter().map(|member| member.position().unwrap());
            let all = positions.flat_map(|list| {
                list.elements().iter().filter_map(|entry| entry.offset().to_raw()).collect::<Vec<_>>()
            });
            all.filter(|offset| *offset > 0).sum::<i64>() == 200
        };
        while !(shared() && through()) && Instant::now() < deadline {
            for member in &members {
                if let Some(Ok(message)) = member.poll(Duration::from_millis(20)) {
                    seen.insert((message.partition(), message.offset()));
                }
            }
        }
        assert!(shared(), "each has two partitions");
        for member in &members {
            let _none_read_since = member.commit_consumer_state(CommitMode::Sync);
        }
        seen.len()
    });
    assert_eq!(read.await.unwrap(), 200);
    let total: i64 = (0..4).filter_map(|partition| cluster.committed("g", "t", partition)).sum();
    assert_eq!(total, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_member_is_refused() {
    let cluster = cluster(1).await;
    let mut raw = Raw::connect(&cluster, 0);
    let given = join(&mut raw, "", None);
    assert_eq!(given.error_code, 79, "come again with this id");
    let joined = join(&mut raw, &given.member_id, None);
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (0, 1, &joined.member_id));
    assert_eq!(sync(&mut raw, &joined), 0);
    assert_eq!(beat(&mut raw, &joined, None), 0);
    for (kind, protocol) in [("connect", "sessioned"), ("consumer", "range"), ("consumer", "mirrorkeeper")] {
        let mut other = Raw::connect(&cluster, 0);
        assert_eq!(other.call(&join_request("", None, kind, protocol), 7).error_code, 23, "{kind} {protocol}");
    }
    let leave = LeaveGroupRequest::default().with_group_id(GroupId(text("g"))).with_member_id(joined.member_id.clone());
    assert_eq!(raw.call(&leave, 2).error_code, 0);
    assert_eq!(raw.call(&join_request("", None, "consumer", "range"), 7).error_code, 79, "the place is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_takes_its_own_place_and_fences_its_former_self() {
    let cluster = cluster(1).await;
    let mut raw = Raw::connect(&cluster, 0);
    let former = join(&mut raw, "", Some("host"));
    assert_eq!((former.error_code, sync(&mut raw, &former)), (0, 0));
    let mut back = Raw::connect(&cluster, 0);
    let present = join(&mut back, "", Some("host"));
    assert_eq!((present.error_code, present.generation_id), (0, former.generation_id), "no rebalance");
    assert_ne!(present.member_id, former.member_id);
    assert_eq!(beat(&mut raw, &former, Some("host")), 82);
    assert_eq!(beat(&mut back, &present, Some("host")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_member_loses_its_place_to_the_one_who_waits() {
    let cluster = cluster(1).await;
    let mut raw = Raw::connect(&cluster, 0);
    let brief = join_request("", Some("one"), "connect", "mirrorkeeper").with_session_timeout_ms(300);
    let first = raw.call(&brief, 7);
    let synced = Instant::now();
    assert_eq!(sync(&mut raw, &first), 0);
    let mut other = Raw::connect(&cluster, 0);
    let second = join(&mut other, "", Some("two"));
    assert!(synced.elapsed() >= Duration::from_millis(250), "not before the session ran out");
    assert_eq!((second.error_code, second.generation_id, second.members.len()), (0, 2, 1));
    assert_eq!(beat(&mut raw, &first, Some("one")), 25);
}
