//! The bench tested on its own: a plain librdkafka copy loop passes, and each kind of damage is found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::client::{self, Isolation};
use crate::support::cluster::{Cluster, Options};
use crate::support::compare::{Census, assert_same, difference};
use crate::support::connect::{self, Group, Worker};
use crate::support::load::Load;
use crate::support::process::Watched;
use crate::support::raw::{RawRecord, batch};
use crate::support::records::{ANY_TIME, CODECS, Rec, Sent, mixed, numbered};
use crate::support::repo::{Repo, mirror};
use crate::support::run_folder::{alive, folder};
use crate::support::{Pair, java, pair, raw, unique, wait_for};

#[test]
fn a_plain_copy_loop_passes_the_comparison() {
    let Some(pair) = pair() else { return };
    let topic = unique("copied");
    for cluster in [&pair.source, &pair.target] {
        client::create_topic(cluster, &topic, 4, 1, &ANY_TIME);
    }
    for (seed, codec) in (0..).zip(CODECS) {
        client::produce(&pair.source.bootstrap(), &topic, codec, &mixed(4, 200, seed));
    }
    let source = client::read_all(&pair.source.bootstrap(), &topic, Isolation::Uncommitted);
    assert_eq!(source.iter().map(Vec::len).collect::<Vec<_>>(), [1000; 4]);
    client::produce(&pair.target.bootstrap(), &topic, "none", &source.iter().flatten().map(copy).collect::<Vec<_>>());

    let target = client::read_all(&pair.target.bootstrap(), &topic, Isolation::Uncommitted);
    assert_same(&source, &target);
}

