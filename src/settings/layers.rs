//! Where values come from: flag beats environment beats file. Nothing is judged here but names.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroize as _;

use super::table::{SETTINGS, Setting, setting};
use super::{Partial, SettingProblem, VARIABLE_PREFIX};
use crate::spec::keys::nearest;

/// The setting that is a map: Kafka client properties by their own names.
const CLIENT: &str = "client";

/// Names behind [`VARIABLE_PREFIX`] that are no settings.
const OTHER_VARIABLES: &[&str] = &["CONFIG", "URL", "COMMIT"];

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, under this flag.
    Flag(String),
    /// In this environment variable.
    Variable(String),
    /// In a file.
    File {
        /// As it was given.
        path: String,
        /// From 1.
        line: usize,
    },
    /// Nowhere: it is the default, or missing.
    Nowhere,
}

/// Values as they were written.
#[derive(Clone)]
pub(super) struct Raw {
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// What holds, of all layers.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) settings: BTreeMap<&'static str, Raw>,
    pub(super) client: BTreeMap<String, (String, Origin)>,
    pub(super) problems: Vec<SettingProblem>,
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(variable) => f.write_str(variable),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Nowhere => f.write_str("not set"),
        }
    }
}

// === impl Raw ===

impl Drop for Raw {
    fn drop(&mut self) {
        // It may have been a secret.
        self.values.zeroize();
    }
}

// === impl Layers ===

impl Layers {
    pub(super) fn new(flags: Partial, variables: &[(String, String)], file: Option<(&str, &str)>) -> Self {
        let mut layers = Self::default();
        if let Some((path, text)) = file {
            layers.file(path, text);
        }
        layers.environment(variables);
        for (name, values) in flags.0 {
            layers.put(name, values, Origin::Flag(format!("--{name}")));
        }
        layers
    }

    fn put(&mut self, name: &'static str, values: Vec<String>, origin: Origin) {
        if name != CLIENT {
            self.settings.insert(name, Raw { values, origin });
            return;
        }
        for pair in values {
            match pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some((key, value)) if !key.is_empty() => {
                    self.client.insert(key.to_owned(), (value.to_owned(), origin.clone()));
                }
                // The pair isn't quoted: it may be a secret.
                _ => self.problems.push(SettingProblem {
                    key: CLIENT.to_owned(),
                    origin: origin.clone(),
                    message: "it is no KEY=VALUE".to_owned(),
                    hint: Some("such as security.protocol=SSL".to_owned()),
                }),
            }
        }
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        let client = format!("{VARIABLE_PREFIX}CLIENT_");
        for (variable, value) in variables {
            // Compose files and charts can't leave a variable out; they leave it empty.
            let Some(tail) = variable.strip_prefix(VARIABLE_PREFIX).filter(|_| !value.trim().is_empty()) else {
                continue;
            };
            let origin = Origin::Variable(variable.clone());
            if let Some(key) = variable.strip_prefix(&client) {
                let key = key.to_ascii_lowercase().replace('_', ".");
                self.client.insert(key, (value.trim().to_owned(), origin));
            } else if let Some(found) = SETTINGS.iter().find(|setting| setting.variable() == *variable) {
                let values = if found.many { split(value) } else { vec![value.clone()] };
                self.put(found.name, values, origin);
            } else if let Some(hint) = misspelt(tail).filter(|_| !OTHER_VARIABLES.contains(&tail)) {
                // Kubernetes puts variables of its own under the name of a service; only what is near is a mistake.
                self.problems.push(SettingProblem {
                    key: variable.clone(),
                    origin,
                    message: "there is no such setting".to_owned(),
                    hint: Some(hint),
                });
            }
        }
    }

    fn file(&mut self, path: &str, text: &str) {
        let (document, errors) = DeTable::parse_recoverable(text);
        let origin = |at: usize| Origin::File {
            path: path.to_owned(),
            line: text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1,
        };
        for error in &errors {
            self.problems.push(SettingProblem {
                key: path.to_owned(),
                origin: origin(error.span().map_or(0, |span| span.start)),
                message: format!("it is not TOML: {}", error.message()),
                hint: None,
            });
        }
        self.table("", document.get_ref(), &origin);
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, origin: &impl Fn(usize) -> Origin) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let at = origin(key.span().start);
            let client_key = name.strip_prefix("client.").map(str::to_owned);
            match (setting(&name), value.get_ref()) {
                // Dots in a TOML key are tables to TOML.
                (None, DeValue::Table(inner)) => self.table(&format!("{name}."), inner, origin),
                (Some(found), DeValue::Table(inner)) if found.name == CLIENT => self.table("client.", inner, origin),
                (found, _) => match (found, client_key, values(value)) {
                    (None, None, _) => self.unknown(&name, at),
                    (_, _, Err(kind)) => self.mistake(&name, at, &format!("{kind} can't stand here"), None),
                    (None, Some(key), Ok(values)) => {
                        self.client.insert(key, (values.join(","), at));
                    }
                    (Some(found), _, Ok(values)) if found.many || values.len() == 1 => {
                        self.put(found.name, values, at);
                    }
                    (Some(_), ..) => self.mistake(&name, at, "it takes one value, not a list", None),
                },
            }
        }
    }

    fn unknown(&mut self, name: &str, at: Origin) {
        let hint = if name == "config" {
            Some("it names this file, so it is a flag or MIRRORKEEPER_CONFIG".to_owned())
        } else {
            nearest(name, names()).map(|near| format!("did you mean {near}?"))
        };
        self.mistake(name, at, "there is no such setting", hint);
    }

    fn mistake(&mut self, key: &str, origin: Origin, message: &str, hint: Option<String>) {
        self.problems.push(SettingProblem { key: key.to_owned(), origin, message: message.to_owned(), hint });
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting: &Setting| setting.name)
}

fn misspelt(tail: &str) -> Option<String> {
    let name = tail.to_ascii_lowercase().replace('_', "-");
    let near = nearest(&name, names())?;
    Some(format!("did you mean {}?", setting(near)?.variable()))
}

fn split(value: &str) -> Vec<String> {
    value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A TOML value as it would be written on a command line; `Err` names a kind that has no such form.
fn values(value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, &'static str> {
    Ok(match value.get_ref() {
        DeValue::String(text) => vec![text.clone().into_owned()],
        DeValue::Integer(number) if number.radix() == 10 => vec![number.as_str().to_owned()],
        DeValue::Float(number) => vec![number.as_str().to_owned()],
        DeValue::Boolean(yes) => vec![yes.to_string()],
        DeValue::Array(items) => {
            let items: Result<Vec<Vec<String>>, _> = items.iter().map(values).collect();
            items?.concat()
        }
        DeValue::Integer(_) => return Err("a number that is not decimal"),
        DeValue::Datetime(_) => return Err("a date"),
        DeValue::Table(_) => return Err("a table"),
    })
}
