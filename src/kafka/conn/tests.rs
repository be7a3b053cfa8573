//! Against a stub broker: a listener that reads frames and answers as told.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BufMut;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A request as the stub sees it.
pub(super) struct Seen {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
    pub(super) rest: Vec<u8>,
}

pub(super) async fn seen(stream: &mut TcpStream) -> Option<Seen> {
    let len = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(len).ok()?];
    stream.read_exact(&mut frame).await.ok()?;
    let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    Some(Seen { api_key: number(0), version: number(2), correlation, rest: frame[8..].to_vec() })
}

pub(super) async fn answer(stream: &mut TcpStream, correlation: i32, body: &[u8]) {
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len() + 4).unwrap());
    frame.put_i32(correlation);
    frame.put_slice(body);
    let _ = stream.write_all(&frame).await;
}

pub(super) async fn answer_versions(stream: &mut TcpStream) {
    let seen = seen(stream).await.unwrap();
    assert_eq!(seen.api_key, 18);
    let range = |key, min, max| ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max);
    let versions = ApiVersionsResponse::default().with_api_keys(vec![
        range(3, 0, 4),
        range(18, 0, 3),
        range(0, 3, 9),
        range(17, 0, 1),
        range(36, 0, 1),
    ]);
    let mut body = BytesMut::new();
    versions.encode(&mut body, 3).unwrap();
    answer(stream, seen.correlation, &body).await;
}

/// A stub that negotiates, then does as `behave` says.
pub(super) async fn stub<F, A>(behave: F) -> (String, Task<()>)
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let task = supervise::spawn("stub", async move {
        let mut served = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            served.push(supervise::spawn("stub connection", behave(stream)));
        }
    });
    (addr, task)
}

pub(super) fn config() -> ClusterConfig {
    ClusterConfig {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        ..ClusterConfig::default()
    }
}

