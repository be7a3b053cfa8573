//! What may stand in a connector file: every key of MirrorMaker 2 and Kafka Connect, and `mirrorkeeper.*`.
//!
//! [`KEYS`] is the one table: parser, JSON Schema, `explain` and documentation read it. Defaults are those of Apache
//! Kafka 4.1; a test compares them with what Kafka's own classes say.

mod clients;
mod meaning;
mod secrets;
mod suggest;
mod table;
mod values;

pub use meaning::{Meaning, meaning};
pub use secrets::{Reference, holds_literal_secret, is_secret, must_be_masked, only_references, references};
pub(super) use suggest::distance;
pub(crate) use suggest::nearest;
pub use suggest::suggest;
pub use table::KEYS;
pub use values::{BadValue, canonical, check, list};

use clients::{ADMIN, CLIENT_KEYS, CLUSTER, CONSUMER, PRODUCER};

/// The prefix of the keys that are ours.
pub const OWN_PREFIX: &str = "mirrorkeeper.";

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Which connectors read it.
    pub connectors: Connectors,
    /// What its value may be.
    pub kind: Kind,
    /// The value when it isn't there; `None`: no value.
    pub default: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
    /// What a change of it costs.
    pub effect: Effect,
    /// The connector can't run without it.
    pub required: bool,
    /// The key that took its place.
    pub replaced_by: Option<&'static str>,
}

/// Which of MirrorMaker's three connectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connectors(pub(crate) u8);

/// What a value may be. Numbers and booleans may be written as JSON numbers, booleans or strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    String,
    /// A 32-bit number, both bounds included.
    Int {
        /// Smallest.
        min: i32,
        /// Largest.
        max: i32,
    },
    /// A 64-bit number, both bounds included.
    Long {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number with a fraction.
    Double,
    /// Seconds: 1 or more; negative switches off; 0 makes Java's scheduler fail and is refused.
    Interval,
    /// 1 to 32767, or -1 for the broker's default.
    ReplicationFactor,
    /// `true` or `false`, case doesn't matter.
    Bool,
    /// Words separated by commas, white space around them dropped.
    List,
    /// The name of a Java class.
    Class,
    /// One of these words; case doesn't matter.
    Enum(&'static [&'static str]),
    /// Java regular expressions separated by commas; one that matches the whole name is enough.
    Regexes,
}

/// What a change of a value costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing changes in what runs.
    None,
    /// It takes effect while copying goes on.
    Hot,
    /// Connections are made anew.
    Reconnect,
    /// The flow stops and starts at its position.
    Restart,
    /// Progress or remote topics get other names: records are copied again.
    ReReplicate,
}

/// A family of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// How they begin.
    pub prefix: &'static str,
    /// What may follow.
    pub names: Names,
    /// What they mean.
    pub doc: &'static str,
    /// What a change costs.
    pub effect: Effect,
}

/// What may follow a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Address and security of a cluster; MirrorMaker ignores anything else there.
    Cluster,
    /// A producer's configuration.
    Producer,
    /// A consumer's configuration.
    Consumer,
    /// An admin client's configuration.
    Admin,
    /// Whatever the class that reads it understands.
    Any,
}

/// What a name turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A key of the table.
    Key(&'static Key),
    /// A prefix and a name that is known behind it.
    Prefixed {
        /// The family.
        prefix: &'static Prefix,
        /// The name behind the prefix.
        rest: &'a str,
        /// What its value may be.
        kind: Kind,
    },
    /// A prefix and a name that nobody knows behind it.
    Foreign {
        /// The family.
        prefix: &'static Prefix,
        /// The name behind the prefix.
        rest: &'a str,
    },
}

