//! Replication on the development broker, through the embedded engine, with another client writing and reading.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mirrorkeeper::devbroker::{Cut, DevCluster, DevConfig, Target};
use mirrorkeeper::engine::embedded::{Embedded, Ownership, Settings};
use mirrorkeeper::engine::{ClusterIds, Engine, FlowReport, Health, PartitionReport, RestartScope};
use mirrorkeeper::kafka::batch::split;
use mirrorkeeper::kafka::log::LogSpec;
use mirrorkeeper::kafka::records::{Record, decode};
use mirrorkeeper::kafka::{Cluster, ClusterConfig};
use mirrorkeeper::spec::{Config, Name, TargetState};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::net::TcpStream;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const HEARTBEAT: i16 = 12;
const PATIENCE: Duration = Duration::from_secs(30);

fn log(topic: &str, partitions: i32) -> LogSpec {
    LogSpec { topic: topic.into(), partitions, replication_factor: -1, configs: vec![] }
}

fn settings(instance: &str) -> Settings {
    Settings {
        group: "keeper".into(),
        instance_id: instance.into(),
        offsets: log("mk-offsets", 3),
        configs: log("mk-configs", 1),
        memory: 16 << 20,
        stall_after: Duration::from_secs(60),
        grace: Duration::from_secs(10),
        producer: Config::default(),
        omit_secrets: false,
    }
}

/// Two clusters and what copies between them.
struct World {
    source: DevCluster,
    target: DevCluster,
}

impl World {
    async fn new() -> Self {
        let config = |id: &str| DevConfig {
            brokers: 2,
            cluster_id: id.into(),
            auto_create_topics: false,
            ..DevConfig::default()
        };
        let source = DevCluster::start(config("source")).await.unwrap();
        let target = DevCluster::start(config("target")).await.unwrap();
        Self { source, target }
    }

    async fn engine(&self, settings: Settings) -> Embedded {
        let engine = self.joining(settings);
        held(&engine).await;
        engine
    }

    fn joining(&self, settings: Settings) -> Embedded {
        let bootstrap = self.target.bootstrap().split(',').map(Into::into).collect();
        Embedded::start(Cluster::new(ClusterConfig { bootstrap, ..ClusterConfig::default() }), settings)
    }

    fn config(&self, topics: &str, more: &[(&str, &str)]) -> Config {
        let mut config = Config::from([
            ("connector.class", "org.apache.kafka.connect.mirror.MirrorSourceConnector"),
            ("source.cluster.alias", "a"),
            ("target.cluster.alias", "b"),
            ("topics", topics),
            ("replication.factor", "1"),
            ("refresh.topics.interval.seconds", "1"),
            ("source.cluster.bootstrap.servers", self.source.bootstrap().as_str()),
        ]);
        for (key, value) in more {
            config.insert(*key, *value);
        }
        config
    }

    async fn run(&self, topics: &str, more: &[(&str, &str)]) -> Embedded {
        let engine = self.engine(settings("one")).await;
        start(&engine, "c", &self.config(topics, more)).await;
        engine
    }

    /// Every data record of the source's topic is the remote topic's, once and in order.
    fn same(&self, topic: &str, remote: &str, partitions: i32) -> Result<(), String> {
        for partition in 0..partitions {
            let (from, to) = (records(&self.source, topic, partition), records(&self.target, remote, partition));
            if from.len() != to.len() {
                return Err(format!("{topic}-{partition}: {} of {} records", to.len(), from.len()));
            }
            if let Some(at) = (0..from.len()).find(|at| from[*at] != to[*at]) {
                return Err(format!("{topic}-{partition}: record {at} differs: {:?} {:?}", from[at], to[at]));
            }
        }
        Ok(())
    }

    async fn copied(&self, topic: &str, partitions: i32) {
        let remote = format!("a.{topic}");
        until(|| async { self.same(topic, &remote, partitions) }).await;
    }
}

async fn held(engine: &Embedded) {
    let mut ownership = engine.ownership();
    let held = ownership.wait_for(|o| *o == Ownership::Held);
    tokio::time::timeout(PATIENCE, held).await.expect("the group is held in time").unwrap();
}

async fn start(engine: &Embedded, name: &str, config: &Config) {
    let name: Name = name.parse().unwrap();
    until(|| async { engine.put(&name, config).await.map_err(|e| e.to_string()) }).await;
    engine.adopt(&name, &ClusterIds::default()).await.unwrap();
}

