//! The pure difference between what Git says, what runs and what we applied: which steps to take, in which order, and
//! which steps a guard keeps from being taken.
//!
//! [`Plan::new`] has no clock, no network and no memory: the same inputs give the same plan, boot is the diff from
//! empty, and applying a plan makes the next one empty (law 5).
//!
//! What it never does: touch a connector that has no `applied/` record of this instance, except to adopt it for a file of
//! its name (law 6); delete or change what an invalid file ran (laws 7, 8); delete while the repository's scope is absent or
//! has no file (law 8); delete more than `max-deletes` without a confirmation of exactly those deletions.

mod build;
mod guard;
#[cfg(test)]
mod laws;
#[cfg(test)]
pub(super) mod model;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

pub(super) use build::bootstrap;
pub use guard::{ClusterChange, Guard};

use super::compare::{Difference, Origin};
use crate::destination::state::{FingerprintKey, HoldScope, State};
use crate::spec::{Config, DriftMode, Loaded, Name, TargetState};

/// What Git says.
#[derive(Debug, Clone, Copy)]
pub struct Desired<'a> {
    /// The files, read.
    pub loaded: &'a Loaded,
    /// Where they were read from.
    pub revision: &'a str,
}

/// What we applied, and who asked us to leave what alone.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// The state topic.
    pub state: &'a State,
    /// The key that its fingerprints were made with.
    pub key: &'a FingerprintKey,
}

/// Whether changes are applied as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// They are.
    #[default]
    Auto,
    /// They wait for `apply` or `confirm`.
    Manual,
}

/// What happens to what Git no longer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Prune {
    /// It is stopped and forgotten; offsets and topics stay.
    #[default]
    Auto,
    /// The same, once `confirm`ed.
    Confirm,
    /// It goes on running.
    Off,
}

/// How many connectors one plan may delete without a confirmation: both limits hold, but a single deletion is never
/// more than the percentage allows, so that a small installation can be changed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct MaxDeletes {
    /// At most this many.
    pub count: u32,
    /// At most this part of all connectors, those to be deleted included, in percent.
    pub percent: u8,
}

/// What the plan may do.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What happens to a change of the live side, where the file doesn't say.
    pub drift: DriftMode,
    /// Whether changes are applied as they come.
    pub sync: Sync,
    /// What happens to what Git no longer names, where its last file didn't say.
    pub prune: Prune,
    /// How many deletions pass without a confirmation.
    pub max_deletes: MaxDeletes,
    /// This instance, as its `applied/` records call it.
    pub owner: String,
    /// Source folders that the instance is limited to; empty for all.
    pub sources: Vec<String>,
    /// Why this process may not write at all, such as `another member holds the group`.
    pub standby: Option<String>,
    /// Steps that `apply` let go: digests, see [`Plan::digests`].
    pub approved: BTreeSet<String>,
    /// Steps that `confirm` let go.
    pub confirmed: BTreeSet<String>,
    /// Now: only the ends of holds are compared with it.
    pub now: Timestamp,
}

