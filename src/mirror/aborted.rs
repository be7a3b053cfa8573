//! What `read_committed` must not show: the data of aborted transactions.
//!
//! Pure. As `CompletedFetch` of Java's consumer: a Fetch answer names aborted transactions by producer and first offset; a
//! producer's transactional data is aborted from there until its ABORT marker. The list of each answer stands alone, so a
//! filter lives as long as one answer. Nothing is decompressed but markers.

use std::collections::HashSet;

use crate::kafka::batch::{AbortedTransaction, BatchError, RawBatch};
use crate::kafka::records::{ControlType, control_type};

#[cfg(test)]
mod tests;

/// Tells data of aborted transactions from the rest, over the batches of one Fetch answer.
#[derive(Clone, Debug, Default)]
pub struct AbortFilter {
    /// Not begun yet; the one with the smallest first offset is last.
    pending: Vec<AbortedTransaction>,
    /// Producers whose transactional data is aborted here.
    aborted: HashSet<i64>,
}

impl AbortFilter {
    /// A filter for one Fetch answer.
    pub fn new(aborted: &[AbortedTransaction]) -> AbortFilter {
        let mut pending = aborted.to_vec();
        pending.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        AbortFilter { pending, aborted: HashSet::new() }
    }

    /// Whether the batch is data of an aborted transaction. Every batch of the answer has to be shown, in order, markers
    /// included (of which the answer is `false`).
    ///
    /// # Errors
    /// When a marker cannot be read.
    pub fn is_aborted(&mut self, batch: &RawBatch) -> Result<bool, BatchError> {
        let header = batch.header();
        if header.producer_id < 0 || (self.pending.is_empty() && self.aborted.is_empty()) {
            return Ok(false);
        }
        while let Some(next) = self.pending.pop_if(|transaction| transaction.first_offset <= header.last_offset()) {
            self.aborted.insert(next.producer_id);
        }
        if header.is_control() {
            // The cleaner may leave a marker's batch without the marker.
            if header.record_count > 0 && control_type(batch)? == ControlType::Abort {
                self.aborted.remove(&header.producer_id);
            }
            return Ok(false);
        }
        Ok(header.is_transactional() && self.aborted.contains(&header.producer_id))
    }
}
