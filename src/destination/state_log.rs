//! The state in its compacted topic.

use super::state::{Record, State, StateError, StateStore};
use crate::kafka::log::{KeyedLog, LogSpec, NewRecord};
use crate::kafka::{Cluster, Error};

/// The state topic of one instance. Opened, and created where it is missing, by the first [`StateStore::load`].
#[derive(Debug)]
pub struct StateLog {
    cluster: Cluster,
    spec: LogSpec,
    log: Option<KeyedLog>,
    /// Whether everything in the topic was read and understood: nothing is written before.
    understood: bool,
}

impl StateLog {
    /// The state in `topic`, which gets one partition where it is missing: records of one key must stay in order, and so
    /// must a deed and what follows from it. A replication factor of -1 leaves it to the broker.
    #[must_use]
    pub fn new(cluster: Cluster, topic: impl Into<String>, replication_factor: i16) -> Self {
        let spec = LogSpec { topic: topic.into(), partitions: 1, replication_factor, configs: vec![] };
        Self { cluster, spec, log: None, understood: false }
    }

    /// Reads from the beginning: the topic is small, and what was read before may be of another writer's time.
    async fn read(&mut self) -> Result<State, StateError> {
        if self.log.is_none() {
            let opened = KeyedLog::open(&self.cluster, self.spec.clone()).await;
            self.log = Some(opened.map_err(|error| unavailable("opened", &error))?);
        }
        let Some(log) = &mut self.log else { return Ok(State::default()) };
        log.rewind();
        let mut state = State::default();
        for record in log.read_to_end().await.map_err(|error| unavailable("read", &error))? {
            let key = record.key.as_deref().unwrap_or_default();
            let key = std::str::from_utf8(key).map_err(|_| StateError::Unreadable {
                key: format!("at offset {}", record.offset),
                why: "its key is not UTF-8".to_owned(),
            })?;
            if let Some(record) = Record::decode(key, record.value.as_deref())? {
                state.put(record);
            }
        }
        Ok(state)
    }
}

impl StateStore for StateLog {
    async fn load(&mut self) -> Result<State, StateError> {
        self.understood = false;
        let state = self.read().await?;
        self.understood = true;
        Ok(state)
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<(), StateError> {
        let Some(log) = self.log.as_ref().filter(|_| self.understood) else {
            let why = "it was not read whole before, and may hold what this release doesn't understand";
            return Err(StateError::Unavailable { what: "written", why: why.to_owned() });
        };
        let records = records
            .iter()
            .map(|record| {
                let (key, value) = record.encode();
                NewRecord { key: key.into(), value: value.map(Into::into), headers: vec![] }
            })
            .collect();
        log.append(records).await.map_err(|error| unavailable("written", &error))
    }
}

fn unavailable(what: &'static str, error: &Error) -> StateError {
    // The chain is told whole: a status has no `source()`.
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        why = format!("{why}: {inner}");
        cause = inner.source();
    }
    if let Some(hint) = error.hint() {
        why = format!("{why} ({hint})");
    }
    StateError::Unavailable { what, why }
}
