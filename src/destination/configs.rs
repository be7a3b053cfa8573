//! Connect's config topic: what is live. Java's keys and bytes (`KafkaConfigBackingStore`), tailed while running.
//!
//! Only `connector-<name>` and `target-state-<name>` are read and written; all else in the topic (tasks, commits, session
//! keys of a Java worker) is left as it is. Used by the embedded engine only.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kafka;
use crate::kafka::log::{KeyedLog, LogRecord, NewRecord};
use crate::spec::{Config, Name, TargetState};

const CONNECTOR: &str = "connector-";
const TARGET_STATE: &str = "target-state-";

/// The config topic as a map that follows it.
#[derive(Debug)]
pub struct Configs {
    log: KeyedLog,
    connectors: BTreeMap<Name, Config>,
    states: BTreeMap<Name, TargetState>,
    unreadable: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    properties: std::borrow::Cow<'a, Config>,
}

/// `state.v2` came with KIP-875; workers before it read `state`, where stopped is written as paused.
#[derive(Serialize, Deserialize)]
struct State {
    state: String,
    #[serde(rename = "state.v2", default, skip_serializing_if = "Option::is_none")]
    v2: Option<String>,
}

// === impl Configs ===

impl Configs {
    /// The opened topic, nothing read yet.
    #[must_use]
    pub fn new(log: KeyedLog) -> Self {
        Self { log, connectors: BTreeMap::new(), states: BTreeMap::new(), unreadable: BTreeMap::new() }
    }

    /// Reads what was written since the last call; whether anything changed.
    ///
    /// # Errors
    /// The topic can't be read to its end; what was known stays.
    pub async fn refresh(&mut self) -> Result<bool, kafka::Error> {
        let records = self.log.read_to_end().await?;
        let mut changed = false;
        for record in &records {
            changed |= self.apply(record);
        }
        Ok(changed)
    }

    /// Connectors in force.
    #[must_use]
    pub fn connectors(&self) -> &BTreeMap<Name, Config> {
        &self.connectors
    }

    /// The target state in force: running unless somebody wrote otherwise, as in Java.
    #[must_use]
    pub fn state(&self, name: &Name) -> TargetState {
        self.states.get(name).copied().unwrap_or(TargetState::Running)
    }

    /// Connectors of which something in the topic can't be understood, with the reason. What the records said before, if
    /// that was read, is in force; what was not read is not known, which is not "absent" (law 8).
    #[must_use]
    pub fn unreadable(&self) -> BTreeMap<Name, String> {
        let name = |key: &str| key.strip_prefix(CONNECTOR).or_else(|| key.strip_prefix(TARGET_STATE))?.parse().ok();
        let named = self.unreadable.iter().filter_map(|(key, why)| Some((name(key)?, format!("record {key}: {why}"))));
        named.collect()
    }

    /// Whether the target state is not known because its record can't be understood.
    #[must_use]
    pub fn state_unknown(&self, name: &Name) -> bool {
        !self.states.contains_key(name) && self.unreadable.contains_key(&format!("{TARGET_STATE}{name}"))
    }

    /// Writes a connector's configuration.
    ///
    /// # Errors
    /// The topic can't be written.
    pub async fn put(&mut self, name: &Name, config: &Config) -> Result<(), kafka::Error> {
        let value = serde_json::to_vec(&Properties { properties: std::borrow::Cow::Borrowed(config) })
            .expect("a map of strings always serialises");
        self.write(format!("{CONNECTOR}{name}"), Some(value)).await?;
        self.connectors.insert(name.clone(), config.clone());
        Ok(())
    }

    /// Writes a target state.
    ///
    /// # Errors
    /// The topic can't be written.
    pub async fn set_state(&mut self, name: &Name, state: TargetState) -> Result<(), kafka::Error> {
        let (old, new) = match state {
            TargetState::Running => ("STARTED", "STARTED"),
            TargetState::Paused => ("PAUSED", "PAUSED"),
            TargetState::Stopped => ("PAUSED", "STOPPED"),
        };
        let value = serde_json::to_vec(&State { state: old.into(), v2: Some(new.into()) })
            .expect("two strings always serialise");
        self.write(format!("{TARGET_STATE}{name}"), Some(value)).await?;
        self.states.insert(name.clone(), state);
        Ok(())
    }

    /// Removes a connector and its target state, as Java does.
    ///
    /// # Errors
    /// The topic can't be written.
    pub async fn remove(&mut self, name: &Name) -> Result<(), kafka::Error> {
        self.write(format!("{CONNECTOR}{name}"), None).await?;
        self.write(format!("{TARGET_STATE}{name}"), None).await?;
        self.connectors.remove(name);
        self.states.remove(name);
        Ok(())
    }

    async fn write(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), kafka::Error> {
        let record = NewRecord { key: Bytes::from(key.clone()), value: value.map(Bytes::from), headers: Vec::new() };
        self.log.append(vec![record]).await?;
        self.unreadable.remove(&key);
        Ok(())
    }

    fn apply(&mut self, record: &LogRecord) -> bool {
        let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { return false };
        let outcome = if let Some(name) = key.strip_prefix(CONNECTOR) {
            self.apply_connector(name, record.value.as_deref())
        } else if let Some(name) = key.strip_prefix(TARGET_STATE) {
            self.apply_state(name, record.value.as_deref())
        } else {
            return false;
        };
        match outcome {
            Ok(changed) => {
                self.unreadable.remove(key);
                changed
            }
            Err(why) => {
                // What it said before stays in force: unreadable is not deleted (law 8).
                self.unreadable.insert(key.to_owned(), why);
                true
            }
        }
    }

    fn apply_connector(&mut self, name: &str, value: Option<&[u8]>) -> Result<bool, String> {
        let name: Name = name.parse().map_err(|e| format!("its name is not one: {e}"))?;
        let Some(value) = value else { return Ok(self.connectors.remove(&name).is_some()) };
        let parsed: Properties<'_> =
            serde_json::from_slice(value).map_err(|_| "its value is not a configuration".to_owned())?;
        let config = parsed.properties.into_owned();
        let changed = self.connectors.get(&name) != Some(&config);
        self.connectors.insert(name, config);
        Ok(changed)
    }

    fn apply_state(&mut self, name: &str, value: Option<&[u8]>) -> Result<bool, String> {
        let name: Name = name.parse().map_err(|e| format!("its name is not one: {e}"))?;
        let Some(value) = value else { return Ok(self.states.remove(&name).is_some()) };
        let parsed: State = serde_json::from_slice(value).map_err(|_| "its value is not a target state".to_owned())?;
        let state = match parsed.v2.as_deref().unwrap_or(&parsed.state) {
            "STARTED" => TargetState::Running,
            "PAUSED" => TargetState::Paused,
            "STOPPED" => TargetState::Stopped,
            other => return Err(format!("target state {other} is unknown")),
        };
        let changed = self.state(&name) != state;
        self.states.insert(name, state);
        Ok(changed)
    }
}
