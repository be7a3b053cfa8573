//! The loop's turn: what one pass does, in order.

mod requests;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::apply::bounded;
use super::handle::Request;
use super::plan::{Base, Desired, Plan, Policy, Step};
use super::status::{Pass, Retry, Status, View, derive};
use super::{Inputs, Settings, Snapshot};
use crate::destination::state::{FingerprintKey, HistoryStep, State, StateStore};
use crate::engine::{Engine, Estimate, Live, Problem};
use crate::spec::{self, LoadOptions, Loaded, Name};
use crate::supervise::{self, Backoff};

/// How long reading all files of a snapshot may take.
const READING: Duration = Duration::from_secs(60);

/// How long news of the engine are gathered.
const GATHERING: Duration = Duration::from_millis(100);

/// The loop and what it remembers between passes. None of it matters to what is done: a fresh one does the same.
pub(super) struct Driver<E, S> {
    settings: Settings,
    owner: String,
    engine: Arc<E>,
    store: S,
    inputs: Inputs,
    status: watch::Sender<Arc<Status>>,
    /// The state topic, once read. We are its only writer, so that it is read again only after a failed write, and while
    /// another process is the writer.
    state: Option<State>,
    /// The fingerprint key before one is stored.
    fresh_key: FingerprintKey,
    /// The snapshot that was read last, and what it says.
    read: Option<(Arc<Snapshot>, Arc<Loaded>)>,
    retries: BTreeMap<Name, (Backoff, Retry)>,
    approved: BTreeSet<String>,
    confirmed: BTreeSet<String>,
    /// By digest of the step: what it would copy.
    estimates: BTreeMap<String, Estimate>,
    applied_revision: Option<String>,
    /// Since when each instance-wide problem lasts, by code.
    since: BTreeMap<String, Timestamp>,
    number: u64,
    /// Failures that the history has already, by revision.
    noted: BTreeSet<(String, HistoryStep)>,
}

/// What one pass found and did.
struct Turn {
    number: u64,
    woke: String,
    began: Timestamp,
    problems: Vec<Problem>,
    live: Option<Live>,
    plan: Option<Plan>,
    done: Vec<HistoryStep>,
}

impl<E: Engine, S: StateStore> Driver<E, S> {
    pub(super) fn new(
        settings: Settings,
        engine: Arc<E>,
        store: S,
        inputs: Inputs,
    ) -> (Self, watch::Receiver<Arc<Status>>) {
        let empty = View {
            instance: &settings.instance,
            owner: "",
            now: (settings.clock)(),
            source: &inputs.source.borrow().clone(),
            rules: &settings.rules,
            desired: None,
            live: None,
            state: None,
            plan: None,
            retries: &BTreeMap::new(),
            estimates: &BTreeMap::new(),
            problems: &[],
            pass: &Pass::default(),
        };
        let (status, receiver) = watch::channel(Arc::new(derive(&empty)));
        let driver = Self {
            owner: settings.owner(),
            settings,
            engine,
            store,
            inputs,
            status,
            state: None,
            fresh_key: FingerprintKey::random(),
            read: None,
            retries: BTreeMap::new(),
            approved: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            estimates: BTreeMap::new(),
            applied_revision: None,
            since: BTreeMap::new(),
            number: 0,
            noted: BTreeSet::new(),
        };
        (driver, receiver)
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut woke = "startup";
        let mut asked: Vec<Request> = vec![];
        loop {
            while asked.len() < 64
                && let Ok(request) = requests.try_recv()
            {
                asked.push(request);
            }
            if woke == "engine" {
                // An engine may have news all the time; one look in a while sees all of it.
                tokio::time::sleep(GATHERING).await;
            }
            self.pass(woke, std::mem::take(&mut asked)).await;
            let wait = self.next_wait();
            // Biased: a request is somebody waiting. No arm but the timer can starve the others, since each pass takes all
            // that is there.
            woke = tokio::select! {
                biased;
                Some(request) = requests.recv() => { asked.push(request); "request" }
                Ok(()) = self.inputs.snapshots.changed() => "snapshot",
                Ok(()) = self.inputs.standby.changed() => "standby",
                Ok(()) = self.inputs.source.changed() => "source",
                Ok(()) = self.inputs.engine.changed() => "engine",
                () = tokio::time::sleep(wait) => "timer",
            };
        }
    }

    fn now(&self) -> Timestamp {
        (self.settings.clock)()
    }

