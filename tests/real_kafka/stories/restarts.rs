//! Whatever dies and comes back, under steady load: nothing is lost, late or there twice (laws 1 and 2).

use super::{LONG, Scene};
use crate::support::client::{self, Ends};
use crate::support::cluster::{Cluster, Options};
use crate::support::daemon::Daemon;
use crate::support::load::Load;
use crate::support::{java, unique};

#[test]
fn ten_kills_of_the_daemon_lose_and_repeat_nothing() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("killed");
    client::create_topic(scene.source, &topic, 4, 1, &[]);
    scene.commit("killed", &topic, &[]);
    let load = Load::start(&scene.source.bootstrap(), &topic, 4, 4000);
    let target = Ends::of(&scene.target.bootstrap());

    let mut daemon = scene.daemon();
    let mut before = 0;
    for kill in 0..10 {
        // At different ages: one that has just begun, one that has caught up.
        let more = [1, 3000, 200, 8000, 30][kill % 5];
        before = daemon.wait_for("the target grows", LONG, |_| match target.ends(&topic, 4)?.iter().sum::<i64>() {
            sum if sum >= before + more => Ok(sum),
            sum => Err(format!("{sum} records at the target, {} at the source", load.sent())),
        });
        daemon = Daemon::start(daemon.kill());
    }
    let sent = load.stop();
    scene.wait_until_copied(&mut daemon, &topic, 4);
    daemon.wait_until_caught_up("killed", LONG);
    scene.census(&topic, &sent).assert_exact();
}

#[test]
fn a_daemon_that_is_stopped_goes_on_where_it_was() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("stopped");
    client::create_topic(scene.source, &topic, 3, 1, &[]);
    scene.commit("stopped", &topic, &[]);
    let load = Load::start(&scene.source.bootstrap(), &topic, 3, 3000);
    let target = Ends::of(&scene.target.bootstrap());

    let mut daemon = scene.daemon();
    let mut before = 0;
    for _ in 0..3 {
        before = daemon.wait_for("the target grows", LONG, |_| match target.ends(&topic, 3)?.iter().sum::<i64>() {
            sum if sum >= before + 1000 => Ok(sum),
            sum => Err(format!("{sum} records at the target, {} at the source", load.sent())),
        });
        let (status, options) = daemon.stop();
        assert!(status.success(), "SIGTERM ended the daemon with {status}");
        // What is written while nobody looks is copied later.
        load.more(1000);
        daemon = Daemon::start(options);
    }
    let sent = load.stop();
    scene.wait_until_copied(&mut daemon, &topic, 3);
    scene.census(&topic, &sent).assert_exact();
}

#[test]
fn brokers_restart_and_leaders_move_on_both_sides() {
    if java::kafka().is_none() {
        return;
    }
    let (source, target) = std::thread::scope(|scope| {
        let source = scope.spawn(|| Cluster::start(&Options::brokers(2)));
        let target = scope.spawn(|| Cluster::start(&Options::brokers(3)));
        (source.join().expect("the source starts"), target.join().expect("the target starts"))
    });
    let scene = Scene::on(&source, &target);
    let topic = unique("shaken");
    client::create_topic(&source, &topic, 4, 2, &[]);
    scene.commit("shaken", &topic, &[("replication.factor", "3")]);
    let load = Load::start(&source.bootstrap(), &topic, 4, 2000);
    let ends = Ends::of(&target.bootstrap());
    let mut daemon = scene.daemon();
    let progress = |what: &str, daemon: &mut Daemon| {
        // Past all that the source holds now: every partition has got over it.
        let sent = i64::try_from(load.sent()).expect("a count");
        daemon.wait_for(what, LONG, |_| match ends.ends(&topic, 4)?.iter().sum::<i64>() {
            sum if sum > sent => Ok(()),
            sum => Err(format!("{sum} records at the target, {sent} at the source before")),
        });
    };
    progress("copying begins", &mut daemon);

    for hard in [false, true] {
        source.stop_broker(2, hard);
        source.start_broker(2);
        progress(&format!("after a source broker's restart, hard: {hard}"), &mut daemon);
        // Node 1 is the controller too.
        let node = if hard { 3 } else { 2 };
        target.stop_broker(node, hard);
        progress(&format!("target broker {node} is away, hard: {hard}"), &mut daemon);
        target.start_broker(node);
        progress(&format!("target broker {node} is back, hard: {hard}"), &mut daemon);
    }
    for partition in 0..4 {
        source.move_leader(&topic, partition, 1 + partition % 2);
        target.move_leader(&topic, partition, 1 + partition % 3);
        progress(&format!("leaders of partition {partition} moved"), &mut daemon);
    }

    let sent = load.stop();
    scene.wait_until_copied(&mut daemon, &topic, 4);
    scene.census(&topic, &sent).assert_exact();
    daemon.wait_until_caught_up("shaken", LONG);
}
