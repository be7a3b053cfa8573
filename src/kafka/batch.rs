//! Record batches of message format v2 as raw bytes: header view, splitting of a record set, CRC, stamping.
//!
//! Pure. The form that travels from a source to a target is [`RawBatch`]; its records are opened only where
//! [`records`](super::records) is asked to. Follows `org.apache.kafka.common.record.DefaultRecordBatch`:
//!
//! ```text
//! baseOffset 0 | batchLength 8 | leaderEpoch 12 | magic 16 | crc 17 | attributes 21 | lastOffsetDelta 23 | baseTimestamp 27
//! maxTimestamp 35 | producerId 43 | producerEpoch 51 | baseSequence 53 | recordCount 57 | records 61
//! ```
//!
//! The CRC (CRC-32C) covers everything from `attributes` on. Law 3: stamping changes no byte of the records.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::compress::{Codec, CompressError};

#[cfg(test)]
mod tests;

/// Length of the header of a v2 batch in bytes: `DefaultRecordBatch.RECORD_BATCH_OVERHEAD`.
pub const HEADER_LEN: usize = 61;
/// `baseOffset` and `batchLength`, which the batch length does not count: `Records.LOG_OVERHEAD`.
const LOG_OVERHEAD: usize = 12;
/// Bytes up to and including `magic`: `Records.HEADER_SIZE_UP_TO_MAGIC`.
const UP_TO_MAGIC: usize = 17;
/// The smallest record of the oldest format, behind `LOG_OVERHEAD`: `LegacyRecord.RECORD_OVERHEAD_V0`.
const SMALLEST_LEGACY: i32 = 14;
/// Where the bytes under the CRC begin.
const CRC_FROM: usize = 21;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// What is wrong with a record set, a batch or a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Message format v0 or v1, from before Kafka 0.11.
    #[error("records at offset {offset} are in message format v{magic}; only v2 can be copied as batches")]
    OldFormat {
        /// Offset that stands in the batch.
        offset: i64,
        /// 0 or 1.
        magic: i8,
    },
    /// A message format that nobody knows yet, or garbage.
    #[error("records at offset {offset} are in unknown message format {magic}")]
    UnknownFormat {
        /// Offset that stands in the batch.
        offset: i64,
        /// The byte where the format's number stands.
        magic: i8,
    },
    /// The header contradicts itself or the bytes that are there.
    #[error("the batch at offset {offset} is malformed: {what}")]
    Malformed {
        /// Offset that stands in the batch.
        offset: i64,
        /// What does not fit.
        what: &'static str,
    },
    /// The bytes are not those that were written.
    #[error("the batch at offset {offset} is corrupt: its CRC is {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// Offset that stands in the batch.
        offset: i64,
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// Compression with an id that Kafka has not given out.
    #[error("the batch at offset {offset} has unknown compression {id}")]
    UnknownCodec {
        /// Base offset of the batch.
        offset: i64,
        /// Low three bits of the attributes.
        id: u8,
    },
    /// The records could not be decompressed (or compressed).
    #[error("the records of the batch at offset {offset} cannot be read or written")]
    Compression {
        /// Base offset of the batch.
        offset: i64,
        /// What the codec said.
        #[source]
        source: CompressError,
    },
    /// A record is not what the format says.
    #[error("record {index} of the batch at offset {offset} is malformed: {what}")]
    Record {
        /// Base offset of the batch.
        offset: i64,
        /// Index of the record in the batch.
        index: i32,
        /// What does not fit.
        what: &'static str,
    },
    /// There is no batch without records: brokers refuse it (error 87).
    #[error("a batch needs at least one record")]
    Empty,
    /// More than a batch can hold: lengths and counts are 32-bit.
    #[error("{what} of a batch would exceed 2147483647")]
    Overflow {
        /// Which number.
        what: &'static str,
    },
}