/// Every prefix, the longer before the shorter that it begins with.
#[rustfmt::skip]
pub const PREFIXES: &[Prefix] = &[
    prefix("source.cluster.", Names::Cluster, Effect::Reconnect, "Address and security of the source cluster."),
    prefix("target.cluster.", Names::Cluster, Effect::Reconnect, "Address and security of the target cluster."),
    prefix("source.producer.", Names::Producer, Effect::Reconnect, "Producers that write to the source cluster: offset syncs."),
    prefix("source.consumer.", Names::Consumer, Effect::Reconnect, "Consumers that read from the source cluster."),
    prefix("source.admin.", Names::Admin, Effect::Reconnect, "Administration of the source cluster."),
    prefix("target.producer.", Names::Producer, Effect::Reconnect, "Producers of MirrorMaker's own records on the target cluster; not the one that copies data."),
    prefix("target.consumer.", Names::Consumer, Effect::Reconnect, "Consumers that read from the target cluster."),
    prefix("target.admin.", Names::Admin, Effect::Reconnect, "Administration of the target cluster."),
    prefix("producer.override.", Names::Producer, Effect::Reconnect, "The producer that copies data (KIP-458)."),
    prefix("consumer.override.", Names::Consumer, Effect::None, "Consumers of sink connectors (KIP-458); MirrorMaker has none."),
    prefix("admin.override.", Names::Admin, Effect::None, "Administration by Kafka Connect's own topic creation (KIP-458)."),
    prefix("producer.", Names::Producer, Effect::Reconnect, "Producers of MirrorMaker's own records; not the one that copies data."),
    prefix("consumer.", Names::Consumer, Effect::Reconnect, "All consumers."),
    prefix("admin.", Names::Admin, Effect::Reconnect, "Administration of both clusters."),
    prefix("transforms.", Names::Any, Effect::Restart, "Single message transforms."),
    prefix("predicates.", Names::Any, Effect::Restart, "Predicates of single message transforms."),
    prefix("topic.creation.", Names::Any, Effect::None, "Kafka Connect's own topic creation (KIP-158); MirrorMaker creates its topics itself."),
    prefix("key.converter.", Names::Any, Effect::None, "Settings of the key converter; bytes are copied as they are here."),
    prefix("value.converter.", Names::Any, Effect::None, "Settings of the value converter; bytes are copied as they are here."),
    prefix("header.converter.", Names::Any, Effect::None, "Settings of the header converter; bytes are copied as they are here."),
    prefix("config.providers.", Names::Any, Effect::Reconnect, "Settings of configuration providers."),
    prefix("replication.policy.", Names::Any, Effect::ReReplicate, "Settings of a replication policy."),
    prefix("ssl.", Names::Any, Effect::None, "Has no effect here; write it behind `source.cluster.` and `target.cluster.`."),
    prefix("sasl.", Names::Any, Effect::None, "Has no effect here; write it behind `source.cluster.` and `target.cluster.`."),
];

const fn prefix(prefix: &'static str, names: Names, effect: Effect, doc: &'static str) -> Prefix {
    Prefix { prefix, names, doc, effect }
}

/// The row of an exact name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|index| &KEYS[index])
}

/// What a name is: a row of the table, or a name behind a prefix. `None`: nobody knows it.
#[must_use]
pub fn lookup(name: &str) -> Option<Found<'_>> {
    if let Some(key) = key(name) {
        return Some(Found::Key(key));
    }
    let prefix = PREFIXES.iter().find(|p| name.len() > p.prefix.len() && name.starts_with(p.prefix))?;
    let rest = &name[prefix.prefix.len()..];
    if prefix.names == Names::Any {
        return Some(Found::Prefixed { prefix, rest, kind: Kind::String });
    }
    Some(match client_key(prefix.names, rest) {
        Some(kind) => Found::Prefixed { prefix, rest, kind },
        None => Found::Foreign { prefix, rest },
    })
}

/// What a change of a key costs; the worst for a name that nobody knows is a restart.
#[must_use]
pub fn effect(name: &str) -> Effect {
    match lookup(name) {
        Some(Found::Key(key)) => key.effect,
        Some(Found::Prefixed { prefix, .. } | Found::Foreign { prefix, .. }) => prefix.effect,
        None => Effect::Restart,
    }
}

