//! The flows that run, made to follow what is live.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Settings, translate};
use crate::engine::{FlowReport, Health, Problem};
use crate::mirror::flow::{Context, Flow};
use crate::spec::{Config, Name, TargetState};

/// Flows by connector.
#[derive(Debug, Default)]
pub(super) struct Flows(BTreeMap<Name, Slot>);

#[derive(Debug)]
struct Slot {
    config: Config,
    state: TargetState,
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
    pub(super) async fn follow(
        &mut self,
        wanted: Vec<(Name, Config, TargetState)>,
        context: &Context,
        settings: &Settings,
    ) {
        let unwanted: Vec<_> = self.0.keys().filter(|name| !wanted.iter().any(|(n, ..)| n == *name)).cloned().collect();
        for name in unwanted {
            self.stop(&name, settings.grace).await;
        }
        for (name, config, state) in wanted {
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
            let run = start(&name, &config, state, context, settings);
            self.0.insert(name, Slot { config, state, run });
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
    pub(super) fn report(&self, name: &Name, state: TargetState, settings: &Settings) -> Option<FlowReport> {
        let slot = self.0.get(name)?;
        Some(match &slot.run {
            Run::Flow(flow) if flow.ended() => translate::not_running(Health::Failed, vec![translate::ended()]),
            Run::Flow(flow) => translate::report(&slot.config, &flow.snapshot(settings.stall_after), state),
            Run::Stopped => translate::not_running(Health::Paused, Vec::new()),
            Run::Invalid(problem) => translate::not_running(Health::Failed, vec![problem.clone()]),
        })
    }
}

impl Slot {
    fn ended(&self) -> bool {
        matches!(&self.run, Run::Flow(flow) if flow.ended())
    }
}

fn start(name: &Name, config: &Config, state: TargetState, context: &Context, settings: &Settings) -> Run {
    if state == TargetState::Stopped {
        return Run::Stopped;
    }
    match translate::order(name, config, settings) {
        Ok(order) => {
            let paused = state == TargetState::Paused;
            Run::Flow(Box::new(Flow::start(order, paused, context.clone())))
        }
        Err(problem) => Run::Invalid(problem),
    }
}

/// The whole chain of an error in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::mirror::describe(error)
}
