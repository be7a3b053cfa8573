//! A Kafka Connect worker's `.properties`: where the destination is, and where its progress, configurations and statuses lie.
//!
//! Files of others hold broker keys, topic keys and keys of workers long gone; they are warned about and left alone.

use std::collections::BTreeMap;

use super::diagnostic::{self as codes, Diagnostic, Severity};
use super::properties::{self, Property};
use super::{Config, keys};

/// One of Kafka Connect's three internal topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its name.
    pub name: String,
    /// Partitions when it is created.
    pub partitions: i32,
    /// Replication factor when it is created; -1: the broker's default.
    pub replication_factor: i16,
}

/// A worker's configuration, as far as a mirror needs it. `Debug` masks secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerConfig {
    /// `bootstrap.servers`, host:port each.
    pub bootstrap: Vec<String>,
    /// Unprefixed client keys: address, security, time-outs. What Connect's own topics are read and written with.
    pub client: Config,
    /// `group.id`.
    pub group_id: Option<String>,
    /// `offset.storage.*`.
    pub offsets: Option<InternalTopic>,
    /// `config.storage.*`; always one partition.
    pub configs: Option<InternalTopic>,
    /// `status.storage.*`.
    pub statuses: Option<InternalTopic>,
    /// `offset.flush.interval.ms`, in milliseconds.
    pub offset_flush_interval_ms: u64,
    /// `producer.*` without the prefix: the producer that copies data.
    pub producer: Config,
    /// `consumer.*` without the prefix.
    pub consumer: Config,
    /// `admin.*` without the prefix.
    pub admin: Config,
    /// Everything as written.
    pub all: Config,
    /// What is odd but does no harm.
    pub warnings: Vec<Diagnostic>,
}

/// Keys of Connect's distributed worker (4.1) that aren't client keys and that have no effect here.
const IDLE: &[&str] = &[
    "access.control.allow.methods",
    "access.control.allow.origin",
    "admin.listeners",
    "connect.protocol",
    "connector.client.config.override.policy",
    "exactly.once.source.support",
    "header.converter",
    "inter.worker.key.generation.algorithm",
    "inter.worker.key.size",
    "inter.worker.key.ttl.ms",
    "inter.worker.signature.algorithm",
    "inter.worker.verification.algorithms",
    "key.converter",
    "listeners",
    "offset.flush.timeout.ms",
    "plugin.discovery",
    "plugin.path",
    "rebalance.timeout.ms",
    "response.http.headers.config",
    "rest.advertised.host.name",
    "rest.advertised.listener",
    "rest.advertised.port",
    "rest.extension.classes",
    "rest.host.name",
    "rest.port",
    "scheduled.rebalance.max.delay.ms",
    "task.shutdown.graceful.timeout.ms",
    "topic.creation.enable",
    "topic.tracking.allow.reset",
    "topic.tracking.enable",
    "value.converter",
    "worker.sync.timeout.ms",
    "worker.unsync.backoff.ms",
];

/// Keys that are read here.
const READ: &[&str] = &[
    "bootstrap.servers",
    "config.storage.replication.factor",
    "config.storage.topic",
    "group.id",
    "heartbeat.interval.ms",
    "offset.flush.interval.ms",
    "offset.storage.partitions",
    "offset.storage.replication.factor",
    "offset.storage.topic",
    "session.timeout.ms",
    "status.storage.partitions",
    "status.storage.replication.factor",
    "status.storage.topic",
];

/// Reads a worker's configuration. `path` is for the findings only.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(path: &str, bytes: &[u8]) -> Result<WorkerConfig, Vec<Diagnostic>> {
    let all = properties::parse(bytes).map_err(|error| {
        let line = if let properties::PropertiesError::Unicode { line } = error { line } else { 1 };
        let message = error.to_string();
        vec![Diagnostic::new(codes::BAD_VALUE, Severity::Error, path, message).at((line, 1))]
    })?;
    let mut reader = Reader { path, lines: BTreeMap::new(), problems: Vec::new(), worker: WorkerConfig::default() };
    for property in &all {
        reader.property(property);
    }
    reader.finish()
}

struct Reader<'a> {
    path: &'a str,
    lines: BTreeMap<String, u32>,
    problems: Vec<Diagnostic>,
    worker: WorkerConfig,
}

