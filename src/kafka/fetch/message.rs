//! Fetch requests and answers, v4 to v17: topics by name up to v12, by id from v13 (KIP-516).
//!
//! Pure. Record sets stay slices of the answer's frame. `FetchRequest.json`, `FetchResponse.json` of Kafka 4.1.

use bytes::{BufMut, Bytes};
use uuid::Uuid;

use super::super::batch::AbortedTransaction;
use super::super::primitive::{Malformed, Reader, Writer};
use super::super::session::{Delta, PartitionFetch};
use super::Isolation;

/// API key of Fetch.
pub const API_KEY: i16 = 1;
/// Oldest version, of brokers 0.11; brokers 2.1 have v10.
pub const MIN_VERSION: i16 = 4;
/// Newest version that names topics.
pub const MAX_BY_NAME: i16 = 12;
/// Newest version we speak.
pub const MAX_VERSION: i16 = 17;
/// Oldest version with fetch sessions.
pub const SESSIONS: i16 = 7;

const FLEXIBLE: i16 = 12;
const BY_ID: i16 = 13;

/// What a Fetch request asks besides its partitions.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Longest wait for `min_bytes`, ms.
    pub max_wait_ms: i32,
    /// Bytes worth answering for.
    pub min_bytes: i32,
    /// Largest answer in bytes, save that one batch always fits (KIP-74).
    pub max_bytes: i32,
    /// Which records count as readable.
    pub isolation: Isolation,
    /// Our rack, for a replica near us (KIP-392); v11+.
    pub rack: &'a str,
}

/// Encodes a request. Consecutive partitions of one topic share an entry; their order is the order of service.
pub fn encode(version: i16, ask: Ask<'_>, delta: &Delta) -> Bytes {
    let mut w = Writer::new(version >= FLEXIBLE, 64 + 48 * (delta.send.len() + delta.forget.len()));
    if version <= 14 {
        w.out.put_i32(-1);
    }
    w.out.put_i32(ask.max_wait_ms);
    w.out.put_i32(ask.min_bytes);
    w.out.put_i32(ask.max_bytes);
    w.out.put_i8(match ask.isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    });
    if version >= SESSIONS {
        w.out.put_i32(delta.session_id);
        w.out.put_i32(delta.epoch);
    }
    let topics: Vec<_> = delta.send.chunk_by(|(a, x), (b, y)| a.topic == b.topic && x.topic_id == y.topic_id).collect();
    w.length(topics.len());
    for partitions in topics {
        topic(&mut w, version, &partitions[0].0.topic, &partitions[0].1.topic_id);
        w.length(partitions.len());
        for (tp, fetch) in partitions {
            partition(&mut w, version, tp.partition, fetch);
        }
        w.no_tags();
    }
    if version >= SESSIONS {
        let topics: Vec<_> =
            delta.forget.chunk_by(|a, b| a.tp.topic == b.tp.topic && a.topic_id == b.topic_id).collect();
        w.length(topics.len());
        for partitions in topics {
            topic(&mut w, version, &partitions[0].tp.topic, &partitions[0].topic_id);
            w.length(partitions.len());
            for forgotten in partitions {
                w.out.put_i32(forgotten.tp.partition);
            }
            w.no_tags();
        }
    }
    if version >= 11 {
        w.string(Some(ask.rack));
    }
    w.no_tags();
    w.out.freeze()
}

fn topic(w: &mut Writer, version: i16, name: &str, id: &Uuid) {
    if version >= BY_ID {
        w.out.put_u128(id.as_u128());
    } else {
        w.string(Some(name));
    }
}

