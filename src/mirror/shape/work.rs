//! How much work a chunk is, from its headers alone: the lane does little at once and hands much to another thread.

use bytes::Bytes;

use super::{Item, ShapeCounters, ShapePolicy};
use crate::kafka::batch;

/// Bytes that would have to be unpacked and packed again to shape `records`; a passed or dropped batch costs none.
#[must_use]
pub fn bytes_to_rebuild(records: &Bytes, from_offset: i64, policy: &ShapePolicy) -> usize {
    let (mut bytes, mut small) = (0, 0);
    for batch in batch::split(records) {
        // What can't be read stops the partition, at no cost.
        let Ok(batch) = batch else { return bytes };
        let header = batch.header();
        if header.is_control() || header.record_count == 0 {
            continue;
        }
        let codec = batch.codec().ok();
        let rebuilt = header.base_offset < from_offset
            || !header.contiguous()
            || (header.log_append_time() && !policy.target_log_append_time)
            || codec.is_some_and(|codec| policy.codec_for(codec) != codec);
        if rebuilt {
            bytes += batch.len();
        } else if batch.len() < policy.merge_below {
            small += batch.len();
        }
    }
    bytes + small
}

/// Leader epoch of the last batch; -1 when there is none (KIP-101).
#[must_use]
pub fn last_epoch(records: &Bytes) -> i32 {
    batch::split(records).map_while(Result::ok).last().map_or(-1, |batch| batch.header().leader_epoch)
}

/// Where the next fetch begins: behind everything that `items` cover.
#[must_use]
pub fn next_offset(items: &[Item]) -> Option<i64> {
    items.iter().rev().find_map(|item| match item {
        Item::Ready(ready) => Some(ready.next_source_offset),
        Item::Skipped { next_source_offset, .. } => Some(*next_source_offset),
        Item::Stop { .. } => None,
    })
}

impl ShapeCounters {
    /// Counts by shape and reason, as status shows them; zeros are left out.
    #[must_use]
    pub fn by_name(&self) -> Vec<(String, u64)> {
        let mut counts =
            vec![("pass".to_owned(), self.passed), ("merge".to_owned(), self.merged), ("split".to_owned(), self.split)];
        counts.extend(self.rebuilt.iter().map(|(reason, n)| (format!("rebuild:{}", reason.name()), n)));
        counts.extend(self.dropped.iter().map(|(reason, n)| (format!("drop:{}", reason.name()), n)));
        counts.retain(|(_, n)| *n > 0);
        counts
    }
}