    /// Until the next pass is due: the timer, or an earlier retry.
    fn next_wait(&self) -> Duration {
        let now = self.now();
        let due = self.retries.values().map(|(_, retry)| retry.next).min();
        let retry = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO));
        // A retry that is due this instant still leaves the runtime a breath.
        retry.map_or(self.settings.interval, |retry| retry.clamp(Duration::from_millis(10), self.settings.interval))
    }

    async fn pass(&mut self, woke: &str, requests: Vec<Request>) {
        self.number += 1;
        let mut turn = Turn {
            number: self.number,
            woke: woke.to_owned(),
            began: self.now(),
            problems: vec![],
            live: None,
            plan: None,
            done: vec![],
        };
        self.read_snapshot(&mut turn).await;
        self.load_state(&mut turn).await;
        self.observe(&mut turn).await;
        self.resume(&mut turn).await;
        let mut answers = Vec::with_capacity(requests.len());
        for Request { ask, answer } in requests {
            answers.push((answer, self.answer(ask, &mut turn).await));
        }
        turn.plan = self.plan(&turn);
        self.forget_what_is_past(&turn);
        self.estimate(&turn).await;
        if self.apply(&mut turn).await {
            self.observe(&mut turn).await;
            turn.plan = self.plan(&turn);
            self.forget_what_is_past(&turn);
        }
        self.keep_history(&mut turn).await;
        let status = Arc::new(self.describe(&turn));
        self.status.send_replace(status.clone());
        for (answer, result) in answers {
            // Whoever asked may have gone: the work is done all the same.
            let _ = answer.send(result.map(|()| status.clone()));
        }
    }

    /// Reads the latest snapshot, unless its files are those that were read last.
    async fn read_snapshot(&mut self, turn: &mut Turn) {
        let Some(snapshot) = self.inputs.snapshots.borrow_and_update().clone() else { return };
        let revision = self.read.as_ref().map(|(before, _)| before.revision.clone());
        if revision.as_ref() != Some(&snapshot.revision) {
            self.retries.clear();
        }
        if let Some((before, loaded)) = &self.read {
            let same = Arc::ptr_eq(before, &snapshot)
                || before.files.len() == snapshot.files.len()
                    && before.files.iter().zip(&*snapshot.files).all(|(a, b)| a.path == b.path && a.blob == b.blob);
            if same {
                self.read = Some((snapshot, loaded.clone()));
                return;
            }
        }
        let (scope, options) = (self.settings.scope.clone(), LoadOptions { strict: self.settings.strict });
        let files = snapshot.files.clone();
        match supervise::blocking("reading connector files", READING, move || spec::load(&scope, &files, &options))
            .await
        {
            Ok(loaded) => {
                tracing::info!(revision = snapshot.revision, files = loaded.files, "snapshot read");
                self.read = Some((snapshot, Arc::new(loaded)));
            }
            // What was read before stays in force.
            Err(error) => turn.problems.push(self.problem("SOURCE-READ", error.to_string(), None)),
        }
    }

    async fn load_state(&mut self, turn: &mut Turn) {
        if self.standby().is_some() {
            self.state = None;
        }
        if self.state.is_none() {
            match bounded(|| "reading the state".to_owned(), self.settings.deadline, self.store.load()).await {
                Ok(state) => {
                    self.since.retain(|code, _| !code.starts_with("STATE-"));
                    self.state = Some(state);
                }
                Err(error) => turn.problems.push(self.problem(error.code(), error.to_string(), error.hint())),
            }
        }
    }

    async fn observe(&mut self, turn: &mut Turn) {
        turn.problems.retain(|problem| !problem.code.starts_with("ENGINE-"));
        match bounded(|| "observing".to_owned(), self.settings.deadline, self.engine.observe()).await {
            Ok(live) => {
                self.since.retain(|code, _| !code.starts_with("ENGINE-"));
                turn.live = Some(live);
            }
            Err(error) => {
                turn.live = None;
                turn.problems.push(self.problem(error.code(), error.to_string(), error.hint()));
            }
        }
    }

    /// After a start: what we applied and the engine doesn't run yet, it runs. Needs no Git (law 8), and no plan.
    async fn resume(&mut self, turn: &mut Turn) {
        let (Some(live), Some(state), None) = (&turn.live, &self.state, self.standby()) else { return };
        let waiting: Vec<Name> = live
            .connectors
            .iter()
            .filter(|(name, observed)| !observed.adopted && state.applied.get(*name).is_some_and(|a| self.ours(a)))
            .filter(|(name, _)| self.retries.get(*name).is_none_or(|(_, retry)| retry.next <= self.now()))
            .map(|(name, _)| name.clone())
            .collect();
        if waiting.is_empty() {
            return;
        }
        for name in waiting {
            let what = || format!("resuming {name}");
            if let Err(error) = bounded(what, self.settings.deadline, self.engine.adopt(&name)).await {
                self.failed(&name, &error);
            }
        }
        self.observe(turn).await;
    }

    fn ours(&self, applied: &crate::destination::state::Applied) -> bool {
        let sources = &self.settings.scope.sources;
        applied.owner == self.owner && (sources.is_empty() || sources.contains(&applied.source))
    }

    fn standby(&self) -> Option<String> {
        self.inputs.standby.borrow().clone()
    }

    fn policy(&self) -> Policy {
        let rules = &self.settings.rules;
        Policy {
            drift: rules.drift,
            sync: rules.sync,
            prune: rules.prune,
            max_deletes: rules.max_deletes,
            owner: self.owner.clone(),
            sources: self.settings.scope.sources.clone(),
            standby: self.standby(),
            approved: self.approved.clone(),
            confirmed: self.confirmed.clone(),
            now: self.now(),
        }
    }

    fn base(&self) -> Option<Base<'_>> {
        let state = self.state.as_ref()?;
        Some(Base { state, key: state.fingerprint_key.as_ref().unwrap_or(&self.fresh_key) })
    }

    fn desired(&self) -> Option<Desired<'_>> {
        let (snapshot, loaded) = self.read.as_ref()?;
        Some(Desired { loaded, revision: &snapshot.revision })
    }

    /// The plan, when all three sides are known; a missing one is not an empty one (law 8).
    fn plan(&self, turn: &Turn) -> Option<Plan> {
        Some(Plan::new(&self.desired()?, turn.live.as_ref()?, &self.base()?, &self.policy()))
    }

    /// Drops confirmations, retries and estimates of steps that the plan no longer has.
    fn forget_what_is_past(&mut self, turn: &Turn) {
        let Some(plan) = &turn.plan else { return };
        let digests: BTreeSet<String> = plan.all().map(|(step, _)| step.digest()).collect();
        self.approved.retain(|digest| digests.contains(digest));
        self.confirmed.retain(|digest| digests.contains(digest));
        self.estimates.retain(|digest, _| digests.contains(digest));
        let resuming = |name: &Name| {
            turn.live.as_ref().and_then(|live| live.connectors.get(name)).is_some_and(|observed| !observed.adopted)
        };
        let named: BTreeSet<&Name> = plan.steps.iter().filter_map(Step::name).collect();
        self.retries.retain(|name, _| named.contains(name) || resuming(name));
        if plan.is_empty() {
            self.applied_revision = self.read.as_ref().map(|(snapshot, _)| snapshot.revision.clone());
        }
    }

