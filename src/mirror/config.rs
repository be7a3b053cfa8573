//! One connector's configuration, typed: from [`Config`] to [`FlowConfig`], every problem at once. Pure.
//!
//! Keys, kinds and defaults are those of [`crate::spec::keys`]; nothing here repeats them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::filter::{ConfigPropertyFilter, NameFilter};
use super::naming::Naming;
use crate::spec::keys;
use crate::spec::regex::PatternList;
use crate::spec::{Config, TargetState};

/// What a source connector is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowConfig {
    /// The connector's name.
    pub name: String,
    /// `enabled`: without it nothing is copied.
    pub enabled: bool,
    /// What it should be doing.
    pub state: TargetState,
    /// `source.cluster.alias`.
    pub source_alias: String,
    /// `target.cluster.alias`.
    pub target_alias: String,
    /// How remote topics are called.
    pub naming: Naming,
    /// Which topics are copied.
    pub topics: NameFilter,
    /// Heartbeats are copied whatever the filter says.
    pub heartbeats: bool,
    /// Several source topics may go into one remote topic.
    pub merge: bool,
    /// Which topic configurations are copied.
    pub config_properties: ConfigPropertyFilter,
    /// `tasks.max`.
    pub tasks_max: usize,
    /// How often topics and partitions are looked for; `None`: never again after the start.
    pub refresh_topics: Option<Duration>,
    /// How often topic configurations are compared; `None`: never.
    pub sync_topic_configs: Option<Duration>,
    /// How often access rules are compared; `None`: never.
    pub sync_topic_acls: Option<Duration>,
    /// Replication factor of new remote topics; -1: the broker's default.
    pub replication_factor: i16,
    /// Offset syncs; `None`: none are written.
    pub offset_syncs: Option<OffsetSyncs>,
    /// Only committed data is copied (`isolation.level=read_committed`).
    pub read_committed: bool,
    /// Where a partition without progress begins: at its end instead of its beginning (`auto.offset.reset=latest`).
    pub from_latest: bool,
    /// How long an administrative call may take.
    pub admin_timeout: Duration,
    /// By which path data goes.
    pub data_path: DataPath,
    /// Whether compressed batches are compressed anew.
    pub force_compression: bool,
    /// The most bytes per second.
    pub max_bytes_per_second: Option<u64>,
    /// What to do when a source topic was deleted and created anew.
    pub on_recreated: Policy,
    /// What to do when the source lost records that were copied.
    pub on_truncated: Policy,
    /// What to do when records were deleted before they were copied.
    pub on_purged: Policy,
    /// Java client properties of each role, assembled as MirrorMaker does.
    pub clients: Clients,
}

/// Offset syncs, as far as the source connector writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetSyncs {
    /// The topic lies on the target, not on the source.
    pub on_target: bool,
    /// Its name.
    pub topic: String,
    /// Its replication factor when it is created; -1: the broker's default.
    pub replication_factor: i16,
    /// `offset.lag.max`.
    pub lag_max: u64,
}

/// Which path data takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPath {
    /// The engine chooses.
    Auto,
    /// Batches as they are.
    Batch,
    /// Record by record.
    Record,
}

/// What to do when the source is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The partition stops in a named state.
    Fail,
    /// It goes on, and status says what happened.
    Continue,
}

/// Java client properties by role (§ "How each client's configuration is assembled" of MirrorMaker): the cluster's address and
/// security, then `admin.` and so on, then `source.admin.` and so on. `Debug` masks secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clients {
    /// What data is read with.
    pub source_consumer: Config,
    /// The source's administration.
    pub source_admin: Config,
    /// The target's administration, by the file; a daemon's destination is configured in one place, which may be another.
    pub target_admin: Config,
    /// Offset syncs, written to whichever cluster holds them.
    pub offset_syncs_producer: Config,
    /// `producer.override.*` without the prefix: changes to the producer that copies data.
    pub data_producer: Config,
}

/// A value that can't be used. Never quoted (law 9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ConfigProblem {
    /// The key.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

/// A side of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where data comes from.
    Source,
    /// Where it goes.
    Target,
}

/// A client's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRole {
    /// Reads.
    Consumer,
    /// Writes MirrorMaker's own records.
    Producer,
    /// Administers.
    Admin,
}

