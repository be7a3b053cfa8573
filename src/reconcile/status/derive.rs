//! From what a pass saw to the words of `/status`.

use std::collections::BTreeSet;

use super::{
    AppliedStatus, Counts, FileStatus, HoldStatus, Item, Planned, PlannedStep, StatePair, Status, SyncWord, Unmanaged,
    View, Word,
};
use crate::destination::state::Applied;
use crate::engine::{Health, Observed, Problem};
use crate::reconcile::compare::Origin;
use crate::reconcile::plan::{Guard, Step};
use crate::spec::{Connector, InvalidFile, Name, TargetState};

/// Makes the document. Pure: the same view gives the same words.
#[must_use]
pub fn derive(view: &View<'_>) -> Status {
    let items: Vec<Item> = names(view).into_iter().map(|name| item(view, name)).collect();
    let files: Vec<FileStatus> = invalid(view).iter().map(|file| file_status(view, file)).collect();
    let unmanaged = unmanaged(view);
    let counts = count(&items, unmanaged.len());
    let state = worst(view, &items, &files);
    let mut history: Vec<_> = view.state.map(|state| state.history.clone()).unwrap_or_default();
    history.reverse();
    Status {
        schema: "v1",
        instance: view.instance.clone(),
        state,
        message: message(view, &items, &counts, &files),
        counts,
        source: view.source.clone(),
        policy: view.rules.clone(),
        problems: view.problems.to_vec(),
        plan: planned(view),
        holds: holds(view),
        items,
        files,
        warnings: view.desired.map(|desired| desired.loaded.warnings.clone()).unwrap_or_default(),
        unmanaged,
        history,
        pass: view.pass.clone(),
    }
}

/// Every name that has an item: wanted, ours, or of an invalid file.
fn names<'a>(view: &View<'a>) -> BTreeSet<&'a Name> {
    let wanted = view.desired.into_iter().flat_map(|desired| desired.loaded.connectors.keys());
    let applied = view.state.into_iter().flat_map(|state| &state.applied);
    let ours = applied.filter(|(_, applied)| owned(view, applied)).map(|(name, _)| name);
    let shielded = view.plan.into_iter().flat_map(|plan| plan.shielded.keys());
    let broken = view.desired.into_iter().flat_map(|desired| &desired.loaded.invalid);
    wanted.chain(ours).chain(shielded).chain(broken.filter_map(|file| file.name.as_ref())).collect()
}

fn owned(view: &View<'_>, applied: &Applied) -> bool {
    let sources = &view.instance.sources;
    applied.owner == view.owner && (sources.is_empty() || sources.contains(&applied.source))
}

fn invalid<'a>(view: &View<'a>) -> &'a [InvalidFile] {
    view.desired.map_or(&[], |desired| &desired.loaded.invalid)
}