#[test]
fn the_comparison_finds_each_kind_of_damage() {
    let Some(pair) = pair() else { return };
    let topic = unique("damaged");
    client::create_topic(&pair.source, &topic, 2, 1, &ANY_TIME);
    client::produce(&pair.source.bootstrap(), &topic, "lz4", &mixed(2, 300, 7));
    let good = client::read_all(&pair.source.bootstrap(), &topic, Isolation::Uncommitted);
    let at = |wanted: fn(&Rec) -> bool| good[1].iter().position(wanted).expect("mixed has one");
    let tombstone = at(|record| record.value.is_none());
    let keyless = at(|record| record.key.is_none());
    let headers = at(|record| record.headers.len() > 3);

    type Damage<'a> = &'a dyn Fn(&mut Vec<Rec>);
    let damages: [(&str, Damage<'_>); 6] = [
        ("a lost record", &|records| drop(records.remove(100))),
        ("a repeated record", &|records| records.insert(100, records[100].clone())),
        ("an order changed", &|records| records.swap(100, 101)),
        ("a tombstone emptied", &|records| records[tombstone].value = Some(Vec::new())),
        ("a null key emptied", &|records| records[keyless].key = Some(Vec::new())),
        ("headers reordered", &|records| records[headers].headers.reverse()),
    ];
    assert_eq!(difference(&good, &good), None);
    for (name, damage) in damages {
        let mut bad = good.clone();
        damage(&mut bad[1]);
        let found = difference(&good, &bad);
        assert!(found.is_some_and(|found| found.contains("partition 1")), "{name} is not found");
    }
}

#[test]
fn the_census_counts_lost_repeated_and_reordered() {
    let Some(pair) = pair() else { return };
    let topic = unique("counted");
    client::create_topic(&pair.source, &topic, 2, 1, &[]);
    client::produce(&pair.source.bootstrap(), &topic, "zstd", &numbered(2, 0, 500));
    let good = client::read_all(&pair.source.bootstrap(), &topic, Isolation::Uncommitted);
    Census::of(&good, &[500, 500]).assert_exact();

    let mut bad = good;
    let moved = bad[0].remove(10);
    bad[0].insert(20, moved);
    let again = bad[0][300].clone();
    bad[0].push(again);
    bad[1].pop();
    let census = Census::of(&bad, &[500, 500]);
    assert_eq!((census.read, census.lost, census.repeated, census.reordered), (1000, 1, 1, 1), "{census}");
}

#[test]
fn aborted_records_are_seen_by_uncommitted_readers_only() {
    let Some(pair) = pair() else { return };
    let topic = unique("transactions");
    client::create_topic(&pair.source, &topic, 1, 1, &[]);
    let groups: Vec<Vec<Sent>> = (0..4).map(|group| numbered(1, group * 10, group * 10 + 10)).collect();
    let transactions: Vec<_> = groups.iter().zip([true, false, true, false]).map(|(g, c)| (g.as_slice(), c)).collect();
    client::produce_transactions(&pair.source.bootstrap(), &topic, "snappy", &transactions);

    let count = |isolation| client::read_all(&pair.source.bootstrap(), &topic, isolation)[0].len();
    assert_eq!(count(Isolation::Committed), 20);
    assert_eq!(count(Isolation::Uncommitted), 40);
}

#[test]
fn hand_made_batches_keep_a_timestamp_of_zero() {
    let Some(pair) = pair() else { return };
    let topic = unique("raw");
    client::create_topic(&pair.source, &topic, 1, 1, &ANY_TIME);
    let record = |timestamp| RawRecord {
        timestamp,
        key: None,
        value: Some(b"v".to_vec()),
        headers: vec![(b"h".to_vec(), None), (b"h".to_vec(), Some(Vec::new()))],
    };
    let records = [record(0), record(1), record(0)];
    assert_eq!(raw::produce(&pair.source.bootstrap(), &topic, 0, &batch(&records)), Ok(0));
    let read = client::read_all(&pair.source.bootstrap(), &topic, Isolation::Uncommitted);
    let timestamps: Vec<_> = read[0].iter().map(|record| record.timestamp.to_millis()).collect();
    assert_eq!(timestamps, [Some(0), Some(1), Some(0)]);
    assert_eq!(read[0][2].headers, [("h".to_owned(), None), ("h".to_owned(), Some(Vec::new()))]);
}

#[test]
fn brokers_come_back_with_their_data_and_leaders_move() {
    if java::kafka().is_none() {
        return;
    }
    let cluster = Cluster::start(&Options::brokers(3));
    let topic = unique("survivor");
    client::create_topic(&cluster, &topic, 1, 2, &[]);
    client::produce(&cluster.bootstrap(), &topic, "none", &numbered(1, 0, 100));
    for node in [2, 3] {
        cluster.move_leader(&topic, 0, node);
        assert_eq!(cluster.leader(&topic, 0), node);
    }
    let restarted = unique("under-load");
    client::create_topic(&cluster, &restarted, 2, 2, &[]);
    let load = Load::start(&cluster.bootstrap(), &restarted, 2, 500);
    for hard in [false, true] {
        load.more(200);
        cluster.stop_broker(3, hard);
        cluster.start_broker(3);
    }
    load.more(200);
    let sent = load.stop();
    let read = client::read_all(&cluster.bootstrap(), &restarted, Isolation::Uncommitted);
    Census::of(&read, &sent).assert_exact();
    let read = client::read_all(&cluster.bootstrap(), &topic, Isolation::Uncommitted);
    Census::of(&read, &[100]).assert_exact();
    let pids = cluster.pids();
    drop(cluster);
    assert!(pids.iter().all(|pid| !alive(*pid)), "brokers outlive their cluster: {pids:?}");
}

#[test]
fn a_child_does_not_outlive_its_parent() {
    let log = folder("watchdog").join("log");
    let mut child = Watched::spawn("sleep", "sleep", ["600"], &[], &log);
    let pid = child.pid();
    assert!(alive(pid));
    child.abandon();
    wait_for(
        "the child is killed",
        Duration::from_secs(10),
        || if alive(pid) { Err(format!("{pid}")) } else { Ok(()) },
    );
}

#[test]
fn the_proxy_delays_but_does_not_narrow() {
    if java::kafka().is_none() {
        return;
    }
    let cluster = Cluster::start(&Options::brokers(1).delayed("FAR", Duration::from_millis(20)));
    let far = cluster.bootstrap_of("FAR");
    let start = Instant::now();
    raw::metadata(&far, None).expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(40), "a round trip took {:?}", start.elapsed());

    let topic = unique("far");
    client::create_topic(&cluster, &topic, 1, 1, &[]);
    let records: Vec<_> = (0..100)
        .map(|number| Sent { value: Some(vec![7; 200_000]), ..numbered(1, number, number + 1).remove(0) })
        .collect();
    let start = Instant::now();
    client::produce(&far, &topic, "none", &records);
    // 20 MB in chunks of 64 KiB, one per 20 ms, would take over 6 s.
    assert!(start.elapsed() < Duration::from_secs(5), "20 MB took {:?}", start.elapsed());
    assert_eq!(client::read_all(&far, &topic, Isolation::Uncommitted)[0].len(), 100);
}

