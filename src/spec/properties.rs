//! Java's `.properties` files, exactly as `java.util.Properties.load(InputStream)` reads them.

use super::parse::Lines;

/// The largest file that is read, in bytes.
const MAX_BYTES: usize = super::MAX_FILE_BYTES;

/// One key and its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Line on which it begins, from 1.
    pub line: u32,
}

/// Why a file can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits: Java refuses the whole file.
    #[error("line {line}: a \\u needs four hexadecimal digits")]
    Unicode {
        /// Line, from 1.
        line: u32,
    },
    /// More than 1 MiB.
    #[error("the file has {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = super::render::shown_value(&self.key, &self.value);
        write!(f, "{}={value:?} (line {})", self.key, self.line)
    }
}

/// Reads a file. Bytes are ISO 8859-1, as Java's `load(InputStream)` has it; of a key that comes twice both are returned,
/// and the later one counts.
///
/// # Errors
/// A broken `\u` escape, or a file beyond 1 MiB.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    if bytes.len() > MAX_BYTES {
        return Err(PropertiesError::TooLarge { bytes: bytes.len() });
    }
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    parse_text(&text)
}

/// Reads a text, as `load(Reader)` does.
///
/// # Errors
/// As [`parse`].
pub fn parse_text(text: &str) -> Result<Vec<Property>, PropertiesError> {
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = Lines::new(&unified);
    let mut out = Vec::new();
    let mut from = 0;
    while from < unified.len() {
        let (logical, next) = logical_line(&unified, from);
        let start = from + (unified[from..next].len() - unified[from..next].trim_start_matches(white).len());
        let line = lines.place(start.min(unified.len().saturating_sub(1))).0;
        from = next;
        if let Some(logical) = logical {
            let (key, value) = split(&logical);
            let broken = |_| PropertiesError::Unicode { line };
            out.push(Property { key: unescape(key).map_err(broken)?, value: unescape(value).map_err(broken)?, line });
        }
    }
    Ok(out)
}

fn white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// One line with its continuations, and where the next begins. `None`: a comment or nothing.
fn logical_line(text: &str, from: usize) -> (Option<String>, usize) {
    let end_of = |from: usize| text[from..].find('\n').map_or(text.len(), |at| from + at);
    let mut end = end_of(from);
    let mut line = text[from..end].trim_start_matches(white).to_owned();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return (None, (end + 1).min(text.len()));
    }
    // An odd number of backslashes at the end joins the next line, without the white space it begins with.
    while line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
        line.pop();
        // Where the file ends behind the backslash, Java takes even an empty rest for a key.
        if end + 1 >= text.len() {
            return (Some(line), text.len());
        }
        let start = end + 1;
        end = end_of(start);
        line.push_str(text[start..end].trim_start_matches(white));
    }
    (Some(line).filter(|line| !line.is_empty()), (end + 1).min(text.len()))
}

/// At the first separator that isn't escaped: `=`, `:` or white space, white space around it dropped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = *c == '\\';
        matches!(c, '=' | ':') || white(*c)
    });
    let Some((at, _)) = end else { return (line, "") };
    let rest = line[at..].trim_start_matches(white);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..at], rest.trim_start_matches(white))
}

fn unescape(text: &str) -> Result<String, ()> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let push = |units: &mut Vec<u16>, c: char| {
        let mut buffer = [0; 2];
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut units, c);
            continue;
        }
        match chars.next() {
            Some('u') => {
                let mut unit: u16 = 0;
                for _ in 0..4 {
                    let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or(())?;
                    unit = unit << 4 | u16::try_from(digit).map_err(|_| ())?;
                }
                units.push(unit);
            }
            Some('t') => push(&mut units, '\t'),
            Some('n') => push(&mut units, '\n'),
            Some('r') => push(&mut units, '\r'),
            Some('f') => push(&mut units, '\u{c}'),
            Some(other) => push(&mut units, other),
            None => {}
        }
    }
    // Java keeps half a surrogate pair; no text of ours can.
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
