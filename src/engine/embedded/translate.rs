//! Between the control plane's values and the data plane's: configurations in, reports out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Settings;
use crate::engine::{Error, Estimate, FlowReport, Health, Measured, PartitionReport, Problem, Spread, TaskReport};
use crate::kafka::TopicPartition;
use crate::mirror::assign::split;
use crate::mirror::clients::Clients;
use crate::mirror::config::FlowConfig;
use crate::mirror::flow::{self, Order, Snapshot};
use crate::mirror::lanes::Lanes;
use crate::mirror::meter;
use crate::spec::keys::{self, Effect};
use crate::spec::{Config, Name, TargetState};

/// The typed configuration, or why it can't be run.
pub(super) fn order(name: &Name, config: &Config, settings: &Settings) -> Result<Order, Problem> {
    let invalid = |message: String, hint: &str| Problem {
        code: "CONFIG".to_owned(),
        message,
        hint: Some(hint.to_owned()),
        since: Timestamp::now(),
    };
    let class = config.get("connector.class").unwrap_or_default();
    if class.rsplit('.').next() != Some("MirrorSourceConnector") {
        return Err(invalid(
            format!("connector class {class} can't be run here"),
            "only MirrorSourceConnector is run so far",
        ));
    }
    // Taken as text a reference would be a wrong password, and a confusing one.
    if let Some((key, _)) = config.iter().find(|(_, value)| !keys::references(value).is_empty()) {
        let hint = "write the value itself; it is kept out of status, plans and logs";
        return Err(invalid(
            format!("{key} holds a reference such as ${{file:...}}, which can't be resolved yet"),
            hint,
        ));
    }
    let wrong = |problems: Vec<String>| invalid(problems.join("; "), "correct the connector's configuration");
    // The config topic's key is the name; a file may leave it out.
    let mut named = config.clone();
    named.insert("name", name.as_str());
    let lines =
        |problems: Vec<crate::mirror::config::ConfigProblem>| problems.iter().map(ToString::to_string).collect();
    let config = FlowConfig::of(&named).map_err(|problems| wrong(lines(problems)))?;
    let clients = Clients::of(&config, &settings.producer).map_err(wrong)?;
    Ok(Order { config, clients })
}

/// Whether a running flow can take `new` over without a restart.
pub(super) fn hot(old: &Config, new: &Config) -> bool {
    let changed = |key: &str| old.get(key) != new.get(key);
    let mut names = old.iter().chain(new.iter()).map(|(key, _)| key).filter(|key| changed(key));
    names.all(|key| matches!(keys::effect(key), Effect::None | Effect::Hot))
}

/// The report of a running flow, without its totals: see [`total`].
pub(super) fn report(config: &Config, snapshot: &Snapshot, state: TargetState) -> FlowReport {
    let now_ms = Timestamp::now().as_millisecond();
    let partitions: Vec<_> = snapshot.report.partitions.iter().map(|(tp, p)| partition(tp, p, now_ms)).collect();
    let views = snapshot.report.partitions.values().map(|p| &p.view);
    let lags: Option<Vec<u64>> = views.clone().map(crate::mirror::cells::View::lag).collect();
    let ages: Option<Vec<u64>> = views.clone().map(|view| view.oldest_uncopied_ms(now_ms)).collect();
    let looked = !partitions.is_empty() || snapshot.report.health != flow::Health::Starting;
    FlowReport {
        health: health(snapshot.report.health),
        problems: snapshot.report.problems.iter().map(problem).collect(),
        // Without a partition there is no lag only once topics were looked for.
        lag_records: lags.filter(|_| looked).map(|lags| lags.iter().sum()),
        oldest_uncopied_ms: ages.filter(|_| looked).map(|ages| ages.into_iter().max().unwrap_or(0)),
        last_acknowledged: None,
        bytes_per_second: snapshot.bytes_per_second,
        records_total: 0,
        bytes_total: 0,
        path: "batch: record batches are copied as they are".to_owned(),
        shapes: BTreeMap::new(),
        mode: snapshot.mode.clone(),
        throttled_ms: snapshot.throttled_ms,
        tasks: tasks(config, snapshot, state),
        partitions,
        source_cluster_id: snapshot.source_id.clone(),
        target_cluster_id: snapshot.target_id.clone(),
        started: time(snapshot.started_ms),
        retries: snapshot.retries,
        next_attempt: snapshot.next_attempt_ms.map(time),
        lost_records: 0,
        notes: snapshot.notes.clone(),
    }
}

/// The report of a connector that nothing runs for.
pub(super) fn not_running(health: Health, problems: Vec<Problem>) -> FlowReport {
    FlowReport {
        health,
        problems,
        lag_records: None,
        oldest_uncopied_ms: None,
        last_acknowledged: None,
        bytes_per_second: 0,
        records_total: 0,
        bytes_total: 0,
        path: "none: not running".to_owned(),
        shapes: BTreeMap::new(),
        mode: "none".to_owned(),
        throttled_ms: 0,
        tasks: Vec::new(),
        partitions: Vec::new(),
        source_cluster_id: None,
        target_cluster_id: None,
        started: Timestamp::now(),
        retries: 0,
        next_attempt: None,
        lost_records: 0,
        notes: Vec::new(),
    }
}

