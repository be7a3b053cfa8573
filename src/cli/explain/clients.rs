//! The Kafka clients of a connector: each property that counts, its value, where it came from, or why it changes nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::printer::{Hue, Printer, clean};
use crate::mirror::config::{ClientRole, Given, Side, assembled};
use crate::spec::keys::{self, Meaning, Names};
use crate::spec::render::shown_value;
use crate::spec::{Config, worker::WorkerConfig};

/// One client of a connector.
pub(super) struct Client {
    title: &'static str,
    properties: Vec<Property>,
}

struct Property {
    name: String,
    /// As it may be shown.
    value: String,
    from: String,
    /// Why it changes nothing; none where it counts.
    idle: Option<String>,
}

/// The clients that a source connector has here. The destination's address and security are the daemon's own.
pub(super) fn of(config: &Config, worker: Option<&WorkerConfig>) -> Vec<Client> {
    let consumer = assembled(config, Side::Source, ClientRole::Consumer);
    let admin = assembled(config, Side::Source, ClientRole::Admin);
    let mut producer = BTreeMap::new();
    for (name, value) in worker.into_iter().flat_map(|worker| worker.producer.iter()) {
        let given = Given { value: value.to_owned(), key: Some(format!("producer.{name} of the worker file")) };
        producer.insert(name.to_owned(), given);
    }
    for (name, value) in config.with_prefix("producer.override.") {
        let given = Given { value: value.to_owned(), key: Some(format!("producer.override.{name}")) };
        producer.insert(name.to_owned(), given);
    }
    vec![
        client("source consumer: finds topics and reads the records", Names::Consumer, &consumer, |_| None),
        client("source admin", Names::Admin, &admin, |name| {
            let counts = matches!(keys::meaning(name), Some(Meaning::Honoured(_)));
            counts.then_some("the source is administered with the source consumer's properties")
        }),
        client("data producer: writes the records to the daemon's destination", Names::Producer, &producer, |name| {
            // Of the producer only the codec is the connector's; the rest is the destination's client.
            let own = matches!(keys::meaning(name), Some(Meaning::Honoured(_))) && name != "compression.type";
            own.then_some("the destination's client is the daemon's own: its settings, or the worker file's bare keys")
        }),
    ]
}

fn client(
    title: &'static str,
    names: Names,
    given: &BTreeMap<String, Given>,
    not_here: impl Fn(&str) -> Option<&'static str>,
) -> Client {
    let known: Vec<&str> = keys::client_names(names).collect();
    let prefix = match names {
        Names::Admin => "source.admin.",
        Names::Producer => "producer.override.",
        _ => "source.consumer.",
    };
    let foreign = given.keys().map(String::as_str).filter(|name| known.binary_search(name).is_err());
    let mut all: Vec<&str> = known.iter().copied().chain(foreign).collect();
    all.sort_unstable();
    let properties =
        all.into_iter().filter_map(|name| property(name, prefix, &known, given.get(name), not_here(name))).collect();
    Client { title, properties }
}

fn property(
    name: &str,
    prefix: &str,
    known: &[&str],
    given: Option<&Given>,
    not_here: Option<&str>,
) -> Option<Property> {
    let unknown = known.binary_search(&name).is_err();
    let meaning = keys::meaning(name).filter(|_| !unknown);
    let idle = match (not_here, meaning) {
        (Some(why), _) => Some(why.to_owned()),
        (None, Some(Meaning::Honoured(_))) => None,
        (None, Some(Meaning::None(why))) => Some(why.to_owned()),
        (None, Some(Meaning::Refused(why))) => Some(format!("refused: {why}")),
        (None, None) => Some("no client of this kind knows it".to_owned()),
    };
    let (value, from) = match (given, meaning) {
        (Some(given), _) => {
            let from = given.key.clone().unwrap_or_else(|| "as MirrorMaker has it".to_owned());
            // Behind a prefix it is known for what it is: a bare name would be masked as nobody's.
            (shown_value(&format!("{prefix}{name}"), &given.value).to_owned(), from)
        }
        // What nobody wrote and changes nothing is not worth a line.
        (None, Some(Meaning::Honoured(Some(default)))) if idle.is_none() => (default.to_owned(), "default".to_owned()),
        (None, _) => return None,
    };
    Some(Property { name: name.to_owned(), value, from, idle })
}

impl Client {
    pub(super) fn json(&self) -> Value {
        let properties: Vec<Value> = self
            .properties
            .iter()
            .map(|p| json!({ "name": p.name, "value": p.value, "from": p.from, "noEffect": p.idle }))
            .collect();
        json!({ "client": self.title, "properties": properties })
    }

    pub(super) fn text(&self, printer: &Printer) -> String {
        let width = self.properties.iter().map(|p| p.name.len()).max().unwrap_or_default();
        let values =
            self.properties.iter().map(|p| p.value.chars().count()).filter(|n| *n <= 32).max().unwrap_or_default();
        let mut text = format!("\n{}\n", printer.paint(Hue::Bold, self.title));
        for Property { name, value, from, idle } in &self.properties {
            let why = idle.as_ref().map(|why| format!("; no effect: {why}")).unwrap_or_default();
            let line = clean(&format!("  {name:width$}  {value:values$}  ({from}{why})"));
            let dim = from == "default" || idle.is_some();
            text.push_str(&if dim { printer.paint(Hue::Dim, &line) } else { line });
            text.push('\n');
        }
        text
    }
}
