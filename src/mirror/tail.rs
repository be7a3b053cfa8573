//! What is on the target behind a position: counted by producer, or matched by content.
//!
//! [`last_sequence`] reads the batch headers that one producer wrote. [`match_content`] compares the target's tail with
//! the source, for what nobody signed (written by Java, or in plain mode): records before the position serve as context,
//! so that equal records in a row can't be mistaken. Law 1 decides ties: what is not certain is copied again, and said.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::admin::offsets::Isolation;
use crate::kafka::batch::{self, RawBatch};
use crate::kafka::fetch::{Budget, FetchEvent, FetchSettings, Fetcher, Trouble, Want};
use crate::kafka::{self, Cluster, TopicPartition, records};

/// Bytes read of either side for a match by content; what lies further back is said to be undecided.
const MATCH_BYTES: usize = 32 * 1024 * 1024;

/// Records before the position that have to agree too, where there are as many.
const CONTEXT: usize = 64;

/// Without an answer for this long, reading gives up and the partition is begun again later.
const SILENCE: Duration = Duration::from_secs(30);

/// Decompressed bytes of one batch.
const DECODE_LIMIT: usize = 256 * 1024 * 1024;

/// One side of a match.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The partition.
    pub tp: &'a TopicPartition,
    /// First offset that may be read.
    pub start: i64,
    /// Offset behind the last.
    pub end: i64,
}

/// What a match by content found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// So many records behind the position are on the target.
    Exactly(u64),
    /// Nothing decides; up to so many records may be repeated.
    Undecided {
        /// Upper bound.
        at_most: u64,
    },
}

/// The sequence of the last record that `writer` (producer id and epoch) wrote between `from` and `end`.
///
/// # Errors
/// The target can't be read.
pub async fn last_sequence(
    cluster: &Cluster,
    tp: &TopicPartition,
    from: i64,
    end: i64,
    writer: Option<(i64, i16)>,
) -> Result<Option<i32>, kafka::Error> {
    let mut last = None;
    read(cluster, tp, from, end, usize::MAX, |batch| {
        let header = batch.header();
        if writer == Some((header.producer_id, header.producer_epoch)) {
            last = Some(header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX);
        }
    })
    .await?;
    Ok(last)
}

/// How many records behind `next` at the source are the last ones of the target.
///
/// # Errors
/// A side can't be read.
pub async fn match_content(source: Side<'_>, target: Side<'_>, next: i64) -> Result<Matched, kafka::Error> {
    let context = i64::try_from(CONTEXT).unwrap_or(i64::MAX);
    let from = (next - context).max(source.start);
    let original = digests(source, from, MATCH_BYTES).await?;
    let before = original.iter().take_while(|(offset, _)| *offset < next).count();
    let original: Vec<u64> = original.into_iter().map(|(_, digest)| digest).collect();
    let span = i64::try_from(original.len()).unwrap_or(i64::MAX);
    // The copy can't be longer than the original that was read; control records may widen it a little.
    let copy_from = (target.end - span * 2 - context).max(target.start);
    let copy: Vec<u64> = digests(target, copy_from, MATCH_BYTES).await?.into_iter().map(|(_, digest)| digest).collect();
    Ok(match_tail(&original, before, &copy))
}

/// The only `n` for which `copy` ends with `original[..before + n]`, as far back as either reaches.
#[must_use]
pub fn match_tail(original: &[u64], before: usize, copy: &[u64]) -> Matched {
    let behind = original.len() - before;
    let at_most = u64::try_from(behind.min(copy.len())).unwrap_or(u64::MAX);
    let fits = |n: usize| {
        let length = (before + n).min(copy.len());
        length > 0 && original[before + n - length..before + n] == copy[copy.len() - length..]
    };
    let mut found = (0..=behind).filter(|n| fits(*n));
    match (found.next(), found.next()) {
        (Some(n), None) => Matched::Exactly(n as u64),
        _ if copy.is_empty() => Matched::Exactly(0),
        _ => Matched::Undecided { at_most },
    }
}

async fn digests(side: Side<'_>, from: i64, limit: usize) -> Result<Vec<(i64, u64)>, kafka::Error> {
    let mut digests = Vec::new();
    let mut unread = None;
    read(side.cluster, side.tp, from, side.end, limit, |batch| {
        if batch.header().is_control() || unread.is_some() {
            return;
        }
        match records::decode(&batch, DECODE_LIMIT) {
            Ok(records) => {
                let base = batch.header().base_offset;
                let known = records.iter().map(|r| (base + i64::from(r.offset_delta), digest(r)));
                digests.extend(known.filter(|(offset, _)| *offset >= from));
            }
            Err(error) => unread = Some(error),
        }
    })
    .await?;
    match unread {
        Some(error) => Err(unreadable(side.tp, from, error)),
        None => Ok(digests),
    }
}

fn digest(record: &records::Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.key.hash(&mut hasher);
    record.value.hash(&mut hasher);
    record.headers.hash(&mut hasher);
    record.timestamp.hash(&mut hasher);
    hasher.finish()
}

