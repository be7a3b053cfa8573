//! From bytes to properties with places: `serde_json` decides what is JSON, an AST says where things stand.

use std::collections::BTreeMap;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions};

use super::diagnostic::{self as codes, Diagnostic, Severity};
use super::{MAX_FILE_BYTES, keys};

/// A place in a file: line and column in characters, both from 1.
pub(super) type Place = (u32, u32);

/// One property of a file.
#[derive(Clone)]
pub(super) struct Property {
    pub(super) key: String,
    /// The value as Kafka Connect would store it.
    pub(super) value: String,
    /// What it was in JSON.
    pub(super) written: Written,
    pub(super) key_at: Place,
    pub(super) value_at: Place,
}

/// What a value was in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Text,
    Number,
    Boolean,
}

/// A file as far as it could be read.
#[derive(Default)]
pub(super) struct Document {
    pub(super) properties: Vec<Property>,
    pub(super) problems: Vec<Diagnostic>,
    /// The JSON itself, when it is an object.
    pub(super) json: Option<serde_json::Value>,
}

/// Byte offsets to lines and columns.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

pub(super) fn parse(path: &str, bytes: &[u8]) -> Document {
    let mut document = Document::default();
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes; a connector file has at most {MAX_FILE_BYTES}", bytes.len());
        document.problems.push(Diagnostic::new(codes::TOO_LARGE, Severity::Error, path, message));
        return document;
    }
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => {
            let found = Diagnostic::new(
                codes::BYTE_ORDER_MARK,
                Severity::Warning,
                path,
                "the file begins with a byte order mark",
            );
            document.problems.push(found.hint("save it as UTF-8 without one"));
            rest
        }
        None => bytes,
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let place = Lines::new(&readable).place(readable.len());
            let found = Diagnostic::new(codes::NOT_UTF8, Severity::Error, path, "the file is not valid UTF-8");
            document.problems.push(found.at(place).hint("save it as UTF-8"));
            return document;
        }
    };
    let lines = Lines::new(text);
    match serde_json::from_str::<serde_json::Value>(text) {
        Err(error) => {
            let place = lines.place(lines.offset(error.line(), error.column().saturating_sub(1)));
            let whole = error.to_string();
            let what = whole.split(" at line ").next().unwrap_or("it can't be read").to_owned();
            let found = Diagnostic::new(codes::NOT_JSON, Severity::Error, path, format!("not valid JSON: {what}"));
            document.problems.push(found.at(place));
        }
        Ok(json) => read_object(path, text, &lines, json, &mut document),
    }
    document
}

fn read_object(path: &str, text: &str, lines: &Lines<'_>, json: serde_json::Value, document: &mut Document) {
    let ast = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &strict());
    let value = match ast {
        Ok(result) => result.value,
        Err(error) => {
            let found = Diagnostic::new(codes::NOT_JSON, Severity::Error, path, "not valid JSON");
            document.problems.push(found.at(lines.place(error.range().start)));
            return;
        }
    };
    let object = match value {
        Some(Value::Object(object)) => object,
        other => {
            let start = other.as_ref().map_or(0, Ranged::start);
            let found =
                Diagnostic::new(codes::NOT_OBJECT, Severity::Error, path, "a connector file is one JSON object");
            let found = found.at(lines.place(start)).hint("write { \"connector.class\": ..., ... }");
            document.problems.push(found);
            return;
        }
    };
    document.json = Some(json);
    let mut first_lines: BTreeMap<String, u32> = BTreeMap::new();
    for property in &object.properties {
        let key = match &property.name {
            ObjectPropName::String(name) => name.value.to_string(),
            ObjectPropName::Word(word) => word.value.to_owned(),
        };
        let key_at = lines.place(property.name.start());
        if let Some(first) = first_lines.get(&key) {
            let message = format!("the key is there already, on line {first}");
            let found = Diagnostic::new(codes::DUPLICATE_KEY, Severity::Error, path, message);
            document.problems.push(found.at(key_at).about(&key).hint("remove one of them"));
            continue;
        }
        first_lines.insert(key.clone(), key_at.0);
        let value_at = lines.place(property.value.start());
        let (value, written) = match &property.value {
            Value::StringLit(text) => (text.value.to_string(), Written::Text),
            Value::NumberLit(number) => (whole_number(number.value), Written::Number),
            Value::BooleanLit(boolean) => (boolean.value.to_string(), Written::Boolean),
            other => {
                let what = match other {
                    Value::Object(_) => "an object",
                    Value::Array(_) => "an array",
                    _ => "null",
                };
                let message = format!("the value is {what}; it must be a string, a number or a boolean");
                let hint = match other {
                    Value::Array(_) => "write the items in one string, separated by commas",
                    Value::Object(_) => "write each inner key as outer.inner",
                    _ => "leave the key out",
                };
                let found = Diagnostic::new(codes::NOT_SCALAR, Severity::Error, path, message);
                document.problems.push(found.at(value_at).about(&key).hint(hint));
                continue;
            }
        };
        document.properties.push(Property { key, value, written, key_at, value_at });
    }
}

fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// JSON knows one kind of number: `3.0` and `3e0` are 3.
fn whole_number(text: &str) -> String {
    /// Beyond 2^53 a double is no longer exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !text.contains(['.', 'e', 'E']) {
        return text.to_owned();
    }
    match text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        Ok(number) if number.fract() == 0.0 && number.abs() < EXACT => (number as i64).to_string(),
        _ => text.to_owned(),
    }
}

/// A value for a message: never one that could be a secret.
pub(super) fn quotable(key: &str, value: &str) -> Option<String> {
    let known = matches!(keys::lookup(key), Some(keys::Found::Key(_)));
    if !known || keys::is_secret(key) || keys::holds_literal_secret(key, value) {
        return None;
    }
    let mut short: String = value.chars().take(60).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    Some(format!("{short:?}"))
}

// === impl Lines ===

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let column = self.text[start.min(end)..end].chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Byte offset of a line (from 1) and a byte column (from 0).
    fn offset(&self, line: usize, column: usize) -> usize {
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        (start + column).min(self.text.len())
    }
}
