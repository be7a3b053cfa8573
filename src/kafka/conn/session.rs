//! A session that the broker bounds (KIP-368), renewed on the living connection.
//!
//! The proof is got ready first; then requests are held back, SaslHandshake and SaslAuthenticate go behind those that are
//! under way, and what was held goes on in its order. A broker answers in order, so nothing needs to be waited for and
//! nothing is sent twice. What can't be renewed ends with the reason, at the session's end at the latest.

use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use rand::Rng;
use tokio::time::Instant;

use super::{Connection, Inner};
use crate::kafka::Error;
use crate::kafka::security::authenticator::Proof;
use crate::kafka::security::{Authenticator, sasl};
use crate::supervise::Backoff;

/// Brokers refuse to be asked again within a second (`KafkaChannel.MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS`).
const SOONEST: Duration = Duration::from_millis(1100);
/// What is under way may hold a broker up for that long: a fetch that waits, a produce that wants its replicas. What
/// comes to the broker's attention after the session's end, and does not renew it, ends the connection.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// A session as it was begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// When we began to prove who we are.
    pub(super) begun: Instant,
    /// How long the broker keeps it.
    pub(super) lifetime: Duration,
}

impl Session {
    fn ends(self) -> Instant {
        self.begun + self.lifetime
    }

    /// As Java's client, between 85 % and 95 % of it, earlier where that leaves little time; `dice` from 0 to 1.
    fn renew_at(self, dice: f64) -> Instant {
        let part = self.lifetime.mul_f64(0.85 + 0.1 * dice);
        let roomy = self.lifetime.saturating_sub(UNDER_WAY).max(self.lifetime / 2);
        self.begun + part.min(roomy).max(SOONEST)
    }
}

/// Whether requests of an API go ahead while others are held back.
pub(super) fn renews(api_key: i16) -> bool {
    api_key == ApiKey::SaslHandshake as i16 || api_key == ApiKey::SaslAuthenticate as i16
}

/// Renews a connection's session again and again, until the connection or the bound is gone.
pub(super) async fn keep(connection: Weak<Inner>, authenticator: Arc<Authenticator>, mut session: Session) {
    loop {
        let renew_at = session.renew_at(rand::rng().random());
        tokio::time::sleep_until(renew_at).await;
        // Without a handle of our own: a connection that nobody wants any more closes meanwhile.
        let Some(addr) = connection.upgrade().map(|inner| inner.shared.addr.clone()) else { return };
        let proof = prepare(&authenticator, &addr, session).await;
        let Some(connection) = connection.upgrade().map(|inner| Connection { inner }) else { return };
        let renewed = match proof {
            Ok(Some(proof)) => renew(&connection, proof).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match renewed {
            Ok(Some(next)) => session = next,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(addr = connection.addr(), %error, "the session could not be renewed");
                connection.close(&error);
                return;
            }
        }
    }
}

/// A proof, asked for again and again while the session lasts.
async fn prepare<'a>(
    authenticator: &'a Authenticator,
    addr: &str,
    session: Session,
) -> Result<Option<Proof<'a>>, Error> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        match authenticator.proof(addr, Some(session.ends())).await {
            Err(error) if error.retriable() => {
                let next = Instant::now() + backoff.next_delay();
                if next >= session.ends() {
                    return Err(error);
                }
                tokio::time::sleep_until(next).await;
            }
            done => return done,
        }
    }
}

async fn renew(connection: &Connection, proof: Proof<'_>) -> Result<Option<Session>, Error> {
    let begun = Instant::now();
    let _held = Held::back(connection);
    match sasl::authenticate(connection, proof).await {
        Ok(lifetime) => {
            tracing::debug!(addr = connection.addr(), ?lifetime, "session renewed");
            Ok(lifetime.map(|lifetime| Session { begun, lifetime }))
        }
        Err(error) => {
            // Before anything that was held back can go out.
            connection.close(&error);
            Err(error)
        }
    }
}

/// Requests are held back while this lives.
struct Held<'a>(&'a Connection);

impl<'a> Held<'a> {
    fn back(connection: &'a Connection) -> Self {
        connection.inner.shared.lock().held.get_or_insert_default();
        Self(connection)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.0.inner.shared.lock();
        for (outgoing, waiter) in state.held.take().into_iter().flatten() {
            // The queue has room for all that may wait. If the writer has ended, dropping the waiter says so.
            let _ = self.0.put(&mut state, outgoing, waiter);
        }
    }
}

#[cfg(test)]
mod tests;
