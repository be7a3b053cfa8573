//! A cluster of Apache Kafka brokers on loopback.
//!
//! Node 1 is controller and broker, the others are brokers. Ports and data stay over a restart. The brokers are killed
//! when the cluster is dropped or the test binary ends.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::java::{self, Kafka};
use super::process::Watched;
use super::proxy::Proxy;
use super::run_folder::{folder, run_folder};
use super::{raw, wait_for};

/// How long brokers may take to start: machines that run the suite run other things too.
const START: Duration = Duration::from_secs(120);

/// What a cluster is to be.
#[derive(Clone, Default)]
pub(crate) struct Options {
    brokers: i32,
    properties: Vec<(String, String)>,
    listeners: Vec<Listener>,
    format: Vec<String>,
    jvm: Option<&'static [&'static str]>,
}

/// A listener beside the plain one that every broker has.
#[derive(Clone)]
struct Listener {
    name: &'static str,
    protocol: &'static str,
    /// When set, clients reach it through a proxy that delays by this much each way.
    delay: Option<Duration>,
}

/// A running cluster.
pub(crate) struct Cluster {
    id: String,
    kafka: &'static Kafka,
    nodes: Vec<Node>,
}

struct Node {
    id: i32,
    folder: PathBuf,
    jvm: Option<&'static [&'static str]>,
    /// By listener name.
    ports: BTreeMap<&'static str, u16>,
    proxies: BTreeMap<&'static str, Proxy>,
    process: Mutex<Option<Watched>>,
}

// === impl Options ===

impl Options {
    /// That many brokers, and a `PLAINTEXT` listener on each.
    pub(crate) fn brokers(brokers: i32) -> Self {
        Self { brokers, ..Self::default() }
    }

    /// A broker property, replacing the bench's own.
    pub(crate) fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A further listener; `protocol` as in `listener.security.protocol.map`.
    pub(crate) fn listener(mut self, name: &'static str, protocol: &'static str) -> Self {
        self.listeners.push(Listener { name, protocol, delay: None });
        self
    }

    /// A further plain listener behind a delaying proxy, whose port the brokers advertise.
    pub(crate) fn delayed(mut self, name: &'static str, one_way: Duration) -> Self {
        self.listeners.push(Listener { name, protocol: "PLAINTEXT", delay: Some(one_way) });
        self
    }

    /// Options of the brokers' JVMs in place of the suite's own, which favour a quick start.
    pub(crate) fn jvm(mut self, options: &'static [&'static str]) -> Self {
        self.jvm = Some(options);
        self
    }

    /// Further arguments for the formatting of the storage, such as `--add-scram`.
    pub(crate) fn format(mut self, args: &[&str]) -> Self {
        self.format.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }
}

// === impl Cluster ===

impl Cluster {
    /// Formats the storage, starts all brokers and waits until each of them is known to the first.
    ///
    /// # Panics
    /// When Java is missing (ask [`java::kafka`] first) or a broker doesn't start: with the end of its log.
    pub(crate) fn start(options: &Options) -> Self {
        let kafka = java::kafka().expect("Java was found before a cluster is started");
        let id = random_id();
        let home = folder("cluster");
        let controller = free_port();
        let lay_out = |node| Node::lay_out(node, &id, &home, controller, options, kafka);
        let nodes = (1..=options.brokers).map(lay_out).collect();
        let cluster = Self { id, kafka, nodes };
        for node in &cluster.nodes {
            node.start(kafka);
        }
        cluster.wait_until_ready();
        cluster
    }

