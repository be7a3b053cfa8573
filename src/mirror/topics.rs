//! What remote topics need: creation, more partitions, other settings. Pure: a plan is a value.
//!
//! MirrorMaker's rules (`MirrorSourceConnector.computeAndCreateTopicPartitions`, `targetConfig`, `incrementalAlterConfigs`),
//! with two differences that nobody reading the target can see: nothing is sent that is equal already, and one bad topic
//! leaves the others alone (law 7).

use std::collections::BTreeMap;

use super::filter::ConfigFilter;
use crate::kafka::admin::configs::{AlterConfig, ConfigEntry, ConfigSource};
use crate::kafka::admin::topics::NewTopic;
use crate::spec::regex::MatchError;

/// A topic as one side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Number of partitions.
    pub partitions: i32,
    /// Its settings; `None` when they could not be read.
    pub configs: Option<Vec<ConfigEntry>>,
}

/// A source topic with its remote topic.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Remote topic's name.
    pub remote: String,
    /// At the source.
    pub source: Side,
    /// At the target, where it exists.
    pub target: Option<Side>,
}

/// What has to be done at the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPlan {
    /// Remote topics that are missing.
    pub create: Vec<NewTopic>,
    /// Remote topics with fewer partitions than the source: name and wanted number.
    pub grow: Vec<(String, i32)>,
    /// Settings that differ.
    pub alter: BTreeMap<String, Vec<AlterConfig>>,
    /// Topics nothing could be planned for, with the reason.
    pub problems: BTreeMap<String, String>,
}

impl TopicPlan {
    /// The plan that makes every target of `pairs` what MirrorMaker would have made it.
    #[must_use]
    pub fn new(pairs: &[Pair], filter: &ConfigFilter, replication_factor: i16, sync_configs: bool) -> Self {
        let mut plan = Self::default();
        for pair in pairs {
            if let Err(why) = plan.one(pair, filter, replication_factor, sync_configs) {
                plan.problems.insert(pair.remote.clone(), why);
            }
        }
        plan
    }

    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.grow.is_empty() && self.alter.is_empty()
    }

    fn one(&mut self, pair: &Pair, filter: &ConfigFilter, replication_factor: i16, sync: bool) -> Result<(), String> {
        let unread = || "the settings of the source topic can't be read".to_owned();
        let gave_up = |e: MatchError| e.to_string();
        let Some(target) = &pair.target else {
            let source = pair.source.configs.as_ref().ok_or_else(unread)?;
            let mut configs = Vec::new();
            for entry in copied(source, filter).map_err(gave_up)? {
                if let Some(value) = &entry.value
                    && (!entry.is_default || filter.source_defaults())
                {
                    configs.push((entry.name.clone(), value.clone()));
                }
            }
            let partitions = pair.source.partitions;
            self.create.push(NewTopic { name: pair.remote.clone(), partitions, replication_factor, configs });
            return Ok(());
        };
        if target.partitions < pair.source.partitions {
            self.grow.push((pair.remote.clone(), pair.source.partitions));
        }
        if !sync {
            return Ok(());
        }
        let source = pair.source.configs.as_ref().ok_or_else(unread)?;
        let live = target.configs.as_ref().ok_or("the settings of the remote topic can't be read")?;
        let live: BTreeMap<&str, &ConfigEntry> = live.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let mut changes = Vec::new();
        for entry in copied(source, filter).map_err(gave_up)? {
            let there = live.get(entry.name.as_str());
            if entry.is_default && !filter.source_defaults() {
                // A default of the source takes back what the target's topic sets.
                if there.is_some_and(|there| there.source == ConfigSource::DynamicTopic) {
                    changes.push(AlterConfig::Delete(entry.name.clone()));
                }
            } else if let Some(value) = &entry.value
                && there.is_none_or(|there| there.value.as_ref() != Some(value) || there.source != ConfigSource::DynamicTopic)
            {
                changes.push(AlterConfig::Set(entry.name.clone(), value.clone()));
            }
        }
        if !changes.is_empty() {
            self.alter.insert(pair.remote.clone(), changes);
        }
        Ok(())
    }
}

/// Settings that may be copied at all: not read-only, not sensitive, not from a broker's file, not excluded.
fn copied<'a>(entries: &'a [ConfigEntry], filter: &ConfigFilter) -> Result<Vec<&'a ConfigEntry>, MatchError> {
    let mut copied = Vec::new();
    for entry in entries {
        let own = !entry.read_only && !entry.sensitive && entry.source != ConfigSource::StaticBroker;
        if own && filter.takes(&entry.name)? {
            copied.push(entry);
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Config;

    fn entry(name: &str, value: &str, source: ConfigSource) -> ConfigEntry {
        ConfigEntry {
            name: name.into(),
            value: Some(value.into()),
            read_only: false,
            sensitive: false,
            source,
            is_default: source == ConfigSource::Default,
        }
    }

    fn filter() -> ConfigFilter {
        ConfigFilter::of(&Config::default()).unwrap()
    }

    fn source() -> Side {
        Side {
            partitions: 3,
            configs: Some(vec![
                entry("retention.ms", "5", ConfigSource::DynamicTopic),
                entry("cleanup.policy", "delete", ConfigSource::Default),
                entry("segment.bytes", "7", ConfigSource::StaticBroker),
                entry("min.insync.replicas", "2", ConfigSource::DynamicTopic),
            ]),
        }
    }

    fn plan(target: Option<Side>) -> TopicPlan {
        TopicPlan::new(&[Pair { remote: "a.t".into(), source: source(), target }], &filter(), 2, true)
    }

    #[test]
    fn a_missing_topic_is_created_as_mirror_maker_would() {
        let created = plan(None).create;
        let configs = vec![("retention.ms".to_owned(), "5".to_owned())];
        assert_eq!(created, [NewTopic { name: "a.t".into(), partitions: 3, replication_factor: 2, configs }]);
    }

    #[test]
    fn what_is_equal_is_not_sent_again() {
        let target = Side { partitions: 3, configs: Some(vec![entry("retention.ms", "5", ConfigSource::DynamicTopic)]) };
        assert!(plan(Some(target)).is_empty());
    }

    #[test]
    fn differences_are_set_and_defaults_taken_back() {
        let configs = vec![
            entry("retention.ms", "9", ConfigSource::DynamicTopic),
            entry("cleanup.policy", "compact", ConfigSource::DynamicTopic),
        ];
        let plan = plan(Some(Side { partitions: 1, configs: Some(configs) }));
        assert_eq!(plan.grow, [("a.t".to_owned(), 3)]);
        let expected = vec![
            AlterConfig::Set("retention.ms".into(), "5".into()),
            AlterConfig::Delete("cleanup.policy".into()),
        ];
        assert_eq!(plan.alter.get("a.t"), Some(&expected));
    }

    #[test]
    fn unread_settings_are_a_problem_of_that_topic_only() {
        let bad = Pair { remote: "x".into(), source: Side { partitions: 1, configs: None }, target: None };
        let good = Pair { remote: "a.t".into(), source: source(), target: None };
        let plan = TopicPlan::new(&[bad, good], &filter(), -1, true);
        assert_eq!((plan.create.len(), plan.problems.len()), (1, 1));
    }
}