impl FlowConfig {
    /// Reads a configuration that was resolved: references in it are taken for text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn of(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        let mut read = Reader { config, problems: Vec::new() };
        let naming = Naming::of(config);
        let source_alias = read.text("source.cluster.alias");
        let target_alias = read.text("target.cluster.alias");
        let on_target = read.word("offset-syncs.topic.location") == "target";
        let syncs_topic = naming.offset_syncs_topic(if on_target { &source_alias } else { &target_alias });
        let clients = Clients {
            source_consumer: client(config, Side::Source, ClientRole::Consumer),
            source_admin: client(config, Side::Source, ClientRole::Admin),
            target_admin: client(config, Side::Target, ClientRole::Admin),
            offset_syncs_producer: client(
                config,
                if on_target { Side::Target } else { Side::Source },
                ClientRole::Producer,
            ),
            data_producer: owned(config.with_prefix("producer.override.")),
        };
        let flow = Self {
            name: read.text("name"),
            enabled: read.flag("enabled"),
            state: match read.word("mirrorkeeper.state").as_str() {
                "paused" => TargetState::Paused,
                "stopped" => TargetState::Stopped,
                _ => TargetState::Running,
            },
            topics: NameFilter { include: read.patterns("topics"), exclude: read.patterns("topics.exclude") },
            heartbeats: read.flag("heartbeats.replication.enabled"),
            merge: read.flag("mirrorkeeper.merge"),
            config_properties: ConfigPropertyFilter {
                exclude: read.patterns("config.properties.exclude"),
                defaults_from_source: read.word("use.defaults.from") == "source",
            },
            tasks_max: usize::try_from(read.number("tasks.max")).unwrap_or(1).max(1),
            refresh_topics: read.interval("refresh.topics"),
            sync_topic_configs: read.interval("sync.topic.configs"),
            sync_topic_acls: read.interval("sync.topic.acls"),
            replication_factor: read.factor("replication.factor"),
            offset_syncs: read.flag("emit.offset-syncs.enabled").then(|| OffsetSyncs {
                on_target,
                topic: syncs_topic,
                replication_factor: read.factor("offset-syncs.topic.replication.factor"),
                lag_max: u64::try_from(read.number("offset.lag.max")).unwrap_or(0),
            }),
            read_committed: is(&clients.source_consumer, "isolation.level", "read_committed"),
            from_latest: is(&clients.source_consumer, "auto.offset.reset", "latest"),
            admin_timeout: Duration::from_millis(read.number("admin.timeout.ms").max(1).unsigned_abs()),
            data_path: match read.word("mirrorkeeper.data.path").as_str() {
                "batch" => DataPath::Batch,
                "record" => DataPath::Record,
                _ => DataPath::Auto,
            },
            force_compression: read.word("mirrorkeeper.compression") == "force",
            max_bytes_per_second: config
                .get("mirrorkeeper.max.bytes.per.second")
                .is_some()
                .then(|| read.number("mirrorkeeper.max.bytes.per.second").unsigned_abs()),
            on_recreated: read.policy("mirrorkeeper.on.recreated"),
            on_truncated: read.policy("mirrorkeeper.on.truncated"),
            on_purged: read.policy("mirrorkeeper.on.purged"),
            source_alias,
            target_alias,
            naming,
            clients,
        };
        if read.problems.is_empty() { Ok(flow) } else { Err(read.problems) }
    }

    /// `client.id` as MirrorMaker gives it: `[user's|]source->target|connector|role`. Quotas may hang on it.
    #[must_use]
    pub fn client_id(&self, configured: Option<&str>, role: &str) -> String {
        let own = format!("{}->{}|{}|{role}", self.source_alias, self.target_alias, self.name);
        configured.filter(|id| !id.is_empty()).map_or(own.clone(), |id| format!("{id}|{own}"))
    }
}

/// Java client properties of one role, as MirrorMaker assembles them: address and security of the cluster, then the role's
/// keys for both sides, then those for this side; the later wins.
#[must_use]
pub fn client(config: &Config, side: Side, role: ClientRole) -> Config {
    assembled(config, side, role)
        .into_iter()
        .map(|(name, given)| (name, given.value))
        .collect::<BTreeMap<_, _>>()
        .into()
}

