//! Every shape that a batch can have at the source, and everything that a target can demand of it.

use rdkafka::Timestamp;
use rdkafka::producer::Producer;

use super::{LONG, Scene};
use crate::support::client::{self, Isolation};
use crate::support::compare::{assert_same, assert_topics_same};
use crate::support::connect::dump_batches;
use crate::support::records::{ANY_TIME, CODECS, Sent, mixed, noise, numbered};
use crate::support::{unique, wait_for};

const DEFAULT_POLICY: (&str, &str) =
    ("replication.policy.class", "org.apache.kafka.connect.mirror.DefaultReplicationPolicy");

/// The stories that choose the target's configuration themselves.
const KEEP_CONFIGS: (&str, &str) = ("sync.topic.configs.enabled", "false");

#[test]
fn aborted_records_are_copied_or_dropped_as_the_isolation_level_says() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("transactions");
    client::create_topic(scene.source, &topic, 3, 1, &[]);
    let bootstrap = scene.source.bootstrap();
    for (round, codec) in (0..).zip(CODECS) {
        let groups: Vec<Vec<Sent>> =
            (0..6).map(|n| numbered(3, round * 300 + n * 50, round * 300 + n * 50 + 50)).collect();
        let fates = [true, false, false, true, false, true];
        let transactions: Vec<_> = groups.iter().zip(fates).map(|(group, commit)| (group.as_slice(), commit)).collect();
        client::produce_transactions(&bootstrap, &topic, codec, &transactions);
        // Between the transactions, records without one.
        client::produce(&bootstrap, &topic, codec, &numbered(3, 5000 + round, 5001 + round));
    }
    let cases = [
        ("plain", None, Isolation::Uncommitted),
        ("short", Some("consumer.isolation.level"), Isolation::Committed),
        ("full", Some("source.consumer.isolation.level"), Isolation::Committed),
    ];
    for (name, key, _) in cases {
        let mut more = vec![DEFAULT_POLICY, ("source.cluster.alias", name)];
        more.extend(key.map(|key| (key, "read_committed")));
        scene.commit(name, &topic, &more);
    }

    let mut daemon = scene.daemon();
    for (name, _, isolation) in cases {
        daemon.wait_until_caught_up(name, LONG);
        // The target's readers see all that was copied: nothing there is aborted.
        let remote = format!("{name}.{topic}");
        assert_topics_same(
            (&bootstrap, &topic, isolation),
            (&scene.target.bootstrap(), &remote, Isolation::Uncommitted),
        );
    }
}

#[test]
fn an_open_transaction_holds_back_only_what_lies_behind_it() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("open");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    let bootstrap = scene.source.bootstrap();
    client::produce(&bootstrap, &topic, "none", &numbered(1, 0, 100));
    let open = client::producer(&bootstrap, "none", Some(&unique("open")));
    open.init_transactions(LONG).expect("a transactional producer");
    open.begin_transaction().expect("a transaction");
    client::send_all(&open, &topic, &numbered(1, 100, 110));
    open.flush(LONG).expect("written");
    client::produce(&bootstrap, &topic, "none", &numbered(1, 110, 200));
    scene.commit("open", &topic, &[("consumer.isolation.level", "read_committed")]);

    let mut daemon = scene.daemon();
    // What can't be read yet is no lag, and no fault of the mirror's.
    daemon.wait_until_caught_up("open", LONG);
    scene.census(&topic, &[100]).assert_exact();

    open.commit_transaction(LONG).expect("a commit");
    scene.wait_until_target_holds(&mut daemon, &topic, &[200]);
    scene.census(&topic, &[200]).assert_exact();
}

