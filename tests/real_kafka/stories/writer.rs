//! One writer per group, ours or Java's; who waits says for whom.

use super::{DESTINATION, LONG, Scene};
use crate::support::client;
use crate::support::connect::{Group, Worker};
use crate::support::daemon::Daemon;
use crate::support::load::Load;
use crate::support::records::numbered;
use crate::support::{java, unique, wait_for};

#[test]
fn a_second_daemon_waits_and_takes_over() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("contested");
    client::create_topic(scene.source, &topic, 2, 1, &[]);
    scene.commit("contested", &topic, &[]);
    let load = Load::start(&scene.source.bootstrap(), &topic, 2, 1000);
    let mut first = scene.daemon();
    first.wait_for("the first copies", LONG, |status| match status.item("contested")?.copied() {
        0 => Err("nothing copied".to_owned()),
        _ => Ok(()),
    });

    let mut second = Daemon::start(scene.options().another());
    let group = scene.options().group();
    second.wait_for("the second waits and says for whom", LONG, |status| {
        let health = status.item("contested")?.health();
        match (health, status.says(&group)) {
            ("Standby", true) => Ok(()),
            (health, said) => Err(format!("{health}, group named: {said}")),
        }
    });
    load.more(1000);
    let copied = second.status().expect("a status").item("contested").expect("the item").copied();
    assert_eq!(copied, 0, "the one that waits has copied");
    let health = first.status().expect("a status").item("contested").expect("the item").health().to_owned();
    assert_eq!(health, "Healthy");

    first.kill();
    second.wait_for("the second takes over", LONG, |status| match status.item("contested")?.copied() {
        0 => Err("nothing copied".to_owned()),
        _ => Ok(()),
    });
    let sent = load.stop();
    scene.wait_until_copied(&mut second, &topic, 2);
    scene.census(&topic, &sent).assert_exact();
}

#[test]
fn java_is_refused_while_the_daemon_lives() {
    let Some(scene) = Scene::shared() else { return };
    let kafka = java::kafka().expect("the shared clusters need it too");
    let topic = unique("ours");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 0, 100));
    scene.commit("ours", &topic, &[]);
    let mut daemon = scene.daemon();
    daemon.wait_until_caught_up("ours", LONG);

    let worker = Worker::start(kafka, scene.target, &Group::of_daemon(&scene.environment, DESTINATION), &[]);
    wait_for("Java is refused by the group", LONG, || {
        if worker.log().contains("InconsistentGroupProtocol") { Ok(()) } else { Err("its log says nothing".to_owned()) }
    });
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 100, 200));
    scene.wait_until_copied(&mut daemon, &topic, 1);
    scene.census(&topic, &[200]).assert_exact();
}

#[test]
fn the_daemon_waits_while_java_lives_and_goes_on_from_javas_position() {
    let Some(scene) = Scene::shared() else { return };
    let kafka = java::kafka().expect("the shared clusters need it too");
    let topic = unique("javas");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 0, 100));
    let worker = Worker::start(kafka, scene.target, &Group::of_daemon(&scene.environment, DESTINATION), &[]);
    worker.wait_until_ready();
    worker.put("javas", &scene.config("javas", &topic, &[]));
    worker.wait_until_running("javas");
    client::wait_for_partitions(scene.target, &topic, 1);
    scene.commit("javas", &topic, &[]);

    let mut daemon = scene.daemon();
    let group = scene.options().group();
    daemon.wait_for("the daemon waits and says for whom", LONG, |status| {
        match (status.item("javas")?.health(), status.says(&group)) {
            ("Standby", true) => Ok(()),
            (health, said) => Err(format!("{health}, group named: {said}")),
        }
    });
    scene.wait_until_target_holds(&mut daemon, &topic, &[100]);
    worker.stop();

    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 100, 200));
    scene.wait_until_target_holds(&mut daemon, &topic, &[200]);
    scene.census(&topic, &[200]).assert_exact();
}
