//! The flows that run, made to follow what is live.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Settings, translate};
use crate::engine::{ClusterIds, FlowReport, Health, Problem};
use crate::mirror::flow::{Context, Expected, Flow};
use crate::spec::{Config, Name, TargetState};

/// Flows by connector.
#[derive(Debug, Default)]
pub(super) struct Flows(BTreeMap<Name, Slot>);

/// A connector that is to run.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: Name,
    pub(super) config: Config,
    pub(super) state: TargetState,
    pub(super) clusters: ClusterIds,
}

#[derive(Debug)]
struct Slot {
    config: Config,
    state: TargetState,
    clusters: ClusterIds,
    run: Run,
}

#[derive(Debug)]
enum Run {
    /// It copies, or looks while paused.
    Flow(Box<Flow>),
    /// Nothing is kept (KIP-875).
    Stopped,
    /// Its configuration can't be run.
    Invalid(Problem),
}

impl Flows {
    /// Starts, stops, pauses and updates until what runs is what is wanted. Unchanged flows are not touched.
    pub(super) async fn follow(&mut self, wanted: Vec<Wanted>, context: &Context, settings: &Settings) {
        let unwanted: Vec<_> = self.0.keys().filter(|name| !wanted.iter().any(|w| w.name == **name)).cloned().collect();
        for name in unwanted {
            self.stop(&name, settings.grace).await;
        }
        for Wanted { name, config, state, clusters } in wanted {
            if let Some(slot) = self.0.get_mut(&name) {
                slot.expect(&clusters);
            }
            match self.0.get(&name) {
                Some(slot) if slot.config == config && slot.state == state && !slot.ended() => continue,
                Some(slot) if slot.state == state && !slot.ended() && translate::hot(&slot.config, &config) => {
                    self.update(name, config, settings).await;
                    continue;
                }
                Some(_) => {
                    self.stop(&name, settings.grace).await;
                }
                None => {}
            }
            let run = start(&name, &config, state, &clusters, context, settings);
            self.0.insert(name, Slot { config, state, clusters, run });
        }
    }

    async fn update(&mut self, name: Name, config: Config, settings: &Settings) {
        let Some(slot) = self.0.get_mut(&name) else { return };
        match (translate::order(&name, &config, settings), &slot.run) {
            (Ok(order), Run::Flow(flow)) => flow.update(order).await,
            (Err(problem), _) => slot.run = Run::Invalid(problem),
            (Ok(_), _) => {}
        }
        slot.config = config;
    }

    /// Stops one flow; its name when it did not end in time.
    pub(super) async fn stop(&mut self, name: &Name, grace: Duration) -> Option<String> {
        match self.0.remove(name)?.run {
            Run::Flow(flow) => (!flow.stop(grace).await).then(|| name.to_string()),
            Run::Stopped | Run::Invalid(_) => None,
        }
    }

    /// Stops all at once; the names of those that did not end in time.
    pub(super) async fn stop_all(self, grace: Duration) -> Vec<String> {
        let mut stops: FuturesUnordered<_> = self
            .0
            .into_iter()
            .filter_map(|(name, slot)| match slot.run {
                Run::Flow(flow) => Some(async move { (!flow.stop(grace).await).then(|| name.to_string()) }),
                _ => None,
            })
            .collect();
        let mut stragglers = Vec::new();
        while let Some(straggler) = stops.next().await {
            stragglers.extend(straggler);
        }
        stragglers
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().filter(|(_, slot)| matches!(slot.run, Run::Flow(_))).map(|(name, _)| name.to_string()).collect()
    }

    pub(super) fn failed(&self, name: &Name, settings: &Settings) -> bool {
        match self.0.get(name).map(|slot| &slot.run) {
            Some(Run::Flow(flow)) => {
                flow.ended()
                    || flow.snapshot(settings.stall_after).report.health >= crate::mirror::flow::Health::Degraded
            }
            Some(Run::Invalid(_)) => true,
            Some(Run::Stopped) | None => false,
        }
    }

    /// The report of an adopted connector; `None` while nothing was started for it yet.
    pub(super) fn report(
        &self,
        name: &Name,
        config: &Config,
        state: TargetState,
        settings: &Settings,
    ) -> Option<FlowReport> {
        let slot = self.0.get(name)?;
        let mut report = match &slot.run {
            Run::Flow(flow) if flow.ended() => translate::not_running(Health::Failed, vec![translate::ended()]),
            Run::Flow(flow) => translate::report(&slot.config, &flow.snapshot(settings.stall_after), state),
            Run::Stopped => translate::not_running(Health::Paused, Vec::new()),
            Run::Invalid(problem) => translate::not_running(Health::Failed, vec![problem.clone()]),
        };
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

    fn ended(&self) -> bool {
        matches!(&self.run, Run::Flow(flow) if flow.ended())
    }
}

fn expected(clusters: &ClusterIds) -> Expected {
    Expected { source: clusters.source.clone(), target: clusters.target.clone() }
}

fn start(
    name: &Name,
    config: &Config,
    state: TargetState,
    clusters: &ClusterIds,
    context: &Context,
    settings: &Settings,
) -> Run {
    if state == TargetState::Stopped {
        return Run::Stopped;
    }
    match translate::order(name, config, settings) {
        Ok(order) => {
            let paused = state == TargetState::Paused;
            Run::Flow(Box::new(Flow::start(order, paused, expected(clusters), context.clone())))
        }
        Err(problem) => Run::Invalid(problem),
    }
}

/// The whole chain of an error in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::mirror::describe(error)
}
