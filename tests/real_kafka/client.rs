//! The Kafka client against three real brokers.

use std::time::Duration;

use bytes::Bytes;
use mirrorkeeper::kafka::admin::*;
use mirrorkeeper::kafka::*;

use crate::support::pair;

fn cluster() -> Option<Cluster> {
    Some(Cluster::new(ClusterConfig::plaintext(pair()?.target.bootstrap().split(',').map(Into::into).collect())))
}

fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

async fn until(membership: &Membership, what: &str, wanted: impl Fn(&MemberState) -> bool) -> MemberState {
    let mut state = membership.state();
    match tokio::time::timeout(Duration::from_secs(40), state.wait_for(|s| wanted(s))).await {
        Ok(found) => found.expect("the membership lives").clone(),
        Err(_) => panic!("{what}: still {:?}", *membership.state().borrow()),
    }
}

#[tokio::test]
async fn topics_configs_offsets_and_producers() {
    let Some(cluster) = cluster() else { return };
    let name = unique("admin");
    let topic = NewTopic {
        name: name.clone(),
        partitions: 2,
        replication_factor: -1,
        configs: vec![("retention.ms".into(), "1234567".into())],
    };
    let bad = NewTopic { name: "no/good".into(), ..topic.clone() };
    let results = create_topics(&cluster, &[bad, topic.clone()]).await.unwrap();
    assert_eq!(results[0].1.as_ref().unwrap_err().broker_code(), Some(ErrorCode(17)));
    results[1].1.as_ref().unwrap();
    let again = create_topics(&cluster, &[topic]).await.unwrap();
    assert_eq!(again[0].1.as_ref().unwrap_err().broker_code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));

    let grown = create_partitions(&cluster, &[(name.clone(), 3), (unique("none"), 3)]).await.unwrap();
    grown[0].1.as_ref().unwrap();
    assert_eq!(grown[1].1.as_ref().unwrap_err().broker_code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));

    let changes =
        [AlterConfig::Set("max.message.bytes".into(), "2000000".into()), AlterConfig::Delete("retention.ms".into())];
    incremental_alter_topic_configs(&cluster, &name, &changes).await.unwrap();
    let described = describe_topic_configs(&cluster, &[name.clone(), unique("none")]).await.unwrap();
    let entries = described[0].1.as_ref().unwrap();
    let entry = |key: &str| entries.iter().find(|e| e.name == key).unwrap();
    assert_eq!(entry("max.message.bytes").value.as_deref(), Some("2000000"));
    assert_eq!(entry("max.message.bytes").source, ConfigSource::DynamicTopic);
    assert!(entry("retention.ms").is_default);
    assert!(described[1].1.is_err());

    let tp = TopicPartition::new(name.as_str(), 2);
    let leader = cluster.leader(&tp).await.unwrap();
    assert!(leader.node >= 0 && leader.epoch >= 0);
    let none = TopicPartition::new(unique("none"), 0);
    let wanted =
        [(tp.clone(), OffsetSpec::Latest), (none, OffsetSpec::Earliest), (tp.clone(), OffsetSpec::MaxTimestamp)];
    let offsets = list_offsets(&cluster, &wanted[..2], Isolation::ReadUncommitted).await.unwrap();
    assert_eq!(offsets[0].1.as_ref().unwrap().offset, 0);
    assert_eq!(offsets[1].1.as_ref().unwrap_err().broker_code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let max = list_offsets(&cluster, &wanted[2..], Isolation::ReadCommitted).await.unwrap();
    assert_eq!(max[0].1.as_ref().unwrap().offset, -1);
    let epochs = offset_for_leader_epoch(&cluster, &[(tp.clone(), leader.epoch)]).await.unwrap();
    assert_eq!(epochs[0].1.as_ref().unwrap().end_offset, 0);
    assert!(describe_producers(&cluster, &[tp]).await.unwrap()[0].1.as_ref().unwrap().is_empty());

    let topics = cluster.topics(Some(&[name.clone(), unique("none")])).await.unwrap();
    assert_eq!(topics.iter().map(|t| t.partitions.len()).collect::<Vec<_>>(), [3, 0]);
    assert!(!topics[0].id.is_nil() && topics[1].error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(cluster.topics(None).await.unwrap().iter().any(|t| t.name == name));
    assert!(!cluster.id().await.unwrap().is_empty());

    let id = unique("tx");
    let first = init_producer_id(&cluster, Some(&id), Duration::from_secs(60)).await.unwrap();
    let second = init_producer_id(&cluster, Some(&id), Duration::from_secs(60)).await.unwrap();
    assert_eq!((first.id, first.epoch + 1), (second.id, second.epoch));
}

#[tokio::test]
async fn a_keyed_log_gives_back_what_was_appended() {
    let Some(cluster) = cluster() else { return };
    let topic = unique("log");
    let spec = LogSpec { topic: topic.clone(), partitions: 5, replication_factor: -1, configs: Vec::new() };
    let mut log = KeyedLog::open(&cluster, spec.clone()).await.unwrap();
    assert!(log.read_to_end().await.unwrap().is_empty());
    let record = |i: u32| NewRecord {
        key: Bytes::from(format!("key-{}", i % 50)),
        value: (!i.is_multiple_of(7)).then(|| Bytes::from(format!("value-{i}"))),
        headers: vec![(Bytes::from_static(b"mk-\xff"), None), (Bytes::from_static(b"mk-\xff"), Some(Bytes::new()))],
    };
    for chunk in 0..4 {
        log.append((chunk * 100..chunk * 100 + 100).map(record).collect()).await.unwrap();
    }
    let read = log.read_to_end().await.unwrap();
    assert_eq!(read.len(), 400);
    assert!(read.iter().all(|r| r.headers.len() == 2 && r.headers[0].0 == b"mk-\xff"[..]));
    for key in 0..50 {
        let key = format!("key-{key}");
        let values: Vec<_> = read.iter().filter(|r| r.key.as_deref() == Some(key.as_bytes())).collect();
        assert_eq!(values.len(), 8);
        assert!(values.windows(2).all(|w| w[0].offset < w[1].offset && w[0].partition == w[1].partition));
    }
    assert!(log.read_to_end().await.unwrap().is_empty());
    // Another reader sees the same; large records are cut into batches.
    log.append(vec![NewRecord {
        key: Bytes::from_static(b"big"),
        value: Some(vec![7; 900_000].into()),
        headers: vec![],
    }])
    .await
    .unwrap();
    let mut other = KeyedLog::open(&cluster, spec.clone()).await.unwrap();
    assert_eq!(other.read_to_end().await.unwrap().len(), 401);
    // A topic that is not compacted is refused.
    let plain = unique("plain");
    let new = NewTopic { name: plain.clone(), partitions: 1, replication_factor: -1, configs: vec![] };
    create_topics(&cluster, &[new]).await.unwrap()[0].1.as_ref().unwrap();
    let refused = KeyedLog::open(&cluster, LogSpec { topic: plain, ..spec }).await.unwrap_err();
    assert!(matches!(refused, Error::NotCompacted { .. }), "{refused}");
}

#[tokio::test]
async fn one_holder_at_a_time() {
    let Some(cluster) = cluster() else { return };
    let group = unique("group");
    let join = |instance: &str| {
        let config = GroupConfig {
            session_timeout: Duration::from_secs(6),
            heartbeat: Duration::from_millis(500),
            ..GroupConfig::new(group.clone(), instance)
        };
        // A cluster each: they are processes.
        Membership::join(Cluster::new(cluster.config().clone()), config)
    };
    let first = join("one");
    until(&first, "first", MemberState::holds).await;
    let second = join("two");
    let waiting = until(&second, "second", |s| matches!(s, MemberState::Waiting { .. })).await;
    assert!(matches!(&waiting, MemberState::Waiting { holder, .. } if holder == "one"), "{waiting:?}");
    assert!(first.state().borrow().holds());

    // A process that comes back takes its own place at once, and fences its former self.
    let begun = std::time::Instant::now();
    let again = join("one");
    until(&again, "again", MemberState::holds).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let lost = until(&first, "fenced", |s| matches!(s, MemberState::Lost { .. })).await;
    assert!(matches!(&lost, MemberState::Lost { reason } if reason.contains("instance")), "{lost:?}");
    assert!(!second.state().borrow().holds());

    // Another protocol is kept out, and told who holds.
    let foreign = GroupConfig { protocol: "sessioned".into(), ..GroupConfig::new(group.clone(), "java") };
    let foreign = Membership::join(cluster.clone(), foreign);
    let waiting = until(&foreign, "foreign", |s| matches!(s, MemberState::Waiting { .. })).await;
    assert!(
        matches!(&waiting, MemberState::Waiting { holder, reason } if holder.contains("one") && reason.contains("mirrorkeeper")),
        "{waiting:?}"
    );
    drop(foreign);

    // Who leaves hands over; who dies is replaced after the session timeout.
    again.leave().await.unwrap();
    until(&second, "second after one left", MemberState::holds).await;
    let third = join("three");
    until(&third, "third", |s| matches!(s, MemberState::Waiting { .. })).await;
    drop(second);
    until(&third, "third after two died", MemberState::holds).await;
}
