//! Java's side: a Kafka Connect worker, and the tools that decode what MirrorMaker 2 writes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::client::PATIENCE;
use super::cluster::{Cluster, escaped, free_port};
use super::daemon::{get_json, request};
use super::java::{self, Kafka};
use super::process::Watched;
use super::run_folder::folder;
use super::wait_for;

/// A running ConnectDistributed; killed when dropped.
pub(crate) struct Worker {
    process: Watched,
    port: u16,
}

/// The topics of a Connect cluster; the daemon's defaults and Java's must be told alike.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) offsets: String,
    pub(crate) configs: String,
    pub(crate) statuses: String,
}

impl Group {
    /// Those that the daemon uses without a worker file.
    pub(crate) fn of_daemon(environment: &str, destination: &str) -> Self {
        Self {
            id: format!("mirrorkeeper-{environment}-{destination}"),
            offsets: format!("mirrorkeeper-offsets-{environment}-{destination}"),
            configs: format!("mirrorkeeper-configs-{environment}-{destination}"),
            statuses: format!("mirrorkeeper-status-{environment}-{destination}"),
        }
    }
}

impl Worker {
    /// Starts a worker on the cluster; `more` replaces and adds worker properties. Nothing is waited for.
    pub(crate) fn start(kafka: &Kafka, cluster: &Cluster, group: &Group, more: &[(&str, &str)]) -> Self {
        Self::start_with(kafka, &["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"], cluster, group, more)
    }

    /// Like [`Worker::start`], with other options of its JVM.
    pub(crate) fn start_with(
        kafka: &Kafka,
        jvm: &[&str],
        cluster: &Cluster,
        group: &Group,
        more: &[(&str, &str)],
    ) -> Self {
        let home = folder("connect");
        let port = free_port();
        let bootstrap = cluster.bootstrap();
        let listener = format!("http://127.0.0.1:{port}");
        let bytes = "org.apache.kafka.connect.converters.ByteArrayConverter";
        let mut properties: BTreeMap<&str, &str> = BTreeMap::from([
            ("bootstrap.servers", bootstrap.as_str()),
            ("group.id", &group.id),
            ("offset.storage.topic", &group.offsets),
            ("config.storage.topic", &group.configs),
            ("status.storage.topic", &group.statuses),
            ("offset.storage.replication.factor", "-1"),
            ("config.storage.replication.factor", "-1"),
            ("status.storage.replication.factor", "-1"),
            ("offset.flush.interval.ms", "1000"),
            ("key.converter", bytes),
            ("value.converter", bytes),
            ("header.converter", bytes),
            ("listeners", &listener),
            ("plugin.discovery", "service_load"),
        ]);
        properties.extend(more.iter().copied());
        let text: String = properties.iter().map(|(key, value)| format!("{key}={}\n", escaped(value))).collect();
        let file = home.join("worker.properties");
        fs::write(&file, text).expect("the run's folder can be written");
        let class = "org.apache.kafka.connect.cli.ConnectDistributed";
        let log = home.join("worker.log");
        let process = kafka.start_with("the Connect worker", jvm, class, &[&file.display().to_string()], &log);
        Self { process, port }
    }

    /// Waits until the REST API answers for connectors (right after the start it answers 404 to everything).
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        wait_for("the Connect worker answers", PATIENCE, || self.get("/connectors").map(drop));
    }

    /// The JSON of a `GET`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        get_json(&format!("http://127.0.0.1:{}{path}", self.port))
    }

    /// Creates a connector or replaces its configuration, retrying while the group rebalances. Values are turned to
    /// strings: Connect takes nothing else.
    #[track_caller]
    pub(crate) fn put(&self, name: &str, config: &Value) {
        let strings = config.as_object().expect("an object").iter().map(|(key, value)| {
            (key.clone(), Value::String(value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        });
        let config = Value::Object(strings.collect());
        let url = format!("http://127.0.0.1:{}/connectors/{name}/config", self.port);
        wait_for(&format!("connector {name} is put"), PATIENCE, || {
            request(reqwest::Method::PUT, &url, Some(&config)).map(drop)
        });
    }

    /// Waits until the connector and at least one task of it run.
    #[track_caller]
    pub(crate) fn wait_until_running(&self, name: &str) {
        wait_for(&format!("connector {name} runs"), PATIENCE, || {
            let status = self.get(&format!("/connectors/{name}/status"))?;
            let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
            let running = !tasks.is_empty() && tasks.iter().all(|task| task["state"] == "RUNNING");
            if running && status["connector"]["state"] == "RUNNING" { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Deletes a connector.
    #[track_caller]
    pub(crate) fn delete(&self, name: &str) {
        let url = format!("http://127.0.0.1:{}/connectors/{name}", self.port);
        wait_for(&format!("connector {name} is deleted"), PATIENCE, || {
            request(reqwest::Method::DELETE, &url, None).map(drop)
        });
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.process.signal("TERM");
        self.process.wait(Duration::from_secs(60));
    }
}

/// The lines of a topic that one of MirrorMaker 2's formatters (`Checkpoint`, `Heartbeat`, `OffsetSync`) prints.
pub(crate) fn decode(cluster: &Cluster, topic: &str, formatter: &str) -> Vec<String> {
    let kafka = java::kafka().expect("Java was found before a cluster was started");
    let formatter = format!("org.apache.kafka.connect.mirror.formatters.{formatter}Formatter");
    let output = kafka.try_tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &[
            "--bootstrap-server",
            &cluster.bootstrap(),
            "--topic",
            topic,
            "--from-beginning",
            "--formatter",
            &formatter,
            // It ends when nothing came for so long: the tool knows no end offsets.
            "--timeout-ms",
            "5000",
        ],
    );
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// `(topic, partition, end offset)` as `GetOffsetShell` sees them.
pub(crate) fn end_offsets(cluster: &Cluster, topic: &str) -> Vec<(String, i32, i64)> {
    let kafka = java::kafka().expect("Java was found before a cluster was started");
    let text = kafka.tool(
        "org.apache.kafka.tools.GetOffsetShell",
        &["--bootstrap-server", &cluster.bootstrap(), "--topic-partitions", topic, "--time", "-1"],
    );
    let parse = |line: &str| {
        let mut parts = line.rsplitn(3, ':');
        let offset = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        Some((parts.next()?.to_owned(), partition, offset))
    };
    text.lines().filter_map(parse).collect()
}

/// Batch headers of a partition as `DumpLogSegments` prints them: one line per batch.
pub(crate) fn dump_batches(cluster: &Cluster, node: i32, topic: &str, partition: i32) -> Vec<String> {
    let kafka = java::kafka().expect("Java was found before a cluster was started");
    let folder = cluster.log_folder(node, topic, partition);
    let entries = fs::read_dir(&folder).expect("the broker holds the partition").flatten();
    let mut segments: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .map(|path| path.display().to_string())
        .collect();
    segments.sort();
    let text = kafka.tool("kafka.tools.DumpLogSegments", &["--files", &segments.join(",")]);
    text.lines().filter(|line| line.starts_with("baseOffset:")).map(str::to_owned).collect()
}
