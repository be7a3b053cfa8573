//! Brokers on both sides that want proof again every 3 s (KIP-368): replication goes on as if nothing was.

use std::time::{Duration, Instant};

use super::{LONG, Scene};
use crate::sasl::other;
use crate::support::client;
use crate::support::daemon::Daemon;
use crate::support::load::Load;
use crate::support::oidc::Oidc;
use crate::support::secured::{ALICE, Mechanism, Secured, Way, secured};
use crate::support::unique;

/// Six sessions and more on every connection.
const LONG_ENOUGH: Duration = Duration::from_secs(20);
/// What the daemon logs of a connection that is opened, and of a session that is renewed.
const OPENED: &str = "connected";
const RENEWED: &str = "session renewed";

fn replicates(source: &Secured, target: &Secured, mechanism: Mechanism, more: &[(String, String)]) {
    let scene = Scene::on(&source.cluster, &target.cluster);
    let (name, topic, way) = (unique("sessions"), unique("sessions"), Way::short(mechanism, ALICE));
    client::create_topic(scene.source, &topic, 2, 1, &[]);
    let mut keys = source.prefixed("source.cluster.", &way);
    keys.extend(more.iter().map(|(key, value)| (format!("source.cluster.{key}"), value.clone())));
    keys.push(("replication.factor".into(), "1".into()));
    let keys: Vec<_> = keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    scene.commit(&name, &topic, &keys);
    let mut options =
        scene.options().bootstrap(target.bootstrap(&way)).args(&["--log", "info,mirrorkeeper::kafka=debug"]);
    for (key, value) in target.properties(&way) {
        if key != "bootstrap.servers" {
            options = options.env(&format!("MIRRORKEEPER_CLIENT_{}", key.to_uppercase().replace('.', "_")), &value);
        }
    }
    let mut daemon = Daemon::start(options);
    let load = Load::start(&scene.source.bootstrap(), &topic, 2, 400);
    let first = daemon.wait_for("it replicates", LONG, |status| {
        let item = status.item(&name)?;
        match (item.health(), item.copied()) {
            ("Healthy", copied) if copied > 400 => Ok(item.started().map(str::to_owned)),
            (health, copied) => Err(format!("{health}, {copied} copied, {:?}", item.problems())),
        }
    });

    let count = |daemon: &Daemon, words: &str| daemon.log().lines().filter(|line| line.contains(words)).count();
    let opened = count(&daemon, OPENED);
    assert!(opened > 3, "connections are logged: {opened}");
    let (begun, mut copied) = (Instant::now(), 0);
    while begun.elapsed() < LONG_ENOUGH {
        let status = daemon.status().expect("a status");
        let item = status.item(&name).expect("the item");
        assert!(item.health() == "Healthy" && item.problems().is_empty(), "{}: {:?}", item.health(), item.problems());
        assert_eq!(item.started().map(str::to_owned), first, "another run");
        copied = copied.max(item.copied());
        std::thread::sleep(Duration::from_millis(250));
    }
    let (sent, renewed) = (load.stop(), count(&daemon, RENEWED));
    assert_eq!(count(&daemon, OPENED), opened, "connections were opened anew: {}", daemon.log_tail());
    assert!(renewed > 5 * opened, "{renewed} renewals on {opened} connections");
    let ends: Vec<i64> = sent.iter().map(|count| i64::try_from(*count).expect("few")).collect();
    scene.wait_until_target_holds(&mut daemon, &topic, &ends);
    let census = scene.census(&topic, &sent);
    assert_eq!((census.lost, census.repeated), (0, 0), "{census:?}");
    scene.assert_same(&topic);
}

#[test]
#[ignore = "open: failed once in three runs; whether a session was made anew is not found out yet"]
fn sessions_are_renewed_without_a_gap() {
    let (Some(source), Some(target)) = (secured(), other()) else { return };
    let oidc = Oidc::start(ALICE.name, Duration::from_secs(8));
    let tokens = oidc.properties();
    std::thread::scope(|scope| {
        for (mechanism, more) in
            [(Mechanism::Plain, &[][..]), (Mechanism::ScramSha512, &[]), (Mechanism::OauthBearer, tokens.as_slice())]
        {
            scope.spawn(move || replicates(source, target, mechanism, more));
        }
    });
    assert!(oidc.granted() >= 3, "{} tokens of 8 s", oidc.granted());
}
