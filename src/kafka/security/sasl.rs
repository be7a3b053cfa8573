//! SASL over SaslHandshake v1 and SaslAuthenticate (KIP-152), with the session's lifetime (KIP-368).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rand::RngCore;

use super::Sasl;
use super::scram::Scram;
use crate::kafka::conn::Connection;
use crate::kafka::{Error, ErrorCode};

/// Proves who we are; gives the session's lifetime where the broker bounds it.
pub(crate) async fn authenticate(connection: &Connection, sasl: &Sasl) -> Result<Option<Duration>, Error> {
    let mechanism = sasl.mechanism();
    let fail = |message: String| Error::Auth { addr: connection.addr().to_owned(), mechanism, message };
    let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let answer = connection.call(handshake).await?;
    if !ErrorCode(answer.error_code).is_none() {
        let offered: Vec<&str> = answer.mechanisms.iter().map(|m| m.as_str()).collect();
        let code = ErrorCode(answer.error_code);
        return Err(fail(format!("{code}; the broker offers {}", offered.join(", "))));
    }
    let step = |bytes: Vec<u8>| {
        let connection = connection.clone();
        async move {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(bytes));
            let answer = connection.call(request).await?;
            if ErrorCode(answer.error_code).is_none() {
                return Ok((answer.auth_bytes, answer.session_lifetime_ms));
            }
            let words = answer.error_message.map(|m| m.to_string()).unwrap_or_default();
            Err(Error::Auth {
                addr: connection.addr().to_owned(),
                mechanism,
                message: if words.is_empty() { ErrorCode(answer.error_code).to_string() } else { words },
            })
        }
    };
    let lifetime = match sasl {
        Sasl::Plain(login) => {
            let message = format!("\0{}\0{}", login.username, login.password.expose());
            step(message.into_bytes()).await?.1
        }
        Sasl::Scram(hash, login) => {
            let mut random = [0u8; 24];
            rand::rng().fill_bytes(&mut random);
            let mut scram = Scram::new(*hash, &login.username, &STANDARD.encode(random));
            let (server_first, _) = step(scram.first().into_bytes()).await?;
            let server_first = text(&server_first).map_err(&fail)?;
            let proof = scram.proof(login.password.expose(), &server_first).map_err(&fail)?;
            let (server_final, lifetime) = step(proof.into_bytes()).await?;
            scram.verify(&text(&server_final).map_err(&fail)?).map_err(&fail)?;
            lifetime
        }
    };
    Ok(u64::try_from(lifetime).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
}

fn text(bytes: &Bytes) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "the broker's SASL message is not UTF-8".to_owned())
}
