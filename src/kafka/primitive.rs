//! Primitive fields of the Kafka protocol, for the two messages whose bodies are not copied: Fetch and Produce.
//!
//! Pure. Reading slices the frame instead of copying it. Law 10: a length or a count in a frame is believed only as far
//! as the bytes that remain could hold it, so a hostile frame costs no more memory than its own size.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// A frame that is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

const CUT: Malformed = Malformed("the frame ends before the message does");

/// Reads fields from a frame. `flexible` versions have compact lengths and tagged fields (KIP-482).
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
    flexible: bool,
}

impl Reader {
    pub(super) fn new(body: Bytes, flexible: bool) -> Reader {
        Reader { rest: body, flexible }
    }

    fn need(&self, bytes: usize) -> Result<(), Malformed> {
        if self.rest.len() < bytes { Err(CUT) } else { Ok(()) }
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.need(2)?;
        Ok(self.rest.get_i16())
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.need(4)?;
        Ok(self.rest.get_i32())
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.need(8)?;
        Ok(self.rest.get_i64())
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, Malformed> {
        self.need(16)?;
        Ok(Uuid::from_u128(self.rest.get_u128()))
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            self.need(1)?;
            let byte = self.rest.get_u8();
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a varint is longer than 32 bits"))
    }

    /// Length of a nullable field: `None` is null.
    fn length(
        &mut self,
        classic: impl FnOnce(&mut Self) -> Result<i32, Malformed>,
    ) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1).map(|length| length as usize));
        }
        match classic(self)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed("a length is negative")),
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        self.need(length)?;
        Ok(self.rest.split_to(length))
    }

    /// A nullable string, as its bytes.
    pub(super) fn string(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.length(|reader| reader.i16().map(i32::from))? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Nullable bytes, sharing the frame.
    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.length(Self::i32)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// An array; null is empty. `least` is the smallest size of an element, which bounds what is allocated up front.
    pub(super) fn array<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.length(Self::i32)?.unwrap_or(0);
        if count > self.rest.len() / least.max(1) {
            return Err(Malformed("an array claims more elements than the frame has bytes for"));
        }
        // An element in memory may be larger than on the wire: grow with what was really read.
        let mut elements = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Tagged fields; `known` gets the tag and a reader over exactly that field.
    pub(super) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let mut field = Reader::new(self.take(size)?, true);
            known(tag, &mut field)?;
        }
        Ok(())
    }

    pub(super) fn skip_tags(&mut self) -> Result<(), Malformed> {
        self.tags(|_, _| Ok(()))
    }
}

/// Writes fields. Text and arrays come from ourselves, so lengths are in range.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) out: BytesMut,
    flexible: bool,
}

impl Writer {
    pub(super) fn new(flexible: bool, capacity: usize) -> Writer {
        Writer { out: BytesMut::with_capacity(capacity), flexible }
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    /// Length of an array or of bytes.
    pub(super) fn length(&mut self, length: usize) {
        if self.flexible {
            self.varint(u32::try_from(length + 1).unwrap_or(u32::MAX));
        } else {
            self.out.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
        }
    }

    pub(super) fn string(&mut self, text: Option<&str>) {
        match (self.flexible, text) {
            (true, Some(text)) => self.varint(u32::try_from(text.len() + 1).unwrap_or(u32::MAX)),
            (true, None) => self.out.put_u8(0),
            (false, Some(text)) => self.out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX)),
            (false, None) => self.out.put_i16(-1),
        }
        self.out.put_slice(text.unwrap_or_default().as_bytes());
    }

    pub(super) fn no_tags(&mut self) {
        if self.flexible {
            self.out.put_u8(0);
        }
    }
}