    /// The cluster id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// `host:port` of every broker's plain listener, as clients take it.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap_of("PLAINTEXT")
    }

    /// `host:port` of every broker's listener of that name; a delayed one is reached through its proxy.
    pub(crate) fn bootstrap_of(&self, listener: &str) -> String {
        let addresses: Vec<_> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.advertised(listener))).collect();
        addresses.join(",")
    }

    /// `host:port` of one broker's plain listener.
    pub(crate) fn address(&self, node: i32) -> String {
        format!("127.0.0.1:{}", self.node(node).advertised("PLAINTEXT"))
    }

    /// The proxy before a broker's delayed listener.
    pub(crate) fn proxy(&self, node: i32, listener: &str) -> &Proxy {
        &self.node(node).proxies[listener]
    }

    /// Stops a broker: `hard` kills it, otherwise it hands over its leaderships and ends.
    pub(crate) fn stop_broker(&self, node: i32, hard: bool) {
        let process = self.node(node).process.lock().expect("no test panics while it holds a broker").take();
        let mut process = process.unwrap_or_else(|| panic!("broker {node} isn't running"));
        process.signal(if hard { "KILL" } else { "TERM" });
        process.wait(START);
    }

    /// Starts a stopped broker on its former ports and data, and waits until it serves.
    pub(crate) fn start_broker(&self, node: i32) {
        self.node(node).start(self.kafka);
        self.wait_until_ready();
    }

    /// Makes `node` the leader of a partition; it becomes a replica if it isn't one.
    pub(crate) fn move_leader(&self, topic: &str, partition: i32, node: i32) {
        let address = self.some_address();
        let (_, epoch, mut replicas) =
            wait_for("the partition's replicas", START, || raw::leader(&address, topic, partition));
        let count = replicas.len();
        replicas.retain(|replica| *replica != node);
        replicas.insert(0, node);
        // As many replicas as before: a node that was none takes the place of the last.
        replicas.truncate(count);
        wait_for("the reassignment", START, || raw::reassign(&address, topic, partition, &replicas));
        wait_for("the leader's move", START, || {
            let _ = raw::elect_preferred(&address, topic, partition);
            match raw::leader(&address, topic, partition)? {
                (leader, ..) if leader == node => Ok(()),
                (leader, now, _) => Err(format!("{leader} leads (epoch {epoch} before, {now} now)")),
            }
        });
    }

    /// The leader of a partition.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> i32 {
        let address = self.some_address();
        wait_for("a leader", START, || match raw::leader(&address, topic, partition)? {
            (-1, ..) => Err("no leader".to_owned()),
            (leader, ..) => Ok(leader),
        })
    }

    /// The folder of a partition's log on a broker, for `DumpLogSegments`.
    pub(crate) fn log_folder(&self, node: i32, topic: &str, partition: i32) -> PathBuf {
        self.node(node).folder.join("data").join(format!("{topic}-{partition}"))
    }

    /// Resident memory of all brokers in bytes, where the system tells.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let of = |node: &Node| {
            let process = node.process.lock().expect("no test panics while it holds a broker");
            process.as_ref().and_then(Watched::resident_bytes).unwrap_or(0)
        };
        self.nodes.iter().map(of).sum()
    }

    /// Process ids of the running brokers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let of = |node: &Node| node.process.lock().expect("not poisoned").as_ref().map(Watched::pid);
        self.nodes.iter().filter_map(of).collect()
    }

    fn node(&self, node: i32) -> &Node {
        self.nodes.iter().find(|other| other.id == node).unwrap_or_else(|| panic!("no broker {node}"))
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.process.lock().expect("not poisoned").is_some())
    }

    fn some_address(&self) -> String {
        let node = self.running().next().expect("a broker runs");
        format!("127.0.0.1:{}", node.advertised("PLAINTEXT"))
    }

    /// Each running broker answers, knows all running ones, and is of this cluster (a port may have been taken by
    /// another).
    fn wait_until_ready(&self) {
        let running = self.running().count();
        for node in self.running() {
            wait_for(&format!("broker {} serves", node.id), START, || {
                if let Some(process) = node.process.lock().expect("not poisoned").as_mut()
                    && process.exited().is_some()
                {
                    panic!("broker {} ended; its log ends:\n{}", node.id, process.log_tail());
                }
                let answer = raw::metadata(&format!("127.0.0.1:{}", node.ports["PLAINTEXT"]), None)?;
                let id = answer.cluster_id.as_ref().map(|id| id.to_string()).unwrap_or_default();
                match (id == self.id, answer.brokers.len()) {
                    (true, known) if known == running => Ok(()),
                    (true, known) => Err(format!("{known} of {running} brokers are known")),
                    (false, _) => Err(format!("another cluster answers: {id:?}")),
                }
            });
        }
    }
}

// === impl Node ===

impl Node {
    fn lay_out(id: i32, cluster: &str, home: &Path, controller: u16, options: &Options, kafka: &Kafka) -> Self {
        let folder = home.join(format!("node-{id}"));
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("the run's folder can be written");

        let plain = Listener { name: "PLAINTEXT", protocol: "PLAINTEXT", delay: None };
        let listeners: Vec<_> = std::iter::once(&plain).chain(&options.listeners).collect();
        let ports: BTreeMap<_, _> = listeners.iter().map(|listener| (listener.name, free_port())).collect();
        let delayed = listeners.iter().filter_map(|listener| Some((listener.name, listener.delay?)));
        let proxies = delayed.map(|(name, delay)| (name, Proxy::start(ports[name], delay))).collect();
        let node = Self { id, folder, jvm: options.jvm, ports, proxies, process: Mutex::new(None) };

        let properties = node.properties(controller, &listeners, options);
        let text: String = properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(node.folder.join("server.properties"), text).expect("the run's folder can be written");
        node.format(cluster, options, kafka);
        node
    }

