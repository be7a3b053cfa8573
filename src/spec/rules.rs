//! One file against the table of keys and MirrorMaker's own rules. Every problem is found in one pass.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{self as codes, Diagnostic, Severity};
use super::keys::{self, Connectors, Found, Kind, Names};
use super::parse::{self, Document, Place, Property, Written};
use super::policy::{self, Choice, PolicyKind};
use super::regex::PatternList;
use super::{Config, LoadOptions, Name, SourceFile, schema};

/// A file on its way to being a connector.
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) blob: String,
    pub(super) source: String,
    pub(super) name: Option<Name>,
    /// Where the name stands, or the file's beginning.
    pub(super) name_at: Place,
    pub(super) config: Config,
    pub(super) connector: Option<Connectors>,
    pub(super) problems: Vec<Diagnostic>,
    /// Where each key's value stands.
    places: BTreeMap<String, Place>,
}

impl Draft {
    /// Reads and checks one file that lies at `<source>/<stem>.json`.
    pub(super) fn read(file: &SourceFile, source: &str, stem: &str, options: &LoadOptions) -> Self {
        let document = parse::parse(&file.path, &file.bytes);
        let mut draft = Self {
            path: file.path.clone(),
            blob: file.blob.clone(),
            source: source.to_owned(),
            name: None,
            name_at: (1, 1),
            config: document.properties.iter().map(|p| (p.key.clone(), p.value.clone())).collect(),
            connector: None,
            problems: Vec::new(),
            places: document.properties.iter().map(|p| (p.key.clone(), p.value_at)).collect(),
        };
        draft.problems.extend(document.problems.iter().cloned());
        draft.name(stem, &document.properties);
        if document.json.is_none() {
            return draft;
        }
        draft.class();
        for property in &document.properties {
            draft.property(property, options);
        }
        draft.required();
        draft.literal_secrets(&document.properties);
        super::combinations::check(&mut draft);
        draft.against_schema(&document);
        draft
    }

    pub(super) fn failed(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }

