//! HTTP: `/status` and its page, probes, metrics, the verbs of the control loop, and Kafka Connect's REST API.
//!
//! | route | what |
//! |---|---|
//! | `GET /status[?item=]`, `GET /status/{name}` | the status document; a page for browsers |
//! | `GET /plan`, `/diff`, `/history`, `/schema/status.json` | parts of it; text with `Accept: text/plain` |
//! | `GET /livez`, `/readyz`, `/metrics` | probes and metrics |
//! | `POST /reconcile`, `/apply`, `/confirm`, `/hold`, `DELETE /hold` | verbs, answered after a completed pass |
//! | `/`, `/health`, `/connectors...`, `/connector-plugins` | Kafka Connect's REST API; configurations are Git's: writes answer 409 |
//!
//! It shows what [`crate::reconcile`] and the [`Engine`] say and decides nothing. Nobody uses it but the program's start.
//!
//! Laws: no secret leaves (law 9): configurations are masked, the status is redacted where it is made. Whatever comes in is
//! bounded (law 10): connections, headers, bodies, time. An engine that can't be asked is an error, never an empty list
//! (law 8). Writing needs the token or a client certificate; where neither is configured, a listener on loopback and a
//! caller that no web page sent.

mod access;
mod answer;
mod connect;
mod metrics;
mod negotiate;
mod page;
mod report;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod verbs;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::reconcile::Handle;
use crate::reconcile::status::Status;

pub use access::{Token, TokenError};
pub use tls::{Acceptor, TlsError, TlsFiles};

/// The longest body that is read, in bytes (64 KiB): the largest is a hold with its reason.
pub const MAX_BODY: usize = 64 * 1024;

/// Everything that the API speaks for.
#[derive(Debug)]
pub struct ApiContext<E> {
    /// What runs connectors.
    pub engine: Arc<E>,
    /// The status as it changes.
    pub status: watch::Receiver<Arc<Status>>,
    /// The control loop.
    pub handle: Handle,
    /// Whether the process is ready. It says nothing about replications or Git.
    pub ready: watch::Receiver<Readiness>,
    /// The destination's cluster id, once known.
    pub cluster_id: watch::Receiver<Option<String>>,
    /// What it is told once.
    pub settings: ApiSettings,
}

/// Whether the process can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet; each reason in one line.
    Starting(Vec<String>),
    /// Settings are valid, and the destination's state was read once.
    Ready,
    /// It is told to stop and drains.
    Stopping,
}

/// What the API is told once.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// What write verbs must bring; without it, they are taken on loopback only.
    pub token: Option<Token>,
    /// Reading needs what writing needs; probes need nothing.
    pub guard_reading: bool,
    /// TLS; without it, plain HTTP.
    pub tls: Option<Arc<Acceptor>>,
    /// `host:port` as Kafka Connect's `worker_id`.
    pub worker_id: String,
    /// The program's commit, as `GET /` tells it.
    pub commit: String,
    /// How long a request may take; Kafka Connect's is 90 s.
    pub request_timeout: Duration,
    /// How long a client may take to send its request's head, and may idle between two requests.
    pub header_timeout: Duration,
    /// How long open requests may go on after the shutdown began.
    pub grace: Duration,
}

impl ApiSettings {
    /// Kafka Connect's 90 s for a request, 20 s for its head, 5 s to end.
    #[must_use]
    pub fn new(worker_id: impl Into<String>) -> Self {
        Self {
            token: None,
            guard_reading: false,
            tls: None,
            worker_id: worker_id.into(),
            commit: option_env!("MIRRORKEEPER_COMMIT").unwrap_or("unknown").to_owned(),
            request_timeout: Duration::from_secs(90),
            header_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves until `shutdown` ends, and open requests for [`ApiSettings::grace`] longer. It is to be the last to stop, so that
/// a drain can be watched.
///
/// # Errors
/// The listener has no local address. Failures of single connections end only those.
pub async fn serve<E: Engine>(
    listener: TcpListener,
    context: ApiContext<E>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let loopback = listener.local_addr()?.ip().is_loopback();
    let limits = server::Limits {
        header_timeout: context.settings.header_timeout,
        request_timeout: context.settings.request_timeout,
        grace: context.settings.grace,
    };
    let acceptor = context.settings.tls.clone();
    server::run(listener, router(context, loopback), acceptor, limits, shutdown).await;
    Ok(())
}

/// What every handler sees.
type Shared<E> = axum::extract::State<Arc<ApiContext<E>>>;

fn router<E: Engine>(context: ApiContext<E>, loopback: bool) -> Router {
    let gate = access::Gate {
        token: context.settings.token.clone(),
        certificates: context.settings.tls.as_ref().is_some_and(|tls| tls.trusts_clients()),
        guard_reading: context.settings.guard_reading,
        loopback,
        request_timeout: context.settings.request_timeout,
    };
    Router::new()
        .route("/status", get(report::status::<E>))
        .route("/status/{name}", get(report::item::<E>))
        .route("/plan", get(report::plan::<E>))
        .route("/diff", get(report::diff::<E>))
        .route("/history", get(report::history::<E>))
        .route("/schema/status.json", get(report::schema))
        .route("/livez", get(report::livez::<E>))
        .route("/readyz", get(report::readyz::<E>))
        .route("/metrics", get(metrics::scrape::<E>))
        .route("/reconcile", post(verbs::reconcile::<E>))
        .route("/apply", post(verbs::apply::<E>))
        .route("/confirm", post(verbs::confirm::<E>))
        .route("/hold", post(verbs::hold::<E>))
        .route("/hold", delete(verbs::release::<E>))
        .merge(connect::routes())
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::new(gate), access::gate))
        .with_state(Arc::new(context))
}
