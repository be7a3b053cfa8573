//! A served API over a real control loop and an engine that does what it is told, and a client that can misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::made::{at, flow};
use crate::api::{ApiContext, ApiSettings, Readiness, serve};
use crate::destination::memory::MemoryStore;
use crate::engine::{ClusterIds, Engine, Error, Estimate, Live, Observed, RestartScope};
use crate::reconcile::plan::{MaxDeletes, Prune, Sync};
use crate::reconcile::status::{Instance, Rules, Source};
use crate::reconcile::{Inputs, Refresh, Settings, Snapshot, start};
use crate::spec::{Config, DriftMode, Name, Scope, SourceFile, TargetState};
use crate::supervise::{self, Task};

/// Must never be seen outside.
pub(super) const CANARY: &str = "hunter2-canary";

#[derive(Debug, Default)]
pub(super) struct FakeEngine {
    live: Mutex<Live>,
    calls: Mutex<Vec<String>>,
    /// What `observe` and all verbs answer, while set.
    down: Mutex<Option<&'static str>>,
    hangs: Mutex<bool>,
}

impl FakeEngine {
    pub(super) fn edit<T>(&self, f: impl FnOnce(&mut Live) -> T) -> T {
        f(&mut self.live.lock().unwrap())
    }

    pub(super) fn take_down(&self, why: Option<&'static str>) {
        *self.down.lock().unwrap() = why;
    }

    pub(super) fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
    }

    /// What was asked since the last call, without looks.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn called(&self, call: String) -> Result<(), Error> {
        let down = *self.down.lock().unwrap();
        if let Some(why) = down {
            return Err(Error::Unavailable { what: call, why: why.into() });
        }
        let hangs = *self.hangs.lock().unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
        self.calls.lock().unwrap().push(call);
        Ok(())
    }
}

impl Engine for FakeEngine {
    async fn observe(&self) -> Result<Live, Error> {
        let before = self.calls.lock().unwrap().len();
        self.called("observe".into()).await?;
        self.calls.lock().unwrap().truncate(before);
        Ok(self.edit(|live| live.clone()))
    }

    async fn put(&self, name: &Name, config: &Config) -> Result<(), Error> {
        self.called(format!("put {name}")).await?;
        let observed =
            Observed { config: config.clone(), state: TargetState::Running, adopted: false, flow: Some(flow("t")) };
        self.edit(|live| live.connectors.insert(name.clone(), observed));
        Ok(())
    }

    async fn adopt(&self, name: &Name, _: &ClusterIds) -> Result<(), Error> {
        self.called(format!("adopt {name}")).await?;
        self.edit(|live| live.connectors.get_mut(name).map(|observed| observed.adopted = true))
            .ok_or_else(|| Error::NotFound(name.clone()))
    }

    async fn rename(&self, _: &Name, to: &Name, config: &Config) -> Result<(), Error> {
        self.put(to, config).await
    }

    async fn set_state(&self, name: &Name, state: TargetState) -> Result<(), Error> {
        self.called(format!("set_state {name} {}", state.as_str())).await?;
        self.edit(|live| live.connectors.get_mut(name).map(|observed| observed.state = state))
            .ok_or_else(|| Error::NotFound(name.clone()))
    }

    async fn restart(&self, name: &Name, scope: RestartScope) -> Result<(), Error> {
        self.called(format!("restart {name} tasks={} failed={}", scope.tasks, scope.only_failed)).await
    }

    async fn delete(&self, name: &Name) -> Result<(), Error> {
        self.called(format!("delete {name}")).await?;
        self.edit(|live| live.connectors.remove(name)).map(drop).ok_or_else(|| Error::NotFound(name.clone()))
    }

    async fn estimate(&self, _: &Name, _: &Config) -> Result<Estimate, Error> {
        Ok(Estimate::default())
    }
}

