//! An engine that counts its calls and fails where it is told to, and a rig that runs the loop on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::destination::memory::MemoryStore;
use crate::destination::state::{Record, State, StateError, StateStore};
use crate::engine::{ClusterIds, Engine, Error, Estimate, FlowReport, Health, Live, Observed, RestartScope};
use crate::reconcile::plan::{MaxDeletes, Prune, Sync};
use crate::reconcile::status::{Instance, Rules, Source, Status};
use crate::reconcile::{Handle, Inputs, Refresh, Settings, Snapshot, start};
use crate::spec::{Config, DriftMode, Name, Scope, SourceFile, TargetState};
use crate::supervise::Task;

#[derive(Default)]
pub(super) struct FakeEngine(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    live: Live,
    calls: Vec<String>,
    failing: BTreeSet<String>,
    hanging: BTreeSet<String>,
    expected: BTreeMap<Name, ClusterIds>,
}

impl FakeEngine {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    /// Makes a call such as `put a` fail until told otherwise.
    pub(super) fn fail(&self, call: &str) {
        self.with(|inner| inner.failing.insert(call.to_owned()));
    }

    /// Makes a call such as `put a` never end.
    pub(super) fn hang(&self, call: &str) {
        self.with(|inner| inner.hanging.insert(call.to_owned()));
    }

    pub(super) fn heal(&self) {
        self.with(|inner| {
            inner.failing.clear();
            inner.hanging.clear();
        });
    }

    /// The verbs since the last call, without `observe` and `estimate`, which change nothing.
    pub(super) fn writes(&self) -> Vec<String> {
        self.with(|inner| std::mem::take(&mut inner.calls))
            .into_iter()
            .filter(|call| !call.starts_with("observe") && !call.starts_with("estimate"))
            .collect()
    }

    pub(super) fn live<T>(&self, f: impl FnOnce(&mut BTreeMap<Name, Observed>) -> T) -> T {
        self.with(|inner| f(&mut inner.live.connectors))
    }

    /// The clusters that it was told to expect.
    pub(super) fn expected(&self, name: &str) -> ClusterIds {
        self.with(|inner| inner.expected.get(name).cloned().unwrap_or_default())
    }

    /// Forgets what it was told to run, as a restart does.
    pub(super) fn restarted(&self) {
        self.live(|connectors| {
            for observed in connectors.values_mut() {
                observed.adopted = false;
                observed.flow = None;
            }
        });
    }

    async fn called(&self, call: String) -> Result<(), Error> {
        let (failing, hanging) = self.with(|inner| {
            inner.calls.push(call.clone());
            (inner.failing.contains(&call), inner.hanging.contains(&call))
        });
        if hanging {
            std::future::pending::<()>().await;
        }
        if failing {
            return Err(Error::Failed { what: call, why: "told to".into() });
        }
        Ok(())
    }

    fn refresh_flows(&self) {
        self.live(|connectors| {
            for observed in connectors.values_mut().filter(|observed| observed.adopted) {
                let health = if observed.state == TargetState::Running { Health::Healthy } else { Health::Paused };
                observed.flow.get_or_insert_with(|| report(health)).health = health;
            }
        });
    }
}

pub(super) fn report(health: Health) -> FlowReport {
    FlowReport {
        health,
        problems: vec![],
        lag_records: Some(0),
        oldest_uncopied_ms: Some(0),
        last_acknowledged: None,
        bytes_per_second: 0,
        records_total: 0,
        bytes_total: 0,
        path: "batch".into(),
        shapes: BTreeMap::new(),
        mode: "idempotent".into(),
        throttled_ms: 0,
        tasks: vec![],
        partitions: vec![],
        source_cluster_id: None,
        target_cluster_id: None,
        started: Timestamp::UNIX_EPOCH,
        retries: 0,
        next_attempt: None,
        lost_records: 0,
        notes: vec![],
    }
}

impl Engine for FakeEngine {
    async fn observe(&self) -> Result<Live, Error> {
        self.called("observe".into()).await?;
        self.refresh_flows();
        Ok(self.with(|inner| inner.live.clone()))
    }

    async fn put(&self, name: &Name, config: &Config) -> Result<(), Error> {
        self.called(format!("put {name}")).await?;
        self.live(|connectors| {
            let fresh = Observed { config: config.clone(), state: TargetState::Running, adopted: false, flow: None };
            connectors.entry(name.clone()).or_insert(fresh).config = config.clone();
        });
        Ok(())
    }

    async fn adopt(&self, name: &Name, clusters: &ClusterIds) -> Result<(), Error> {
        self.called(format!("adopt {name}")).await?;
        self.with(|inner| inner.expected.insert(name.clone(), clusters.clone()));
        self.live(|connectors| connectors.get_mut(name).map(|observed| observed.adopted = true))
            .ok_or_else(|| Error::NotFound(name.clone()))
    }

    async fn rename(&self, from: &Name, to: &Name, config: &Config) -> Result<(), Error> {
        self.called(format!("rename {from} {to}")).await?;
        self.live(|connectors| connectors.remove(from));
        self.put(to, config).await
    }

    async fn set_state(&self, name: &Name, state: TargetState) -> Result<(), Error> {
        self.called(format!("set_state {name} {}", state.as_str())).await?;
        self.live(|connectors| connectors.get_mut(name).map(|observed| observed.state = state))
            .ok_or_else(|| Error::NotFound(name.clone()))
    }

