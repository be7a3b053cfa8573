//! Values against their kind, as Kafka's `ConfigDef.parseType` reads them, and the form in which two of them compare.

use super::{Found, Kind, lookup, secrets};

/// A value that isn't what its key takes. The text never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct BadValue {
    /// What the key takes.
    pub expected: String,
}

/// Whether a value is of a kind. A value with references in it can't be judged before they are resolved and passes.
///
/// # Errors
/// What was expected, without the value.
pub fn check(kind: Kind, value: &str) -> Result<(), BadValue> {
    if !secrets::references(value).is_empty() {
        return Ok(());
    }
    let text = trim(value);
    let fine = match kind {
        Kind::String | Kind::List | Kind::Regexes => true,
        Kind::Class => !text.is_empty(),
        Kind::Int { min, max } => text.parse::<i32>().is_ok_and(|n| min <= n && n <= max),
        Kind::Long { min, max } => text.parse::<i64>().is_ok_and(|n| min <= n && n <= max),
        Kind::Double => text.parse::<f64>().is_ok_and(f64::is_finite),
        Kind::Interval => text.parse::<i64>().is_ok_and(|n| n != 0 && n.unsigned_abs() <= i64::MAX as u64 / 1000),
        Kind::ReplicationFactor => text.parse::<i16>().is_ok_and(|n| n == -1 || n > 0),
        Kind::Bool => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Kind::Enum(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
    };
    if fine { Ok(()) } else { Err(BadValue { expected: kind.describe() }) }
}

/// The items of a list, as Kafka splits it: white space trimmed, empty text is no item, other empty items stay.
#[must_use]
pub fn list(value: &str) -> Vec<&str> {
    let text = trim(value);
    if text.is_empty() { Vec::new() } else { text.split(',').map(trim).collect() }
}

/// The form in which two values of a key compare: numbers and booleans in one spelling, lists trimmed (and sorted, where order
/// means nothing), JAAS lines without idle white space. `None`: the key might as well not be there.
#[must_use]
pub fn canonical(name: &str, value: &str) -> Option<String> {
    let (kind, default) = match lookup(name) {
        Some(Found::Key(key)) => (key.kind, key.default),
        Some(Found::Prefixed { kind, .. }) => (kind, None),
        Some(Found::Foreign { .. }) | None => (Kind::String, None),
    };
    let form = form(name, kind, value);
    if default.is_some_and(|default| self::form(name, kind, default) == form) { None } else { Some(form) }
}

fn form(name: &str, kind: Kind, value: &str) -> String {
    let text = trim(value);
    match kind {
        Kind::Int { .. } | Kind::Long { .. } | Kind::Interval | Kind::ReplicationFactor => {
            text.parse::<i64>().map_or_else(|_| text.to_owned(), |n| n.to_string())
        }
        Kind::Double => text.parse::<f64>().map_or_else(|_| text.to_owned(), |n| n.to_string()),
        Kind::Bool => text.to_ascii_lowercase(),
        Kind::Enum(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text))
            .map_or_else(|| text.to_owned(), |word| (*word).to_owned()),
        Kind::Class => text.to_owned(),
        Kind::Regexes => {
            let mut items = list(text);
            // Flags and groups may reach from one item into the next; then order means something.
            if !text.contains(['(', '\\']) {
                items.sort_unstable();
                items.dedup();
            }
            items.join(",")
        }
        Kind::List => list(text).join(","),
        Kind::String if name.ends_with("sasl.jaas.config") => jaas_form(text),
        // Kafka keeps a string's white space; a separator may be made of it.
        Kind::String => value.to_owned(),
    }
}

fn jaas_form(text: &str) -> String {
    let Some(options) = secrets::jaas_options(text) else { return text.to_owned() };
    let mut words = text.split_whitespace();
    let module = words.next().unwrap_or_default();
    let flag = words.next().unwrap_or_default().trim_end_matches(';');
    let mut form = format!("{module} {flag}");
    let mut options = options;
    options.sort();
    for (name, value) in options {
        form.push_str(&format!(" {name}={value:?}"));
    }
    form.push(';');
    form
}

/// What `String.trim` of Java removes.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}