/// What was copied by all runs of the process, also while none runs.
pub(super) fn total(report: &mut FlowReport, totals: &flow::Totals) {
    let seen = totals.seen();
    (report.records_total, report.bytes_total) = (seen.records, seen.bytes);
    report.lost_records = seen.lost;
    report.last_acknowledged = seen.last_ack_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    report.shapes = seen.shapes;
}

/// The report of a flow that is being ended.
pub(super) fn draining(mut report: FlowReport, since: Timestamp, grace: std::time::Duration) -> FlowReport {
    report.health = report.health.max(Health::Starting);
    let problem = Problem {
        code: "DRAINING".to_owned(),
        message: format!("it is being ended: what is in flight is awaited for {} s at most", grace.as_secs()),
        hint: None,
        since,
    };
    report.problems.insert(0, problem);
    report
}

/// Its secrets were left out of the config topic, and nobody has said them since the start.
pub(super) fn waits_for_git(config: &Config) -> Problem {
    let keys: Vec<&str> = config.omitted().collect();
    Problem {
        code: "WAITING-FOR-GIT".to_owned(),
        message: format!("it waits for Git: the config topic does not hold {}", keys.join(", ")),
        hint: Some("the repository has to be readable, and the file valid; see config.topic.secrets".to_owned()),
        since: Timestamp::now(),
    }
}

/// A flow's task never ends by itself.
pub(super) fn ended() -> Problem {
    Problem {
        code: "FLOW-ENDED".to_owned(),
        message: "the flow's task ended unexpectedly; it is started anew".to_owned(),
        hint: Some("a defect of mirrorkeeper: please report it with the log".to_owned()),
        since: Timestamp::now(),
    }
}

/// What `config` would copy.
pub(super) async fn estimate(
    name: &Name,
    config: &Config,
    settings: &Settings,
    lanes: &Lanes,
) -> Result<Estimate, Error> {
    let invalid = |problem: Problem| Error::Invalid { name: name.clone(), why: problem.message };
    let order = order(name, config, settings).map_err(invalid)?;
    let found = flow::estimate(&order, lanes).await;
    let found = found
        .map_err(|e| Error::Unavailable { what: format!("estimating {name}"), why: crate::mirror::describe(&e) })?;
    Ok(Estimate { topics: found.topics, records: found.records, bytes: None })
}

fn partition(tp: &TopicPartition, state: &flow::PartitionState, now_ms: i64) -> PartitionReport {
    PartitionReport {
        topic: tp.topic.to_string(),
        partition: tp.partition,
        remote_topic: state.remote.clone(),
        state: state.state.clone(),
        position: state.view.position,
        end: state.view.end,
        lag: state.view.lag(),
        problem: state.problem.as_ref().map(problem),
        // Before a position is known nobody knows that nothing was copied.
        measured: state.view.position.map(|_| measured(&state.view.meter.reading(now_ms))),
    }
}

fn measured(reading: &meter::Reading) -> Measured {
    let spread = |spread: meter::Spread| Spread { last: spread.last, recent: spread.windows };
    Measured {
        records: reading.records,
        bytes: reading.bytes,
        records_per_second: reading.records_per_second,
        bytes_per_second: reading.bytes_per_second,
        age_ms: reading.age.map(spread),
        latency_ms: reading.latency.map(spread),
    }
}

fn problem(problem: &flow::Problem) -> Problem {
    Problem {
        code: problem.code.clone(),
        message: problem.message.clone(),
        hint: problem.hint.clone(),
        since: time(problem.since_ms),
    }
}

fn tasks(config: &Config, snapshot: &Snapshot, state: TargetState) -> Vec<TaskReport> {
    let tasks_max = config.get("tasks.max").and_then(|v| v.trim().parse().ok()).unwrap_or(1);
    let partitions: Vec<_> = snapshot.report.partitions.keys().cloned().collect();
    let tasks = split(&partitions, tasks_max);
    (0..).zip(tasks).map(|(id, partitions)| task(id, &partitions, snapshot, state)).collect()
}

fn task(id: u32, partitions: &[TopicPartition], snapshot: &Snapshot, state: TargetState) -> TaskReport {
    let states = partitions.iter().filter_map(|tp| snapshot.report.partitions.get(tp));
    // Kafka Connect has one word for a task; a partition that stands still fails it (law 4).
    let failed = states.clone().find(|p| p.view.stop.is_some()).and_then(|p| p.problem.as_ref());
    let word = match (state, failed) {
        (TargetState::Running, None) => "RUNNING",
        (TargetState::Running, Some(_)) => "FAILED",
        _ => "PAUSED",
    };
    TaskReport {
        id,
        state: word.to_owned(),
        partitions: partitions.iter().map(|tp| format!("{}-{}", tp.topic, tp.partition)).collect(),
        trace: failed.filter(|_| word == "FAILED").map(|problem| problem.message.clone()),
    }
}

fn health(health: flow::Health) -> Health {
    match health {
        flow::Health::Healthy => Health::Healthy,
        flow::Health::Paused => Health::Paused,
        flow::Health::Starting => Health::Starting,
        flow::Health::Degraded => Health::Degraded,
        flow::Health::Stalled => Health::Stalled,
        flow::Health::Failed => Health::Failed,
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
