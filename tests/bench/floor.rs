//! The floor: the least that copying Kafka's record batches costs.
//!
//! Fetch v12, CRC checked, batch header rewritten, idempotent Produce v9 with five requests in flight, one batch per
//! partition and request, and nothing else: no progress, no metadata, no retries, no time-outs, no TLS. Blocking
//! sockets, not the library's connections, so that a cost of those shows as a difference. One source broker, one target
//! broker. Of the library it uses the pure codecs.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::InitProducerIdRequest;
use mirrorkeeper::kafka::TopicPartition;
use mirrorkeeper::kafka::batch::{RawBatch, Stamp, split};
use mirrorkeeper::kafka::fetch::{Isolation, message as fetch};
use mirrorkeeper::kafka::produce::message as produce;
use mirrorkeeper::kafka::session::{Delta, PartitionFetch};
use mirrorkeeper::kafka::wire;
use uuid::Uuid;

use crate::child::Loop;
use crate::support::raw;

const FETCH: i16 = 12;
const PRODUCE: i16 = 9;
const IN_FLIGHT: usize = 5;

/// Batches of one Fetch answer, by partition.
type Fetched = Vec<VecDeque<RawBatch>>;

/// Copies until it is killed.
///
/// # Errors
/// When a socket fails, a batch is corrupt, or a broker answers with an error: nothing is retried.
pub(crate) fn run(job: &Loop) -> Result<(), String> {
    let (fetched, to_produce) = sync_channel(1);
    let (sent, answers) = sync_channel(IN_FLIGHT - 1);
    let sink = connect(&job.target)?;
    let answer_socket = sink.try_clone().map_err(|error| format!("{}: {error}", job.target))?;
    // Whichever ends first has failed.
    thread::scope(|scope| {
        let threads = [
            scope.spawn(move || source(job, &fetched)),
            scope.spawn(move || target(job, sink, &to_produce, &sent)),
            scope.spawn(move || acknowledged(answer_socket, &answers)),
        ];
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let explain = |error: io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).map_err(explain)?;
    stream.set_nodelay(true).map_err(explain)?;
    Ok(stream)
}

/// Fetches each partition from offset 0 on, one request after another, an answer ahead of [`target`].
fn source(job: &Loop, fetched: &SyncSender<Fetched>) -> Result<(), String> {
    let mut stream = connect(&job.source)?;
    let mut offsets = vec![0_i64; job.partitions];
    let ask = fetch::Ask {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        isolation: Isolation::ReadUncommitted,
        rack: "",
    };
    loop {
        let send = (0_i32..).zip(&offsets).map(|(partition, offset)| {
            let tp = TopicPartition::new(job.source_topic.as_str(), partition);
            let fetch = PartitionFetch {
                topic_id: Uuid::nil(),
                offset: *offset,
                leader_epoch: -1,
                last_epoch: -1,
                max_bytes: 1 << 20,
            };
            (tp, fetch)
        });
        let delta = Delta { session_id: 0, epoch: -1, send: send.collect(), forget: Vec::new() };
        request(&mut stream, fetch::API_KEY, FETCH, vec![fetch::encode(FETCH, ask, &delta)])?;
        let body = answer(&mut stream, fetch::API_KEY, FETCH)?;
        let body = fetch::decode(FETCH, body).map_err(|error| format!("a Fetch answer: {error:?}"))?;

        let mut batches: Fetched = vec![VecDeque::new(); job.partitions];
        for answered in body.topics.iter().flat_map(|topic| &topic.partitions) {
            if answered.error_code != 0 {
                return Err(format!("Fetch of partition {}: error {}", answered.index, answered.error_code));
            }
            let index = usize::try_from(answered.index).map_err(|error| error.to_string())?;
            for batch in split(&answered.records) {
                let batch = batch.map_err(|error| error.to_string())?;
                batch.verify_crc().map_err(|error| error.to_string())?;
                // The broker answers with the whole batch that holds the offset.
                if batch.header().last_offset() >= offsets[index] {
                    offsets[index] = batch.header().next_offset();
                    batches[index].push_back(batch);
                }
            }
        }
        if batches.iter().any(|batches| !batches.is_empty()) && fetched.send(batches).is_err() {
            return Ok(());
        }
    }
}

/// Stamps and produces: a request holds the next batch of each partition.
fn target(job: &Loop, mut stream: TcpStream, fetched: &Receiver<Fetched>, sent: &SyncSender<()>) -> Result<(), String> {
    let request_id = InitProducerIdRequest::default().with_transaction_timeout_ms(60_000);
    let identity = raw::call(&job.target, 4, &request_id)?;
    let (producer_id, epoch) = (identity.producer_id.0, identity.producer_epoch);
    let mut sequences = vec![0_i32; job.partitions];
    while let Ok(mut batches) = fetched.recv() {
        loop {
            let mut sealed = Vec::with_capacity(job.partitions);
            for ((index, batches), sequence) in (0_i32..).zip(&mut batches).zip(&mut sequences) {
                if let Some(batch) = batches.pop_front() {
                    sealed.push((index, batch.stamp(Stamp { producer_id, epoch, sequence: *sequence })));
                    // Sequences wrap to 0 behind 2^31 - 1.
                    *sequence = sequence.wrapping_add(batch.header().record_count) & i32::MAX;
                }
            }
            if sealed.is_empty() {
                break;
            }
            let partitions = sealed.iter().map(|(index, sealed)| (*index, sealed)).collect();
            let parts = produce::encode(PRODUCE, None, -1, 30_000, &[(&job.target_topic, partitions)]);
            // Waits while five are in flight: four in the channel, one being awaited.
            if sent.send(()).is_err() {
                return Ok(());
            }
            request(&mut stream, produce::API_KEY, PRODUCE, parts)?;
        }
    }
    Ok(())
}

/// Reads the acknowledgements: any error ends it.
fn acknowledged(mut stream: TcpStream, sent: &Receiver<()>) -> Result<(), String> {
    while sent.recv().is_ok() {
        let body = answer(&mut stream, produce::API_KEY, PRODUCE)?;
        let body = produce::decode(PRODUCE, body).map_err(|error| format!("a Produce answer: {error:?}"))?;
        if let Some(failed) = body.partitions.iter().find(|answered| answered.error_code != 0) {
            return Err(format!("Produce to partition {}: error {}", failed.index, failed.error_code));
        }
    }
    Ok(())
}

fn request(stream: &mut TcpStream, api_key: i16, version: i16, parts: Vec<Bytes>) -> Result<(), String> {
    let length = parts.iter().map(Bytes::len).sum();
    let mut all = vec![wire::request_head(api_key, version, 0, "floor", length)?];
    all.extend(parts);
    let mut slices: Vec<_> = all.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) => return Err(format!("writing a request: {error}")),
        }
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, api_key: i16, version: i16) -> Result<Bytes, String> {
    let explain = |error: io::Error| format!("reading an answer: {error}");
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(explain)?;
    let length = wire::frame_len(length)?;
    let mut frame = Vec::with_capacity(length);
    let read = stream.take(length as u64).read_to_end(&mut frame).map_err(explain)?;
    if read < length {
        return Err(format!("reading an answer: {read} of {length} bytes came"));
    }
    let mut frame = Bytes::from(frame);
    wire::response_head(&mut frame, api_key, version)?;
    debug_assert!(frame.has_remaining(), "an answer has a body");
    Ok(frame)
}