/// The value that holds when a key isn't written.
#[must_use]
pub fn default(name: &str) -> Option<&'static str> {
    key(name)?.default
}

/// The names that Kafka's clients know behind a prefix.
pub fn client_names(names: Names) -> impl Iterator<Item = &'static str> {
    let mask = mask(names);
    CLIENT_KEYS.iter().filter(move |(_, _, clients)| clients & mask == mask && mask != 0).map(|(name, _, _)| *name)
}

fn client_key(names: Names, rest: &str) -> Option<Kind> {
    let index = CLIENT_KEYS.binary_search_by(|(name, _, _)| (*name).cmp(rest)).ok()?;
    let (_, kind, clients) = CLIENT_KEYS[index];
    (clients & mask(names) == mask(names)).then_some(kind)
}

fn mask(names: Names) -> u8 {
    match names {
        Names::Cluster => CLUSTER,
        Names::Producer => PRODUCER,
        Names::Consumer => CONSUMER,
        Names::Admin => ADMIN,
        Names::Any => 0,
    }
}

// === impl Connectors ===

impl Connectors {
    /// `MirrorSourceConnector`.
    pub const SOURCE: Self = Self(1);
    /// `MirrorCheckpointConnector`.
    pub const CHECKPOINT: Self = Self(2);
    /// `MirrorHeartbeatConnector`.
    pub const HEARTBEAT: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Whether all of `other` are among these.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// None at all: a key that others write into connector files and nobody reads there.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The simple class name, for one of the three.
    #[must_use]
    pub fn class_name(self) -> &'static str {
        match self {
            Self::SOURCE => "MirrorSourceConnector",
            Self::CHECKPOINT => "MirrorCheckpointConnector",
            Self::HEARTBEAT => "MirrorHeartbeatConnector",
            _ => "MirrorMaker 2",
        }
    }

    /// The connector of a class name, full or simple, as Kafka Connect accepts it.
    #[must_use]
    pub fn of_class(class: &str) -> Option<Self> {
        let simple = class.trim().strip_prefix("org.apache.kafka.connect.mirror.").unwrap_or(class.trim());
        match simple {
            "MirrorSourceConnector" | "MirrorSource" => Some(Self::SOURCE),
            "MirrorCheckpointConnector" | "MirrorCheckpoint" => Some(Self::CHECKPOINT),
            "MirrorHeartbeatConnector" | "MirrorHeartbeat" => Some(Self::HEARTBEAT),
            _ => None,
        }
    }
}

// === impl Kind ===

impl Kind {
    /// Any 32-bit number.
    pub const INT: Self = Self::Int { min: i32::MIN, max: i32::MAX };
    /// Any 64-bit number.
    pub const LONG: Self = Self::Long { min: i64::MIN, max: i64::MAX };

    /// What a person would call it.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::String => "text".to_owned(),
            Self::Int { min, max } => range("a number", min.into(), max.into(), i32::MIN.into(), i32::MAX.into()),
            Self::Long { min, max } => range("a number", min, max, i64::MIN, i64::MAX),
            Self::Double => "a number".to_owned(),
            Self::Interval => "a number of seconds, 1 or more, or negative for never".to_owned(),
            Self::ReplicationFactor => "a number from 1 to 32767, or -1 for the broker's default".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::List => "words separated by commas".to_owned(),
            Self::Class => "the name of a Java class".to_owned(),
            Self::Enum(words) => format!("one of {}", words.join(", ")),
            Self::Regexes => "Java regular expressions separated by commas".to_owned(),
        }
    }
}

fn range(what: &str, min: i64, max: i64, lowest: i64, highest: i64) -> String {
    match (min == lowest, max == highest) {
        (true, true) => format!("{what} without fraction"),
        (false, true) => format!("{what} without fraction, {min} or more"),
        (true, false) => format!("{what} without fraction, {max} or less"),
        (false, false) => format!("{what} without fraction from {min} to {max}"),
    }
}

#[cfg(test)]
mod tests;