    fn properties(&self, controller: u16, listeners: &[&Listener], options: &Options) -> BTreeMap<String, String> {
        let bind = listeners.iter().map(|l| format!("{}://127.0.0.1:{}", l.name, self.ports[l.name]));
        let advertised = listeners.iter().map(|l| format!("{}://127.0.0.1:{}", l.name, self.advertised(l.name)));
        let protocols = listeners.iter().map(|l| format!("{}:{}", l.name, l.protocol));
        let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(",");
        let listener = format!("CONTROLLER://127.0.0.1:{controller}");
        let first = self.id == 1;
        // Three replicas where there are three brokers, so that stories may stop one.
        let replicas = options.brokers.min(3).to_string();
        let in_sync = if options.brokers >= 3 { "2" } else { "1" };

        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |key: &str, value: &str| drop(properties.insert(key.to_owned(), value.to_owned()));
        set("process.roles", if first { "broker,controller" } else { "broker" });
        set("node.id", &self.id.to_string());
        set("controller.quorum.voters", &format!("1@127.0.0.1:{controller}"));
        set("controller.listener.names", "CONTROLLER");
        set("listeners", &join(&mut bind.chain(first.then_some(listener))));
        set("advertised.listeners", &join(&mut advertised.into_iter()));
        set(
            "listener.security.protocol.map",
            &join(&mut protocols.chain(std::iter::once("CONTROLLER:PLAINTEXT".to_owned()))),
        );
        set("inter.broker.listener.name", "PLAINTEXT");
        set("log.dirs", &self.folder.join("data").display().to_string());
        for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
            set(&format!("{topic}.replication.factor"), &replicas);
            set(&format!("{topic}.num.partitions"), "5");
            if topic != "offsets.topic" {
                set(&format!("{topic}.min.isr"), in_sync);
            }
        }
        set("default.replication.factor", &replicas);
        set("group.initial.rebalance.delay.ms", "0");
        // Stories that kill a broker wait for the controller to notice.
        set("broker.session.timeout.ms", "6000");
        // Compaction on demand.
        set("log.cleaner.backoff.ms", "100");
        // Small: many brokers on one machine.
        set("log.cleaner.dedupe.buffer.size", "4194304");
        set("log.index.size.max.bytes", "1048576");
        set("num.network.threads", "2");
        set("num.io.threads", "4");
        set("background.threads", "2");
        set("log.segment.bytes", "268435456");
        for (key, value) in &options.properties {
            set(key, value);
        }
        properties
    }

    /// Formats by Kafka's tool once per binary; further nodes take its checkpoint (the features' levels) and an identity
    /// of their own, which saves a JVM start per node.
    fn format(&self, cluster: &str, options: &Options, kafka: &Kafka) {
        let data = self.folder.join("data");
        let properties = self.folder.join("server.properties").display().to_string();
        if !options.format.is_empty() {
            let mut args = vec!["format", "-t", cluster, "-c", &properties];
            args.extend(options.format.iter().map(String::as_str));
            kafka.tool("kafka.tools.StorageTool", &args);
            return;
        }
        static CHECKPOINT: OnceLock<Vec<u8>> = OnceLock::new();
        let checkpoint = CHECKPOINT.get_or_init(|| {
            let template = run_folder().join("template.properties");
            let folder = run_folder().join("template");
            let text = format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n\
                 listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n\
                 controller.listener.names=CONTROLLER\nlog.dirs={}\n",
                folder.display()
            );
            fs::write(&template, text).expect("the run's folder can be written");
            kafka.tool(
                "kafka.tools.StorageTool",
                &["format", "-t", &random_id(), "-c", &template.display().to_string()],
            );
            fs::read(folder.join("bootstrap.checkpoint")).expect("format writes a checkpoint")
        });
        fs::write(data.join("bootstrap.checkpoint"), checkpoint).expect("the run's folder can be written");
        let identity = format!("version=1\ncluster.id={cluster}\nnode.id={}\ndirectory.id={}\n", self.id, random_id());
        fs::write(data.join("meta.properties"), identity).expect("the run's folder can be written");
    }

    fn start(&self, kafka: &Kafka) {
        let properties = self.folder.join("server.properties").display().to_string();
        let log = self.folder.join("broker.log");
        let (name, class) = (format!("broker {}", self.id), "kafka.Kafka");
        let process = match self.jvm {
            None => kafka.start(&name, "320m", class, &[&properties], &log),
            Some(jvm) => kafka.start_with(&name, jvm, class, &[&properties], &log),
        };
        let before = self.process.lock().expect("not poisoned").replace(process);
        assert!(before.is_none(), "broker {} runs already", self.id);
    }

    fn advertised(&self, listener: &str) -> u16 {
        self.proxies.get(listener).map_or_else(|| self.ports[listener], Proxy::port)
    }
}

/// A port that is free now. Not one of those that the system gives to whoever connects: a broker that is down for a
/// while would lose such a one to a client's connection.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static START: OnceLock<u16> = OnceLock::new();
    let start = *START.get_or_init(|| rand::random_range(0..COUNT));
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < COUNT, "no free port");
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// As Kafka's `Uuid.randomUuid()`: 16 bytes in URL-safe base64, no leading dash (tools would take it for an option).
fn random_id() -> String {
    use base64::Engine;
    loop {
        let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        if !id.starts_with('-') {
            return id;
        }
    }
}
