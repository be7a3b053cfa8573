//! The flows that run, made to follow what is live.
//!
//! Nothing here waits: a flow that has to end drains in a task of its own, and its connector is not started anew before
//! that has ended. So whoever looks, or changes another connector, never waits for it (law 7), and no connector is ever run
//! twice at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{Settings, translate};
use crate::engine::{ClusterIds, FlowReport, Health, Problem};
use crate::mirror::flow::{Context, Expected, Flow, Totals};
use crate::spec::{Config, Name, TargetState};
use crate::supervise::{self, Task};

/// Flows by connector.
#[derive(Debug, Default)]
pub(super) struct Flows {
    slots: BTreeMap<Name, Slot>,
    /// What each connector has copied since the process began, whether it runs or not.
    totals: BTreeMap<Name, Arc<Totals>>,
    /// A flow has drained.
    changed: Arc<Notify>,
}

/// Connectors that are gone and whose totals are kept: more are not, so that names made up without end take no memory.
const TOTALS_KEPT: usize = 1_000;

/// A connector that is to run.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: Name,
    pub(super) config: Config,
    pub(super) state: TargetState,
    pub(super) clusters: ClusterIds,
}

/// Whether a drain has ended, and then whether it did in time.
pub(super) type Drained = watch::Receiver<Option<bool>>;

#[derive(Debug)]
struct Slot {
    config: Config,
    state: TargetState,
    clusters: ClusterIds,
    run: Run,
    /// Not started anew before: its positions are being carried to another name.
    still_until: Option<Instant>,
}

#[derive(Debug)]
enum Run {
    /// It copies, or looks while paused.
    Flow(Arc<Flow>),
    /// It awaits what is in flight; then it ends.
    Draining(Drain),
    /// It has ended, to be started anew.
    Drained,
    /// Nothing is kept (KIP-875).
    Stopped,
    /// Its configuration can't be run.
    Invalid(Problem),
    /// Its secrets are in Git only.
    Waiting(Problem),
}

#[derive(Debug)]
struct Drain {
    flow: Arc<Flow>,
    since: Timestamp,
    ended: Drained,
    _task: Task<()>,
}