/// One action. The order of the variants is not the order of steps: see [`Step::rank`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A hold has ended.
    RemoveHold {
        /// What it covered.
        scope: HoldScope,
    },
    /// Running, paused or stopped.
    SetState {
        /// The connector.
        name: Name,
        /// As it is.
        from: TargetState,
        /// As it shall be.
        to: TargetState,
        /// Who made them differ.
        origin: Origin,
    },
    /// The file is gone: stop the flow and forget the configuration; offsets and topics stay.
    Delete {
        /// The connector.
        name: Name,
    },
    /// The same connector under another name: its progress goes along.
    Rename {
        /// The name that the file had.
        from: Name,
        /// The name that it has.
        to: Name,
        /// What to run.
        config: Config,
        /// Its target state.
        state: TargetState,
        /// What differs besides the name.
        changes: Vec<Difference>,
    },
    /// Change the configuration.
    Update {
        /// The connector.
        name: Name,
        /// What to run: what Git says and, where drift is only reported, what the live side has changed.
        config: Config,
        /// The keys that change.
        changes: Vec<Difference>,
    },
    /// A connector that somebody else made is from now on the file's.
    Adopt {
        /// The connector.
        name: Name,
        /// What to run.
        config: Config,
        /// Its target state as it is.
        from: TargetState,
        /// And as the file wants it.
        to: TargetState,
        /// The keys that change.
        changes: Vec<Difference>,
    },
    /// Start replicating.
    Create {
        /// The connector.
        name: Name,
        /// What to run.
        config: Config,
        /// Its target state.
        state: TargetState,
        /// Whether we had applied it before, and somebody removed it.
        again: bool,
    },
    /// What was applied, with the secrets that are kept out of the config topic: after a restart only Git has them.
    Supply {
        /// The connector.
        name: Name,
        /// What it has run.
        config: Config,
    },
    /// Another cluster answers under the connector's address: from now on it is the right one.
    AcceptCluster {
        /// The connector.
        name: Name,
        /// The sides that changed.
        changes: Vec<ClusterChange>,
    },
    /// The file is gone and so is the connector: forget that we applied it.
    Forget {
        /// The connector.
        name: Name,
    },
    /// What runs is what Git says: note so, because the file moved, or a setting of ours changed, or a cluster told its id.
    Record {
        /// The connector.
        name: Name,
    },
}

/// What to do, what not to do, and why not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What is as Git says.
    pub unchanged: BTreeSet<Name>,
    /// What a guard keeps from being done.
    pub withheld: Vec<(Step, Guard)>,
    /// Connectors that are nobody's: listed, never touched.
    pub unmanaged: BTreeSet<Name>,
    /// Connectors whose file is invalid; they stay as they are. With the file's path.
    pub shielded: BTreeMap<Name, String>,
    /// Every difference found, also those that nothing is done about.
    pub differences: BTreeMap<Name, Vec<Difference>>,
    /// Names exactly what waits for a confirmation; where nothing waits, exactly the steps.
    pub hash: String,
}

// === impl Plan ===

impl Plan {
    /// What to do, given what Git says, what runs, what we applied and what we may do.
    #[must_use]
    pub fn new(desired: &Desired<'_>, live: &crate::engine::Live, base: &Base<'_>, policy: &Policy) -> Self {
        build::plan(desired, live, base, policy)
    }

    /// Nothing to do and nothing withheld: Git and the live side agree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.withheld.is_empty()
    }

    /// Every step, done or not, with its guard.
    pub fn all(&self) -> impl Iterator<Item = (&Step, Option<&Guard>)> {
        self.steps.iter().map(|step| (step, None)).chain(self.withheld.iter().map(|(step, guard)| (step, Some(guard))))
    }

    /// The digests of the withheld steps that `accept`s their guard: what a confirmation lets go.
    #[must_use]
    pub fn digests(&self, accept: impl Fn(&Guard) -> bool) -> BTreeSet<String> {
        self.withheld.iter().filter(|(_, guard)| accept(guard)).map(|(step, _)| step.digest()).collect()
    }
}

// === impl Step ===

