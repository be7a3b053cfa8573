//! Writing HTML so that no text can become markup, and numbers so that people can read them.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page(String);

// === impl Page ===

impl Page {
    /// Markup: only text that stands in this program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else, escaped; fit for elements and for attributes in quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Control characters have no place in HTML, and marks that turn the direction of text can lie.
                c if c.is_control() && c != '\n' && c != '\t' => self.0.push('\u{fffd}'),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A path segment of a link.
    pub(super) fn segment(&mut self, text: &str) -> &mut Self {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                self.0.push(char::from(byte));
            } else {
                write!(self.0, "%{byte:02X}").expect("a String can't refuse");
            }
        }
        self
    }

    /// A word of the status document.
    pub(super) fn word(&mut self, word: &impl Serialize) -> &mut Self {
        self.text(&word_of(word))
    }

    /// A word as a coloured mark; the colour only repeats what the word says.
    pub(super) fn mark(&mut self, word: &impl Serialize) -> &mut Self {
        let text = word_of(word);
        self.raw("<span class=\"mark ").raw(class(&text)).raw("\">").text(&text).raw("</span>")
    }

    /// A moment, as its distance from now; the moment itself shows on pointing.
    pub(super) fn time(&mut self, at: Timestamp, now: Timestamp) -> &mut Self {
        let seconds = now.as_second().saturating_sub(at.as_second());
        let distance = span(seconds.unsigned_abs());
        let iso = at.to_string();
        self.raw("<time datetime=\"").text(&iso).raw("\" title=\"").text(&iso).raw("\">");
        if seconds < 0 {
            self.raw("in ").text(&distance);
        } else {
            self.text(&distance).raw(" ago");
        }
        self.raw("</time>")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// The word as the document writes it.
fn word_of(word: &impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

fn class(word: &str) -> &'static str {
    match word {
        "InSync" | "Healthy" => "good",
        "Failed" | "Stalled" | "Blocked" | "Invalid" => "bad",
        "Drifted" | "SourceUnreachable" | "Pending" | "Degraded" => "warn",
        _ => "calm",
    }
}

/// Two units at most: `3 d 4 h`, `5 min 6 s`.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// Bytes in units of 1024.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut whole, mut tenths, mut unit) = (number, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{tenths} {}", UNITS[unit]) }
}

/// Digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
