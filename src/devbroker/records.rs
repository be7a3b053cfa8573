//! The records inside a batch: enough to validate, to find by time, and to clean.

use std::io::{self, Read, Write};

use bytes::{BufMut, BytesMut};

use super::header::{Header, LENGTH};

/// Most bytes that a batch may decompress to.
const LIMIT: u64 = 256 * 1024 * 1024;

/// One record; its bytes as they are, and what of them matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View<'a> {
    /// The whole record with its length.
    pub(crate) raw: &'a [u8],
    pub(crate) offset_delta: i64,
    pub(crate) timestamp_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) has_value: bool,
}

/// A record that can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The records section of a batch, decompressed.
pub(crate) fn section(header: &Header, batch: &[u8]) -> io::Result<Vec<u8>> {
    let body = batch.get(LENGTH..).unwrap_or_default();
    let mut out = Vec::new();
    match header.codec() {
        0 => out.extend_from_slice(body),
        1 => _ = flate2::read::MultiGzDecoder::new(body).take(LIMIT).read_to_end(&mut out)?,
        2 => unsnap(body, &mut out)?,
        3 => _ = lz4_flex::frame::FrameDecoder::new(body).take(LIMIT).read_to_end(&mut out)?,
        4 => _ = zstd::stream::read::Decoder::new(body)?.take(LIMIT).read_to_end(&mut out)?,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(out)
}

const XERIAL: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

fn unsnap(body: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let broken = |_| io::Error::from(io::ErrorKind::InvalidData);
    let Some(mut rest) = body.strip_prefix(XERIAL).and_then(|rest| rest.get(8..)) else {
        *out = snap::raw::Decoder::new().decompress_vec(body).map_err(broken)?;
        return Ok(());
    };
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let block = tail.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        out.extend(snap::raw::Decoder::new().decompress_vec(block).map_err(broken)?);
        rest = &tail[length..];
    }
    Ok(())
}

/// Compresses a records section with a codec's number.
pub(crate) fn compress(codec: i16, section: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        1 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(section)?;
            out.finish()
        }
        2 => {
            let block = snap::raw::Encoder::new().compress_vec(section)?;
            let mut out = BytesMut::from(XERIAL);
            out.put_i32(1);
            out.put_i32(1);
            out.put_i32(i32::try_from(block.len()).map_err(|_| io::ErrorKind::InvalidData)?);
            out.extend_from_slice(&block);
            Ok(out.to_vec())
        }
        3 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(section)?;
            out.finish().map_err(io::Error::other)
        }
        4 => zstd::stream::encode_all(section, 0),
        _ => Ok(section.to_vec()),
    }
}

/// Reads all of `count` records, and that nothing lies behind them.
pub(crate) fn views(mut section: &[u8], count: i32) -> Result<Vec<View<'_>>, Malformed> {
    let mut views = Vec::new();
    for _ in 0..count {
        let whole = section;
        let length = take_length(&mut section)?.ok_or(Malformed)?;
        let prefix = whole.len() - section.len();
        let mut record = take(&mut section, length)?;
        let raw = &whole[..prefix + length];
        let _attributes = take(&mut record, 1)?;
        let timestamp_delta = take_varint(&mut record)?;
        let offset_delta = take_varint(&mut record)?;
        let key = take_bytes(&mut record)?;
        let value = take_bytes(&mut record)?;
        for _ in 0..take_length(&mut record)?.ok_or(Malformed)? {
            take_bytes(&mut record)?.ok_or(Malformed)?;
            take_bytes(&mut record)?;
        }
        if !record.is_empty() {
            return Err(Malformed);
        }
        views.push(View { raw, offset_delta, timestamp_delta, key, has_value: value.is_some() });
    }
    if section.is_empty() { Ok(views) } else { Err(Malformed) }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Result<i64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(Malformed)
}

/// A length; -1 is `None`.
fn take_length(bytes: &mut &[u8]) -> Result<Option<usize>, Malformed> {
    match take_varint(bytes)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed),
    }
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    take_length(bytes)?.map(|length| take(bytes, length)).transpose()
}
