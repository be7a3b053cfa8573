//! Building a batch record by record: `org.apache.kafka.common.record.MemoryRecordsBuilder`.

use super::{Record, RecordView, varint};
use crate::kafka::batch::{BatchError, BatchHeader, HEADER_LEN, RawBatch};
use crate::kafka::compress::{self, Codec};

/// Collects records for one batch. Base offset 0, offsets renumbered from 0, CreateTime, no producer: to be stamped.
#[derive(Clone, Debug)]
pub struct Encoder {
    codec: Codec,
    level: Option<i32>,
    /// 61 bytes of room, then the records, not compressed.
    raw: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Encoder {
    /// An empty batch of `codec`; `level` as in [`compress`](compress::compress).
    pub fn new(codec: Codec, level: Option<i32>) -> Encoder {
        Encoder { codec, level, raw: vec![0; HEADER_LEN], count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Records so far.
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the records so far, before compression.
    pub fn raw_len(&self) -> usize {
        self.raw.len() - HEADER_LEN
    }

    /// Adds a record; its `offset_delta` is not looked at.
    ///
    /// # Errors
    /// [`BatchError::Overflow`] for lengths and counts beyond 32 bits; the batch is then as before.
    pub fn push(&mut self, record: &Record) -> Result<(), BatchError> {
        let mut tail = Vec::with_capacity(
            record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len()) + 16,
        );
        write_field(&mut tail, record.key.as_deref())?;
        write_field(&mut tail, record.value.as_deref())?;
        varint::write_i32(&mut tail, size(record.headers.len(), "the header count")?);
        for (name, value) in &record.headers {
            write_field(&mut tail, Some(name))?;
            write_field(&mut tail, value.as_deref())?;
        }
        self.push_view(&RecordView {
            attributes: record.attributes,
            timestamp: record.timestamp,
            offset_delta: record.offset_delta,
            tail: &tail,
        })
    }

    /// Adds a record of another batch: key, value and headers stay the bytes they are.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn push_view(&mut self, view: &RecordView<'_>) -> Result<(), BatchError> {
        let count = self.count.checked_add(1).ok_or(BatchError::Overflow { what: "the record count" })?;
        let base = if self.count == 0 { view.timestamp } else { self.base_timestamp };
        let delta = view.timestamp.wrapping_sub(base);
        let length = 1 + varint::len_i64(delta) + varint::len_i32(self.count) + view.tail.len();
        let length = size(length, "the length of a record")?;
        size(self.raw.len() + length as usize + 5, "the length")?;
        if self.count == 0 {
            self.base_timestamp = base;
            self.max_timestamp = view.timestamp;
        } else {
            self.max_timestamp = self.max_timestamp.max(view.timestamp);
        }
        varint::write_i32(&mut self.raw, length);
        self.raw.push(view.attributes as u8);
        varint::write_i64(&mut self.raw, delta);
        varint::write_i32(&mut self.raw, self.count);
        self.raw.extend_from_slice(view.tail);
        self.count = count;
        Ok(())
    }

    /// Compresses and closes the batch.
    ///
    /// # Errors
    /// [`BatchError::Empty`] without a record, [`BatchError::Compression`], [`BatchError::Overflow`].
    pub fn finish(self) -> Result<RawBatch, BatchError> {
        if self.count == 0 {
            return Err(BatchError::Empty);
        }
        let bytes = if self.codec == Codec::None {
            self.raw
        } else {
            let mut packed = Vec::with_capacity(self.raw.len() / 2 + HEADER_LEN);
            packed.resize(HEADER_LEN, 0);
            let raw = &self.raw[HEADER_LEN..];
            compress::compress_onto(self.codec, self.level, raw, &mut packed)
                .map_err(|source| BatchError::Compression { offset: 0, source })?;
            packed
        };
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: i16::from(self.codec.id()),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: self.count,
        };
        RawBatch::complete(header, bytes)
    }
}

/// Encodes records into one batch: base offset 0, offsets renumbered from 0, CreateTime, no producer.
///
/// # Errors
/// As [`Encoder::push`] and [`Encoder::finish`].
pub fn encode(records: &[Record], codec: Codec, level: Option<i32>) -> Result<RawBatch, BatchError> {
    let mut encoder = Encoder::new(codec, level);
    for record in records {
        encoder.push(record)?;
    }
    encoder.finish()
}

fn size(length: usize, what: &'static str) -> Result<i32, BatchError> {
    i32::try_from(length).map_err(|_| BatchError::Overflow { what })
}

fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) -> Result<(), BatchError> {
    match field {
        None => varint::write_i32(out, -1),
        Some(bytes) => {
            varint::write_i32(out, size(bytes.len(), "the length of a field")?);
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}