fn partition(w: &mut Writer, version: i16, index: i32, fetch: &PartitionFetch) {
    w.out.put_i32(index);
    if version >= 9 {
        w.out.put_i32(fetch.leader_epoch);
    }
    w.out.put_i64(fetch.offset);
    if version >= 12 {
        w.out.put_i32(fetch.last_epoch);
    }
    if version >= 5 {
        w.out.put_i64(-1); // log start: followers only
    }
    w.out.put_i32(fetch.max_bytes);
    w.no_tags();
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long the broker wants silence, ms.
    pub throttle_ms: i32,
    /// Error of the whole request (v7+).
    pub error_code: i16,
    /// The fetch session; 0 without one (v7+).
    pub session_id: i32,
    /// Per topic.
    pub topics: Vec<TopicAnswer>,
}

/// How an answer names a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// Up to v12.
    Name(Bytes),
    /// From v13.
    Id(Uuid),
}

/// One topic of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAnswer {
    /// Which topic.
    pub topic: TopicRef,
    /// Per partition.
    pub partitions: Vec<PartitionAnswer>,
}

/// One partition of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// Partition index.
    pub index: i32,
    /// Error of this partition.
    pub error_code: i16,
    /// Offset behind the last replicated record; -1 unknown.
    pub high_watermark: i64,
    /// Offset behind the last decided transaction; -1 unknown.
    pub last_stable_offset: i64,
    /// First offset of the log; -1 unknown (v5+).
    pub log_start: i64,
    /// Aborted transactions in the records, under `read_committed`.
    pub aborted: Vec<AbortedTransaction>,
    /// Replica that we should read instead; -1 none (v11+).
    pub preferred_read_replica: i32,
    /// The record set, a slice of the frame; may end within a batch.
    pub records: Bytes,
    /// Our last epoch ended earlier in the leader's log: (its largest epoch not above ours, where that ended); v12+.
    pub diverging_epoch: Option<(i32, i64)>,
    /// Who leads now: (node, epoch), where the broker says so (v12+).
    pub current_leader: Option<(i32, i32)>,
}

/// Decodes an answer's body.
///
/// # Errors
/// When the bytes are not an answer of that version.
pub fn decode(version: i16, body: Bytes) -> Result<Answer, Malformed> {
    let mut r = Reader::new(body, version >= FLEXIBLE);
    let throttle_ms = r.i32()?;
    let (error_code, session_id) = if version >= SESSIONS { (r.i16()?, r.i32()?) } else { (0, 0) };
    let topics = r.array(3, |r| {
        let topic = if version >= BY_ID {
            TopicRef::Id(r.uuid()?)
        } else {
            TopicRef::Name(r.string()?.ok_or(Malformed("a topic has no name"))?)
        };
        let partitions = r.array(24, |r| partition_answer(r, version))?;
        r.skip_tags()?;
        Ok(TopicAnswer { topic, partitions })
    })?;
    r.skip_tags()?;
    Ok(Answer { throttle_ms, error_code, session_id, topics })
}

fn partition_answer(r: &mut Reader, version: i16) -> Result<PartitionAnswer, Malformed> {
    let index = r.i32()?;
    let error_code = r.i16()?;
    let high_watermark = r.i64()?;
    let last_stable_offset = r.i64()?;
    let log_start = if version >= 5 { r.i64()? } else { -1 };
    let aborted = r.array(16, |r| {
        let transaction = AbortedTransaction { producer_id: r.i64()?, first_offset: r.i64()? };
        r.skip_tags()?;
        Ok(transaction)
    })?;
    let preferred_read_replica = if version >= 11 { r.i32()? } else { -1 };
    let records = r.bytes()?.unwrap_or_default();
    let (mut diverging_epoch, mut current_leader) = (None, None);
    r.tags(|tag, field| {
        match tag {
            0 => {
                let (epoch, end_offset) = (field.i32()?, field.i64()?);
                diverging_epoch = (epoch >= 0 || end_offset >= 0).then_some((epoch, end_offset));
            }
            1 => {
                let (node, epoch) = (field.i32()?, field.i32()?);
                current_leader = (node >= 0).then_some((node, epoch));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(PartitionAnswer {
        index,
        error_code,
        high_watermark,
        last_stable_offset,
        log_start,
        aborted,
        preferred_read_replica,
        records,
        diverging_epoch,
        current_leader,
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
