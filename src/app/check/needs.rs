//! Which permissions a mirror needs, by feature: the smallest set of ACLs. Pure.
//!
//! The documentation's table is this one; a test on a broker with an authorizer shows that exactly these suffice.

use crate::kafka::admin::rights::Operation::{self, *};

/// What a permission is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A group.
    Group(String),
    /// A transactional id.
    TransactionalId(String),
}

/// A permission and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What it is about.
    pub resource: Resource,
    /// What must be permitted.
    pub operation: Operation,
    /// What fails without it.
    pub purpose: &'static str,
    /// The mirror does without it, less well.
    pub optional: bool,
}

/// Permissions by feature, for a resource that exists.
type Row = (Operation, &'static str, bool);

const SOURCE_TOPIC: &[Row] = &[
    (Describe, "finding the topic and its ends", false),
    (Read, "reading its records", false),
    (DescribeConfigs, "creating the remote topic with its settings", false),
];

const REMOTE_TOPIC: &[Row] = &[
    (Describe, "finding its partitions", false),
    (Write, "writing the records", false),
    (Read, "finding after a crash what arrived already", false),
    (DescribeConfigs, "comparing its settings with the source's", false),
    (AlterConfigs, "bringing its settings in line with the source's", true),
    (Alter, "adding partitions when the source grows", true),
];

const OWN_TOPIC: &[Row] = &[
    (Describe, "finding it", false),
    (Read, "reading what was noted", false),
    (Write, "noting progress and what was applied", false),
    (DescribeConfigs, "seeing that it is compacted", false),
];

const OWN_GROUP: &[Row] =
    &[(Read, "being the only one that writes", false), (Describe, "naming who else holds it", false)];

/// What is needed of a topic that is copied.
#[must_use]
pub fn source_topic(name: &str) -> Vec<Need> {
    needs(SOURCE_TOPIC, || Resource::Topic(name.to_owned()))
}

/// What is needed of a remote topic that exists.
#[must_use]
pub fn remote_topic(name: &str) -> Vec<Need> {
    needs(REMOTE_TOPIC, || Resource::Topic(name.to_owned()))
}

/// What is needed of Connect's topics and the state topic, where they exist.
#[must_use]
pub fn own_topic(name: &str) -> Vec<Need> {
    needs(OWN_TOPIC, || Resource::Topic(name.to_owned()))
}

/// What is needed of the worker's group.
#[must_use]
pub fn own_group(name: &str) -> Vec<Need> {
    needs(OWN_GROUP, || Resource::Group(name.to_owned()))
}

/// The transactional id through which a flow takes its producer identity, so that an older self is fenced.
#[must_use]
pub fn transactional_id(group: &str, connector: &str) -> String {
    crate::mirror::flow::transactional_id(group, connector, 0)
}

fn needs(rows: &[Row], resource: impl Fn() -> Resource) -> Vec<Need> {
    let need = |(operation, purpose, optional): &Row| Need {
        resource: resource(),
        operation: *operation,
        purpose,
        optional: *optional,
    };
    rows.iter().map(need).collect()
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::TransactionalId(name) => write!(f, "transactional id {name}"),
        }
    }
}
