//! A cluster of Apache Kafka brokers on loopback.
//!
//! Node 1 is controller and broker, the others are brokers; Kafkas of old have a ZooKeeper beside them. Ports and data stay over a restart. The brokers are killed
//! when the cluster is dropped or the test binary ends.

mod node;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::java::{self, Kafka, Old};
use super::process::Watched;
use super::proxy::Proxy;
use super::run_folder::folder;
use super::{raw, wait_for};

pub(crate) use node::escaped;
use node::{Common, Listener, Node};

/// How long brokers may take to start: machines that run the suite run other things too.
const START: Duration = Duration::from_secs(120);

/// Where brokers listen, and what they advertise unless they are told otherwise.
const LOOPBACK: &str = "127.0.0.1";

/// What a cluster is to be.
#[derive(Clone, Default)]
pub(crate) struct Options {
    brokers: i32,
    properties: Vec<(String, String)>,
    listeners: Vec<Listener>,
    format: Vec<String>,
    jvm: Option<&'static [&'static str]>,
    old: Option<Old>,
    racks: bool,
}

/// A running cluster.
pub(crate) struct Cluster {
    id: String,
    kafka: &'static Kafka,
    nodes: Vec<Node>,
    /// Lives as long as the brokers do.
    _zookeeper: Option<Watched>,
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
        self.listeners.push(Listener { name, protocol, host: LOOPBACK, delay: None });
        self
    }

    /// A further listener that brokers advertise under a host's name, as certificates bear it; it must be loopback's.
    pub(crate) fn listener_at(mut self, name: &'static str, protocol: &'static str, host: &'static str) -> Self {
        self.listeners.push(Listener { name, protocol, host, delay: None });
        self
    }

    /// A further plain listener behind a delaying proxy, whose port the brokers advertise.
    pub(crate) fn delayed(mut self, name: &'static str, one_way: Duration) -> Self {
        self.listeners.push(Listener { name, protocol: "PLAINTEXT", host: LOOPBACK, delay: Some(one_way) });
        self
    }

    /// Options of the brokers' JVMs in place of the suite's own, which favour a quick start.
    pub(crate) fn jvm(mut self, options: &'static [&'static str]) -> Self {
        self.jvm = Some(options);
        self
    }

    /// Broker `n` stands in rack `rack-n`, and leaders send readers to a replica in theirs (KIP-392).
    pub(crate) fn racks(mut self) -> Self {
        self.racks = true;
        self.property("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector")
    }

    /// Brokers of old.
    pub(crate) fn old(mut self, version: Old) -> Self {
        self.old = Some(version);
        self
    }

    fn with_zookeeper(&self) -> bool {
        self.old.is_some_and(|version| version < Old::V3_9)
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
        let current = java::kafka().expect("Java was found before a cluster is started");
        let kafka = options.old.map_or(current, java::old);
        let home = folder("cluster");
        let controller = free_port();
        let zookeeper = options.with_zookeeper().then(|| zookeeper(kafka, &home, controller));
        let mut id = random_id();
        let common = Common { id: &id, home: &home, controller, options, kafka };
        let nodes: Vec<_> = (1..=options.brokers).map(|node| Node::lay_out(node, &common)).collect();
        for node in &nodes {
            node.start(kafka);
        }
        if zookeeper.is_some() {
            // The brokers choose it themselves.
            let answer = wait_for("a cluster id", START, || raw::metadata(&nodes[0].advertised("PLAINTEXT"), None));
            id = answer.cluster_id.map(|id| id.to_string()).unwrap_or_default();
        }
        let cluster = Self { id, kafka, nodes, _zookeeper: zookeeper };
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
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.advertised(listener)).collect();
        addresses.join(",")
    }

    /// `host:port` of one broker's plain listener.
    pub(crate) fn address(&self, node: i32) -> String {
        self.node(node).advertised("PLAINTEXT")
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
            let _ = raw::elect(&address, topic, partition, raw::Election::Preferred);
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
        node.advertised("PLAINTEXT")
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

/// A ZooKeeper; brokers wait for it.
fn zookeeper(kafka: &Kafka, home: &Path, port: u16) -> Watched {
    let (data, properties) = (home.join("zookeeper"), home.join("zookeeper.properties"));
    let text = format!(
        "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
        data.display()
    );
    fs::write(&properties, text).expect("the run's folder can be written");
    let class = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    kafka.start("ZooKeeper", "128m", class, &[&properties.display().to_string()], &home.join("zookeeper.log"))
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
