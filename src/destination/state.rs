//! The state topic's model: records, their keys and bytes, and the store they lie in.
//!
//! Keys are text, values JSON objects with `"format": 1`:
//!
//! | key | value |
//! |---|---|
//! | `applied/<name>` | [`Applied`]: what was last applied under that name |
//! | `hold/instance`, `hold/connector/<name>` | [`Hold`] |
//! | `history/<n>` | [`HistoryEntry`]; `n` runs round a ring of [`HISTORY`] |
//! | `fingerprint-key` | [`FingerprintKey`] |
//!
//! A null value means "gone", as in every compacted topic. Keys that this release does not know are left alone.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use base64::Engine as _;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{Config, Name, TargetState};

/// The format of values that this release writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// How many passes the history keeps.
pub const HISTORY: u64 = 50;

/// The longest value that is read, in bytes: a connector file's limit with room for the record around it.
const MAX_VALUE: usize = 4 * 1024 * 1024;

/// Everything in the state topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// What was applied, by name: the base of the three-way comparison, and the proof of ownership (law 6).
    pub applied: BTreeMap<Name, Applied>,
    /// What somebody asked us to leave alone, also what has expired and was not yet removed.
    pub holds: BTreeMap<HoldScope, Hold>,
    /// The last passes that did something, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The instance's key for fingerprints; `None` until the first write.
    pub fingerprint_key: Option<FingerprintKey>,
}

/// What was last applied under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The normalised properties; in place of every literal secret its keyed fingerprint.
    pub config: Config,
    /// The target state that was asked for.
    pub state: TargetState,
    /// The revision that said so.
    pub revision: String,
    /// Path of the file in the repository.
    pub path: String,
    /// The file's source folder.
    pub source: String,
    /// Identity of the file's content.
    pub blob: String,
    /// When.
    pub at: Timestamp,
    /// The instance that did: `<environment>/<destination>`, and its source folders where it is limited to some.
    pub owner: String,
    /// The source cluster's id, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_cluster_id: Option<String>,
    /// The target cluster's id, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster_id: Option<String>,
    /// Keyed fingerprint of the whole configuration.
    pub config_hash: String,
}

/// What a hold covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldScope {
    /// Every connector of the instance.
    Instance,
    /// One connector.
    Connector(Name),
}

/// Somebody asked us to leave something alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; without it, until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One pass that did something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Counts up by one; its place in the ring is the remainder by [`HISTORY`].
    pub sequence: u64,
    /// The revision that was applied.
    pub revision: String,
    /// What woke the pass.
    pub trigger: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// What was done, in order.
    pub steps: Vec<HistoryStep>,
}

/// One step of a past pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryStep {
    /// The connector; empty for a step about the whole instance.
    pub name: String,
    /// The action's word: `create`, `update`, ...
    pub action: String,
    /// The keys that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Why it failed; without it, it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// The secret with which fingerprints of secrets are made.
///
/// It lies in the state topic because fingerprints must be comparable after any restart, on any machine, and nothing else
/// survives. So it protects against readers of status, plans, logs, history exports and metrics, who can't try
/// passwords against a fingerprint; whoever may read the state topic may read the config topic beside it too.
#[derive(Clone, PartialEq, Eq)]
pub struct FingerprintKey([u8; 32]);

/// One record to be written, or one that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Something was applied; `None` forgets it.
    Applied(Name, Option<Box<Applied>>),
    /// A hold begins or, with `None`, ends.
    Hold(HoldScope, Option<Hold>),
    /// A pass for the ring.
    History(HistoryEntry),
    /// The fingerprint key, written once.
    FingerprintKey(FingerprintKey),
}

/// Where the state lies.
pub trait StateStore: Send + Sync + 'static {
    /// The whole state as of the call.
    ///
    /// # Errors
    /// It can't be read whole: unreachable, unreadable, or written by a newer release.
    fn load(&mut self) -> impl Future<Output = Result<State, StateError>> + Send;

    /// Writes records in order; they are durable when it returns.
    ///
    /// # Errors
    /// Some may not have been written; writing them again is harmless.
    fn write(&mut self, records: Vec<Record>) -> impl Future<Output = Result<(), StateError>> + Send;
}

/// The state can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A newer release wrote it.
    #[error(
        "record {key} of the state topic has format {found}, written by a newer release; this one reads up to {FORMAT} and writes nothing: run the newer release"
    )]
    Newer {
        /// Key of the record.
        key: String,
        /// Its format.
        found: u32,
    },
    /// A record is not what its key says.
    #[error("record {key} of the state topic can't be read: {why}")]
    Unreadable {
        /// Key of the record.
        key: String,
        /// Why; quotes no value.
        why: String,
    },
    /// The topic can't be reached, or refuses.
    #[error("the state topic can't be {what}: {why}")]
    Unavailable {
        /// `opened`, `read` or `written`.
        what: &'static str,
        /// Why, and what to do.
        why: String,
    },
}

/// A value with its format, as it lies in the topic.
#[derive(Serialize, Deserialize)]
struct Formatted<T> {
    format: u32,
    #[serde(flatten)]
    value: T,
}

