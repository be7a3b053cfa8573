//! Records as views into decompressed bytes: enough to renumber, re-time, split and merge without decoding keys and values.

use bytes::Bytes;

use super::{Record, Section, varint};
use crate::kafka::batch::BatchError;

/// Length, attributes, timestamp delta, offset delta, key length, value length, header count: one byte each.
pub(super) const SMALLEST_RECORD: usize = 7;

/// One record that has been checked but not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Unused by Kafka so far (0), kept as it is.
    pub attributes: i8,
    /// Its time, ms since 1970.
    pub timestamp: i64,
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
    /// Key, value and headers as they are encoded.
    pub tail: &'a [u8],
}

impl RecordView<'_> {
    /// Takes the record apart; `data` are the bytes that the view looks into.
    pub(super) fn to_record(self, data: &Bytes) -> Record {
        let mut tail = self.tail;
        let share = |bytes: Option<&[u8]>| bytes.map(|bytes| data.slice_ref(bytes));
        // The view was checked: nothing is missing.
        let key = share(field(&mut tail).flatten());
        let value = share(field(&mut tail).flatten());
        let count = varint::read_i32(&mut tail).unwrap_or(0);
        let mut headers = Vec::with_capacity((count as usize).min(tail.len() / 2));
        for _ in 0..count {
            let name = share(field(&mut tail).flatten()).unwrap_or_default();
            headers.push((name, share(field(&mut tail).flatten())));
        }
        Record {
            offset_delta: self.offset_delta,
            timestamp: self.timestamp,
            key,
            value,
            headers,
            attributes: self.attributes,
        }
    }
}

/// A length and so many bytes; a negative length is null. The outer `None`: cut off.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(bytes)?;
    if length < 0 {
        return Some(None);
    }
    let (head, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(Some(head))
}

/// Walks over key, value and headers.
fn check_tail(mut tail: &[u8]) -> Result<(), &'static str> {
    field(&mut tail).ok_or("its key is cut off")?;
    field(&mut tail).ok_or("its value is cut off")?;
    let count = varint::read_i32(&mut tail).ok_or("its headers are cut off")?;
    if count < 0 {
        return Err("its header count is negative");
    }
    for _ in 0..count {
        field(&mut tail).ok_or("a header is cut off")?.ok_or("a header has no key")?;
        field(&mut tail).ok_or("a header is cut off")?;
    }
    if tail.is_empty() { Ok(()) } else { Err("something follows its headers") }
}

/// Iterator over the records of a [`Section`].
#[derive(Clone, Debug)]
pub struct Views<'a> {
    rest: &'a [u8],
    index: i32,
    count: i32,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    done: bool,
}

impl<'a> Views<'a> {
    pub(super) fn new(section: &'a Section) -> Views<'a> {
        Views {
            rest: &section.data,
            index: 0,
            count: section.count,
            base_offset: section.base_offset,
            base_timestamp: section.base_timestamp,
            append_time: section.append_time,
            done: false,
        }
    }

    /// Bytes of the records that have not been read.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn read(&mut self) -> Result<RecordView<'a>, &'static str> {
        let length = varint::read_i32(&mut self.rest).ok_or("its length is cut off")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (mut body, rest) = self.rest.split_at_checked(length).ok_or("it is cut off")?;
        self.rest = rest;
        let (&attributes, behind) = body.split_first().ok_or("it is empty")?;
        body = behind;
        let delta = varint::read_i64(&mut body).ok_or("its timestamp is cut off")?;
        let offset_delta = varint::read_i32(&mut body).ok_or("its offset is cut off")?;
        check_tail(body)?;
        Ok(RecordView {
            attributes: attributes as i8,
            // Wraps as in Java, and back again when encoded.
            timestamp: self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(delta)),
            offset_delta,
            tail: body,
        })
    }
}

impl<'a> Iterator for Views<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = if self.index < self.count {
            self.read()
        } else if self.rest.is_empty() {
            return None;
        } else {
            Err("it is not in the batch's record count")
        };
        let index = self.index;
        self.index += 1;
        self.done = read.is_err();
        Some(read.map_err(|what| BatchError::Record { offset: self.base_offset, index, what }))
    }
}
