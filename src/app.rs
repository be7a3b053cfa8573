//! The composition root: builds everything from the settings, runs it, and drains it in order.
//!
//! ```text
//! app
//! ├ git::Source           stops second
//! ├ reconcile             stops second
//! ├ engine::embedded      stops third: awaits what is in flight, writes progress, leaves the group
//! └ api                   readiness off first, server last: /status stays readable during the drain
//! ```
//!
//! Used by the commands only.

pub mod check;
mod destination;
mod signals;
mod source;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, ApiContext, ApiSettings, Readiness};
use crate::destination::state_log::StateLog;
use crate::engine::embedded::{Embedded, Ownership};
use crate::kafka::Cluster;
use crate::reconcile::{self, status};
use crate::settings::Settings;
use crate::spec::Scope;
use crate::supervise;

/// The daemon can't begin, or ended other than asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address to listen on is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// `host:port`.
        address: String,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// A file named in the settings can't be used.
    #[error("{path}: {why}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong; quotes no secret.
        why: String,
    },
    /// The server's certificate can't be used.
    #[error(transparent)]
    Tls(#[from] api::TlsError),
    /// Where to write is not said, or said twice.
    #[error("{0}")]
    Destination(String),
    /// The repository can't be followed at all.
    #[error("the repository can't be followed")]
    Source(#[source] crate::git::Error),
    /// The runtime can't be told of signals.
    #[error("signals can't be awaited")]
    Signals(#[source] std::io::Error),
    /// The server ended.
    #[error("the HTTP server ended")]
    Serve(#[source] std::io::Error),
    /// A second signal came during the drain.
    #[error("ended at once by a second signal; what was in flight is found out at the next start")]
    Interrupted,
}

/// How often the drain says who still runs.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to stop, and drains.
///
/// # Errors
/// It could not begin, or was ended the hard way.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let mut signals = signals::Signals::new().map_err(Error::Signals)?;
    let listener = TcpListener::bind(&settings.listen).await;
    let listener = listener.map_err(|source| Error::Listen { address: settings.listen.clone(), source })?;
    let address = listener.local_addr().map_err(Error::Serve)?;
    let token = settings.token_file.as_deref().map(source::token).transpose()?;
    let tls = tls(&settings).await?;

    let repository = source::follow(&settings)?;
    let found = tokio::select! {
        found = destination::find(&settings, address, repository.snapshots.clone()) => found?,
        () = signals.stop() => return Ok(()),
    };
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    let cluster = Cluster::new(found.cluster.clone());
    let engine = Embedded::start(cluster.clone(), found.engine.clone());
    let (store, loaded) =
        store::Noted::new(StateLog::new(cluster.clone(), found.state.topic.clone(), found.state.replication_factor));
    let (standby, follow_standby) = standby(engine.ownership());

    let inputs = reconcile::Inputs {
        snapshots: repository.snapshots.clone(),
        source: repository.state.clone(),
        engine: engine.changes(),
        standby,
        refresh: repository.refresh.clone(),
    };
    let (handle, reconcile) = reconcile::start(control(&settings, &found), Arc::new(engine.clone()), store, inputs);

    let (ready, readiness) =
        watch::channel(Readiness::Starting(vec!["the destination's state was not read yet".into()]));
    let become_ready = supervise::spawn("readiness", become_ready(loaded, ready.clone()));
    let (cluster_id, ids) = watch::channel(None);
    let identify = supervise::spawn("cluster id", identify(cluster, cluster_id));
    let context = ApiContext {
        engine: Arc::new(engine.clone()),
        status: handle.watch(),
        handle,
        ready: readiness,
        cluster_id: ids,
        settings: api_settings(&settings, address, token, tls),
    };
    let (stop_serving, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = api::serve(listener, context, async move {
        // The sender is dropped or used: both mean stop.
        let _ = stopped.await;
    });
    let server = supervise::spawn("http", server);
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    tracing::info!(%address, destination = %found.engine.group, "listening on {scheme}://{address}");

    signals.stop().await;
    tracing::info!("told to stop: draining");
    ready.send_replace(Readiness::Stopping);
    drop((repository, reconcile, become_ready, identify, follow_standby));
    tokio::select! {
        () = drain(&engine) => {}
        () = signals.stop() => return Err(Error::Interrupted),
    }
    drop(stop_serving);
    match tokio::time::timeout(Duration::from_secs(10), server).await {
        Ok(Ok(Ok(()))) | Err(_) => Ok(()),
        Ok(Ok(Err(error))) => Err(Error::Serve(error)),
        Ok(Err(lost)) => Err(Error::Serve(std::io::Error::other(lost))),
    }
}

/// Stops every flow within the grace time, saying who still runs, and leaves the group.
async fn drain(engine: &Embedded) {
    let say = async {
        loop {
            tokio::time::sleep(SAY_EVERY).await;
            tracing::info!(running = ?engine.running(), "still draining");
        }
    };
    let stragglers = tokio::select! {
        stragglers = engine.shut_down() => stragglers,
        () = say => Vec::new(),
    };
    if stragglers.is_empty() {
        tracing::info!("drained: everything in flight is acknowledged and progress is written");
    } else {
        tracing::warn!(?stragglers, "did not drain in time; what was in flight is found out at the next start");
    }
}

fn control(settings: &Settings, found: &destination::Found) -> reconcile::Settings {
    let instance = status::Instance {
        environment: settings.environment.clone(),
        destination: settings.destination.clone(),
        sources: settings.sources.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Timestamp::now(),
    };
    let scope = Scope {
        root: settings.root.clone(),
        environment: settings.environment.clone(),
        destination: settings.destination.clone(),
        sources: settings.sources.clone(),
    };
    let mut control = reconcile::Settings::new(instance, scope, source::rules(settings));
    control.strict = settings.strict;
    control.interval = control.interval.min(settings.interval);
    // A verb may wait for a flow to drain.
    control.deadline = control.deadline.max(found.engine.grace + Duration::from_secs(10));
    control
}

async fn tls(settings: &Settings) -> Result<Option<Arc<api::Acceptor>>, Error> {
    let Some(files) = settings.tls.clone() else { return Ok(None) };
    let files =
        api::TlsFiles { certificate: files.certificate, key: files.key, client_authority: files.client_authority };
    Ok(Some(Arc::new(api::Acceptor::start(files).await?)))
}

fn api_settings(
    settings: &Settings,
    address: SocketAddr,
    token: Option<api::Token>,
    tls: Option<Arc<api::Acceptor>>,
) -> ApiSettings {
    let mut api = ApiSettings::new(address.to_string());
    api.token = token;
    api.tls = tls;
    api.guard_reading = settings.guard_reading;
    api.grace = settings.grace.min(Duration::from_secs(5));
    api
}

/// Why this process may not write, while it may not.
fn standby(mut ownership: watch::Receiver<Ownership>) -> (watch::Receiver<Option<String>>, supervise::Task<()>) {
    let reason = |ownership: &Ownership| match ownership {
        Ownership::Held => None,
        Ownership::Joining => Some("joining the group".to_owned()),
        Ownership::Waiting(why) => Some(why.clone()),
    };
    let (sender, receiver) = watch::channel(reason(&ownership.borrow()));
    let follow = async move {
        while ownership.changed().await.is_ok() {
            sender.send_replace(reason(&ownership.borrow_and_update()));
        }
    };
    (receiver, supervise::spawn("standby", follow))
}

async fn become_ready(mut loaded: watch::Receiver<bool>, ready: watch::Sender<Readiness>) {
    if loaded.wait_for(|loaded| *loaded).await.is_ok() {
        ready.send_if_modified(|now| {
            let starting = matches!(now, Readiness::Starting(_));
            if starting {
                *now = Readiness::Ready;
            }
            starting
        });
    }
}

async fn identify(cluster: Cluster, id: watch::Sender<Option<String>>) {
    let mut backoff = supervise::Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        match cluster.id().await {
            Ok(found) => {
                id.send_replace(Some(found));
                return;
            }
            Err(error) => tracing::debug!(%error, "the destination's cluster id is not known yet"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
