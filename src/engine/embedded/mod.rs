//! The embedded engine: MirrorMaker 2 flows inside this process.
//!
//! What is live is Connect's config topic on the destination; every verb writes there, and one task makes the flows follow
//! it. Control plane and data plane meet here and nowhere else.
//!
//! Two locks, never both waited for: what runs is locked for a few instructions, so that looking never waits; the config
//! topic is locked for one read or write of it. A flow that ends does so in a task of its own ([`flows`]).
//!
//! Laws: nothing is written to the destination before the group is held, and everything stops when it is lost (one
//! writer); a connector nobody adopted is listed and never run (law 6); one connector's failure leaves the others alone
//! (law 7).

mod flows;
mod follow;
mod ownership;
mod translate;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::{Notify, watch};

use super::{ClusterIds, Engine, Error, Estimate, Live, Observed, RestartScope};
use crate::destination::configs::Configs;
use crate::kafka::{self, Cluster};
use crate::mirror::lanes::Lanes;
use crate::mirror::progress;
use crate::spec::{Config, Name, TargetState};
use crate::supervise::{self, Task};

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
    /// Literal secrets are left out of the config topic (`config.topic.secrets=omit`).
    pub omit_secrets: bool,
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
    /// The config topic, while the group is held.
    configs: tokio::sync::Mutex<Option<Configs>>,
    running: Mutex<Running>,
    /// Something changed that the flows have to follow.
    changed: Arc<Notify>,
    /// Counts what others wrote to the config topic, so that somebody may look at once.
    news: watch::Sender<u64>,
    /// Told once: the group is left and not joined again.
    leaving: watch::Sender<bool>,
    stopping: std::sync::atomic::AtomicBool,
    /// What produces now: ended without waiting for anybody when the group is lost.
    producing: Mutex<Option<Arc<Lanes>>>,
}

/// What exists while the group is held.
#[derive(Debug)]
struct Running {
    owned: Option<Owned>,
    adopted: BTreeMap<Name, ClusterIds>,
    flows: flows::Flows,
    /// Why the topics could not be opened, while they can't.
    opening: Option<String>,
    /// Whole configurations of which the config topic has no secrets.
    whole: BTreeMap<Name, Config>,
}

#[derive(Debug)]
struct Owned {
    /// What the config topic says.
    live: BTreeMap<Name, (Config, TargetState)>,
    /// What of it can't be understood.
    unreadable: BTreeMap<Name, String>,
    lanes: Arc<Lanes>,
    starting: Arc<tokio::sync::Semaphore>,
}

/// The config topic, locked: nobody else reads or writes it meanwhile.
struct Locked<'a>(tokio::sync::MutexGuard<'a, Option<Configs>>);

/// Flows that may connect and discover at the same time.
const STARTING_AT_ONCE: usize = 16;

/// How long leaving the group may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How often the config topic is read for what others wrote.
const TAIL_EVERY: Duration = Duration::from_secs(2);

/// How long a rename waits for its flow to drain; almost always it takes a few milliseconds. Beyond, it is asked again.
const RENAME_WAITS: Duration = Duration::from_secs(1);

/// For how long a flow that is being renamed is not started anew, should nobody ask again.
const RENAME_WITHIN: Duration = Duration::from_secs(60);

/// What a drain may take beyond the grace time, to end what did not end by itself.
const END_WITHIN: Duration = Duration::from_secs(2);

// === impl Embedded ===

impl Embedded {
    /// Starts joining the group; nothing is written before it is held.
    #[must_use]
    pub fn start(target: Cluster, settings: Settings) -> Self {
        let (owner, ownership) = watch::channel(Ownership::Joining);
        let (leaving, left) = watch::channel(false);
        let join = supervise::spawn("membership", ownership::hold(target.clone(), settings.clone(), owner, left));
        let changed = Arc::new(Notify::new());
        let running = Running {
            owned: None,
            adopted: BTreeMap::new(),
            flows: flows::Flows::new(changed.clone()),
            opening: None,
            whole: BTreeMap::new(),
        };
        let inner = Arc::new(Inner {
            target,
            settings,
            ownership,
            configs: tokio::sync::Mutex::default(),
            running: Mutex::new(running),
            changed,
            news: watch::channel(0).0,
            leaving,
            stopping: std::sync::atomic::AtomicBool::new(false),
            producing: Mutex::new(None),
        });
        let follow = supervise::spawn("flows", follow::follow(inner.clone()));
        let guard = supervise::spawn("one writer", follow::guard(inner.clone()));
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
        let grace = self.inner.settings.grace;
        let drains = self.inner.running().flows.stop_all(grace);
        let stragglers = join_all(drains.into_iter().map(|(name, mut ended)| async move {
            let in_time = tokio::time::timeout(grace + END_WITHIN, ended.wait_for(Option::is_some)).await;
            // A drain that is gone without a word went with the group.
            let in_time = matches!(in_time, Ok(Ok(said)) if *said == Some(true));
            (!in_time).then_some(name)
        }));
        let stragglers = stragglers.await.into_iter().flatten().collect();
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
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        self.inner.running().flows.names()
    }
}

