//! Appending, partitioned as Java does it, one batch at a time per log.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::protocol::StrBytes;

use super::{KeyedLog, NewRecord};
use crate::kafka::admin::{ProducerIdentity, init_producer_id};
use crate::kafka::batch::{RawBatch, Stamp};
use crate::kafka::compress::Codec;
use crate::kafka::records::{Encoder, Record};
use crate::kafka::{Error, ErrorCode, Role, TopicPartition};

/// Beyond this a batch is cut; the broker's `max.message.bytes` is 1 MiB by default.
const BATCH_BYTES: usize = 512 << 10;
/// The first Produce that wants topic ids instead of names.
const MAX_VERSION: i16 = 12;

/// Who writes, and where each partition's sequence stands.
#[derive(Debug, Default)]
pub(super) struct Writer {
    identity: Identity,
    sequences: BTreeMap<i32, i32>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Identity {
    /// Not asked for yet, or to be asked for anew.
    #[default]
    Unknown,
    Known(ProducerIdentity),
    /// Idempotent writes are not permitted here.
    Refused,
}

/// The partition of a key: Java's default partitioner, `toPositive(murmur2(key)) % partitions`.
#[must_use]
pub fn partition_of(key: &[u8], partitions: usize) -> i32 {
    let positive = u64::from(murmur2(key) & 0x7fff_ffff);
    let index = positive % u64::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(index).unwrap_or_default()
}

/// Java's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    // Java hashes with 32-bit lengths; no key is longer.
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h = 0x9747_b28c ^ len;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

impl KeyedLog {
    /// Appends records, those of one key in order; returns after the acknowledgement of all in-sync replicas.
    ///
    /// Idempotent where the cluster permits it, so that a retry whose first try arrives late changes nothing.
    ///
    /// # Errors
    /// Some may have been written when this fails: the caller writes again, which a keyed log forgives.
    pub async fn append(&self, records: Vec<NewRecord>) -> Result<(), Error> {
        let mut by_partition: BTreeMap<i32, Vec<NewRecord>> = BTreeMap::new();
        for record in records {
            by_partition.entry(partition_of(&record.key, self.next.len())).or_default().push(record);
        }
        // Closed never: the log owns it.
        let _turn = self.turn.acquire().await;
        for (partition, records) in by_partition {
            let tp = self.partition(partition);
            for batch in batches(&tp, &records)? {
                self.write(&tp, &batch).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, tp: &TopicPartition, batch: &RawBatch) -> Result<(), Error> {
        let result = self
            .cluster
            .within(|| {
                Box::pin(async move {
                    let stamp = self.stamp(tp.partition).await?;
                    self.produce(tp, batch, stamp).await
                })
            })
            .await;
        let mut writer = self.writer();
        match &result {
            Ok(()) => {
                let count = batch.header().record_count;
                let next = writer.sequences.entry(tp.partition).or_default();
                *next = next.wrapping_add(count) & i32::MAX;
            }
            // What became of it is unknown: its sequence must not be used for other records.
            Err(_) => writer.identity = Identity::Unknown,
        }
        result
    }

    async fn stamp(&self, partition: i32) -> Result<Stamp, Error> {
        let known = self.writer().identity;
        let identity = match known {
            Identity::Known(identity) => identity,
            Identity::Refused => return Ok(Stamp::NONE),
            Identity::Unknown => match init_producer_id(&self.cluster, None, std::time::Duration::ZERO).await {
                Ok(identity) => {
                    let mut writer = self.writer();
                    writer.identity = Identity::Known(identity);
                    writer.sequences.clear();
                    identity
                }
                Err(error) if error.broker_code().is_some_and(ErrorCode::authorization) => {
                    self.writer().identity = Identity::Refused;
                    return Ok(Stamp::NONE);
                }
                Err(error) => return Err(error),
            },
        };
        let sequence = self.writer().sequences.get(&partition).copied().unwrap_or(0);
        Ok(Stamp { producer_id: identity.id, epoch: identity.epoch, sequence })
    }

    async fn produce(&self, tp: &TopicPartition, batch: &RawBatch, stamp: Stamp) -> Result<(), Error> {
        let leader = self.cluster.leader(tp).await?;
        let connection = self.cluster.broker(leader.node, Role::Progress).await?;
        let config = self.cluster.config();
        let records = batch.stamp(stamp).to_bytes();
        let build = |_| {
            let data = PartitionProduceData::default().with_index(tp.partition).with_records(Some(records));
            let topic = TopicProduceData::default()
                .with_name(StrBytes::from_string(tp.topic.to_string()).into())
                .with_partition_data(vec![data]);
            ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(i32::try_from(config.request_timeout.as_millis()).unwrap_or(i32::MAX))
                .with_topic_data(vec![topic])
        };
        let answer =
            connection.call_with(MAX_VERSION, build).await.inspect_err(|_| self.cluster.invalidate(&tp.topic))?;
        connection.note_throttle(answer.throttle_time_ms);
        let answered = answer.responses.first().and_then(|t| t.partition_responses.first());
        let Some(answered) = answered else {
            let message = format!("Produce was not answered for {tp}");
            return Err(Error::Protocol { addr: connection.addr().to_owned(), message });
        };
        let code = ErrorCode(answered.error_code);
        match code {
            // 46: the first try had arrived.
            ErrorCode::NONE | ErrorCode(46) => return Ok(()),
            // 45, 47, 59: the partition lost track of us (it was truncated, or our state expired): begin anew. A
            // batch written twice is forgiven by a keyed log.
            ErrorCode(45 | 47 | 59) => {
                self.writer().identity = Identity::Unknown;
                let source = Error::broker("Produce", code, tp.to_string(), None);
                return Err(Error::Closed {
                    addr: connection.addr().to_owned(),
                    reason: format!("producer identity is void: {source}"),
                    source: None,
                });
            }
            code if code.invalidates_metadata() => self.cluster.invalidate(&tp.topic),
            _ => {}
        }
        Err(Error::broker("Produce", code, tp.to_string(), answered.error_message.as_ref().map(|m| m.to_string())))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn batches(tp: &TopicPartition, records: &[NewRecord]) -> Result<Vec<RawBatch>, Error> {
    let failed = |e: crate::kafka::batch::BatchError| Error::Records {
        partition: tp.to_string(),
        offset: -1,
        source: Arc::new(e),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis()).unwrap_or_default();
    let timestamp = i64::try_from(now).unwrap_or(i64::MAX);
    let mut done = Vec::new();
    let mut open: Option<(Encoder, i32)> = None;
    for record in records {
        let (encoder, count) = open.get_or_insert_with(|| (Encoder::new(Codec::None, None), 0));
        let record = Record {
            offset_delta: *count,
            timestamp,
            key: Some(record.key.clone()),
            value: record.value.clone(),
            headers: record.headers.clone(),
            attributes: 0,
        };
        encoder.push(&record).map_err(failed)?;
        *count += 1;
        if encoder.raw_len() >= BATCH_BYTES
            && let Some((encoder, _)) = open.take()
        {
            done.push(encoder.finish().map_err(failed)?);
        }
    }
    if let Some((encoder, _)) = open {
        done.push(encoder.finish().map_err(failed)?);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Java's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_javas() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            (b"abc", 479470107),
        ];
        for (data, hash) in cases {
            assert_eq!(murmur2(data) as i32, hash, "{:?}", String::from_utf8_lossy(data));
        }
        assert_eq!(partition_of(b"foobar", 10), ((-790332482i32 & i32::MAX) % 10));
    }

    #[test]
    fn large_appends_are_cut_into_batches() {
        let record = |n: u8| NewRecord {
            key: Bytes::copy_from_slice(&[n]),
            value: Some(Bytes::from(vec![n; 200 << 10])),
            headers: vec![(Bytes::from_static(b"mk"), None)],
        };
        let records: Vec<_> = (0..7).map(record).collect();
        let batches = batches(&TopicPartition::new("t", 0), &records).unwrap();
        assert_eq!(batches.iter().map(|b| b.header().record_count).collect::<Vec<_>>(), [3, 3, 1]);
    }
}
