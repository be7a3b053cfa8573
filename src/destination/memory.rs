//! The state in memory: for tests, and for looking at a repository without a destination.

use std::sync::{Mutex, PoisonError};

use super::state::{Record, State, StateError, StateStore};

/// Keeps encoded records, so that everything passes through the bytes of the real topic.
#[derive(Debug, Default)]
pub struct MemoryStore {
    log: Mutex<Vec<(String, Option<Vec<u8>>)>>,
}

impl MemoryStore {
    /// How many records were ever written.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn fold(&self) -> Result<State, StateError> {
        let mut state = State::default();
        for (key, value) in self.log.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(record) = Record::decode(key, value.as_deref())? {
                state.put(record);
            }
        }
        Ok(state)
    }
}

impl StateStore for MemoryStore {
    async fn load(&self) -> Result<State, StateError> {
        self.fold()
    }

    async fn write(&self, records: Vec<Record>) -> Result<(), StateError> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).extend(records.iter().map(Record::encode));
        Ok(())
    }
}
