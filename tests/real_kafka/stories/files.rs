//! A thousand connector files, three of them broken.

use std::collections::BTreeMap;

use serde_json::json;

use super::{DESTINATION, LONG, Scene};
use crate::support::client::{self, Ends};
use crate::support::cluster::{Cluster, Options};
use crate::support::daemon::request;
use crate::support::records::numbered;
use crate::support::repo::pretty;
use crate::support::status::Status;
use crate::support::{java, unique};

const FILES: usize = 1000;
/// Cut off, a value of the wrong type, a class that can't be run.
const BROKEN: [usize; 3] = [100, 500, 900];

#[test]
fn of_a_thousand_files_three_are_broken_and_the_rest_work() {
    if java::kafka().is_none() {
        return;
    }
    // Of its own: a thousand topics are a burden to others.
    let source = Cluster::start(&Options::brokers(1));
    let target = Cluster::start(&Options::brokers(1));
    let scene = Scene::on(&source, &target);
    let topic = unique("shared");
    client::create_topic(&source, &topic, 1, 1, &[]);
    client::produce(&source.bootstrap(), &topic, "none", &numbered(1, 0, 5));

    let name = |number: usize| format!("mirror-{number:04}");
    let policy = "org.apache.kafka.connect.mirror.DefaultReplicationPolicy";
    let files = (0..FILES).map(|number| {
        let (name, alias) = (name(number), format!("alias-{number:04}"));
        let more = [
            ("source.cluster.alias", alias.as_str()),
            ("replication.policy.class", policy),
            ("replication.factor", "1"),
            ("emit.offset-syncs.enabled", "false"),
        ];
        let mut config = scene.config(&name, &topic, &more);
        let keys = config.as_object_mut().expect("an object");
        keys.remove("offset-syncs.topic.replication.factor");
        keys["refresh.topics.interval.seconds"] = json!(600);
        let content = match number {
            _ if number == BROKEN[0] => b"{ \"name\": \"mirror-0100\", ".to_vec(),
            _ if number == BROKEN[1] => {
                keys["tasks.max"] = json!("several");
                pretty(&config)
            }
            _ if number == BROKEN[2] => {
                keys["connector.class"] = json!("io.confluent.connect.s3.S3SinkConnector");
                pretty(&config)
            }
            _ => pretty(&config),
        };
        (scene.path(&name), Some(content))
    });
    scene.repo.commit(&files.collect::<Vec<_>>());

    let mut daemon = scene.daemon();
    daemon.wait_for("the good ones work", LONG * 8, |status| {
        let (healthy, invalid) = (status.with_health("Healthy"), status.with_sync("Invalid"));
        let behind = status.items().iter().filter(|item| item.caught_up().is_err()).count();
        if (healthy, invalid, behind) == (FILES - BROKEN.len(), BROKEN.len(), BROKEN.len()) {
            Ok(())
        } else {
            Err(format!("{healthy} healthy, {invalid} invalid, {behind} not caught up"))
        }
    });
    let status = daemon.status().expect("a status");
    for number in BROKEN {
        let item = status.item(&name(number)).expect("a broken file is an item too");
        assert!(!item.problems().is_empty(), "{} is invalid without a reason", item.name());
    }
    let ends = Ends::of(&target.bootstrap());
    for number in (0..FILES).filter(|number| !BROKEN.contains(number)) {
        assert_eq!(ends.span(&format!("alias-{number:04}.{topic}"), 0), Ok((0, 5)));
    }

    // A commit that changes no connector: the pass over it applies nothing and starts nothing.
    let runs = |status: &Status| -> BTreeMap<String, Option<String>> {
        let run = |item: &crate::support::status::Item<'_>| (item.name().to_owned(), item.started().map(str::to_owned));
        status.items().iter().map(run).collect()
    };
    let written = || {
        let configs = format!("mirrorkeeper-configs-{}-{DESTINATION}", scene.environment);
        let state = format!("mirrorkeeper-state-{}-{DESTINATION}", scene.environment);
        (ends.ends(&configs, 1).expect("an end"), ends.ends(&state, 1).expect("an end"))
    };
    let before = (runs(&status), written());
    let commit = scene.repo.commit(&[("README.md".to_owned(), Some(b"Mirrors\n".to_vec()))]);
    request(reqwest::Method::POST, &format!("{}/reconcile", daemon.url()), None).expect("reconciled");
    let after = daemon.wait_for("the commit is read", LONG, |status| match status.revision() {
        Some(revision) if revision == commit => Ok(runs(status)),
        other => Err(format!("{other:?}")),
    });
    assert_eq!((after, written()), before, "the second pass did something");
}
