//! A destination 40 ms away.

use std::time::Duration;

use super::{LONG, Scene};
use crate::support::client::{self, Ends};
use crate::support::cluster::{Cluster, Options};
use crate::support::connect::dump_batches;
use crate::support::daemon::Daemon;
use crate::support::records::numbered;
use crate::support::{java, unique};

const RECORDS: u64 = 20_000;

#[test]
fn one_record_batches_are_merged_for_a_far_destination() {
    if java::kafka().is_none() {
        return;
    }
    let source = Cluster::start(&Options::brokers(1));
    let target = Cluster::start(&Options::brokers(1).delayed("FAR", Duration::from_millis(20)));
    let scene = Scene::on(&source, &target);
    let topic = unique("far");
    client::create_topic(&source, &topic, 1, 1, &[]);
    client::produce_one_by_one(&source.bootstrap(), &topic, &numbered(1, 0, RECORDS));
    let far = target.bootstrap_of("FAR");
    scene.commit("far", &topic, &[("target.cluster.bootstrap.servers", &far), ("replication.factor", "1")]);

    let near = Ends::of(&target.bootstrap());
    let mut daemon = Daemon::start(scene.options().bootstrap(far));
    daemon.wait_for("copying begins", LONG, |_| match near.span(&topic, 0)?.1 {
        0 => Err("nothing there".to_owned()),
        _ => Ok(()),
    });
    scene.wait_until_target_holds(&mut daemon, &topic, &[i64::try_from(RECORDS).expect("a count")]);
    scene.assert_same(&topic);
    // Batch by batch it would take 170 s, five under way per 40 ms. Counted, because a clock measures the machine too.
    let batches = dump_batches(&target, 1, &topic, 0).len();
    assert!(
        batches < usize::try_from(RECORDS / 10).expect("a count"),
        "{RECORDS} records arrived in {batches} batches"
    );
}
