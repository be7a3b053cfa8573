//! Which topics, groups and topic configurations are copied (`DefaultTopicFilter`, `DefaultGroupFilter`,
//! `DefaultConfigPropertyFilter`). Pure.

use super::naming::Naming;
use crate::spec::regex::{MatchError, PatternList};

/// Include and exclude lists; the exclude list wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFilter {
    /// One of these must match the whole name.
    pub include: PatternList,
    /// None of these may.
    pub exclude: PatternList,
}

/// Which configurations of a topic are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPropertyFilter {
    /// Names that are never copied.
    pub exclude: PatternList,
    /// Where a topic says nothing, the source's default is copied (`use.defaults.from=source`).
    pub defaults_from_source: bool,
}

impl NameFilter {
    /// Whether a name is taken.
    ///
    /// # Errors
    /// A pattern was given up: neither yes nor no.
    pub fn matches(&self, name: &str) -> Result<bool, MatchError> {
        Ok(self.include.matches(name)? && !self.exclude.matches(name)?)
    }
}

impl ConfigPropertyFilter {
    /// `shouldReplicateConfigProperty`.
    ///
    /// # Errors
    /// A pattern was given up: neither yes nor no.
    pub fn matches(&self, name: &str) -> Result<bool, MatchError> {
        Ok(!self.exclude.matches(name)?)
    }
}

/// `MirrorSourceConnector.shouldReplicateTopic`.
///
/// # Errors
/// A pattern was given up: neither yes nor no.
pub fn should_replicate(
    topic: &str,
    filter: &NameFilter,
    heartbeats: bool,
    naming: &Naming,
    target_alias: &str,
) -> Result<bool, MatchError> {
    // The cheap questions first: a name that can't be copied never costs a match.
    if naming.is_internal_topic(topic) || naming.is_cycle(topic, target_alias) {
        return Ok(false);
    }
    Ok((heartbeats && naming.is_heartbeats_topic(topic)) || filter.matches(topic)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::keys;
    use crate::spec::policy::PolicyKind;

    fn list(text: &str) -> PatternList {
        PatternList::parse(text).unwrap()
    }

    fn filter(include: &str) -> NameFilter {
        NameFilter { include: list(include), exclude: list(keys::default("topics.exclude").unwrap()) }
    }

    #[test]
    fn excluded_wins_and_the_whole_name_counts() {
        let filter = filter("orders.*, pay");
        assert!(filter.matches("orders.v1").unwrap());
        assert!(!filter.matches("payments").unwrap());
        assert!(!filter.matches("orders.replica").unwrap());
        assert!(!super::tests::filter("").matches("anything").unwrap());
    }

    #[test]
    fn the_configurations_excluded_by_default_are_those_of_kafka() {
        let filter = ConfigPropertyFilter {
            exclude: list(keys::default("config.properties.exclude").unwrap()),
            defaults_from_source: false,
        };
        assert!(!filter.matches("min.insync.replicas").unwrap());
        assert!(!filter.matches("message.timestamp.type").unwrap());
        assert!(filter.matches("retention.ms").unwrap());
        assert!(filter.matches("minXinsync.replicas").unwrap());
    }

    #[test]
    fn heartbeats_pass_whatever_the_filter_says_and_cycles_never_do() {
        let naming = Naming::new(PolicyKind::Default, ".", Some("a"));
        let take =
            |topic: &str, heartbeats| should_replicate(topic, &filter("orders.*"), heartbeats, &naming, "b").unwrap();
        assert!(take("orders", true));
        assert!(take("heartbeats", true));
        assert!(!take("heartbeats", false));
        assert!(!take("b.heartbeats", true));
        assert!(!take("b.orders", true));
        assert!(!take("__consumer_offsets", true));
        assert!(!take("mm2-offset-syncs.b.internal", true));
    }
}