    /// A key's value, or the default that holds without it.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(str::trim).or_else(|| keys::default(key))
    }

    /// A boolean, where it can be known.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        (value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"))
            .then(|| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn is(&self, connector: Connectors) -> bool {
        self.connector == Some(connector)
    }

    /// The target state is `running`, said or not.
    pub(super) fn running(&self) -> bool {
        self.value("mirrorkeeper.state").is_none_or(|state| state.eq_ignore_ascii_case("running"))
    }

    /// Adds a finding about a key, placed where its value stands, or at the file's beginning where the key is missing.
    pub(super) fn report(&mut self, code: &'static str, severity: Severity, key: &str, message: String, hint: &str) {
        let place = self.places.get(key).copied().unwrap_or((1, 1));
        let mut found = Diagnostic::new(code, severity, &self.path, message).at(place).about(key);
        if !hint.is_empty() {
            found = found.hint(hint);
        }
        self.problems.push(found);
    }

    fn error(&mut self, code: &'static str, key: &str, message: impl Into<String>, hint: &str) {
        self.report(code, Severity::Error, key, message.into(), hint);
    }

    fn warn(&mut self, code: &'static str, key: &str, message: impl Into<String>, hint: &str) {
        self.report(code, Severity::Warning, key, message.into(), hint);
    }

    fn name(&mut self, stem: &str, properties: &[Property]) {
        let written = properties.iter().find(|p| p.key == "name");
        let text = written.map_or(stem, |p| p.value.as_str());
        self.name_at = written.map_or((1, 1), |p| p.value_at);
        match text.parse::<Name>() {
            Ok(name) => {
                if written.is_some() && text != stem {
                    let hint = format!("rename the file to {text}.json, or leave `name` out");
                    let message = format!("the name differs from the file's, {stem:?}");
                    self.warn(codes::NAME_MISMATCH, "name", message, &hint);
                }
                self.config.insert("name", name.as_str());
                self.name = Some(name);
            }
            Err(error) => {
                self.error(codes::BAD_NAME, "name", error.to_string(), "");
                self.name = stem.parse().ok();
            }
        }
    }

    fn class(&mut self) {
        let Some(class) = self.config.get("connector.class").map(str::to_owned) else { return };
        self.connector = Connectors::of_class(&class);
        if self.connector.is_none() && !class.trim().is_empty() {
            self.error(
                codes::UNSUPPORTED,
                "connector.class",
                format!("the connector class {:?} can't be run here", class.trim()),
                "only MirrorMaker 2's connectors can: org.apache.kafka.connect.mirror.MirrorSourceConnector",
            );
        }
    }

    fn property(&mut self, property: &Property, options: &LoadOptions) {
        let name = property.key.as_str();
        match keys::lookup(name) {
            Some(Found::Key(key)) => {
                self.known(key, property);
                self.kind(key.kind, property);
            }
            Some(Found::Prefixed { prefix, rest, kind }) => {
                self.kind(kind, property);
                self.idle_prefix(name, prefix, rest);
            }
            // A connector of another kind brings keys of its own.
            _ if self.connector.is_none() && self.config.get("connector.class").is_some() => {}
            Some(Found::Foreign { prefix, rest }) => self.foreign(name, prefix, rest, options),
            None => self.unknown(property, options),
        }
        self.reference(property);
    }

    fn known(&mut self, key: &keys::Key, property: &Property) {
        let name = property.key.as_str();
        if let Some(new) = key.replaced_by {
            let hint = format!("write {new}");
            if self.config.get(new).is_some() {
                self.error(codes::CONTRADICTION, name, format!("both {name} and {new} are there"), &hint);
            } else {
                self.warn(codes::OLD_KEY, name, "the name of an older Kafka", &hint);
                self.config.insert(new, property.value.as_str());
                self.places.insert(new.to_owned(), property.value_at);
            }
            self.config.remove(name);
        }
        let Some(connector) = self.connector else { return };
        if key.connectors.is_empty() || matches!(name, "security.protocol") {
            self.warn(codes::NO_EFFECT, name, "has no effect in a connector file", key.doc);
        } else if !key.connectors.contains(connector) {
            let message = format!("is not read by {}", connector.class_name());
            self.warn(codes::NO_EFFECT, name, message, "");
        }
    }

    fn kind(&mut self, kind: Kind, property: &Property) {
        let (name, value) = (property.key.as_str(), property.value.as_str());
        let mismatched = match (property.written, kind) {
            (Written::Boolean, kind) => {
                matches!(kind, Kind::Int { .. } | Kind::Long { .. } | Kind::Double | Kind::Class | Kind::Interval)
            }
            (Written::Number, kind) => matches!(kind, Kind::Class | Kind::Bool),
            (Written::Text, _) => false,
        };
        let bad = if mismatched { Err(keys::BadValue { expected: kind.describe() }) } else { keys::check(kind, value) };
        if let Err(bad) = bad {
            let code = if matches!(kind, Kind::Enum(_)) { codes::NOT_A_CHOICE } else { codes::BAD_VALUE };
            let message = match parse::quotable(name, value) {
                Some(quoted) => format!("{quoted} is not {}", bad.expected),
                None => bad.to_string(),
            };
            self.error(code, name, message, "");
            return;
        }
        if kind == Kind::Regexes && keys::references(value).is_empty() {
            match PatternList::parse(value) {
                Ok(list) if list.is_empty() && matches!(name, "topics" | "groups") => {
                    self.warn(codes::NO_EFFECT, name, "an empty list matches nothing", "write .* for everything");
                }
                Ok(_) => {}
                Err(error) => {
                    let hint = if value.contains('{') && value.contains(',') {
                        "a comma separates patterns, also inside {1,2}"
                    } else {
                        ""
                    };
                    let message = format!("the pattern {:?} is wrong: {}", error.item, error.source);
                    self.error(codes::BAD_REGEX, name, message, hint);
                }
            }
        }
    }

    /// Prefixes that are known and do less than their authors believe.
    fn idle_prefix(&mut self, name: &str, prefix: &keys::Prefix, rest: &str) {
        if self.connector.is_none() {
            return;
        }
        match prefix.prefix {
            "producer." | "target.producer." if !rest.starts_with("ssl.") && !rest.starts_with("sasl.") => {
                let hint = format!("for the one that copies data write producer.override.{rest}");
                self.warn(codes::NO_EFFECT, name, "does not configure the producer that copies data", &hint);
            }
            "consumer." | "source.consumer." if matches!(rest, "group.id" | "group.instance.id") => {
                self.warn(codes::NO_EFFECT, name, "has no effect: partitions are read without a consumer group", "");
            }
            "key.converter." | "value.converter." | "header.converter." | "consumer.override." | "admin.override."
            | "topic.creation." | "ssl." | "sasl." | "config.providers." => {
                self.warn(codes::NO_EFFECT, name, "has no effect in this file", prefix.doc);
            }
            _ => {}
        }
    }

    fn foreign(&mut self, name: &str, prefix: &keys::Prefix, rest: &str, options: &LoadOptions) {
        let severity = if options.strict { Severity::Error } else { Severity::Warning };
        let (message, hint) = match (keys::suggest(name), prefix.names) {
            (Some(near), _) => {
                (format!("nobody knows {rest} behind {}", prefix.prefix), format!("did you mean {near}?"))
            }
            (None, Names::Cluster) => {
                let side = prefix.prefix.trim_end_matches("cluster.");
                (
                    format!("MirrorMaker reads only address and security behind {}", prefix.prefix),
                    format!("write {side}consumer.{rest}, {side}producer.{rest} or {side}admin.{rest}"),
                )
            }
            (None, _) => (format!("nobody knows {rest} behind {}", prefix.prefix), String::new()),
        };
        self.report(codes::UNKNOWN_KEY, severity, name, message, &hint);
    }

    fn unknown(&mut self, property: &Property, options: &LoadOptions) {
        let name = property.key.as_str();
        let own = name.starts_with(keys::OWN_PREFIX);
        let (code, severity) = match (own, options.strict) {
            (true, _) => (codes::UNKNOWN_OWN_KEY, Severity::Error),
            (false, true) => (codes::UNKNOWN_KEY, Severity::Error),
            (false, false) => (codes::UNKNOWN_KEY, Severity::Warning),
        };
        let mut found =
            Diagnostic::new(code, severity, &self.path, "nobody knows this key").at(property.key_at).about(name);
        if let Some(near) = keys::suggest(name) {
            found = found.hint(format!("did you mean {near}?"));
        }
        self.problems.push(found);
    }

    /// Some keys are needed before anything is resolved; some providers nobody has.
    fn reference(&mut self, property: &Property) {
        let name = property.key.as_str();
        let references = keys::references(&property.value);
        if references.is_empty() {
            return;
        }
        if matches!(name, "name" | "connector.class") || name.starts_with(keys::OWN_PREFIX) {
            let message = "must be written out: it is read before references are resolved";
            self.error(codes::BAD_VALUE, name, message, "");
        }
        for reference in references {
            if !matches!(reference.provider.as_str(), "file" | "env" | "dir") {
                let message = "refers to a provider that is known only if the worker's configuration names it";
                self.warn(codes::UNKNOWN_PROVIDER, name, message, "the providers file, env and dir are always there");
            }
        }
    }

    fn required(&mut self) {
        for key in keys::KEYS.iter().filter(|key| key.required) {
            let empty = self.config.get(key.name).is_none_or(|value| value.trim().is_empty());
            if empty {
                self.error(codes::MISSING_KEY, key.name, "is required", key.doc);
            }
        }
    }

    /// One warning per file, at the first of them.
    fn literal_secrets(&mut self, properties: &[Property]) {
        let literal: Vec<&Property> =
            properties.iter().filter(|p| keys::holds_literal_secret(&p.key, &p.value)).collect();
        if let Some(first) = literal.first() {
            let others = match literal.len() {
                1 => String::new(),
                n => format!(", and so do {} other keys", n - 1),
            };
            let message = format!("holds a secret that everybody who reads the repository can read{others}");
            self.warn(codes::LITERAL_SECRET, &first.key, message, "write a reference: ${file:/path:key}, ${env:NAME}");
        }
    }

    /// The schema is the second opinion: what it refuses and the rules let pass is an error as well.
    fn against_schema(&mut self, document: &Document) {
        let Some(json) = &document.json else { return };
        let seen: BTreeSet<String> =
            self.problems.iter().filter(|p| p.severity == Severity::Error).filter_map(|p| p.key.clone()).collect();
        let failed = self.failed();
        for key in schema::findings(json) {
            let already = if key.is_empty() { failed } else { seen.contains(&key) };
            if !already {
                let message = "the connector file's schema does not allow it";
                self.error(codes::SCHEMA, &key, message, "see `mirrorkeeper schema connector`");
            }
        }
    }

    /// How the policy was understood, with findings about it. Used by the rules that need remote names.
    pub(super) fn policy(&mut self) -> Option<PolicyKind> {
        match policy::choose(&self.config) {
            Choice::Known(kind) => Some(kind),
            Choice::Ambiguous(kind) => {
                self.warn(
                    codes::AMBIGUOUS_POLICY,
                    "replication.policy.class",
                    "two behaviours are published under this name: remote topics are called like their topics (AWS; taken \
                     here), or all like the source's alias",
                    "write mirrorkeeper.replication.policy: identity or alias",
                );
                Some(kind)
            }
            Choice::Unsupported(class) => {
                let message = format!("the replication policy {class:?} can't be run here");
                let hint = "DefaultReplicationPolicy, IdentityReplicationPolicy and CustomMM2ReplicationPolicy can";
                self.error(codes::UNSUPPORTED, "replication.policy.class", message, hint);
                None
            }
            Choice::Contradiction => {
                let message = "is for CustomMM2ReplicationPolicy; the file names another policy, or none";
                self.error(
                    codes::CONTRADICTION,
                    "mirrorkeeper.replication.policy",
                    message,
                    "leave one of the two out",
                );
                None
            }
        }
    }
}
