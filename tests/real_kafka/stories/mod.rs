//! What a user is promised of the daemon, told on Apache Kafka.

mod batches;
mod everything;
mod far;
mod files;
mod restarts;
mod sessions;
mod topics;
mod writer;

use std::time::Duration;

use serde_json::Value;

use crate::support::client::{Ends, Isolation};
use crate::support::cluster::Cluster;
use crate::support::compare::{Census, assert_topics_same};
use crate::support::daemon::{Daemon, Options};
use crate::support::repo::{Repo, connector_path, mirror};
use crate::support::{client, pair, unique};

/// How long a story waits for its turn: the suite's tests share a small machine.
const LONG: Duration = Duration::from_secs(120);

const DESTINATION: &str = "here";

/// Two clusters, a repository and an environment of a story's own.
struct Scene<'a> {
    source: &'a Cluster,
    target: &'a Cluster,
    repo: Repo,
    environment: String,
}

impl Scene<'static> {
    /// On the shared clusters; `None` where there is no Kafka.
    fn shared() -> Option<Self> {
        pair().map(|pair| Self::on(&pair.source, &pair.target))
    }
}

impl<'a> Scene<'a> {
    fn on(source: &'a Cluster, target: &'a Cluster) -> Self {
        Self { source, target, repo: Repo::new(), environment: unique("env") }
    }

    /// The path of a connector file of this scene.
    fn path(&self, name: &str) -> String {
        connector_path(&self.environment, DESTINATION, "there", name)
    }

    /// A source connector's configuration; see [`mirror`].
    fn config(&self, name: &str, topics: &str, more: &[(&str, &str)]) -> Value {
        mirror(self.source, self.target, name, topics, more)
    }

    /// Commits a source connector. The commit's id.
    fn commit(&self, name: &str, topics: &str, more: &[(&str, &str)]) -> String {
        self.repo.commit_connector(&self.path(name), &self.config(name, topics, more))
    }

    fn options(&self) -> Options {
        Options::new(&self.repo, &self.environment, DESTINATION, self.target)
    }

    fn daemon(&self) -> Daemon {
        Daemon::start(self.options())
    }

    /// Waits until the target's partitions reach as far as the source's do now: for topics without transactions and
    /// holes, whose target starts empty.
    #[track_caller]
    fn wait_until_copied(&self, daemon: &mut Daemon, topic: &str, partitions: i32) {
        let ends = Ends::of(&self.source.bootstrap()).ends(topic, partitions).expect("the source's ends");
        self.wait_until_target_holds(daemon, topic, &ends);
    }

    /// Waits until the target's partitions reach these ends.
    #[track_caller]
    fn wait_until_target_holds(&self, daemon: &mut Daemon, topic: &str, ends: &[i64]) {
        let target = Ends::of(&self.target.bootstrap());
        let partitions = i32::try_from(ends.len()).expect("few partitions");
        daemon.wait_for(&format!("{topic} is copied"), LONG, |_| {
            let there = target.ends(topic, partitions)?;
            if there.iter().zip(ends).all(|(there, end)| there >= end) {
                Ok(())
            } else {
                Err(format!("target {there:?}, source {ends:?}"))
            }
        });
    }

    /// Asserts that both clusters hold the same records of a topic, seen by readers of everything.
    #[track_caller]
    fn assert_same(&self, topic: &str) {
        assert_topics_same(
            (&self.source.bootstrap(), topic, Isolation::Uncommitted),
            (&self.target.bootstrap(), topic, Isolation::Uncommitted),
        );
    }

    /// What the target holds of a topic of numbered records.
    fn census(&self, topic: &str, expected: &[u64]) -> Census {
        Census::of(&client::read_all(&self.target.bootstrap(), topic, Isolation::Uncommitted), expected)
    }
}
