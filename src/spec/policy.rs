//! Which replication policy a connector asks for, as far as a file can say it. Naming itself is in `mirror::naming`.

use super::Config;
use super::keys;
use super::regex::PatternList;

/// MirrorMaker's own default.
pub const DEFAULT_CLASS: &str = "org.apache.kafka.connect.mirror.DefaultReplicationPolicy";
/// MirrorMaker's policy that keeps names.
pub const IDENTITY_CLASS: &str = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy";
/// The class of AWS's samples; others published another behaviour under the same name.
pub const CUSTOM_CLASS: &str = "com.amazonaws.kafka.samples.CustomMM2ReplicationPolicy";

/// How remote topics are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// `DefaultReplicationPolicy`: the source's alias, a separator, the topic.
    Default,
    /// `IdentityReplicationPolicy`: the topic; heartbeats keep the alias.
    Identity,
    /// `CustomMM2ReplicationPolicy` as AWS publishes it: the topic, heartbeats too.
    CustomIdentity,
    /// `CustomMM2ReplicationPolicy` as also published: the source's alias, whatever the topic.
    CustomAlias,
}

/// What a configuration says about its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Known(PolicyKind),
    /// `CustomMM2ReplicationPolicy` without a word which behaviour is meant, where it matters: this one is taken.
    Ambiguous(PolicyKind),
    /// A class that can't be run here.
    Unsupported(String),
    /// `mirrorkeeper.replication.policy` beside a class that it says nothing about.
    Contradiction,
}

/// Reads the policy of a configuration.
#[must_use]
pub fn choose(config: &Config) -> Choice {
    let class = config.get("replication.policy.class").map_or(DEFAULT_CLASS, str::trim);
    let said = config.get("mirrorkeeper.replication.policy").map(str::trim);
    let custom = class.rsplit('.').next() == Some("CustomMM2ReplicationPolicy");
    match (class, said) {
        (_, Some(word)) if custom && word.eq_ignore_ascii_case("alias") => Choice::Known(PolicyKind::CustomAlias),
        (_, Some(_)) if custom => Choice::Known(PolicyKind::CustomIdentity),
        (DEFAULT_CLASS | IDENTITY_CLASS, Some(_)) => Choice::Contradiction,
        (DEFAULT_CLASS, None) => Choice::Known(PolicyKind::Default),
        (IDENTITY_CLASS, None) => Choice::Known(PolicyKind::Identity),
        (CUSTOM_CLASS, None) if both_agree(config) => Choice::Known(PolicyKind::CustomIdentity),
        (CUSTOM_CLASS, None) => Choice::Ambiguous(PolicyKind::CustomIdentity),
        _ => Choice::Unsupported(class.to_owned()),
    }
}

/// The policy of a configuration that was accepted; `Default` where nothing else can be read.
#[must_use]
pub fn kind(config: &Config) -> PolicyKind {
    match choose(config) {
        Choice::Known(kind) | Choice::Ambiguous(kind) => kind,
        Choice::Unsupported(_) | Choice::Contradiction => PolicyKind::Default,
    }
}

/// One literal topic that is called like the alias: both behaviours write the same remote topic.
fn both_agree(config: &Config) -> bool {
    let alias = config.get("source.cluster.alias").map(str::trim);
    let topics = PatternList::parse(config.get("topics").unwrap_or(".*")).ok();
    match (alias, topics.as_ref().and_then(PatternList::literals).as_deref()) {
        (Some(alias), Some([topic])) => *topic == alias,
        _ => false,
    }
}

/// What stands between alias and topic.
#[must_use]
pub fn separator(config: &Config) -> &str {
    config.get("replication.policy.separator").or_else(|| keys::default("replication.policy.separator")).unwrap_or(".")
}

/// The remote topic of a source topic, heartbeats apart (`ReplicationPolicy.formatRemoteTopic`).
#[must_use]
pub fn remote_topic(kind: PolicyKind, separator: &str, alias: &str, topic: &str) -> String {
    match kind {
        PolicyKind::Default => format!("{alias}{separator}{topic}"),
        PolicyKind::Identity | PolicyKind::CustomIdentity => topic.to_owned(),
        PolicyKind::CustomAlias => alias.to_owned(),
    }
}
