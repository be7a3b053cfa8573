//! Control records: the markers that end transactions. `org.apache.kafka.common.record.ControlRecordType`.

use bytes::{BufMut, Bytes};

use super::{Codec, Record, decode, encode};
use crate::kafka::batch::{BatchError, RawBatch};

/// Control batches are a few dozen bytes; nobody compresses them.
const LIMIT: usize = 64 * 1024;

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// The producer's transaction is aborted.
    Abort,
    /// The producer's transaction is committed.
    Commit,
    /// Something else (KRaft's own, or newer than this program).
    Other(i16),
}

impl ControlType {
    const fn id(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::Other(id) => id,
        }
    }
}

/// Reads the type of a control batch from the key of its first record: version, type (16 bits each).
///
/// # Errors
/// [`BatchError::Malformed`] when the batch is no control batch or its key is too short, else as [`decode`].
pub fn control_type(batch: &RawBatch) -> Result<ControlType, BatchError> {
    let malformed = |what| BatchError::Malformed { offset: batch.header().base_offset, what };
    if !batch.header().is_control() {
        return Err(malformed("it is no control batch"));
    }
    let records = decode(batch, LIMIT)?;
    let key = records
        .first()
        .and_then(|record| record.key.as_deref())
        .ok_or_else(|| malformed("its control record has no key"))?;
    let (version, rest) =
        key.split_first_chunk::<2>().ok_or_else(|| malformed("the key of its control record is cut off"))?;
    let (id, _) = rest.split_first_chunk::<2>().ok_or_else(|| malformed("the key of its control record is cut off"))?;
    if i16::from_be_bytes(*version) < 0 {
        return Err(malformed("its control record has a negative version"));
    }
    Ok(match i16::from_be_bytes(*id) {
        0 => ControlType::Abort,
        1 => ControlType::Commit,
        id => ControlType::Other(id),
    })
}

/// A transaction's end marker as a coordinator writes it (`MemoryRecords.withEndTransactionMarker`); `timestamp` in ms.
/// For brokers in tests and for development; a mirror never writes one.
///
/// # Errors
/// As [`encode`]; not to be expected.
pub fn control_batch(
    kind: ControlType,
    base_offset: i64,
    timestamp: i64,
    producer: (i64, i16),
    coordinator_epoch: i32,
) -> Result<RawBatch, BatchError> {
    let mut key = Vec::with_capacity(4);
    key.put_i16(0);
    key.put_i16(kind.id());
    let mut value = Vec::with_capacity(6);
    value.put_i16(0);
    value.put_i32(coordinator_epoch);
    let record = Record {
        offset_delta: 0,
        timestamp,
        key: Some(Bytes::from(key)),
        value: Some(Bytes::from(value)),
        headers: Vec::new(),
        attributes: 0,
    };
    let batch = encode(&[record], Codec::None, None)?;
    let mut header = *batch.header();
    header.base_offset = base_offset;
    header.attributes = 0x30;
    header.producer_id = producer.0;
    header.producer_epoch = producer.1;
    batch.with_header(header)
}