async fn report(engine: &Embedded, name: &str) -> Result<FlowReport, String> {
    let live = engine.observe().await.map_err(|e| e.to_string())?;
    let name: Name = name.parse().unwrap();
    live.connectors.get(&name).and_then(|c| c.flow.clone()).ok_or_else(|| "no report".into())
}

async fn partition(engine: &Embedded, name: &str, topic: &str, index: i32) -> Result<PartitionReport, String> {
    let report = report(engine, name).await?;
    let found = report.partitions.iter().find(|p| p.topic == topic && p.partition == index).cloned();
    found.ok_or_else(|| format!("{topic}-{index} is not there: {:?}", report.problems))
}

async fn state(engine: &Embedded, topic: &str, index: i32, wanted: &str) -> PartitionReport {
    until(|| async {
        let found = partition(engine, "c", topic, index).await?;
        if found.state == wanted { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

async fn until<T, F: Future<Output = Result<T, String>>>(mut probe: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(why) => assert!(start.elapsed() < PATIENCE, "in vain: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn records(cluster: &DevCluster, topic: &str, partition: i32) -> Vec<Record> {
    let mut found = Vec::new();
    for stored in cluster.batches(topic, partition) {
        for batch in split(&stored.bytes) {
            let batch = batch.unwrap();
            if !batch.header().is_control() {
                found.extend(decode(&batch, 1 << 28).unwrap().into_iter().map(|r| Record { offset_delta: 0, ..r }));
            }
        }
    }
    found
}

fn producer(cluster: &DevCluster, more: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap()).set("linger.ms", "5").set("enable.idempotence", "true");
    for (key, value) in more {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// Writes numbered records, keys, nulls and headers among them; on a thread, as this client blocks.
async fn write(cluster: &DevCluster, topic: &str, partitions: i32, numbers: std::ops::Range<usize>, codec: &str) {
    let producer = producer(cluster, &[("compression.type", codec)]);
    let topic = topic.to_owned();
    let writing = move || {
        for n in numbers {
            let (key, value) = (format!("k{}", n % 50), format!("value {n} {}", "x".repeat(n % 300)));
            let headers = OwnedHeaders::new()
                .insert(Header { key: "h", value: Some("1") })
                .insert(Header { key: "h", value: None::<&str> });
            let mut record = BaseRecord::to(&topic).partition(n as i32 % partitions).key(&key).headers(headers);
            if !n.is_multiple_of(17) {
                record = record.payload(&value);
            }
            while let Err((_, back)) = producer.send(record) {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(PATIENCE).unwrap();
    };
    #[expect(clippy::disallowed_methods, reason = "a test may block a thread of its own")]
    tokio::task::spawn_blocking(writing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_codecs_arrive_equal_and_in_order() {
    let world = World::new().await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        world.source.create_topic(codec, 3, &[]).unwrap();
        write(&world.source, codec, 3, 0..2_000, codec).await;
    }
    let engine = world.run("none,gzip,snappy,lz4,zstd", &[]).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        world.copied(codec, 3).await;
    }
    let report = until(|| async {
        let report = report(&engine, "c").await?;
        if report.lag_records == Some(0) { Ok(report) } else { Err(format!("{:?}", report.lag_records)) }
    })
    .await;
    assert_eq!((report.health, report.records_total), (Health::Healthy, 10_000), "{:?}", report.problems);
    assert_eq!(engine.shut_down().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_overtakes_the_first_batch_of_an_identity() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    // The remote topic is there first, so that the refusal meets the first batch.
    world.target.create_topic("a.t", 1, &[]).unwrap();
    for code in [6, 10, 19] {
        world.target.faults().fail(PRODUCE, Target::Partition("a.t".into(), 0), code, 1);
    }
    let one_by_one = producer(&world.source, &[("batch.num.messages", "100")]);
    drop(one_by_one);
    write(&world.source, "t", 1, 0..5_000, "none").await;
    let _engine = world.run("t", &[]).await;
    world.copied("t", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_move_and_connections_break_without_a_trace() {
    let world = World::new().await;
    world.source.create_topic("t", 4, &[]).unwrap();
    let _engine = world.run("t", &[]).await;
    let disturb = async {
        for round in 0..12 {
            for partition in 0..4 {
                let broker = 1 + (round + partition) % 2;
                let _ = world.source.faults().move_leader("t", partition, broker);
                let _ = world.target.faults().move_leader("a.t", partition, 3 - broker);
            }
            world.target.faults().cut(PRODUCE, if round % 2 == 0 { Cut::After } else { Cut::Before }, 2);
            world.source.faults().cut(FETCH, Cut::After, 1);
            world.target.faults().fail(PRODUCE, Target::Any, [6, 7, 19, 20][round as usize % 4], 2);
            if round % 5 == 4 {
                world.target.faults().cut_connections(None);
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    tokio::join!(disturb, write(&world.source, "t", 4, 0..30_000, "lz4"));
    world.target.faults().clear();
    world.source.faults().clear();
    world.copied("t", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_under_load_repeats_and_loses_nothing() {
    let world = World::new().await;
    world.source.create_topic("t", 4, &[]).unwrap();
    let config = world.config("t", &[]);
    let dying = async {
        for life in 0..5 {
            let engine = world.engine(settings("one")).await;
            start(&engine, "c", &config).await;
            let before: usize = (0..4).map(|p| records(&world.target, "a.t", p).len()).sum();
            until(|| async {
                let now: usize = (0..4).map(|p| records(&world.target, "a.t", p).len()).sum();
                if now > before + 500 || now >= 40_000 {
                    Ok(())
                } else {
                    Err(format!("{now} after {before} in {life}"))
                }
            })
            .await;
            world.target.faults().cut(PRODUCE, Cut::After, 1);
            if life == 3 {
                for partition in 0..4 {
                    let _ = world.target.faults().forget_producers("a.t", partition);
                }
            }
            // Dropped, not shut down: that is how a process dies.
            drop(engine);
        }
        let engine = world.engine(settings("one")).await;
        start(&engine, "c", &config).await;
        engine
    };
    let (_engine, ()) = tokio::join!(dying, write(&world.source, "t", 4, 0..40_000, "lz4"));
    world.copied("t", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_partition_stands_still_by_name_and_the_others_go_on() {
    let world = World::new().await;
    world.source.create_topic("t", 2, &[]).unwrap();
    world.target.create_topic("a.t", 2, &[("max.message.bytes", "2000")]).unwrap();
    let producer = producer(&world.source, &[]);
    producer.send(BaseRecord::<str, str>::to("t").partition(0).key("k").payload("small")).unwrap();
    producer.flush(PATIENCE).unwrap();
    let engine = world.run("t", &[("sync.topic.configs.enabled", "false")]).await;
    world.copied("t", 2).await;
    producer.send(BaseRecord::<str, str>::to("t").partition(0).key("k").payload(&"y".repeat(5_000))).unwrap();
    producer.flush(PATIENCE).unwrap();
    let stopped = state(&engine, "t", 0, "record-too-large").await;
    assert_eq!(stopped.position, Some(1));
    producer.send(BaseRecord::<str, str>::to("t").partition(1).key("k").payload("other")).unwrap();
    producer.flush(PATIENCE).unwrap();
    until(|| async { if records(&world.target, "a.t", 1).len() == 1 { Ok(()) } else { Err("not yet".into()) } }).await;
    assert_eq!(report(&engine, "c").await.unwrap().health, Health::Degraded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_is_passed_over_counted_and_not_read_for_ever() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[("segment.bytes", "1000")]).unwrap();
    write(&world.source, "t", 1, 0..10, "none").await;
    let engine = world.run("t", &[]).await;
    world.copied("t", 1).await;
    let name: Name = "c".parse().unwrap();
    engine.set_state(&name, TargetState::Stopped).await.unwrap();
    until(|| async {
        let stopped = report(&engine, "c").await?;
        if stopped.partitions.is_empty() { Ok(()) } else { Err("still there".into()) }
    })
    .await;
    write(&world.source, "t", 1, 10..30, "none").await;
    delete_records(&world.source, "t", 25).await;
    engine.set_state(&name, TargetState::Running).await.unwrap();
    until(|| async {
        let copied = records(&world.target, "a.t", 0).len();
        if copied >= 15 { Ok(()) } else { Err(format!("{copied} {:?}", report(&engine, "c").await)) }
    })
    .await;
    let report = report(&engine, "c").await.unwrap();
    assert_eq!(report.lost_records, 15, "{report:?}");
    assert_eq!(records(&world.target, "a.t", 0).len(), 15);
}

async fn delete_records(cluster: &DevCluster, topic: &str, before: i64) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(before)).unwrap();
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_source_is_named_or_followed_as_told() {
    for (policy, follows) in [("fail", false), ("continue", true)] {
        let world = World::new().await;
        world.source.create_topic("t", 1, &[]).unwrap();
        write(&world.source, "t", 1, 0..100, "none").await;
        let engine =
            world.run("t", &[("mirrorkeeper.on.recreated", policy), ("mirrorkeeper.on.truncated", policy)]).await;
        world.copied("t", 1).await;
        world.source.delete_topic("t").unwrap();
        world.source.create_topic("t", 1, &[]).unwrap();
        write(&world.source, "t", 1, 1_000..1_050, "none").await;
        if follows {
            until(|| async {
                let copied = records(&world.target, "a.t", 0).len();
                if copied == 150 {
                    Ok(())
                } else {
                    Err(format!("{copied} {:?}", partition(&engine, "c", "t", 0).await))
                }
            })
            .await;
        } else {
            until(|| async {
                let found = partition(&engine, "c", "t", 0).await?;
                let named = ["source-recreated", "source-truncated"].contains(&found.state.as_str());
                if named { Ok(()) } else { Err(format!("{found:?}")) }
            })
            .await;
            assert_eq!(records(&world.target, "a.t", 0).len(), 100);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_target_is_named() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    write(&world.source, "t", 1, 0..100, "none").await;
    let engine = world.run("t", &[]).await;
    world.copied("t", 1).await;
    world.target.delete_topic("a.t").unwrap();
    world.target.create_topic("a.t", 1, &[]).unwrap();
    write(&world.source, "t", 1, 100..110, "none").await;
    until(|| async {
        let found = partition(&engine, "c", "t", 0).await?;
        let named = ["target-recreated", "target-truncated"].contains(&found.state.as_str());
        if named { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connectors_copy_one_topic_each_to_its_own() {
    let world = World::new().await;
    world.source.create_topic("t1", 2, &[]).unwrap();
    let engine = world.engine(settings("one")).await;
    start(&engine, "c", &world.config("t.*", &[])).await;
    start(&engine, "d", &world.config("t.*", &[("source.cluster.alias", "z")])).await;
    write(&world.source, "t1", 2, 0..1_000, "none").await;
    world.copied("t1", 2).await;
    // Found later, when both flows have their lanes already.
    world.source.create_topic("t2", 2, &[]).unwrap();
    write(&world.source, "t2", 2, 0..1_000, "none").await;
    write(&world.source, "t1", 2, 1_000..2_000, "none").await;
    for topic in ["t1", "t2"] {
        world.copied(topic, 2).await;
        until(|| async { world.same(topic, &format!("z.{topic}"), 2) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_waits_and_takes_over() {
    let world = World::new().await;
    world.source.create_topic("t", 2, &[]).unwrap();
    let first = world.run("t", &[]).await;
    write(&world.source, "t", 2, 0..1_000, "none").await;
    let second = world.joining(settings("two"));
    let mut waiting = second.ownership();
    let waits = waiting.wait_for(|o| matches!(o, Ownership::Waiting(_)));
    tokio::time::timeout(PATIENCE, waits).await.expect("says so").unwrap();
    world.copied("t", 2).await;
    assert_eq!(first.shut_down().await, Vec::<String>::new());
    held(&second).await;
    until(|| async { second.adopt(&"c".parse().unwrap(), &ClusterIds::default()).await.map_err(|e| e.to_string()) })
        .await;
    write(&world.source, "t", 2, 1_000..2_000, "none").await;
    world.copied("t", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_target_is_stalled_and_recovers() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let engine = world.engine(Settings { stall_after: Duration::from_millis(500), ..settings("one") }).await;
    start(&engine, "c", &world.config("t", &[])).await;
    write(&world.source, "t", 1, 0..10, "none").await;
    world.copied("t", 1).await;
    world.target.faults().fail(PRODUCE, Target::Named("a.t".into()), 19, 100_000);
    write(&world.source, "t", 1, 10..20, "none").await;
    until(|| async {
        let report = report(&engine, "c").await?;
        if report.health == Health::Stalled { Ok(()) } else { Err(format!("{:?}", report.health)) }
    })
    .await;
    world.target.faults().clear();
    world.copied("t", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn little_memory_and_a_busy_neighbour_leave_a_retry_its_turn() {
    let world = World::new().await;
    world.source.create_topic("busy", 4, &[]).unwrap();
    world.source.create_topic("late", 1, &[]).unwrap();
    let engine = world.engine(Settings { memory: 4 << 20, ..settings("one") }).await;
    start(&engine, "c", &world.config("busy,late", &[])).await;
    write(&world.source, "late", 1, 0..10, "none").await;
    world.copied("late", 1).await;
    world.target.faults().fail(PRODUCE, Target::Partition("a.late".into(), 0), 19, 3);
    tokio::join!(write(&world.source, "late", 1, 10..20, "none"), write(&world.source, "busy", 4, 0..40_000, "none"));
    world.copied("late", 1).await;
    world.copied("busy", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_reading_leaves_aborted_data_behind() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let transactional = producer(&world.source, &[("transactional.id", "x")]);
    let writing = move || {
        transactional.init_transactions(PATIENCE).unwrap();
        for round in 0..10 {
            transactional.begin_transaction().unwrap();
            for n in 0..20 {
                let value = format!("{} {round} {n}", if round % 3 == 0 { "aborted" } else { "committed" });
                transactional.send(BaseRecord::<str, str>::to("t").partition(0).payload(&value)).unwrap();
            }
            transactional.flush(PATIENCE).unwrap();
            if round % 3 == 0 {
                transactional.abort_transaction(PATIENCE).unwrap();
            } else {
                transactional.commit_transaction(PATIENCE).unwrap();
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "a test may block a thread of its own")]
    tokio::task::spawn_blocking(writing).await.unwrap();
    let engine = world.run("t", &[("consumer.isolation.level", "read_committed")]).await;
    until(|| async {
        let lag = report(&engine, "c").await?.lag_records;
        if lag == Some(0) { Ok(()) } else { Err(format!("{lag:?}")) }
    })
    .await;
    let copied = records(&world.target, "a.t", 0);
    assert_eq!(copied.len(), 120);
    assert!(copied.iter().all(|r| r.value.as_ref().unwrap().starts_with(b"committed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_topics_are_merged_without_taking_one_for_a_repeat_of_the_other() {
    let world = World::new().await;
    for topic in ["m1", "m2"] {
        world.source.create_topic(topic, 1, &[]).unwrap();
        write(&world.source, topic, 1, 0..500, "none").await;
    }
    let policy = [
        ("replication.policy.class", "com.amazonaws.kafka.samples.CustomMM2ReplicationPolicy"),
        ("mirrorkeeper.replication.policy", "alias"),
        ("mirrorkeeper.merge", "true"),
    ];
    let _engine = world.run("m1,m2", &policy).await;
    until(|| async {
        let copied = records(&world.target, "a", 0).len();
        if copied == 1_000 { Ok(()) } else { Err(format!("{copied}")) }
    })
    .await;
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for value in records(&world.target, "a", 0).into_iter().filter_map(|r| r.value) {
        *counts.entry(value.to_vec()).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_destination_is_refused() {
    let world = World::new().await;
    let other = DevCluster::start(DevConfig { cluster_id: "other".into(), ..DevConfig::default() }).await.unwrap();
    world.source.create_topic("t", 1, &[]).unwrap();
    let engine = world.run("t", &[("target.cluster.bootstrap.servers", other.bootstrap().as_str())]).await;
    until(|| async {
        let report = report(&engine, "c").await?;
        let named = report.problems.iter().any(|p| p.code == "wrong-destination");
        if named && report.health == Health::Failed { Ok(()) } else { Err(format!("{:?}", report.problems)) }
    })
    .await;
}

/// An address that leads to one cluster or another.
struct Door {
    address: String,
    leads_to: Arc<AtomicU16>,
    _open: tokio::task::JoinSet<()>,
}

impl Door {
    async fn to(cluster: &DevCluster) -> Self {
        let leads_to = Arc::new(AtomicU16::new(port(cluster)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut open = tokio::task::JoinSet::new();
        let to = leads_to.clone();
        open.spawn(async move {
            let mut through = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst))).await {
                    through.spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
                }
            }
        });
        Self { address, leads_to, _open: open }
    }

    fn lead_to(&self, cluster: &DevCluster) {
        self.leads_to.store(port(cluster), Ordering::SeqCst);
    }
}

fn port(cluster: &DevCluster) -> u16 {
    cluster.bootstrap().split(',').next().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

fn expecting(source: &str) -> ClusterIds {
    ClusterIds { source: Some(source.into()), target: Some("target".into()) }
}

async fn stopped_by_another_source(engine: &Embedded) {
    until(|| async {
        let report = report(engine, "c").await?;
        let named = report
            .problems
            .iter()
            .any(|p| p.code == "SRC-ID" && p.message.contains("was source and is other now") && p.hint.is_some());
        let shown = report.source_cluster_id.as_deref() == Some("other");
        if named && shown && report.health == Health::Failed { Ok(()) } else { Err(format!("{report:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_source_under_the_same_address_stops_its_flow_until_it_is_accepted() {
    let mut world = World::new().await;
    let other = DevCluster::start(DevConfig {
        brokers: 2,
        cluster_id: "other".into(),
        auto_create_topics: false,
        ..DevConfig::default()
    })
    .await
    .unwrap();
    for cluster in [&world.source, &other] {
        cluster.create_topic("t", 1, &[]).unwrap();
    }
    write(&world.source, "t", 1, 0..100, "none").await;
    write(&other, "t", 1, 500..800, "none").await;
    let door = Door::to(&world.source).await;
    let config = world.config(
        "t",
        &[("source.cluster.bootstrap.servers", door.address.as_str()), ("mirrorkeeper.on.recreated", "continue")],
    );
    let engine = world.engine(settings("one")).await;
    start(&engine, "c", &config).await;
    world.copied("t", 1).await;
    let address = other.bootstrap();
    let beside = [("source.cluster.alias", "z"), ("source.cluster.bootstrap.servers", address.as_str())];
    start(&engine, "d", &world.config("t", &beside)).await;

    // While it runs, and without having been told what to expect.
    door.lead_to(&other);
    drop(std::mem::replace(&mut world.source, other));
    stopped_by_another_source(&engine).await;
    write(&world.source, "t", 1, 800..900, "none").await;
    until(|| async { world.same("t", "z.t", 1) }).await;
    assert_eq!(report(&engine, "d").await.unwrap().health, Health::Healthy, "the other flow is left alone");
    assert_eq!(engine.shut_down().await, Vec::<String>::new());

    // In a new process, which was told.
    let engine = world.engine(settings("one")).await;
    let name: Name = "c".parse().unwrap();
    until(|| async { engine.adopt(&name, &expecting("source")).await.map_err(|e| e.to_string()) }).await;
    stopped_by_another_source(&engine).await;
    assert_eq!(records(&world.target, "a.t", 0).len(), 100, "nothing of it is copied");

    engine.adopt(&name, &expecting("other")).await.unwrap();
    until(|| async {
        let copied = records(&world.target, "a.t", 0).len();
        if copied == 500 { Ok(()) } else { Err(format!("{copied} {:?}", report(&engine, "c").await)) }
    })
    .await;
}

async fn within<T>(limit: Duration, what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| panic!("{what} waits"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_drains_holds_up_nobody_and_is_not_run_twice() {
    let world = World::new().await;
    for topic in ["t", "u", "v"] {
        world.source.create_topic(topic, 1, &[]).unwrap();
    }
    let engine = world.engine(Settings { grace: Duration::from_secs(30), ..settings("one") }).await;
    start(&engine, "c", &world.config("t", &[])).await;
    start(&engine, "d", &world.config("u", &[])).await;
    write(&world.source, "t", 1, 0..100, "none").await;
    world.copied("t", 1).await;
    // What is sent now is refused again and again: a drain has to wait for it.
    world.target.faults().fail(PRODUCE, Target::Named("a.t".into()), 19, 100_000);
    write(&world.source, "t", 1, 100..200, "none").await;
    until(|| async {
        let found = partition(&engine, "c", "t", 0).await?;
        if found.state == "retrying" { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let (old, new): (Name, Name) = ("c".parse().unwrap(), "e".parse().unwrap());
    let config = world.config("t", &[]);
    let brief = Duration::from_millis(500);

    let renaming = within(Duration::from_secs(5), "the rename", engine.rename(&old, &new, &config));
    let others = async {
        let draining = until(|| async {
            let report = within(brief, "observing", report(&engine, "c")).await?;
            let said = report.problems.iter().any(|p| p.code == "DRAINING");
            if said { Ok(report) } else { Err(format!("{:?}", report.problems)) }
        });
        assert!(draining.await.health != Health::Healthy);
        let other = "d".parse().unwrap();
        within(brief, "a verb", engine.put(&other, &world.config("u,v", &[]))).await.unwrap();
        within(brief, "a verb", engine.restart(&other, RestartScope { tasks: true, only_failed: false }))
            .await
            .unwrap();
        for topic in ["u", "v"] {
            write(&world.source, topic, 1, 0..100, "none").await;
            world.copied(topic, 1).await;
        }
    };
    let (refused, ()) = tokio::join!(renaming, others);
    assert!(refused.unwrap_err().to_string().contains("still drains"));
    assert_eq!(engine.running(), ["c", "d"], "it is not started under another name, nor again");

    world.target.faults().clear();
    until(|| async { engine.rename(&old, &new, &config).await.map_err(|e| e.to_string()) }).await;
    engine.adopt(&new, &ClusterIds::default()).await.unwrap();
    write(&world.source, "t", 1, 200..300, "none").await;
    world.copied("t", 1).await;
    let live = engine.observe().await.unwrap();
    assert!(live.connectors.contains_key(&new) && !live.connectors.contains_key(&old));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_starts_when_what_is_removed_has_drained() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let engine = world.engine(Settings { grace: Duration::from_secs(30), ..settings("one") }).await;
    start(&engine, "c", &world.config("t", &[])).await;
    write(&world.source, "t", 1, 0..100, "none").await;
    world.copied("t", 1).await;
    world.target.faults().fail(PRODUCE, Target::Named("a.t".into()), 19, 100_000);
    write(&world.source, "t", 1, 100..200, "none").await;
    until(|| async {
        let found = partition(&engine, "c", "t", 0).await?;
        if found.state == "retrying" { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    within(Duration::from_secs(1), "the removal", engine.delete(&"c".parse().unwrap())).await.unwrap();
    // Another connector is to write the same remote topic.
    start(&engine, "n", &world.config("t", &[])).await;
    until(|| async {
        let report = report(&engine, "n").await?;
        if report.health == Health::Starting { Ok(()) } else { Err(format!("{report:?}")) }
    })
    .await;
    assert_eq!(engine.running(), ["c"], "one writer");
    world.target.faults().clear();
    until(|| async { if engine.running() == ["n"] { Ok(()) } else { Err(format!("{:?}", engine.running())) } }).await;
}

/// The config topic's bytes.
fn config_topic(world: &World) -> String {
    let stored = world.target.batches("mk-configs", 0);
    stored.iter().map(|batch| String::from_utf8_lossy(&batch.bytes).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn omitted_secrets_are_in_no_topic_and_their_connector_waits_for_git() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let secret = "source.cluster.ssl.keystore.password";
    let reference = "target.cluster.ssl.keystore.password";
    let config = world.config("t", &[(secret, "canary-1"), (reference, "${file:/etc/s:p}")]);
    let runs = world.config("t", &[(secret, "canary-1")]);
    let omit = Settings { omit_secrets: true, ..settings("one") };
    let engine = world.engine(omit.clone()).await;
    start(&engine, "c", &runs).await;
    start(&engine, "r", &config).await;
    write(&world.source, "t", 1, 0..100, "none").await;
    world.copied("t", 1).await;
    let live = engine.observe().await.unwrap();
    assert_eq!(live.connectors["c"].config, runs, "what runs is what Git says");
    let written = config_topic(&world);
    assert!(!written.contains("canary") && written.contains("${file:/etc/s:p}"), "{written}");
    assert!(written.contains("${mirrorkeeper:omitted:secret}"));
    assert_eq!(engine.shut_down().await, Vec::<String>::new());

    let engine = world.engine(omit).await;
    let name: Name = "c".parse().unwrap();
    until(|| async { engine.adopt(&name, &ClusterIds::default()).await.map_err(|e| e.to_string()) }).await;
    until(|| async {
        let report = report(&engine, "c").await?;
        let waits = report.problems.iter().any(|p| p.code == "WAITING-FOR-GIT" && p.message.contains(secret));
        if waits && report.health == Health::Starting { Ok(()) } else { Err(format!("{report:?}")) }
    })
    .await;
    write(&world.source, "t", 1, 100..200, "none").await;
    engine.put(&name, &runs).await.unwrap();
    world.copied("t", 1).await;
    assert!(!config_topic(&world).contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_written_plainly_is_written_over_when_omission_is_switched_on() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let engine = world.run("t", &[("source.cluster.ssl.keystore.password", "canary-1")]).await;
    assert_eq!(engine.shut_down().await, Vec::<String>::new());
    assert!(config_topic(&world).contains("canary"));
    let engine = world.engine(Settings { omit_secrets: true, ..settings("one") }).await;
    let name: Name = "c".parse().unwrap();
    until(|| async { engine.adopt(&name, &ClusterIds::default()).await.map_err(|e| e.to_string()) }).await;
    let last = String::from_utf8_lossy(&world.target.batches("mk-configs", 0).last().unwrap().bytes).into_owned();
    assert!(last.contains("omitted") && !last.contains("canary"), "{last}");
    write(&world.source, "t", 1, 0..100, "none").await;
    world.copied("t", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_go_on_over_a_restart_a_pause_and_a_lost_group() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let engine = world.run("t", &[]).await;
    let name: Name = "c".parse().unwrap();
    write(&world.source, "t", 1, 0..100, "none").await;
    world.copied("t", 1).await;
    let counted = |records: u64| {
        let engine = &engine;
        until(move || async move {
            let report = report(engine, "c").await?;
            let shapes: u64 = report.shapes.values().sum();
            let right = report.records_total == records && report.bytes_total > 0 && shapes > 0;
            if right && report.last_acknowledged.is_some() { Ok(()) } else { Err(format!("{report:?}")) }
        })
    };
    counted(100).await;
    engine.restart(&name, RestartScope { tasks: true, only_failed: false }).await.unwrap();
    write(&world.source, "t", 1, 100..200, "none").await;
    world.copied("t", 1).await;
    counted(200).await;
    engine.set_state(&name, TargetState::Stopped).await.unwrap();
    until(|| async { if engine.running().is_empty() { Ok(()) } else { Err("it runs".into()) } }).await;
    counted(200).await;
    engine.set_state(&name, TargetState::Running).await.unwrap();

    // The destination is away until the group is lost; then it is ours again, and what is ours is told anew.
    let mut ownership = engine.ownership();
    world.target.faults().fail(HEARTBEAT, Target::Any, 25, 1);
    tokio::time::timeout(PATIENCE, ownership.wait_for(|o| *o != Ownership::Held)).await.expect("lost").unwrap();
    held(&engine).await;
    until(|| async { engine.adopt(&name, &ClusterIds::default()).await.map_err(|e| e.to_string()) }).await;
    write(&world.source, "t", 1, 200..300, "none").await;
    world.copied("t", 1).await;
    counted(300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_config_topic_garbles_is_said_and_not_run() {
    let world = World::new().await;
    world.source.create_topic("t", 1, &[]).unwrap();
    let engine = world.run("t", &[]).await;
    start(&engine, "d", &world.config("t", &[("source.cluster.alias", "z")])).await;
    assert_eq!(engine.shut_down().await, Vec::<String>::new());
    let garble = producer(&world.target, &[]);
    // Of neither key there is an earlier record that could be read.
    for key in ["target-state-c", "connector-e"] {
        garble.send(BaseRecord::to("mk-configs").key(key).payload("{")).unwrap();
    }
    garble.flush(PATIENCE).unwrap();

    let engine = world.engine(settings("one")).await;
    let live = until(|| async { engine.observe().await.map_err(|e| e.to_string()) }).await;
    assert_eq!(live.unreadable.keys().map(Name::as_str).collect::<Vec<_>>(), ["c", "e"], "{:?}", live.unreadable);
    let shown: Vec<_> = live.connectors.keys().map(Name::as_str).collect();
    assert_eq!(shown, ["d"], "what may be meant to be stopped is not run");
    start(&engine, "c", &world.config("t", &[])).await;
    write(&world.source, "t", 1, 0..100, "none").await;
    world.copied("t", 1).await;
    assert!(!engine.observe().await.unwrap().unreadable.contains_key("c"));
}
