//! Connections: as many as there may be, each bounded in headers, idleness and life, all owned here.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::access::Peer;
use super::tls::Acceptor;
use crate::supervise::{self, Task};

/// Connections at a time; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 256;

/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;

/// Headers of a request.
const MAX_HEADERS: usize = 64;

/// After this a connection takes no further request, so that slow readers can't hold a place for ever.
const LIFETIME: Duration = Duration::from_secs(600);

/// How long accepting rests after it failed: the usual reason is a lack of file descriptors.
const REST: Duration = Duration::from_millis(500);

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) grace: Duration,
}

/// Accepts and serves until `shutdown`, then lets open requests end within the grace.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    acceptor: Option<Arc<Acceptor>>,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (closing, close) = watch::channel(false);
    let mut connections: FuturesUnordered<Task<()>> = FuturesUnordered::new();
    let mut shutdown = pin!(shutdown);
    loop {
        // Every arm is cancel-safe; a finished connection makes room for the next.
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let serving = connection(stream, router.clone(), acceptor.clone(), limits, close.clone());
                    connections.push(supervise::spawn(format!("api {peer}"), serving));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    drop(listener);
    closing.send_replace(true);
    let ended = tokio::time::timeout(limits.grace, async { while connections.next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(open = connections.len(), "requests cut off at the end of the grace period");
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    acceptor: Option<Arc<Acceptor>>,
    limits: Limits,
    close: watch::Receiver<bool>,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return serve(stream, router, Peer::default(), limits, close).await };
    match tokio::time::timeout(limits.header_timeout, acceptor.accept(stream)).await {
        Ok(Ok((stream, certified))) => serve(stream, router, Peer { certified }, limits, close).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
        Err(_) => tracing::debug!("a client did not finish its TLS handshake"),
    }
}

async fn serve<S>(stream: S, router: Router, peer: Peer, limits: Limits, mut close: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.layer(Extension(peer))));
    let mut serving = pin!(serving);
    let result = tokio::select! {
        result = &mut serving => result,
        () = ending(&mut close) => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.request_timeout + limits.header_timeout, serving).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// The process stops, or the connection has lived long enough.
async fn ending(close: &mut watch::Receiver<bool>) {
    tokio::select! {
        _ = close.wait_for(|closing| *closing) => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
}