/// What the daemon has around its API.
pub(super) struct Rig {
    pub(super) engine: Arc<FakeEngine>,
    pub(super) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(super) ready: watch::Sender<Readiness>,
    pub(super) reconcile: Option<Task<()>>,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) server: Task<std::io::Result<()>>,
    address: SocketAddr,
    _cluster: watch::Sender<Option<String>>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(super) fn line(&self) -> String {
        format!("{} {}", self.status, self.body)
    }
}

/// A connector file with a secret in it.
pub(super) fn file(name: &str) -> (String, String) {
    let text = format!(
        r#"{{"connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
            "source.cluster.alias": "{name}", "target.cluster.alias": "ue2", "topics": "t",
            "source.cluster.bootstrap.servers": "{name}.example.com:9092",
            "source.cluster.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"{CANARY}\";",
            "target.cluster.bootstrap.servers": "t.example.com:9092",
            "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "header.converter": "org.apache.kafka.connect.converters.ByteArrayConverter"}}"#
    );
    (format!("connectors/staging/stg-ue2/cfn/{name}.json"), text)
}

impl Rig {
    /// With the connectors `a` and `b` running.
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut ApiSettings)) -> Self {
        Self::listening("127.0.0.1:0", change).await
    }

    pub(super) async fn listening(on: &str, change: impl FnOnce(&mut ApiSettings)) -> Self {
        let scope = Scope {
            root: "connectors".into(),
            environment: "staging".into(),
            destination: "stg-ue2".into(),
            sources: vec![],
        };
        let instance = Instance {
            environment: "staging".into(),
            destination: "stg-ue2".into(),
            sources: vec![],
            version: "0.0.0".into(),
            started_at: at(0),
        };
        let max_deletes = MaxDeletes::default();
        let rules = Rules { sync: Sync::Auto, drift: DriftMode::Report, prune: Prune::Auto, max_deletes };
        let engine = Arc::new(FakeEngine::default());
        let (snapshots, followed) = watch::channel(None);
        let inputs = Inputs {
            snapshots: followed,
            source: watch::channel(Source::default()).1,
            engine: watch::channel(0).1,
            standby: watch::channel(None).1,
            refresh: Refresh::none(),
        };
        let settings = Settings::new(instance, scope, rules);
        let (handle, reconcile) = start(settings, engine.clone(), MemoryStore::default(), inputs);
        let (ready, readiness) = watch::channel(Readiness::Ready);
        let (cluster, cluster_id) = watch::channel(Some("target-id".to_owned()));
        let mut settings = ApiSettings { commit: "abc".into(), ..ApiSettings::new("me:8083") };
        change(&mut settings);
        let context = ApiContext {
            engine: engine.clone(),
            status: handle.watch(),
            handle: handle.clone(),
            ready: readiness,
            cluster_id,
            settings,
        };
        let listener = TcpListener::bind(on).await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = supervise::spawn("api", async move {
            serve(listener, context, async {
                let _ = stopped.await;
            })
            .await
        });
        let rig = Self {
            engine,
            snapshots,
            ready,
            reconcile: Some(reconcile),
            stop: Some(stop),
            server,
            address,
            _cluster: cluster,
        };
        rig.commit("r1", &["a", "b"]);
        handle.reconcile().await.unwrap();
        rig.engine.calls();
        rig
    }

    pub(super) fn commit(&self, revision: &str, names: &[&str]) {
        let files: Vec<SourceFile> = names
            .iter()
            .map(|name| file(name))
            .map(|(path, text)| SourceFile { blob: path.clone(), path, bytes: text.as_bytes().into() })
            .collect();
        let snapshot = Snapshot { revision: revision.into(), commit: None, files: files.into() };
        self.snapshots.send_replace(Some(Arc::new(snapshot)));
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are and reads to the end.
    pub(super) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // A server that refuses early may close before all was sent.
        let _ = stream.write_all(request).await;
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
        let _ = read.expect("an answer in time");
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.raw(request.as_bytes()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body).await
    }
}
