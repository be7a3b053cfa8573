//! What is done with each batch of a fetched record set: passed on as it is, rebuilt, merged, split or dropped.
//!
//! Pure. Law 2: what comes out is in the source's order, and the source offsets that the items cover follow one another
//! without gap or overlap. Law 3: every record that should be copied comes out once, unchanged. A batch that is passed on is
//! neither decompressed nor copied. What cannot be copied stops the partition at its offset; what lies before goes on.

use bytes::Bytes;

use super::aborted::AbortFilter;
use crate::kafka::batch::{AbortedTransaction, BatchError, RawBatch, split};
use crate::kafka::compress::{Codec, CompressError};
use crate::kafka::records::Section;

mod assemble;
mod counters;
mod divide;
#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
mod work;

pub use counters::{ReasonCounts, ShapeCounters};
pub use divide::split_ready;
pub use work::{bytes_to_rebuild, last_epoch, next_offset};

use assemble::{Group, Piece};

/// Most bytes that the records of one batch may have decompressed, unless a policy says otherwise: 64 MiB.
pub const DECODE_LIMIT: usize = 64 << 20;

/// What happened to a batch on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Its records are the source's bytes.
    Pass,
    /// Decoded and encoded again.
    Rebuild(Reason),
    /// Several small batches in one.
    Merge,
    /// Part of a batch that is too large for the target.
    Split,
    /// Not copied.
    Drop(Reason),
}

/// Why a batch is rebuilt or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The cleaner has removed records; a broker refuses a batch with holes.
    Holes,
    /// The source stamps records with its own time, which stands only in the batch's header.
    LogAppendTime,
    /// Another compression is asked for.
    Recompress,
    /// (Partly) before the offset that was fetched.
    BelowPosition,
    /// (Partly) on the target already.
    AlreadyWritten,
    /// A transaction's marker: the target has its own.
    Control,
    /// The cleaner has removed every record.
    Empty,
    /// Data of an aborted transaction, under `read_committed`.
    Aborted,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 8] = [
        Reason::Holes,
        Reason::LogAppendTime,
        Reason::Recompress,
        Reason::BelowPosition,
        Reason::AlreadyWritten,
        Reason::Control,
        Reason::Empty,
        Reason::Aborted,
    ];

    /// A name for status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Holes => "holes",
            Reason::LogAppendTime => "log-append-time",
            Reason::Recompress => "recompress",
            Reason::BelowPosition => "below-position",
            Reason::AlreadyWritten => "already-written",
            Reason::Control => "control",
            Reason::Empty => "empty",
            Reason::Aborted => "aborted",
        }
    }
}

/// How a flow wants its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapePolicy {
    /// Codec for everything (`mirrorkeeper.compression=force`); `None` keeps what a batch has.
    pub target_codec: Option<Codec>,
    /// Codec for uncompressed batches (`producer.compression.type`).
    pub codec_if_none: Option<Codec>,
    /// Level for the codecs above; `None` is the codec's default.
    pub codec_level: Option<i32>,
    /// Largest batch that the target takes (`max.message.bytes`), bytes.
    pub max_batch_bytes: usize,
    /// Neighbouring batches below this size are merged, bytes; 0 merges nothing.
    pub merge_below: usize,
    /// A merged batch, and its records before compression, grow to this size at most, bytes.
    pub merge_up_to: usize,
    /// Data of aborted transactions is dropped (`isolation.level=read_committed`).
    pub read_committed: bool,
    /// The target stamps records with its own time, so that the source's need not be carried.
    pub target_log_append_time: bool,
    /// Most bytes that the records of one batch may have decompressed.
    pub decode_limit: usize,
}

impl Default for ShapePolicy {
    /// Kafka's default `max.message.bytes`; batches below 64 KiB are merged up to 1 MiB.
    fn default() -> ShapePolicy {
        ShapePolicy {
            target_codec: None,
            codec_if_none: None,
            codec_level: None,
            max_batch_bytes: 1_048_588,
            merge_below: 64 << 10,
            merge_up_to: 1 << 20,
            read_committed: false,
            target_log_append_time: false,
            decode_limit: DECODE_LIMIT,
        }
    }
}

impl ShapePolicy {
    fn codec_for(&self, codec: Codec) -> Codec {
        match (self.target_codec, self.codec_if_none) {
            (Some(forced), _) => forced,
            (None, Some(wanted)) if codec == Codec::None => wanted,
            _ => codec,
        }
    }

    /// The configured level belongs to the configured codec; a batch that keeps another codec gets that one's default.
    fn level_for(&self, codec: Codec) -> Option<i32> {
        let configured = self.target_codec.or(self.codec_if_none);
        self.codec_level.filter(|_| configured == Some(codec))
    }
}

