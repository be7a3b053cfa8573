//! Walks an answer before it is decoded: every array it announces must really be there.
//!
//! The codec reserves memory for as many elements as an array's length says; a length of 2^31-1 then aborts the process.
//! So each answer with arrays is first walked along a small table of layouts (Kafka's message definitions, shortened);
//! nothing is allocated on the way.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;

use super::unsigned_varint;

/// The largest answer that is decoded into values; Fetch's bulk does not count, it stays bytes.
const MAX_DECODED: usize = 64 << 20;

/// Layouts of answers, by API key.
///
/// `b h i l u` are 1, 2, 4, 8 and 16 bytes, `s` a string, `y` bytes, `x*` an array of `x`, `[ ... ]` an array of
/// structures, `<n ... >` a tagged field; a suffix bounds the versions (`3+`, `0-7`).
fn layout(api_key: i16) -> Option<&'static str> {
    Some(match api_key {
        0 => "[ s0-12 u13+ [ i h l l2+ l5+ [8+ i s ] s8+ ] ] i1+ <0 [ i s i s ] >",
        1 => "i1+ h7+ i7+ [ s0-12 u13+ [ i h l l4+ l5+ [4+ l l ] i11+ y ] ] <0 [ i s i s ] >",
        2 => "i2+ [ s [ i h l1+ l1+ i4+ ] ]",
        3 => "i3+ [ i s i s1+ ] s2+ i1+ [ h s u10+ b1+ [ h i i i7+ i* i* i*5+ ] i8+ ] i8-10 h13+",
        8 => "i3+ [ s0-9 u10+ [ i h ] ]",
        9 => "i3+ [0-7 s [ i l i5+ s h ] ] h2-7 [8+ s [ s0-9 u10+ [ i l i s h ] ] h ]",
        10 => "i1+ h0-3 s1-3 i0-3 s0-3 i0-3 [4+ s i s i h s ]",
        11 => "i2+ h i s7+ s s b9+ s [ s s5+ y ]",
        13 => "i1+ h [3+ s s h ]",
        15 => "i1+ [ h s6+ s s s s [ s s4+ s s y y ] i3+ ]",
        16 => "i1+ h [ s s s4+ s5+ ]",
        17 => "h s*",
        18 => "h [ h h h ] i1+ <0 [ s h h ] > <2 [ s h h ] >",
        19 => "i2+ [ s u7+ h s1+ i5+ h5+ [5+ s s b b b ] ]",
        20 => "i1+ [ s u6+ h s5+ ]",
        21 => "i [ s [ i l h ] ]",
        23 => "i2+ [ s [ h i i1+ l ] ]",
        24 => "i h4+ [4+ s [ s [ i h ] ] ] [0-3 s [ i h ] ]",
        28 => "i [ s [ i h ] ]",
        29 => "i h s [ b s b1+ [ s s b b ] ]",
        30 => "i [ h s ]",
        31 => "i [ h s [ h s b s b1+ s s b b ] ]",
        32 => "i [ h s b s [ s s b b0-0 b1+ b [1+ s s b ] b3+ s3+ ] ]",
        37 => "i [ s h s ]",
        44 => "i [ h s b s ]",
        61 => "i [ s [ i h s [ l i i l i l ] ] ]",
        _ => return None,
    })
}

/// Whether [`layout`] has an API's answer; APIs outside the table are decoded unwalked.
#[cfg(test)]
pub(crate) fn knows(api_key: i16) -> bool {
    layout(api_key).is_some()
}

/// Checks that every length in `body` is one that its bytes can hold.
pub(crate) fn check(api_key: i16, version: i16, body: &Bytes) -> Result<(), String> {
    if body.len() > MAX_DECODED && api_key != ApiKey::Fetch as i16 {
        return Err(format!("an answer of {} bytes, more than {MAX_DECODED}", body.len()));
    }
    let Some(layout) = layout(api_key) else { return Ok(()) };
    // ApiVersions answers under header version 0 although its body is flexible (KIP-511).
    let flexible = match ApiKey::try_from(api_key) {
        Ok(ApiKey::ApiVersions) => version >= 3,
        Ok(key) => key.response_header_version(version) >= 1,
        Err(()) => false,
    };
    let tokens: Vec<&str> = layout.split(' ').collect();
    let mut walk = Walk { buf: body.clone(), version, flexible };
    walk.structure(&tokens)
}