fn item(view: &View<'_>, name: &Name) -> Item {
    let wanted = view.desired.and_then(|desired| desired.loaded.connectors.get(name));
    let observed = view.live.and_then(|live| live.connectors.get(name));
    let applied = view.state.and_then(|state| state.applied.get(name));
    let flow = observed.and_then(|observed| observed.flow.as_ref());
    let retry = view.retries.get(name);
    let hold = view.state.and_then(|state| state.hold_on(name, view.now));
    let diff = view.plan.and_then(|plan| plan.differences.get(name)).cloned().unwrap_or_default();
    let broken = broken_file(view, name, wanted);

    let (sync, mut plan) = standing(view, name, wanted, broken);
    plan.estimate = view.estimates.get(name).cloned();
    let health = if view.standby.is_some() { Health::Standby } else { health(observed) };
    let mut problems = broken.map(|path| file_problems(view, path)).unwrap_or_default();
    problems.extend(retry.map(|retry| retry.problem.clone()));
    problems.extend(flow.into_iter().flat_map(|flow| flow.problems.iter().cloned()));
    let file = wanted.map(|c| c.path.clone()).or_else(|| broken.map(str::to_owned));
    let state = StatePair { desired: wanted.map(|c| c.state), live: observed.map(|o| o.state) };
    let summary = summarise(sync, health, state, !problems.is_empty());
    let source = wanted.map(|c| c.source.as_str()).or(applied.map(|a| a.source.as_str()));
    let retries = retry.map(|retry| retry.attempts).or(flow.map(|flow| flow.retries)).unwrap_or_default();
    Item {
        name: name.to_string(),
        id: [Some(view.instance.environment.as_str()), Some(&view.instance.destination), source, Some(name.as_str())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("/"),
        file,
        summary,
        sync,
        health,
        state,
        lag_records: flow.and_then(|flow| flow.lag_records),
        oldest_uncopied_ms: flow.and_then(|flow| flow.oldest_uncopied_ms),
        last_acknowledged: flow.and_then(|flow| flow.last_acknowledged),
        bytes_per_second: flow.map(|flow| flow.bytes_per_second),
        path: flow.map(|flow| flow.path.clone()),
        retries,
        next_attempt: retry.map(|retry| retry.next).or(flow.and_then(|flow| flow.next_attempt)),
        problems,
        diff,
        plan,
        applied: applied.map(|applied| AppliedStatus {
            revision: applied.revision.clone(),
            at: applied.at,
            hash: applied.config_hash.clone(),
        }),
        hold: hold.map(|(scope, hold)| HoldStatus { scope: scope.to_string(), hold: hold.clone() }),
        warnings: wanted.map(|c| c.warnings.clone()).unwrap_or_default(),
        flow: flow.cloned(),
    }
}

/// The invalid file that keeps a connector as it is.
fn broken_file<'a>(view: &View<'a>, name: &Name, wanted: Option<&Connector>) -> Option<&'a str> {
    if wanted.is_some() {
        return None;
    }
    let shielded = view.plan.and_then(|plan| plan.shielded.get(name)).map(String::as_str);
    shielded
        .or_else(|| invalid(view).iter().find(|file| file.name.as_ref() == Some(name)).map(|file| file.path.as_str()))
}

/// What is wrong with an invalid file, as problems of its item.
fn file_problems(view: &View<'_>, path: &str) -> Vec<Problem> {
    let files = invalid(view).iter().filter(|file| file.path == path);
    files
        .flat_map(|file| &file.problems)
        .map(|found| Problem {
            code: found.code.to_owned(),
            message: found.to_string(),
            hint: found.hint.clone(),
            since: view.source.commit.as_ref().and_then(|commit| commit.time).or(view.pass.at).unwrap_or(view.now),
        })
        .collect()
}