/// One batch ready to be sequenced and stamped, with the source offsets that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The batch; [`RawBatch::stamp`] makes it ours.
    pub batch: RawBatch,
    /// Number of records, which is how far the sequence moves.
    pub records: i32,
    /// Where the covered source offsets begin: where the item before ended. The first record's own offset may be larger
    /// (holes, records left out): see `runs`.
    pub first_source_offset: i64,
    /// Position once the batch is acknowledged: one past everything covered, what was dropped behind it included.
    pub next_source_offset: i64,
    /// Runs of consecutive source offsets: offset of the first record of a run, and its index in the batch. Never empty.
    pub runs: Vec<(i64, i32)>,
    /// What was done.
    pub shape: Shape,
    /// Largest timestamp, ms; -1 without timestamps.
    pub max_timestamp: i64,
    /// Bytes of the batch.
    pub bytes: usize,
}

impl Ready {
    /// Source offset of a record by its index in the batch.
    pub fn source_offset(&self, index: i32) -> i64 {
        let run = self.runs.partition_point(|&(_, start)| start <= index);
        let (offset, start) = self.runs[run.saturating_sub(1)];
        offset + i64::from(index - start)
    }
}

/// What comes of a fetched record set, in the source's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// To be produced.
    Ready(Ready),
    /// Nothing to produce here: the position may move on once all before it is acknowledged.
    Skipped {
        /// One past everything that was dropped.
        next_source_offset: i64,
        /// Why; the first reason, where several batches were dropped.
        reason: Reason,
    },
    /// The partition stops here; it is the last item. Everything before goes on.
    Stop {
        /// Source offset that cannot be copied.
        offset: i64,
        /// Why.
        why: StopReason,
    },
}

/// Why a partition cannot go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The source's bytes are damaged: the CRC or the header does not fit.
    #[error("the source's records are corrupt and are not forwarded")]
    Corrupt(#[source] BatchError),
    /// Message format v0 or v1, which only the record path copies.
    #[error(
        "the record at offset {offset} is in message format v{magic}, from before Kafka 0.11, which cannot be copied as a batch"
    )]
    OldFormat {
        /// Source offset.
        offset: i64,
        /// 0 or 1.
        magic: i8,
    },
    /// A codec that Kafka had not given out when this was written.
    #[error("the batch at offset {offset} has unknown compression {id}")]
    UnknownCodec {
        /// Source offset.
        offset: i64,
        /// Low three bits of the attributes.
        id: u8,
    },
    /// The batch has to be opened, and cannot be.
    #[error("records that have to be rebuilt cannot be decoded")]
    Undecodable(#[source] BatchError),
    /// The batch has to be opened, and is larger than we open.
    #[error("the batch at offset {offset} has to be rebuilt, and decompresses to more than {limit} bytes")]
    DecodeLimit {
        /// Source offset.
        offset: i64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The rebuilt batch cannot be written.
    #[error("a rebuilt batch cannot be encoded")]
    Unwritable(#[source] BatchError),
    /// One record alone is more than the target takes.
    #[error(
        "the record at offset {offset} needs a batch of {bytes} bytes; the target takes {limit} (max.message.bytes)"
    )]
    RecordTooLarge {
        /// Source offset.
        offset: i64,
        /// Bytes of a batch with only this record.
        bytes: usize,
        /// What the target takes, bytes.
        limit: usize,
    },
}

impl StopReason {
    /// A stable name for status and scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            StopReason::Corrupt(_) => "BATCH-CORRUPT",
            StopReason::OldFormat { .. } => "BATCH-OLD-FORMAT",
            StopReason::UnknownCodec { .. } => "BATCH-UNKNOWN-CODEC",
            StopReason::Undecodable(_) => "BATCH-UNDECODABLE",
            StopReason::DecodeLimit { .. } => "BATCH-DECODE-LIMIT",
            StopReason::Unwritable(_) => "BATCH-UNWRITABLE",
            StopReason::RecordTooLarge { .. } => "RECORD-TOO-LARGE",
        }
    }

    fn opening(error: BatchError) -> StopReason {
        match error {
            BatchError::UnknownCodec { offset, id } => StopReason::UnknownCodec { offset, id },
            BatchError::Compression { offset, source: CompressError::TooLarge { limit, .. } } => {
                StopReason::DecodeLimit { offset, limit }
            }
            other => StopReason::Undecodable(other),
        }
    }

    fn splitting(error: BatchError) -> StopReason {
        match error {
            BatchError::OldFormat { offset, magic } => StopReason::OldFormat { offset, magic },
            other => StopReason::Corrupt(other),
        }
    }
}

/// Where a partition stops, and why.
#[derive(Debug)]
struct Stopped {
    offset: i64,
    why: StopReason,
}

