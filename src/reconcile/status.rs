//! The `/status` document: what is true now, in words that never flatter (law 4).
//!
//! [`Status`] is the one value that the API, the metrics and the command line read. It is additive within `schema: v1`:
//! fields are added, never removed or given another meaning. [`derive`] makes it from what one pass saw and is pure.

mod derive;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::compare::Difference;
use super::plan::{Desired, MaxDeletes, Plan, Prune, Sync};
use crate::destination::state::{HistoryEntry, Hold, State};
use crate::engine::{Estimate, FlowReport, Health, Live, Problem};
use crate::spec::{Diagnostic, DriftMode, Name, TargetState};

pub use derive::derive;

/// The whole document.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of this document: `v1`.
    pub schema: &'static str,
    /// Who speaks.
    pub instance: Instance,
    /// The worst that is true of anything below.
    pub state: Word,
    /// The same in one sentence.
    pub message: String,
    /// How many of what.
    pub counts: Counts,
    /// The repository.
    pub source: Source,
    /// What this instance may do.
    pub policy: Rules,
    /// What is wrong with the instance as a whole.
    pub problems: Vec<Problem>,
    /// What is to be done, and what is kept from being done.
    pub plan: Planned,
    /// What somebody asked to leave alone.
    pub holds: Vec<HoldStatus>,
    /// Each connector that Git names or that we applied.
    pub items: Vec<Item>,
    /// Files that can't be used.
    pub files: Vec<FileStatus>,
    /// What is odd in the repository and stops nothing.
    pub warnings: Vec<Diagnostic>,
    /// Connectors that nobody's file names: never touched.
    pub unmanaged: Vec<Unmanaged>,
    /// The last passes that did something, newest first.
    pub history: Vec<HistoryEntry>,
    /// The pass that made this document.
    pub pass: Pass,
}

/// Which daemon this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// First folder level.
    pub environment: String,
    /// Second folder level.
    pub destination: String,
    /// Third folder level, where limited to some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The program's version.
    pub version: String,
    /// Since when it runs.
    pub started_at: Timestamp,
}

/// The summary word of an item and of the instance, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub enum Word {
    /// Nothing is copied and nothing will be until somebody acts; or the instance can't see or note what runs.
    Failed,
    /// Records wait, and none was acknowledged for `stall-after`.
    Stalled,
    /// A guard keeps changes from being applied.
    Blocked,
    /// A file can't be used; what it ran keeps running at its last good version.
    Invalid,
    /// The live side was changed behind Git's back.
    Drifted,
    /// The repository can't be read now.
    SourceUnreachable,
    /// Changes wait to be applied.
    Pending,
    /// Something fails while the rest goes on.
    Degraded,
    /// Somebody asked to leave it alone.
    Held,
    /// Another process does the work.
    Standby,
    /// Not yet copying.
    Starting,
    /// Nothing is known about how it does.
    Unknown,
    /// Git wants it paused or stopped, and it is.
    Paused,
    /// It is as Git says, and does what it should.
    InSync,
}

/// How an item stands to Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum SyncWord {
    /// As Git says.
    InSync,
    /// Git's change is not applied yet.
    Pending,
    /// The live side was changed.
    Drifted,
    /// Its file can't be used.
    Invalid,
    /// Somebody asked to leave it alone.
    Held,
    /// A guard keeps it from being brought in line, or it can't be compared.
    Blocked,
}

/// How many of what. Items are counted once by `sync`, and once by `health` where that is bad.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the number of items of that word")]
pub struct Counts {
    pub items: usize,
    pub in_sync: usize,
    pub pending: usize,
    pub drifted: usize,
    pub invalid: usize,
    pub held: usize,
    pub blocked: usize,
    pub failed: usize,
    pub stalled: usize,
    pub degraded: usize,
    pub paused: usize,
    pub unmanaged: usize,
}

/// The repository, as the last look at it found it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Where, without credentials.
    pub url: String,
    /// Branch, tag or commit that is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Folder that is read.
    pub path: String,
    /// The revision that was read last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// The last revision that was applied whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// The commit of the revision that was read last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// When it was last reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ok: Option<Timestamp>,
    /// Failed attempts in a row.
    pub failures: u32,
    /// Why it can't be read, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The history of the reference was rewritten (force push).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<Rewritten>,
}

/// Who changed what, in Git's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Commit {
    /// The author's name.
    pub author: String,
    /// First line of the message.
    pub subject: String,
    /// When it was committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// A history that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rewritten {
    /// The revision before.
    pub from: String,
    /// The revision since.
    pub to: String,
    /// When it was seen.
    pub at: Timestamp,
}

/// What the instance may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Whether changes are applied as they come.
    pub sync: Sync,
    /// What happens to a change of the live side.
    pub drift: DriftMode,
    /// What happens to what Git no longer names.
    pub prune: Prune,
    /// How many deletions pass without a confirmation.
    pub max_deletes: MaxDeletes,
}

