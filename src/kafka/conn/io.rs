//! The two tasks of a connection: one reads frames, one writes them.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::{Outgoing, Shared};
use crate::kafka::error::tls::SpeaksTls;
use crate::kafka::version::api_name;
use crate::kafka::{Error, wire};

/// Small answers share one read; larger ones go around this buffer.
const READ_BUFFER: usize = 16 << 10;
/// The first byte of a TLS alert; 0x1503 at the front would be a frame of 350 MB.
const TLS_ALERT: u8 = 0x15;
/// Slices of one vectored write; the system takes up to 1024.
const SLICES: usize = 64;
/// Requests gathered into one write.
const GATHER: usize = 16;

/// Reads answers and hands each to its waiter, until the connection ends.
pub(super) async fn read<R: AsyncRead + Unpin>(stream: R, shared: Arc<Shared>) {
    let mut stream = BufReader::with_capacity(READ_BUFFER, stream);
    loop {
        let frame = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            frame = frame(&mut stream, &shared.addr) => frame,
        };
        if let Err(cause) = frame.and_then(|frame| deliver(frame, &shared)) {
            shared.close(&cause);
            return;
        }
    }
}

async fn frame<R: AsyncRead + Unpin>(stream: &mut R, addr: &str) -> Result<Bytes, Error> {
    let mut prefix = [0u8; 4];
    stream.read_exact(&mut prefix).await.map_err(|e| ended(addr, &e))?;
    if let [TLS_ALERT, 3, ..] = prefix {
        let source = Arc::new(std::io::Error::other(SpeaksTls));
        return Err(Error::Tls { addr: addr.to_owned(), source });
    }
    let len = wire::frame_len(prefix).map_err(|message| Error::Protocol { addr: addr.to_owned(), message })?;
    // Reserved, not touched: a false length costs address space until bytes really come.
    let mut body = BytesMut::with_capacity(len);
    while body.len() < len {
        let rest = len - body.len();
        let read = stream.read_buf(&mut (&mut body).limit(rest)).await.map_err(|e| ended(addr, &e))?;
        if read == 0 {
            return Err(ended(addr, &std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(body.freeze())
}

fn deliver(mut frame: Bytes, shared: &Shared) -> Result<(), Error> {
    let broke = |message: String| Error::Protocol { addr: shared.addr.clone(), message };
    let waiter = {
        let mut state = shared.lock();
        state.waiting.pop_front()
    };
    let Some(waiter) = waiter else { return Err(broke("an answer to no request".into())) };
    let head = wire::response_head(&mut frame, waiter.api_key, waiter.version).and_then(|correlation| {
        if correlation == waiter.correlation {
            Ok(())
        } else {
            let (api, wanted) = (api_name(waiter.api_key), waiter.correlation);
            Err(format!("an answer to request {correlation} where {api} {wanted} was due"))
        }
    });
    if let Err(message) = head {
        let cause = broke(message);
        let _ = waiter.answer.send(Err(cause.clone()));
        return Err(cause);
    }
    shared.note_throttle(wire::leading_throttle(waiter.api_key, waiter.version, &frame));
    // Whoever gave up waiting does not want it.
    let _ = waiter.answer.send(Ok(frame));
    Ok(())
}

/// Writes requests in their order, several at a time, until the connection ends.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let work = async {
        let mut requests = Vec::with_capacity(GATHER);
        loop {
            requests.clear();
            if queue.recv_many(&mut requests, GATHER).await == 0 {
                return Ok(());
            }
            let silence = shared.throttled_for();
            if !silence.is_zero() {
                tokio::time::sleep(silence).await;
            }
            let mut parts: Vec<Bytes> = Vec::with_capacity(requests.len() * 4);
            for request in requests.drain(..) {
                parts.push(request.head);
                parts.extend(request.body.into_iter().filter(|part| !part.is_empty()));
            }
            write_all(&mut stream, parts).await?;
            stream.flush().await?;
        }
    };
    let result: std::io::Result<()> = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Ok(()),
        result = work => result,
    };
    if let Err(e) = result {
        shared.close(&ended(&shared.addr, &e));
    }
    let _ = stream.shutdown().await;
}

async fn write_all<W: AsyncWrite + Unpin>(stream: &mut W, mut parts: Vec<Bytes>) -> std::io::Result<()> {
    let mut first = 0;
    while first < parts.len() {
        let slices: Vec<IoSlice<'_>> = parts[first..].iter().take(SLICES).map(|p| IoSlice::new(p)).collect();
        let mut written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let part = &mut parts[first];
            let step = written.min(part.len());
            part.advance(step);
            written -= step;
            if part.is_empty() {
                first += 1;
            }
        }
    }
    Ok(())
}

fn ended(addr: &str, error: &std::io::Error) -> Error {
    // In TLS 1.3 a broker that wants another certificate of ours says so after the handshake.
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        let source = Arc::new(std::io::Error::new(error.kind(), tls.clone()));
        return Error::Tls { addr: addr.to_owned(), source };
    }
    let reason = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the broker closed it".to_owned(),
        _ => error.to_string(),
    };
    Error::Closed { addr: addr.to_owned(), reason, source: None }
}