#[test]
fn a_compacted_source_is_copied_with_its_holes_closed() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("compacted");
    let (bootstrap, keys) = (scene.source.bootstrap(), 40);
    let compact = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
    ];
    client::create_topic(scene.source, &topic, 1, 1, &compact);
    // The cleaner would go on on the target while the records are compared.
    client::create_topic(scene.target, &topic, 1, 2, &[]);
    let update = |codec: &str, key: u64, version: u64| {
        let record = Sent {
            key: Some(format!("key-{key}").into_bytes()),
            value: Some(format!("{version} by {codec}").into_bytes()),
            ..numbered(1, 0, 1).remove(0)
        };
        client::produce(&bootstrap, &topic, codec, &[record]);
    };
    for (round, codec) in (0..).zip(CODECS.iter().cycle().take(10)) {
        // Each round but the first leaves every third key as it was: holes within batches.
        let touched = (0..keys).filter(|key| round == 0 || (key + round) % 3 != 0);
        let records: Vec<_> = touched
            .map(|key| Sent { key: Some(format!("key-{key}").into_bytes()), ..numbered(1, round, round + 1).remove(0) })
            .collect();
        client::produce(&bootstrap, &topic, codec, &records);
    }
    let mut rolls = 0;
    let held = wait_for("the log is compacted", LONG, || {
        // A record of an own key closes the segment, so that what lies before can be cleaned.
        update("none", 1000, rolls);
        rolls += 1;
        let held = client::read_all(&bootstrap, &topic, Isolation::Uncommitted).remove(0);
        let of_keys = held.iter().filter(|record| record.key.as_deref() != Some(b"key-1000")).count();
        if of_keys == usize::try_from(keys).expect("few") { Ok(held) } else { Err(format!("{of_keys} records left")) }
    });
    assert!(held.windows(2).any(|two| two[1].offset > two[0].offset + 1), "there are no holes to speak of");
    scene.commit("compacted", &topic, &[KEEP_CONFIGS]);

    let mut daemon = scene.daemon();
    daemon.wait_until_caught_up("compacted", LONG);
    // Only the records of the closing key may have been cleaned meanwhile.
    let lasting = |cluster: &str| {
        let mut read = client::read_all(cluster, &topic, Isolation::Uncommitted);
        read[0].retain(|record| record.key.as_deref() != Some(b"key-1000"));
        read
    };
    assert_same(&lasting(&bootstrap), &lasting(&scene.target.bootstrap()));
    let rebuilt = daemon.status().expect("a status").item("compacted").expect("the item").shapes("rebuild");
    assert!(rebuilt > 0, "batches with holes were not rebuilt");
}

#[test]
fn the_time_of_a_log_append_time_source_is_kept() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("append-time");
    client::create_topic(scene.source, &topic, 2, 1, &[("message.timestamp.type", "LogAppendTime")]);
    for codec in CODECS {
        client::produce(&scene.source.bootstrap(), &topic, codec, &mixed(2, 50, 11));
    }
    scene.commit("append-time", &topic, &[]);

    scene.daemon().wait_until_caught_up("append-time", LONG);
    // message.timestamp.type is not copied: at the target the time is the producer's, and the producer is a mirror.
    let mut source = client::read_all(&scene.source.bootstrap(), &topic, Isolation::Uncommitted);
    for record in source.iter_mut().flatten() {
        assert!(matches!(record.timestamp, Timestamp::LogAppendTime(_)), "{record:?}");
        record.timestamp = Timestamp::CreateTime(record.timestamp.to_millis().expect("a time"));
    }
    assert_same(&source, &client::read_all(&scene.target.bootstrap(), &topic, Isolation::Uncommitted));
}