/// The plan as it stands after the pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The plan's name, for `confirm`.
    pub hash: String,
    /// Whether `confirm` has something to let go.
    pub confirmable: bool,
    /// What is to be done, in order; after a pass, what failed or waits for its next attempt.
    pub steps: Vec<PlannedStep>,
    /// What is kept from being done.
    pub withheld: Vec<PlannedStep>,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// `create`, `update`, `delete`, ...; `none` where there is nothing to do.
    pub action: String,
    /// The connector; empty for a step about the instance.
    pub name: String,
    /// Why, or why not.
    pub why: String,
    /// The guard's word, where it is kept from being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<&'static str>,
    /// What would be copied that was not copied before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// Something that somebody asked to leave alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HoldStatus {
    /// `instance` or `connector/<name>`.
    pub scope: String,
    /// By whom, why, since when and until when.
    #[serde(flatten)]
    pub hold: Hold,
}

/// One connector.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The connector's name.
    pub name: String,
    /// `<environment>/<destination>/<source>/<name>`, as far as known.
    pub id: String,
    /// Its file; none when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Both words below in one.
    pub summary: Word,
    /// How it stands to Git.
    pub sync: SyncWord,
    /// How its replication does.
    pub health: Health,
    /// Running, paused or stopped.
    pub state: StatePair,
    /// Readable source records that are not copied.
    pub lag_records: Option<u64>,
    /// Age in milliseconds of the oldest of them.
    pub oldest_uncopied_ms: Option<u64>,
    /// When the target last acknowledged.
    pub last_acknowledged: Option<Timestamp>,
    /// Bytes acknowledged per second.
    pub bytes_per_second: Option<u64>,
    /// `batch` or `record`, and why.
    pub path: Option<String>,
    /// Failed attempts in a row, of applying or of copying.
    pub retries: u32,
    /// When the next attempt is due.
    pub next_attempt: Option<Timestamp>,
    /// What is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Every key in which Git and the live side differ.
    pub diff: Vec<Difference>,
    /// What is done about it, and why or why not.
    pub plan: PlannedStep,
    /// What was last applied.
    pub applied: Option<AppliedStatus>,
    /// The hold on it.
    pub hold: Option<HoldStatus>,
    /// What is odd in its file and stops nothing.
    pub warnings: Vec<Diagnostic>,
    /// The replication itself.
    pub flow: Option<FlowReport>,
}

/// Target states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StatePair {
    /// What Git says; null when it says nothing.
    pub desired: Option<TargetState>,
    /// What is in force; null when it isn't there, or can't be seen.
    pub live: Option<TargetState>,
}

/// What was last applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AppliedStatus {
    /// The revision that said so.
    pub revision: String,
    /// When.
    pub at: Timestamp,
    /// Keyed fingerprint of the configuration.
    pub hash: String,
}

/// A file that can't be used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileStatus {
    /// Path in the repository.
    pub path: String,
    /// The connector it is about, as far as readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Nothing is wrong with it but that we can't run what it asks for.
    pub unsupported: bool,
    /// Revision of the version of it that keeps running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_last_good: Option<String>,
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
}

/// A connector that is nobody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unmanaged {
    /// Its name.
    pub name: String,
    /// Its target state.
    pub state: TargetState,
    /// What would make it ours.
    pub why: String,
}

/// One pass of the loop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    /// Counts up by one.
    pub number: u64,
    /// What woke it: only told, never acted on.
    pub woke: String,
    /// When it began.
    pub at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A connector whose steps fail, and when they are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Failed attempts in a row.
    pub attempts: u32,
    /// When the next is due.
    pub next: Timestamp,
    /// Why the last one failed.
    pub problem: Problem,
}

/// Everything that one pass saw.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Who speaks.
    pub instance: &'a Instance,
    /// This instance, as its `applied/` records call it.
    pub owner: &'a str,
    /// Now.
    pub now: Timestamp,
    /// The repository.
    pub source: &'a Source,
    /// What the instance may do.
    pub rules: &'a Rules,
    /// What Git says; none before the first snapshot.
    pub desired: Option<Desired<'a>>,
    /// What runs; none when it can't be seen.
    pub live: Option<&'a Live>,
    /// What was applied; none when it can't be read.
    pub state: Option<&'a State>,
    /// The difference; none when one of the above is missing.
    pub plan: Option<&'a Plan>,
    /// What fails to be applied.
    pub retries: &'a BTreeMap<Name, Retry>,
    /// What would be copied anew.
    pub estimates: &'a BTreeMap<Name, Estimate>,
    /// What is wrong with the instance as a whole.
    pub problems: &'a [Problem],
    /// Why this process may not write, while it may not: another member holds the group.
    pub standby: Option<&'a str>,
    /// The pass.
    pub pass: &'a Pass,
}

/// JSON Schema (2020-12) of the document, as it is written: what may be left out is not required.
#[must_use]
pub fn status_schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Status>();
    schema.insert("title".to_owned(), "mirrorkeeper status, v1".into());
    schema.to_value()
}
