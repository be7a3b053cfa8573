//! The JSON Schema of a connector file (2020-12), made from the table of keys.
//!
//! It says what an editor can say: types, ranges, words, required keys, unknown `mirrorkeeper.` keys. Regular expressions,
//! contradictions between keys and unknown keys are the parser's.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::keys::{self, Kind, Names};

/// Anything that isn't a number, with a reference in it: judged when the reference is resolved.
const REFERENCE: &str = r"[\s\S]*\$\{[^}]*:[^}]*\}[\s\S]*";

/// Kafka's `String.trim`.
const BLANK: &str = r"[\u0000-\u0020]*";

/// The schema of a connector file.
#[must_use]
pub fn connector_schema() -> Value {
    let mut properties: Map<String, Value> = keys::KEYS
        .iter()
        .map(|key| {
            let mut schema = of_kind(key.kind, !key.name.starts_with(keys::OWN_PREFIX));
            let object = schema.as_object_mut().expect("of_kind makes objects");
            object.insert("description".to_owned(), json!(description(key)));
            if let Some(default) = key.default {
                object.insert("default".to_owned(), json!(default));
            }
            if key.replaced_by.is_some() {
                object.insert("deprecated".to_owned(), json!(true));
            }
            (key.name.to_owned(), schema)
        })
        .collect();
    let mut patterns = Map::new();
    for prefix in keys::PREFIXES {
        let own = format!("^{}.+$", escape(prefix.prefix));
        patterns.insert(own, json!({ "type": ["string", "number", "boolean"], "description": prefix.doc }));
        if prefix.names == Names::Any {
            continue;
        }
        for name in keys::client_names(prefix.names) {
            let full = format!("{}{name}", prefix.prefix);
            if keys::key(&full).is_some() {
                continue;
            }
            if let Some(keys::Found::Prefixed { kind, .. }) = keys::lookup(&full)
                && !matches!(kind, Kind::String | Kind::List | Kind::Regexes)
            {
                properties.insert(full, of_kind(kind, true));
            }
        }
    }
    let ours: Vec<&str> = keys::KEYS.iter().map(|k| k.name).filter(|n| n.starts_with(keys::OWN_PREFIX)).collect();
    let required: Vec<&str> = keys::KEYS.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A connector file of mirrorkeeper",
        "description": "MirrorMaker 2 connector configuration: connectors/<environment>/<destination>/<source>/<name>.json",
        "type": "object",
        "required": required,
        "properties": properties,
        "patternProperties": patterns,
        "propertyNames": { "anyOf": [{ "not": { "pattern": "^mirrorkeeper\\." } }, { "enum": ours }] },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

/// The schema as it is committed: indented, with a line feed at the end.
#[must_use]
pub fn connector_schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&connector_schema()).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// What the schema says against a file: the key of each finding, empty for the file as a whole. Never a value.
pub(super) fn findings(json: &Value) -> Vec<String> {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&connector_schema()).expect("a test compiles the schema"));
    VALIDATOR
        .iter_errors(json)
        .map(|error| {
            let pointer = error.instance_path().to_string();
            pointer.trim_start_matches('/').replace("~1", "/").replace("~0", "~")
        })
        .collect()
}

fn description(key: &keys::Key) -> String {
    match key.replaced_by {
        Some(new) => format!("{} Now `{new}`.", key.doc),
        None => key.doc.to_owned(),
    }
}

fn of_kind(kind: Kind, references: bool) -> Value {
    match kind {
        Kind::String | Kind::List | Kind::Regexes => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Class => json!({ "type": "string", "pattern": r"[^\u0000-\u0020]" }),
        Kind::Int { min, max } => number(min.into(), max.into(), references),
        Kind::Long { min, max } => number(min, max, references),
        Kind::ReplicationFactor => json!({ "anyOf": [
            { "const": -1 },
            { "type": "integer", "minimum": 1, "maximum": 32767 },
            { "type": "string", "pattern": text(r"(?:-1|\+?0*[1-9][0-9]{0,4})", references) },
        ] }),
        Kind::Interval => json!({ "anyOf": [
            { "type": "integer", "not": { "const": 0 } },
            { "type": "string", "pattern": text(r"[+-]?0*[1-9][0-9]{0,15}", references) },
        ] }),
        Kind::Double => json!({ "anyOf": [
            { "type": "number" },
            { "type": "string", "pattern": text(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", references) },
        ] }),
        Kind::Bool => json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "string", "pattern": text("(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])", references) },
        ] }),
        Kind::Enum(words) => {
            let any: Vec<String> = words.iter().map(|word| any_case(word)).collect();
            let pattern = text(&format!("(?:{})", any.join("|")), references);
            let mut choices = vec![json!({ "enum": words }), json!({ "type": "string", "pattern": pattern })];
            // A word that is a number may be written as one.
            let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
            if !numbers.is_empty() {
                choices.push(json!({ "enum": numbers }));
            }
            json!({ "anyOf": choices })
        }
    }
}

fn number(min: i64, max: i64, references: bool) -> Value {
    let digits = match min {
        i64::MIN..0 => "[+-]?[0-9]+",
        0 => r"(?:\+?[0-9]+|-0+)",
        1.. => r"\+?0*[1-9][0-9]*",
    };
    json!({ "anyOf": [
        { "type": "integer", "minimum": min, "maximum": max },
        { "type": "string", "pattern": text(digits, references) },
    ] })
}

fn text(inner: &str, references: bool) -> String {
    if references { format!("^(?:{BLANK}{inner}{BLANK}|{REFERENCE})$") } else { format!("^{BLANK}{inner}{BLANK}$") }
}

fn any_case(word: &str) -> String {
    word.chars()
        .map(|c| match c {
            c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
            '_' | '-' => c.to_string(),
            c => escape(&c.to_string()),
        })
        .collect()
}

fn escape(literal: &str) -> String {
    literal.replace('.', "\\.")
}