<<<<<<< HEAD
=======
    async fn answer(&mut self, ask: Ask, turn: &mut Turn) -> Result<(), Refused> {
        match ask {
            Ask::Reconcile => {
                self.retries.clear();
                Ok(())
            }
            Ask::Confirm(hash) => {
                let plan = self.current(turn)?;
                if plan.hash != hash {
                    return Err(Refused::OtherPlan { asked: hash, current: plan.hash });
                }
                let waiting = plan.digests(Guard::confirmable);
                if waiting.is_empty() {
                    return Err(Refused::NothingWaits);
                }
                self.confirmed.extend(waiting);
                Ok(())
            }
            Ask::Apply => {
                let plan = self.current(turn)?;
                self.approved.extend(plan.digests(|guard| *guard == Guard::Manual));
                self.retries.clear();
                Ok(())
            }
            Ask::Hold(new) => {
                self.may_write()?;
                if let HoldScope::Connector(name) = &new.scope {
                    let known = self.desired().is_some_and(|desired| desired.loaded.connectors.contains_key(name))
                        || turn.live.as_ref().is_some_and(|live| live.connectors.contains_key(name))
                        || self.state.as_ref().is_some_and(|state| state.applied.contains_key(name));
                    if !known {
                        return Err(Refused::UnknownConnector(name.to_string()));
                    }
                }
                let now = self.now();
                if new.until.is_some_and(|until| until <= now) {
                    return Err(Refused::Bad("the hold would end before it begins".to_owned()));
                }
                let hold = Hold { reason: new.reason, by: new.by, since: now, until: new.until };
                self.note(vec![Record::Hold(new.scope, Some(hold))]).await.map_err(|e| Refused::NotNoted(e.to_string()))
            }
            Ask::Release(scope) => {
                self.may_write()?;
                if !self.state.as_ref().is_some_and(|state| state.holds.contains_key(&scope)) {
                    return Err(Refused::NoHold(scope.to_string()));
                }
                self.note(vec![Record::Hold(scope, None)]).await.map_err(|e| Refused::NotNoted(e.to_string()))
            }
        }
    }

    fn may_write(&self) -> Result<(), Refused> {
        match (self.standby(), &self.state) {
            (Some(why), _) => Err(Refused::Standby(why)),
            (None, None) => Err(Refused::NotNoted("the state can't be read".to_owned())),
            (None, Some(_)) => Ok(()),
        }
    }

    fn current(&self, turn: &Turn) -> Result<Plan, Refused> {
        self.may_write()?;
        self.plan(turn).ok_or_else(|| {
            let why = turn.problems.first().map(|problem| problem.message.clone());
            Refused::NoPlan(why.unwrap_or_else(|| "the repository has not been read yet".to_owned()))
        })
    }

    /// Asks what new replication would copy, before it does; what can't be told is left out.
    async fn estimate(&mut self, turn: &Turn) {
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
    async fn apply(&mut self, turn: &mut Turn) -> bool {
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
        bounded(what, deadline, apply::run(&*self.engine, step)).await
    }

    /// Writes records and folds them in. After a failure what was written is unknown: the state is read again.
    async fn note(&mut self, mut written: Vec<Record>) -> Result<(), Failed> {
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
                self.state = match bounded(what, self.settings.deadline, self.store.load()).await {
                    Ok(state) => Some(state),
                    Err(_) => None,
                };
            }
            (Ok(()), None) => {}
        }
        result
    }

    fn failed(&mut self, name: &Name, error: &Failed) {
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

    fn problem(&mut self, code: &str, message: String, hint: Option<String>) -> Problem {
        let now = self.now();
        let since = *self.since.entry(code.to_owned()).or_insert(now);
        Problem { code: code.to_owned(), message, hint, since }
    }

    /// Notes a pass that did something. The same failures again are no news: they would push everything else out.
    async fn keep_history(&mut self, turn: &mut Turn) {
        if turn.done.is_empty() {
            return;
        }
        let revision = self.read.as_ref().map(|(snapshot, _)| snapshot.revision.clone()).unwrap_or_default();
        let now = (revision.clone(), turn.done.clone());
        if turn.done.iter().all(|step| step.failed.is_some()) && self.last_history.as_ref() == Some(&now) {
            return;
        }
        let Some(state) = &self.state else { return };
        let entry = HistoryEntry {
            sequence: state.next_sequence(),
            revision,
            trigger: turn.woke.clone(),
            started_at: turn.began,
            seconds: seconds_between(turn.began, self.now()),
            steps: turn.done.clone(),
        };
        match self.note(vec![Record::History(entry)]).await {
            Ok(()) => self.last_history = Some(now),
            Err(error) => {
                let code = if let Failed::Note(error) = &error { state_code(error) } else { error.code() };
                let problem = self.problem(code, error.to_string(), error.hint());
                turn.problems.push(problem);
            }
        }
    }

>>>>>>> h/api
    fn describe(&self, turn: &Turn) -> Status {
        let mut source = self.inputs.source.borrow().clone();
        if let Some((snapshot, _)) = &self.read {
            source.observed = Some(snapshot.revision.clone());
            source.commit.clone_from(&snapshot.commit);
        }
        source.applied.clone_from(&self.applied_revision);
        let retries = self.retries.iter().map(|(name, (_, retry))| (name.clone(), retry.clone())).collect();
        let estimates = turn
            .plan
            .iter()
            .flat_map(Plan::all)
            .filter_map(|(step, _)| Some((step.name()?.clone(), self.estimates.get(&step.digest())?.clone())))
            .collect();
        let now = self.now();
        let pass = Pass {
            number: turn.number,
            woke: turn.woke.clone(),
            at: Some(turn.began),
            seconds: seconds_between(turn.began, now),
        };
        derive(&View {
            instance: &self.settings.instance,
            owner: &self.owner,
            now,
            source: &source,
            rules: &self.settings.rules,
            desired: self.desired(),
            live: turn.live.as_ref(),
            state: self.state.as_ref(),
            plan: turn.plan.as_ref(),
            retries: &retries,
            estimates: &estimates,
            problems: &turn.problems,
            pass: &pass,
        })
    }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
