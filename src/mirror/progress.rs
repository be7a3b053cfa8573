//! How far each source partition got, kept in Connect's offsets topic on the destination.
//!
//! Key and value are Java's bytes (`OffsetStorageWriter` with `JsonConverter`, schemas disabled), so that a Java
//! MirrorMaker 2 can take over and hand back. What we know beside that travels in one record header, [`HEADER`], which
//! Java ignores; a record without it was written by Java.
//!
//! Laws: a position is written only after the acknowledgement of everything before it (law 1: the caller passes
//! acknowledged positions, this module can't know); an unreadable record is an error, never "no progress" (law 8).
//! Used by the flow and the lane only.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kafka;
use crate::kafka::log::{KeyedLog, NewRecord};

/// The record header that carries [`Beside`] as JSON.
pub const HEADER: &str = "mk-progress";

/// Format of [`Beside`] that this version writes and the newest it reads.
pub const FORMAT: u32 = 1;

/// Which source partition of which connector: the offsets topic's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Connector name.
    pub connector: String,
    /// Source cluster alias.
    pub cluster: String,
    /// Source topic.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
}

/// A position as the destination holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Next source offset to copy: one past the last replicated record.
    pub next: i64,
    /// What we know beside it; `None` where Java wrote the record.
    pub beside: Option<Beside>,
}

/// What travels in the header: enough to find, after a crash, exactly which records arrived behind the position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Version of this header.
    pub format: u32,
    /// Target offset behind the last acknowledged batch; `None` before the first acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<i64>,
    /// Source topic id, where the broker has ids (KIP-516).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Target topic id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// Leader epoch of the source batch before the position; -1 when unknown (KIP-101).
    pub epoch: i32,
    /// Producer id that writes behind the position; -1 in plain mode.
    pub producer: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The sequence of the first record behind the position.
    pub sequence: i32,
    /// Records behind the position that an earlier identity had already written.
    #[serde(default)]
    pub skip: u64,
}

/// The offsets topic, read once and then kept in step with what is written.
#[derive(Debug)]
pub struct Progress {
    log: tokio::sync::Mutex<KeyedLog>,
    known: Mutex<HashMap<Bytes, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    value: Option<Bytes>,
    beside: Option<Bytes>,
}

/// Progress can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The offsets topic can't be reached.
    #[error("the offsets topic can't be {verb}")]
    Log {
        /// `read` or `written`.
        verb: &'static str,
        /// Why.
        #[source]
        source: kafka::Error,
    },
    /// A record of it can't be understood.
    #[error("the progress record of {topic}-{partition} of connector {connector} can't be read: {why}")]
    Unreadable {
        /// Connector.
        connector: String,
        /// Source topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// What is wrong with it.
        why: String,
    },
}

// === impl Key ===

impl Key {
    /// Java's bytes: `JsonConverter` without schemas over a list of name and `HashMap`, whose order for these three
    /// keys is cluster, partition, topic.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = String::from("[");
        push_json(&mut out, &self.connector);
        out.push_str(",{\"cluster\":");
        push_json(&mut out, &self.cluster);
        out.push_str(&format!(",\"partition\":{},\"topic\":", self.partition));
        push_json(&mut out, &self.topic);
        out.push_str("}]");
        Bytes::from(out)
    }
}

impl Key {
    fn unreadable(&self, why: String) -> Error {
        let Self { connector, topic, partition, .. } = self;
        Error::Unreadable { connector: connector.clone(), topic: topic.clone(), partition: *partition, why }
    }
}

/// Jackson's default escaping: quote, backslash and control characters (upper-case hex); all else as UTF-8.
fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

// === impl Position ===

impl Position {
    /// The value as Java writes it: the offset of the last replicated record.
    #[must_use]
    pub fn value(&self) -> Bytes {
        Bytes::from(format!("{{\"offset\":{}}}", self.next - 1))
    }

    fn decode(value: &[u8], beside: Option<&[u8]>) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        struct Value {
            offset: Option<i64>,
        }
        let value: Option<Value> =
            serde_json::from_slice(value).map_err(|e| format!("its value is not a Connect offset: {e}"))?;
        let beside: Option<Beside> = beside
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|e| format!("its {HEADER} header is not readable: {e}"))?;
        if let Some(beside) = &beside
            && beside.format > FORMAT
        {
            return Err(format!(
                "its {HEADER} header has format {}, this version reads up to {FORMAT}: run the newer mirrorkeeper again",
                beside.format
            ));
        }
        Ok(value.and_then(|v| v.offset).map(|offset| Self { next: offset + 1, beside }))
    }
}

// === impl Progress ===

impl Progress {
    /// Progress over the opened offsets topic; call [`Progress::refresh`] before the first look-up.
    #[must_use]
    pub fn new(log: KeyedLog) -> Self {
        Self { log: tokio::sync::Mutex::new(log), known: Mutex::new(HashMap::new()) }
    }

