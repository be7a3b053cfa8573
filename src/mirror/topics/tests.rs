//! Stories about remote topics, and the laws of planning them.

use proptest::prelude::*;

use super::*;
use crate::mirror::config::FlowConfig;
use crate::spec::Config;

fn flow(extra: &[(&str, &str)]) -> FlowConfig {
    let mut config = Config::from([
        ("name", "m"),
        ("connector.class", "MirrorSourceConnector"),
        ("source.cluster.alias", "a"),
        ("source.cluster.bootstrap.servers", "a:9092"),
    ]);
    for (key, value) in extra {
        config.insert(*key, *value);
    }
    FlowConfig::of(&config).unwrap()
}

fn config(name: &str, value: &str, origin: Origin) -> TopicConfig {
    TopicConfig { name: name.to_owned(), value: Some(value.to_owned()), origin, read_only: false, sensitive: false }
}

fn topic(name: &str, partitions: i32, configs: Vec<TopicConfig>) -> Topic {
    Topic { name: name.to_owned(), partitions, configs: Some(configs) }
}

#[test]
fn a_missing_remote_topic_is_created_with_what_the_source_says_itself() {
    let source = topic(
        "orders",
        6,
        vec![
            config("cleanup.policy", "compact", Origin::Topic),
            config("retention.ms", "604800000", Origin::Default),
            config("min.insync.replicas", "2", Origin::Topic),
            config("segment.bytes", "1", Origin::StaticBroker),
            config("flush.ms", "5", Origin::DynamicBroker),
        ],
    );
    let plan = TopicPlan::new(&[source], &[], &flow(&[("replication.factor", "3")]), true);
    assert_eq!(
        plan.creates,
        [Create {
            topic: "orders".to_owned(),
            remote: "a.orders".to_owned(),
            partitions: 6,
            replication_factor: 3,
            configs: vec![("cleanup.policy".to_owned(), "compact".to_owned()), ("flush.ms".to_owned(), "5".to_owned())],
        }]
    );
    assert!(plan.growths.is_empty() && plan.alters.is_empty() && plan.problems.is_empty());
}

#[test]
fn a_topic_grows_and_never_shrinks() {
    let source = [topic("x", 4, vec![]), topic("y", 1, vec![])];
    let target = [topic("a.x", 3, vec![]), topic("a.y", 8, vec![])];
    let plan = TopicPlan::new(&source, &target, &flow(&[]), true);
    assert_eq!(plan.growths, [Growth { remote: "a.x".to_owned(), from: 3, to: 4 }]);
    assert!(plan.creates.is_empty() && plan.alters.is_empty());
}

#[test]
fn only_what_differs_is_configured() {
    let source = topic(
        "x",
        1,
        vec![
            config("retention.ms", "1000", Origin::Topic),
            config("cleanup.policy", "delete", Origin::Default),
            config("delete.retention.ms", "5", Origin::Default),
            config("flush.ms", "7", Origin::Topic),
        ],
    );
    let target = topic(
        "a.x",
        1,
        vec![
            config("retention.ms", "2000", Origin::Topic),
            config("cleanup.policy", "compact", Origin::Topic),
            config("delete.retention.ms", "5", Origin::Default),
            config("flush.ms", "7", Origin::Topic),
        ],
    );
    let plan = TopicPlan::new(std::slice::from_ref(&source), std::slice::from_ref(&target), &flow(&[]), true);
    assert_eq!(
        plan.alters,
        [Alter {
            remote: "a.x".to_owned(),
            set: vec![("retention.ms".to_owned(), "1000".to_owned())],
            delete: vec!["cleanup.policy".to_owned()],
        }]
    );
    assert!(TopicPlan::new(&[source], &[target], &flow(&[]), false).is_empty());
}

#[test]
fn the_sources_defaults_are_copied_when_asked_for() {
    let source = topic("x", 1, vec![config("cleanup.policy", "delete", Origin::Default)]);
    let target = topic("a.x", 1, vec![config("cleanup.policy", "compact", Origin::Topic)]);
    let plan = TopicPlan::new(&[source], &[target], &flow(&[("use.defaults.from", "source")]), true);
    assert_eq!(plan.alters[0].set, [("cleanup.policy".to_owned(), "delete".to_owned())]);
}

