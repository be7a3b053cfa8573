//! Our own names: what an operator alerts on. Pure.

use super::{Family, MAX_PARTITIONS, Seen, count, float, seconds};
use crate::reconcile::compare::Origin;
use crate::reconcile::status::{Item, Status, Word};

/// Every word has a sample, so that an alert on one finds a zero and not nothing.
const WORDS: [Word; 14] = [
    Word::Failed,
    Word::Stalled,
    Word::Blocked,
    Word::Invalid,
    Word::Drifted,
    Word::SourceUnreachable,
    Word::Pending,
    Word::Degraded,
    Word::Held,
    Word::Standby,
    Word::Starting,
    Word::Unknown,
    Word::Paused,
    Word::InSync,
];

pub(super) fn families(seen: &Seen<'_>) -> Vec<Family> {
    let mut all = instance(seen);
    all.extend(source(seen.status));
    all.extend(plan(seen.status));
    all.extend(items(seen.status));
    all.extend(partitions(seen.status));
    all
}

fn instance(seen: &Seen<'_>) -> Vec<Family> {
    let status = seen.status;
    let Status { instance, pass, .. } = status;
    let mut state =
        Family::gauge("mirrorkeeper_state", "1 for the worst that is true of the instance, 0 for the others");
    for word in WORDS {
        state.add([("state", &text(&word))], 0.0);
    }
    state.add([("state", &text(&status.state))], 1.0);
    let mut problems = Family::gauge("mirrorkeeper_instance_problems", "What is wrong with the instance as a whole");
    for problem in &status.problems {
        problems.add([("code", &problem.code)], 1.0);
    }
    let mut written = Family::gauge(
        "mirrorkeeper_status_timestamp_seconds",
        "When the pass began that these values come from: an old one means that the control loop hangs",
    );
    if let Some(at) = pass.at {
        written.add([], seconds(at));
    }
    vec![
        Family::gauge("mirrorkeeper_build_info", "Which program, for which destination").with(
            [
                ("version", &instance.version),
                ("environment", &instance.environment),
                ("destination", &instance.destination),
            ],
            1.0,
        ),
        Family::gauge("mirrorkeeper_start_time_seconds", "Since when the process runs")
            .with([], seconds(instance.started_at)),
        Family::gauge("mirrorkeeper_ready", "What /readyz says").with([], f64::from(u8::from(seen.ready))),
        Family::gauge("mirrorkeeper_engine_up", "Whether the engine said what runs, at this scrape")
            .with([], f64::from(u8::from(seen.live.is_some()))),
        state,
        problems,
        Family::counter("mirrorkeeper_reconcile_passes", "Passes of the control loop").with([], float(pass.number)),
        Family::gauge("mirrorkeeper_reconcile_duration_seconds", "How long the last pass took").with([], pass.seconds),
        written,
    ]
}

fn source(status: &Status) -> Vec<Family> {
    let source = &status.source;
    let mut info = Family::gauge("mirrorkeeper_source_info", "The revisions that were read and applied last");
    info.add(
        [
            ("reference", source.reference.as_deref().unwrap_or_default()),
            ("observed", source.observed.as_deref().unwrap_or_default()),
            ("applied", source.applied.as_deref().unwrap_or_default()),
        ],
        1.0,
    );
    let mut last =
        Family::gauge("mirrorkeeper_source_last_success_timestamp_seconds", "When the repository was last reached");
    if let Some(at) = source.last_ok {
        last.add([], seconds(at));
    }
    let mut problem = Family::gauge("mirrorkeeper_source_problem", "Why the repository can't be read");
    if let Some(found) = &source.problem {
        problem.add([("code", &found.code)], 1.0);
    }
    let mut rewritten =
        Family::gauge("mirrorkeeper_source_rewritten_timestamp_seconds", "When a force push was last seen");
    if let Some(found) = &source.rewritten {
        rewritten.add([], seconds(found.at));
    }
    let mut commit =
        Family::gauge("mirrorkeeper_source_commit_timestamp_seconds", "Time of the commit that was read last");
    if let Some(at) = source.commit.as_ref().and_then(|commit| commit.time) {
        commit.add([], seconds(at));
    }
    let up = source.problem.is_none() && source.observed.is_some();
    let mut files = Family::gauge("mirrorkeeper_config_problems", "Findings in connector files");
    let findings = status.files.iter().flat_map(|file| &file.problems);
    let findings = findings.chain(status.items.iter().flat_map(|item| &item.warnings)).chain(&status.warnings);
    for finding in findings {
        files.add([("code", finding.code), ("severity", &finding.severity.to_string())], 1.0);
    }
    vec![
        Family::gauge("mirrorkeeper_source_up", "Whether the repository could be read at the last look")
            .with([], f64::from(u8::from(up))),
        Family::gauge("mirrorkeeper_source_failures", "Failed looks in a row").with([], f64::from(source.failures)),
        info,
        last,
        problem,
        rewritten,
        commit,
        files,
    ]
}

