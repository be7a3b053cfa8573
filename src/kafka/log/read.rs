//! Reading to the end, committed records only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::{KeyedLog, LogRecord};
use crate::kafka::admin::{Isolation, OffsetSpec, list_offsets};
use crate::kafka::batch::{self, BatchError};
use crate::kafka::records::{self, ControlType, control_type};
use crate::kafka::{Error, ErrorCode, Leader, Role, TopicPartition};
use crate::supervise::Backoff;

/// The first Fetch that wants topic ids instead of names.
const MAX_VERSION: i16 = 12;
/// Asked for in one answer, all partitions together.
const FETCH_BYTES: i32 = 16 << 20;
/// Asked for of one partition.
const PARTITION_BYTES: i32 = 1 << 20;
/// A batch that inflates beyond this is refused.
const INFLATED: usize = 64 << 20;
const MAX_WAIT: Duration = Duration::from_millis(200);

impl KeyedLog {
    /// Everything since the last call, up to the end (high watermark) as of this call; of one partition in order.
    /// Aborted transactions are left out; an open one is waited for.
    ///
    /// # Errors
    /// A partition could not be read within `config.api_timeout`, or holds less than was read before: then nothing was
    /// read, and the next call begins at the same place.
    pub async fn read_to_end(&mut self) -> Result<Vec<LogRecord>, Error> {
        let deadline = Instant::now() + self.cluster.config().api_timeout;
        let ends = self.offsets(OffsetSpec::Latest).await?;
        let mut reading = Reading { next: self.next.clone(), records: Vec::new() };
        for (partition, end) in &ends {
            if reading.next.get(partition).is_some_and(|next| next > end) {
                return Err(self.shrunk(*partition, reading.next[partition], *end));
            }
        }
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut last: Option<Error> = None;
        loop {
            let left: Vec<(i32, i64)> = ends
                .iter()
                .filter_map(|(p, end)| reading.next.get(p).filter(|next| *next < end).map(|next| (*p, *next)))
                .collect();
            if left.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    api: "Fetch",
                    addr: format!("{} ({})", self.cluster.name(), self.topic),
                    after: self.cluster.config().api_timeout,
                    source: last.map(Arc::new),
                });
            }
            match self.round(&left, &ends, &mut reading).await {
                Ok(()) => backoff.reset(),
                Err(error) if error.retriable() => {
                    self.cluster.invalidate(&self.topic);
                    last = Some(error);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.next = reading.next;
        Ok(reading.records)
    }

    fn shrunk(&self, partition: i32, next: i64, end: i64) -> Error {
        let message = format!("it ends at {end}, {next} was read before: the topic was truncated or made anew");
        Error::broker("Fetch", ErrorCode::OFFSET_OUT_OF_RANGE, self.partition(partition).to_string(), Some(message))
    }

    async fn offsets(&self, spec: OffsetSpec) -> Result<BTreeMap<i32, i64>, Error> {
        let wanted: Vec<(TopicPartition, OffsetSpec)> =
            self.next.keys().map(|partition| (self.partition(*partition), spec)).collect();
        let mut offsets = BTreeMap::new();
        for (tp, result) in list_offsets(&self.cluster, &wanted, Isolation::ReadUncommitted).await? {
            offsets.insert(tp.partition, result?.offset);
        }
        Ok(offsets)
    }

    /// One fetch from every leader that has something left.
    async fn round(&self, left: &[(i32, i64)], ends: &BTreeMap<i32, i64>, reading: &mut Reading) -> Result<(), Error> {
        let mut by_node: BTreeMap<i32, Vec<(i32, i64, Leader)>> = BTreeMap::new();
        for (partition, next) in left {
            let leader = self.cluster.leader(&self.partition(*partition)).await?;
            by_node.entry(leader.node).or_default().push((*partition, *next, leader));
        }
        let mut trouble = None;
        for (node, partitions) in by_node {
            let data = match self.fetch(node, &partitions).await {
                Ok(data) => data,
                Err(error) => {
                    trouble = Some(error);
                    continue;
                }
            };
            let nothing = data.iter().all(|p| p.records.as_ref().is_none_or(|r| r.is_empty()));
            for p in data {
                let tp = self.partition(p.partition_index);
                match ErrorCode(p.error_code) {
                    ErrorCode::NONE => reading.absorb(&tp, &p)?,
                    ErrorCode::OFFSET_OUT_OF_RANGE => {
                        // Deleted before us: the start moved on. Anything else was checked against the end.
                        let start = self.offsets(OffsetSpec::Earliest).await?;
                        let next = reading.next.entry(tp.partition).or_default();
                        *next = start.get(&tp.partition).copied().unwrap_or(*next).max(*next);
                        continue;
                    }
                    code => {
                        trouble = Some(Error::broker("Fetch", code, tp.to_string(), None));
                        continue;
                    }
                }
                // The cleaner may have taken the last records before the end: nothing will come.
                let end = ends.get(&tp.partition).copied().unwrap_or_default();
                if nothing && p.last_stable_offset >= end {
                    reading.next.insert(tp.partition, end);
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    async fn fetch(&self, node: i32, partitions: &[(i32, i64, Leader)]) -> Result<Vec<PartitionData>, Error> {
        let connection = self.cluster.broker(node, Role::Progress).await?;
        let build = |version: i16| {
            let partition = |(partition, next, leader): &(i32, i64, Leader)| {
                let wanted = FetchPartition::default()
                    .with_partition(*partition)
                    .with_fetch_offset(*next)
                    .with_partition_max_bytes(PARTITION_BYTES);
                if version >= 9 { wanted.with_current_leader_epoch(leader.epoch) } else { wanted }
            };
            let topic = FetchTopic::default()
                .with_topic(StrBytes::from_string(self.topic.to_string()).into())
                .with_partitions(partitions.iter().map(partition).collect());
            let request = FetchRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_max_wait_ms(i32::try_from(MAX_WAIT.as_millis()).unwrap_or(i32::MAX))
                .with_min_bytes(1)
                .with_max_bytes(FETCH_BYTES)
                .with_isolation_level(Isolation::ReadCommitted.id())
                .with_topics(vec![topic]);
            if version >= 7 { request.with_session_epoch(-1) } else { request }
        };
        let answer = connection.call_with(MAX_VERSION, build).await?;
        ErrorCode(answer.error_code).ok().map_err(|code| Error::broker("Fetch", code, &*self.topic, None))?;
        Ok(answer.responses.into_iter().flat_map(|topic| topic.partitions).collect())
    }
}

/// Positions and records of one reading, kept only when it succeeds.
struct Reading {
    next: BTreeMap<i32, i64>,
    records: Vec<LogRecord>,
}

impl Reading {
    fn absorb(&mut self, tp: &TopicPartition, data: &PartitionData) -> Result<(), Error> {
        let next = self.next.entry(tp.partition).or_default();
        let Some(bytes) = data.records.as_ref().filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        let begin = *next;
        let failed = |e: BatchError| Error::Records { partition: tp.to_string(), offset: begin, source: Arc::new(e) };
        let mut aborts: Vec<(i64, i64)> =
            data.aborted_transactions.iter().flatten().map(|a| (a.first_offset, a.producer_id.0)).collect();
        aborts.sort_unstable();
        let mut aborts = aborts.into_iter().peekable();
        let mut aborting: BTreeSet<i64> = BTreeSet::new();
        for batch in batch::split(bytes) {
            let batch = batch.map_err(failed)?;
            batch.verify_crc().map_err(failed)?;
            let header = batch.header();
            while let Some((_, producer)) = aborts.next_if(|(first, _)| *first <= header.last_offset()) {
                aborting.insert(producer);
            }
            if header.is_control() {
                if matches!(control_type(&batch).map_err(failed)?, ControlType::Abort) {
                    aborting.remove(&header.producer_id);
                }
            } else if !(header.is_transactional() && aborting.contains(&header.producer_id)) {
                for record in records::decode(&batch, INFLATED).map_err(failed)? {
                    let offset = header.base_offset + i64::from(record.offset_delta);
                    if offset >= *next {
                        self.records.push(LogRecord {
                            partition: tp.partition,
                            offset,
                            key: record.key,
                            value: record.value,
                            headers: record.headers,
                            timestamp: record.timestamp,
                        });
                    }
                }
            }
            *next = (*next).max(header.next_offset());
        }
        if *next == begin {
            // A batch cut short, alone: the broker gives a first batch whole from Fetch v3 on.
            return Err(failed(BatchError::Malformed { offset: begin, what: "it is cut short" }));
        }
        Ok(())
    }
}