/// A client's property and the key of the connector file that gave it; none for what MirrorMaker sets itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// The value; may be a secret.
    pub value: String,
    /// The key, as in the file.
    pub key: Option<String>,
}

/// As [`client`], with where each property came from.
#[must_use]
pub fn assembled(config: &Config, side: Side, role: ClientRole) -> BTreeMap<String, Given> {
    let side = match side {
        Side::Source => "source",
        Side::Target => "target",
    };
    let role = match role {
        ClientRole::Consumer => "consumer",
        ClientRole::Producer => "producer",
        ClientRole::Admin => "admin",
    };
    let cluster = format!("{side}.cluster.");
    let own = format!("{side}.{role}.");
    let both = format!("{role}.");
    let mut out: BTreeMap<String, Given> = BTreeMap::new();
    let known: Vec<&str> = keys::client_names(keys::Names::Cluster).collect();
    let layers = [&cluster, &both, &own];
    for (layer, prefix) in layers.into_iter().enumerate() {
        for (name, value) in config.with_prefix(prefix) {
            let other_family = layer == 1 && name.starts_with("override.");
            let ignored = layer == 0 && known.binary_search(&name).is_err();
            if !other_family && !ignored {
                out.insert(name.to_owned(), Given { value: value.to_owned(), key: Some(format!("{prefix}{name}")) });
            }
        }
    }
    if role == "consumer" {
        out.insert("enable.auto.commit".to_owned(), Given { value: "false".to_owned(), key: None });
        let earliest = || Given { value: "earliest".to_owned(), key: None };
        out.entry("auto.offset.reset".to_owned()).or_insert_with(earliest);
    }
    out
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Config {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn is(client: &Config, key: &str, word: &str) -> bool {
    client.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
}

struct Reader<'a> {
    config: &'a Config,
    problems: Vec<ConfigProblem>,
}

impl Reader<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(ConfigProblem { key: key.to_owned(), message: message.into() });
    }

    /// The value or its default, checked against the table. A bad one is noted and its default goes on, so that all
    /// problems are found.
    fn value(&mut self, key: &str) -> Option<String> {
        let default = keys::default(key).map(str::to_owned);
        // `topics.blacklist` and its kind, where nobody has renamed them yet.
        let old = || keys::KEYS.iter().filter(|k| k.replaced_by == Some(key)).find_map(|k| self.config.get(k.name));
        let Some(value) = self.config.get(key).or_else(old).map(str::to_owned) else { return default };
        let kind = keys::key(key).map_or(keys::Kind::String, |key| key.kind);
        match keys::check(kind, &value) {
            Ok(()) => Some(value),
            Err(bad) => {
                self.problem(key, bad.to_string());
                default
            }
        }
    }

    fn text(&mut self, key: &str) -> String {
        let value = self.value(key).unwrap_or_default().trim().to_owned();
        if value.is_empty() {
            self.problem(key, "is required");
        }
        value
    }

    fn word(&mut self, key: &str) -> String {
        self.value(key).unwrap_or_default().trim().to_ascii_lowercase()
    }

    fn flag(&mut self, key: &str) -> bool {
        self.word(key) == "true"
    }

    fn number(&mut self, key: &str) -> i64 {
        let text = self.value(key).unwrap_or_default();
        match text.trim().parse() {
            Ok(number) => number,
            Err(_) => {
                self.problem(key, "expected a number");
                1
            }
        }
    }

    fn factor(&mut self, key: &str) -> i16 {
        i16::try_from(self.number(key)).unwrap_or(-1)
    }

    /// `<what>.enabled` and `<what>.interval.seconds`; a negative interval is never, as in MirrorMaker's scheduler.
    fn interval(&mut self, what: &str) -> Option<Duration> {
        let enabled = self.flag(&format!("{what}.enabled"));
        let seconds = self.number(&format!("{what}.interval.seconds"));
        u64::try_from(seconds).ok().filter(|_| enabled).map(Duration::from_secs)
    }

    fn patterns(&mut self, key: &str) -> PatternList {
        let text = self.value(key).unwrap_or_default();
        match PatternList::parse(&text) {
            Ok(list) => list,
            Err(error) => {
                self.problem(key, format!("the pattern {:?} is wrong: {}", error.item, error.source));
                PatternList::empty()
            }
        }
    }

    fn policy(&mut self, key: &str) -> Policy {
        if self.word(key) == "continue" { Policy::Continue } else { Policy::Fail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Config {
        Config::from([
            ("name", "m"),
            ("connector.class", "MirrorSourceConnector"),
            ("source.cluster.alias", "A"),
            ("target.cluster.alias", "B"),
            ("source.cluster.bootstrap.servers", "a:9092"),
        ])
    }

    #[test]
    fn a_small_file_gets_mirrormakers_defaults() {
        let flow = FlowConfig::of(&base()).unwrap();
        assert!(flow.enabled && flow.heartbeats && !flow.merge && !flow.read_committed && !flow.from_latest);
        assert_eq!(flow.tasks_max, 1);
        assert_eq!(flow.replication_factor, 2);
        assert_eq!(flow.refresh_topics, Some(Duration::from_secs(600)));
        assert_eq!(flow.admin_timeout, Duration::from_secs(60));
        let syncs = flow.offset_syncs.clone().unwrap();
        assert_eq!(
            (syncs.topic.as_str(), syncs.lag_max, syncs.replication_factor),
            ("mm2-offset-syncs.B.internal", 100, 3)
        );
        assert_eq!((flow.on_purged, flow.on_truncated), (Policy::Continue, Policy::Fail));
        assert_eq!(flow.client_id(Some("u"), "replication-consumer"), "u|A->B|m|replication-consumer");
    }

    #[test]
    fn everything_that_is_wrong_is_found_at_once() {
        let mut config = base();
        config.insert("tasks.max", "zero");
        config.insert("topics", "a(b");
        config.insert("sync.topic.acls.enabled", "maybe");
        config.remove("source.cluster.alias");
        let keys: Vec<String> = FlowConfig::of(&config).unwrap_err().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["source.cluster.alias", "topics", "tasks.max", "sync.topic.acls.enabled"]);
    }

    #[test]
    fn intervals_may_be_switched_off_in_two_ways() {
        let mut config = base();
        config.insert("refresh.topics.enabled", "false");
        config.insert("sync.topic.configs.interval.seconds", "-1");
        let flow = FlowConfig::of(&config).unwrap();
        assert_eq!((flow.refresh_topics, flow.sync_topic_configs), (None, None));
    }

    #[test]
    fn client_properties_come_in_three_layers() {
        let mut config = base();
        for (key, value) in [
            ("source.cluster.security.protocol", "SSL"),
            ("source.cluster.request.timeout.ms", "1"),
            ("consumer.fetch.min.bytes", "2"),
            ("consumer.security.protocol", "SASL_SSL"),
            ("source.consumer.fetch.min.bytes", "3"),
            ("consumer.override.fetch.min.bytes", "9"),
            ("source.consumer.isolation.level", "READ_COMMITTED"),
            ("target.consumer.fetch.min.bytes", "8"),
        ] {
            config.insert(key, value);
        }
        let flow = FlowConfig::of(&config).unwrap();
        let consumer = &flow.clients.source_consumer;
        assert_eq!(consumer.get("fetch.min.bytes"), Some("3"));
        assert_eq!(consumer.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(consumer.get("request.timeout.ms"), None, "MirrorMaker ignores it there");
        assert_eq!(consumer.get("auto.offset.reset"), Some("earliest"));
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("override.fetch.min.bytes"), None);
        assert!(flow.read_committed);
        assert_eq!(flow.clients.source_admin.get("security.protocol"), Some("SSL"));
    }

    #[test]
    fn offset_syncs_on_the_target_bear_the_sources_name() {
        let mut config = base();
        config.insert("offset-syncs.topic.location", "target");
        assert_eq!(FlowConfig::of(&config).unwrap().offset_syncs.unwrap().topic, "mm2-offset-syncs.A.internal");
        config.insert("emit.offset-syncs.enabled", "false");
        assert_eq!(FlowConfig::of(&config).unwrap().offset_syncs, None);
    }

    #[test]
    fn old_names_still_count() {
        let mut config = base();
        config.insert("topics.blacklist", "secret.*");
        let flow = FlowConfig::of(&config).unwrap();
        assert!(!flow.topics.matches("secret.x").unwrap());
    }
}