impl Step {
    /// The connector it is about; none for the end of a hold.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::RemoveHold { .. } => None,
            Self::Rename { to: name, .. }
            | Self::SetState { name, .. }
            | Self::Delete { name }
            | Self::Update { name, .. }
            | Self::Adopt { name, .. }
            | Self::Create { name, .. }
            | Self::Supply { name, .. }
            | Self::AcceptCluster { name, .. }
            | Self::Forget { name }
            | Self::Record { name } => Some(name),
        }
    }

    /// The action's word.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::RemoveHold { .. } => "end-hold",
            Self::SetState { to: TargetState::Running, .. } => "resume",
            Self::SetState { to: TargetState::Paused, .. } => "pause",
            Self::SetState { to: TargetState::Stopped, .. } => "stop",
            Self::Delete { .. } => "delete",
            Self::Rename { .. } => "rename",
            Self::Update { .. } => "update",
            Self::Adopt { .. } => "adopt",
            Self::Create { .. } => "create",
            Self::Supply { .. } => "supply",
            Self::AcceptCluster { .. } => "accept-cluster",
            Self::Forget { .. } => "forget",
            Self::Record { .. } => "record",
        }
    }

    /// The keys that it changes.
    #[must_use]
    pub fn changes(&self) -> &[Difference] {
        match self {
            Self::Rename { changes, .. } | Self::Update { changes, .. } | Self::Adopt { changes, .. } => changes,
            _ => &[],
        }
    }

    /// Whether it changes nothing: it keeps our own books, or goes on with what was applied.
    #[must_use]
    pub fn bookkeeping(&self) -> bool {
        matches!(self, Self::Supply { .. } | Self::RemoveHold { .. } | Self::Forget { .. } | Self::Record { .. })
    }

    /// Its place in the order: what frees a topic or a client comes before what may claim it, and books come last, so
    /// that moving a topic from one file to another never has two writers.
    fn rank(&self) -> u8 {
        match self {
            Self::RemoveHold { .. } => 0,
            Self::SetState { to: TargetState::Paused | TargetState::Stopped, .. } => 1,
            Self::Delete { .. } => 2,
            Self::Rename { .. } => 3,
            Self::Update { .. } => 4,
            Self::Adopt { .. } => 5,
            Self::Create { .. } => 6,
            Self::SetState { to: TargetState::Running, .. } => 7,
            Self::AcceptCluster { .. } => 8,
            Self::Supply { .. } => 9,
            Self::Forget { .. } => 10,
            Self::Record { .. } => 11,
        }
    }

    /// The written order of steps: by rank, then by name.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        (self.rank(), self.name()).cmp(&(other.rank(), other.name()))
    }

    /// Names this step and no other: what it does, to what, from which state. Holds no secret.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(self.action());
        part(self.name().map_or("", Name::as_str));
        match self {
            Self::RemoveHold { scope } => part(&scope.to_string()),
            Self::SetState { from, .. } => part(from.as_str()),
            Self::Rename { from, state, .. } => {
                part(from.as_str());
                part(state.as_str());
            }
            Self::Adopt { from, to, .. } => {
                part(from.as_str());
                part(to.as_str());
            }
            Self::Create { config, state, .. } => {
                part(state.as_str());
                // Masked: a digest over a literal secret would be a fingerprint without a key.
                for (key, value) in config.normalised().masked().iter() {
                    part(key);
                    part(value);
                }
            }
            Self::AcceptCluster { changes, .. } => {
                for ClusterChange { side, was, is } in changes {
                    part(side);
                    part(was);
                    part(is);
                }
            }
            Self::Supply { .. }
            | Self::Delete { .. }
            | Self::Update { .. }
            | Self::Forget { .. }
            | Self::Record { .. } => {}
        }
        for change in self.changes() {
            part(&change.key);
            for value in [&change.desired, &change.live] {
                part(value.as_ref().map_or("absent", |value| value.identity()));
            }
        }
        hex(&hash.finalize())
    }
}

/// The first 16 digits are enough to name a plan: nobody gains by a collision with a plan of their own making.
pub(super) fn hash_of<'a>(steps: impl Iterator<Item = &'a Step>) -> String {
    let mut hash = Sha256::new();
    for step in steps {
        hash.update(step.digest());
    }
    hex(&hash.finalize())[..16].to_owned()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String can't refuse");
        text
    })
}

impl Default for MaxDeletes {
    fn default() -> Self {
        Self { count: 3, percent: 20 }
    }
}

impl MaxDeletes {
    /// How many of `managed` connectors may go at once.
    #[must_use]
    pub fn allowed(self, managed: usize) -> usize {
        let part = managed.saturating_mul(usize::from(self.percent)) / 100;
        // A percentage of zero is meant: nothing goes without a confirmation.
        let part = if self.percent == 0 { 0 } else { part.max(1) };
        part.min(usize::try_from(self.count).unwrap_or(usize::MAX))
    }
}