fn plan(status: &Status) -> Vec<Family> {
    let mut steps = Family::gauge("mirrorkeeper_plan_steps", "What is to be done and was not done by the last pass");
    for step in &status.plan.steps {
        steps.add([("action", &step.action)], 1.0);
    }
    let mut blocked = Family::gauge("mirrorkeeper_guard_blocked", "Steps that a guard keeps from being taken");
    for step in &status.plan.withheld {
        blocked.add([("guard", step.guard.unwrap_or_default()), ("action", &step.action)], 1.0);
    }
    let mut holds = Family::gauge("mirrorkeeper_holds", "Holds in force");
    let mut ends =
        Family::gauge("mirrorkeeper_hold_until_timestamp_seconds", "When a hold ends; no sample: when it is released");
    for hold in &status.holds {
        holds.add([("scope", &hold.scope)], 1.0);
        if let Some(until) = hold.hold.until {
            ends.add([("scope", &hold.scope)], seconds(until));
        }
    }
    let mut last =
        Family::gauge("mirrorkeeper_last_apply_steps", "Steps of the last pass that did something, by result");
    let mut at = Family::gauge("mirrorkeeper_last_apply_timestamp_seconds", "When that pass began");
    if let Some(entry) = status.history.first() {
        let failed = entry.steps.iter().filter(|step| step.failed.is_some()).count();
        last.add([("result", "failed")], count(failed));
        last.add([("result", "ok")], count(entry.steps.len() - failed));
        at.add([], seconds(entry.started_at));
    }
    let unmanaged = Family::gauge("mirrorkeeper_unmanaged", "Connectors in the config topic that no file names")
        .with([], count(status.unmanaged.len()));
    vec![steps, blocked, holds, ends, last, at, unmanaged]
}

fn items(status: &Status) -> Vec<Family> {
    let mut words = Family::gauge("mirrorkeeper_items", "Connectors by their two words");
    let mut info = Family::gauge("mirrorkeeper_item_info", "The words of one connector");
    let mut lag = Family::gauge("mirrorkeeper_lag_records", "Readable source records that are not copied");
    let mut oldest =
        Family::gauge("mirrorkeeper_oldest_uncopied_age_seconds", "Age of the oldest record not yet copied");
    let mut acked =
        Family::gauge("mirrorkeeper_last_acknowledged_timestamp_seconds", "When the target last acknowledged");
    let mut rate = Family::gauge("mirrorkeeper_bytes_per_second", "Bytes acknowledged per second, over ten seconds");
    let mut retries = Family::gauge("mirrorkeeper_retries", "Failed attempts in a row");
    let mut problems = Family::gauge("mirrorkeeper_problems", "What is wrong with a connector");
    let mut drift = Family::gauge(
        "mirrorkeeper_difference_keys",
        "Keys in which Git and the live side differ, by who changed them",
    );
    for item in &status.items {
        let connector = ("connector", item.name.as_str());
        let (sync, health, summary) = (text(&item.sync), text(&item.health), text(&item.summary));
        words.add([("sync", &sync), ("health", &health)], 1.0);
        info.add([connector, ("sync", &sync), ("health", &health), ("summary", &summary)], 1.0);
        let values = [
            (&mut lag, item.lag_records.map(float)),
            (&mut oldest, item.oldest_uncopied_ms.map(|ms| float(ms) / 1_000.0)),
            (&mut acked, item.last_acknowledged.map(seconds)),
            (&mut rate, item.bytes_per_second.map(float)),
            (&mut retries, Some(f64::from(item.retries))),
        ];
        // Unknown is no sample: zero would be a lie.
        for (family, value) in values {
            if let Some(value) = value {
                family.add([connector], value);
            }
        }
        for problem in &item.problems {
            problems.add([connector, ("code", &problem.code)], 1.0);
        }
        for difference in &item.diff {
            let origin = match difference.origin {
                Origin::Git => "git",
                Origin::Live => "live",
                Origin::Both => "both",
            };
            drift.add([connector, ("origin", origin)], 1.0);
        }
    }
    let mut all = vec![words, info, lag, oldest, acked, rate, retries, problems, drift];
    all.extend(flows(&status.items));
    all
}

