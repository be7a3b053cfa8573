//! Produce requests and answers, v3 to v12 (topics by name).
//!
//! Pure. A batch's records are parts of the request, not copied into it. `ProduceRequest.json`, `ProduceResponse.json`.

use bytes::{BufMut, Bytes};

use super::super::batch::Sealed;
use super::super::primitive::{Malformed, Reader, Writer};

/// API key of Produce.
pub const API_KEY: i16 = 0;
/// Oldest version with record batches v2.
pub const MIN_VERSION: i16 = 3;
/// Newest version that names topics.
pub const MAX_VERSION: i16 = 12;

const FLEXIBLE: i16 = 9;

/// Encodes a request of one batch per partition: `(topic, its partitions with their batches)`. The parts are the body.
/// `transactional_id` is for batches within a transaction.
pub fn encode(
    version: i16,
    transactional_id: Option<&str>,
    acks: i16,
    timeout_ms: i32,
    topics: &[(&str, Vec<(i32, &Sealed)>)],
) -> Vec<Bytes> {
    let batches: usize = topics.iter().map(|(_, partitions)| partitions.len()).sum();
    let mut parts = Vec::with_capacity(2 * batches + 1);
    let mut w = Writer::new(version >= FLEXIBLE, 64 + 96 * batches);
    w.string(transactional_id);
    w.out.put_i16(acks);
    w.out.put_i32(timeout_ms);
    w.length(topics.len());
    for (topic, partitions) in topics {
        w.string(Some(topic));
        w.length(partitions.len());
        for (index, batch) in partitions {
            w.out.put_i32(*index);
            w.length(batch.len());
            // The header is small: one part fewer is worth its copy.
            w.out.put_slice(&batch.header);
            parts.push(w.out.split().freeze());
            parts.push(batch.body.clone());
            w.no_tags();
        }
        w.no_tags();
    }
    w.no_tags();
    parts.push(w.out.freeze());
    parts
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Per topic and partition.
    pub partitions: Vec<PartitionAnswer>,
    /// Addresses of new leaders (KIP-951): node, host, port; v10+.
    pub brokers: Vec<(i32, String, i32)>,
    /// How long the broker wants silence, ms.
    pub throttle_ms: i32,
}

/// One partition of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// Topic name.
    pub topic: Bytes,
    /// Partition index.
    pub index: i32,
    /// Error of this partition.
    pub error_code: i16,
    /// Offset of the batch's first record; -1 unknown.
    pub base_offset: i64,
    /// Time that the broker gave the records, ms; -1 where the topic keeps ours.
    pub log_append_time: i64,
    /// First offset of the log; -1 unknown (v5+).
    pub log_start: i64,
    /// The broker's words (v8+).
    pub message: Option<String>,
    /// Who leads now: (node, epoch), where the broker says so (v10+).
    pub current_leader: Option<(i32, i32)>,
}

/// Decodes an answer's body.
///
/// # Errors
/// When the bytes are not an answer of that version.
pub fn decode(version: i16, body: Bytes) -> Result<Answer, Malformed> {
    let mut r = Reader::new(body, version >= FLEXIBLE);
    let mut partitions = Vec::new();
    r.array(3, |r| {
        let topic = r.string()?.ok_or(Malformed("a topic has no name"))?;
        let answers = r.array(22, |r| partition(r, version, topic.clone()))?;
        partitions.extend(answers);
        r.skip_tags()
    })?;
    let throttle_ms = r.i32()?;
    let mut brokers = Vec::new();
    r.tags(|tag, field| {
        if tag == 0 {
            brokers = field.array(11, |field| {
                let node = field.i32()?;
                let host = field.string()?.unwrap_or_default();
                let port = field.i32()?;
                field.string()?; // rack
                field.skip_tags()?;
                Ok((node, String::from_utf8_lossy(&host).into_owned(), port))
            })?;
        }
        Ok(())
    })?;
    Ok(Answer { partitions, brokers, throttle_ms })
}

fn partition(r: &mut Reader, version: i16, topic: Bytes) -> Result<PartitionAnswer, Malformed> {
    let index = r.i32()?;
    let error_code = r.i16()?;
    let base_offset = r.i64()?;
    let log_append_time = r.i64()?;
    let log_start = if version >= 5 { r.i64()? } else { -1 };
    let mut message = None;
    if version >= 8 {
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let mut about_records = r.array(5, |r| {
            r.i32()?;
            let message = r.string()?;
            r.skip_tags()?;
            Ok(message)
        })?;
        about_records.retain(Option::is_some);
        message = r.string()?.or_else(|| about_records.into_iter().flatten().next()).map(text);
    }
    let mut current_leader = None;
    r.tags(|tag, field| {
        if tag == 0 {
            let (node, epoch) = (field.i32()?, field.i32()?);
            current_leader = (node >= 0).then_some((node, epoch));
        }
        Ok(())
    })?;
    Ok(PartitionAnswer { topic, index, error_code, base_offset, log_append_time, log_start, message, current_leader })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