struct Walk {
    buf: Bytes,
    version: i16,
    flexible: bool,
}

impl Walk {
    /// One structure, with its tagged fields.
    fn structure(&mut self, tokens: &[&str]) -> Result<(), String> {
        let tags_at = top_level(tokens, "<").unwrap_or(tokens.len());
        let mut at = 0;
        while at < tags_at {
            let token = tokens[at];
            if let Some(versions) = token.strip_prefix('[') {
                let end = at + closing(&tokens[at..], "[", "]");
                if self.has(versions) {
                    let inner = &tokens[at + 1..end];
                    for _ in 0..self.length()? {
                        self.structure(inner)?;
                    }
                }
                at = end + 1;
                continue;
            }
            let (kind, rest) = token.split_at(1);
            match rest.strip_prefix('*') {
                Some(versions) if self.has(versions) => {
                    for _ in 0..self.length()? {
                        self.primitive(kind)?;
                    }
                }
                None if self.has(rest) => self.primitive(kind)?,
                _ => {}
            }
            at += 1;
        }
        if self.flexible { self.tags(&tokens[tags_at..]) } else { Ok(()) }
    }

    fn tags(&mut self, known: &[&str]) -> Result<(), String> {
        for _ in 0..unsigned_varint(&mut self.buf)? {
            let tag = unsigned_varint(&mut self.buf)?;
            let len = unsigned_varint(&mut self.buf)? as usize;
            self.enough(len)?;
            let buf = self.buf.split_to(len);
            let opening = format!("<{tag}");
            if let Some(at) = known.iter().position(|token| *token == opening) {
                let end = at + closing(&known[at..], "<", ">");
                // A tagged array stands bare: its elements have tags, it has none itself.
                let mut inner = Walk { buf, version: self.version, flexible: true };
                for _ in 0..inner.length()? {
                    inner.structure(&known[at + 2..end - 1])?;
                }
            }
        }
        Ok(())
    }

    fn primitive(&mut self, kind: &str) -> Result<(), String> {
        let len = match kind {
            "b" => 1,
            "h" => 2,
            "i" => 4,
            "l" => 8,
            "u" => 16,
            _ if self.flexible => (unsigned_varint(&mut self.buf)?).saturating_sub(1) as usize,
            "s" => {
                self.enough(2)?;
                usize::try_from(self.buf.get_i16()).unwrap_or(0)
            }
            _ => {
                self.enough(4)?;
                usize::try_from(self.buf.get_i32()).unwrap_or(0)
            }
        };
        self.enough(len)?;
        self.buf.advance(len);
        Ok(())
    }

    /// An array's length: no more elements than bytes, as each has at least one.
    fn length(&mut self) -> Result<usize, String> {
        let len = if self.flexible {
            unsigned_varint(&mut self.buf)?.saturating_sub(1) as usize
        } else {
            self.enough(4)?;
            usize::try_from(self.buf.get_i32()).unwrap_or(0)
        };
        if len > self.buf.len() {
            return Err(format!("an array of {len} elements in {} bytes", self.buf.len()));
        }
        Ok(len)
    }

    fn enough(&self, len: usize) -> Result<(), String> {
        if len > self.buf.len() { Err(format!("{len} bytes wanted, {} are left", self.buf.len())) } else { Ok(()) }
    }

    fn has(&self, versions: &str) -> bool {
        if versions.is_empty() {
            return true;
        }
        let number = |text: &str| text.parse::<i16>().unwrap_or(i16::MAX);
        match (versions.strip_suffix('+'), versions.split_once('-')) {
            (Some(since), _) => self.version >= number(since),
            (None, Some((since, until))) => (number(since)..=number(until)).contains(&self.version),
            (None, None) => false,
        }
    }
}

/// Index of the first token outside brackets that begins with `opening`.
fn top_level(tokens: &[&str], opening: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        if depth == 0 && token.starts_with(opening) {
            return Some(at);
        }
        if token.starts_with('[') {
            depth += 1;
        } else if *token == "]" {
            depth = depth.saturating_sub(1);
        }
    }
    None
}

/// Index of the token that closes what `tokens[0]` opens.
fn closing(tokens: &[&str], opening: &str, closing: &str) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.starts_with(opening) {
            depth += 1;
        } else if *token == closing {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests;
