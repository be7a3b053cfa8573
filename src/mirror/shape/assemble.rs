//! From the pieces of a group to batches: one piece passes or is rebuilt, several are merged.

use super::{Item, Ready, Reason, Shape, ShapePolicy, Shaper, StopReason, Stopped, divide};
use crate::kafka::batch::{BatchError, HEADER_LEN, RawBatch};
use crate::kafka::compress::Codec;
use crate::kafka::records::{Encoder, Section};

/// A source batch, and what of it is to be copied.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) batch: RawBatch,
    /// Records below this offset are left out.
    pub(super) lower: i64,
    /// So many of the others are left out, from the front.
    pub(super) skip: u64,
    /// Why it cannot pass.
    pub(super) reason: Option<Reason>,
    /// The codec it gets.
    pub(super) codec: Codec,
    /// One past what it covers, what was dropped behind it included.
    pub(super) next: i64,
}

/// Pieces that become one batch, or wait for neighbours.
#[derive(Debug, Default)]
pub(super) struct Group {
    pieces: Vec<Piece>,
    bytes: usize,
    records: i64,
}

impl Group {
    /// Whether a piece may become one batch with those before it.
    pub(super) fn takes(&self, piece: &Piece, policy: &ShapePolicy) -> bool {
        let small = |piece: &Piece| piece.batch.len() < policy.merge_below;
        // A piece that is not small is alone in its group, so the last one speaks for all.
        let Some(last) = self.pieces.last() else {
            return true;
        };
        small(last)
            && small(piece)
            && last.codec == piece.codec
            && self.bytes + piece.batch.len() <= policy.merge_up_to.min(policy.max_batch_bytes)
            // Sequences are 31 bits.
            && self.records + i64::from(piece.batch.header().record_count) < i64::from(i32::MAX)
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.bytes += piece.batch.len();
        self.records += i64::from(piece.batch.header().record_count);
        self.pieces.push(piece);
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Piece> {
        self.pieces.last_mut()
    }
}

/// Some pieces as one batch.
struct Assembled {
    /// How many pieces.
    taken: usize,
    /// `None`: nothing in them is to be copied.
    batch: Option<(RawBatch, Vec<(i64, i32)>)>,
}

impl Shaper<'_> {
    /// Closes the group.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        let group = std::mem::take(&mut self.group);
        let mut rest = &group.pieces[..];
        while let Some(first) = rest.first() {
            let outcome =
                if rest.len() == 1 && first.reason.is_none() { Ok(pass(first)) } else { assemble(rest, self.policy) };
            match outcome {
                Ok(assembled) => {
                    let (taken, behind) = rest.split_at(assembled.taken);
                    self.emit(taken, assembled.batch)?;
                    rest = behind;
                }
                Err((0, why)) => {
                    let offset = first.lower.max(first.batch.header().base_offset);
                    // Still there to be left out when the partition goes on from this offset.
                    self.skip += first.skip;
                    return Err(Stopped { offset, why });
                }
                // What lies before the piece that failed goes on; the piece then fails as the first one.
                Err((failed, _)) => {
                    let (good, bad) = rest.split_at(failed);
                    self.flush_some(good)?;
                    rest = bad;
                }
            }
        }
        Ok(())
    }

    /// Pieces of which none failed.
    fn flush_some(&mut self, pieces: &[Piece]) -> Result<(), Stopped> {
        let mut rest = pieces;
        while !rest.is_empty() {
            let assembled =
                assemble(rest, self.policy).map_err(|(index, why)| Stopped { offset: rest[index].lower, why })?;
            let (taken, behind) = rest.split_at(assembled.taken);
            self.emit(taken, assembled.batch)?;
            rest = behind;
        }
        Ok(())
    }

    fn emit(&mut self, pieces: &[Piece], batch: Option<(RawBatch, Vec<(i64, i32)>)>) -> Result<(), Stopped> {
        let next = pieces.last().map_or(self.covered, |piece| piece.next);
        let Some((batch, runs)) = batch else {
            let reason = pieces.first().and_then(|piece| piece.reason);
            let reason = reason.unwrap_or(Reason::Empty);
            self.counters.dropped.add(reason);
            self.cover(next, reason);
            return Ok(());
        };
        let shape = match pieces {
            [piece] => piece.reason.map_or(Shape::Pass, Shape::Rebuild),
            _ => Shape::Merge,
        };
        if shape == Shape::Merge {
            self.counters.merged_from += pieces.len() as u64;
        }
        let ready = Ready {
            records: batch.header().record_count,
            first_source_offset: self.covered,
            next_source_offset: next,
            runs,
            shape,
            max_timestamp: batch.header().max_timestamp,
            bytes: batch.len(),
            batch,
        };
        if ready.bytes <= self.policy.max_batch_bytes {
            self.push(ready);
            return Ok(());
        }
        let level = ready.batch.codec().map_or(None, |codec| self.policy.level_for(codec));
        let (parts, stopped) = divide::divide(&ready, self.policy.max_batch_bytes, self.policy.decode_limit, level);
        for part in parts {
            self.push(part);
        }
        stopped.map_or(Ok(()), Err)
    }

    fn push(&mut self, ready: Ready) {
        self.counters.count(ready.shape, ready.records, ready.bytes);
        self.covered = ready.next_source_offset;
        self.items.push(Item::Ready(ready));
    }
}

