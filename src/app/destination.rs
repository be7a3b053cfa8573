//! Where the destination is, from one place: the settings, else the worker file, else the files where they agree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::Error;
use crate::engine::embedded;
use crate::kafka::log::LogSpec;
use crate::kafka::properties::{PropertyProblem, cluster_config};
use crate::kafka::{Cluster, ClusterConfig};
use crate::reconcile::Snapshot;
use crate::settings::{Settings, TopicSecrets};
use crate::spec::worker::{InternalTopic, WorkerConfig};
use crate::spec::{self, Config, LoadOptions, Scope};

/// A Kafka Connect offsets topic has 25 partitions unless the worker says otherwise.
const OFFSETS_PARTITIONS: i32 = 25;

/// What was found.
pub(super) struct Found {
    pub(super) cluster: ClusterConfig,
    pub(super) engine: embedded::Settings,
    pub(super) state: LogSpec,
    pub(super) warnings: Vec<String>,
}

/// Finds the destination; waits for the first snapshot only where nothing else says it.
pub(super) async fn find(
    settings: &Settings,
    address: SocketAddr,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
) -> Result<Found, Error> {
    let (worker, mut warnings) = match &settings.worker_config {
        Some(path) => read_worker(path)?,
        None => (WorkerConfig::default(), Vec::new()),
    };
    let own = settings.bootstrap_servers.as_ref().map(|servers| {
        let mut properties = settings.client.clone();
        properties.insert("bootstrap.servers".to_owned(), servers.clone());
        properties
    });
    let of_worker = (!worker.bootstrap.is_empty()).then(|| worker.client.as_map().clone());
    // Chart values and examples hold placeholders: with an address of ours they are only worth a warning.
    let placeholder = worker.bootstrap.iter().any(|server| server.contains(['<', '>', ' ']));
    let of_worker = if own.is_some() && placeholder {
        warnings.push(
            "bootstrap.servers of the worker file is a placeholder: bootstrap-servers is used, with [client]"
                .to_owned(),
        );
        None
    } else {
        of_worker
    };
    let properties = match (own, of_worker) {
        (Some(own), Some(worker)) => {
            agree(&own, &worker).await?;
            own
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => of_files(settings, snapshots).await?,
    };
    let mut cluster = parse(&properties)?;
    let name = instance_name(settings);
    cluster.client_id = format!("mirrorkeeper-{name}");
    let factor = settings.internal_replication_factor;
    let group = worker.group_id.clone().unwrap_or_else(|| format!("mirrorkeeper-{name}"));
    let default = |kind: &str| format!("mirrorkeeper-{kind}-{name}");
    let engine = embedded::Settings {
        instance_id: settings.instance_id.clone().unwrap_or_else(|| format!("{}-{}", host_name(), address.port())),
        group,
        offsets: log(worker.offsets.as_ref(), &default("offsets"), OFFSETS_PARTITIONS, factor),
        configs: log(worker.configs.as_ref(), &default("configs"), 1, factor),
        memory: settings.memory,
        stall_after: settings.stall_after,
        grace: settings.grace,
        producer: worker.producer.clone(),
        omit_secrets: settings.config_topic_secrets == TopicSecrets::Omit,
    };
    let topic = settings.state_storage_topic.clone().unwrap_or_else(|| default("state"));
    let state = LogSpec { topic, partitions: 1, replication_factor: factor, configs: Vec::new() };
    Ok(Found { cluster, engine, state, warnings })
}

/// `<environment>-<destination>[-<source>...]`: two instances that share a destination but not their sources share no name.
fn instance_name(settings: &Settings) -> String {
    let mut name = format!("{}-{}", settings.environment, settings.destination);
    for source in &settings.sources {
        name.push('-');
        name.push_str(source);
    }
    name
}

fn log(worker: Option<&InternalTopic>, name: &str, partitions: i32, replication_factor: i16) -> LogSpec {
    match worker {
        Some(topic) => LogSpec {
            topic: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: Vec::new(),
        },
        None => LogSpec { topic: name.to_owned(), partitions, replication_factor, configs: Vec::new() },
    }
}

fn read_worker(path: &Path) -> Result<(WorkerConfig, Vec<String>), Error> {
    let shown = path.display().to_string();
    let unusable = |why: String| Error::File { path: shown.clone(), why };
    let bytes = std::fs::read(path).map_err(|e| unusable(format!("cannot be read: {e}")))?;
    let worker = spec::worker::parse(&shown, &bytes)
        .map_err(|problems| unusable(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let warnings = worker.warnings.iter().map(ToString::to_string).collect();
    Ok((worker, warnings))
}

fn parse(properties: &BTreeMap<String, String>) -> Result<ClusterConfig, Error> {
    cluster_config(properties).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(PropertyProblem::line).collect();
        Error::Destination(format!("the destination's client settings can't be used: {}", lines.join("; ")))
    })
}

/// Settings and worker file may spell one cluster differently, but must not mean two.
async fn agree(own: &BTreeMap<String, String>, worker: &BTreeMap<String, String>) -> Result<(), Error> {
    if servers(own.get("bootstrap.servers")) == servers(worker.get("bootstrap.servers")) {
        return Ok(());
    }
    let ids = async {
        Ok::<_, crate::kafka::Error>((
            Cluster::new(parse_or(own)?).id().await?,
            Cluster::new(parse_or(worker)?).id().await?,
        ))
    };
    match ids.await {
        Ok((a, b)) if a == b => Ok(()),
        Ok((a, b)) => Err(Error::Destination(format!(
            "bootstrap-servers reaches cluster {a} and the worker file's bootstrap.servers reaches {b}: remove one of them"
        ))),
        Err(error) => Err(Error::Destination(format!(
            "bootstrap-servers and the worker file name different addresses, and it can't be seen that they are one cluster ({error}): remove one of them"
        ))),
    }
}

fn parse_or(properties: &BTreeMap<String, String>) -> Result<ClusterConfig, crate::kafka::Error> {
    parse(properties)
        .map_err(|e| crate::kafka::Error::Settings { what: "bootstrap.servers".into(), message: e.to_string() })
}

fn servers(list: Option<&String>) -> BTreeSet<&str> {
    list.map(|list| list.split(',').map(str::trim).filter(|s| !s.is_empty()).collect()).unwrap_or_default()
}

/// The `target.cluster.*` keys of the files, where all that have them agree.
async fn of_files(
    settings: &Settings,
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
) -> Result<BTreeMap<String, String>, Error> {
    tracing::info!(
        "no bootstrap-servers and no worker file: waiting for the repository to say where the destination is"
    );
    let scope = Scope {
        root: settings.root.clone(),
        environment: settings.environment.clone(),
        destination: settings.destination.clone(),
        sources: settings.sources.clone(),
    };
    let gone = |_| Error::Destination("the repository is not followed any more".to_owned());
    loop {
        let snapshot = snapshots.wait_for(Option::is_some).await.map_err(gone)?.clone();
        let loaded = snapshot
            .map(|s| spec::load(&scope, &s.files, &LoadOptions { strict: settings.strict }))
            .unwrap_or_default();
        let targets: BTreeSet<BTreeMap<String, String>> = loaded
            .connectors
            .values()
            .map(|connector| target(&connector.config))
            .filter(|keys| keys.contains_key("bootstrap.servers"))
            .collect();
        match (targets.len(), targets.into_iter().next()) {
            (1, Some(properties)) => return Ok(properties),
            (0, _) => tracing::warn!(
                "no connector file says where the destination is: set bootstrap-servers or worker-config"
            ),
            _ => {
                return Err(Error::Destination(
                    "the connector files' target.cluster.* keys name different destinations: set bootstrap-servers or worker-config".to_owned(),
                ));
            }
        }
        snapshots.changed().await.map_err(gone)?;
    }
}

fn target(config: &Config) -> BTreeMap<String, String> {
    config
        .with_prefix("target.cluster.")
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .filter(|(k, _)| k != "alias")
        .collect()
}

fn host_name() -> String {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    from_kernel
        .or_else(|| std::env::var("HOSTNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