impl Engine for Embedded {
    async fn observe(&self) -> Result<Live, Error> {
        if let Some(why) = self.inner.standby() {
            return Err(Error::Unavailable { what: "asking the engine".into(), why });
        }
        let running = self.inner.running();
        let owned = running.owned()?;
        let mut live = Live { unreadable: owned.unreadable.clone(), ..Live::default() };
        for (name, (config, state)) in &owned.live {
            let adopted = running.adopted.contains_key(name);
            let flow = running.flows.report(name, config, *state, adopted, &self.inner.settings);
            live.connectors.insert(name.clone(), Observed { config: config.clone(), state: *state, adopted, flow });
        }
        Ok(live)
    }

    async fn put(&self, name: &Name, config: &Config) -> Result<(), Error> {
        let mut configs = self.inner.lock_configs().await?;
        self.inner.write(&mut configs, name, config).await?;
        self.inner.follow_on(&configs);
        Ok(())
    }

    async fn adopt(&self, name: &Name, clusters: &ClusterIds) -> Result<(), Error> {
        let found = self.inner.running().owned()?.live.get(name).map(|(config, _)| config.clone());
        let config = found.ok_or_else(|| Error::NotFound(name.clone()))?;
        if self.inner.settings.omit_secrets {
            // Written by another release, by Java, or under another setting: what is ours is kept as the setting says.
            self.put(name, &config).await?;
        }
        let mut running = self.inner.running();
        if running.adopted.insert(name.clone(), clusters.clone()).as_ref() != Some(clusters) {
            self.inner.changed.notify_one();
        }
        Ok(())
    }

    async fn rename(&self, from: &Name, to: &Name, config: &Config) -> Result<(), Error> {
        let not_now = |why: &str| Error::Unavailable { what: format!("renaming {from}"), why: why.to_owned() };
        // The old flow must be still before its positions are copied, or the new one would begin behind it.
        let draining = {
            let mut running = self.inner.running();
            let known = running.owned()?.live.contains_key(from);
            let until = Instant::now() + RENAME_WITHIN;
            if known { running.flows.keep_still(from, self.inner.settings.grace, until) } else { None }
        };
        if let Some(mut draining) = draining {
            match tokio::time::timeout(RENAME_WAITS, draining.wait_for(Option::is_some)).await {
                Ok(Ok(in_time)) if *in_time == Some(true) => {}
                Ok(_) => return Err(not_now("it did not drain in time")),
                Err(_) => return Err(not_now("it still drains")),
            }
        }
        let mut configs = self.inner.lock_configs().await?;
        if configs.connectors().contains_key(from) {
            let progress = {
                let running = self.inner.running();
                if running.flows.runs(from) {
                    return Err(not_now("it was started anew meanwhile"));
                }
                running.owned()?.lanes.progress().clone()
            };
            let unreadable = |e: progress::Error| Error::Failed {
                what: format!("copying the positions of {from}"),
                why: flows::chain(&e),
            };
            // One that can't be read is not one that is not there: the new name would copy all of it again (law 8).
            let positions = progress.of_connector(from.as_str()).map_err(unreadable)?;
            let positions: Vec<_> = positions
                .into_iter()
                .map(|(key, position)| (progress::Key { connector: to.to_string(), ..key }, position))
                .collect();
            progress.put(positions).await.map_err(unreadable)?;
        }
        self.inner.write(&mut configs, to, config).await?;
        if configs.connectors().contains_key(from) {
            let state = configs.state(from);
            configs.set_state(to, state).await.map_err(|e| failed("writing the state of", to, &e))?;
            configs.remove(from).await.map_err(|e| failed("removing", from, &e))?;
            self.inner.running().adopted.remove(from);
        }
        self.inner.follow_on(&configs);
        Ok(())
    }

    async fn set_state(&self, name: &Name, state: TargetState) -> Result<(), Error> {
        let mut configs = self.inner.lock_configs().await?;
        if !configs.connectors().contains_key(name) {
            return Err(Error::NotFound(name.clone()));
        }
        if configs.state(name) != state {
            configs.set_state(name, state).await.map_err(|e| failed("writing the state of", name, &e))?;
            self.inner.follow_on(&configs);
        }
        Ok(())
    }

    async fn restart(&self, name: &Name, scope: RestartScope) -> Result<(), Error> {
        let mut running = self.inner.running();
        if !running.owned()?.live.contains_key(name) {
            return Err(Error::NotFound(name.clone()));
        }
        if !scope.only_failed || running.flows.failed(name, &self.inner.settings) {
            running.flows.restart(name, self.inner.settings.grace);
            self.inner.changed.notify_one();
        }
        Ok(())
    }

