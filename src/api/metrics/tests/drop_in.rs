//! Judged by Java: what the JMX exporter wrote of a Connect worker (`tests/fixtures/metrics`) is here too, or has no meaning
//! here and says why.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Seen, families, java, plain};
use crate::api::tests::made::{flow, status};
use crate::engine::{Live, Observed, Spread};
use crate::spec::{Config, Name, TargetState};

const NAMES: &str = include_str!("../../../../tests/fixtures/metrics/names.txt");
const SAMPLES: &str = include_str!("../../../../tests/fixtures/metrics/samples.txt");

/// Beginnings of names, and why what begins so is not told.
const WITHOUT_MEANING: [(&str, &str); 15] = [
    ("kafka_producer_", "one producer of ours serves many connectors"),
    ("kafka_consumer_app_info", "there is no Java client; see mirrorkeeper_build_info"),
    ("kafka_consumer_consumer_coordinator_metrics_", "source partitions are not shared out by a consumer group"),
    ("kafka_consumer_consumer_metrics_", "connections of ours serve many connectors"),
    ("kafka_consumer_consumer_node_metrics_", "connections of ours serve many connectors"),
    ("kafka_connect_app_info", "there is no Kafka version; see mirrorkeeper_build_info"),
    ("kafka_connect_connect_coordinator_metrics_", "one process writes: there is no group of workers"),
    ("kafka_connect_connect_metrics_", "there is no client of a Connect worker"),
    ("kafka_connect_connect_worker_rebalance_metrics_", "one process writes: there is nothing to rebalance"),
    ("kafka_connect_connect_worker_metrics_connector_startup_", "starts are not counted; see mirrorkeeper_retries"),
    ("kafka_connect_connect_worker_metrics_task_startup_", "tasks are how a flow is reported, they do not start"),
    ("kafka_connect_connector_task_metrics_", "a task has no batches, commits or ratios; see mirrorkeeper_batches"),
    ("kafka_connect_source_task_metrics_poll_batch_", "nothing polls"),
    ("kafka_connect_source_task_metrics_source_record_", "nothing polls; copied records are counted, not fetched ones"),
    (
        "kafka_connect_task_error_metrics_",
        "there are no converters to fail, no record is skipped; see mirrorkeeper_problems",
    ),
];

/// The same for whole names.
const WITHOUT_VALUE: [(&str, &str); 2] = [
    ("records_lag_avg", "no history of the lag is kept; it is read when somebody asks"),
    ("records_lead", "the log start is not asked for"),
];

/// Samples that are told less finely, or not always.
const LESS_FINE: [(&str, &str); 2] = [
    (
        "kafka_consumer_consumer_fetch_manager_metrics_records_lag_max{client_id,client_type,partition,topic}",
        "no history of the lag is kept; the client's is the largest of its partitions now",
    ),
    (
        "kafka_connect_source_task_metrics_source_record_write_total{connector,task}",
        "only of a connector with one task: partitions change tasks, and a counter that falls looks like a restart",
    ),
];

type Sample = (String, BTreeMap<String, String>);

/// `name{key="value",...}`, with or without a value behind it.
fn parse(line: &str) -> Sample {
    let (name, rest) = line.split_once('{').unwrap_or((line.split(' ').next().unwrap(), ""));
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    while let Some((key, value)) = rest.trim_start_matches(',').split_once("=\"") {
        let mut escaped = false;
        let end = value.find(|c| match (escaped, c) {
            (false, '"') => true,
            _ => {
                escaped = !escaped && c == '\\';
                false
            }
        });
        let end = end.expect("a quote ends the value");
        // The version is that of the program.
        let value_of = if key == "connector_version" { "" } else { &value[..end] };
        labels.insert(key.to_owned(), value_of.to_owned());
        rest = &value[end + 1..];
    }
    (name.to_owned(), labels)
}

fn connector(source: &str, topic: &str, remote: &str, tasks: &[&[&str]]) -> Observed {
    let config = Config::from([
        ("connector.class", "org.apache.kafka.connect.mirror.MirrorSourceConnector"),
        ("source.cluster.alias", source),
        ("target.cluster.alias", "ue2"),
    ]);
    let mut flow = flow(topic);
    let task = flow.tasks[0].clone();
    let split = (0..).zip(tasks);
    flow.tasks = split
        .map(|(id, partitions)| crate::engine::TaskReport {
            id,
            partitions: partitions.iter().map(|one| (*one).to_owned()).collect(),
            ..task.clone()
        })
        .collect();
    for partition in &mut flow.partitions {
        partition.remote_topic = remote.to_owned();
        let latency = &mut partition.measured.as_mut().unwrap().latency_ms;
        *latency = Some(Spread { last: 16, recent: Some((3, 53, 14.25)) });
    }
    Observed { config, state: TargetState::Running, adopted: true, flow: Some(flow) }
}

