//! Against a stub broker that bounds its sessions and is as strict about them as a real one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::net::TcpStream;

use super::super::tests::{LONG, answer, answer_versions, config, seen, stub};
use super::*;
use crate::kafka::{ClusterConfig, Login, Sasl, Secret, Security};

#[test]
fn a_session_is_renewed_before_its_end_and_not_too_often() {
    let at = |ms, dice| {
        let session = Session { begun: Instant::now(), lifetime: Duration::from_millis(ms) };
        (session.renew_at(dice) - session.begun).as_millis()
    };
    assert_eq!((at(3_600_000, 0.0), at(3_600_000, 1.0)), (3_060_000, 3_420_000));
    assert_eq!((at(10_000, 0.5), at(3_000, 0.5), at(1_500, 0.0)), (8_000, 1_500, 1_100));
}

fn plain() -> ClusterConfig {
    let login = Login { username: "u".into(), password: Secret::new("sesame") };
    ClusterConfig { security: Security::SaslPlaintext(Sasl::Plain(login)), ..config() }
}

/// Answers a SASL request; gives whether it was one.
async fn sasl(stream: &mut TcpStream, api_key: i16, correlation: i32, code: i16, lifetime: i64) -> bool {
    let mut body = BytesMut::new();
    match api_key {
        17 => {
            let mechanisms = vec![StrBytes::from_static_str("PLAIN")];
            SaslHandshakeResponse::default().with_mechanisms(mechanisms).encode(&mut body, 1).unwrap();
        }
        36 => SaslAuthenticateResponse::default()
            .with_error_code(code)
            .with_session_lifetime_ms(lifetime)
            .encode(&mut body, 1)
            .unwrap(),
        _ => return false,
    }
    answer(stream, correlation, &body).await;
    true
}

#[tokio::test]
async fn nobody_notices_a_renewal() {
    let renewals = Arc::new(AtomicUsize::new(0));
    let counted = renewals.clone();
    let (addr, _stub) = stub(move |mut stream| {
        let renewals = counted.clone();
        async move {
            answer_versions(&mut stream).await;
            let (mut next, mut handshaken, mut ends) = (0u32, false, Instant::now() + LONG);
            while let Some(s) = seen(&mut stream).await {
                if s.api_key == 17 {
                    // Like a real broker: the session is renewed only by what comes next, and nothing goes between.
                    handshaken = true;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                } else {
                    assert_eq!(s.api_key == 36, handshaken, "API {}", s.api_key);
                    handshaken = false;
                }
                if sasl(&mut stream, s.api_key, s.correlation, 0, 1500).await {
                    if s.api_key == 36 {
                        ends = Instant::now() + Duration::from_millis(1500);
                        renewals.fetch_add(1, Ordering::SeqCst);
                    }
                    continue;
                }
                assert!(Instant::now() < ends, "request {next} after the session's end");
                assert_eq!(s.rest[s.rest.len() - 4..], next.to_be_bytes());
                next += 1;
                answer(&mut stream, s.correlation, &s.rest[s.rest.len() - 4..]).await;
            }
        }
    })
    .await;
    let connection = Connection::connect(&addr, &plain()).await.unwrap();
    let mut pending = std::collections::VecDeque::new();
    let mut sent = 0u32;
    let deadline = Instant::now() + LONG;
    while renewals.load(Ordering::SeqCst) < 4 {
        assert!(Instant::now() < deadline, "{} sessions", renewals.load(Ordering::SeqCst));
        let body = vec![Bytes::copy_from_slice(&sent.to_be_bytes())];
        pending.push_back((sent, connection.send(0, 8, "me", body, LONG).unwrap()));
        sent += 1;
        // Always some under way, and some more while the session is renewed.
        if pending.len() > 5 {
            let (number, answer) = pending.pop_front().unwrap();
            assert_eq!(&answer.await.unwrap()[..], number.to_be_bytes());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for (number, answer) in pending {
        assert_eq!(&answer.await.unwrap()[..], number.to_be_bytes());
    }
    assert!(sent > 100 && !connection.is_closed());
}

#[tokio::test]
async fn a_refusal_ends_the_connection_with_its_cause() {
    let after = Arc::new(Mutex::new(Vec::new()));
    let list = after.clone();
    let (addr, _stub) = stub(move |mut stream| {
        let after = list.clone();
        async move {
            answer_versions(&mut stream).await;
            for code in [0, 0, 0, 58] {
                let s = seen(&mut stream).await.unwrap();
                if s.api_key == 36 && code == 58 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                assert!(sasl(&mut stream, s.api_key, s.correlation, code, 1200).await);
            }
            while let Some(s) = seen(&mut stream).await {
                after.lock().unwrap().push(s.api_key);
            }
        }
    })
    .await;
    let connection = Connection::connect(&addr, &plain()).await.unwrap();
    let deadline = Instant::now() + LONG;
    // Once it is renewed, requests wait for that.
    while connection.inner.shared.lock().held.is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = connection.send(0, 8, "me", vec![], LONG).unwrap().await.unwrap_err();
    assert!(matches!(refused, Error::Auth { .. }), "{refused}");
    assert!(connection.is_closed());
    let later = connection.send(0, 8, "me", vec![], LONG).unwrap_err();
    assert_eq!(later.to_string(), refused.to_string());
    assert!(after.lock().unwrap().is_empty(), "what was held back went out: {:?}", after.lock().unwrap());
}

#[tokio::test]
async fn a_session_nobody_wants_is_not_renewed() {
    let renewals = Arc::new(AtomicUsize::new(0));
    let counted = renewals.clone();
    let (addr, _stub) = stub(move |mut stream| {
        let renewals = counted.clone();
        async move {
            answer_versions(&mut stream).await;
            while let Some(s) = seen(&mut stream).await {
                sasl(&mut stream, s.api_key, s.correlation, 0, 1200).await;
            }
            renewals.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    drop(Connection::connect(&addr, &plain()).await.unwrap());
    let deadline = Instant::now() + LONG;
    while renewals.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the connection stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