    async fn delete(&self, name: &Name) -> Result<(), Error> {
        {
            let mut running = self.inner.running();
            running.owned()?;
            running.flows.stop(name, self.inner.settings.grace);
            running.adopted.remove(name);
        }
        let mut configs = self.inner.lock_configs().await?;
        if configs.connectors().contains_key(name) {
            configs.remove(name).await.map_err(|e| failed("removing", name, &e))?;
            self.inner.follow_on(&configs);
        }
        Ok(())
    }

    async fn estimate(&self, name: &Name, config: &Config) -> Result<Estimate, Error> {
        let lanes = self.inner.running().owned()?.lanes.clone();
        translate::estimate(name, config, &self.inner.settings, &lanes).await
    }
}

// === impl Inner ===

impl Inner {
    fn running(&self) -> MutexGuard<'_, Running> {
        // Each change is whole, so a poisoned lock still guards a usable value.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn producing(&self) -> MutexGuard<'_, Option<Arc<Lanes>>> {
        // An option is replaced in one step.
        self.producing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_producing(&self) {
        if let Some(lanes) = self.producing().take() {
            lanes.kill();
        }
    }

    fn standby(&self) -> Option<String> {
        match &*self.ownership.borrow() {
            Ownership::Held => None,
            Ownership::Joining => Some(format!("joining group {}", self.settings.group)),
            Ownership::Waiting(why) => Some(why.clone()),
        }
    }

    /// The config topic, for one who writes it.
    async fn lock_configs(&self) -> Result<Locked<'_>, Error> {
        self.may_write()?;
        let configs = self.configs.lock().await;
        // Meanwhile the group may have been lost.
        self.may_write()?;
        if configs.is_some() { Ok(Locked(configs)) } else { Err(self.running().unavailable()) }
    }

    fn may_write(&self) -> Result<(), Error> {
        match self.standby() {
            Some(why) => Err(Error::Unavailable { what: "writing to the config topic".into(), why }),
            None => self.running().owned().map(|_| ()),
        }
    }

    /// Writes a configuration, unless the topic has it: whole, or without its literal secrets, which are then only here.
    async fn write(&self, configs: &mut Configs, name: &Name, config: &Config) -> Result<(), Error> {
        let written = if self.settings.omit_secrets { config.without_secrets() } else { config.clone() };
        if configs.connectors().get(name) != Some(&written) {
            configs.put(name, &written).await.map_err(|e| failed("writing the configuration of", name, &e))?;
        }
        if configs.state_unknown(name) {
            // Whoever writes this anew begins with what Java begins with.
            configs
                .set_state(name, TargetState::Running)
                .await
                .map_err(|e| failed("writing the state of", name, &e))?;
        }
        if written != *config {
            self.running().whole.insert(name.clone(), config.clone());
        }
        Ok(())
    }

    /// Takes over what the config topic says, with the secrets that it lacks; called while it is locked.
    fn publish(&self, configs: &Configs) {
        let mut running = self.running();
        let fits = |name: &Name, whole: &Config| configs.connectors().get(name) == Some(&whole.without_secrets());
        running.whole.retain(|name, whole| fits(name, whole));
        let mut live = live(configs);
        for (name, whole) in &running.whole {
            if let Some((config, _)) = live.get_mut(name) {
                config.clone_from(whole);
            }
        }
        if let Some(owned) = &mut running.owned {
            owned.live = live;
            owned.unreadable = configs.unreadable();
        }
    }

    fn follow_on(&self, configs: &Configs) {
        self.publish(configs);
        self.changed.notify_one();
    }
}

impl std::ops::Deref for Locked<'_> {
    type Target = Configs;

    fn deref(&self) -> &Configs {
        self.0.as_ref().expect("locked only while it is open")
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Configs {
        self.0.as_mut().expect("locked only while it is open")
    }
}

impl Running {
    fn owned(&self) -> Result<&Owned, Error> {
        self.owned.as_ref().ok_or_else(|| self.unavailable())
    }

    fn unavailable(&self) -> Error {
        let why = self.opening.clone().unwrap_or_else(|| "it does not hold the group yet".to_owned());
        Error::Unavailable { what: "asking the engine".to_owned(), why }
    }
}

fn live(configs: &Configs) -> BTreeMap<Name, (Config, TargetState)> {
    let connectors = configs.connectors().iter();
    let known = connectors.filter(|(name, _)| !configs.state_unknown(name));
    known.map(|(name, config)| (name.clone(), (config.clone(), configs.state(name)))).collect()
}

fn failed(what: &str, name: &Name, error: &kafka::Error) -> Error {
    Error::Failed { what: format!("{what} {name}"), why: flows::chain(error) }
}
