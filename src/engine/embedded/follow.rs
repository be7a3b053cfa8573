//! What the engine does by itself: it follows the config topic and the group, for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::flows::{self, Wanted};
use super::{Inner, Owned, Ownership, STARTING_AT_ONCE, TAIL_EVERY};
use crate::destination::configs::Configs;
use crate::kafka;
use crate::mirror::flow;
use crate::mirror::lanes::Lanes;
use crate::mirror::progress::Progress;

/// Ends producing the moment the group is lost, whatever the flows' own task is waiting for.
pub(super) async fn guard(inner: Arc<Inner>) {
    let mut ownership = inner.ownership.clone();
    while ownership.changed().await.is_ok() {
        if *ownership.borrow_and_update() != Ownership::Held {
            inner.end_producing();
        }
    }
}

/// Makes the flows follow the config topic and the group, for ever.
pub(super) async fn follow(inner: Arc<Inner>) {
    let mut ownership = inner.ownership.clone();
    loop {
        let held = *ownership.borrow_and_update() == Ownership::Held;
        if !inner.stopping.load(Ordering::SeqCst) {
            inner.let_go_when_lost(held);
            if held {
                let opened = tokio::select! {
                    opened = inner.open() => opened,
                    // A destination that does not answer must not hold up the letting go.
                    _ = ownership.wait_for(|ownership| *ownership != Ownership::Held) => continue,
                };
                if let Err(why) = opened {
                    tracing::warn!(%why, "the destination's topics can't be opened");
                    inner.running().opening = Some(why);
                }
                inner.reconcile();
            }
        }
        tokio::select! {
            () = inner.changed.notified() => {}
            changed = ownership.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TAIL_EVERY) => {}
        }
    }
}

impl Inner {
    /// One writer: whatever is in flight is dropped with the flows and lanes, now. The group may be held again already; then
    /// everything is read anew, and what is ours is told anew, since another process may have changed both.
    fn let_go_when_lost(&self, held: bool) {
        let lost = !held || self.producing().is_none();
        let mut running = self.running();
        if lost && running.owned.take().is_some() {
            tracing::warn!("the group was lost, what was produced is found out at the next start");
            running.flows.drop_all();
            running.adopted.clear();
            // Another process may have written other ones; the topic would not show it.
            running.whole.clear();
        }
    }

    async fn open(&self) -> Result<(), String> {
        let mut configs = self.configs.lock().await;
        let opened = self.running().owned.is_some();
        if let Some(configs) = configs.as_mut().filter(|_| opened) {
            if configs.refresh().await.map_err(|e| flows::chain(&e))? {
                self.publish(configs);
                self.news.send_modify(|count| *count += 1);
            }
            return Ok(());
        }
        *configs = None;
        let offsets = kafka::log::KeyedLog::open(&self.target, self.settings.offsets.clone()).await;
        let progress = Arc::new(Progress::new(offsets.map_err(|e| flows::chain(&e))?));
        progress.refresh().await.map_err(|e| flows::chain(&e))?;
        let log = kafka::log::KeyedLog::open(&self.target, self.settings.configs.clone()).await;
        let mut fresh = Configs::new(log.map_err(|e| flows::chain(&e))?);
        fresh.refresh().await.map_err(|e| flows::chain(&e))?;
        let budget = kafka::fetch::Budget::new(self.settings.memory);
        let lanes = Arc::new(Lanes::new(self.target.clone(), progress, budget));
        let starting = Arc::new(tokio::sync::Semaphore::new(STARTING_AT_ONCE));
        *self.producing() = Some(lanes.clone());
        {
            let mut running = self.running();
            running.owned = Some(Owned { live: super::live(&fresh), unreadable: fresh.unreadable(), lanes, starting });
            running.opening = None;
        }
        *configs = Some(fresh);
        if self.standby().is_some() {
            // Lost while the topics were being opened: the guard may have come too early.
            self.end_producing();
        }
        self.news.send_modify(|count| *count += 1);
        Ok(())
    }

    fn reconcile(&self) {
        let mut running = self.running();
        let Some(owned) = &running.owned else { return };
        let context = flow::Context {
            lanes: owned.lanes.clone(),
            group: self.settings.group.clone(),
            starting: owned.starting.clone(),
        };
        let wanted: Vec<_> = owned
            .live
            .iter()
            .filter_map(|(name, (config, state))| {
                let clusters = running.adopted.get(name)?.clone();
                Some(Wanted { name: name.clone(), config: config.clone(), state: *state, clusters })
            })
            .collect();
        if running.flows.follow(wanted, &context, &self.settings) {
            self.news.send_modify(|count| *count += 1);
        }
    }
}
