//! The embedded engine: MirrorMaker 2 flows inside this process.
//!
//! What is live is Connect's config topic on the destination; every verb writes there, and one task makes the flows follow
//! it. Control plane and data plane meet here and nowhere else.
//!
//! Laws: nothing is written to the destination before the group is held, and everything stops when it is lost (one
//! writer); a connector nobody adopted is listed and never run (law 6); one connector's failure leaves the others alone
//! (law 7).

mod flows;
mod ownership;
mod translate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};

use super::{ClusterIds, Engine, Error, Estimate, Live, Observed, RestartScope};
use crate::destination::configs::Configs;
use crate::kafka::{self, Cluster};
use crate::mirror::flow;
use crate::mirror::lanes::Lanes;
use crate::mirror::progress::{self, Progress};
use crate::spec::{Config, Name, TargetState};
use crate::supervise::{self, Task};

use flows::Wanted;

pub use ownership::Ownership;

/// What the engine needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `group.id` on the destination.
    pub group: String,
    /// Static member name (`instance-id`).
    pub instance_id: String,
    /// Connect's offsets topic.
    pub offsets: kafka::log::LogSpec,
    /// Connect's config topic.
    pub configs: kafka::log::LogSpec,
    /// Bytes of data in flight.
    pub memory: usize,
    /// After how long without an acknowledgement a flow with work is stalled.
    pub stall_after: Duration,
    /// How long a flow may take to drain.
    pub grace: Duration,
    /// `producer.` of the worker file, without the prefix: the data producer's settings beneath a connector's overrides.
    pub producer: Config,
}

/// The embedded engine. Cheap to clone; the flows end with [`Embedded::shut_down`] or the last clone.
#[derive(Debug, Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
    _tasks: Arc<[Task<()>; 3]>,
}

#[derive(Debug)]
struct Inner {
    target: Cluster,
    settings: Settings,
    ownership: watch::Receiver<Ownership>,
    running: Mutex<Running>,
    /// Something changed that the flows have to follow.
    changed: Notify,
    /// Counts what others wrote to the config topic, so that somebody may look at once.
    news: watch::Sender<u64>,
    /// Told once: the group is left and not joined again.
    leaving: watch::Sender<bool>,
    stopping: std::sync::atomic::AtomicBool,
    /// What produces now: ended without waiting for anybody when the group is lost.
    producing: std::sync::Mutex<Option<Arc<Lanes>>>,
}

/// What exists while the group is held.
#[derive(Debug, Default)]
struct Running {
    owned: Option<Owned>,
    adopted: BTreeMap<Name, ClusterIds>,
    flows: flows::Flows,
    /// Why the topics could not be opened, while they can't.
    opening: Option<String>,
}

#[derive(Debug)]
struct Owned {
    configs: Configs,
    lanes: Arc<Lanes>,
    starting: Arc<tokio::sync::Semaphore>,
}

/// Flows that may connect and discover at the same time.
const STARTING_AT_ONCE: usize = 16;

/// How long leaving the group may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How often the config topic is read for what others wrote.
const TAIL_EVERY: Duration = Duration::from_secs(2);

// === impl Embedded ===

impl Embedded {
    /// Starts joining the group; nothing is written before it is held.
    #[must_use]
    pub fn start(target: Cluster, settings: Settings) -> Self {
        let (owner, ownership) = watch::channel(Ownership::Joining);
        let (leaving, left) = watch::channel(false);
        let join = supervise::spawn("membership", ownership::hold(target.clone(), settings.clone(), owner, left));
        let inner = Arc::new(Inner {
            target,
            settings,
            ownership,
            running: Mutex::default(),
            changed: Notify::new(),
            news: watch::channel(0).0,
            leaving,
            stopping: std::sync::atomic::AtomicBool::new(false),
            producing: std::sync::Mutex::new(None),
        });
        let follow = supervise::spawn("flows", follow(inner.clone()));
        let guard = supervise::spawn("one writer", guard(inner.clone()));
        Self { inner, _tasks: Arc::new([join, follow, guard]) }
    }

    /// Who holds the group, as it changes.
    #[must_use]
    pub fn ownership(&self) -> watch::Receiver<Ownership> {
        self.inner.ownership.clone()
    }

    /// Changes whenever somebody else wrote to the config topic.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }

    /// Stops every flow, awaiting what is in flight and writing progress, within the grace time. The names of those that
    /// did not end in time.
    pub async fn shut_down(&self) -> Vec<String> {
        self.inner.stopping.store(true, std::sync::atomic::Ordering::SeqCst);
        let flows = std::mem::take(&mut self.inner.running.lock().await.flows);
        let stragglers = flows.stop_all(self.inner.settings.grace).await;
        // The next in line need not wait for the session time-out.
        self.inner.leaving.send_replace(true);
        let mut ownership = self.inner.ownership.clone();
        let left = ownership.wait_for(|ownership| *ownership != Ownership::Held);
        if tokio::time::timeout(LEAVE_WITHIN, left).await.is_err() {
            tracing::warn!("the group was not left in time; its session runs out by itself");
        }
        stragglers
    }

