//! Our state on the destination: the compacted topic `mirrorkeeper-state-<environment>-<destination>`.
//!
//! The topic is opened with the first load, which the loop does only while this process holds the group: before that
//! nothing is created.

use bytes::Bytes;
use tokio::sync::Mutex;

use super::state::{Record, State, StateError, StateStore};
use crate::kafka::log::{KeyedLog, LogSpec, NewRecord};
use crate::kafka::{Cluster, Error};

/// The state topic.
#[derive(Debug)]
pub struct StateLog {
    cluster: Cluster,
    spec: LogSpec,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    log: KeyedLog,
    state: State,
    /// A record that can't be used: nothing is written until a restart reads the topic whole (law 8).
    refused: Option<StateError>,
}

impl StateLog {
    /// The topic of `spec` on `cluster`; nothing happens yet.
    #[must_use]
    pub fn new(cluster: Cluster, spec: LogSpec) -> Self {
        Self { cluster, spec, open: Mutex::new(None) }
    }

    /// Forgets what was read, because another process may have written: the next load reads the topic from its beginning.
    pub async fn forget(&self) {
        *self.open.lock().await = None;
    }
}

impl Open {
    async fn catch_up(&mut self) -> Result<(), StateError> {
        let records = self.log.read_to_end().await.map_err(|e| unavailable("read", &e))?;
        for record in records {
            let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { continue };
            match Record::decode(key, record.value.as_deref()) {
                Ok(Some(record)) => self.state.put(record),
                Ok(None) => {}
                Err(error) => self.refused = Some(error),
            }
        }
        self.refused.clone().map_or(Ok(()), Err)
    }
}

impl StateStore for StateLog {
    async fn load(&self) -> Result<State, StateError> {
        let mut open = self.open.lock().await;
        if open.is_none() {
            let log = KeyedLog::open(&self.cluster, self.spec.clone()).await.map_err(|e| unavailable("opened", &e))?;
            *open = Some(Open { log, state: State::default(), refused: None });
        }
        let Some(open) = open.as_mut() else { return Err(not_open()) };
        open.catch_up().await?;
        Ok(open.state.clone())
    }

    async fn write(&self, records: Vec<Record>) -> Result<(), StateError> {
        let mut open = self.open.lock().await;
        let Some(open) = open.as_mut() else { return Err(not_open()) };
        if let Some(error) = &open.refused {
            return Err(error.clone());
        }
        let encoded = records
            .iter()
            .map(|record| {
                let (key, value) = record.encode();
                NewRecord { key: Bytes::from(key), value: value.map(Bytes::from), headers: Vec::new() }
            })
            .collect();
        open.log.append(encoded).await.map_err(|e| unavailable("written", &e))?;
        for record in records {
            open.state.put(record);
        }
        Ok(())
    }
}

fn not_open() -> StateError {
    StateError::Unavailable { what: "written", why: "it was not read yet".to_owned() }
}

fn unavailable(what: &'static str, error: &Error) -> StateError {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why.push_str(": ");
        why.push_str(&cause.to_string());
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        why.push_str(" (");
        why.push_str(&hint);
        why.push(')');
    }
    StateError::Unavailable { what, why }
}
