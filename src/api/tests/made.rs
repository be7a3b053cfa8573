//! Documents made by hand, with texts in them that want to be markup.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::engine::{FlowReport, Health, Measured, PartitionReport, Problem, Spread, TaskReport};
use crate::reconcile::plan::{MaxDeletes, Prune, Sync};
use crate::reconcile::status::{
    Counts, Instance, Item, Pass, Planned, PlannedStep, Rules, Source, StatePair, Status, SyncWord, Word,
};
use crate::spec::{DriftMode, TargetState};

/// A name that nobody may write as it is.
pub(in crate::api) const NASTY: &str = "a\"><script>alert('1')</script>\\";

pub(in crate::api) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub(in crate::api) fn problem(code: &str, message: &str) -> Problem {
    Problem { code: code.into(), message: message.into(), hint: Some("look at <it>".into()), since: at(0) }
}

pub(in crate::api) fn step(action: &str, name: &str, guard: Option<&'static str>) -> PlannedStep {
    PlannedStep { action: action.into(), name: name.into(), why: "because & so".into(), guard, estimate: None }
}

const MEASURED: Measured = Measured {
    records: 500,
    bytes: 524_288,
    records_per_second: 12.5,
    bytes_per_second: 1_024.0,
    age_ms: Some(Spread { last: 7, recent: Some((3, 45, 7.25)) }),
    latency_ms: Some(Spread { last: 16, recent: None }),
};

pub(in crate::api) fn flow(topic: &str) -> FlowReport {
    let partition = |number: i32, lag: u64| PartitionReport {
        topic: topic.into(),
        partition: number,
        remote_topic: format!("cfn.{topic}"),
        state: "copying".into(),
        position: Some(5),
        end: Some(5 + lag.cast_signed()),
        lag: Some(lag),
        problem: None,
        measured: Some(MEASURED),
    };
    FlowReport {
        health: Health::Healthy,
        problems: vec![],
        lag_records: Some(42),
        oldest_uncopied_ms: Some(1_500),
        last_acknowledged: Some(at(55)),
        bytes_per_second: 2_048,
        records_total: 1_000,
        bytes_total: 1_048_576,
        path: "batch".into(),
        shapes: BTreeMap::from([("pass".into(), 7), ("drop: control".into(), 2)]),
        mode: "idempotent".into(),
        throttled_ms: 250,
        tasks: vec![TaskReport {
            id: 0,
            state: "RUNNING".into(),
            partitions: vec![format!("{topic}-0"), format!("{topic}-1")],
            trace: None,
        }],
        partitions: vec![partition(0, 2), partition(1, 40)],
        source_cluster_id: Some("source-id".into()),
        target_cluster_id: Some("target-id".into()),
        started: at(-600),
        retries: 0,
        next_attempt: None,
        lost_records: 0,
        notes: vec![],
    }
}

pub(in crate::api) fn item(name: &str, summary: Word) -> Item {
    Item {
        name: name.into(),
        id: format!("staging/stg-ue2/cfn/{name}"),
        file: Some(format!("connectors/staging/stg-ue2/cfn/{name}.json")),
        summary,
        sync: SyncWord::InSync,
        health: Health::Healthy,
        state: StatePair { desired: Some(TargetState::Running), live: Some(TargetState::Running) },
        lag_records: Some(42),
        oldest_uncopied_ms: Some(1_500),
        last_acknowledged: Some(at(55)),
        bytes_per_second: Some(2_048),
        path: Some("batch".into()),
        retries: 0,
        next_attempt: None,
        problems: vec![],
        diff: vec![],
        plan: step("none", name, None),
        applied: None,
        hold: None,
        warnings: vec![],
        flow: Some(flow("t")),
    }
}

pub(in crate::api) fn status(items: Vec<Item>) -> Status {
    Status {
        schema: "v1",
        instance: Instance {
            environment: "staging".into(),
            destination: "stg-ue2".into(),
            sources: vec![],
            version: "0.0.0".into(),
            started_at: at(-3_600),
        },
        state: items.iter().map(|item| item.summary).min().unwrap_or(Word::InSync),
        message: format!("{} connectors", items.len()),
        counts: Counts { items: items.len(), ..Counts::default() },
        source: Source { url: "https://git.example/x.git".into(), observed: Some("9ab".into()), ..Source::default() },
        policy: Rules {
            sync: Sync::Auto,
            drift: DriftMode::Correct,
            prune: Prune::Auto,
            max_deletes: MaxDeletes::default(),
        },
        problems: vec![],
        plan: Planned::default(),
        holds: vec![],
        items,
        files: vec![],
        warnings: vec![],
        unmanaged: vec![],
        history: vec![],
        pass: Pass { number: 3, woke: "timer".into(), at: Some(at(58)), seconds: 0.25 },
    }
}
