//! Nothing is lost in copying (law 3), order stays (law 2).

use super::{LONG, Scene};
use crate::support::client::{self, Isolation};
use crate::support::compare::assert_topics_same;
use crate::support::raw::{self, RawRecord, batch};
use crate::support::records::{ANY_TIME, CODECS, mixed};
use crate::support::unique;

#[test]
fn sixteen_partitions_of_everything_arrive_equal_and_in_order() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("everything");
    client::create_topic(scene.source, &topic, 16, 1, &ANY_TIME);
    for (seed, codec) in (100..).zip(CODECS) {
        client::produce(&scene.source.bootstrap(), &topic, codec, &mixed(16, 100, seed));
    }
    scene.commit("everything", &topic, &[]);

    let mut daemon = scene.daemon();
    daemon.wait_until_caught_up("everything", LONG);
    scene.assert_same(&topic);

    // What comes while it runs arrives too.
    client::produce(&scene.source.bootstrap(), &topic, "snappy", &mixed(16, 20, 1));
    scene.wait_until_copied(&mut daemon, &topic, 16);
    scene.assert_same(&topic);
    daemon.wait_until_caught_up("everything", LONG);
}

#[test]
fn a_remote_topic_is_named_after_the_source_by_default() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("renamed");
    client::create_topic(scene.source, &topic, 2, 1, &ANY_TIME);
    client::produce(&scene.source.bootstrap(), &topic, "lz4", &mixed(2, 50, 5));
    let policy = "org.apache.kafka.connect.mirror.DefaultReplicationPolicy";
    scene.commit("renamed", &topic, &[("replication.policy.class", policy)]);

    scene.daemon().wait_until_caught_up("renamed", LONG);
    assert_topics_same(
        (&scene.source.bootstrap(), &topic, Isolation::Uncommitted),
        (&scene.target.bootstrap(), &format!("source.{topic}"), Isolation::Uncommitted),
    );
    assert_eq!(client::partitions(scene.target, &topic), Ok(None), "a topic of the source's own name appeared");
}

#[test]
fn a_timestamp_of_zero_and_repeated_headers_survive() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("zero");
    client::create_topic(scene.source, &topic, 1, 1, &ANY_TIME);
    let record = |timestamp, value: &[u8]| RawRecord {
        timestamp,
        key: Some(Vec::new()),
        value: Some(value.to_vec()),
        headers: vec![(b"h".to_vec(), None), (b"g".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), Some(Vec::new()))],
    };
    // One batch passes; single records are merged.
    raw::produce(&scene.source.bootstrap(), &topic, 0, &batch(&[record(0, b"a"), record(5, b"b"), record(0, b"c")]))
        .expect("written");
    for value in [b"d", b"e", b"f"] {
        raw::produce(&scene.source.bootstrap(), &topic, 0, &batch(&[record(0, value)])).expect("written");
    }
    scene.commit("zero", &topic, &[]);

    scene.daemon().wait_until_caught_up("zero", LONG);
    scene.assert_same(&topic);
}
