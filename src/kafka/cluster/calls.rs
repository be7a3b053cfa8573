//! Calls to any broker, the controller or a coordinator, with retries within a deadline.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::Instant;

use super::{Cluster, CoordinatorKind, REFRESH_EVERY, Role, metadata_request};
use crate::kafka::conn::Connection;
use crate::kafka::version::api_name;
use crate::kafka::{Error, ErrorCode};
use crate::supervise::Backoff;

impl Cluster {
    /// Refreshes metadata; whoever asks while one is under way waits for that one.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let refresh = {
            let mut metadata = self.inner.metadata();
            match metadata.refresh.as_ref().and_then(|weak| weak.upgrade()).filter(|shared| shared.peek().is_none()) {
                Some(shared) => shared,
                None => {
                    let (inner, earliest) = (self.inner.clone(), metadata.asked.map(|at| at + REFRESH_EVERY));
                    let cluster = Cluster { inner: inner.clone() };
                    let future: BoxFuture<'static, Result<(), Error>> = Box::pin(async move {
                        if let Some(at) = earliest {
                            tokio::time::sleep_until(at).await;
                        }
                        let connection = cluster.any(Role::Admin).await?;
                        let wanted = {
                            let mut metadata = inner.metadata();
                            metadata.asked = Some(Instant::now());
                            metadata.wanted()
                        };
                        let response = connection.call_with(i16::MAX, |v| metadata_request(Some(&wanted), v)).await?;
                        let addrs = {
                            let mut metadata = inner.metadata();
                            metadata.absorb(&response).map_err(|ids| cluster.is_other(ids))?;
                            let known = metadata.brokers.values().cloned();
                            known.chain(inner.config.bootstrap.iter().cloned()).collect::<Vec<_>>()
                        };
                        inner.connections().keep(&addrs);
                        Ok(())
                    });
                    let shared = future.shared();
                    metadata.refresh = shared.downgrade();
                    shared
                }
            }
        };
        refresh.await
    }

    /// Asks any broker. `build` makes the request for the version spoken; `code` reads the answer's own error.
    ///
    /// # Errors
    /// A refusal that no retry changes, or the last cause when `config.api_timeout` is over.
    pub async fn call_any<R: Request + Send + Sync>(
        &self,
        role: Role,
        build: impl Fn(i16) -> R + Send + Sync,
        code: impl Fn(&R::Response) -> ErrorCode + Send + Sync,
    ) -> Result<R::Response, Error>
    where
        R::Response: Send,
    {
        let (build, code) = (&build, &code);
        self.within(move || {
            Box::pin(async move {
                let connection = self.any(role).await?;
                checked(&connection, build, code).await
            })
        })
        .await
    }

    /// Asks the controller (any broker forwards to it where there is no ZooKeeper); else as [`Cluster::call_any`].
    ///
    /// # Errors
    /// As [`Cluster::call_any`].
    pub async fn call_controller<R: Request + Send + Sync>(
        &self,
        build: impl Fn(i16) -> R + Send + Sync,
        code: impl Fn(&R::Response) -> ErrorCode + Send + Sync,
    ) -> Result<R::Response, Error>
    where
        R::Response: Send,
    {
        let (build, code) = (&build, &code);
        self.within(move || {
            Box::pin(async move {
                let known = self.inner.metadata().controller;
                let controller = match known {
                    Some(id) => Some(id),
                    None => {
                        self.refresh().await?;
                        self.inner.metadata().controller
                    }
                };
                let connection = match controller {
                    Some(id) => self.broker(id, Role::Admin).await,
                    None => self.any(Role::Admin).await,
                };
                let result = match connection {
                    Ok(connection) => checked(&connection, build, code).await,
                    Err(error) => Err(error),
                };
                if result.is_err() {
                    self.inner.metadata().controller = None;
                }
                result
            })
        })
        .await
    }

    /// Asks the coordinator of `key`; else as [`Cluster::call_any`].
    ///
    /// # Errors
    /// As [`Cluster::call_any`].
    pub async fn call_coordinator<R: Request + Send + Sync>(
        &self,
        kind: CoordinatorKind,
        key: &str,
        role: Role,
        build: impl Fn(i16) -> R + Send + Sync,
        code: impl Fn(&R::Response) -> ErrorCode + Send + Sync,
    ) -> Result<R::Response, Error>
    where
        R::Response: Send,
    {
        let (build, code) = (&build, &code);
        self.within(move || {
            Box::pin(async move {
                let connection = self.coordinator(kind, key, role).await?;
                let result = checked(&connection, build, code).await;
                if result.is_err() {
                    self.forget_coordinator(kind, key);
                }
                result
            })
        })
        .await
    }

    /// The connection to the coordinator of `key`, for a role. Not retried.
    ///
    /// # Errors
    /// Why it can't be found or reached.
    pub async fn coordinator(&self, kind: CoordinatorKind, key: &str, role: Role) -> Result<Connection, Error> {
        let cached = self.inner.coordinators().get(&(kind, key.to_owned())).copied();
        let node = match cached {
            Some(node) => node,
            None => self.find_coordinator(kind, key).await?,
        };
        let connection = self.broker(node, role).await;
        if connection.is_err() {
            self.forget_coordinator(kind, key);
        }
        connection
    }

    /// Finds the coordinator anew next time.
    pub fn forget_coordinator(&self, kind: CoordinatorKind, key: &str) {
        self.inner.coordinators().remove(&(kind, key.to_owned()));
    }

    async fn find_coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<i32, Error> {
        let connection = self.any(Role::Admin).await?;
        let name = StrBytes::from_string(key.to_owned());
        let key_type = match kind {
            CoordinatorKind::Group => 0,
            CoordinatorKind::Transaction => 1,
        };
        let version = connection.version_of::<FindCoordinatorRequest>(i16::MAX)?;
        let answer = connection
            .call_with(version, |version| match version {
                0 => FindCoordinatorRequest::default().with_key(name),
                1..=3 => FindCoordinatorRequest::default().with_key(name).with_key_type(key_type),
                _ => FindCoordinatorRequest::default().with_key_type(key_type).with_coordinator_keys(vec![name]),
            })
            .await?;
        let (code, message, node, host, port) = match answer.coordinators.first() {
            Some(c) => (c.error_code, c.error_message.clone(), c.node_id, c.host.clone(), c.port),
            None => (answer.error_code, answer.error_message, answer.node_id, answer.host, answer.port),
        };
        ErrorCode(code)
            .ok()
            .map_err(|code| Error::broker("FindCoordinator", code, key, message.map(|m| m.to_string())))?;
        self.note_broker(node.0, &host, port);
        self.inner.coordinators().insert((kind, key.to_owned()), node.0);
        Ok(node.0)
    }

    /// Tries until it succeeds, fails for good, or `config.api_timeout` is over.
    pub(crate) async fn within<'a, T, F>(&'a self, attempt: F) -> Result<T, Error>
    where
        T: Send,
        F: Fn() -> BoxFuture<'a, Result<T, Error>>,
    {
        let deadline = Instant::now() + self.inner.config.api_timeout;
        self.until(deadline, attempt).await
    }

    async fn until<T, F, A>(&self, deadline: Instant, attempt: F) -> Result<T, Error>
    where
        F: Fn() -> A,
        A: Future<Output = Result<T, Error>>,
    {
        let (first, longest) = self.inner.config.retry_backoff;
        let mut backoff = Backoff::new(first, longest);
        let mut last: Option<Error> = None;
        loop {
            let late = |last: Option<Error>| Error::Timeout {
                api: last.as_ref().map_or("the call", |e| match e {
                    Error::Broker { api, .. } | Error::Timeout { api, .. } => api,
                    _ => "the call",
                }),
                addr: self.name(),
                after: self.inner.config.api_timeout,
                source: last.map(Arc::new),
            };
            let error = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !error.retriable() => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => return Err(late(last)),
            };
            let next = Instant::now() + backoff.next_delay();
            if next >= deadline {
                return Err(late(Some(error)));
            }
            last = Some(error);
            tokio::time::sleep_until(next).await;
        }
    }
}

async fn checked<R: Request + Send + Sync>(
    connection: &Connection,
    build: &(impl Fn(i16) -> R + Send + Sync),
    code: &(impl Fn(&R::Response) -> ErrorCode + Send + Sync),
) -> Result<R::Response, Error> {
    let response = connection.call_with(i16::MAX, build).await?;
    match code(&response).ok() {
        Ok(()) => Ok(response),
        Err(code) => Err(Error::Broker {
            api: api_name(R::KEY),
            code,
            resource: Some(connection.addr().to_owned()),
            message: None,
        }),
    }
}
