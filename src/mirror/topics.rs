//! Remote topics: what must be created, grown or configured so that they are as the source has them. Pure.
//!
//! The rules are `MirrorSourceConnector`'s; unlike there, nothing is sent when it is equal already, and a topic that can't
//! be planned is a problem of its own and stops no other (law 7).

use std::collections::BTreeMap;

use super::config::FlowConfig;
use crate::spec::regex::MatchError;

/// The longest topic name that Kafka takes.
const MAX_NAME: usize = 249;

/// One configuration of a topic, as `DescribeConfigs` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Name, such as `retention.ms`.
    pub name: String,
    /// Value; `None` where the broker hides it.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// It can't be changed.
    pub read_only: bool,
    /// It is a secret.
    pub sensitive: bool,
}

/// Where a configuration comes from (`ConfigEntry.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Set on the topic itself.
    Topic,
    /// Set on a broker, or on all, while running: counts as the topic's own when it is copied.
    DynamicBroker,
    /// From a broker's file: never copied.
    StaticBroker,
    /// Kafka's default.
    Default,
}

/// A topic of one side. `configs` is `None` while they could not be read, which is not "none" (law 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Configurations, as far as they could be read.
    pub configs: Option<Vec<TopicConfig>>,
}

/// What must be done on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPlan {
    /// Remote topics to create.
    pub creates: Vec<Create>,
    /// Remote topics to give more partitions.
    pub growths: Vec<Growth>,
    /// Remote topics to configure.
    pub alters: Vec<Alter>,
    /// Source topics that can't be mirrored as they are, and why. Their neighbours go on.
    pub problems: Vec<TopicProblem>,
}

/// A remote topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The source topic.
    pub topic: String,
    /// Its name on the target.
    pub remote: String,
    /// Partitions.
    pub partitions: i32,
    /// Replication factor; -1: the broker's default.
    pub replication_factor: i16,
    /// Configurations, in order of name.
    pub configs: Vec<(String, String)>,
}

/// A remote topic to give more partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Name on the target.
    pub remote: String,
    /// Partitions now.
    pub from: i32,
    /// Partitions wanted.
    pub to: i32,
}

/// A remote topic to configure, by `IncrementalAlterConfigs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alter {
    /// Name on the target.
    pub remote: String,
    /// To set, in order of name.
    pub set: Vec<(String, String)>,
    /// To take back to the default, in order of name.
    pub delete: Vec<String>,
}

/// A source topic that can't be mirrored as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicProblem {
    /// Its configurations could not be read, so the remote topic isn't created or configured yet.
    #[error("the configurations of the source topic {topic} could not be read; it is not created or configured")]
    ConfigsUnknown {
        /// The source topic.
        topic: String,
    },
    /// Several topics go into one, and nobody said so.
    #[error("the source topics {} would all be written into {remote}; mirrorkeeper.merge=true allows it", topics.join(", "))]
    Merged {
        /// The source topics.
        topics: Vec<String>,
        /// Their common remote topic.
        remote: String,
    },
    /// Kafka takes no topic of that name.
    #[error("the source topic {topic} would be called {remote}, which is no name for a topic")]
    BadName {
        /// The source topic.
        topic: String,
        /// Its name on the target.
        remote: String,
    },
    /// A filter's pattern was given up on.
    #[error("the configurations of the source topic {topic} could not be filtered")]
    Filter {
        /// The source topic.
        topic: String,
        /// Which pattern.
        source: MatchError,
    },
}

impl TopicPlan {
    /// Compares the source's topics (those that are mirrored, and no others) with the target's. `sync_configs` says whether
    /// configurations of existing topics are compared this time. Several sources of one remote topic, where that is
    /// allowed, give it the most partitions of any and the configurations of the first by name.
    #[must_use]
    pub fn new(source: &[Topic], target: &[Topic], flow: &FlowConfig, sync_configs: bool) -> Self {
        let existing: BTreeMap<&str, &Topic> = target.iter().map(|topic| (topic.name.as_str(), topic)).collect();
        let mut by_remote: BTreeMap<String, Vec<&Topic>> = BTreeMap::new();
        for topic in source {
            by_remote.entry(flow.naming.format_remote_topic(&flow.source_alias, &topic.name)).or_default().push(topic);
        }
        let mut plan = Self::default();
        for (remote, mut topics) in by_remote {
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            if let Err(problem) =
                plan.topic(&remote, &topics, existing.get(remote.as_str()).copied(), flow, sync_configs)
            {
                plan.problems.push(problem);
            }
        }
        plan
    }