/// Reads batches from `from` up to `end`, or until `limit` bytes.
async fn read(
    cluster: &Cluster,
    tp: &TopicPartition,
    from: i64,
    end: i64,
    limit: usize,
    mut each: impl FnMut(RawBatch),
) -> Result<(), kafka::Error> {
    let settings = FetchSettings {
        isolation: Isolation::ReadUncommitted,
        rack: None,
        client_id: cluster.config().client_id.clone(),
        max_wait: Duration::from_millis(200),
        min_bytes: 1,
        max_bytes: 8 * 1024 * 1024,
        partition_max_bytes: 4 * 1024 * 1024,
        budget: Budget::new(16 * 1024 * 1024),
    };
    let (fetcher, mut events) = Fetcher::start(cluster.clone(), settings);
    let (mut next, mut bytes) = (from, 0usize);
    while next < end && bytes < limit {
        fetcher.want(tp, Some(Want { offset: next, last_epoch: -1, topic_id: None, generation: 0 }));
        let asked = next;
        while next == asked {
            let event = tokio::time::timeout(SILENCE, events.recv()).await.map_err(|_| silent(tp))?;
            match event {
                Some(FetchEvent::Chunk(chunk)) => {
                    for batch in batch::split(&chunk.records) {
                        let batch = batch.map_err(|e| unreadable(tp, next, e))?;
                        next = next.max(batch.header().next_offset());
                        bytes += batch.len();
                        each(batch);
                    }
                }
                Some(FetchEvent::Trouble { kind: Trouble::Retriable(_) | Trouble::Recovered, .. }) => {}
                Some(FetchEvent::Trouble { kind, .. }) => {
                    return Err(troubled(tp, next, &kind));
                }
                None => return Err(silent(tp)),
            }
        }
    }
    Ok(())
}

fn unreadable(tp: &TopicPartition, offset: i64, source: batch::BatchError) -> kafka::Error {
    kafka::Error::Records { partition: format!("{}-{}", tp.topic, tp.partition), offset, source: Arc::new(source) }
}

fn silent(tp: &TopicPartition) -> kafka::Error {
    let addr = format!("the leader of {}-{}", tp.topic, tp.partition);
    kafka::Error::Timeout { api: "Fetch", addr, after: SILENCE, source: None }
}

fn troubled(tp: &TopicPartition, offset: i64, kind: &Trouble) -> kafka::Error {
    match kind {
        Trouble::Fatal(error) | Trouble::Retriable(error) => error.clone(),
        Trouble::Unauthorized => kafka::Error::broker("Fetch", kafka::ErrorCode(29), tp.topic.to_string(), None),
        Trouble::UnknownTopic | Trouble::Recreated { .. } => {
            kafka::Error::broker("Fetch", kafka::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, tp.topic.to_string(), None)
        }
        Trouble::OffsetOutOfRange { .. } | Trouble::Truncated { .. } | Trouble::Recovered => {
            let resource = format!("{}-{} at {offset}", tp.topic, tp.partition);
            kafka::Error::broker("Fetch", kafka::ErrorCode::OFFSET_OUT_OF_RANGE, resource, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_found_behind_its_context() {
        // Position 3: records 4 and 5 arrived.
        assert_eq!(match_tail(&[1, 2, 3, 4, 5, 6, 7], 3, &[9, 1, 2, 3, 4, 5]), Matched::Exactly(2));
        assert_eq!(match_tail(&[1, 2, 3, 4, 5], 3, &[9, 1, 2, 3]), Matched::Exactly(0));
        assert_eq!(match_tail(&[1, 2], 0, &[]), Matched::Exactly(0));
    }

    #[test]
    fn equal_records_are_not_guessed_at() {
        assert_eq!(match_tail(&[5, 5, 5, 5], 2, &[5, 5, 5]), Matched::Undecided { at_most: 2 });
        // With a context that tells them apart they are counted.
        assert_eq!(match_tail(&[1, 5, 5, 5], 1, &[1, 5, 5]), Matched::Exactly(2));
    }

    #[test]
    fn a_foreign_tail_is_undecided() {
        assert_eq!(match_tail(&[1, 2, 3, 4], 2, &[1, 2, 77]), Matched::Undecided { at_most: 2 });
    }

    proptest::proptest! {
        #[test]
        fn what_is_decided_is_true(before in 0usize..8, behind in 0usize..8, arrived in 0usize..8, noise in 0usize..4, alphabet in 1u64..6, seed in 0u64..1_000) {
            let arrived = arrived.min(behind);
            let original: Vec<u64> = (0..(before + behind) as u64).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed)) % alphabet).collect();
            let mut copy: Vec<u64> = (0..noise as u64).map(|i| 100 + i).collect();
            copy.extend(&original[..before + arrived]);
            if let Matched::Exactly(n) = match_tail(&original, before, &copy) {
                proptest::prop_assert_eq!(n, arrived as u64);
            }
        }
    }
}
