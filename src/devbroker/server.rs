//! Ports, connections and frames.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::apis::{self, Context};
use super::code;
use super::faults::Cut;
use super::state::{Broker, Inner, now_ms};
use super::{group, txn};
use crate::supervise::{Task, spawn};

/// Answers that may wait for a slow client before its next request is read.
const ANSWERS: usize = 64;
/// How long a stopped broker's port may take to be free again.
const FREED: Duration = Duration::from_secs(5);
/// How often time-outs are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Opens the port of a broker (0: any) and serves it.
pub(crate) async fn listen(inner: &Arc<Inner>, id: i32, port: u16) -> io::Result<()> {
    let deadline = Instant::now() + FREED;
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            // the listener that was stopped a moment ago is still going
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            bound => break bound?,
        }
    };
    let port = listener.local_addr()?.port();
    let task = spawn(format!("devbroker {id}"), accept(Arc::clone(inner), id, listener));
    let mut state = inner.lock();
    let broker = Broker { id, port, alive: true, listener: Some(task) };
    match state.brokers.iter_mut().find(|known| known.id == id) {
        Some(known) => *known = broker,
        None => state.brokers.push(broker),
    }
    Ok(())
}

async fn accept(inner: Arc<Inner>, broker: i32, listener: TcpListener) {
    let mut connections: Vec<Task<()>> = Vec::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // out of descriptors, most likely: others must be able to end
            tokio::time::sleep(TICK).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        let inner = Arc::clone(&inner);
        connections.push(spawn(format!("devbroker {broker} {peer}"), async move {
            let mut cuts = inner.cuts.subscribe();
            let cut = async {
                while cuts.changed().await.is_ok() {
                    let whose = cuts.borrow().1;
                    if whose == 0 || whose == broker {
                        return;
                    }
                }
            };
            tokio::select! {
                () = cut => {}
                ended = Box::pin(serve(Arc::clone(&inner), broker, stream)) => {
                    if let Err(error) = ended {
                        tracing::debug!(broker, %peer, %error, "development broker: connection ended");
                    }
                }
            }
        }));
    }
}

async fn serve(inner: Arc<Inner>, broker: i32, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let host = stream.peer_addr()?.ip().to_string();
    let (mut reader, mut writer) = stream.into_split();
    let (answers, mut ready) = mpsc::channel::<(Instant, Bytes)>(ANSWERS);
    let writing = spawn("devbroker writer", async move {
        while let Some((when, answer)) = ready.recv().await {
            tokio::time::sleep_until(when).await;
            if writer.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    while let Some(frame) = read_frame(&mut reader, inner.config.max_frame_bytes).await? {
        let arrived = Instant::now();
        match Box::pin(answer(&inner, broker, &host, frame)).await? {
            Answer::Send(bytes, round_trip) => {
                if answers.send((arrived + round_trip, bytes)).await.is_err() {
                    return Ok(());
                }
            }
            Answer::Nothing => {}
        }
    }
    drop(answers);
    // what was answered still goes out
    let _ended = writing.await;
    Ok(())
}

enum Answer {
    Send(Bytes, Duration),
    Nothing,
}

async fn read_frame(reader: &mut OwnedReadHalf, max: usize) -> io::Result<Option<Bytes>> {
    let length = match reader.read_i32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes, {max} allowed")));
    }
    // memory follows what arrives, not what is announced
    let mut frame = BytesMut::with_capacity(length.min(1 << 20));
    while frame.len() < length {
        let missing = length - frame.len();
        frame.reserve(missing.min(1 << 20));
        let got = reader.take(missing as u64).read_buf(&mut frame).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

async fn answer(inner: &Arc<Inner>, broker: i32, host: &str, mut frame: Bytes) -> io::Result<Answer> {
    if frame.len() < 8 {
        return Err(invalid("a request without a header"));
    }
    let number = i16::from_be_bytes([frame[0], frame[1]]);
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let api = ApiKey::try_from(number).map_err(|()| invalid(format!("unknown API {number}")))?;
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    inner.count(number);
    if !apis::serves(api, version) {
        if api == ApiKey::ApiVersions {
            let mut refusal = ApiVersionsResponse::default();
            refusal.error_code = code::UNSUPPORTED_VERSION;
            refusal.api_keys = apis::advertised();
            return Ok(Answer::Send(framed(api, 0, correlation, |out| refusal.encode(out, 0))?, Duration::ZERO));
        }
        return Err(invalid(format!("{api:?} version {version} is not served")));
    }
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).map_err(invalid)?;
    let disturbance = inner.rules().disturb(number);
    if disturbance.hang {
        return Ok(Answer::Nothing);
    }
    if disturbance.cut == Some(Cut::Before) {
        return Err(invalid("cut before the request"));
    }
    tokio::time::sleep(disturbance.delay).await;
    let client_id = header.client_id.as_deref().unwrap_or_default().to_owned();
    let context = Context { inner: Arc::clone(inner), broker, api: number, version, client_id, host: host.to_owned() };
    let body = apis::dispatch(&context, api, &mut frame, disturbance.throttle_ms).await.map_err(invalid)?;
    if disturbance.cut == Some(Cut::After) {
        return Err(invalid("cut after the request"));
    }
    let Some(body) = body else { return Ok(Answer::Nothing) };
    let bytes = framed(api, version, correlation, |out| {
        out.put_slice(&body);
        Ok::<(), io::Error>(())
    })?;
    Ok(Answer::Send(bytes, disturbance.round_trip))
}

fn framed<E: std::fmt::Display>(
    api: ApiKey,
    version: i16,
    correlation: i32,
    body: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> io::Result<Bytes> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut out, api.response_header_version(version)).map_err(invalid)?;
    body(&mut out).map_err(invalid)?;
    let length = i32::try_from(out.len() - 4).map_err(invalid)?;
    out[0..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

/// Ends what has timed out and drops what retention says, for as long as the cluster lives.
pub(crate) async fn keep_house(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let (groups, logs) = {
            let mut state = inner.lock();
            let logs = txn::expire(&mut state, now_ms()) | super::configs::retain(&inner.config, &mut state, now_ms());
            (group::expire(&mut state, Instant::now()), logs)
        };
        if groups {
            inner.groups_changed();
        }
        if logs {
            inner.logs_changed();
        }
    }
}
