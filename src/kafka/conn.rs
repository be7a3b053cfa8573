//! One connection to one broker: versions negotiated, requests pipelined, answers matched in order.
//!
//! Used by [`super::cluster`] and the data path. Laws: requests go out in the order of [`Connection::send`]; whatever
//! ends the connection is told to every waiter as the same cause; a request that times out takes the connection with
//! it, because nothing can be said about what follows; the last handle dropped closes it. Law 10: waiting is bounded.
//! Where the broker bounds a session, it is renewed in place (`conn/session.rs`) and nobody notices.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::security::authenticator::Proof;
use super::security::{Authenticator, sasl, tls};
use super::version::{Versions, api_name};
use super::{ClusterConfig, Error, ErrorCode, wire};
use crate::supervise::{self, Task};

mod io;
mod session;

/// Requests that may wait on one connection.
pub const MAX_WAITING: usize = 1024;
/// A broker never asks for more silence than its quota windows; a hostile one may.
const MAX_THROTTLE: Duration = Duration::from_secs(120);

/// A handle on a connection; clones share it.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Outgoing>,
    client_id: String,
    request_timeout: Duration,
    versions: OnceLock<Versions>,
    /// Renews the session, where the broker bounds it.
    renewal: OnceLock<Task<()>>,
    _reader: Task<()>,
    _writer: Task<()>,
}

/// What the tasks know too.
struct Shared {
    addr: String,
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    next_correlation: i32,
    waiting: VecDeque<Waiter>,
    /// Requests that are held back while the session is renewed, in their order.
    held: Option<VecDeque<(Outgoing, Waiter)>>,
    closed: Option<Error>,
    throttled_until: Option<Instant>,
}

struct Waiter {
    correlation: i32,
    api_key: i16,
    version: i16,
    answer: oneshot::Sender<Result<Bytes, Error>>,
}

/// A request as it goes to the socket: parts are written one after another, not copied together.
struct Outgoing {
    head: Bytes,
    body: Vec<Bytes>,
}

/// An answer that has not come yet. Dropping it does not disturb the connection: the answer is then thrown away.
#[must_use = "a request nobody waits for can't time out"]
pub struct PendingResponse {
    connection: Connection,
    answer: oneshot::Receiver<Result<Bytes, Error>>,
    deadline: Pin<Box<Sleep>>,
    timeout: Duration,
    api: &'static str,
}

// === impl Connection ===

impl Connection {
    /// Connects on its own. A [`super::Cluster`]'s connections share what they prove who they are with.
    ///
    /// # Errors
    /// As [`Connection::connect_as`].
    pub async fn connect(addr: &str, config: &ClusterConfig) -> Result<Connection, Error> {
        Self::connect_as(addr, config, &Authenticator::new(config)).await
    }

