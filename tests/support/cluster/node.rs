//! One broker of a cluster: its folder, its properties, its process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::super::java::Kafka;
use super::super::process::Watched;
use super::super::proxy::Proxy;
use super::super::run_folder::run_folder;
use super::{LOOPBACK, Options, free_port, random_id};

/// A listener beside the plain one that every broker has.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) name: &'static str,
    pub(super) protocol: &'static str,
    /// The host's name that brokers advertise.
    pub(super) host: &'static str,
    /// When set, clients reach it through a proxy that delays by this much each way.
    pub(super) delay: Option<Duration>,
}

/// What all nodes of a cluster share.
pub(super) struct Common<'a> {
    pub(super) id: &'a str,
    pub(super) home: &'a Path,
    /// The port of the controller, or of ZooKeeper.
    pub(super) controller: u16,
    pub(super) options: &'a Options,
    pub(super) kafka: &'static Kafka,
}

pub(super) struct Node {
    pub(super) id: i32,
    pub(super) folder: PathBuf,
    jvm: Option<&'static [&'static str]>,
    /// By listener name.
    pub(super) ports: BTreeMap<&'static str, u16>,
    hosts: BTreeMap<&'static str, &'static str>,
    pub(super) proxies: BTreeMap<&'static str, Proxy>,
    pub(super) process: Mutex<Option<Watched>>,
}

impl Node {
    pub(super) fn lay_out(id: i32, common: &Common<'_>) -> Self {
        let Common { home, options, .. } = common;
        let folder = home.join(format!("node-{id}"));
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("the run's folder can be written");

        let plain = Listener { name: "PLAINTEXT", protocol: "PLAINTEXT", host: LOOPBACK, delay: None };
        let listeners: Vec<_> = std::iter::once(&plain).chain(&options.listeners).collect();
        let ports: BTreeMap<_, _> = listeners.iter().map(|listener| (listener.name, free_port())).collect();
        let hosts = listeners.iter().map(|listener| (listener.name, listener.host)).collect();
        let delayed = listeners.iter().filter_map(|listener| Some((listener.name, listener.delay?)));
        let proxies = delayed.map(|(name, delay)| (name, Proxy::start(ports[name], delay))).collect();
        let node = Self { id, folder, jvm: options.jvm, ports, hosts, proxies, process: Mutex::new(None) };

        let properties = node.properties(common, &listeners);
        let text: String = properties.iter().map(|(key, value)| format!("{key}={}\n", escaped(value))).collect();
        fs::write(node.folder.join("server.properties"), text).expect("the run's folder can be written");
        if !common.options.with_zookeeper() {
            node.format(common);
        }
        node
    }

    fn properties(&self, common: &Common<'_>, listeners: &[&Listener]) -> BTreeMap<String, String> {
        let Common { controller, options, .. } = common;
        let bind = listeners.iter().map(|l| format!("{}://127.0.0.1:{}", l.name, self.ports[l.name]));
        let advertised = listeners.iter().map(|l| format!("{}://{}", l.name, self.advertised(l.name)));
        let protocols = listeners.iter().map(|l| format!("{}:{}", l.name, l.protocol));
        let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(",");
        let listener = format!("CONTROLLER://127.0.0.1:{controller}");
        let first = self.id == 1;
        // Three replicas where there are three brokers, so that stories may stop one.
        let replicas = options.brokers.min(3).to_string();
        let in_sync = if options.brokers >= 3 { "2" } else { "1" };

        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |key: &str, value: &str| drop(properties.insert(key.to_owned(), value.to_owned()));
        if options.with_zookeeper() {
            set("broker.id", &self.id.to_string());
            set("zookeeper.connect", &format!("127.0.0.1:{controller}"));
            set("listeners", &join(&mut bind.into_iter()));
        } else {
            set("process.roles", if first { "broker,controller" } else { "broker" });
            set("node.id", &self.id.to_string());
            set("controller.quorum.voters", &format!("1@127.0.0.1:{controller}"));
            set("controller.listener.names", "CONTROLLER");
            set("listeners", &join(&mut bind.chain(first.then_some(listener))));
        }
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
        if options.racks {
            set("broker.rack", &format!("rack-{}", self.id));
        }
        for (key, value) in &options.properties {
            set(key, value);
        }
        properties
    }

    /// Formats by Kafka's tool once per binary; further nodes take its checkpoint (the features' levels) and an identity
    /// of their own, which saves a JVM start per node.
    fn format(&self, common: &Common<'_>) {
        let Common { id: cluster, options, kafka, .. } = common;
        let data = self.folder.join("data");
        let properties = self.folder.join("server.properties").display().to_string();
        // A tool of old makes what its brokers understand.
        if !options.format.is_empty() || options.old.is_some() {
            let mut args = vec!["format", "-t", *cluster, "-c", &properties];
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

    pub(super) fn start(&self, kafka: &Kafka) {
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

    /// `host:port` as clients are told it.
    pub(super) fn advertised(&self, listener: &str) -> String {
        let port = self.proxies.get(listener).map_or_else(|| self.ports[listener], Proxy::port);
        format!("{}:{port}", self.hosts[listener])
    }
}

/// A value as `Properties.load` reads it back: ISO 8859-1, with escapes.
pub(crate) fn escaped(value: &str) -> String {
    let one = |character: char| match character {
        '\\' => r"\\".to_owned(),
        '\n' => r"\n".to_owned(),
        ' '..='~' => character.to_string(),
        other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    value.chars().map(one).collect()
}