    /// Names of flows that still run, for "still draining" lines.
    pub async fn running(&self) -> Vec<String> {
        self.inner.running.lock().await.flows.names()
    }
}

impl Engine for Embedded {
    async fn observe(&self) -> Result<Live, Error> {
        if let Some(why) = self.inner.standby() {
            return Err(Error::Unavailable { what: "asking the engine".into(), why });
        }
        let running = self.inner.running.lock().await;
        let owned = running.owned()?;
        let mut live = Live::default();
        for (name, config) in owned.configs.connectors() {
            let adopted = running.adopted.contains_key(name);
            let state = owned.configs.state(name);
            let flow = adopted.then(|| running.flows.report(name, config, state, &self.inner.settings)).flatten();
            live.connectors.insert(name.clone(), Observed { config: config.clone(), state, adopted, flow });
        }
        Ok(live)
    }

    async fn put(&self, name: &Name, config: &Config) -> Result<(), Error> {
        let mut running = self.inner.running.lock().await;
        let owned = running.owned_mut()?;
        if owned.configs.connectors().get(name) == Some(config) {
            return Ok(());
        }
        owned.configs.put(name, config).await.map_err(|e| failed("writing the configuration of", name, &e))?;
        drop(running);
        self.inner.changed.notify_one();
        Ok(())
    }

    async fn adopt(&self, name: &Name, clusters: &ClusterIds) -> Result<(), Error> {
        let mut running = self.inner.running.lock().await;
        if !running.owned()?.configs.connectors().contains_key(name) {
            return Err(Error::NotFound(name.clone()));
        }
        if running.adopted.insert(name.clone(), clusters.clone()).as_ref() != Some(clusters) {
            self.inner.changed.notify_one();
        }
        Ok(())
    }

    async fn rename(&self, from: &Name, to: &Name, config: &Config) -> Result<(), Error> {
        let mut running = self.inner.running.lock().await;
        if running.owned()?.configs.connectors().contains_key(from) {
            // The old flow must be still before its positions are copied, or the new one would begin behind it.
            if let Some(straggler) = running.flows.stop(from, self.inner.settings.grace).await {
                return Err(Error::Unavailable {
                    what: format!("renaming {from}"),
                    why: format!("{straggler} did not drain in time"),
                });
            }
            running.adopted.remove(from);
            let progress = running.owned()?.lanes.progress().clone();
            let positions: Vec<_> = progress
                .of_connector(from.as_str())
                .into_iter()
                .map(|(key, position)| (progress::Key { connector: to.to_string(), ..key }, position))
                .collect();
            progress.put(positions).await.map_err(|e| Error::Failed {
                what: format!("copying the positions of {from}"),
                why: flows::chain(&e),
            })?;
        }
        let owned = running.owned_mut()?;
        owned.configs.put(to, config).await.map_err(|e| failed("writing the configuration of", to, &e))?;
        if owned.configs.connectors().contains_key(from) {
            let state = owned.configs.state(from);
            owned.configs.set_state(to, state).await.map_err(|e| failed("writing the state of", to, &e))?;
            owned.configs.remove(from).await.map_err(|e| failed("removing", from, &e))?;
        }
        drop(running);
        self.inner.changed.notify_one();
        Ok(())
    }

    async fn set_state(&self, name: &Name, state: TargetState) -> Result<(), Error> {
        let mut running = self.inner.running.lock().await;
        let owned = running.owned_mut()?;
        if !owned.configs.connectors().contains_key(name) {
            return Err(Error::NotFound(name.clone()));
        }
        if owned.configs.state(name) == state {
            return Ok(());
        }
        owned.configs.set_state(name, state).await.map_err(|e| failed("writing the state of", name, &e))?;
        drop(running);
        self.inner.changed.notify_one();
        Ok(())
    }

    async fn restart(&self, name: &Name, scope: RestartScope) -> Result<(), Error> {
        let mut running = self.inner.running.lock().await;
        if !running.owned()?.configs.connectors().contains_key(name) {
            return Err(Error::NotFound(name.clone()));
        }
        if scope.only_failed && !running.flows.failed(name, &self.inner.settings) {
            return Ok(());
        }
        if let Some(straggler) = running.flows.stop(name, self.inner.settings.grace).await {
            tracing::warn!(connector = %straggler, "did not drain in time, starting anew all the same");
        }
        drop(running);
        self.inner.changed.notify_one();
        Ok(())
    }

    async fn delete(&self, name: &Name) -> Result<(), Error> {
        let mut running = self.inner.running.lock().await;
        running.owned()?;
        if let Some(straggler) = running.flows.stop(name, self.inner.settings.grace).await {
            tracing::warn!(connector = %straggler, "did not drain in time, removed all the same");
        }
        running.adopted.remove(name);
        let owned = running.owned_mut()?;
        if !owned.configs.connectors().contains_key(name) {
            return Ok(());
        }
        owned.configs.remove(name).await.map_err(|e| failed("removing", name, &e))
    }

