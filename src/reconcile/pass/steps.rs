//! Steps taken, failures remembered, deeds noted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Driver, Turn, seconds_between};
use crate::destination::state::{HistoryEntry, HistoryStep, Record, StateError, StateStore};
use crate::engine::{Engine, Live, Problem};
use crate::reconcile::apply::{self, Failed, bounded};
use crate::reconcile::books::{Author, records};
use crate::reconcile::plan::Step;
use crate::reconcile::status::Retry;
use crate::spec::Name;
use crate::supervise::Backoff;

impl<E: Engine, S: StateStore> Driver<E, S> {
    /// Asks what new replication would copy, before it does; what can't be told is left out.
    pub(super) async fn estimate(&mut self, turn: &Turn) {
        let Some(plan) = &turn.plan else { return };
        let asks = plan.all().filter_map(|(step, _)| {
            let again = || step.changes().iter().any(|change| change.effect == "re-replicate");
            let digest = step.digest();
            let (name, config) = match step {
                Step::Create { name, config, .. } => (name, config),
                Step::Update { name, config, .. } | Step::Adopt { name, config, .. } if again() => (name, config),
                _ => return None,
            };
            (!self.estimates.contains_key(&digest)).then_some((digest, name, config))
        });
        let engine = &self.engine;
        let patience = self.settings.deadline.min(Duration::from_secs(5));
        let told = futures::future::join_all(asks.map(|(digest, name, config)| async move {
            let told = tokio::time::timeout(patience, engine.estimate(name, config)).await;
            Some((digest, name, told.ok()?.ok()?))
        }))
        .await;
        for (digest, name, estimate) in told.into_iter().flatten() {
            tracing::info!(%name, records = estimate.records, bytes = estimate.bytes, "would be copied");
            self.estimates.insert(digest, estimate);
        }
    }

    /// Takes every step that is due. Answers whether any was tried.
    pub(super) async fn apply(&mut self, turn: &mut Turn) -> bool {
        let Some(plan) = &turn.plan else { return false };
        let now = self.now();
        let mut stopped: BTreeSet<Name> =
            self.retries.iter().filter(|(_, (_, retry))| retry.next > now).map(|(name, _)| name.clone()).collect();
        let steps: Vec<Step> = plan.steps.clone();
        let mut tried = false;
        for step in steps {
            if step.name().is_some_and(|name| stopped.contains(name)) {
                continue;
            }
            tried = true;
            let result = self.take(&step, turn.live.as_ref()).await;
            let name = step.name();
            match &result {
                Ok(()) => tracing::info!(action = step.action(), name = name.map(Name::as_str), "step taken"),
                Err(error) => {
                    tracing::warn!(action = step.action(), name = name.map(Name::as_str), error = %error, "step failed");
                }
            }
            match (name, &result) {
                (Some(name), Err(error)) => {
                    self.failed(name, error);
                    stopped.insert(name.clone());
                }
                (None, Err(error)) => {
                    let problem = self.problem(error.code(), error.to_string(), error.hint());
                    turn.problems.push(problem);
                }
                (_, Ok(())) => {}
            }
            if step.bookkeeping() {
                continue;
            }
            turn.done.push(HistoryStep {
                name: name.map(Name::to_string).unwrap_or_default(),
                action: step.action().to_owned(),
                keys: step.changes().iter().map(|change| change.key.clone()).collect(),
                failed: result.err().map(|error| error.code().to_owned()),
            });
        }
        tried
    }

    async fn take(&mut self, step: &Step, live: Option<&Live>) -> Result<(), Failed> {
        let deadline = self.settings.deadline;
        let what = || format!("{} of {}", step.action(), step.name().map_or("the instance", Name::as_str));
        let author = Author { owner: &self.owner, now: self.now() };
        let written = match (self.desired(), live, self.base()) {
            (Some(desired), Some(live), Some(base)) => records(step, &desired, live, &base, author),
            // The state was lost with the step before this one: a deed that can't be noted is not done.
            _ => return Err(StateError::Unavailable { what: "written", why: "an earlier write failed".into() }.into()),
        };
        bounded(what, deadline, apply::verbs(&*self.engine, step)).await?;
        self.note(written).await?;
        let clusters = step.name().map(|name| self.clusters(name)).unwrap_or_default();
        bounded(what, deadline, apply::run(&*self.engine, step, &clusters)).await
    }

    /// Writes records and folds them in. After a failure what was written is unknown: the state is read again.
    pub(super) async fn note(&mut self, mut written: Vec<Record>) -> Result<(), Failed> {
        let unstored = self.state.as_ref().is_some_and(|state| state.fingerprint_key.is_none());
        if unstored && !written.is_empty() {
            written.insert(0, Record::FingerprintKey(self.fresh_key.clone()));
        }
        if written.is_empty() {
            return Ok(());
        }
        let what = || "writing the state".to_owned();
        let result = bounded(what, self.settings.deadline, self.store.write(written.clone())).await;
        match (&result, &mut self.state) {
            (Ok(()), Some(state)) => written.into_iter().for_each(|record| state.put(record)),
            (Err(error), _) => {
                tracing::warn!(error = %error, "state not written");
                self.state = bounded(what, self.settings.deadline, self.store.load()).await.ok();
            }
            (Ok(()), None) => {}
        }
        result
    }

    pub(super) fn failed(&mut self, name: &Name, error: &Failed) {
        let now = self.now();
        let (first, cap) = self.settings.retry;
        let (mut backoff, since) = match self.retries.remove(name) {
            Some((backoff, before)) if before.problem.code == error.code() => (backoff, before.problem.since),
            Some((backoff, _)) => (backoff, now),
            None => (Backoff::new(first, cap), now),
        };
        let delay = backoff.next_delay();
        let problem = Problem { code: error.code().to_owned(), message: error.to_string(), hint: error.hint(), since };
        let next = now.checked_add(delay).unwrap_or(now);
        let retry = Retry { attempts: backoff.attempts(), next, problem };
        self.retries.insert(name.clone(), (backoff, retry));
    }

    pub(super) fn problem(&mut self, code: &str, message: String, hint: Option<String>) -> Problem {
        let now = self.now();
        let since = *self.since.entry(code.to_owned()).or_insert(now);
        Problem { code: code.to_owned(), message, hint, since }
    }

    /// Notes a pass that did something. The same failures again are no news: they would push everything else out.
    pub(super) async fn keep_history(&mut self, turn: &mut Turn) {
        if turn.done.is_empty() {
            return;
        }
        let revision = self.read.as_ref().map(|(snapshot, _)| snapshot.revision.clone()).unwrap_or_default();
        let succeeded = |step: &HistoryStep| turn.done.iter().any(|d| d.failed.is_none() && d.name == step.name);
        self.noted.retain(|(noted, step)| *noted == revision && !succeeded(step));
        let mut steps = turn.done.clone();
        steps.retain(|step| step.failed.is_none() || self.noted.insert((revision.clone(), step.clone())));
        let Some(state) = self.state.as_ref().filter(|_| !steps.is_empty()) else { return };
        let entry = HistoryEntry {
            sequence: state.next_sequence(),
            revision,
            trigger: turn.woke.clone(),
            started_at: turn.began,
            seconds: seconds_between(turn.began, self.now()),
            steps,
        };
        if let Err(error) = self.note(vec![Record::History(entry)]).await {
            let problem = self.problem(error.code(), error.to_string(), error.hint());
            turn.problems.push(problem);
        }
    }
}