/// How an item stands to Git, and what is done about it. The order of the questions is the order of precedence.
fn standing(view: &View<'_>, name: &Name, wanted: Option<&Connector>, broken: Option<&str>) -> (SyncWord, PlannedStep) {
    let none = |why: String| step_status("none", name, why, None);
    if let Some(path) = broken {
        return (SyncWord::Invalid, none(format!("{path} is invalid: what it ran stays as it is")));
    }
    if let Some(why) = view.standby {
        return (SyncWord::Pending, none(format!("standby, this process may not write: {why}")));
    }
    let Some(plan) = view.plan else {
        let why = match (view.desired, view.problems.first()) {
            (None, _) => "the repository has not been read since the start: nothing is planned".to_owned(),
            (_, Some(problem)) => format!("nothing is planned: {}", problem.message),
            _ => "nothing is planned".to_owned(),
        };
        return (SyncWord::Blocked, none(why));
    };
    let step = plan.steps.iter().find(|step| concerns(step, name));
    let guarded: Vec<&(Step, Guard)> = plan.withheld.iter().filter(|(step, _)| concerns(step, name)).collect();
    let withheld = |sync: SyncWord, found: &&(Step, Guard)| {
        (sync, step_status(found.0.action(), name, found.1.to_string(), Some(found.1.code())))
    };
    let retry = view.retries.get(name);
    if let (Some(retry), Some(step)) = (retry, step)
        && retry.problem.code == "ENGINE-INVALID"
    {
        return (SyncWord::Invalid, step_status(step.action(), name, retry.problem.message.clone(), None));
    }
    if let Some(found) = guarded.iter().find(|(_, guard)| matches!(guard, Guard::Held { .. })) {
        return withheld(SyncWord::Held, found);
    }
    if let Some((_, hold)) = view.state.and_then(|state| state.hold_on(name, view.now)) {
        return (SyncWord::Held, none(format!("held by {}: {}", hold.by, hold.reason)));
    }
    let blocks = |guard: &Guard| !matches!(guard, Guard::DriftReported | Guard::Manual | Guard::PruneOff);
    if let Some(found) = guarded.iter().find(|(_, guard)| blocks(guard)) {
        return withheld(SyncWord::Blocked, found);
    }
    if let Some(step) = step {
        let why = match retry {
            Some(retry) => format!("tried {} times, next at {}", retry.attempts, retry.next),
            None => reason(step, wanted),
        };
        let sync = if drift_only(step) { SyncWord::Drifted } else { SyncWord::Pending };
        return (sync, step_status(step.action(), name, why, None));
    }
    if let Some(found) = guarded.iter().find(|(_, guard)| *guard == Guard::DriftReported) {
        return withheld(SyncWord::Drifted, found);
    }
    if let Some(found) = guarded.first() {
        return withheld(if drift_only(&found.0) { SyncWord::Drifted } else { SyncWord::Pending }, found);
    }
    if let Some(retry) = retry {
        return (SyncWord::Pending, none(retry.problem.message.clone()));
    }
    if plan.differences.contains_key(name) {
        return (SyncWord::InSync, none("drift is `off`: differences of the live side are not judged".to_owned()));
    }
    let why = if plan.unchanged.contains(name) { "as Git says" } else { "nothing to do" };
    (SyncWord::InSync, none(why.to_owned()))
}

fn concerns(step: &Step, name: &Name) -> bool {
    let from = if let Step::Rename { from, .. } = step { Some(from) } else { None };
    step.name() == Some(name) || from == Some(name)
}

/// Whether nobody but the live side made the step necessary.
fn drift_only(step: &Step) -> bool {
    match step {
        Step::Update { changes, .. } => changes.iter().all(|change| change.origin == Origin::Live),
        Step::SetState { origin, .. } => *origin == Origin::Live,
        Step::Create { again, .. } => *again,
        _ => false,
    }
}

fn reason(step: &Step, wanted: Option<&Connector>) -> String {
    match step {
        Step::Create { again: true, .. } => "we had applied it, and somebody removed it".to_owned(),
        Step::Create { .. } => "Git names it, and nothing runs under that name".to_owned(),
        Step::Adopt { .. } => "somebody else made it, and a file of its name says it is ours".to_owned(),
        Step::Rename { from, .. } => format!("it was called {from}; its progress goes along"),
        Step::Delete { .. } => "no file names it any more; offsets and topics stay".to_owned(),
        Step::Supply { .. } => "its secrets are kept out of the config topic, and Git has them".to_owned(),
        Step::AcceptCluster { .. } => "another cluster answers, and somebody said that it was meant".to_owned(),
        Step::Forget { .. } => "neither a file nor a connector of that name is left".to_owned(),
        Step::Record { .. } => "it runs as Git says; only our note of it is out of date".to_owned(),
        Step::RemoveHold { .. } => "the hold has ended".to_owned(),
        Step::Update { .. } | Step::SetState { .. } if drift_only(step) => "the live side was changed".to_owned(),
        Step::Update { .. } | Step::SetState { .. } => {
            format!("Git changed: {}", wanted.map_or("its file", |connector| connector.path.as_str()))
        }
    }
}

