//! What changes while the daemon runs: topics, partitions, files.

use super::{LONG, Scene};
use crate::support::client;
use crate::support::records::{ANY_TIME, mixed, numbered};
use crate::support::{unique, wait_for};

#[test]
fn a_new_topic_and_new_partitions_are_picked_up() {
    let Some(scene) = Scene::shared() else { return };
    let stem = unique("grows");
    let (first, second) = (format!("{stem}-first"), format!("{stem}-second"));
    client::create_topic(scene.source, &first, 1, 1, &ANY_TIME);
    client::produce(&scene.source.bootstrap(), &first, "none", &mixed(1, 50, 1));
    scene.commit("grows", &format!("{stem}-.*"), &[]);
    let mut daemon = scene.daemon();
    scene.wait_until_copied(&mut daemon, &first, 1);

    client::create_topic(scene.source, &second, 2, 1, &ANY_TIME);
    // Written before it was discovered: a new topic is copied from its beginning.
    client::produce(&scene.source.bootstrap(), &second, "gzip", &mixed(2, 50, 2));
    scene.wait_until_copied(&mut daemon, &second, 2);
    scene.assert_same(&second);

    client::create_partitions(scene.source, &first, 3);
    client::produce(&scene.source.bootstrap(), &first, "lz4", &mixed(3, 50, 3));
    client::wait_for_partitions(scene.target, &first, 3);
    scene.wait_until_copied(&mut daemon, &first, 3);
    scene.assert_same(&first);
    daemon.wait_until_caught_up("grows", LONG);
}

#[test]
fn a_commit_changes_one_flow_and_leaves_the_other_running() {
    let Some(scene) = Scene::shared() else { return };
    let (changed, added, other) = (unique("changed"), unique("added"), unique("other"));
    for topic in [&changed, &added, &other] {
        client::create_topic(scene.source, topic, 1, 1, &[]);
        client::produce(&scene.source.bootstrap(), topic, "none", &numbered(1, 0, 100));
    }
    scene.commit("one", &changed, &[]);
    scene.commit("two", &other, &[]);
    let mut daemon = scene.daemon();
    daemon.wait_until_caught_up("one", LONG);
    daemon.wait_until_caught_up("two", LONG);
    let run = daemon.status().expect("a status").item("two").expect("the item").started().map(str::to_owned);
    assert!(run.is_some(), "the status tells no start of the flow");
    assert_eq!(client::partitions(scene.target, &added), Ok(None));

    scene.commit("one", &format!("{changed},{added}"), &[]);
    client::wait_for_partitions(scene.target, &added, 1);
    scene.wait_until_copied(&mut daemon, &added, 1);
    scene.census(&added, &[100]).assert_exact();
    // What was copied before is not copied again.
    client::produce(&scene.source.bootstrap(), &changed, "none", &numbered(1, 100, 200));
    scene.wait_until_copied(&mut daemon, &changed, 1);
    scene.census(&changed, &[200]).assert_exact();
    let status = daemon.status().expect("a status");
    assert_eq!(status.item("two").expect("the item").started().map(str::to_owned), run, "the other flow was restarted");
}

#[test]
fn a_deleted_file_stops_its_flow_and_a_revert_resumes_it() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("reverted");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 0, 100));
    scene.commit("stays", &unique("nothing"), &[]);
    let with = scene.commit("reverted", &topic, &[]);
    let mut daemon = scene.daemon();
    scene.wait_until_copied(&mut daemon, &topic, 1);

    scene.repo.delete(&scene.path("reverted"));
    daemon.wait_for("the flow is gone", LONG, |status| match status.item("reverted") {
        Err(_) => Ok(()),
        Ok(item) => Err(format!("it is {}", item.sync())),
    });
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 100, 200));
    // As a force-push does.
    scene.repo.reset(&with);
    scene.wait_until_copied(&mut daemon, &topic, 1);
    scene.census(&topic, &[200]).assert_exact();
}

#[test]
fn a_file_that_breaks_leaves_its_flow_running() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("broken");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 0, 100));
    scene.commit("broken", &topic, &[]);
    let mut daemon = scene.daemon();
    scene.wait_until_copied(&mut daemon, &topic, 1);

    scene.repo.commit(&[(scene.path("broken"), Some(b"{ \"name\": ".to_vec()))]);
    let problems = daemon.wait_for("the file is known to be broken", LONG, |status| {
        let item = status.item("broken")?;
        if item.sync() == "Invalid" { Ok(item.problems()) } else { Err(item.sync().to_owned()) }
    });
    assert!(!problems.is_empty(), "an invalid file without a reason");
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 100, 200));
    scene.wait_until_copied(&mut daemon, &topic, 1);
    scene.census(&topic, &[200]).assert_exact();
}

#[test]
fn a_source_topic_deleted_and_recreated_is_named_not_papered_over() {
    let Some(scene) = Scene::shared() else { return };
    let topic = unique("recreated");
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 0, 100));
    scene.commit("recreated", &topic, &[]);
    let mut daemon = scene.daemon();
    scene.wait_until_copied(&mut daemon, &topic, 1);

    client::delete_topic(scene.source, &topic);
    wait_for("the name is free", LONG, || match client::partitions(scene.source, &topic)? {
        None => Ok(()),
        Some(_) => Err("still there".to_owned()),
    });
    client::create_topic(scene.source, &topic, 1, 1, &[]);
    // More than before: only the topic's id tells.
    client::produce(&scene.source.bootstrap(), &topic, "none", &numbered(1, 0, 150));
    daemon.wait_for("the recreation is named", LONG, |status| {
        let item = status.item("recreated")?;
        let named = item.problems().iter().any(|problem| problem.contains("recreated") && problem.contains(&topic));
        match (named, item.health()) {
            (true, "Healthy") => Err("named, and called healthy".to_owned()),
            (true, _) => Ok(()),
            (false, health) => Err(format!("{health}: {:?}", item.problems())),
        }
    });
    // on.recreated is `fail`: nothing of the new topic is appended to the old one's copy.
    scene.census(&topic, &[100]).assert_exact();
}