/// The header of a v2 batch, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also when the cleaner has removed that record.
    pub base_offset: i64,
    /// Bytes behind this field; the whole batch is 12 bytes longer.
    pub batch_length: i32,
    /// Epoch of the leader that wrote the batch; -1 from a producer.
    pub leader_epoch: i32,
    /// Message format: 2.
    pub magic: i8,
    /// CRC-32C from `attributes` on.
    pub crc: u32,
    /// Codec (bits 0-2), LogAppendTime (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Offset of the last record less `base_offset`.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are added to, ms.
    pub base_timestamp: i64,
    /// Largest timestamp in the batch, ms; -1 without timestamps.
    pub max_timestamp: i64,
    /// Producer that wrote the batch; -1 without idempotence.
    pub producer_id: i64,
    /// Epoch of the producer; -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// Number of records, less than the offsets suggest after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Compression of the records.
    ///
    /// # Errors
    /// The id, when Kafka has not given it out.
    pub fn codec(&self) -> Result<Codec, u8> {
        let id = (self.attributes & CODEC_MASK) as u8;
        Codec::from_id(id).ok_or(id)
    }

    /// Written within a transaction (data or marker).
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Holds control records (transaction markers), which no consumer sees.
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// `message.timestamp.type=LogAppendTime`: every record's time is `max_timestamp`.
    pub const fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// The cleaner has noted when tombstones may go (KIP-534); `base_timestamp` then is that time.
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Offset of the last record, also when the cleaner has removed that record.
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta as i64)
    }

    /// Offset of the batch behind this one.
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// No offset is missing: what a broker demands of a produced batch.
    pub const fn contiguous(&self) -> bool {
        self.last_offset_delta as i64 + 1 == self.record_count as i64
    }

    fn read(mut bytes: &[u8]) -> BatchHeader {
        BatchHeader {
            base_offset: bytes.get_i64(),
            batch_length: bytes.get_i32(),
            leader_epoch: bytes.get_i32(),
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            record_count: bytes.get_i32(),
        }
    }

    /// The header's bytes with the CRC over itself and `body`; the given `crc`, `batch_length` and `magic` are not looked at.
    fn write(&self, body: &[u8]) -> ([u8; HEADER_LEN], u32, i32) {
        let length = i32::try_from(HEADER_LEN - LOG_OVERHEAD + body.len()).unwrap_or(i32::MAX);
        let mut out = [0_u8; HEADER_LEN];
        let mut at = &mut out[..];
        at.put_i64(self.base_offset);
        at.put_i32(length);
        at.put_i32(self.leader_epoch);
        at.put_i8(2);
        at.put_u32(0);
        at.put_i16(self.attributes);
        at.put_i32(self.last_offset_delta);
        at.put_i64(self.base_timestamp);
        at.put_i64(self.max_timestamp);
        at.put_i64(self.producer_id);
        at.put_i16(self.producer_epoch);
        at.put_i32(self.base_sequence);
        at.put_i32(self.record_count);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[CRC_FROM..]), body);
        out[UP_TO_MAGIC..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        (out, crc, length)
    }
}

/// Whose batch it becomes: the identity in an idempotent (or transactional) producer's batches (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Producer id; -1 writes without idempotence.
    pub producer_id: i64,
    /// Epoch of the id; -1 without idempotence.
    pub epoch: i16,
    /// Sequence of the first record; -1 without idempotence.
    pub sequence: i32,
}

impl Stamp {
    /// Not idempotent.
    pub const NONE: Stamp = Stamp { producer_id: -1, epoch: -1, sequence: -1 };
}

/// A batch ready for a Produce request, in two parts so that the records are written without copying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The 61 bytes of the header.
    pub header: Bytes,
    /// The records as they were fetched.
    pub body: Bytes,
}

impl Sealed {
    /// Bytes of the whole batch.
    pub fn len(&self) -> usize {
        self.header.len() + self.body.len()
    }

    /// Never: a batch has a header.
    pub fn is_empty(&self) -> bool {
        self.header.is_empty()
    }

    /// The batch in one piece (copied).
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len());
        bytes.extend_from_slice(&self.header);
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }
}

