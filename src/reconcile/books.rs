//! What we note after a step succeeded: pure, so that the loop and the laws of planning share one definition.

use jiff::Timestamp;

use super::compare::{Comparable, Origin, differences, storable};
use super::plan::{Base, ClusterChange, Desired, Step, bootstrap};
use crate::destination::state::{Applied, Record};
use crate::engine::{Live, Observed};
use crate::spec::{Connector, Name};

/// Which instance notes, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) owner: &'a str,
    pub(super) now: Timestamp,
}

/// The records that a successful step leaves in the state topic.
pub(super) fn records(
    step: &Step,
    desired: &Desired<'_>,
    live: &Live,
    base: &Base<'_>,
    author: Author<'_>,
) -> Vec<Record> {
    let note = |name: &Name, before: Option<&Applied>| -> Option<Applied> {
        let connector = desired.loaded.connectors.get(name)?;
        Some(fresh(connector, desired.revision, base, author, before))
    };
    let write = |name: &Name, applied: Option<Applied>| -> Vec<Record> {
        applied.map(|applied| Record::Applied(name.clone(), Some(Box::new(applied)))).into_iter().collect()
    };
    let before = |name: &Name| base.state.applied.get(name);
    match step {
        Step::Supply { .. } => vec![],
        Step::RemoveHold { scope } => vec![Record::Hold(scope.clone(), None)],
        Step::Delete { name } | Step::Forget { name } => vec![Record::Applied(name.clone(), None)],
        Step::Create { name, .. } => write(name, note(name, before(name))),
        Step::Adopt { name, .. } => write(name, note(name, None)),
        Step::Rename { from, to, .. } => {
            let mut records = write(to, note(to, before(from)));
            records.push(Record::Applied(from.clone(), None));
            records
        }
        Step::Update { name, .. } => write(
            name,
            note(name, before(name)).map(|mut applied| {
                let reached = live.connectors.get(name).is_some_and(|observed| observed.state == applied.state);
                if let (Some(before), false) = (before(name), reached) {
                    // The state has a step of its own: noting it here would make its origin look like drift.
                    applied.state = before.state;
                }
                applied
            }),
        ),
        Step::SetState { name, .. } => write(
            name,
            note(name, before(name)).map(|mut applied| {
                if let Some(before) = before(name)
                    && from_git(&applied, before, live.connectors.get(name), base)
                {
                    // The configuration was not applied (yet): only the state was.
                    applied.config = before.config.clone();
                    applied.config_hash = before.config_hash.clone();
                    applied.source_cluster_id = before.source_cluster_id.clone();
                    applied.target_cluster_id = before.target_cluster_id.clone();
                }
                applied
            }),
        ),
        Step::AcceptCluster { name, changes } => write(
            name,
            before(name).cloned().map(|mut applied| {
                for ClusterChange { side, is, .. } in changes {
                    let id =
                        if *side == "source" { &mut applied.source_cluster_id } else { &mut applied.target_cluster_id };
                    *id = Some(is.clone());
                }
                applied
            }),
        ),
        Step::Record { name } => write(
            name,
            note(name, before(name)).map(|mut applied| {
                let flow = live.connectors.get(name).and_then(|observed| observed.flow.as_ref());
                let seen = |id: fn(&crate::engine::FlowReport) -> &Option<String>| flow.and_then(|f| id(f).clone());
                applied.source_cluster_id = applied.source_cluster_id.or(seen(|f| &f.source_cluster_id));
                applied.target_cluster_id = applied.target_cluster_id.or(seen(|f| &f.target_cluster_id));
                applied
            }),
        ),
    }
}

/// Whether Git has changed the configuration and the live side doesn't have the change.
fn from_git(wanted: &Applied, before: &Applied, observed: Option<&Observed>, base: &Base<'_>) -> bool {
    let before = Comparable::stored(&before.config);
    let runs = observed.map(|observed| Comparable::new(&observed.config, base.key)).unwrap_or_default();
    let found = differences(&Comparable::stored(&wanted.config), &runs, Some(&before));
    found.iter().any(|difference| difference.origin != Origin::Live)
}

fn fresh(
    connector: &Connector,
    revision: &str,
    base: &Base<'_>,
    author: Author<'_>,
    before: Option<&Applied>,
) -> Applied {
    let config = storable(&connector.config, base.key);
    // An id is that of the cluster under one address: what is under another one is not known yet.
    let same = |side: &str| before.filter(|b| b.config.get(&bootstrap(side)) == config.get(&bootstrap(side)));
    let (source, target) = (same("source"), same("target"));
    Applied {
        state: connector.state,
        revision: revision.to_owned(),
        path: connector.path.clone(),
        source: connector.source.clone(),
        blob: connector.blob.clone(),
        at: author.now,
        owner: author.owner.to_owned(),
        source_cluster_id: source.and_then(|applied| applied.source_cluster_id.clone()),
        target_cluster_id: target.and_then(|applied| applied.target_cluster_id.clone()),
        config_hash: connector.config.fingerprint(base.key.bytes()),
        config,
    }
}
