//! Findings as text for a terminal: the line, a caret, what to do. Never a value that could be a secret (law 9).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::parse;
use super::{Diagnostic, Loaded, Severity, SourceFile, keys};

/// How much of a line is shown, in characters.
const WIDTH: usize = 110;

const MASK: &str = "********";

/// All findings of a load, each with its line of source. `files` are the files that were loaded; a file that isn't among
/// them is shown without its line. `color` adds ANSI colours.
#[must_use]
pub fn render_text(loaded: &Loaded, files: &[SourceFile], color: bool) -> String {
    let files: BTreeMap<&str, &SourceFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut out = String::new();
    for found in loaded.diagnostics() {
        let text = files.get(found.path.as_str()).and_then(|file| source(file));
        render(&mut out, &found, text.as_deref(), color);
        out.push('\n');
    }
    out
}

/// One finding; `text` is its file, masked or not: the line is masked here.
fn render(out: &mut String, found: &Diagnostic, text: Option<&str>, color: bool) {
    let paint = |code: &str, text: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let hue = if found.severity == Severity::Error { "1;31" } else { "1;33" };
    let head = paint(hue, &format!("{}[{}]", found.severity, found.code));
    let key = found.key.as_ref().map(|key| format!(" {}:", clean(key))).unwrap_or_default();
    // Writing to a String can't fail.
    let _ = writeln!(out, "{head}{key} {}", clean(&found.message));
    let _ = writeln!(out, "  {} {}:{}:{}", paint("34", "-->"), clean(&found.path), found.line, found.column);
    if let Some((line, caret)) = text.and_then(|text| excerpt(text, found)) {
        let number = found.line.to_string();
        let margin = " ".repeat(number.len());
        let bar = paint("34", "|");
        let _ = writeln!(out, "{margin} {bar}");
        let _ = writeln!(out, "{} {bar} {line}", paint("34", &number));
        let _ = writeln!(out, "{margin} {bar} {}{}", " ".repeat(caret), paint(hue, "^"));
    }
    if let Some(hint) = &found.hint {
        let _ = writeln!(out, "  {} {}", paint("36", "= help:"), clean(hint));
    }
}

fn source(file: &SourceFile) -> Option<String> {
    let bytes = file.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&file.bytes);
    (bytes.len() <= super::MAX_FILE_BYTES).then(|| std::str::from_utf8(bytes).ok().map(str::to_owned))?
}

/// The line of a finding without secrets, and where the caret goes (characters from its beginning).
fn excerpt(text: &str, found: &Diagnostic) -> Option<(String, usize)> {
    let mut column = found.column.checked_sub(1)? as usize;
    let document = parse::parse(&found.path, text.as_bytes());
    let line = text.split('\n').nth(found.line.checked_sub(1)? as usize)?.trim_end_matches('\r');
    // A file that isn't an object can't be masked key by key: its line isn't shown.
    document.json.as_ref()?;
    let mut shown: Vec<char> = line.chars().collect();
    // From right to left, so that columns to the left stay true. Duplicated keys have no property of their own, so
    // any value on the line that isn't known to be harmless goes.
    for span in values(line).into_iter().rev() {
        let harmless = document
            .properties
            .iter()
            .any(|p| p.value_at == (found.line, span.start as u32 + 1) && parse::quotable(&p.key, &p.value).is_some());
        if harmless {
            continue;
        }
        let hidden: Vec<char> = format!("\"{MASK}\"").chars().collect();
        let (length, end) = (hidden.len(), span.end.min(shown.len()));
        shown.splice(span.start..end, hidden);
        if column >= end {
            column = column + length - (end - span.start);
        } else if column > span.start {
            column = span.start;
        }
    }
    // A long line is cut around the caret.
    let from = column.saturating_sub(WIDTH / 2);
    let cut: String = shown.iter().skip(from).take(WIDTH).map(|c| if *c == '\t' { ' ' } else { *c }).collect();
    Some((clean(&cut), column - from))
}

/// Where values stand in a line of JSON: everything behind a `:` that stands outside of strings, up to the next `,` or `}`
/// outside of strings. In characters.
fn values(line: &str) -> Vec<std::ops::Range<usize>> {
    let chars: Vec<char> = line.chars().collect();
    let mut spans = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    let mut start: Option<usize> = None;
    let mut colon = false;
    for (at, c) in chars.iter().enumerate() {
        if colon && start.is_none() && !c.is_whitespace() {
            start = Some(at);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ':' if !in_string => (colon, start) = (true, None),
            ',' | '}' if !in_string => {
                spans.extend(start.take().map(|from| from..at));
                colon = false;
            }
            _ => {}
        }
    }
    spans.extend(start.map(|from| from..chars.len()));
    // A line that continues a value, or whose value stands alone, has no colon: all of it is a value.
    if spans.is_empty()
        && !chars.iter().all(|c| c.is_whitespace() || matches!(c, '{' | '}' | ','))
        && !line.contains(':')
    {
        let from = chars.iter().position(|c| !c.is_whitespace()).unwrap_or(0);
        spans.push(from..chars.len());
    }
    spans
}

/// Terminals obey control characters; a repository's text must not command them.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A key's value as it may be shown: as it is, or masked.
#[must_use]
pub fn shown_value<'a>(key: &str, value: &'a str) -> &'a str {
    if keys::must_be_masked(key, value) { MASK } else { value }
}
