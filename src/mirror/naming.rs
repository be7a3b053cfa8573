//! Names of remote topics, and where a topic came from. Pure; follows Kafka's replication policies.
//!
//! A cycle is a topic that came from the target: `A.t` on B is not copied to A again (`MirrorSourceConnector.isCycle`).

use crate::spec::policy::{self, PolicyKind};
use crate::spec::Config;

/// A replication policy with its settings (`DefaultReplicationPolicy`, `IdentityReplicationPolicy` and the two published
/// behaviours of `CustomMM2ReplicationPolicy`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    kind: PolicyKind,
    separator: String,
    internal_separator: String,
    source: String,
    target: String,
}

/// MirrorMaker's heartbeats topic.
pub const HEARTBEATS: &str = "heartbeats";

impl Policy {
    /// The policy of an accepted configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let separator = policy::separator(config).to_owned();
        // Java looks at the second key only when the first is there.
        let own = config.get("replication.policy.separator").is_some();
        let off = config.get("replication.policy.internal.topic.separator.enabled").is_some_and(|v| v.trim().eq_ignore_ascii_case("false"));
        let internal_separator = if own && off { ".".to_owned() } else { separator.clone() };
        Self {
            kind: policy::kind(config),
            separator,
            internal_separator,
            source: config.get("source.cluster.alias").unwrap_or_default().to_owned(),
            target: config.get("target.cluster.alias").unwrap_or("target").to_owned(),
        }
    }

    /// The remote topic of a source topic (`formatRemoteTopic`).
    #[must_use]
    pub fn remote_topic(&self, topic: &str) -> String {
        policy::remote_topic(self.kind, &self.separator, &self.source, topic)
    }

    /// Whether `topic` is one of MirrorMaker's heartbeats (`isHeartbeatsTopic`).
    #[must_use]
    pub fn is_heartbeats(&self, topic: &str) -> bool {
        self.original_topic(topic) == HEARTBEATS
    }

    /// Kafka's and MirrorMaker's own topics, never copied (`isInternalTopic`, Kafka 4).
    #[must_use]
    pub fn is_internal(&self, topic: &str) -> bool {
        let internal = format!("{}internal", self.internal_separator);
        let checkpoints = format!("{0}checkpoints{0}internal", self.internal_separator);
        topic.starts_with("__")
            || topic.starts_with('.')
            || (topic.starts_with("mm2") && topic.ends_with(&internal))
            || topic.ends_with(&checkpoints)
    }

    /// Whether copying `topic` would bring it back to where it came from (`isCycle`).
    #[must_use]
    pub fn is_cycle(&self, topic: &str) -> bool {
        let Some(source) = self.topic_source(topic) else { return false };
        if source == self.target || (self.kind == PolicyKind::Default && source == self.source) {
            return true;
        }
        match self.upstream_topic(topic) {
            Some(upstream) if upstream != topic => self.is_cycle(&upstream),
            _ => false,
        }
    }

    /// The topic's name on the cluster where it was first written (`originalTopic`).
    #[must_use]
    pub fn original_topic(&self, topic: &str) -> String {
        let mut topic = topic.to_owned();
        while let Some(upstream) = self.upstream_topic(&topic)
            && upstream != topic
        {
            topic = upstream;
        }
        topic
    }

    fn keeps_names(&self, topic: &str) -> bool {
        match self.kind {
            PolicyKind::Default => false,
            // Heartbeats stay distinguishable under the identity policy.
            PolicyKind::Identity => !topic.ends_with(HEARTBEATS),
            PolicyKind::CustomIdentity | PolicyKind::CustomAlias => true,
        }
    }

    /// The alias a topic came from (`topicSource`), as Java's `split` finds it.
    fn topic_source(&self, topic: &str) -> Option<String> {
        if self.keeps_names(topic) {
            return Some(self.source.clone()).filter(|source| !source.is_empty());
        }
        // Java's split drops trailing empty parts, so `us-west.` has one part and no source.
        let mut parts: Vec<_> = topic.split(&self.separator).collect();
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        (parts.len() >= 2).then(|| parts[0].to_owned())
    }

    fn upstream_topic(&self, topic: &str) -> Option<String> {
        if self.keeps_names(topic) {
            return Some(topic.to_owned());
        }
        let source = self.topic_source(topic)?;
        topic.get(source.len() + self.separator.len()..).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(pairs: &[(&str, &str)]) -> Policy {
        let mut config = Config::default();
        config.insert("source.cluster.alias", "a");
        config.insert("target.cluster.alias", "b");
        for (key, value) in pairs {
            config.insert(*key, *value);
        }
        Policy::of(&config)
    }

    const IDENTITY: (&str, &str) = ("replication.policy.class", policy::IDENTITY_CLASS);

    #[test]
    fn the_default_policy_prefixes() {
        let policy = policy(&[]);
        assert_eq!(policy.remote_topic("orders"), "a.orders");
        assert!(policy.is_heartbeats("heartbeats") && policy.is_heartbeats("x.heartbeats"));
        assert_eq!(policy.original_topic("x.y.t"), "t");
    }

    #[test]
    fn what_came_from_the_target_is_a_cycle() {
        let policy = policy(&[]);
        assert!(policy.is_cycle("b.orders") && policy.is_cycle("c.b.orders") && policy.is_cycle("a.orders"));
        assert!(!policy.is_cycle("orders") && !policy.is_cycle("c.orders") && !policy.is_cycle("b."));
    }

    #[test]
    fn identity_keeps_names_but_not_of_heartbeats() {
        let policy = policy(&[IDENTITY]);
        assert_eq!(policy.remote_topic("b.orders"), "b.orders");
        assert_eq!(policy.remote_topic("heartbeats"), "a.heartbeats");
        assert!(!policy.is_cycle("b.orders") && policy.is_cycle("b.heartbeats"));
    }

    #[test]
    fn internal_topics_are_those_of_kafka_4() {
        let policy = policy(&[]);
        for topic in ["__consumer_offsets", ".x", "mm2-offset-syncs.b.internal", "a.checkpoints.internal"] {
            assert!(policy.is_internal(topic), "{topic}");
        }
        assert!(!policy.is_internal("orders.internal") && !policy.is_internal("orders"));
        let dashed = self::policy(&[("replication.policy.separator", "-")]);
        assert!(dashed.is_internal("mm2-offset-syncs-b-internal") && !dashed.is_internal("mm2-x.internal"));
    }
}
