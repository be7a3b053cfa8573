//! An observed connector in Kafka Connect's words. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engine::{FlowReport, Health, Observed, RestartScope, TaskReport};
use crate::spec::{Name, TargetState};

/// `ConnectorInfo`
pub(super) fn info(name: &Name, observed: &Observed) -> Value {
    let tasks: Vec<Value> = running_tasks(observed).map(|task| json!({ "connector": name, "task": task.id })).collect();
    json!({ "name": name, "config": config(name, observed), "tasks": tasks, "type": "source" })
}

/// The configuration with literal secrets masked; `name` is in it, as Connect has it.
pub(super) fn config(name: &Name, observed: &Observed) -> Value {
    let mut config = observed.config.masked();
    config.insert("name", name.as_str());
    json!(config)
}

/// `TaskInfo` list: what each task would be told.
pub(super) fn tasks(name: &Name, observed: &Observed) -> Value {
    running_tasks(observed)
        .map(|task| {
            let mut config = observed.config.masked();
            config.insert("task.assigned.partitions", task.partitions.join(","));
            config.insert("task.index", task.id.to_string());
            json!({ "id": { "connector": name, "task": task.id }, "config": config })
        })
        .collect()
}

/// `ConnectorStateInfo`
pub(super) fn status(name: &Name, observed: &Observed, worker: &str) -> Value {
    let (state, trace) = connector_state(observed);
    let mut connector = json!({ "state": state, "worker_id": worker });
    if let Some(trace) = trace {
        connector["trace"] = trace.into();
    }
    json!({ "name": name, "connector": connector, "tasks": task_states(observed, worker), "type": "source" })
}

/// The same, with `RESTARTING` for what a restart covers (KIP-745).
pub(super) fn restarting(name: &Name, observed: &Observed, scope: RestartScope, worker: &str) -> Value {
    let mut status = status(name, observed, worker);
    let restart = |part: &mut Value| {
        if (!scope.only_failed || part["state"] == "FAILED")
            && let Some(part) = part.as_object_mut()
        {
            part.insert("state".to_owned(), "RESTARTING".into());
            part.remove("trace");
        }
    };
    restart(&mut status["connector"]);
    if scope.tasks
        && let Some(tasks) = status["tasks"].as_array_mut()
    {
        tasks.iter_mut().for_each(restart);
    }
    status
}

/// `TaskState` list; a stopped connector has none.
pub(super) fn task_states(observed: &Observed, worker: &str) -> Vec<Value> {
    running_tasks(observed)
        .map(|task| {
            let mut state = json!({ "id": task.id, "state": task.state, "worker_id": worker });
            if let Some(trace) = &task.trace {
                state["trace"] = trace.as_str().into();
            }
            state
        })
        .collect()
}

/// The remote topics, in order of name.
pub(super) fn topics(observed: &Observed) -> BTreeSet<&str> {
    let partitions = observed.flow.iter().flat_map(|flow| &flow.partitions);
    partitions.map(|partition| partition.remote_topic.as_str()).collect()
}

/// The connector's state, and why it failed. Connect has no word for "stalled": that it is `FAILED` is nearer to the truth
/// than `RUNNING`.
pub(in crate::api) fn connector_state(observed: &Observed) -> (&'static str, Option<String>) {
    match (observed.state, &observed.flow) {
        (TargetState::Stopped, _) => ("STOPPED", None),
        (TargetState::Paused, _) => ("PAUSED", None),
        (TargetState::Running, None) => ("UNASSIGNED", None),
        (TargetState::Running, Some(flow)) => match flow.health {
            Health::Failed | Health::Stalled => ("FAILED", Some(trace(flow))),
            Health::Starting | Health::Standby | Health::Unknown => ("UNASSIGNED", None),
            Health::Paused => ("PAUSED", None),
            Health::Healthy | Health::Degraded => ("RUNNING", None),
        },
    }
}

fn trace(flow: &FlowReport) -> String {
    let problems = flow.problems.iter().map(|problem| match &problem.hint {
        Some(hint) => format!("{}: {} ({hint})", problem.code, problem.message),
        None => format!("{}: {}", problem.code, problem.message),
    });
    let lines: Vec<String> = problems.collect();
    if lines.is_empty() { format!("{:?}", flow.health) } else { lines.join("\n") }
}

fn running_tasks(observed: &Observed) -> impl Iterator<Item = &TaskReport> {
    let stopped = observed.state == TargetState::Stopped;
    observed.flow.iter().filter(move |_| !stopped).flat_map(|flow| &flow.tasks)
}