#[test]
fn a_batch_keeps_its_codec() {
    let Some(scene) = Scene::shared() else { return };
    let stem = unique("codec");
    let topic = |codec: &str| format!("{stem}-{codec}");
    for (seed, codec) in (20..).zip(CODECS) {
        client::create_topic(scene.source, &topic(codec), 1, 1, &ANY_TIME);
        client::produce(&scene.source.bootstrap(), &topic(codec), codec, &mixed(1, 500, seed));
    }
    scene.commit("codecs", &format!("{stem}-.*"), &[]);

    let mut daemon = scene.daemon();
    daemon.wait_for("all codecs are copied", LONG, |status| {
        let item = status.item("codecs")?;
        let known = CODECS.iter().filter(|codec| item.partitions_of(&topic(codec)) == 1).count();
        if known == CODECS.len() { item.caught_up() } else { Err(format!("{known} topics are known")) }
    });
    for codec in CODECS {
        scene.assert_same(&topic(codec));
        let leader = scene.target.leader(&topic(codec), 0);
        let batches = dump_batches(scene.target, leader, &topic(codec), 0);
        let words = format!("compresscodec: {codec} ");
        let other = batches.iter().find(|batch| !format!("{batch} ").contains(&words));
        assert_eq!(other, None, "a batch of {codec} is another at the target");
    }
}

#[test]
fn a_target_topic_may_force_a_codec() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("forced");
    client::create_topic(scene.source, &topic, 2, 1, &ANY_TIME);
    let forced = [ANY_TIME.as_slice(), &[("compression.type", "zstd")]].concat();
    client::create_topic(scene.target, &topic, 2, 2, &forced);
    for codec in CODECS {
        client::produce(&scene.source.bootstrap(), &topic, codec, &mixed(2, 100, 31));
    }
    scene.commit("forced", &topic, &[KEEP_CONFIGS]);

    scene.daemon().wait_until_caught_up("forced", LONG);
    scene.assert_same(&topic);
}

#[test]
fn a_batch_too_large_for_the_target_is_split() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("split");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    client::create_topic(scene.target, &topic, 1, 2, &[("max.message.bytes", "50000")]);
    for codec in CODECS {
        let records: Vec<_> = (0..2000)
            .map(|number| Sent { value: Some(noise(500, number)), ..numbered(1, number, number + 1).remove(0) })
            .collect();
        client::produce(&scene.source.bootstrap(), &topic, codec, &records);
    }
    scene.commit("split", &topic, &[KEEP_CONFIGS]);

    let mut daemon = scene.daemon();
    daemon.wait_until_caught_up("split", LONG);
    scene.assert_same(&topic);
    let split = daemon.status().expect("a status").item("split").expect("the item").shapes("split");
    assert!(split > 0, "nothing was split: the source's batches are small");
}

#[test]
fn a_record_too_large_stops_its_partition_and_no_other() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("too-large");
    client::create_topic(scene.source, &topic, 3, 1, &[]);
    client::create_topic(scene.target, &topic, 3, 2, &[("max.message.bytes", "50000")]);
    let bootstrap = scene.source.bootstrap();
    client::produce(&bootstrap, &topic, "none", &numbered(3, 0, 100));
    let large = Sent { partition: 1, value: Some(noise(200_000, 1)), ..numbered(1, 0, 1).remove(0) };
    client::produce(&bootstrap, &topic, "none", &[large]);
    client::produce(&bootstrap, &topic, "none", &numbered(3, 100, 200));
    scene.commit("too-large", &topic, &[KEEP_CONFIGS]);

    let mut daemon = scene.daemon();
    let (health, problems) = daemon.wait_for("the partition has stopped", LONG, |status| {
        let item = status.item("too-large")?;
        match item.partition_state(&topic, 1) {
            Some("record-too-large") => Ok((item.health().to_owned(), item.problems())),
            other => Err(format!("partition 1 is {other:?}")),
        }
    });
    assert_eq!(health, "Degraded");
    // Topic, offset and what to raise.
    for word in [topic.as_str(), "100", "max.message.bytes"] {
        assert!(problems.iter().any(|problem| problem.contains(word)), "no problem names {word}: {problems:?}");
    }
    scene.wait_until_target_holds(&mut daemon, &topic, &[200, 100, 200]);
    client::produce(&bootstrap, &topic, "none", &numbered(3, 200, 300));
    scene.wait_until_target_holds(&mut daemon, &topic, &[300, 100, 300]);
    scene.census(&topic, &[300, 100, 300]).assert_exact();
}
