//! Snappy as snappy-java's `SnappyOutputStream` frames it, and plain snappy on reading (some clients send that).

use super::{Codec, CompressError, corrupt};

/// `0x82 "SNAPPY" 0x00`, then version 1 and least compatible version 1, both big endian.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC: usize = 8;
/// Block size of snappy-java's default constructor.
const BLOCK: usize = 32 * 1024;
/// A snappy element writes at most 64 bytes for 3 bytes read. A length beyond that is a lie, and is not allocated.
const MAX_RATIO: usize = 22;

pub(super) fn compress_onto(data: &[u8], out: &mut Vec<u8>) -> Result<(), snap::Error> {
    out.extend_from_slice(&HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for block in data.chunks(BLOCK) {
        let at = out.len();
        out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, &mut out[at + 4..])?;
        let length = u32::try_from(written).unwrap_or(u32::MAX);
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        out.truncate(at + 4 + written);
    }
    Ok(())
}

pub(super) fn decompress(data: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::new();
    if !data.starts_with(&HEADER[..MAGIC]) {
        block(data, &mut out, limit)?;
        return Ok(out);
    }
    let mut rest = data;
    while !rest.is_empty() {
        // SnappyInputStream accepts streams one behind the other: a header may stand where a block's length would.
        if rest.starts_with(&HEADER[..MAGIC]) {
            rest = rest.get(HEADER.len()..).ok_or_else(|| corrupt(Codec::Snappy, &"the header is cut off"))?;
            continue;
        }
        let (length, behind) =
            rest.split_first_chunk::<4>().ok_or_else(|| corrupt(Codec::Snappy, &"a block's length is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > behind.len() {
            return Err(corrupt(Codec::Snappy, &"a block is cut off"));
        }
        let (head, behind) = behind.split_at(length);
        block(head, &mut out, limit)?;
        rest = behind;
    }
    Ok(out)
}

fn block(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), CompressError> {
    let codec = Codec::Snappy;
    let length = snap::raw::decompress_len(data).map_err(|error| corrupt(codec, &error))?;
    if length > data.len().saturating_mul(MAX_RATIO) {
        return Err(corrupt(codec, &"a block claims more data than it can hold"));
    }
    if out.len().saturating_add(length) > limit {
        return Err(CompressError::TooLarge { codec, limit });
    }
    let at = out.len();
    out.resize(at + length, 0);
    snap::raw::Decoder::new().decompress(data, &mut out[at..]).map_err(|error| corrupt(codec, &error))?;
    Ok(())
}
