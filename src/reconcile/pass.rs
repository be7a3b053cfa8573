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
use crate::engine::{ClusterIds, Engine, Estimate, Live, Problem};
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
            standby: None,
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
        if self.standby().is_some() {
            // Whoever holds the group may be writing: what was known is old, and even opening a topic would be a write.
            self.state = None;
        } else {
            self.load_state(&mut turn).await;
            self.observe(&mut turn).await;
            self.resume(&mut turn).await;
        }
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
            if let Err(error) =
                bounded(what, self.settings.deadline, self.engine.adopt(&name, &self.clusters(&name))).await
            {
                self.failed(&name, &error);
            }
        }
        self.observe(turn).await;
    }

    /// The clusters that the note of a connector names.
    fn clusters(&self, name: &Name) -> ClusterIds {
        let applied = self.state.as_ref().and_then(|state| state.applied.get(name));
        ClusterIds {
            source: applied.and_then(|applied| applied.source_cluster_id.clone()),
            target: applied.and_then(|applied| applied.target_cluster_id.clone()),
        }
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
        let standby = self.standby();
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
            standby: standby.as_deref(),
            pass: &pass,
        })
    }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
