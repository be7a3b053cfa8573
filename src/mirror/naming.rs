//! What topics are called on the other side: MirrorMaker's replication policies, exactly. Pure.
//!
//! `DefaultReplicationPolicy` and `IdentityReplicationPolicy` as in Kafka 4.1, and `CustomMM2ReplicationPolicy` in both of
//! its published behaviours.

use crate::spec::Config;
use crate::spec::policy::{self, PolicyKind};

/// The name of the topic that holds heartbeats; no separator changes it.
pub const HEARTBEATS: &str = "heartbeats";

/// A configured replication policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    kind: PolicyKind,
    separator: String,
    internal_separator: String,
    source_alias: Option<String>,
}

impl Naming {
    /// A policy with one separator for everything.
    #[must_use]
    pub fn new(kind: PolicyKind, separator: &str, source_alias: Option<&str>) -> Self {
        Self {
            kind,
            separator: separator.to_owned(),
            internal_separator: separator.to_owned(),
            source_alias: source_alias.map(str::to_owned),
        }
    }

    /// The policy of a connector's configuration. As in MirrorMaker, the key about internal topics is looked at only where
    /// a separator is configured.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut naming = Self::new(
            policy::kind(config),
            policy::separator(config),
            config.get("source.cluster.alias").map(str::trim),
        );
        let internal = config.get("replication.policy.internal.topic.separator.enabled").map(str::trim);
        if config.get("replication.policy.separator").is_some()
            && internal.is_some_and(|v| v.eq_ignore_ascii_case("false"))
        {
            ".".clone_into(&mut naming.internal_separator);
        }
        naming
    }

    /// The policy.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// `formatRemoteTopic`. Heartbeats keep the alias wherever another rule would merge them into a topic of data.
    #[must_use]
    pub fn format_remote_topic(&self, alias: &str, topic: &str) -> String {
        policy::remote_topic(self.rule(topic), &self.separator, alias, topic)
    }

    /// `topicSource`: the alias that a remote topic's name tells.
    #[must_use]
    pub fn topic_source<'a>(&'a self, topic: &'a str) -> Option<&'a str> {
        match self.rule(topic) {
            PolicyKind::Default => self.first_part(topic),
            _ => self.source_alias.as_deref(),
        }
    }

    /// `upstreamTopic`: the name one hop closer to the origin.
    #[must_use]
    pub fn upstream_topic<'a>(&self, topic: &'a str) -> Option<&'a str> {
        match self.rule(topic) {
            PolicyKind::Default => {
                let source = self.first_part(topic)?;
                topic.get(source.len() + self.separator.len()..)
            }
            PolicyKind::Identity => Some(topic),
            PolicyKind::CustomIdentity | PolicyKind::CustomAlias => None,
        }
    }

    /// `originalTopic`: the name at the origin.
    #[must_use]
    pub fn original_topic<'a>(&self, topic: &'a str) -> &'a str {
        let mut topic = topic;
        // Every step drops at least one character, or ends.
        while let Some(upstream) = self.upstream_topic(topic).filter(|upstream| upstream.len() < topic.len()) {
            topic = upstream;
        }
        topic
    }

    /// `offsetSyncsTopic`.
    #[must_use]
    pub fn offset_syncs_topic(&self, alias: &str) -> String {
        let s = &self.internal_separator;
        format!("mm2-offset-syncs{s}{alias}{s}internal")
    }

    /// `checkpointsTopic`.
    #[must_use]
    pub fn checkpoints_topic(&self, alias: &str) -> String {
        let s = &self.internal_separator;
        format!("{alias}{s}checkpoints{s}internal")
    }

    /// `isHeartbeatsTopic`: heartbeats of this cluster or, copied, of another.
    #[must_use]
    pub fn is_heartbeats_topic(&self, topic: &str) -> bool {
        self.original_topic(topic) == HEARTBEATS
    }

    /// `isCheckpointsTopic`.
    #[must_use]
    pub fn is_checkpoints_topic(&self, topic: &str) -> bool {
        let s = &self.internal_separator;
        topic.ends_with(&format!("{s}checkpoints{s}internal"))
    }

    /// `isMM2InternalTopic`, as since Kafka 4.0 (KIP-1074).
    #[must_use]
    pub fn is_mm2_internal_topic(&self, topic: &str) -> bool {
        let suffix = format!("{}internal", self.internal_separator);
        (topic.starts_with("mm2") && topic.ends_with(&suffix)) || self.is_checkpoints_topic(topic)
    }

    /// `isInternalTopic`, as since Kafka 4.0.
    #[must_use]
    pub fn is_internal_topic(&self, topic: &str) -> bool {
        topic.starts_with("__") || topic.starts_with('.') || self.is_mm2_internal_topic(topic)
    }

    /// `MirrorSourceConnector.isCycle`: the topic came from the target.
    #[must_use]
    pub fn is_cycle(&self, topic: &str, target_alias: &str) -> bool {
        let mut topic = topic;
        loop {
            match self.topic_source(topic) {
                None => return false,
                Some(source) if source == target_alias => return true,
                Some(_) => {}
            }
            match self.upstream_topic(topic) {
                Some(upstream) if upstream.len() < topic.len() => topic = upstream,
                _ => return false,
            }
        }
    }

    /// By which rule a topic is named.
    fn rule(&self, topic: &str) -> PolicyKind {
        match self.kind {
            PolicyKind::Identity if topic.ends_with(HEARTBEATS) => PolicyKind::Default,
            PolicyKind::CustomAlias if self.looks_like_heartbeats(topic) => PolicyKind::Default,
            kind => kind,
        }
    }

    fn looks_like_heartbeats(&self, topic: &str) -> bool {
        topic == HEARTBEATS || topic.ends_with(&format!("{}{HEARTBEATS}", self.separator))
    }

    /// The first of at least two parts, split as Java's `String.split` does: empty parts at the end don't count.
    fn first_part<'a>(&self, topic: &'a str) -> Option<&'a str> {
        if self.separator.is_empty() {
            let mut chars = topic.char_indices();
            chars.next()?;
            return chars.next().map(|(second, _)| &topic[..second]);
        }
        let (first, rest) = topic.split_once(self.separator.as_str())?;
        rest.split(self.separator.as_str()).any(|part| !part.is_empty()).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn default() -> Naming {
        Naming::new(PolicyKind::Default, ".", Some("source"))
    }

    #[test]
    fn the_default_policy_puts_the_alias_in_front() {
        let naming = default();
        assert_eq!(naming.format_remote_topic("us", "orders"), "us.orders");
        assert_eq!(naming.topic_source("us.orders"), Some("us"));
        assert_eq!(naming.upstream_topic("us.orders.v1"), Some("orders.v1"));
        assert_eq!(naming.original_topic("a.b.t"), "t");
        assert_eq!(naming.topic_source("orders"), None);
        assert_eq!(naming.topic_source("us-west."), None);
        assert_eq!(naming.topic_source("us-west.."), None);
        assert_eq!(naming.topic_source(".foo"), Some(""));
        assert_eq!(naming.topic_source("."), None);
        assert_eq!(naming.upstream_topic(".foo"), Some("foo"));
        let other = Naming::new(PolicyKind::Default, "__", Some("source"));
        assert_eq!(other.topic_source("us__orders.v1"), Some("us"));
    }

    #[test]
    fn heartbeats_and_checkpoints_are_recognised() {
        let naming = default();
        for yes in ["heartbeats", "source1.heartbeats", "source2.source1.heartbeats"] {
            assert!(naming.is_heartbeats_topic(yes), "{yes}");
        }
        for no in ["heartbeats!", "source1heartbeats", "source1-heartbeats"] {
            assert!(!naming.is_heartbeats_topic(no), "{no}");
        }
        assert!(naming.is_checkpoints_topic("source1.checkpoints.internal"));
        assert!(!naming.is_checkpoints_topic("checkpoints.internal"));
        assert!(!naming.is_checkpoints_topic("checkpoints-internal"));
    }

    #[test]
    fn internal_topics_are_those_of_kafka_4() {
        let naming = default();
        for yes in
            ["__consumer_offsets", ".hidden", "mm2-offset-syncs.b.internal", "a.checkpoints.internal", "mm2.internal"]
        {
            assert!(naming.is_internal_topic(yes), "{yes}");
        }
        for no in ["orders.internal", "orders-internal", "mm2-orders", "_schemas"] {
            assert!(!naming.is_internal_topic(no), "{no}");
        }
    }

    #[test]
    fn the_internal_separator_needs_a_separator_beside_it() {
        let base = [("source.cluster.alias", "a"), ("replication.policy.internal.topic.separator.enabled", "false")];
        let mut config = Config::from(base);
        assert_eq!(Naming::of(&config).offset_syncs_topic("B"), "mm2-offset-syncs.B.internal");
        config.insert("replication.policy.separator", "__");
        assert_eq!(Naming::of(&config).offset_syncs_topic("B"), "mm2-offset-syncs.B.internal");
        config.remove("replication.policy.internal.topic.separator.enabled");
        assert_eq!(Naming::of(&config).offset_syncs_topic("B"), "mm2-offset-syncs__B__internal");
        assert_eq!(Naming::of(&config).checkpoints_topic("B"), "B__checkpoints__internal");
    }

    #[test]
    fn nothing_goes_in_circles_under_the_default_policy() {
        let naming = default();
        for circle in ["target.topic1", "target.source.topic1", "source.target.topic1", "source.target.source.topic1"] {
            assert!(naming.is_cycle(circle, "target"), "{circle}");
        }
        assert!(!naming.is_cycle("topic1", "target"));
        assert!(!naming.is_cycle("source.topic1", "target"));
    }

    #[test]
    fn identity_keeps_names_and_gives_heartbeats_the_alias() {
        let naming = Naming::new(PolicyKind::Identity, ".", Some("a"));
        assert_eq!(naming.format_remote_topic("a", "orders.v1"), "orders.v1");
        assert_eq!(naming.format_remote_topic("a", "heartbeats"), "a.heartbeats");
        assert_eq!(naming.topic_source("orders"), Some("a"));
        assert_eq!(naming.upstream_topic("orders"), Some("orders"));
        assert_eq!(naming.original_topic("orders"), "orders");
        assert!(!naming.is_cycle("b.orders", "b"));
        assert!(naming.is_cycle("b.heartbeats", "b"));
        assert_eq!(Naming::new(PolicyKind::Identity, ".", None).topic_source("orders"), None);
    }

    #[test]
    fn the_alias_policy_writes_one_topic_and_leaves_heartbeats_out_of_it() {
        let naming = Naming::new(PolicyKind::CustomAlias, ".", Some("events"));
        assert_eq!(naming.format_remote_topic("events", "whatever"), "events");
        assert_eq!(naming.format_remote_topic("events", "heartbeats"), "events.heartbeats");
        assert!(naming.is_heartbeats_topic("events.heartbeats"));
        let aws = Naming::new(PolicyKind::CustomIdentity, ".", Some("events"));
        assert_eq!(aws.format_remote_topic("events", "whatever"), "whatever");
        assert_eq!(aws.upstream_topic("whatever"), None);
        assert_eq!(aws.topic_source("whatever"), Some("events"));
    }

    proptest! {
        #[test]
        fn a_remote_topic_tells_where_it_came_from(alias in "[a-z-]{1,8}", topic in "[a-z.]{0,8}[a-z]") {
            let naming = default();
            let remote = naming.format_remote_topic(&alias, &topic);
            prop_assert_eq!(naming.topic_source(&remote), Some(alias.as_str()));
            prop_assert_eq!(naming.upstream_topic(&remote), Some(topic.as_str()));
            prop_assert!(naming.is_cycle(&remote, &alias));
        }

        #[test]
        fn every_name_has_an_origin(kind in 0..4, separator in "[._-]{0,2}", topic in "[a-b._-]{0,12}") {
            let kinds = [PolicyKind::Default, PolicyKind::Identity, PolicyKind::CustomIdentity, PolicyKind::CustomAlias];
            let naming = Naming::new(kinds[usize::try_from(kind).unwrap()], &separator, Some("a"));
            let origin = naming.original_topic(&topic).to_owned();
            prop_assert_eq!(naming.original_topic(&origin), origin.as_str());
            let _ = naming.is_cycle(&topic, "b");
        }
    }
}