    async fn estimate(&self, name: &Name, config: &Config) -> Result<Estimate, Error> {
        let (lanes, settings) = {
            let running = self.inner.running.lock().await;
            (running.owned()?.lanes.clone(), self.inner.settings.clone())
        };
        translate::estimate(name, config, &settings, &lanes).await
    }
}

// === impl Inner ===

/// Ends producing the moment the group is lost, whatever the flows' own task is waiting for.
async fn guard(inner: Arc<Inner>) {
    let mut ownership = inner.ownership.clone();
    while ownership.changed().await.is_ok() {
        if *ownership.borrow_and_update() != Ownership::Held {
            inner.end_producing();
        }
    }
}

impl Inner {
    fn producing(&self) -> std::sync::MutexGuard<'_, Option<Arc<Lanes>>> {
        // An option is replaced in one step.
        self.producing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn end_producing(&self) {
        if let Some(lanes) = self.producing().take() {
            lanes.kill();
        }
    }
}

impl Inner {
    fn standby(&self) -> Option<String> {
        match &*self.ownership.borrow() {
            Ownership::Held => None,
            Ownership::Joining => Some(format!("joining group {}", self.settings.group)),
            Ownership::Waiting(why) => Some(why.clone()),
        }
    }
}

impl Running {
    fn owned(&self) -> Result<&Owned, Error> {
        self.owned.as_ref().ok_or_else(|| self.unavailable())
    }

    fn owned_mut(&mut self) -> Result<&mut Owned, Error> {
        if self.owned.is_none() {
            return Err(self.unavailable());
        }
        self.owned.as_mut().ok_or_else(|| Error::Unavailable { what: "the engine".into(), why: "starting".into() })
    }

    fn unavailable(&self) -> Error {
        let why = self.opening.clone().unwrap_or_else(|| "it does not hold the group yet".to_owned());
        Error::Unavailable { what: "asking the engine".to_owned(), why }
    }
}

/// Makes the flows follow the config topic and the group, for ever.
async fn follow(inner: Arc<Inner>) {
    let mut ownership = inner.ownership.clone();
    loop {
        let held = *ownership.borrow_and_update() == Ownership::Held;
        if !inner.stopping.load(std::sync::atomic::Ordering::SeqCst) {
            let mut running = inner.running.lock().await;
            let lost = !held || inner.producing().is_none();
            if lost && running.owned.take().is_some() {
                // One writer: whatever is in flight is dropped with the flows and lanes, now. The group may be held again
                // already; then everything is read anew.
                tracing::warn!("the group was lost, what was produced is found out at the next start");
                running.flows = flows::Flows::default();
            }
            if held {
                if let Err(why) = inner.open(&mut running).await {
                    tracing::warn!(%why, "the destination's topics can't be opened");
                    running.opening = Some(why);
                }
                inner.reconcile(&mut running).await;
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
    async fn open(&self, running: &mut Running) -> Result<(), String> {
        if let Some(owned) = &mut running.owned {
            if owned.configs.refresh().await.map_err(|e| flows::chain(&e))? {
                self.news.send_modify(|count| *count += 1);
            }
            return Ok(());
        }
        let offsets = kafka::log::KeyedLog::open(&self.target, self.settings.offsets.clone()).await;
        let progress = Arc::new(Progress::new(offsets.map_err(|e| flows::chain(&e))?));
        progress.refresh().await.map_err(|e| flows::chain(&e))?;
        let log = kafka::log::KeyedLog::open(&self.target, self.settings.configs.clone()).await;
        let mut configs = Configs::new(log.map_err(|e| flows::chain(&e))?);
        configs.refresh().await.map_err(|e| flows::chain(&e))?;
        let budget = kafka::fetch::Budget::new(self.settings.memory);
        let lanes = Arc::new(Lanes::new(self.target.clone(), progress, budget));
        let starting = Arc::new(tokio::sync::Semaphore::new(STARTING_AT_ONCE));
        *self.producing() = Some(lanes.clone());
        running.owned = Some(Owned { configs, lanes, starting });
        if self.standby().is_some() {
            // Lost while the topics were being opened: the guard may have come too early.
            self.end_producing();
        }
        running.opening = None;
        self.news.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn reconcile(&self, running: &mut Running) {
        let Some(owned) = &running.owned else { return };
        let context = flow::Context {
            lanes: owned.lanes.clone(),
            group: self.settings.group.clone(),
            starting: owned.starting.clone(),
        };
        let wanted: Vec<_> = owned
            .configs
            .connectors()
            .iter()
            .filter_map(|(name, config)| {
                let clusters = running.adopted.get(name)?.clone();
                Some(Wanted { name: name.clone(), config: config.clone(), state: owned.configs.state(name), clusters })
            })
            .collect();
        running.flows.follow(wanted, &context, &self.settings).await;
    }
}

fn failed(what: &str, name: &Name, error: &kafka::Error) -> Error {
    Error::Failed { what: format!("{what} {name}"), why: flows::chain(error) }
}
