//! Why a step of a plan is not taken.

use std::fmt;

use jiff::Timestamp;

use crate::destination::state::HoldScope;

/// A cluster that is another one now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterChange {
    /// `source` or `target`.
    pub side: &'static str,
    /// Id of the cluster whose records were copied, or that they were copied to.
    pub was: String,
    /// Id of the one that answers.
    pub is: String,
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// This process may not write.
    Standby {
        /// Why.
        why: String,
    },
    /// Something about it in the config topic can't be understood.
    Unreadable {
        /// What, and why.
        why: String,
    },
    /// Somebody asked to leave it alone.
    Held {
        /// What the hold covers.
        scope: HoldScope,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// The repository has nothing in this scope: that is not "everything was deleted".
    EmptySource {
        /// What is missing.
        what: &'static str,
    },
    /// Another file, which is invalid, ran this connector: it may still want it.
    ClaimedByInvalidFile {
        /// The invalid file.
        path: String,
    },
    /// Too many deletions at once.
    MaxDeletes {
        /// How many there are.
        deletes: usize,
        /// How many pass.
        allowed: usize,
    },
    /// Another cluster answers than the one whose records were copied.
    OtherCluster {
        /// The sides that changed.
        changes: Vec<ClusterChange>,
    },
    /// `prune` is `confirm`.
    PruneConfirm,
    /// `prune` is `off`.
    PruneOff,
    /// `sync` is `manual`.
    Manual,
    /// `drift` is `report`.
    DriftReported,
}

// === impl Guard ===

impl Guard {
    /// Whether `confirm` lets the step go.
    #[must_use]
    pub fn confirmable(&self) -> bool {
        matches!(
            self,
            Self::Unreadable { .. }
                | Self::MaxDeletes { .. }
                | Self::OtherCluster { .. }
                | Self::PruneConfirm
                | Self::Manual
        )
    }

    /// Stable word for scripts and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Standby { .. } => "standby",
            Self::Unreadable { .. } => "unreadable",
            Self::Held { .. } => "hold",
            Self::EmptySource { .. } => "empty-source",
            Self::ClaimedByInvalidFile { .. } => "invalid-file",
            Self::MaxDeletes { .. } => "max-deletes",
            Self::OtherCluster { .. } => "other-cluster",
            Self::PruneConfirm => "prune-confirm",
            Self::PruneOff => "prune-off",
            Self::Manual => "manual",
            Self::DriftReported => "drift-report",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standby { why } => write!(f, "this process may not write: {why}"),
            Self::Unreadable { why } => {
                write!(f, "the config topic can't be understood: {why}; `confirm` has it written over")
            }
            Self::Held { by, reason, until: Some(until), .. } => write!(f, "held by {by} until {until}: {reason}"),
            Self::Held { by, reason, until: None, .. } => write!(f, "held by {by} until released: {reason}"),
            Self::EmptySource { what } => write!(f, "{what}: that is never read as \"deleted\""),
            Self::ClaimedByInvalidFile { path } => write!(f, "{path} ran it and is invalid now; it may still want it"),
            Self::MaxDeletes { deletes, allowed } => {
                write!(f, "{deletes} deletions at once, {allowed} pass without a confirmation (max-deletes)")
            }
            Self::OtherCluster { changes } => {
                for (n, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if n > 0 { ", " } else { "" })?;
                }
                f.write_str(": nothing is copied until `confirm` says that it was meant")
            }
            Self::PruneConfirm => f.write_str("prune is `confirm`"),
            Self::PruneOff => f.write_str("prune is `off`: it goes on running without a file"),
            Self::Manual => f.write_str("sync is `manual`"),
            Self::DriftReported => f.write_str("drift is `report`: the live side's change is left alone"),
        }
    }
}

impl fmt::Display for ClusterChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} cluster was {} and is {} now", self.side, self.was, self.is)
    }
}
