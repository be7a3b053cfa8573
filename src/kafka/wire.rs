//! Frames: request headers out, response headers in, and the caps that keep a hostile length harmless.
//!
//! Pure. Law 10: a frame is at most [`MAX_FRAME`] bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};

pub(crate) mod bounds;

/// The largest frame taken or sent, in bytes, without its length.
pub const MAX_FRAME: usize = 256 << 20;

/// The frame's length and request header, to be followed by `body_len` bytes.
///
/// # Errors
/// A sentence when the frame would be larger than [`MAX_FRAME`], or the API is unknown to the codec.
pub fn request_head(
    api_key: i16,
    version: i16,
    correlation: i32,
    client_id: &str,
    body_len: usize,
) -> Result<Bytes, String> {
    let key = ApiKey::try_from(api_key).map_err(|()| format!("API key {api_key} is unknown"))?;
    let header = RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut out = BytesMut::with_capacity(64);
    out.put_i32(0);
    header.encode(&mut out, key.request_header_version(version)).map_err(|e| e.to_string())?;
    let len = out.len() - 4 + body_len;
    if len > MAX_FRAME {
        return Err(format!("a request of {len} bytes is larger than {MAX_FRAME}"));
    }
    let len = i32::try_from(len).map_err(|e| e.to_string())?;
    out[..4].copy_from_slice(&len.to_be_bytes());
    Ok(out.freeze())
}

/// The length that a frame announces.
///
/// # Errors
/// A sentence for a negative length or one beyond [`MAX_FRAME`]: TLS or HTTP bytes read as a length end here.
pub fn frame_len(prefix: [u8; 4]) -> Result<usize, String> {
    let len = i32::from_be_bytes(prefix);
    match usize::try_from(len) {
        Ok(len) if (4..=MAX_FRAME).contains(&len) => Ok(len),
        _ => Err(format!("a frame of {len} bytes (is this a Kafka listener of that security protocol?)")),
    }
}

/// Takes the response header off a frame; gives the correlation id.
///
/// # Errors
/// A sentence when the header is cut short.
pub fn response_head(frame: &mut Bytes, api_key: i16, version: i16) -> Result<i32, String> {
    if frame.len() < 4 {
        return Err("a response without a correlation id".into());
    }
    let correlation = frame.get_i32();
    let header_version = ApiKey::try_from(api_key).map_or(0, |key| key.response_header_version(version));
    if header_version >= 1 {
        skip_tags(frame)?;
    }
    Ok(correlation)
}

/// Skips tagged fields (KIP-482).
///
/// # Errors
/// A sentence when they are cut short.
pub fn skip_tags(buf: &mut Bytes) -> Result<(), String> {
    let count = unsigned_varint(buf)?;
    for _ in 0..count {
        unsigned_varint(buf)?;
        let len = unsigned_varint(buf)? as usize;
        if len > buf.len() {
            return Err(format!("a tagged field of {len} bytes in {} remaining", buf.len()));
        }
        buf.advance(len);
    }
    Ok(())
}

/// Reads an unsigned varint.
///
/// # Errors
/// A sentence when it is cut short or longer than five bytes.
pub fn unsigned_varint(buf: &mut Bytes) -> Result<u32, String> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        if buf.is_empty() {
            return Err("a number is cut short".into());
        }
        let byte = buf.get_u8();
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than five bytes".into())
}

/// `throttle_time_ms`, where an API's answer begins with it.
#[must_use]
pub fn leading_throttle(api_key: i16, version: i16, body: &[u8]) -> i32 {
    let since = match api_key {
        1 | 10 | 12 | 13 | 14 | 15 | 16 | 20 | 37 => 1,
        2 | 11 | 19 | 23 => 2,
        3 | 8 | 9 => 3,
        21 | 22 | 24..=26 | 29..=33 | 42 | 44..=51 | 57 | 60 | 61 | 65 | 66 => 0,
        _ => return 0,
    };
    match body.first_chunk::<4>() {
        Some(bytes) if version >= since => i32::from_be_bytes(*bytes).max(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_announces_its_body() {
        let head = request_head(3, 1, 7, "me", 10).unwrap();
        assert_eq!(&head[..], &b"\0\0\0\x16\0\x03\0\x01\0\0\0\x07\0\x02me"[..]);
        assert_eq!(frame_len(*head.first_chunk::<4>().unwrap()).unwrap(), head.len() - 4 + 10);
        assert!(request_head(0, 9, 1, "", MAX_FRAME).is_err());
        assert!(request_head(999, 9, 1, "", 1).is_err());
    }

    #[test]
    fn foreign_bytes_are_no_frame() {
        assert!(frame_len(*b"HTTP").is_err());
        assert!(frame_len([0x15, 3, 3, 0]).is_err());
        assert!(frame_len([0xff; 4]).is_err());
        assert_eq!(frame_len([0, 0, 0, 9]), Ok(9));
    }

    #[test]
    fn tagged_fields_are_skipped_and_bounded() {
        let mut frame = Bytes::from_static(b"\0\0\0\x05\x01\x00\x02xyBODY");
        assert_eq!(response_head(&mut frame, 3, 12), Ok(5));
        assert_eq!(&frame[..], b"BODY");
        let mut hostile = Bytes::from_static(b"\0\0\0\x05\xff\xff\xff\xff\x0f");
        assert!(response_head(&mut hostile, 3, 12).is_err());
        // ApiVersions answers with header version 0 whatever its version (KIP-511).
        let mut versions = Bytes::from_static(b"\0\0\0\x05BODY");
        assert_eq!(response_head(&mut versions, 18, 3), Ok(5));
        assert_eq!(&versions[..], b"BODY");
    }

    #[test]
    fn throttle_is_read_where_it_leads() {
        assert_eq!(leading_throttle(3, 3, &[0, 0, 1, 0, 9]), 256);
        assert_eq!(leading_throttle(3, 2, &[0, 0, 1, 0, 9]), 0);
        assert_eq!(leading_throttle(0, 9, &[0, 0, 1, 0, 9]), 0);
        assert_eq!(leading_throttle(3, 9, &[0]), 0);
    }
}