pub(super) const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_order() {
    let (addr, _stub) = stub(|mut stream| async move {
        answer_versions(&mut stream).await;
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(seen(&mut stream).await.unwrap());
        }
        // Only now: a client that waited for each answer would wait for ever.
        for s in all {
            assert_eq!((s.api_key, s.version), (0, 8));
            answer(&mut stream, s.correlation, &s.rest[s.rest.len() - 3..]).await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    let pending: Vec<_> = (0..20u8)
        .map(|i| {
            let body = vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::copy_from_slice(&[b'b', i])];
            connection.send(0, 8, "me", body, LONG).unwrap()
        })
        .collect();
    for (i, p) in pending.into_iter().enumerate() {
        assert_eq!(&p.await.unwrap()[..], [b'a', b'b', u8::try_from(i).unwrap()]);
    }
    assert_eq!((connection.version(3, 0, 99), connection.version(1, 0, 99)), (Some(4), None));
}

#[tokio::test]
async fn everybody_gets_the_cause_of_the_end() {
    let (addr, _stub) = stub(|mut stream| async move {
        answer_versions(&mut stream).await;
        seen(&mut stream).await;
        seen(&mut stream).await;
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    let first = connection.send(0, 8, "me", vec![Bytes::from_static(b"1")], LONG).unwrap();
    let second = connection.send(0, 8, "me", vec![Bytes::from_static(b"2")], LONG).unwrap();
    let (first, second) = (first.await.unwrap_err(), second.await.unwrap_err());
    assert!(matches!(first, Error::Closed { .. }), "{first}");
    assert_eq!(first.to_string(), second.to_string());
    assert!(connection.is_closed());
    let third = connection.send(0, 8, "me", vec![], LONG).unwrap_err();
    assert_eq!(third.to_string(), first.to_string());
}

#[tokio::test]
async fn a_late_answer_poisons_the_connection() {
    let (addr, _stub) = stub(|mut stream| async move {
        answer_versions(&mut stream).await;
        while seen(&mut stream).await.is_some() {}
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    let patient = connection.send(0, 8, "me", vec![], LONG).unwrap();
    let hasty = connection.send(0, 8, "me", vec![], Duration::from_millis(20)).unwrap();
    assert!(matches!(hasty.await, Err(Error::Timeout { api: "Produce", .. })));
    assert!(matches!(patient.await, Err(Error::Timeout { .. })));
    assert!(connection.is_closed());
}

#[tokio::test]
async fn a_wrong_correlation_id_ends_it() {
    let (addr, _stub) = stub(|mut stream| async move {
        answer_versions(&mut stream).await;
        let s = seen(&mut stream).await.unwrap();
        answer(&mut stream, s.correlation + 1, b"x").await;
        std::future::pending::<()>().await;
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    let refused = connection.send(0, 8, "me", vec![], LONG).unwrap().await.unwrap_err();
    assert!(matches!(refused, Error::Protocol { .. }), "{refused}");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn hostile_lengths_are_errors_not_aborts() {
    // A topic array of 2^31-1 elements in a frame of a few bytes, and a frame of 2 GiB.
    let (addr, _stub) = stub(|mut stream| async move {
        answer_versions(&mut stream).await;
        let s = seen(&mut stream).await.unwrap();
        answer(&mut stream, s.correlation, b"\0\0\0\0\x7f\xff\xff\xff\0").await;
        std::future::pending::<()>().await;
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    let refused = connection.call(MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Protocol { .. }), "{refused}");

    let (addr, _stub) = stub(|mut stream| async move {
        let _ = stream.write_all(b"\x7f\xff\xff\xff....").await;
        std::future::pending::<()>().await;
    })
    .await;
    let refused = Connection::connect(&addr, &config()).await.unwrap_err();
    assert!(matches!(refused, Error::Protocol { .. }), "{refused}");
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_version_0() {
    let (addr, _stub) = stub(|mut stream| async move {
        let first = seen(&mut stream).await.unwrap();
        answer(&mut stream, first.correlation, b"\0\x23\0\0\0\x01\0\x12\0\0\0\x02").await;
        let second = seen(&mut stream).await.unwrap();
        assert_eq!((second.api_key, second.version), (18, 0));
        answer(&mut stream, second.correlation, b"\0\0\0\0\0\x01\0\x03\0\0\0\x05").await;
        std::future::pending::<()>().await;
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    assert_eq!(connection.version(3, 0, 12), Some(5));
}

#[tokio::test]
async fn throttling_silences_and_is_no_time_out() {
    let (addr, _stub) = stub(|mut stream| async move {
        answer_versions(&mut stream).await;
        while let Some(s) = seen(&mut stream).await {
            let response = MetadataResponse::default().with_throttle_time_ms(if s.correlation < 2 { 300 } else { 0 });
            let mut body = BytesMut::new();
            response.encode(&mut body, 4).unwrap();
            answer(&mut stream, s.correlation, &body).await;
        }
    })
    .await;
    let config = ClusterConfig { request_timeout: Duration::from_millis(200), ..config() };
    let connection = Connection::connect(&addr, &config).await.unwrap();
    assert_eq!(connection.throttled_for(), Duration::ZERO);
    connection.call(MetadataRequest::default()).await.unwrap();
    assert!(connection.throttled_for() > Duration::from_millis(100));
    let begun = std::time::Instant::now();
    connection.call(MetadataRequest::default()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_last_handle_closes_it() {
    let (ended, end) = oneshot::channel::<()>();
    let ended = Mutex::new(Some(ended));
    let (addr, _stub) = stub(move |mut stream| {
        let ended = ended.lock().unwrap().take();
        async move {
            answer_versions(&mut stream).await;
            assert!(seen(&mut stream).await.is_none());
            let _ = ended.unwrap().send(());
        }
    })
    .await;
    let connection = Connection::connect(&addr, &config()).await.unwrap();
    let other = connection.clone();
    drop(connection);
    assert!(!other.is_closed());
    drop(other);
    tokio::time::timeout(LONG, end).await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_listening_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let refused = Connection::connect(&addr, &config()).await.unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }) && refused.retriable(), "{refused}");
    assert!(std::error::Error::source(&refused).is_some());
    // A broker that never answers costs the connect time-out.
    let hung = AtomicUsize::new(0);
    let (addr, _stub) = stub(move |stream| {
        hung.fetch_add(1, Ordering::Relaxed);
        async move {
            let _held = stream;
            std::future::pending::<()>().await;
        }
    })
    .await;
    let config = ClusterConfig { connect_timeout: Duration::from_millis(50), ..config() };
    assert!(matches!(Connection::connect(&addr, &config).await, Err(Error::Timeout { .. })));
}
