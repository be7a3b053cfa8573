//! The records inside a v2 batch: decoding and encoding over raw bytes.
//!
//! Pure. Follows `org.apache.kafka.common.record.DefaultRecord`. Law 3: null and empty keys, values and header values are
//! different things; header keys are bytes, their order and repeats survive; timestamps are exact, whatever their distance.
//! Law 10: counts and lengths of hostile input are bounded by the bytes that are there.

use bytes::Bytes;

use super::batch::{BatchError, RawBatch};
use super::compress::{self, Codec};

mod control;
mod encoder;
#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod varint;
mod view;

pub use control::{ControlType, control_batch, control_type};
pub use encoder::{Encoder, encode};
pub use view::{RecordView, Views};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
    /// Its time, ms since 1970; -1 without one. In a LogAppendTime batch the time of the batch.
    pub timestamp: i64,
    /// Key; null and empty differ.
    pub key: Option<Bytes>,
    /// Value; null is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order, repeats included. Keys need not be UTF-8.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Unused by Kafka so far (0), kept as it is.
    pub attributes: i8,
}

/// The records of a batch, decompressed, not yet decoded.
#[derive(Clone, Debug)]
pub struct Section {
    data: Bytes,
    base_offset: i64,
    count: i32,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl Section {
    /// Decompresses the records of a batch, at most `limit` bytes; uncompressed ones are shared, not copied.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`], [`BatchError::Compression`].
    pub fn open(batch: &RawBatch, limit: usize) -> Result<Section, BatchError> {
        let header = batch.header();
        let data = match batch.codec()? {
            Codec::None => batch.body(),
            codec => compress::decompress(codec, batch.records_section(), limit)
                .map_err(|source| BatchError::Compression { offset: header.base_offset, source })?
                .into(),
        };
        Ok(Section {
            data,
            base_offset: header.base_offset,
            count: header.record_count,
            base_timestamp: header.base_timestamp,
            append_time: header.log_append_time().then_some(header.max_timestamp),
        })
    }

    /// Decompressed bytes.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// No bytes at all: a batch that the cleaner left empty.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The records one by one, checked, without an allocation. Ends after the first error.
    pub fn views(&self) -> Views<'_> {
        Views::new(self)
    }
}

/// Decodes a batch. Keys, values and headers share the memory of the (decompressed) records. `limit` bounds the
/// decompressed bytes. The CRC is not checked here.
///
/// # Errors
/// Whatever is wrong with the batch; a batch is decoded whole or not at all.
pub fn decode(batch: &RawBatch, limit: usize) -> Result<Vec<Record>, BatchError> {
    let section = Section::open(batch, limit)?;
    // The smallest record has seven bytes, so a hostile count allocates no more than the bytes allow.
    let bound = (section.count as usize).min(section.len() / view::SMALLEST_RECORD);
    let mut records = Vec::with_capacity(bound);
    for view in section.views() {
        let view = view?;
        records.push(view.to_record(&section.data));
    }
    Ok(records)
}