#[test]
fn a_topic_that_cannot_be_read_stops_no_other_and_is_not_taken_for_empty() {
    let unread = Topic { name: "x".to_owned(), partitions: 3, configs: None };
    let plan = TopicPlan::new(&[unread.clone(), topic("y", 1, vec![])], &[], &flow(&[]), true);
    assert_eq!(plan.creates.len(), 1);
    assert_eq!(plan.problems, [TopicProblem::ConfigsUnknown { topic: "x".to_owned() }]);
    let plan = TopicPlan::new(&[unread], &[topic("a.x", 1, vec![])], &flow(&[]), true);
    assert_eq!(plan.growths.len(), 1, "partitions don't wait for configurations");
    assert_eq!(plan.problems.len(), 1);
}

#[test]
fn several_topics_become_one_only_where_somebody_said_so() {
    let alias = [
        ("replication.policy.class", "com.amazonaws.kafka.samples.CustomMM2ReplicationPolicy"),
        ("mirrorkeeper.replication.policy", "alias"),
    ];
    let source = [topic("x", 2, vec![]), topic("y", 5, vec![])];
    let plan = TopicPlan::new(&source, &[], &flow(&alias), true);
    assert!(matches!(&plan.problems[..], [TopicProblem::Merged { topics, .. }] if topics.len() == 2));
    assert!(plan.creates.is_empty());
    let merge = [alias.as_slice(), &[("mirrorkeeper.merge", "true")]].concat();
    let plan = TopicPlan::new(&source, &[], &flow(&merge), true);
    assert_eq!((plan.creates[0].remote.as_str(), plan.creates[0].partitions), ("a", 5));
}

#[test]
fn a_name_that_kafka_refuses_is_said_before_it_is_tried() {
    let long = "x".repeat(248);
    let plan = TopicPlan::new(&[topic(&long, 1, vec![])], &[], &flow(&[]), true);
    assert!(matches!(plan.problems[..], [TopicProblem::BadName { .. }]));
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Topic), Just(Origin::DynamicBroker), Just(Origin::StaticBroker), Just(Origin::Default)]
}

fn configs() -> impl Strategy<Value = Vec<TopicConfig>> {
    proptest::collection::btree_map("[a-d]", ("[0-2]", origins()), 0..4)
        .prop_map(|map| map.into_iter().map(|(name, (value, origin))| config(&name, &value, origin)).collect())
}

fn topics(prefix: &'static str) -> impl Strategy<Value = Vec<Topic>> {
    proptest::collection::btree_map("[x-z]", (1..5i32, configs()), 0..4).prop_map(move |map| {
        map.into_iter().map(|(name, (count, configs))| topic(&format!("{prefix}{name}"), count, configs)).collect()
    })
}

/// What a target looks like after the plan was carried out.
fn apply(plan: &TopicPlan, target: &[Topic]) -> Vec<Topic> {
    let mut after = target.to_vec();
    for create in &plan.creates {
        let own = create.configs.iter().map(|(name, value)| config(name, value, Origin::Topic)).collect();
        after.push(topic(&create.remote, create.partitions, own));
    }
    for topic in &mut after {
        for growth in plan.growths.iter().filter(|growth| growth.remote == topic.name) {
            topic.partitions = growth.to;
        }
        for alter in plan.alters.iter().filter(|alter| alter.remote == topic.name) {
            let configs = topic.configs.get_or_insert_default();
            for (name, value) in &alter.set {
                configs.retain(|c| c.name != *name);
                configs.push(config(name, value, Origin::Topic));
            }
            for name in &alter.delete {
                configs.retain(|c| c.name != *name);
                configs.push(config(name, "default", Origin::Default));
            }
        }
    }
    after
}

proptest! {
    /// Law 5, for topics.
    #[test]
    fn planning_what_was_applied_yields_nothing(source in topics(""), target in topics("a."), defaults in any::<bool>()) {
        let flow = flow(&[("use.defaults.from", if defaults { "source" } else { "target" })]);
        let plan = TopicPlan::new(&source, &target, &flow, true);
        prop_assert!(plan.problems.is_empty());
        let after = apply(&plan, &target);
        let again = TopicPlan::new(&source, &after, &flow, true);
        // What was just created has no own values but those sent; a source's default then needs nothing more.
        prop_assert!(again.is_empty(), "{:?}", again);
    }
}
