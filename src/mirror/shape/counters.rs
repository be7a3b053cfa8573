//! Counts of what was done, for status and metrics.

use super::{Reason, Shape};

/// A count for each [`Reason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts([u64; Reason::ALL.len()]);

impl ReasonCounts {
    /// The count of one reason.
    pub const fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|&(_, count)| count > 0)
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

/// What was done with batches since the start; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShapeCounters {
    /// Batches looked at, those wholly below the position not counted.
    pub source_batches: u64,
    /// Their bytes.
    pub source_bytes: u64,
    /// Batches passed on as they are.
    pub passed: u64,
    /// Batches rebuilt, by reason.
    pub rebuilt: ReasonCounts,
    /// Batches merged, counted at the source.
    pub merged_from: u64,
    /// Batches that merging made.
    pub merged: u64,
    /// Batches that splitting made.
    pub split: u64,
    /// Batches dropped, by reason.
    pub dropped: ReasonCounts,
    /// Records that went on.
    pub records: u64,
    /// Bytes of the batches that went on.
    pub bytes: u64,
}

impl ShapeCounters {
    pub(super) fn count(&mut self, shape: Shape, records: i32, bytes: usize) {
        match shape {
            Shape::Pass => self.passed += 1,
            Shape::Rebuild(reason) => self.rebuilt.add(reason),
            Shape::Merge => self.merged += 1,
            Shape::Split => self.split += 1,
            Shape::Drop(reason) => self.dropped.add(reason),
        }
        self.records += records as u64;
        self.bytes += bytes as u64;
    }
}
