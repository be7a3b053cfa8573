//! The codecs of a record batch, as `org.apache.kafka.common.compress` writes and reads them.
//!
//! Pure. Used by [`records`](super::records) only where a batch has to be opened; a batch that is passed on stays
//! compressed. Decompression is bounded by a limit of the caller, so a small hostile batch cannot become gigabytes (law 10).

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

mod snappy;
#[cfg(test)]
mod tests;

/// Compression of a record batch: `org.apache.kafka.common.record.CompressionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Not compressed.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy in xerial's block framing, which is what Java writes.
    Snappy,
    /// LZ4 frame with independent 64 KiB blocks.
    Lz4,
    /// Zstandard; brokers from 2.1.
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec of an id in the low three bits of a batch's attributes; `None` for ids that Kafka has not given out.
    pub const fn from_id(id: u8) -> Option<Codec> {
        match id {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The id in a batch's attributes.
    pub const fn id(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The name in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A `compression.type` that is not one of Kafka's five.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression type {0:?}: expected none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCodecName(pub String);

impl FromStr for Codec {
    type Err = UnknownCodecName;

    fn from_str(name: &str) -> Result<Codec, UnknownCodecName> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| UnknownCodecName(name.to_owned()))
    }
}

/// Why data could not be compressed or decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// The data would be larger than the caller allows.
    #[error("{codec} data decompresses to more than {limit} bytes")]
    TooLarge {
        /// Codec of the data.
        codec: Codec,
        /// The limit in bytes.
        limit: usize,
    },
    /// The data is not what the codec writes.
    #[error("{codec} data is not valid: {detail}")]
    Corrupt {
        /// Codec of the data.
        codec: Codec,
        /// What the decoder said.
        detail: String,
    },
    /// The encoder refused, for example a level that the codec does not have.
    #[error("{codec} compression failed: {detail}")]
    Encoder {
        /// Codec asked for.
        codec: Codec,
        /// What the encoder said.
        detail: String,
    },
}

/// Compresses `data`. `level` is Kafka's `compression.{gzip,zstd}.level`, `None` its default (6 and 3); snappy and lz4 have one level here.
///
/// # Errors
/// [`CompressError::Encoder`] when the encoder refuses.
pub fn compress(codec: Codec, level: Option<i32>, data: &[u8]) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::new();
    compress_onto(codec, level, data, &mut out)?;
    Ok(out)
}

/// Like [`compress`], appended to `out`: a batch's header already stands there.
pub(super) fn compress_onto(
    codec: Codec,
    level: Option<i32>,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let failed = |error: &dyn fmt::Display| CompressError::Encoder { codec, detail: error.to_string() };
    match codec {
        Codec::None => out.extend_from_slice(data),
        Codec::Gzip => {
            let level = level
                .map_or_else(flate2::Compression::default, |level| flate2::Compression::new(level.clamp(0, 9) as u32));
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(data).and_then(|()| encoder.finish().map(drop)).map_err(|e| failed(&e))?;
        }
        Codec::Snappy => snappy::compress_onto(data, out).map_err(|e| failed(&e))?,
        Codec::Lz4 => {
            // Java's Lz4BlockInputStream refuses dependent blocks; 64 KiB is what it writes itself.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(data).map_err(|e| failed(&e))?;
            encoder.finish().map_err(|e| failed(&e))?;
        }
        Codec::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            zstd::stream::write::Encoder::new(out, level)
                .and_then(|mut encoder| {
                    encoder.set_pledged_src_size(Some(data.len() as u64))?;
                    encoder.write_all(data)?;
                    encoder.finish().map(drop)
                })
                .map_err(|e| failed(&e))?;
        }
    }
    Ok(())
}

/// Decompresses `data`, at most `limit` bytes.
///
/// # Errors
/// [`CompressError::TooLarge`] above the limit, [`CompressError::Corrupt`] for anything the codec does not understand.
pub fn decompress(codec: Codec, data: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    match codec {
        Codec::None if data.len() > limit => Err(CompressError::TooLarge { codec, limit }),
        Codec::None => Ok(data.to_vec()),
        // Java's GZIPInputStream reads concatenated members too.
        Codec::Gzip => read(codec, flate2::bufread::MultiGzDecoder::new(data), data, limit),
        Codec::Snappy => snappy::decompress(data, limit),
        Codec::Lz4 => read(codec, lz4_flex::frame::FrameDecoder::new(data), data, limit),
        Codec::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(|error| corrupt(codec, &error))?;
            read(codec, decoder, data, limit)
        }
    }
}

fn read(codec: Codec, decoder: impl Read, data: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::with_capacity(data.len().saturating_mul(4).min(limit));
    decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut out).map_err(|error| corrupt(codec, &error))?;
    if out.len() > limit {
        return Err(CompressError::TooLarge { codec, limit });
    }
    Ok(out)
}

fn corrupt(codec: Codec, error: &dyn fmt::Display) -> CompressError {
    CompressError::Corrupt { codec, detail: error.to_string() }
}
