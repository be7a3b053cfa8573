//! Splitting a batch that is too large for the target.

use super::{DECODE_LIMIT, Ready, Shape, StopReason, Stopped};
use crate::kafka::batch::RawBatch;
use crate::kafka::compress::Codec;
use crate::kafka::records::{Encoder, Section, Views};

/// Splits a batch that the target refused as too large (`MESSAGE_TOO_LARGE`) into at least two of at most `max_bytes` each,
/// within the same range of sequences: the parts' sequences follow one another from the batch's own (a broker accepts that).
///
/// # Errors
/// [`StopReason::RecordTooLarge`] when a single record exceeds `max_bytes` (nothing is returned of the others, as some of
/// the batch's sequences would be missing), or why the batch cannot be opened.
pub fn split_ready(ready: &Ready, max_bytes: usize) -> Result<Vec<Ready>, StopReason> {
    match divide(ready, max_bytes, DECODE_LIMIT, None) {
        (parts, None) => Ok(parts),
        (_, Some(stopped)) => Err(stopped.why),
    }
}

/// As [`split_ready`], with the parts before the record that stops it.
pub(super) fn divide(
    ready: &Ready,
    max_bytes: usize,
    decode_limit: usize,
    level: Option<i32>,
) -> (Vec<Ready>, Option<Stopped>) {
    let stopped = |why| Stopped { offset: ready.source_offset(0), why };
    let opened = ready.batch.codec().and_then(|codec| Ok((codec, Section::open(&ready.batch, decode_limit)?)));
    let (codec, section) = match opened {
        Ok(opened) => opened,
        Err(error) => return (Vec::new(), Some(stopped(StopReason::opening(error)))),
    };
    let mut division = Division { ready, max_bytes, codec, level, parts: Vec::new() };
    let whole = Range { cursor: section.views(), start: 0, count: ready.records, raw: section.len() };
    let outcome =
        if ready.records > 1 { division.halve(whole) } else { Err(stopped(division.too_large(0, ready.bytes))) };
    let mut parts = division.parts;
    // The last part also covers what was dropped behind the batch.
    if let (Some(last), Ok(())) = (parts.last_mut(), &outcome) {
        last.next_source_offset = ready.next_source_offset;
    }
    (parts, outcome.err())
}

/// Consecutive records of a batch.
struct Range<'a> {
    /// Stands before the first.
    cursor: Views<'a>,
    /// Index of the first.
    start: i32,
    count: i32,
    /// Bytes before compression.
    raw: usize,
}

struct Division<'a> {
    ready: &'a Ready,
    max_bytes: usize,
    codec: Codec,
    level: Option<i32>,
    parts: Vec<Ready>,
}

impl Division<'_> {
    /// Two halves by bytes, each at least one record.
    fn halve(&mut self, whole: Range<'_>) -> Result<(), Stopped> {
        let mut cursor = whole.cursor.clone();
        let before = cursor.remaining();
        let mut count = 0;
        while count < whole.count - 1 && (count == 0 || (before - cursor.remaining()) * 2 < whole.raw) {
            match cursor.next() {
                Some(Ok(_)) => count += 1,
                Some(Err(error)) => {
                    return Err(self.stopped(whole.start, StopReason::opening(error)));
                }
                None => break,
            }
        }
        let raw = before - cursor.remaining();
        self.fit(Range { cursor: whole.cursor, start: whole.start, count, raw })?;
        self.fit(Range {
            cursor,
            start: whole.start + count,
            count: whole.count - count,
            raw: whole.raw.saturating_sub(raw),
        })
    }

    fn fit(&mut self, range: Range<'_>) -> Result<(), Stopped> {
        let batch = self.encode(&range).map_err(|why| self.stopped(range.start, why))?;
        if batch.len() <= self.max_bytes {
            self.push(range.start, batch);
            return Ok(());
        }
        if range.count > 1 {
            return self.halve(range);
        }
        let why = self.too_large(range.start, batch.len());
        Err(self.stopped(range.start, why))
    }

    fn encode(&self, range: &Range<'_>) -> Result<RawBatch, StopReason> {
        let mut encoder = Encoder::new(self.codec, self.level);
        for view in range.cursor.clone().take(range.count as usize) {
            let view = view.map_err(StopReason::opening)?;
            encoder.push_view(&view).map_err(StopReason::Unwritable)?;
        }
        encoder.finish().map_err(StopReason::Unwritable)
    }

    fn push(&mut self, start: i32, batch: RawBatch) {
        let records = batch.header().record_count;
        let first = self.ready.source_offset(start);
        let end = start + records;
        let mut runs = vec![(first, 0)];
        runs.extend(
            self.ready
                .runs
                .iter()
                .filter(|&&(_, index)| index > start && index < end)
                .map(|&(offset, index)| (offset, index - start)),
        );
        // A part ends where the next one begins, so that no offset lies between them.
        let next_source_offset = if end < self.ready.records {
            self.ready.source_offset(end)
        } else {
            self.ready.source_offset(end - 1) + 1
        };
        let first_source_offset =
            self.parts.last().map_or(self.ready.first_source_offset, |part| part.next_source_offset);
        self.parts.push(Ready {
            records,
            first_source_offset,
            next_source_offset,
            runs,
            shape: Shape::Split,
            max_timestamp: batch.header().max_timestamp,
            bytes: batch.len(),
            batch,
        });
    }

    fn too_large(&self, index: i32, bytes: usize) -> StopReason {
        StopReason::RecordTooLarge { offset: self.ready.source_offset(index), bytes, limit: self.max_bytes }
    }

    fn stopped(&self, index: i32, why: StopReason) -> Stopped {
        Stopped { offset: self.ready.source_offset(index), why }
    }
}