#[test]
fn java_mirrors_and_its_tools_decode_it() {
    let Some(Pair { source, target }) = pair() else { return };
    let kafka = java::kafka().expect("pair needs it too");
    let (topic, name) = (unique("java"), unique("mirror"));
    client::create_topic(source, &topic, 2, 1, &ANY_TIME);
    client::produce(&source.bootstrap(), &topic, "gzip", &mixed(2, 100, 3));

    let worker = Worker::start(kafka, target, &Group::of_daemon(&unique("env"), "here"), &[]);
    worker.wait_until_ready();
    let syncs = format!("mm2-offset-syncs.{name}.internal");
    worker.put(&name, &mirror(source, target, &name, &topic, &[("target.cluster.alias", &name)]));
    worker.wait_until_running(&name);
    wait_for("Java has copied", client::PATIENCE, || {
        client::partitions(target, &topic)?.ok_or("no topic yet")?;
        let source = client::read_all(&source.bootstrap(), &topic, Isolation::Uncommitted);
        let target = client::read_all(&target.bootstrap(), &topic, Isolation::Uncommitted);
        difference(&source, &target).map_or(Ok(()), Err)
    });
    worker.kill();

    let lines = connect::decode(source, &syncs, "OffsetSync");
    assert!(lines.iter().any(|line| line.contains(&topic)), "{syncs}: {lines:?}");
    let ends: BTreeMap<_, _> = connect::end_offsets(target, &topic).into_iter().map(|(_, p, end)| (p, end)).collect();
    assert_eq!(ends, BTreeMap::from([(0, 100), (1, 100)]));
    let leader = source.leader(&topic, 0);
    let batches = connect::dump_batches(source, leader, &topic, 0);
    assert!(batches.iter().any(|line| line.contains("compresscodec: gzip")), "{batches:?}");
}

#[test]
fn a_repository_is_committed_to_and_reset() {
    let repo = Repo::new();
    let path = "connectors/e/d/s/a.json".to_owned();
    let first = repo.commit(&[(path.clone(), Some(b"{}".to_vec())), ("README.md".to_owned(), Some(b"x".to_vec()))]);
    let second = repo.delete(&path);
    assert_ne!(first, second);
    let open = git2::Repository::open(repo.path()).expect("a repository");
    let files = || {
        let tree = open.head().expect("a head").peel_to_tree().expect("a tree");
        (tree.get_path(std::path::Path::new(&path)).is_ok(), tree.get_name("README.md").is_some())
    };
    assert_eq!(files(), (false, true));
    repo.reset(&first);
    assert_eq!(files(), (true, true));
}

fn copy(record: &Rec) -> Sent {
    Sent {
        partition: record.partition,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        timestamp: record.timestamp.to_millis(),
    }
}