impl Flows {
    /// None; `changed` is told when one has drained.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self { slots: BTreeMap::new(), totals: BTreeMap::new(), changed }
    }

    /// Drops all at once: what is in flight is left unacknowledged.
    pub(super) fn drop_all(&mut self) {
        self.slots.clear();
    }

    /// Starts, stops, pauses and updates towards what is wanted. Unchanged flows are not touched; what drains is left until
    /// it has ended, which is told by `changed`. Whether one had ended.
    pub(super) fn follow(&mut self, wanted: Vec<Wanted>, context: &Context, settings: &Settings) -> bool {
        let mut ended = false;
        for slot in self.slots.values_mut().filter(|slot| slot.drained()) {
            slot.run = Run::Drained;
            ended = true;
        }
        let unwanted: Vec<_> =
            self.slots.keys().filter(|name| !wanted.iter().any(|w| w.name == **name)).cloned().collect();
        let mut leaving = false;
        for name in unwanted {
            match self.stop(&name, settings.grace) {
                Some(_) => leaving = true,
                None => drop(self.slots.remove(&name)),
            }
        }
        for Wanted { name, config, state, clusters } in wanted {
            let Some(slot) = self.slots.get_mut(&name) else {
                // What is new may be to write what another one, which is being removed, still writes: one writer.
                if !leaving {
                    self.start(name, config, state, clusters, context, settings);
                }
                continue;
            };
            slot.expect(&clusters);
            let same = slot.state == state && !slot.ended() && !matches!(slot.run, Run::Drained);
            if matches!(slot.run, Run::Draining(_)) || slot.still_until.is_some_and(|until| until > Instant::now()) {
                continue;
            }
            if same && slot.config == config && slot.still_until.is_none() {
                continue;
            }
            if same && slot.still_until.is_none() && translate::hot(&slot.config, &config) {
                slot.update(&name, config, settings);
            } else if self.stop(&name, settings.grace).is_none() {
                self.start(name, config, state, clusters, context, settings);
            }
        }
        while self.totals.len() > self.slots.len() + TOTALS_KEPT
            && let Some(gone) = self.totals.keys().find(|name| !self.slots.contains_key(*name)).cloned()
        {
            self.totals.remove(&gone);
        }
        ended
    }

    fn start(
        &mut self,
        name: Name,
        config: Config,
        state: TargetState,
        clusters: ClusterIds,
        context: &Context,
        settings: &Settings,
    ) {
        let run = match translate::order(&name, &config, settings) {
            _ if state == TargetState::Stopped => Run::Stopped,
            _ if config.omitted().next().is_some() => Run::Waiting(translate::waits_for_git(&config)),
            Ok(order) => {
                let paused = state == TargetState::Paused;
                let totals = self.totals.entry(name.clone()).or_default().clone();
                Run::Flow(Arc::new(Flow::start(order, paused, expected(&clusters), totals, context.clone())))
            }
            Err(problem) => Run::Invalid(problem),
        };
        self.slots.insert(name, Slot { config, state, clusters, run, still_until: None });
    }

    /// Has a flow await what is in flight, write its progress and end, within `grace`. `None` when nothing runs.
    pub(super) fn stop(&mut self, name: &Name, grace: Duration) -> Option<Drained> {
        let slot = self.slots.get_mut(name)?;
        if let Run::Flow(flow) = &slot.run {
            slot.run = Run::Draining(drain(name, flow.clone(), grace, self.changed.clone()));
        }
        match &slot.run {
            Run::Draining(drain) if !slot.drained() => Some(drain.ended.clone()),
            _ => None,
        }
    }

    /// As [`Flows::stop`], and not started anew for a while, however much it is wanted.
    pub(super) fn keep_still(&mut self, name: &Name, grace: Duration, until: Instant) -> Option<Drained> {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.still_until = Some(until);
        }
        self.stop(name, grace)
    }

    /// Starts it anew from scratch, once it has drained.
    pub(super) fn restart(&mut self, name: &Name, grace: Duration) {
        if self.stop(name, grace).is_none() {
            self.slots.remove(name);
        }
    }

    /// Whether anything of it copies or drains.
    pub(super) fn runs(&self, name: &Name) -> bool {
        self.slots.get(name).is_some_and(|slot| !slot.drained() && matches!(slot.run, Run::Flow(_) | Run::Draining(_)))
    }

    /// Has all drain; when each has ended, by name.
    pub(super) fn stop_all(&mut self, grace: Duration) -> Vec<(String, Drained)> {
        let names: Vec<_> = self.slots.keys().cloned().collect();
        names.into_iter().filter_map(|name| Some((name.to_string(), self.stop(&name, grace)?))).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.slots.keys().filter(|name| self.runs(name)).map(Name::to_string).collect()
    }

    pub(super) fn failed(&self, name: &Name, settings: &Settings) -> bool {
        match self.slots.get(name).map(|slot| &slot.run) {
            Some(Run::Flow(flow)) => {
                flow.ended()
                    || flow.snapshot(settings.stall_after).report.health >= crate::mirror::flow::Health::Degraded
            }
            Some(Run::Invalid(_)) => true,
            Some(Run::Draining(_) | Run::Stopped | Run::Drained | Run::Waiting(_)) | None => false,
        }
    }

    /// The report of a connector that is run, or was and drains; `adopted` ones that wait for their turn are starting.
    pub(super) fn report(
        &self,
        name: &Name,
        config: &Config,
        state: TargetState,
        adopted: bool,
        settings: &Settings,
    ) -> Option<FlowReport> {
        let Some(slot) = self.slots.get(name) else {
            let mut report = adopted.then(|| translate::not_running(Health::Starting, Vec::new()))?;
            if let Some(totals) = self.totals.get(name) {
                translate::total(&mut report, totals);
            }
            return Some(report);
        };
        let mut report = match &slot.run {
            Run::Flow(flow) if flow.ended() => translate::not_running(Health::Failed, vec![translate::ended()]),
            Run::Flow(flow) => translate::report(&slot.config, &flow.snapshot(settings.stall_after), state),
            Run::Draining(drain) => {
                let snapshot = drain.flow.snapshot(settings.stall_after);
                translate::draining(translate::report(&slot.config, &snapshot, state), drain.since, settings.grace)
            }
            Run::Stopped => translate::not_running(Health::Paused, Vec::new()),
            Run::Drained => translate::not_running(Health::Starting, Vec::new()),
            Run::Invalid(problem) => translate::not_running(Health::Failed, vec![problem.clone()]),
            Run::Waiting(problem) => translate::not_running(Health::Starting, vec![problem.clone()]),
        };
        if let Some(totals) = self.totals.get(name) {
            translate::total(&mut report, totals);
        }
        if slot.config != *config {
            // What runs still is of another configuration, and so may be the clusters that answer it.
            (report.source_cluster_id, report.target_cluster_id) = (None, None);
        }
        Some(report)
    }
}

impl Slot {
    fn expect(&mut self, clusters: &ClusterIds) {
        if self.clusters != *clusters {
            self.clusters = clusters.clone();
            if let Run::Flow(flow) = &self.run {
                flow.expect(expected(clusters));
            }
        }
    }

    fn update(&mut self, name: &Name, config: Config, settings: &Settings) {
        match (translate::order(name, &config, settings), &self.run) {
            (Ok(order), Run::Flow(flow)) => {
                if !flow.update(order) {
                    // It is too busy to be told: at the next look.
                    return;
                }
            }
            (Err(problem), _) => self.run = Run::Invalid(problem),
            (Ok(_), _) => {}
        }
        self.config = config;
    }

    fn ended(&self) -> bool {
        matches!(&self.run, Run::Flow(flow) if flow.ended())
    }

    fn drained(&self) -> bool {
        matches!(&self.run, Run::Draining(drain) if drain.ended.borrow().is_some())
    }
}

fn drain(name: &Name, flow: Arc<Flow>, grace: Duration, changed: Arc<Notify>) -> Drain {
    let (say, ended) = watch::channel(None);
    let (draining, connector) = (flow.clone(), name.clone());
    let task = supervise::spawn(format!("drain of {name}"), async move {
        let in_time = draining.stop(grace).await;
        if !in_time {
            tracing::warn!(%connector, "did not drain in time: what is in flight is found out at the next start");
            draining.end().await;
        }
        say.send_replace(Some(in_time));
        changed.notify_one();
    });
    Drain { flow, since: Timestamp::now(), ended, _task: task }
}

fn expected(clusters: &ClusterIds) -> Expected {
    Expected { source: clusters.source.clone(), target: clusters.target.clone() }
}

/// The whole chain of an error in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::mirror::describe(error)
}