/// One v2 record batch as it came, with its header read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RawBatch {
    /// Takes exactly one whole batch. The CRC is not checked here: [`RawBatch::verify_crc`].
    ///
    /// # Errors
    /// When the bytes are not one whole v2 batch.
    pub fn parse(bytes: &Bytes) -> Result<RawBatch, BatchError> {
        let mut batches = split(bytes);
        let batch = batches.next().unwrap_or(Err(BatchError::Malformed { offset: -1, what: "it is cut off" }))?;
        if batch.len() != bytes.len() {
            return Err(BatchError::Malformed { offset: batch.header.base_offset, what: "something follows it" });
        }
        Ok(batch)
    }

    /// A batch of these records (already compressed as `header.attributes` say); length, magic and CRC are computed.
    ///
    /// # Errors
    /// [`BatchError::Overflow`] above 2 GiB, [`BatchError::Malformed`] for counts that no batch has.
    pub fn assemble(header: BatchHeader, records: &[u8]) -> Result<RawBatch, BatchError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + records.len());
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(records);
        RawBatch::complete(header, bytes)
    }

    /// Like [`RawBatch::assemble`] over bytes that already have 61 bytes of room in front.
    pub(super) fn complete(mut header: BatchHeader, mut bytes: Vec<u8>) -> Result<RawBatch, BatchError> {
        if i32::try_from(bytes.len()).is_err() {
            return Err(BatchError::Overflow { what: "the length" });
        }
        check(&header)?;
        let (front, crc, length) = header.write(&bytes[HEADER_LEN..]);
        bytes[..HEADER_LEN].copy_from_slice(&front);
        header.magic = 2;
        header.crc = crc;
        header.batch_length = length;
        Ok(RawBatch { header, bytes: bytes.into() })
    }

    /// The header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of the whole batch.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a batch has a header.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The whole batch as it came.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records, compressed as the header says.
    pub fn records_section(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// The records, compressed as the header says, sharing the batch's memory.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Compression of the records.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`].
    pub fn codec(&self) -> Result<Codec, BatchError> {
        self.header.codec().map_err(|id| BatchError::UnknownCodec { offset: self.header.base_offset, id })
    }

    /// Compares the CRC in the header with that of the bytes.
    ///
    /// # Errors
    /// [`BatchError::Checksum`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&self.bytes[CRC_FROM..]);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Checksum { offset: self.header.base_offset, stored: self.header.crc, computed })
    }

    /// The batch as our own: codec bits kept, all other attributes cleared, base offset 0, leader epoch -1, identity and
    /// CRC rewritten. The records are neither looked at nor copied.
    pub fn stamp(&self, id: Stamp) -> Sealed {
        self.seal(id, 0)
    }

    /// Like [`RawBatch::stamp`], within our own transaction.
    pub fn stamp_transactional(&self, id: Stamp) -> Sealed {
        self.seal(id, TRANSACTIONAL)
    }

    fn seal(&self, id: Stamp, extra: i16) -> Sealed {
        // Kafka 4.1 stores attribute bits as they are sent: a foreign delete horizon makes tombstones go early, a foreign
        // LogAppendTime bit is refused or misread. So only the codec stays.
        let header = BatchHeader {
            base_offset: 0,
            leader_epoch: -1,
            attributes: (self.header.attributes & CODEC_MASK) | extra,
            producer_id: id.producer_id,
            producer_epoch: id.epoch,
            base_sequence: id.sequence,
            ..self.header
        };
        let body = self.body();
        let (front, _, _) = header.write(&body);
        Sealed { header: Bytes::copy_from_slice(&front), body }
    }

    /// The batch as a broker stores it: base offset and leader epoch set, which the CRC does not cover (copied).
    pub fn placed(&self, base_offset: i64, leader_epoch: i32) -> RawBatch {
        let mut bytes = self.bytes.to_vec();
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[LOG_OVERHEAD..LOG_OVERHEAD + 4].copy_from_slice(&leader_epoch.to_be_bytes());
        RawBatch { header: BatchHeader { base_offset, leader_epoch, ..self.header }, bytes: bytes.into() }
    }

    /// The same records under another header (copied); length, magic and CRC are computed.
    ///
    /// # Errors
    /// As [`RawBatch::assemble`].
    pub fn with_header(&self, header: BatchHeader) -> Result<RawBatch, BatchError> {
        RawBatch::assemble(header, self.records_section())
    }
}

fn check(header: &BatchHeader) -> Result<(), BatchError> {
    let what = if header.base_offset < 0 {
        "its base offset is negative"
    } else if header.record_count < 0 {
        "its record count is negative"
    } else if header.last_offset_delta < 0 {
        "its last offset is below its base offset"
    } else if header.base_offset > i64::MAX - header.last_offset_delta as i64 - 1 {
        "its last offset exceeds 64 bits"
    } else {
        return Ok(());
    };
    Err(BatchError::Malformed { offset: header.base_offset, what })
}

/// Splits a fetched record set into its batches, without copying. An incomplete last batch is left out: that is how
/// brokers cut a record set at the fetch size. Nothing follows an error.
pub fn split(records: &Bytes) -> Batches {
    Batches { rest: records.clone() }
}

/// Iterator of [`split`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    fn take(&mut self) -> Result<Option<RawBatch>, BatchError> {
        if self.rest.len() < LOG_OVERHEAD {
            return Ok(None);
        }
        let mut front = &self.rest[..];
        let offset = front.get_i64();
        let length = front.get_i32();
        if length < SMALLEST_LEGACY {
            return Err(BatchError::Malformed { offset, what: "its length is less than any batch has" });
        }
        if self.rest.len() < UP_TO_MAGIC {
            return Ok(None);
        }
        let magic = self.rest[UP_TO_MAGIC - 1] as i8;
        match magic {
            2 => {}
            0 | 1 => return Err(BatchError::OldFormat { offset, magic }),
            _ => return Err(BatchError::UnknownFormat { offset, magic }),
        }
        let size = LOG_OVERHEAD + length as usize;
        if size < HEADER_LEN {
            return Err(BatchError::Malformed { offset, what: "its length is less than its header" });
        }
        if self.rest.len() < size {
            return Ok(None);
        }
        let bytes = self.rest.split_to(size);
        let header = BatchHeader::read(&bytes);
        check(&header)?;
        Ok(Some(RawBatch { header, bytes }))
    }
}

impl Iterator for Batches {
    type Item = Result<RawBatch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.take();
        if !matches!(taken, Ok(Some(_))) {
            self.rest = Bytes::new();
        }
        taken.transpose()
    }
}

/// A transaction that a Fetch answer under `read_committed` names as aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AbortedTransaction {
    /// Whose transaction.
    pub producer_id: i64,
    /// Offset of its first record; it lasts until the producer's next ABORT marker.
    pub first_offset: i64,
}