    /// Connects: credentials, then TCP, TLS, ApiVersions and SASL within `config.connect_timeout`.
    ///
    /// # Errors
    /// [`Error::Credentials`], [`Error::Connect`], [`Error::Tls`], [`Error::Auth`], [`Error::Settings`],
    /// [`Error::Timeout`], or what closed it.
    pub async fn connect_as(
        addr: &str,
        config: &ClusterConfig,
        authenticator: &Arc<Authenticator>,
    ) -> Result<Connection, Error> {
        // Credentials first: whoever gives them has limits of its own.
        let proof = authenticator.proof(addr, None).await?;
        let establish = Box::pin(Self::establish(addr, config, authenticator, proof));
        match tokio::time::timeout(config.connect_timeout, establish).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                api: "connecting",
                addr: addr.to_owned(),
                after: config.connect_timeout,
                source: None,
            }),
        }
    }

    async fn establish(
        addr: &str,
        config: &ClusterConfig,
        authenticator: &Arc<Authenticator>,
        proof: Option<Proof<'_>>,
    ) -> Result<Connection, Error> {
        let refused = |e: std::io::Error| Error::Connect { addr: addr.to_owned(), source: Arc::new(e) };
        let stream = TcpStream::connect(addr).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let connection = match config.security.tls() {
            None => {
                let (read, write) = stream.into_split();
                Self::over(addr, config, read, write)
            }
            Some(tls) => {
                let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let (read, write) = tokio::io::split(tls::handshake(stream, addr, host, tls).await?);
                Self::over(addr, config, read, write)
            }
        };
        let versions = connection.negotiate().await?;
        let _ = connection.inner.versions.set(versions);
        if let Some(proof) = proof {
            let begun = Instant::now();
            if let Some(lifetime) = sasl::authenticate(&connection, proof).await? {
                let weak = Arc::downgrade(&connection.inner);
                let keep = session::keep(weak, authenticator.clone(), session::Session { begun, lifetime });
                let _ = connection.inner.renewal.set(supervise::spawn(format!("kafka session {addr}"), keep));
            }
        }
        tracing::debug!(addr, "connected");
        Ok(connection)
    }

    fn over<R, W>(addr: &str, config: &ClusterConfig, read: R, write: W) -> Connection
    where
        R: tokio::io::AsyncRead + Send + Unpin + 'static,
        W: tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let shared =
            Arc::new(Shared { addr: addr.to_owned(), state: Mutex::default(), stop: CancellationToken::new() });
        // One more than may wait: the request that renews the session goes before those that wait for it.
        let (requests, queue) = mpsc::channel(MAX_WAITING + 1);
        let reader = supervise::spawn(format!("kafka read {addr}"), io::read(read, shared.clone()));
        let writer = supervise::spawn(format!("kafka write {addr}"), io::write(write, queue, shared.clone()));
        Connection {
            inner: Arc::new(Inner {
                shared,
                requests,
                client_id: config.client_id.clone(),
                request_timeout: config.request_timeout,
                versions: OnceLock::new(),
                renewal: OnceLock::new(),
                _reader: reader,
                _writer: writer,
            }),
        }
    }

    /// ApiVersions v3, or v0 where the broker is older (KIP-511: it then answers in v0 with error 35).
    async fn negotiate(&self) -> Result<Versions, Error> {
        let limit = self.inner.request_timeout;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("mirrorkeeper"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let body = self.exchange(&request, ApiKey::ApiVersions as i16, 3, limit).await?;
        let (body, version) = match body.first_chunk::<2>() {
            Some([0, 35]) => {
                (self.exchange(&ApiVersionsRequest::default(), ApiKey::ApiVersions as i16, 0, limit).await?, 0)
            }
            _ => (body, 3),
        };
        let response: ApiVersionsResponse = self.decode(ApiKey::ApiVersions as i16, version, body)?;
        let code = ErrorCode(response.error_code);
        code.ok().map_err(|code| Error::broker("ApiVersions", code, self.addr(), None))?;
        Ok(Versions::of(&response))
    }

    /// `host:port`, as it was connected to.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.inner.shared.addr
    }

    /// The highest version both sides know within `min..=max`; `None` when the broker lacks the API.
    #[must_use]
    pub fn version(&self, api_key: i16, min: i16, max: i16) -> Option<i16> {
        self.inner.versions.get()?.pick(api_key, min, max)
    }

    /// Asks and waits, in the highest version that both sides know.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`], [`Error::Timeout`] or what closed the connection. Error codes inside the answer
    /// are the caller's to read.
    pub async fn call<R: Request + Send + Sync>(&self, request: R) -> Result<R::Response, Error> {
        let version = self.version_of::<R>(i16::MAX)?;
        self.call_at(request, version).await
    }

    /// As [`Connection::call`], with the request built for the version (at most `max`) that will be spoken.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_with<R: Request + Send + Sync>(
        &self,
        max: i16,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, Error> {
        let version = self.version_of::<R>(max)?;
        self.call_at(build(version), version).await
    }

    /// As [`Connection::call_with`], with another time limit than the settings' `request.timeout.ms`.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_within<R: Request + Send + Sync>(
        &self,
        max: i16,
        timeout: Duration,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, Error> {
        let version = self.version_of::<R>(max)?;
        let body = self.exchange(&build(version), R::KEY, version, timeout).await?;
        self.decode(R::KEY, version, body)
    }

    async fn call_at<R: Request + Send + Sync>(&self, request: R, version: i16) -> Result<R::Response, Error> {
        let body = self.exchange(&request, R::KEY, version, self.inner.request_timeout).await?;
        self.decode(R::KEY, version, body)
    }

    /// The version that a call of `R` would speak, at most `max`.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`].
    pub fn version_of<R: Request + Send + Sync>(&self, max: i16) -> Result<i16, Error> {
        let (low, high) = (R::VERSIONS.min, R::VERSIONS.max.min(max));
        self.version(R::KEY, low, high).ok_or_else(|| {
            let theirs = self.inner.versions.get().and_then(|v| v.range(R::KEY));
            let theirs = theirs.map_or_else(|| "not at all".to_owned(), |(a, b)| format!("{a} to {b}"));
            Error::UnsupportedVersion {
                api: api_name(R::KEY),
                addr: self.addr().to_owned(),
                wanted: format!("ours: {low} to {high}, theirs: {theirs}"),
            }
        })
    }

    async fn exchange<E: Encodable + Sync>(
        &self,
        request: &E,
        api_key: i16,
        version: i16,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        request
            .encode(&mut body, version)
            .map_err(|e| self.broken(format!("{} v{version} can't be encoded: {e:#}", api_name(api_key))))?;
        self.send(api_key, version, &self.inner.client_id, vec![body.freeze()], timeout)?.await
    }

    fn decode<D: Decodable>(&self, api_key: i16, version: i16, mut body: Bytes) -> Result<D, Error> {
        wire::bounds::check(api_key, version, &body)
            .map_err(|e| self.broken(format!("{} v{version}: {e}", api_name(api_key))))?;
        D::decode(&mut body, version)
            .map_err(|e| self.broken(format!("{} v{version} can't be decoded: {e:#}", api_name(api_key))))
    }

    fn broken(&self, message: String) -> Error {
        Error::Protocol { addr: self.addr().to_owned(), message }
    }

    /// Sends a request whose body is already encoded; `body` parts are written after the header without copying.
    ///
    /// Synchronous: requests go out in the order of these calls, answers come in that order. The answer is the
    /// response's body after its header. `timeout` runs from now.
    ///
    /// # Errors
    /// What closed the connection, [`Error::Busy`], or [`Error::Protocol`] for a frame beyond the cap.
    pub fn send(
        &self,
        api_key: i16,
        version: i16,
        client_id: &str,
        body: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<PendingResponse, Error> {
        let inner = &self.inner;
        let renews = session::renews(api_key);
        let len = body.iter().map(Bytes::len).sum();
        let (sender, answer) = oneshot::channel();
        {
            let mut state = inner.shared.lock();
            if let Some(cause) = &state.closed {
                return Err(cause.clone());
            }
            let waiting = state.waiting.len() + state.held.as_ref().map_or(0, VecDeque::len);
            if waiting >= MAX_WAITING && !renews {
                return Err(Error::Busy { addr: self.addr().to_owned(), limit: MAX_WAITING });
            }
            let correlation = state.next_correlation;
            let head = wire::request_head(api_key, version, correlation, client_id, len).map_err(|m| self.broken(m))?;
            let (outgoing, waiter) =
                (Outgoing { head, body }, Waiter { correlation, api_key, version, answer: sender });
            match &mut state.held {
                Some(held) if !renews => held.push_back((outgoing, waiter)),
                _ => self.put(&mut state, outgoing, waiter)?,
            }
            state.next_correlation = correlation.wrapping_add(1) & i32::MAX;
        }
        Ok(PendingResponse {
            connection: self.clone(),
            answer,
            deadline: Box::pin(tokio::time::sleep(timeout)),
            timeout,
            api: api_name(api_key),
        })
    }

    /// Both queues change under one lock: the order of waiters is the order on the wire.
    fn put(&self, state: &mut State, outgoing: Outgoing, waiter: Waiter) -> Result<(), Error> {
        match self.inner.requests.try_send(outgoing) {
            Ok(()) => {
                state.waiting.push_back(waiter);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(Error::Busy { addr: self.addr().to_owned(), limit: MAX_WAITING })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.closed("its writer ended")),
        }
    }

    fn closed(&self, reason: &str) -> Error {
        Error::Closed { addr: self.addr().to_owned(), reason: reason.to_owned(), source: None }
    }

    /// Whether it ended, and a new one is needed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.shared.lock().closed.is_some()
    }

    /// Closes it now; everybody who waits gets `cause`.
    pub fn close(&self, cause: &Error) {
        self.inner.shared.close(cause);
    }

    /// For how long the broker still wants silence; zero when not throttled.
    #[must_use]
    pub fn throttled_for(&self) -> Duration {
        self.inner.shared.throttled_for()
    }

    /// Keeps silent for `ms` milliseconds from now, as the broker asked (`throttle_time_ms`, KIP-219). Answers that
    /// begin with the field are noted by themselves; Produce's is the caller's to note.
    pub fn note_throttle(&self, ms: i32) {
        self.inner.shared.note_throttle(ms);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("addr", &self.addr()).field("closed", &self.is_closed()).finish()
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first cause stays; all waiters get it.
    fn close(&self, cause: &Error) {
        let waiting = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(cause.clone());
            let held = state.held.take().into_iter().flatten().map(|(_, waiter)| waiter);
            std::mem::take(&mut state.waiting).into_iter().chain(held).collect::<Vec<_>>()
        };
        self.stop.cancel();
        for waiter in waiting {
            let _ = waiter.answer.send(Err(cause.clone()));
        }
    }

    fn throttled_for(&self) -> Duration {
        let until = self.lock().throttled_until;
        until.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    fn note_throttle(&self, ms: i32) {
        if let Ok(ms) = u64::try_from(ms)
            && ms > 0
        {
            let until = Instant::now() + Duration::from_millis(ms).min(MAX_THROTTLE);
            let mut state = self.lock();
            state.throttled_until = Some(state.throttled_until.map_or(until, |at| at.max(until)));
        }
    }
}

// === impl PendingResponse ===

impl Future for PendingResponse {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) {
            return Poll::Ready(answer.unwrap_or_else(|_| Err(self.connection.closed("its reader ended"))));
        }
        while self.deadline.as_mut().poll(cx).is_ready() {
            // Silence that the broker asked for is not its failure to answer.
            let silence = self.connection.throttled_for();
            if silence > Duration::ZERO {
                let again = Instant::now() + silence + self.timeout;
                self.deadline.as_mut().reset(again);
                continue;
            }
            let cause = Error::Timeout {
                api: self.api,
                addr: self.connection.addr().to_owned(),
                after: self.timeout,
                source: None,
            };
            self.connection.close(&cause);
            return Poll::Ready(Err(cause));
        }
        Poll::Pending
    }
}

impl fmt::Debug for PendingResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingResponse").field("api", &self.api).field("timeout", &self.timeout).finish()
    }
}

#[cfg(test)]
mod tests;