impl Reader<'_> {
    fn note(&mut self, code: &'static str, severity: Severity, key: &str, message: &str, hint: Option<String>) {
        let line = self.lines.get(key).copied().unwrap_or(1);
        let mut found = Diagnostic::new(code, severity, self.path, message).at((line, 1)).about(key);
        found.hint = hint;
        if severity == Severity::Error { self.problems.push(found) } else { self.worker.warnings.push(found) }
    }

    fn property(&mut self, property: &Property) {
        let (key, value) = (property.key.as_str(), property.value.as_str());
        if let Some(first) = self.lines.insert(key.to_owned(), property.line) {
            let message = format!("is there already, on line {first}; the later one counts");
            self.note(codes::DUPLICATE_KEY, Severity::Warning, key, &message, None);
        }
        self.worker.all.insert(key, value);
        for prefix in ["producer.", "consumer.", "admin."] {
            let Some(rest) = key.strip_prefix(prefix).filter(|_| key != "admin.listeners") else { continue };
            let section = match prefix {
                "producer." => &mut self.worker.producer,
                "consumer." => &mut self.worker.consumer,
                _ => &mut self.worker.admin,
            };
            section.insert(rest, value);
            if !matches!(keys::lookup(key), Some(keys::Found::Prefixed { .. })) {
                let message = "no client of this kind knows this key";
                self.note(codes::UNKNOWN_KEY, Severity::Warning, key, message, did_you_mean(key));
            }
            return;
        }
        let prefixed =
            ["key.converter.", "value.converter.", "header.converter.", "config.providers", "listeners.", "metric"];
        if is_client_key(key) {
            self.worker.client.insert(key, value);
        } else if IDLE.contains(&key) || prefixed.iter().any(|prefix| key.starts_with(prefix)) {
            self.idle(key);
        } else if !READ.contains(&key) {
            self.note(codes::UNKNOWN_KEY, Severity::Warning, key, "is no key of a Connect worker", nearest(key));
        }
    }

    /// Said once for what a mirror has its own ways for; nothing for what changes nothing.
    fn idle(&mut self, key: &str) {
        let why = match key {
            "rest.port" | "listeners" | "rest.host.name" => "has no effect: mirrorkeeper listens where `listen` says",
            "key.converter" | "value.converter" | "header.converter" => "has no effect: bytes are copied as they are",
            "exactly.once.source.support" => "has no effect: writes are idempotent",
            _ => return,
        };
        self.note(codes::NO_EFFECT, Severity::Warning, key, why, None);
    }

    fn finish(mut self) -> Result<WorkerConfig, Vec<Diagnostic>> {
        let servers = self.text("bootstrap.servers");
        self.worker.bootstrap =
            keys::list(servers.as_deref().unwrap_or_default()).into_iter().map(str::to_owned).collect();
        if self.worker.bootstrap.is_empty() {
            self.note(codes::MISSING_KEY, Severity::Error, "bootstrap.servers", "is required", None);
        }
        self.worker.group_id = self.text("group.id");
        self.worker.offsets = self.topic("offset", 25);
        self.worker.configs = self.topic("config", 1);
        self.worker.statuses = self.topic("status", 5);
        let interval = self.number("offset.flush.interval.ms", 60_000, 1, i64::MAX);
        self.worker.offset_flush_interval_ms = interval.unsigned_abs();
        let secrets: Vec<String> = self
            .worker
            .all
            .iter()
            .filter(|(key, value)| keys::holds_literal_secret(key, value))
            .map(|(key, _)| key.to_owned())
            .collect();
        if let Some(first) = secrets.first() {
            let hint = "write a reference: ${file:/path:key}, ${env:NAME}".to_owned();
            self.note(codes::LITERAL_SECRET, Severity::Warning, first, "holds a secret as it is", Some(hint));
        }
        if self.problems.is_empty() {
            Ok(self.worker)
        } else {
            self.problems.append(&mut self.worker.warnings);
            self.problems.sort_by_key(|found| found.line);
            Err(self.problems)
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.worker.all.get(key).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    fn topic(&mut self, which: &str, partitions: i32) -> Option<InternalTopic> {
        let name = self.text(&format!("{which}.storage.topic"))?;
        let factor_key = format!("{which}.storage.replication.factor");
        let factor = self.number(&factor_key, 3, -1, i64::from(i16::MAX));
        if factor == 0 {
            let message = "must be 1 or more, or -1 for the broker's default";
            self.note(codes::BAD_VALUE, Severity::Error, &factor_key, message, None);
        }
        let partitions = if partitions == 1 {
            1
        } else {
            let key = format!("{which}.storage.partitions");
            self.number(&key, partitions.into(), 1, i64::from(i32::MAX))
        };
        Some(InternalTopic {
            name,
            partitions: i32::try_from(partitions).unwrap_or(1),
            replication_factor: i16::try_from(factor).unwrap_or(-1),
        })
    }

    fn number(&mut self, key: &str, default: i64, min: i64, max: i64) -> i64 {
        let Some(value) = self.text(key) else { return default };
        match value.parse::<i64>() {
            Ok(number) if min <= number && number <= max => number,
            _ => {
                let message = format!("is not a number from {min} to {max}");
                self.note(codes::BAD_VALUE, Severity::Error, key, &message, None);
                default
            }
        }
    }
}

/// A key that the clients of Connect's own topics read, unprefixed.
fn is_client_key(key: &str) -> bool {
    if READ.contains(&key) && key != "bootstrap.servers" {
        return false;
    }
    key.starts_with("ssl.")
        || key.starts_with("sasl.")
        || [keys::Names::Cluster, keys::Names::Admin]
            .into_iter()
            .any(|names| keys::client_names(names).any(|n| n == key))
}

fn did_you_mean(key: &str) -> Option<String> {
    keys::suggest(key).map(|near| format!("did you mean {near}?"))
}

fn nearest(key: &str) -> Option<String> {
    READ.iter().chain(IDLE).find(|known| keys::distance(key, known) <= 2).map(|near| format!("did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: &str = include_str!("../../tests/fixtures/spec/worker.properties");

    #[test]
    fn the_worker_file_of_a_running_installation_is_taken_with_warnings_only() {
        let worker = parse("worker.properties", WORKER.as_bytes()).unwrap();
        assert_eq!(worker.bootstrap.len(), 3);
        assert_eq!(worker.group_id.as_deref(), Some("connect-cluster-mm2-cfnstg-to-stg-ue2"));
        let offsets = worker.offsets.clone().unwrap();
        assert_eq!(offsets.name, "connect-offsets-connect-cluster-mm2-cfnstg-to-stg-ue2");
        assert_eq!((offsets.partitions, offsets.replication_factor), (25, 3));
        assert_eq!(worker.statuses.clone().unwrap().partitions, 5);
        assert_eq!(worker.configs.clone().unwrap().partitions, 1);
        assert_eq!(worker.offset_flush_interval_ms, 10_000);
        assert_eq!(worker.producer.get("compression.type"), Some("gzip"));
        assert_eq!(worker.producer.get("max.request.size"), Some("26214400"));
        assert_eq!(worker.client.get("sasl.mechanism"), Some("AWS_MSK_IAM"));
        assert_eq!(worker.client.get("socket.connection.setup.timeout.ms"), Some("1000"));
        let warned: Vec<&str> = worker.warnings.iter().filter_map(|w| w.key.as_deref()).collect();
        for odd in ["replica.fetch.max.bytes", "delete.retention.ms", "key.converter", "consumer.max.request.size"] {
            assert!(warned.contains(&odd), "{odd} in {warned:?}");
        }
        assert!(worker.warnings.iter().all(|w| w.severity == Severity::Warning && w.line > 1));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let found =
            parse("w", b"offset.storage.topic=o\noffset.storage.replication.factor=0\noffset.flush.interval.ms=soon\n");
        let keys: Vec<String> = found.unwrap_err().into_iter().filter_map(|d| d.key).collect();
        assert_eq!(keys, ["bootstrap.servers", "offset.storage.replication.factor", "offset.flush.interval.ms"]);
    }

    #[test]
    fn nearly_right_keys_are_understood() {
        let worker = parse("w", b"bootstrap.servers=a:1\ngroup.ids=x\n").unwrap();
        assert_eq!(worker.warnings[0].hint.as_deref(), Some("did you mean group.id?"));
    }
}