fn flows(items: &[Item]) -> Vec<Family> {
    let mut records = Family::counter("mirrorkeeper_records", "Records acknowledged since the process started");
    let mut bytes =
        Family::counter("mirrorkeeper_bytes", "Bytes acknowledged since the process started, as on the wire");
    let mut lost = Family::counter("mirrorkeeper_lost_records", "Records purged at the source before they were copied");
    let mut batches = Family::counter("mirrorkeeper_batches", "Batches by what was done with them, and why");
    let mut started = Family::gauge("mirrorkeeper_flow_start_time_seconds", "When this run of the flow began");
    let mut throttled = Family::gauge(
        "mirrorkeeper_throttled_seconds",
        "How long the clusters asked for silence, since the connections of this run began",
    );
    let mut tasks = Family::gauge("mirrorkeeper_tasks", "Tasks by Kafka Connect's state");
    let mut partitions = Family::gauge("mirrorkeeper_partitions", "Partitions by state");
    for item in items {
        let Some(flow) = &item.flow else { continue };
        let connector = ("connector", item.name.as_str());
        records.add([connector], float(flow.records_total));
        bytes.add([connector], float(flow.bytes_total));
        lost.add([connector], float(flow.lost_records));
        started.add([connector], seconds(flow.started));
        throttled.add([connector], float(flow.throttled_ms) / 1_000.0);
        for (key, number) in &flow.shapes {
            let (shape, reason) = key.split_once([':', ' ', '/']).unwrap_or((key, ""));
            batches.add([connector, ("shape", shape), ("reason", reason.trim())], float(*number));
        }
        for task in &flow.tasks {
            tasks.add([connector, ("state", &task.state)], 1.0);
        }
        for partition in &flow.partitions {
            partitions.add([connector, ("state", &partition.state)], 1.0);
        }
    }
    vec![records, bytes, lost, batches, started, throttled, tasks, partitions]
}

fn partitions(status: &Status) -> Vec<Family> {
    let mut lag =
        Family::gauge("mirrorkeeper_partition_lag_records", "Readable records of one source partition not copied");
    let flows = status.items.iter().filter_map(|item| Some((item, item.flow.as_ref()?)));
    let mut known = flows.flat_map(|(item, flow)| flow.partitions.iter().map(move |partition| (item, partition)));
    for (item, partition) in known.by_ref().take(MAX_PARTITIONS) {
        if let Some(records) = partition.lag {
            let number = partition.partition.to_string();
            let labels = [("connector", item.name.as_str()), ("topic", &partition.topic), ("partition", &number)];
            lag.add(labels, float(records));
        }
    }
    let left_out = Family::gauge("mirrorkeeper_partition_series_left_out", "Partitions without series of their own")
        .with([], count(known.count()));
    vec![lag, left_out]
}

/// A word as the status document writes it.
fn text(word: &impl serde::Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