/// Shapes a fetched record set.
///
/// `from_offset` is the position: fetches return whole batches, what lies below is left out. The first `skip_records` data
/// records are on the target already and are left out too; how many of them did not occur is returned. `aborted` is the
/// answer's list, looked at under `read_committed` only.
pub fn shape(
    records: &Bytes,
    from_offset: i64,
    skip_records: u64,
    aborted: &[AbortedTransaction],
    policy: &ShapePolicy,
    counters: &mut ShapeCounters,
) -> (Vec<Item>, u64) {
    let mut shaper = Shaper {
        policy,
        counters,
        filter: AbortFilter::new(if policy.read_committed { aborted } else { &[] }),
        items: Vec::new(),
        group: Group::default(),
        position: from_offset,
        covered: from_offset,
        skip: skip_records,
    };
    let outcome = split(records)
        .try_for_each(|batch| shaper.take(batch))
        .or_else(|stopped| shaper.flush().and(Err(stopped)))
        .and_then(|()| shaper.flush());
    if let Err(Stopped { offset, why }) = outcome {
        shaper.items.push(Item::Stop { offset, why });
    }
    (shaper.items, shaper.skip)
}

struct Shaper<'a> {
    policy: &'a ShapePolicy,
    counters: &'a mut ShapeCounters,
    filter: AbortFilter,
    items: Vec<Item>,
    /// Waiting for neighbours to be merged with.
    group: Group,
    /// Everything below was looked at.
    position: i64,
    /// Everything below is covered by `items`.
    covered: i64,
    skip: u64,
}

impl Shaper<'_> {
    fn take(&mut self, batch: Result<RawBatch, BatchError>) -> Result<(), Stopped> {
        // What stands in damaged bytes says nothing about where they belong: stop at our own position.
        let position = self.position;
        let stop = |why| Stopped { offset: position, why };
        let batch = batch.map_err(|error| stop(StopReason::splitting(error)))?;
        batch.verify_crc().map_err(|error| stop(StopReason::Corrupt(error)))?;
        let header = *batch.header();
        let aborted = self.filter.is_aborted(&batch).map_err(|error| stop(StopReason::Undecodable(error)))?;
        if header.next_offset() <= position {
            return Ok(());
        }
        self.counters.source_batches += 1;
        self.counters.source_bytes += batch.len() as u64;
        let dropped = if header.is_control() {
            Some(Reason::Control)
        } else if header.record_count == 0 {
            Some(Reason::Empty)
        } else if aborted {
            Some(Reason::Aborted)
        } else {
            None
        };
        if let Some(reason) = dropped {
            self.drop_until(header.next_offset(), reason);
            return Ok(());
        }
        let start = header.base_offset.max(position);
        let stop = |why| Stopped { offset: start, why };
        let codec = batch.codec().map_err(|error| stop(StopReason::opening(error)))?;
        let below = header.base_offset < position;
        let skip = if self.skip == 0 {
            0
        } else {
            let available = self.available(&batch).map_err(|error| stop(StopReason::opening(error)))?;
            let skip = self.skip.min(available);
            self.skip -= skip;
            if skip == available {
                self.drop_until(header.next_offset(), Reason::AlreadyWritten);
                return Ok(());
            }
            skip
        };
        let target = self.policy.codec_for(codec);
        let reason = if skip > 0 {
            Some(Reason::AlreadyWritten)
        } else if below {
            Some(Reason::BelowPosition)
        } else if !header.contiguous() {
            Some(Reason::Holes)
        } else if header.log_append_time() && !self.policy.target_log_append_time {
            Some(Reason::LogAppendTime)
        } else if target != codec {
            Some(Reason::Recompress)
        } else {
            None
        };
        let piece = Piece { lower: position, skip, reason, codec: target, next: header.next_offset(), batch };
        if !self.group.takes(&piece, self.policy) {
            self.flush()?;
        }
        self.position = piece.next;
        self.group.push(piece);
        Ok(())
    }

    /// Data records of a batch from the position on.
    fn available(&self, batch: &RawBatch) -> Result<u64, BatchError> {
        let header = batch.header();
        if header.base_offset >= self.position {
            return Ok(header.record_count as u64);
        }
        if header.contiguous() {
            return Ok((header.next_offset() - self.position) as u64);
        }
        let section = Section::open(batch, self.policy.decode_limit)?;
        let mut count = 0;
        for view in section.views() {
            let offset = header.base_offset + i64::from(view?.offset_delta);
            count += u64::from(offset >= self.position);
        }
        Ok(count)
    }

    fn drop_until(&mut self, next: i64, reason: Reason) {
        self.counters.dropped.add(reason);
        self.position = next;
        // What is dropped belongs to the batch before it, so that one acknowledgement moves the position past both.
        if let Some(piece) = self.group.last_mut() {
            piece.next = next;
        } else {
            self.cover(next, reason);
        }
    }

    /// Covers offsets with nothing to produce.
    fn cover(&mut self, next: i64, reason: Reason) {
        self.covered = next;
        match self.items.last_mut() {
            Some(Item::Ready(ready)) => ready.next_source_offset = next,
            Some(Item::Skipped { next_source_offset, .. }) => *next_source_offset = next,
            Some(Item::Stop { .. }) | None => self.items.push(Item::Skipped { next_source_offset: next, reason }),
        }
    }
}