    /// Nothing to do and nothing wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.creates.is_empty() && self.growths.is_empty() && self.alters.is_empty() && self.problems.is_empty()
    }

    fn topic(
        &mut self,
        remote: &str,
        topics: &[&Topic],
        existing: Option<&Topic>,
        flow: &FlowConfig,
        sync_configs: bool,
    ) -> Result<(), TopicProblem> {
        let Some(first) = topics.first() else { return Ok(()) };
        let topic = first.name.clone();
        if topics.len() > 1 && !flow.merge {
            let topics = topics.iter().map(|topic| topic.name.clone()).collect();
            return Err(TopicProblem::Merged { topics, remote: remote.to_owned() });
        }
        if !legal(remote) {
            return Err(TopicProblem::BadName { topic, remote: remote.to_owned() });
        }
        let partitions = topics.iter().map(|topic| topic.partitions).max().unwrap_or(1);
        let unknown = || TopicProblem::ConfigsUnknown { topic: topic.clone() };
        let Some(existing) = existing else {
            let configs = wanted(first, flow)?.ok_or_else(unknown)?;
            let configs = configs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let (remote, replication_factor) = (remote.to_owned(), flow.replication_factor);
            self.creates.push(Create { topic, remote, partitions, replication_factor, configs });
            return Ok(());
        };
        // Partitions first: what can't be configured can still be copied.
        if partitions > existing.partitions {
            self.growths.push(Growth { remote: remote.to_owned(), from: existing.partitions, to: partitions });
        }
        if sync_configs {
            let wanted = wanted(first, flow)?.ok_or_else(unknown)?;
            let now = existing.configs.as_ref().ok_or_else(unknown)?;
            self.alters.extend(alter(remote, wanted, now));
        }
        Ok(())
    }
}

/// The source's configurations that count: a value to set, or `None` to take the target's default. `None` altogether when
/// they could not be read.
fn wanted(topic: &Topic, flow: &FlowConfig) -> Result<Option<BTreeMap<String, Option<String>>>, TopicProblem> {
    let Some(configs) = &topic.configs else { return Ok(None) };
    let mut wanted = BTreeMap::new();
    for config in configs {
        if config.read_only || config.sensitive || config.origin == Origin::StaticBroker {
            continue;
        }
        let copied = flow
            .config_properties
            .matches(&config.name)
            .map_err(|source| TopicProblem::Filter { topic: topic.name.clone(), source })?;
        if !copied {
            continue;
        }
        let value = if config.origin == Origin::Default && !flow.config_properties.defaults_from_source {
            None
        } else if config.value.is_none() {
            continue;
        } else {
            config.value.clone()
        };
        wanted.insert(config.name.clone(), value);
    }
    Ok(Some(wanted))
}

/// What must be sent so that the target is as wanted; `None` when it is.
fn alter(remote: &str, wanted: BTreeMap<String, Option<String>>, now: &[TopicConfig]) -> Option<Alter> {
    let own: BTreeMap<&str, Option<&str>> = now
        .iter()
        .filter(|config| config.origin == Origin::Topic)
        .map(|config| (config.name.as_str(), config.value.as_deref()))
        .collect();
    let mut alter = Alter { remote: remote.to_owned(), set: Vec::new(), delete: Vec::new() };
    for (name, value) in wanted {
        match value {
            Some(value) if own.get(name.as_str()) != Some(&Some(value.as_str())) => {
                alter.set.push((name, value));
            }
            None if own.contains_key(name.as_str()) => alter.delete.push(name),
            _ => {}
        }
    }
    (!alter.set.is_empty() || !alter.delete.is_empty()).then_some(alter)
}

/// What Kafka takes for a topic's name (`Topic.validate`).
fn legal(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= MAX_NAME
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests;