    /// Reads what was written since the last call; to be called whenever ownership may have changed.
    ///
    /// # Errors
    /// The topic can't be read to its end; what was known stays.
    pub async fn refresh(&self) -> Result<(), Error> {
        let records =
            self.log.lock().await.read_to_end().await.map_err(|source| Error::Log { verb: "read", source })?;
        let mut known = self.known();
        for record in records {
            let Some(key) = record.key else { continue };
            let beside = record.headers.iter().find(|(name, _)| name == HEADER.as_bytes()).and_then(|(_, v)| v.clone());
            known.insert(key, Known { value: record.value, beside });
        }
        Ok(())
    }

    /// The position of one partition, `None` where none was ever written or it was reset.
    ///
    /// # Errors
    /// [`Error::Unreadable`]: a record is there that can't be understood.
    pub fn get(&self, key: &Key) -> Result<Option<Position>, Error> {
        let known = self.known().get(&key.to_bytes()).cloned();
        let Some(Known { value: Some(value), beside }) = known else { return Ok(None) };
        Position::decode(&value, beside.as_deref()).map_err(|why| key.unreadable(why))
    }

    /// Writes positions and returns when all are acknowledged.
    ///
    /// # Errors
    /// The topic can't be written; none, some or all of the positions may be there: write them again.
    pub async fn put(&self, positions: Vec<(Key, Position)>) -> Result<(), Error> {
        let mut records = Vec::with_capacity(positions.len());
        let mut updates = Vec::with_capacity(positions.len());
        for (key, position) in positions {
            let beside = position.beside.as_ref().map(|b| {
                Bytes::from(serde_json::to_vec(b).expect("a struct of numbers and strings always serialises"))
            });
            let (key, value) = (key.to_bytes(), position.value());
            let headers = beside.iter().map(|b| (Bytes::from_static(HEADER.as_bytes()), Some(b.clone()))).collect();
            records.push(NewRecord { key: key.clone(), value: Some(value.clone()), headers });
            updates.push((key, Known { value: Some(value), beside }));
        }
        self.log.lock().await.append(records).await.map_err(|source| Error::Log { verb: "written", source })?;
        self.known().extend(updates);
        Ok(())
    }

    /// All positions of one connector.
    ///
    /// # Errors
    /// [`Error::Unreadable`]: one of them can't be understood.
    pub fn of_connector(&self, connector: &str) -> Result<Vec<(Key, Position)>, Error> {
        let known = self.known();
        known
            .iter()
            .filter_map(|(key, known)| {
                let key = parse_key(key).filter(|key| key.connector == connector)?;
                let value = known.value.as_ref()?;
                match Position::decode(value, known.beside.as_deref()) {
                    Ok(position) => Some(Ok((key, position?))),
                    Err(why) => Some(Err(key.unreadable(why))),
                }
            })
            .collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Bytes, Known>> {
        // A poisoned map still holds whole entries: each insert is one step.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn parse_key(bytes: &[u8]) -> Option<Key> {
    #[derive(Deserialize)]
    struct Source {
        cluster: String,
        partition: i32,
        topic: String,
    }
    let (connector, source): (String, Source) = serde_json::from_slice(bytes).ok()?;
    Some(Key { connector, cluster: source.cluster, topic: source.topic, partition: source.partition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_value_are_javas_bytes() {
        let key =
            Key { connector: "MirrorSourceConnector".into(), cluster: "A".into(), topic: "t".into(), partition: 0 };
        assert_eq!(&key.to_bytes()[..], br#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]"#);
        assert_eq!(&Position { next: 124, beside: None }.value()[..], br#"{"offset":123}"#);
        assert_eq!(parse_key(&key.to_bytes()), Some(key));
    }

    #[test]
    fn names_are_escaped_as_jackson_escapes() {
        let key = Key { connector: "a\"b\\\u{1f}ü/".into(), cluster: "A".into(), topic: "t".into(), partition: 1 };
        let expected = "[\"a\\\"b\\\\\\u001Fü/\",{\"cluster\":\"A\",\"partition\":1,\"topic\":\"t\"}]";
        assert_eq!(std::str::from_utf8(&key.to_bytes()), Ok(expected));
    }

    #[test]
    fn a_record_of_java_has_nothing_beside() {
        assert_eq!(Position::decode(br#"{"offset":7}"#, None), Ok(Some(Position { next: 8, beside: None })));
        assert_eq!(Position::decode(b"null", None), Ok(None));
    }

    #[test]
    fn unreadable_is_not_absent() {
        assert!(Position::decode(b"{", None).is_err());
        assert!(Position::decode(br#"{"offset":7}"#, Some(b"{}")).is_err());
        let newer = br#"{"format":2,"epoch":0,"producer":1,"producer_epoch":0,"sequence":0}"#;
        assert!(Position::decode(br#"{"offset":7}"#, Some(newer)).unwrap_err().contains("format 2"));
    }
}