/// What ran on the Java worker.
fn ours() -> String {
    let connectors = [
        ("orders", connector("cfn", "orders", "cfn.orders", &[&["orders-0"], &["orders-1"]])),
        ("a->b.MirrorSourceConnector", connector("a b*", "orders", "orders", &[&["orders-0"], &["orders-1"]])),
    ];
    let connectors = connectors.map(|(name, observed)| (name.parse::<Name>().unwrap(), observed));
    let live = Live { connectors: BTreeMap::from(connectors), ..Live::default() };
    plain(&families(&Seen { status: &status(vec![]), live: Some(&live), ready: true })).unwrap()
}

fn reason(name: &str) -> Option<&'static str> {
    let begins = WITHOUT_MEANING.iter().find(|(start, _)| name.starts_with(start));
    let holds = || WITHOUT_VALUE.iter().find(|(part, _)| name.contains(part));
    let other = || {
        let lag = "kafka_consumer_consumer_fetch_manager_metrics_records_lag";
        let fetches = name.starts_with("kafka_consumer_consumer_fetch_manager_metrics_") && !name.starts_with(lag);
        fetches.then_some(&("", "fetches of ours serve many connectors; see mirrorkeeper_bytes"))
    };
    begins.or_else(holds).or_else(other).map(|(_, why)| *why)
}

#[test]
fn every_name_of_a_java_worker_is_here_or_has_no_meaning_here() {
    let text = ours();
    let told: BTreeSet<String> = text.lines().filter(|line| !line.starts_with('#')).map(|line| parse(line).0).collect();
    let mut missing = Vec::new();
    for name in NAMES.lines().filter_map(|line| line.split(' ').next()) {
        let only_of_one_task = name == "kafka_connect_source_task_metrics_source_record_write_total";
        if !told.contains(name) && reason(name).is_none() && !only_of_one_task {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:#?}\n{text}");
}

#[test]
fn labels_are_those_that_java_has() {
    let text = ours();
    let told: BTreeSet<Sample> = text.lines().filter(|line| !line.starts_with('#')).map(parse).collect();
    let names: BTreeSet<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    let mut wrong = Vec::new();
    for line in SAMPLES.lines() {
        let sample = parse(line);
        let keys: Vec<&str> = sample.1.keys().map(String::as_str).collect();
        let shape = format!("{}{{{}}}", sample.0, keys.join(","));
        let less_fine = LESS_FINE.iter().any(|(known, _)| *known == shape);
        let left_out = reason(&sample.0).is_some() && !names.contains(sample.0.as_str());
        if !told.contains(&sample) && !less_fine && !left_out {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "Java has, and we have not:\n{}\nbut\n{text}", wrong.join("\n"));
}

#[test]
fn the_lists_of_what_is_left_out_are_not_stale() {
    let names: Vec<&str> = NAMES.lines().filter_map(|line| line.split(' ').next()).collect();
    for (start, _) in WITHOUT_MEANING {
        assert!(names.iter().any(|name| name.starts_with(start)), "{start} begins no name of Java's");
    }
    for (part, _) in WITHOUT_VALUE {
        assert!(names.iter().any(|name| name.contains(part)), "{part} is in no name of Java's");
    }
}

#[test]
fn values_are_quoted_where_an_mbeans_name_quotes_them() {
    // The two values, as the Java worker was told them, and what the exporter wrote (unescaped).
    for (value, written) in [
        ("cfn.orders", "cfn.orders"),
        ("stg_ue-2 %", "stg_ue-2 %"),
        ("a->b.MirrorSourceConnector", "\"a->b.MirrorSourceConnector\""),
        ("a b*", "\"a b\\*\""),
        ("cfn->ue2|orders-0|replication-consumer", "\"cfn->ue2|orders-0|replication-consumer\""),
        ("ä\"?\\\n", "\"ä\\\"\\?\\\\\\n\""),
    ] {
        assert_eq!(java::jmx(value), written);
    }
}