fn step_status(action: &str, name: &Name, why: String, guard: Option<&'static str>) -> PlannedStep {
    PlannedStep { action: action.to_owned(), name: name.to_string(), why, guard, estimate: None }
}

/// What is known about the replication itself; a report that contradicts itself is believed in its worse half (law 4).
fn health(observed: Option<&Observed>) -> Health {
    match observed {
        Some(Observed { flow: Some(flow), .. }) if flow.health == Health::Healthy && !flow.problems.is_empty() => {
            Health::Degraded
        }
        Some(Observed { flow: Some(flow), .. }) => flow.health,
        Some(Observed { flow: None, state: TargetState::Paused | TargetState::Stopped, .. }) => Health::Paused,
        _ => Health::Unknown,
    }
}

/// One word for both: the worse one. A paused connector is fine only when Git wants it so, and a running one when Git
/// doesn't want it otherwise, also where drift is `off` and nobody corrects it.
fn summarise(sync: SyncWord, health: Health, state: StatePair, problem: bool) -> Word {
    let by_sync = match sync {
        SyncWord::InSync => Word::InSync,
        SyncWord::Pending => Word::Pending,
        SyncWord::Drifted => Word::Drifted,
        SyncWord::Invalid => Word::Invalid,
        SyncWord::Held => Word::Held,
        SyncWord::Blocked => Word::Blocked,
    };
    let by_health = match health {
        Health::Healthy => Word::InSync,
        Health::Paused if matches!(state.desired, Some(TargetState::Paused | TargetState::Stopped)) => Word::Paused,
        Health::Paused => Word::Degraded,
        Health::Standby => Word::Standby,
        Health::Starting => Word::Starting,
        Health::Degraded => Word::Degraded,
        Health::Unknown => Word::Unknown,
        Health::Stalled => Word::Stalled,
        Health::Failed => Word::Failed,
    };
    let differs = state.desired.is_some() && state.desired != state.live;
    let by_problem = if problem || differs { Word::Degraded } else { Word::InSync };
    by_sync.min(by_health).min(by_problem)
}

fn worst(view: &View<'_>, items: &[Item], files: &[FileStatus]) -> Word {
    let items = items.iter().map(|item| item.summary);
    let files = files.iter().map(|_| Word::Invalid);
    let unread = view.desired.is_none() || view.source.problem.is_some();
    let source = unread.then_some(if view.desired.is_none() && view.source.problem.is_none() {
        Word::Unknown
    } else {
        Word::SourceUnreachable
    });
    let instance = (!view.problems.is_empty()).then_some(Word::Failed);
    let withheld = view.plan.into_iter().flat_map(|plan| &plan.withheld).map(|(_, guard)| match guard {
        Guard::Standby { .. } => Word::Standby,
        Guard::Held { .. } => Word::Held,
        Guard::DriftReported => Word::Drifted,
        Guard::Manual | Guard::PruneOff => Word::Pending,
        _ => Word::Blocked,
    });
    let steps = view.plan.into_iter().flat_map(|plan| &plan.steps).map(|_| Word::Pending);
    let standby = view.standby.map(|_| Word::Standby);
    items
        .chain(files)
        .chain(source)
        .chain(standby)
        .chain(instance)
        .chain(withheld)
        .chain(steps)
        .min()
        .unwrap_or(Word::InSync)
}

fn count(items: &[Item], unmanaged: usize) -> Counts {
    let sync = |word: SyncWord| items.iter().filter(|item| item.sync == word).count();
    let health = |word: Health| items.iter().filter(|item| item.health == word).count();
    Counts {
        items: items.len(),
        in_sync: sync(SyncWord::InSync),
        pending: sync(SyncWord::Pending),
        drifted: sync(SyncWord::Drifted),
        invalid: sync(SyncWord::Invalid),
        held: sync(SyncWord::Held),
        blocked: sync(SyncWord::Blocked),
        failed: health(Health::Failed),
        stalled: health(Health::Stalled),
        degraded: health(Health::Degraded),
        paused: health(Health::Paused),
        unmanaged,
    }
}

