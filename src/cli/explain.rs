//! `explain`: a key of connector files, a setting, or a connector file with everything that holds for it.

mod clients;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::exit::{Ended, Exit, Failure};
use super::printer::{Hue, Printer, clean};
use super::tree::Tree;
use crate::settings::{SETTINGS, Setting, setting};
use crate::spec::keys::{self, Connectors, Effect, Found, KEYS, Key, Meaning};
use crate::spec::render::shown_value;
use crate::spec::worker::{self, WorkerConfig};
use crate::spec::{Config, TargetState};

/// What is explained.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// A key, a setting or a connector file; without it, all keys and settings are listed
    #[arg(value_name = "KEY|FILE")]
    what: Option<String>,
    /// The daemon's Connect worker file, whose `producer.` keys a connector's data producer begins with
    #[arg(long, value_name = "FILE")]
    worker_config: Option<PathBuf>,
}

pub(super) fn run(args: &ExplainArgs, printer: &Printer) -> Ended {
    let Some(what) = args.what.as_deref().map(str::trim) else { return list(printer) };
    let path = Path::new(what);
    if what.ends_with(".json") && path.is_file() {
        return file(path, args.worker_config.as_deref(), printer);
    }
    if let Some(found) = keys::lookup(what) {
        return shown(printer, &key(what, &found));
    }
    let flag = what.trim_start_matches("--");
    if let Some(found) = setting(flag) {
        return shown(printer, &of_setting(found));
    }
    if path.exists() || what.contains('/') || what.ends_with(".json") {
        return Err(Failure::new(Exit::Usage, format!("{what} is no connector file")));
    }
    let near = keys::suggest(what)
        .or_else(|| keys::nearest(flag, SETTINGS.iter().map(|setting| setting.name)).map(str::to_owned));
    let failure = Failure::new(Exit::Usage, format!("nobody knows the key {what}"));
    Err(failure
        .hint(near.map_or("mirrorkeeper explain lists all keys".to_owned(), |near| format!("did you mean {near}?"))))
}

/// Lines of a label and its text; what isn't there is left out.
fn shown(printer: &Printer, facts: &Value) -> Ended {
    if printer.json() {
        printer.value(facts)?;
        return Ok(Exit::Fine);
    }
    let mut text = format!("{}\n", printer.paint(Hue::Bold, &clean(facts["name"].as_str().unwrap_or_default())));
    for (label, value) in facts.as_object().into_iter().flatten().filter(|(label, _)| *label != "name") {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        text.push_str(&format!("  {} {}\n", printer.paint(Hue::Dim, &format!("{label}:")), clean(&value)));
    }
    printer.data(&text)?;
    Ok(Exit::Fine)
}

fn key(name: &str, found: &Found<'_>) -> Value {
    match found {
        Found::Key(key) => json!({
            "name": key.name, "meaning": key.doc, "type": key.kind.describe(), "default": key.default,
            "required": key.required.then_some(true), "read by": readers(key.connectors),
            "a change": effect(key.effect), "replaced by": key.replaced_by,
        }),
        Found::Prefixed { prefix, rest, kind } => json!({
            "name": name, "meaning": format!("{} `{rest}` is a Kafka client's own key.", prefix.doc),
            "type": kind.describe(), "default": honoured(rest).0, "no effect": honoured(rest).1,
            "a change": effect(prefix.effect),
            "secret": keys::is_secret(name).then_some("its value is never shown"),
        }),
        Found::Foreign { prefix, rest } => json!({
            "name": name, "meaning": prefix.doc, "but": format!("nobody knows `{rest}` there"),
            "did you mean": keys::suggest(name),
        }),
    }
}

/// A client property's default where it counts, else why it does not.
fn honoured(name: &str) -> (Option<&'static str>, Option<String>) {
    match keys::meaning(name) {
        Some(Meaning::Honoured(default)) => (default, None),
        Some(Meaning::None(why)) => (None, Some(why.to_owned())),
        Some(Meaning::Refused(why)) => (None, Some(format!("refused: {why}"))),
        None => (None, None),
    }
}

fn of_setting(setting: &Setting) -> Value {
    json!({
        "name": setting.name, "meaning": setting.doc, "takes": setting.takes, "default": setting.default,
        "required": setting.required.then_some(true),
        "flag": (!setting.secret).then(|| format!("--{}", setting.name)), "variable": setting.variable(),
        "kind": "a setting of the daemon, not a key of connector files",
    })
}

