//! Which topics and which of their settings are copied (`DefaultTopicFilter`, `DefaultConfigPropertyFilter`). Pure.

use super::naming::Policy;
use crate::spec::regex::{MatchError, PatternError, PatternList};
use crate::spec::{Config, keys};

/// Topics to copy.
#[derive(Debug, Clone)]
pub struct TopicFilter {
    include: PatternList,
    exclude: PatternList,
    heartbeats: bool,
}

/// Settings of topics that are not copied.
#[derive(Debug, Clone)]
pub struct ConfigFilter {
    exclude: PatternList,
    source_defaults: bool,
}

impl TopicFilter {
    /// The filter of a configuration.
    ///
    /// # Errors
    /// A pattern that is not a regular expression of Java's.
    pub fn of(config: &Config) -> Result<Self, PatternError> {
        Ok(Self {
            include: patterns(config, "topics", &[])?,
            exclude: patterns(config, "topics.exclude", &["topics.blacklist"])?,
            heartbeats: flag(config, "heartbeats.replication.enabled"),
        })
    }

    /// Whether `topic` is to be copied (`shouldReplicateTopic`).
    ///
    /// # Errors
    /// A pattern gave up: neither a match nor none.
    pub fn takes(&self, topic: &str, policy: &Policy) -> Result<bool, MatchError> {
        if policy.is_internal(topic) || policy.is_cycle(topic) {
            return Ok(false);
        }
        if self.heartbeats && policy.is_heartbeats(topic) {
            return Ok(true);
        }
        Ok(self.include.matches(topic)? && !self.exclude.matches(topic)?)
    }
}

impl ConfigFilter {
    /// The filter of a configuration.
    ///
    /// # Errors
    /// A pattern that is not a regular expression of Java's.
    pub fn of(config: &Config) -> Result<Self, PatternError> {
        Ok(Self {
            exclude: patterns(config, "config.properties.exclude", &["config.properties.blacklist"])?,
            source_defaults: config.get("use.defaults.from").is_some_and(|v| v.trim().eq_ignore_ascii_case("source")),
        })
    }

    /// Whether the setting `name` is copied.
    ///
    /// # Errors
    /// A pattern gave up.
    pub fn takes(&self, name: &str) -> Result<bool, MatchError> {
        Ok(!self.exclude.matches(name)?)
    }

    /// Whether the source's defaults are copied too (`use.defaults.from=source`).
    #[must_use]
    pub fn source_defaults(&self) -> bool {
        self.source_defaults
    }
}

fn patterns(config: &Config, key: &str, older: &[&str]) -> Result<PatternList, PatternError> {
    let written = std::iter::once(&key).chain(older).find_map(|key| config.get(key));
    PatternList::parse(written.or_else(|| keys::default(key)).unwrap_or_default())
}

/// A boolean key with its default from the table.
pub(super) fn flag(config: &Config, key: &str) -> bool {
    config.get(key).or_else(|| keys::default(key)).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_wins_and_heartbeats_come_along() {
        let mut config = Config::default();
        config.insert("source.cluster.alias", "a");
        config.insert("target.cluster.alias", "b");
        config.insert("topics", "orders.*, exact");
        config.insert("topics.exclude", "orders-private");
        let (filter, policy) = (TopicFilter::of(&config).unwrap(), Policy::of(&config));
        let takes = |topic: &str| filter.takes(topic, &policy).unwrap();
        assert!(takes("orders-eu") && takes("exact") && takes("heartbeats"));
        assert!(!takes("orders-private") && !takes("exactly") && !takes("b.orders-eu") && !takes("__orders"));
        config.insert("heartbeats.replication.enabled", "false");
        assert!(!TopicFilter::of(&config).unwrap().takes("heartbeats", &policy).unwrap());
    }

    #[test]
    fn mirror_makers_exclusions_of_settings_are_the_default() {
        let filter = ConfigFilter::of(&Config::default()).unwrap();
        assert!(!filter.takes("min.insync.replicas").unwrap() && filter.takes("retention.ms").unwrap());
    }
}