fn message(view: &View<'_>, items: &[Item], counts: &Counts, files: &[FileStatus]) -> String {
    let mut parts: Vec<String> = [
        (counts.in_sync, "in sync"),
        (counts.pending, "pending"),
        (counts.drifted, "drifted"),
        (counts.invalid, "invalid"),
        (counts.held, "held"),
        (counts.blocked, "blocked"),
        (counts.failed, "failed"),
        (counts.stalled, "stalled"),
        (counts.degraded, "degraded"),
        (counts.paused, "paused"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    let nameless = files.iter().filter(|file| !items.iter().any(|item| item.file.as_ref() == Some(&file.path))).count();
    if nameless > 0 {
        parts.push(format!("{nameless} more files invalid"));
    }
    let noun = if counts.items == 1 { "connector" } else { "connectors" };
    let mut text = format!("{} {noun}", counts.items);
    if !parts.is_empty() {
        text = format!("{text}: {}", parts.join(", "));
    }
    if view.desired.is_none() {
        text.push_str("; the repository has not been read since the start, what ran goes on");
    }
    if let Some(why) = view.standby {
        text = format!("{text}; standby: {why}");
    }
    if let Some(problem) = view.problems.first().or(view.source.problem.as_ref()) {
        text = format!("{text}; {}", problem.message);
    }
    text
}

fn planned(view: &View<'_>) -> Planned {
    let Some(plan) = view.plan else { return Planned::default() };
    let wanted = |step: &Step| {
        let name = step.name()?;
        view.desired?.loaded.connectors.get(name)
    };
    let status = |step: &Step, why: String, guard: Option<&'static str>| PlannedStep {
        action: step.action().to_owned(),
        name: step.name().map(Name::to_string).unwrap_or_default(),
        why,
        guard,
        estimate: step.name().and_then(|name| view.estimates.get(name)).cloned(),
    };
    Planned {
        hash: plan.hash.clone(),
        confirmable: plan.withheld.iter().any(|(_, guard)| guard.confirmable()),
        steps: plan.steps.iter().map(|step| status(step, reason(step, wanted(step)), None)).collect(),
        withheld: plan
            .withheld
            .iter()
            .map(|(step, guard)| status(step, guard.to_string(), Some(guard.code())))
            .collect(),
    }
}

fn holds(view: &View<'_>) -> Vec<HoldStatus> {
    let holds = view.state.into_iter().flat_map(|state| &state.holds);
    holds
        .filter(|(_, hold)| hold.active(view.now))
        .map(|(scope, hold)| HoldStatus { scope: scope.to_string(), hold: hold.clone() })
        .collect()
}

fn file_status(view: &View<'_>, file: &InvalidFile) -> FileStatus {
    let mut ran = view.state.into_iter().flat_map(|state| &state.applied).filter(|(name, applied)| {
        let runs = view.live.is_none_or(|live| live.connectors.contains_key(*name));
        runs && (applied.path == file.path || Some(*name) == file.name.as_ref())
    });
    FileStatus {
        path: file.path.clone(),
        name: file.name.as_ref().map(Name::to_string),
        unsupported: file.unsupported(),
        running_last_good: ran.next().map(|(_, applied)| applied.revision.clone()),
        problems: file.problems.clone(),
    }
}

fn unmanaged(view: &View<'_>) -> Vec<Unmanaged> {
    let (Some(plan), Some(live)) = (view.plan, view.live) else { return vec![] };
    let why = |name: &Name| match view.state.and_then(|state| state.applied.get(name)) {
        Some(applied) => format!("{} applied it, not this instance", applied.owner),
        None => "no file names it: it is neither run nor changed until one does".to_owned(),
    };
    let states = plan.unmanaged.iter().filter_map(|name| Some((name, live.connectors.get(name)?.state)));
    states.map(|(name, state)| Unmanaged { name: name.to_string(), state, why: why(name) }).collect()
}
