//! SASL over SaslHandshake v1 and SaslAuthenticate (KIP-152), with the session's lifetime (KIP-368).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rand::RngCore;
use zeroize::Zeroizing;

use super::authenticator::{Proof, Show};
use super::scram::Scram;
use crate::kafka::conn::Connection;
use crate::kafka::error::OFFERS;
use crate::kafka::{Error, ErrorCode};

/// Proves who we are, for the first time or again; gives the session's lifetime where the broker bounds it.
pub(crate) async fn authenticate(connection: &Connection, proof: Proof<'_>) -> Result<Option<Duration>, Error> {
    Conversation { connection, mechanism: proof.mechanism }.hold(proof.show).await
}

/// A session that lasts longer is renewed after this: brokers' bounds are hours.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

struct Conversation<'a> {
    connection: &'a Connection,
    mechanism: &'static str,
}

impl Conversation<'_> {
    async fn hold(&self, proof: Show<'_>) -> Result<Option<Duration>, Error> {
        let mechanism = StrBytes::from_static_str(self.mechanism);
        let answer = self.connection.call(SaslHandshakeRequest::default().with_mechanism(mechanism)).await?;
        let code = ErrorCode(answer.error_code);
        if !code.is_none() {
            let offered: Vec<&str> = answer.mechanisms.iter().map(|m| m.as_str()).collect();
            return Err(self.refused(format!("{code}; {OFFERS}{}", offered.join(", "))));
        }
        let lifetime = match proof {
            Show::Message(message) => {
                let (answer, lifetime) = self.step(message).await?;
                // OAUTHBEARER answers a refusal with JSON, and with its verdict only after one byte more (RFC 7628 §3.2.3).
                if self.mechanism == "OAUTHBEARER" && !answer.is_empty() {
                    self.step(Zeroizing::new(vec![1])).await?;
                    return Err(self.refused(text(&answer).unwrap_or_else(|message| message)));
                }
                lifetime
            }
            Show::Scram(hash, login, user) => {
                let mut random = [0u8; 24];
                rand::rng().fill_bytes(&mut random);
                let mut scram = Scram::new(hash, user, &login.username, &STANDARD.encode(random));
                let first = Zeroizing::new(scram.first().into_bytes());
                let server_first = self.understand(&self.step(first).await?.0)?;
                let proof = scram.proof(login.password.expose(), &server_first).map_err(|m| self.refused(m))?;
                let (server_final, lifetime) = self.step(Zeroizing::new(proof.into_bytes())).await?;
                scram.verify(&self.understand(&server_final)?).map_err(|m| self.refused(m))?;
                lifetime
            }
        };
        Ok(u64::try_from(lifetime).ok().filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms).min(LONGEST)))
    }

    async fn step(&self, bytes: Zeroizing<Vec<u8>>) -> Result<(Bytes, i64), Error> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_owner(bytes));
        let answer = self.connection.call(request).await?;
        let code = ErrorCode(answer.error_code);
        if code.is_none() {
            return Ok((answer.auth_bytes, answer.session_lifetime_ms));
        }
        let words = answer.error_message.map(|m| m.to_string()).unwrap_or_default();
        Err(self.refused(if words.is_empty() { code.to_string() } else { words }))
    }

    fn understand(&self, bytes: &Bytes) -> Result<String, Error> {
        text(bytes).map_err(|message| self.refused(message))
    }

    fn refused(&self, message: String) -> Error {
        Error::Auth { addr: self.connection.addr().to_owned(), mechanism: self.mechanism, message }
    }
}

fn text(bytes: &Bytes) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "the broker's SASL message is not UTF-8".to_owned())
}
