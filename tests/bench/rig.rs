//! Two real brokers, and the programs that copy from one to the other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::child::{Kind, Loop};
use crate::process::{cpu_seconds, forget_peak};
use crate::scenario::{PARTITIONS, System};
use crate::support::client;
use crate::support::cluster::{Cluster, Options};
use crate::support::connect::{Group, Worker};
use crate::support::daemon::{self, Daemon};
use crate::support::java::{self, Kafka};
use crate::support::process::Watched;
use crate::support::repo::{Repo, connector_path, mirror};
use crate::support::run_folder::folder;
use crate::support::unique;

/// As `kafka-run-class.sh` and `kafka-server-start.sh` start a broker.
const BROKER: &[&str] = &["-Xms1g", "-Xmx1g", G1[0], G1[1], G1[2], G1[3]];

/// As `connect-distributed.sh` and `connect-mirror-maker.sh` start MirrorMaker 2.
const MM2: &[&str] = &["-Xms256m", "-Xmx2g", G1[0], G1[1], G1[2], G1[3]];

const G1: [&str; 4] = [
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// The listener of the target behind a round trip of 40 ms.
const FAR: &str = "FAR";

const DESTINATION: &str = "here";

/// The clusters, and what runs on them over the whole benchmark.
pub(crate) struct Rig {
    kafka: &'static Kafka,
    pub(crate) source: Cluster,
    pub(crate) target: Cluster,
    worker: Option<Worker>,
    /// Topics whose measurement is over, oldest first.
    trash: Vec<(Side, String)>,
}

/// Which cluster.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Target,
}

/// What a system is to copy.
pub(crate) struct Route {
    pub(crate) topic: String,
    /// Of the source cluster; new for each measurement, so that the remote topic is new too.
    pub(crate) alias: String,
    pub(crate) codec: &'static str,
    /// The target is reached through [`FAR`].
    pub(crate) far: bool,
}

/// A system at work; ends when dropped, save the worker, which only drops its connector.
pub(crate) enum Running<'a> {
    Child(Watched),
    Daemon(Box<Daemon>),
    Connector(&'a Worker, String),
}

impl Route {
    /// The remote topic.
    pub(crate) fn target_topic(&self) -> String {
        format!("{}.{}", self.alias, self.topic)
    }
}

impl Rig {
    /// Starts the brokers; `None` where there is no Java.
    pub(crate) fn start() -> Option<Self> {
        let kafka = java::kafka()?;
        let options = || {
            let options = Options::brokers(1).jvm(BROKER).property("auto.create.topics.enable", "false");
            // What was measured is gone soon.
            options
                .property("log.segment.delete.delay.ms", "1000")
                .property("log.cleaner.dedupe.buffer.size", "134217728")
        };
        let source = Cluster::start(&options());
        let target = Cluster::start(&options().delayed(FAR, Duration::from_millis(20)));
        Some(Self { kafka, source, target, worker: None, trash: Vec::new() })
    }

    /// Creates the target's topic, which all systems find there.
    pub(crate) fn create_target(&mut self, route: &Route) {
        let topic = route.target_topic();
        client::create_topic(&self.target, &topic, PARTITIONS as i32, 1, &[]);
        // The last measurement's topics may still be read and written by what is just ending.
        let old = self.trash.len().saturating_sub(2);
        for (side, topic) in self.trash.drain(..old) {
            let cluster = match side {
                Side::Source => &self.source,
                Side::Target => &self.target,
            };
            client::delete_topic(cluster, &topic);
        }
        self.trash.push((Side::Target, topic));
    }

    /// Says that a topic of the source is not needed any more.
    pub(crate) fn forget_source(&mut self, topic: &str) {
        self.trash.push((Side::Source, topic.to_owned()));
    }

    /// Starts a Connect worker for MirrorMaker 2, once.
    pub(crate) fn start_worker(&mut self) {
        if self.worker.is_none() {
            let group = Group::of_daemon(&unique("bench"), DESTINATION);
            // The suite's worker flushes each second; this is what Kafka ships.
            let shipped = [("offset.flush.interval.ms", "60000")];
            let worker = Worker::start_with(self.kafka, MM2, &self.target, &group, &shipped);
            worker.wait_until_ready();
            self.worker = Some(worker);
        }
    }

