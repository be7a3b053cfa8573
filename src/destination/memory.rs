//! The state in memory: for tests, and for looking at a repository without a destination.

use super::state::{Record, State, StateError, StateStore};

/// Keeps encoded records, so that everything passes through the bytes of the real topic.
#[derive(Debug, Default)]
pub struct MemoryStore {
    log: Vec<(String, Option<Vec<u8>>)>,
}

impl MemoryStore {
    /// How many records were ever written.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.log.len()
    }

    /// Writes records at once.
    pub fn append(&mut self, records: &[Record]) {
        self.log.extend(records.iter().map(Record::encode));
    }

    /// Everything written, folded.
    ///
    /// # Errors
    /// A record can't be read back.
    pub fn state(&self) -> Result<State, StateError> {
        let mut state = State::default();
        for (key, value) in &self.log {
            if let Some(record) = Record::decode(key, value.as_deref())? {
                state.put(record);
            }
        }
        Ok(state)
    }
}

impl StateStore for MemoryStore {
    async fn load(&mut self) -> Result<State, StateError> {
        self.state()
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<(), StateError> {
        self.append(&records);
        Ok(())
    }
}
