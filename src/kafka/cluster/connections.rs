//! Connections shared per broker and role, made once however many want one.

use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::{Cluster, Role};
use crate::kafka::conn::Connection;
use crate::kafka::{Error, ErrorCode};
use crate::supervise::Backoff;

type Connecting = BoxFuture<'static, Result<Connection, Error>>;

/// By address: a broker that comes back under another address is another connection.
#[derive(Default)]
pub(super) struct Connections {
    slots: HashMap<(String, Role), Slot>,
    /// Why the last attempt failed, until one succeeds.
    trouble: Option<Error>,
}

struct Slot {
    state: State,
    backoff: Backoff,
}

enum State {
    Idle,
    Open(Connection),
    Opening(WeakShared<Connecting>),
    Failed { until: Instant, error: Error },
}

impl Cluster {
    /// The connection to a broker for a role.
    ///
    /// # Errors
    /// Why there is none. A broker that could not be reached is left alone for a moment (`reconnect.backoff.ms`): the
    /// same error is then given at once.
    pub async fn broker(&self, node: i32, role: Role) -> Result<Connection, Error> {
        let known = self.inner.metadata().brokers.get(&node).cloned();
        let addr = match known {
            Some(addr) => addr,
            None => {
                self.refresh().await?;
                let known = self.inner.metadata().brokers.get(&node).cloned();
                known.ok_or_else(|| {
                    Error::broker(
                        "Metadata",
                        ErrorCode::LEADER_NOT_AVAILABLE,
                        format!("broker {node}"),
                        Some("not among the brokers".into()),
                    )
                })?
            }
        };
        // A broker that can't be reached may have lost its partitions to others. Java asks for metadata then, too.
        self.at(&addr, role).await.inspect_err(|_| self.inner.metadata().distrust(node))
    }

    /// A connection to any broker for a role: an open one, else the first that can be made, known brokers before the
    /// bootstrap list.
    ///
    /// # Errors
    /// Why the last one tried could not be reached.
    pub async fn any(&self, role: Role) -> Result<Connection, Error> {
        let mut addrs: Vec<String> = self.inner.metadata().brokers.values().cloned().collect();
        addrs.shuffle(&mut rand::rng());
        let open = self.inner.connections().open(&addrs, role);
        if let Some(connection) = open {
            return Ok(connection);
        }
        let mut bootstrap = self.inner.config.bootstrap.clone();
        bootstrap.shuffle(&mut rand::rng());
        addrs.extend(bootstrap);
        let mut last = Error::Settings { what: "bootstrap.servers".into(), message: "no broker is named".into() };
        for addr in addrs {
            match self.at(&addr, role).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Why the last connection could not be made, until one can. For who waits for a call that is tried again and again.
    #[must_use]
    pub fn trouble(&self) -> Option<Error> {
        self.inner.connections().trouble.clone()
    }

    async fn at(&self, addr: &str, role: Role) -> Result<Connection, Error> {
        let connecting = {
            let mut connections = self.inner.connections();
            let backoff = self.inner.config.reconnect_backoff;
            let slot = connections.slots.entry((addr.to_owned(), role)).or_insert_with(|| Slot::new(backoff));
            match &slot.state {
                State::Open(connection) if !connection.is_closed() => return Ok(connection.clone()),
                State::Failed { until, error } if Instant::now() < *until => return Err(error.clone()),
                State::Opening(weak) => match weak.upgrade() {
                    Some(shared) => shared,
                    None => self.open(slot, addr, role),
                },
                _ => self.open(slot, addr, role),
            }
        };
        connecting.await
    }

    fn open(&self, slot: &mut Slot, addr: &str, role: Role) -> Shared<Connecting> {
        let (inner, addr) = (self.inner.clone(), addr.to_owned());
        let connecting: Connecting = Box::pin(async move {
            let result = Connection::connect_as(&addr, &inner.config, &inner.authenticator).await;
            let mut connections = inner.connections();
            connections.trouble = result.as_ref().err().cloned();
            if let Some(slot) = connections.slots.get_mut(&(addr, role)) {
                slot.settle(&result);
            }
            result
        });
        let shared = connecting.shared();
        if let Some(weak) = shared.downgrade() {
            slot.state = State::Opening(weak);
        }
        shared
    }
}

impl Connections {
    fn open(&self, addrs: &[String], role: Role) -> Option<Connection> {
        addrs.iter().find_map(|addr| match &self.slots.get(&(addr.clone(), role))?.state {
            State::Open(connection) if !connection.is_closed() => Some(connection.clone()),
            _ => None,
        })
    }

    /// Lets go of addresses that no broker has any more.
    pub(super) fn keep(&mut self, addrs: &[String]) {
        self.slots.retain(|(addr, _), slot| addrs.contains(addr) || matches!(slot.state, State::Opening(_)));
    }
}

impl Slot {
    fn new((first, longest): (Duration, Duration)) -> Self {
        Slot { state: State::Idle, backoff: Backoff::new(first, longest) }
    }

    fn settle(&mut self, result: &Result<Connection, Error>) {
        match result {
            Ok(connection) => {
                self.backoff.reset();
                self.state = State::Open(connection.clone());
            }
            Err(error) => {
                let until = Instant::now() + self.backoff.next_delay();
                self.state = State::Failed { until, error: error.clone() };
            }
        }
    }
}