    /// Processes of the rig itself: what they use isn't foreign.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = self.source.pids();
        pids.extend(self.target.pids());
        pids.push(std::process::id());
        pids
    }

    /// Waits until brokers and worker rest, so that one measurement's end isn't part of the next. Goes on when they don't
    /// within a while.
    pub(crate) fn settle(&self) {
        const STEP: Duration = Duration::from_millis(300);
        let pids: Vec<_> = self.pids().into_iter().chain(self.worker.iter().map(Worker::pid)).collect();
        let used = || pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
        let start = Instant::now();
        let mut before = used();
        while start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(STEP);
            let now = used();
            if now - before < 0.15 * STEP.as_secs_f64() {
                return;
            }
            before = now;
        }
    }

    /// Starts a system on a copy.
    pub(crate) fn run(&self, system: System, route: &Route) -> Running<'_> {
        match system {
            System::Floor => Running::Child(self.job(route).start(Kind::Floor, &log("floor"))),
            System::Librdkafka => Running::Child(self.job(route).start(Kind::Librdkafka, &log("librdkafka"))),
            System::Mirrorkeeper => Running::Daemon(Box::new(self.daemon(route))),
            System::Mm2 => self.connector(route, &[]),
            System::Mm2Tuned => self.connector(
                route,
                &[("producer.override.batch.size", "1000000"), ("producer.override.linger.ms", "50")],
            ),
        }
    }

    /// Starts a system from nothing, for the time to its first record: MirrorMaker 2 as a process of its own.
    pub(crate) fn run_cold(&self, system: System, route: &Route) -> Running<'_> {
        if system != System::Mm2 {
            return self.run(system, route);
        }
        let (alias, topic) = (&route.alias, &route.topic);
        let (source, target) = (self.source.bootstrap(), self.target.bootstrap());
        let mut text = format!(
            "clusters={alias},target\n{alias}.bootstrap.servers={source}\ntarget.bootstrap.servers={target}\n\
             {alias}->target.enabled=true\n{alias}->target.topics={topic}\ntarget->{alias}.enabled=false\n\
             tasks.max={PARTITIONS}\nreplication.factor=1\n"
        );
        for internal in ["checkpoints", "heartbeats", "offset-syncs"] {
            text.push_str(&format!("{internal}.topic.replication.factor=1\n"));
        }
        for storage in ["offset", "status", "config"] {
            text.push_str(&format!("{storage}.storage.replication.factor=1\n"));
        }
        let home = folder("mm2");
        let file = home.join("mm2.properties");
        std::fs::write(&file, text).expect("the run's folder can be written");
        let class = "org.apache.kafka.connect.mirror.MirrorMaker";
        let args = [&*file.display().to_string()];
        Running::Child(self.kafka.start_with("MirrorMaker", MM2, class, &args, &home.join("mm2.log")))
    }

    fn job(&self, route: &Route) -> Loop {
        Loop {
            source: self.source.bootstrap(),
            target: self.target_of(route),
            source_topic: route.topic.clone(),
            target_topic: route.target_topic(),
            partitions: PARTITIONS,
            codec: route.codec.to_owned(),
        }
    }

    fn target_of(&self, route: &Route) -> String {
        if route.far { self.target.bootstrap_of(FAR) } else { self.target.bootstrap() }
    }

    /// The connector file of a copy; the daemon and Connect are given the same.
    fn config(&self, route: &Route, more: &[(&str, &str)]) -> serde_json::Value {
        let (tasks, far) = (PARTITIONS.to_string(), self.target_of(route));
        let mut all = vec![
            ("source.cluster.alias", route.alias.as_str()),
            ("replication.policy.class", "org.apache.kafka.connect.mirror.DefaultReplicationPolicy"),
            ("replication.factor", "1"),
            ("tasks.max", &tasks),
            ("refresh.topics.interval.seconds", "600"),
            ("target.cluster.bootstrap.servers", &far),
        ];
        all.extend(more);
        mirror(&self.source, &self.target, &route.alias, &route.topic, &all)
    }

    fn daemon(&self, route: &Route) -> Daemon {
        let (repo, environment) = (Repo::new(), unique("bench"));
        let path = connector_path(&environment, DESTINATION, "there", &route.alias);
        repo.commit_connector(&path, &self.config(route, &[]));
        let options = daemon::Options::new(&repo, &environment, DESTINATION, &self.target);
        Daemon::start(options.bootstrap(self.target_of(route)))
    }

    fn connector(&self, route: &Route, more: &[(&str, &str)]) -> Running<'_> {
        let worker = self.worker.as_ref().expect("the worker is started before MirrorMaker 2 is measured");
        let far = self.target_of(route);
        // A worker writes through its own producer, which keeps neither the source's compression nor the connector's
        // target: without these two it would do other work than the rest.
        let mut all = vec![("producer.override.compression.type", route.codec)];
        if route.far {
            all.push(("producer.override.bootstrap.servers", far.as_str()));
        }
        all.extend(more);
        forget_peak(worker.pid());
        worker.put(&route.alias, &self.config(route, &all));
        Running::Connector(worker, route.alias.clone())
    }
}

impl Running<'_> {
    /// The process that copies.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Child(child) => child.pid(),
            Self::Daemon(daemon) => daemon.pid(),
            Self::Connector(worker, _) => worker.pid(),
        }
    }

    /// The end of its log when it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self {
            Self::Child(child) => child.exited().map(|status| format!("{status}: {}", child.log_tail())),
            Self::Daemon(daemon) => daemon.ended(),
            Self::Connector(..) => None,
        }
    }

    /// Why it may not be copying, for a message.
    pub(crate) fn explain(&mut self) -> String {
        match self {
            Self::Child(child) => child.log_tail(),
            Self::Daemon(daemon) => daemon.ended().unwrap_or_else(|| daemon.log_tail()),
            Self::Connector(worker, name) => worker
                .get(&format!("/connectors/{name}/status"))
                .map_or_else(|error| error, |status| status.to_string()),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Self::Connector(worker, name) = self {
            worker.delete(name);
        }
    }
}

fn log(stem: &str) -> PathBuf {
    folder(stem).join("log")
}
