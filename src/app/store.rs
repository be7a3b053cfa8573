//! The state topic, noted when it was read for the first time: that is what readiness waits for.

use tokio::sync::watch;

use crate::destination::state::{Record, State, StateError, StateStore};

pub(super) struct Noted<S> {
    inner: S,
    loaded: watch::Sender<bool>,
}

impl<S> Noted<S> {
    pub(super) fn new(inner: S) -> (Self, watch::Receiver<bool>) {
        let (loaded, receiver) = watch::channel(false);
        (Self { inner, loaded }, receiver)
    }
}

impl<S: StateStore> StateStore for Noted<S> {
    async fn load(&mut self) -> Result<State, StateError> {
        let state = self.inner.load().await?;
        self.loaded.send_replace(true);
        Ok(state)
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<(), StateError> {
        self.inner.write(records).await
    }
}
