//! The header of a v2 record batch, read and rewritten in place.
//!
//! The development broker keeps its own small view on purpose: a judge that shares the accused's code can't find its
//! mistakes.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a v2 batch before its records (`DefaultRecordBatch.RECORD_BATCH_OVERHEAD`).
pub(crate) const LENGTH: usize = 61;

const TIMESTAMP_TYPE: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// Header fields of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    pub(crate) batch_length: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` when they are too short.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            base_offset: i64::from_be_bytes(array(bytes, 0)?),
            batch_length: i32::from_be_bytes(array(bytes, 8)?),
            leader_epoch: i32::from_be_bytes(array(bytes, 12)?),
            magic: i8::from_be_bytes(array(bytes, 16)?),
            crc: u32::from_be_bytes(array(bytes, 17)?),
            attributes: i16::from_be_bytes(array(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(array(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(array(bytes, 35)?),
            producer_id: i64::from_be_bytes(array(bytes, 43)?),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)?),
            base_sequence: i32::from_be_bytes(array(bytes, 53)?),
            record_count: i32::from_be_bytes(array(bytes, 57)?),
        })
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Sequence of the last record; sequences wrap from `i32::MAX` to 0.
    pub(crate) fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX }
    }

    pub(crate) fn codec(&self) -> i16 {
        self.attributes & 0x07
    }

    pub(crate) fn log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whole length of the batch in bytes, header included.
    pub(crate) fn total(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(12)
    }

    /// Writes this header before `body` with a fresh length and CRC.
    pub(crate) fn seal(&self, body: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(LENGTH + body.len());
        out.put_i64(self.base_offset);
        out.put_i32(i32::try_from(LENGTH - 12 + body.len()).expect("a batch fits a frame"));
        out.put_i32(self.leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(0);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count);
        out.put_slice(body);
        let crc = crc32c::crc32c(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out.freeze()
    }

    /// The marker that ends a transaction on a partition (`EndTransactionMarker`).
    pub(crate) fn marker(producer_id: i64, producer_epoch: i16, commit: bool, timestamp: i64) -> Bytes {
        // length, attributes, timestamp delta, offset delta, key length 4, key (version, type), value length 6,
        // value (version, coordinator epoch), no headers; zigzag lengths
        let kind = u8::from(commit);
        let body = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0];
        let header = Self {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: TRANSACTIONAL | CONTROL,
            last_offset_delta: 0,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id,
            producer_epoch,
            base_sequence: -1,
            record_count: 1,
        };
        header.seal(&body)
    }

    /// The same bytes with the offset and leader epoch that the log gives; both lie outside the CRC.
    pub(crate) fn placed(bytes: &[u8], base_offset: i64, leader_epoch: i32) -> BytesMut {
        let mut out = BytesMut::from(bytes);
        out[0..8].copy_from_slice(&base_offset.to_be_bytes());
        out[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        out
    }

    /// Stamps the broker's time into a placed batch, as a topic of `LogAppendTime` does; the CRC follows.
    pub(crate) fn stamp_append_time(out: &mut BytesMut, now: i64) {
        let attributes = i16::from_be_bytes([out[21], out[22]]) | TIMESTAMP_TYPE;
        out[21..23].copy_from_slice(&attributes.to_be_bytes());
        out[35..43].copy_from_slice(&now.to_be_bytes());
        let crc = crc32c::crc32c(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}