fn pass(piece: &Piece) -> Assembled {
    Assembled { taken: 1, batch: Some((piece.batch.clone(), vec![(piece.batch.header().base_offset, 0)])) }
}

/// As many pieces from the front as one batch may hold, at least one. On failure the index of the piece that failed.
fn assemble(pieces: &[Piece], policy: &ShapePolicy) -> Result<Assembled, (usize, StopReason)> {
    let codec = pieces.first().map_or(Codec::None, |piece| piece.codec);
    let bound = policy.merge_up_to.min(policy.max_batch_bytes);
    let mut encoder = Encoder::new(codec, policy.level_for(codec));
    let mut runs = Vec::new();
    let mut taken = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let section =
            Section::open(&piece.batch, policy.decode_limit).map_err(|error| (index, StopReason::opening(error)))?;
        // Small batches may hold much: what a consumer has to decompress at once stays as bounded as what is sent.
        if index > 0 && HEADER_LEN + encoder.raw_len() + section.len() > bound {
            break;
        }
        copy(piece, &section, &mut encoder, &mut runs).map_err(|why| (index, why))?;
        taken = index + 1;
    }
    if let ([piece, ..], 1) = (pieces, taken)
        && piece.reason.is_none()
    {
        return Ok(pass(piece));
    }
    if encoder.count() == 0 {
        return Ok(Assembled { taken, batch: None });
    }
    let batch = encoder.finish().map_err(|error| (0, StopReason::Unwritable(error)))?;
    Ok(Assembled { taken, batch: Some((batch, runs)) })
}

/// Copies what is wanted of a piece, and notes where runs of consecutive source offsets begin.
fn copy(piece: &Piece, section: &Section, encoder: &mut Encoder, runs: &mut Vec<(i64, i32)>) -> Result<(), StopReason> {
    let header = piece.batch.header();
    let mut skip = piece.skip;
    let mut previous = -1;
    for (view, index) in section.views().zip(0..) {
        let view = view.map_err(StopReason::opening)?;
        if view.offset_delta <= previous || view.offset_delta > header.last_offset_delta {
            return Err(StopReason::Undecodable(BatchError::Record {
                offset: header.base_offset,
                index,
                what: "its offset is out of order",
            }));
        }
        previous = view.offset_delta;
        let offset = header.base_offset + i64::from(view.offset_delta);
        if offset < piece.lower {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        let at = encoder.count();
        if runs.last().is_none_or(|&(first, start)| first - i64::from(start) != offset - i64::from(at)) {
            runs.push((offset, at));
        }
        encoder.push_view(&view).map_err(StopReason::Unwritable)?;
    }
    Ok(())
}
