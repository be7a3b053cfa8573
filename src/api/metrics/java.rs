//! The names of Kafka Connect, MirrorMaker 2 and their clients, as the usual JMX exporter rules write them, where we have
//! the value: dashboards and alerts made for them go on. Pure.
//!
//! | name | MBean |
//! |---|---|
//! | `kafka_connect_connect_worker_metrics_*` | `kafka.connect:type=connect-worker-metrics[,connector=]` |
//! | `kafka_connect_connector_metrics` | `kafka.connect:type=connector-metrics,connector=` |
//! | `kafka_connect_connector_task_metrics_status` | `kafka.connect:type=connector-task-metrics,connector=,task=` |
//! | `kafka_connect_source_task_metrics_source_record_write_{total,rate}` | `kafka.connect:type=source-task-metrics,connector=,task=` |
//! | `kafka_consumer_consumer_fetch_manager_metrics_records_lag[_max]` | `kafka.consumer:type=consumer-fetch-manager-metrics,client-id=[,topic=,partition=]` |
//!
//! `tests/fixtures/metrics` holds what the exporter wrote of a Java worker, and which of it has no meaning here and why.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::{Family, MAX_PARTITIONS, Seen, count, float};
use crate::api::connect::connector_state;
use crate::engine::{FlowReport, Live, Observed};
use crate::spec::Name;

pub(super) fn families(seen: &Seen<'_>) -> Vec<Family> {
    let Some(live) = seen.live else { return vec![] };
    let mut all = worker(live);
    all.extend(connectors(live));
    all.extend(consumers(live));
    all
}

fn tasks(live: &Live) -> impl Iterator<Item = (&Name, &FlowReport)> {
    live.connectors.iter().filter_map(|(name, observed)| Some((name, observed.flow.as_ref()?)))
}

/// `connect-worker-metrics`: of the worker, and of each connector on it.
fn worker(live: &Live) -> Vec<Family> {
    // The exporter's rules give the whole worker's the label `aggregate`.
    let whole = [("connector", "aggregate")];
    let mut per_state: Vec<(&str, Family)> = [
        ("", "kafka_connect_connect_worker_metrics_connector_total_task_count"),
        ("RUNNING", "kafka_connect_connect_worker_metrics_connector_running_task_count"),
        ("PAUSED", "kafka_connect_connect_worker_metrics_connector_paused_task_count"),
        ("FAILED", "kafka_connect_connect_worker_metrics_connector_failed_task_count"),
        ("UNASSIGNED", "kafka_connect_connect_worker_metrics_connector_unassigned_task_count"),
        ("RESTARTING", "kafka_connect_connect_worker_metrics_connector_restarting_task_count"),
        ("DESTROYED", "kafka_connect_connect_worker_metrics_connector_destroyed_task_count"),
    ]
    .map(|(state, name)| (state, Family::gauge(name, "Tasks of a connector, by state")))
    .into();
    for (name, flow) in tasks(live) {
        for (state, family) in &mut per_state {
            let found = flow.tasks.iter().filter(|task| state.is_empty() || task.state == *state).count();
            family.add([("connector", &jmx(name.as_str()))], count(found));
        }
    }
    let running = tasks(live).map(|(_, flow)| flow.tasks.len()).sum();
    let mut all = vec![
        Family::gauge("kafka_connect_connect_worker_metrics_connector_count", "Connectors of the worker")
            .with(whole, count(live.connectors.values().filter(|observed| observed.adopted).count())),
        Family::gauge("kafka_connect_connect_worker_metrics_task_count", "Tasks of the worker")
            .with(whole, count(running)),
    ];
    all.extend(per_state.into_iter().map(|(_, family)| family));
    all
}