    async fn restart(&self, name: &Name, _scope: RestartScope) -> Result<(), Error> {
        self.called(format!("restart {name}")).await
    }

    async fn delete(&self, name: &Name) -> Result<(), Error> {
        self.called(format!("delete {name}")).await?;
        self.live(|connectors| connectors.remove(name)).map(drop).ok_or_else(|| Error::NotFound(name.clone()))
    }

    async fn estimate(&self, name: &Name, _config: &Config) -> Result<Estimate, Error> {
        self.called(format!("estimate {name}")).await?;
        Ok(Estimate { topics: vec!["t".into()], records: 1_200, bytes: Some(34_000) })
    }
}

/// A state that can be told to fail.
#[derive(Default)]
pub(super) struct Store {
    memory: Mutex<MemoryStore>,
    broken: Mutex<Option<StateError>>,
}

impl Store {
    pub(super) fn break_with(&self, error: Option<StateError>) {
        *self.broken.lock().unwrap() = error;
    }

    /// How many records were ever written.
    pub(super) fn writes(&self) -> usize {
        self.memory.lock().unwrap().writes()
    }

    pub(super) fn read(&self) -> Result<State, StateError> {
        self.memory.lock().unwrap().state()
    }

    fn check(&self) -> Result<(), StateError> {
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl StateStore for Arc<Store> {
    async fn load(&mut self) -> Result<State, StateError> {
        self.check()?;
        self.read()
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<(), StateError> {
        self.check()?;
        self.memory.lock().unwrap().append(&records);
        Ok(())
    }
}

pub(super) struct Rig {
    pub(super) engine: Arc<FakeEngine>,
    pub(super) store: Arc<Store>,
    pub(super) settings: Settings,
    pub(super) handle: Handle,
    pub(super) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(super) source: watch::Sender<Source>,
    pub(super) news: watch::Sender<u64>,
    pub(super) standby: watch::Sender<Option<String>>,
    task: Task<()>,
}

/// Paused time, as a timestamp.
pub(super) fn clock() -> Timestamp {
    thread_local!(static START: Instant = Instant::now());
    let passed = START.with(|start| Instant::now().saturating_duration_since(*start));
    Timestamp::from_second(1_700_000_000).unwrap() + passed
}

pub(super) fn settings() -> Settings {
    let scope = Scope {
        root: "connectors".into(),
        environment: "staging".into(),
        destination: "stg-ue2".into(),
        sources: vec![],
    };
    let instance = Instance {
        environment: scope.environment.clone(),
        destination: scope.destination.clone(),
        sources: vec![],
        version: "0.0.0".into(),
        started_at: clock(),
    };
    let rules =
        Rules { sync: Sync::Auto, drift: DriftMode::Correct, prune: Prune::Auto, max_deletes: MaxDeletes::default() };
    Settings { clock, ..Settings::new(instance, scope, rules) }
}

/// A valid connector file with one topic list and maybe more.
pub(super) fn file(name: &str, more: &str) -> (String, String) {
    let text = format!(
        r#"{{"connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
            "source.cluster.alias": "{name}", "target.cluster.alias": "ue2",
            "source.cluster.bootstrap.servers": "{name}.example.com:9092",
            "target.cluster.bootstrap.servers": "t.example.com:9092",
            "replication.policy.class": "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
            "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "header.converter": "org.apache.kafka.connect.converters.ByteArrayConverter"
            {more}}}"#
    );
    (format!("connectors/staging/stg-ue2/cfn/{name}.json"), text)
}

fn blob_of(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Rig {
    pub(super) fn start() -> Self {
        Self::with(settings(), Arc::default(), Arc::default())
    }

    pub(super) fn with(settings: Settings, engine: Arc<FakeEngine>, store: Arc<Store>) -> Self {
        let (snapshots, snapshots_rx) = watch::channel(None);
        let (source, source_rx) = watch::channel(Source { url: "file:///r".into(), ..Source::default() });
        let (news, news_rx) = watch::channel(0);
        let (standby, standby_rx) = watch::channel(None);
        let inputs = Inputs {
            snapshots: snapshots_rx,
            source: source_rx,
            engine: news_rx,
            standby: standby_rx,
            refresh: Refresh::none(),
        };
        let (handle, task) = start(settings.clone(), engine.clone(), store.clone(), inputs);
        Self { engine, store, settings, handle, snapshots, source, news, standby, task }
    }

    /// The process dies and another takes its place.
    pub(super) fn restart(self) -> Self {
        drop(self.task);
        self.engine.restarted();
        Self::with(self.settings, self.engine, self.store)
    }

    pub(super) fn commit(&self, revision: &str, files: &[(String, String)]) {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile { path: path.clone(), bytes: text.as_bytes().into(), blob: blob_of(text) })
            .collect();
        let snapshot = Snapshot { revision: revision.into(), commit: None, files: files.into() };
        self.snapshots.send_replace(Some(Arc::new(snapshot)));
    }

    pub(super) async fn pass(&self) -> Arc<Status> {
        self.handle.reconcile().await.unwrap()
    }

    /// Waits for a status; time passes by itself while nothing else happens.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Arc<Status> {
        let mut watch = self.handle.watch();
        let found = tokio::time::timeout(Duration::from_secs(3_600), watch.wait_for(|status| wanted(status))).await;
        found.unwrap_or_else(|_| panic!("never: {what}")).unwrap().clone()
    }
}