/// Only the format, to be read before anything else of the value is.
#[derive(Deserialize)]
struct Probe {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    key: String,
}

// === impl State ===

impl State {
    /// Folds one record in; later ones win, as in a compacted topic.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::Applied(name, Some(applied)) => {
                self.applied.insert(name, *applied);
            }
            Record::Applied(name, None) => {
                self.applied.remove(&name);
            }
            Record::Hold(scope, Some(hold)) => {
                self.holds.insert(scope, hold);
            }
            Record::Hold(scope, None) => {
                self.holds.remove(&scope);
            }
            Record::History(entry) => {
                self.history.retain(|e| e.sequence % HISTORY != entry.sequence % HISTORY);
                let place = self.history.partition_point(|e| e.sequence < entry.sequence);
                self.history.insert(place, entry);
            }
            Record::FingerprintKey(key) => self.fingerprint_key = Some(key),
        }
    }

    /// The hold that covers a connector now: its own before the instance's.
    #[must_use]
    pub fn hold_on(&self, name: &Name, now: Timestamp) -> Option<(HoldScope, &Hold)> {
        [HoldScope::Connector(name.clone()), HoldScope::Instance].into_iter().find_map(|scope| {
            let hold = self.holds.get(&scope)?;
            hold.active(now).then_some((scope, hold))
        })
    }

    /// The number of the next history entry.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.history.last().map_or(0, |e| e.sequence + 1)
    }
}

impl Hold {
    /// Whether it has not ended yet.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instance"),
            Self::Connector(name) => write!(f, "connector/{name}"),
        }
    }
}

impl FingerprintKey {
    /// A fresh random key.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The key's bytes, for [`Config::fingerprinted`].
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for FingerprintKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(***)")
    }
}

// === impl Record ===

impl Record {
    /// The record's key and value as they lie in the topic; no value means "gone".
    #[must_use]
    pub fn encode(&self) -> (String, Option<Vec<u8>>) {
        match self {
            Self::Applied(name, applied) => (format!("applied/{name}"), applied.as_deref().map(formatted)),
            Self::Hold(scope, hold) => (format!("hold/{scope}"), hold.as_ref().map(formatted)),
            Self::History(entry) => (format!("history/{}", entry.sequence % HISTORY), Some(formatted(entry))),
            Self::FingerprintKey(key) => {
                let key = base64::engine::general_purpose::STANDARD.encode(key.0);
                ("fingerprint-key".to_owned(), Some(formatted(&StoredKey { key })))
            }
        }
    }

    /// Reads a record of the topic; `None` for keys that this release doesn't know.
    ///
    /// # Errors
    /// The value's format is newer than [`FORMAT`] (also under an unknown key, since then a newer release writes here), or
    /// the value isn't what the key says.
    pub fn decode(key: &str, value: Option<&[u8]>) -> Result<Option<Self>, StateError> {
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        let unreadable = |why: &str| StateError::Unreadable { key: key.to_owned(), why: why.to_owned() };
        if value.is_some_and(|v| v.len() > MAX_VALUE) {
            return Err(unreadable("the value is longer than 4 MiB"));
        }
        if let Some(value) = value {
            let probe: Probe = serde_json::from_slice(value).map_err(|_| unreadable("no JSON object with a format"))?;
            if probe.format > FORMAT {
                return Err(StateError::Newer { key: key.to_owned(), found: probe.format });
            }
        }
        let name = |text: &str| text.parse::<Name>().map_err(|e| unreadable(&e.to_string()));
        Ok(Some(match (kind, value) {
            ("applied", None) => Self::Applied(name(rest)?, None),
            ("applied", Some(value)) => Self::Applied(name(rest)?, Some(Box::new(parsed(key, value)?))),
            ("hold", _) => {
                let scope = match rest.split_once('/') {
                    None if rest == "instance" => HoldScope::Instance,
                    Some(("connector", connector)) => HoldScope::Connector(name(connector)?),
                    // A scope of a later release, in a format that this one reads: something it can't honour.
                    _ => return Err(unreadable("a hold on something this release doesn't know")),
                };
                Self::Hold(scope, value.map(|v| parsed(key, v)).transpose()?)
            }
            ("history", Some(value)) => Self::History(parsed(key, value)?),
            ("fingerprint-key", Some(value)) => {
                let stored: StoredKey = parsed(key, value)?;
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(stored.key)
                    .ok()
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .ok_or_else(|| unreadable("the key is not 32 bytes in base64"))?;
                Self::FingerprintKey(FingerprintKey(bytes))
            }
            _ => return Ok(None),
        }))
    }
}

fn formatted<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(&Formatted { format: FORMAT, value }).expect("state values have text keys and finite numbers")
}

/// Says where the value is wrong without quoting it: serde's own message may hold a piece of the value.
fn parsed<T: for<'de> Deserialize<'de>>(key: &str, value: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice::<Formatted<T>>(value).map(|formatted| formatted.value).map_err(|error| {
        StateError::Unreadable {
            key: key.to_owned(),
            why: format!("a field is missing or of the wrong type (line {}, column {})", error.line(), error.column()),
        }
    })
}

#[cfg(test)]
mod tests;