/// `connector-metrics`, `connector-task-metrics` and `source-task-metrics`.
fn connectors(live: &Live) -> Vec<Family> {
    let mut metrics = Family::gauge("kafka_connect_connector_metrics", "Attributes of a connector, as labels");
    let mut written = Family::counter(
        "kafka_connect_source_task_metrics_source_record_write",
        "Records written; of connectors with one task only, since tasks share their partitions here",
    );
    let mut rate = Family::gauge(
        "kafka_connect_source_task_metrics_source_record_write_rate",
        "Records written per second, over half a minute to a minute",
    );
    let mut status = Family::gauge("kafka_connect_connector_task_metrics_status", "State of a task, as a label");
    for (name, observed) in &live.connectors {
        let name = jmx(name.as_str());
        let connector = ("connector", &*name);
        let state = connector_state(observed).0.to_ascii_lowercase();
        metrics.add([connector, ("status", &state)], 1.0);
        metrics.add([connector, ("connector_type", "source")], 1.0);
        if let Some(class) = observed.config.get("connector.class") {
            metrics.add([connector, ("connector_class", class)], 1.0);
        }
        metrics.add([connector, ("connector_version", env!("CARGO_PKG_VERSION"))], 1.0);
        let Some(flow) = &observed.flow else { continue };
        let measured: HashMap<String, f64> = flow
            .partitions
            .iter()
            .filter_map(|one| Some((format!("{}-{}", one.topic, one.partition), one.measured?.records_per_second)))
            .collect();
        for task in &flow.tasks {
            let (id, state) = (task.id.to_string(), task.state.to_ascii_lowercase());
            status.add([connector, ("task", &id), ("status", &state)], 1.0);
            // Of all its partitions or of none: a sum without some would look like a slower task.
            if let Some(rates) = task.partitions.iter().map(|one| measured.get(one)).collect::<Option<Vec<_>>>() {
                rate.add([connector, ("task", &id)], rates.into_iter().fold(0.0, |sum, one| sum + one));
            }
        }
        if let [task] = &*flow.tasks {
            written.add([connector, ("task", &task.id.to_string())], float(flow.records_total));
        }
    }
    vec![metrics, status, written, rate]
}

/// `consumer-fetch-manager-metrics`: the lag that people alert on, under MirrorMaker 2's `client.id`.
fn consumers(live: &Live) -> Vec<Family> {
    let mut lag =
        Family::gauge("kafka_consumer_consumer_fetch_manager_metrics_records_lag", "Lag of a source partition");
    let mut most =
        Family::gauge("kafka_consumer_consumer_fetch_manager_metrics_records_lag_max", "The largest of them");
    let mut room = MAX_PARTITIONS;
    for (name, observed) in &live.connectors {
        let Some(flow) = &observed.flow else { continue };
        let shares = flow.tasks.iter().flat_map(|task| task.partitions.iter().map(|id| (id.as_str(), task.id)));
        let shares: HashMap<&str, u32> = shares.collect();
        let mut largest: BTreeMap<u32, u64> = BTreeMap::new();
        for partition in &flow.partitions {
            let number = partition.partition.to_string();
            let share = shares.get(format!("{}-{number}", partition.topic).as_str());
            let (Some(records), Some(task)) = (partition.lag, share) else { continue };
            let most = largest.entry(*task).or_default();
            *most = records.max(*most);
            if room > 0 {
                room -= 1;
                let client = client_id(name, observed, *task);
                let [kind, client] = [("client_type", "consumer"), ("client_id", client.as_str())];
                lag.add([kind, client, ("topic", &partition.topic), ("partition", &number)], float(records));
            }
        }
        for (task, records) in largest {
            most.add([("client_type", "consumer"), ("client_id", &client_id(name, observed, task))], float(records));
        }
    }
    vec![lag, most]
}

/// `MirrorConnectorConfig.addClientId`
fn client_id(name: &Name, observed: &Observed, task: u32) -> String {
    let source = observed.config.get("source.cluster.alias").unwrap_or_default();
    let target = observed.config.get("target.cluster.alias").unwrap_or("target");
    jmx(&format!("{source}->{target}|{name}-{task}|replication-consumer")).into_owned()
}

/// A value as it stands in an MBean's name, and so in what exporter rules take from it: in quotes, unless it has only word
/// characters, `-`, `%`, `.`, space and tab (Kafka's `Sanitizer.jmxSanitize`).
pub(super) fn jmx(value: &str) -> Cow<'_, str> {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%' | '.' | ' ' | '\t')) {
        return Cow::Borrowed(value);
    }
    // `javax.management.ObjectName.quote`
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '"' | '\\' | '*' | '?' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}