fn readers(connectors: Connectors) -> Vec<&'static str> {
    let all = [Connectors::SOURCE, Connectors::CHECKPOINT, Connectors::HEARTBEAT];
    all.into_iter().filter(|one| connectors.contains(*one)).map(Connectors::class_name).collect()
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "changes nothing in what runs",
        Effect::Hot => "takes effect while copying goes on",
        Effect::Reconnect => "makes connections anew",
        Effect::Restart => "stops the flow and starts it at its position",
        Effect::ReReplicate => "gives progress or remote topics other names: records are copied again",
    }
}

/// All keys and settings, a line each.
fn list(printer: &Printer) -> Ended {
    let ours = |key: &&Key| key.replaced_by.is_none();
    if printer.json() {
        let keys: Vec<Value> = KEYS.iter().map(|row| key(row.name, &Found::Key(row))).collect();
        let settings: Vec<Value> = SETTINGS.iter().map(of_setting).collect();
        printer.value(&json!({ "keys": keys, "settings": settings }))?;
        return Ok(Exit::Fine);
    }
    let rows = |rows: Vec<(&str, &str)>| {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        rows.iter().map(|(name, doc)| format!("  {name:width$}  {doc}\n")).collect::<String>()
    };
    let mut text = format!("{}\n", printer.paint(Hue::Bold, "Keys of connector files"));
    text.push_str(&rows(KEYS.iter().filter(ours).map(|key| (key.name, key.doc)).collect()));
    text.push_str(&format!("\n{}\n", printer.paint(Hue::Bold, "Beginnings of keys")));
    text.push_str(&rows(keys::PREFIXES.iter().map(|prefix| (prefix.prefix, prefix.doc)).collect()));
    text.push_str(&format!("\n{}\n", printer.paint(Hue::Bold, "Settings of the daemon")));
    text.push_str(&rows(SETTINGS.iter().map(|setting| (setting.name, setting.doc)).collect()));
    printer.data(&text)?;
    Ok(Exit::Fine)
}

fn worker(path: &Path) -> Result<WorkerConfig, Failure> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Failure::new(Exit::Usage, format!("{shown} can't be read: {e}")))?;
    worker::parse(&shown, &bytes).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Invalid, lines.join("; "))
    })
}

/// A connector file: what it says, what holds where it says nothing, and what each of its clients makes of it.
fn file(path: &Path, worker_file: Option<&Path>, printer: &Printer) -> Ended {
    let worker = worker_file.map(worker).transpose()?;
    let tree = Tree::read(path, "connectors")?;
    for loaded in tree.load(false) {
        let Some(connector) = loaded.connectors.values().find(|found| tree.is_wanted(&found.path)) else { continue };
        let settings = effective(&connector.config);
        let clients = clients::of(&connector.config, worker.as_ref());
        let state = match connector.state {
            TargetState::Running => "running",
            TargetState::Paused => "paused",
            TargetState::Stopped => "stopped",
        };
        if printer.json() {
            let path = tree.shown(&connector.path);
            printer.value(&json!({ "name": connector.name.to_string(), "file": path, "state": state,
                "settings": settings.iter().map(|(key, value, from)| json!({ "key": key, "value": value, "from": from }))
                    .collect::<Vec<_>>(),
                "clients": clients.iter().map(clients::Client::json).collect::<Vec<_>>() }))?;
            return Ok(Exit::Fine);
        }
        let width = settings.iter().map(|(key, ..)| key.len()).max().unwrap_or_default();
        let title = format!("{} ({state})", connector.name);
        let mut text = format!("{}\n", printer.paint(Hue::Bold, &clean(&title)));
        for (key, value, from) in &settings {
            let line = clean(&format!("  {key:width$}  {value}"));
            let line = if *from == "default" { printer.paint(Hue::Dim, &format!("{line}  (default)")) } else { line };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for client in &clients {
            text.push_str(&client.text(printer));
        }
        printer.data(&text)?;
        return Ok(Exit::Fine);
    }
    Err(Failure::new(Exit::Invalid, format!("{} can't be used as a connector file", path.display()))
        .hint(format!("mirrorkeeper validate {} says why", path.display())))
}

/// Key, value as it may be shown, and where from. Only keys that this connector reads.
fn effective(config: &Config) -> Vec<(String, String, &'static str)> {
    let class = config.get("connector.class").and_then(Connectors::of_class).unwrap_or(Connectors::ALL);
    let written = config.iter().map(|(key, value)| (key.to_owned(), shown_value(key, value).to_owned(), "file"));
    let defaults = KEYS
        .iter()
        .filter(|key| key.replaced_by.is_none() && key.connectors.contains(class) && config.get(key.name).is_none())
        .filter_map(|key| Some((key.name.to_owned(), key.default?.to_owned(), "default")));
    let mut all: Vec<_> = written.chain(defaults).collect();
    all.sort();
    all
}
