//! One partition's log: batches as they came, producer state (KIP-98), transactions and leader epochs.
//!
//! Follows `UnifiedLog`, `ProducerStateManager` and `LeaderEpochFileCache`. Pure: no clock, no network.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::code;
use super::header::Header;

/// How many of a producer's last batches are recognised when they come again.
const REMEMBERED: usize = 5;

/// A stored batch.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) header: Header,
    pub(crate) bytes: Bytes,
}

/// A transaction that ended in an abort: its producer, its first offset, and its marker's offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    first: i32,
    last: i32,
    base_offset: i64,
    append_time: i64,
}

/// What the log knows of a producer.
#[derive(Clone, Debug)]
pub(crate) struct ProducerEntry {
    pub(crate) epoch: i16,
    pub(crate) last_timestamp: i64,
    sent: VecDeque<Sent>,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 unless the topic stamps the broker's time.
    pub(crate) append_time: i64,
}

/// A partition's log.
#[derive(Debug)]
pub(crate) struct Log {
    batches: VecDeque<Stored>,
    start: i64,
    next: i64,
    epochs: Vec<(i32, i64)>,
    producers: BTreeMap<i64, ProducerEntry>,
    ongoing: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
    bytes: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            start: 0,
            next: 0,
            epochs: vec![(0, 0)],
            producers: BTreeMap::new(),
            ongoing: BTreeMap::new(),
            aborted: Vec::new(),
            bytes: 0,
        }
    }
}

impl Log {
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The end; a single copy's end is its high watermark.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.next
    }

    /// The first offset of an open transaction, else the end.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.ongoing.values().min().copied().unwrap_or(self.next)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &Stored> {
        self.batches.iter()
    }

    pub(crate) fn producers(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// First offset of `producer_id`'s open transaction here, -1 when it has none.
    pub(crate) fn transaction_start(&self, producer_id: i64) -> i64 {
        self.ongoing.get(&producer_id).copied().unwrap_or(-1)
    }

    /// Appends a client's batch, or recognises it.
    ///
    /// # Errors
    /// Kafka's code: 45, 47 or 48.
    pub(crate) fn append(
        &mut self,
        header: Header,
        batch: &[u8],
        leader_epoch: i32,
        append_time: Option<i64>,
    ) -> Result<Appended, i16> {
        if header.producer_id >= 0 {
            if let Some(known) = self.duplicate(&header) {
                return Ok(known);
            }
            self.check(&header)?;
        }
        Ok(self.put(&header, batch, leader_epoch, append_time))
    }

    fn duplicate(&self, header: &Header) -> Option<Appended> {
        let entry = self.producers.get(&header.producer_id)?;
        let same = |sent: &&Sent| sent.first == header.base_sequence && sent.last == header.last_sequence();
        let sent = entry.sent.iter().filter(|_| entry.epoch == header.producer_epoch).find(same)?;
        Some(Appended { base_offset: sent.base_offset, append_time: sent.append_time })
    }

    /// `ProducerAppendInfo`: a producer without state may start anywhere; a new epoch starts at 0.
    fn check(&self, header: &Header) -> Result<(), i16> {
        if !header.is_transactional() && self.ongoing.contains_key(&header.producer_id) {
            return Err(code::INVALID_TXN_STATE);
        }
        let Some(entry) = self.producers.get(&header.producer_id) else { return Ok(()) };
        if header.producer_epoch < entry.epoch {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        let last = if header.producer_epoch == entry.epoch { entry.last_sequence() } else { -1 };
        let expected = if last == i32::MAX { 0 } else { last + 1 };
        if header.base_sequence == expected { Ok(()) } else { Err(code::OUT_OF_ORDER_SEQUENCE_NUMBER) }
    }

    fn put(&mut self, header: &Header, batch: &[u8], leader_epoch: i32, append_time: Option<i64>) -> Appended {
        let base_offset = self.next;
        let mut bytes = Header::placed(batch, base_offset, leader_epoch);
        if let Some(now) = append_time {
            Header::stamp_append_time(&mut bytes, now);
        }
        let bytes = bytes.freeze();
        let header = Header::parse(&bytes).unwrap_or(*header);
        let appended = Appended { base_offset, append_time: append_time.unwrap_or(-1) };
        if header.producer_id >= 0 {
            let entry = self.producers.entry(header.producer_id).or_insert_with(|| ProducerEntry::new(header));
            entry.note(&header, appended);
            if header.is_transactional() && !header.is_control() {
                self.ongoing.entry(header.producer_id).or_insert(base_offset);
            }
        }
        self.next = header.last_offset() + 1;
        self.bytes += bytes.len() as u64;
        self.batches.push_back(Stored { header, bytes });
        appended
    }

    /// Ends a transaction: writes its marker and, on abort, remembers what readers must skip.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, epoch: i16, commit: bool, leader_epoch: i32, now: i64) {
        let marker = Header::marker(producer_id, epoch, commit, now);
        let header = Header::parse(&marker).expect("a marker has a whole header");
        let placed = self.put(&header, &marker, leader_epoch, None);
        if let Some(first) = self.ongoing.remove(&producer_id)
            && !commit
        {
            self.aborted.push(Aborted { producer_id, first, last: placed.base_offset });
        }
    }

    /// Whole batches from the one that holds `offset`, below `limit`, up to `max` bytes; the first one always when
    /// `first` (KIP-74). Returns them joined.
    pub(crate) fn read(&self, offset: i64, limit: i64, max: usize, first: bool) -> Bytes {
        let mut taken: Vec<&Bytes> = Vec::new();
        let mut size = 0;
        for stored in self.batches.range(self.position(offset)..) {
            if stored.header.base_offset >= limit {
                break;
            }
            if size + stored.bytes.len() > max && !(first && taken.is_empty()) {
                break;
            }
            size += stored.bytes.len();
            taken.push(&stored.bytes);
        }
        match taken.as_slice() {
            [] => Bytes::new(),
            [one] => (*one).clone(),
            many => {
                let mut joined = bytes::BytesMut::with_capacity(size);
                many.iter().for_each(|bytes| joined.extend_from_slice(bytes));
                joined.freeze()
            }
        }
    }

    /// Bytes that a read from `offset` below `limit` would find, counted up to `enough`.
    pub(crate) fn available(&self, offset: i64, limit: i64, enough: usize) -> usize {
        let mut size = 0;
        for stored in self.batches.range(self.position(offset)..) {
            if stored.header.base_offset >= limit || size >= enough {
                break;
            }
            size += stored.bytes.len();
        }
        size
    }

    fn position(&self, offset: i64) -> usize {
        self.batches.partition_point(|stored| stored.header.last_offset() < offset)
    }

    /// Aborted transactions that touch `[from, to)`.
    pub(crate) fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.aborted.iter().filter(|aborted| aborted.last >= from && aborted.first < to).copied().collect()
    }

    /// Begins a leader epoch at the present end.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        let next = self.next;
        // an epoch without records leaves no trace in Kafka's cache
        self.epochs.retain(|(_, start)| *start < next);
        self.epochs.push((epoch, next));
    }

    /// `LeaderEpochFileCache.endOffsetFor`: the largest epoch not above the asked one and where it ends; (-1, -1)
    /// when unknown.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> (i32, i64) {
        match self.epochs.last() {
            Some((latest, _)) if *latest == epoch => return (epoch, self.next),
            Some((latest, _)) if epoch >= 0 && epoch < *latest => {}
            _ => return (-1, -1),
        }
        let above = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let end = self.epochs[above].1;
        let floor = if above == 0 { epoch } else { self.epochs[above - 1].0 };
        (floor, end)
    }

    /// Epoch under which `offset` was written.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        let above = self.epochs.partition_point(|(_, start)| *start <= offset);
        if above == 0 { -1 } else { self.epochs[above - 1].0 }
    }

    /// First batch whose newest record is at or after `timestamp`.
    pub(crate) fn batch_at_time(&self, timestamp: i64) -> Option<&Stored> {
        self.batches.iter().find(|stored| stored.header.max_timestamp >= timestamp && !stored.header.is_control())
    }

    /// The batch with the newest record.
    pub(crate) fn newest(&self) -> Option<&Stored> {
        // the first of equals, as Kafka answers
        self.batches
            .iter()
            .filter(|stored| !stored.header.is_control())
            .reduce(|best, next| if next.header.max_timestamp > best.header.max_timestamp { next } else { best })
    }

    /// Moves the log start to `offset` and drops what lies wholly before it.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.next));
        while self.batches.front().is_some_and(|stored| stored.header.last_offset() < self.start) {
            if let Some(gone) = self.batches.pop_front() {
                self.bytes -= gone.bytes.len() as u64;
            }
        }
        let start = self.start;
        self.aborted.retain(|aborted| aborted.last >= start);
    }

    /// Drops the oldest batches, all but the last, until at most `limit` bytes are held.
    pub(crate) fn retain_bytes(&mut self, limit: u64) {
        while self.bytes > limit && self.batches.len() > 1 {
            let second = self.batches[1].header.base_offset;
            self.delete_before(second);
        }
    }

    /// Drops leading batches whose newest record is older than `timestamp`.
    pub(crate) fn retain_since(&mut self, timestamp: i64) {
        while let Some(front) = self.batches.front()
            && front.header.max_timestamp < timestamp
        {
            let end = front.header.last_offset() + 1;
            self.delete_before(end);
        }
    }

    /// Loses everything from `offset` on, as an unclean leader election does; producer state is rebuilt from what
    /// is left.
    pub(crate) fn truncate(&mut self, offset: i64) {
        while self.batches.back().is_some_and(|stored| stored.header.last_offset() >= offset) {
            if let Some(gone) = self.batches.pop_back() {
                self.bytes -= gone.bytes.len() as u64;
            }
        }
        self.next = self.batches.back().map_or(self.start, |stored| stored.header.last_offset() + 1);
        let next = self.next;
        self.epochs.retain(|(_, start)| *start < next || *start == 0);
        self.aborted.retain(|aborted| aborted.last < next);
        self.ongoing.retain(|_, first| *first < next);
        self.producers.clear();
        let kept: Vec<Header> = self.batches.iter().map(|stored| stored.header).collect();
        for header in kept.iter().filter(|header| header.producer_id >= 0) {
            let entry = self.producers.entry(header.producer_id).or_insert_with(|| ProducerEntry::new(*header));
            entry.note(header, Appended { base_offset: header.base_offset, append_time: -1 });
        }
    }

    /// Forgets all producers, as `producer.id.expiration.ms` does to idle ones.
    pub(crate) fn forget_producers(&mut self) {
        self.producers.clear();
    }

    /// Replaces the batches by what a cleaner left of them; offsets stay.
    pub(crate) fn replace(&mut self, cleaned: Vec<Stored>) {
        self.bytes = cleaned.iter().map(|stored| stored.bytes.len() as u64).sum();
        self.batches = cleaned.into();
    }
}

impl ProducerEntry {
    fn new(header: Header) -> Self {
        Self { epoch: header.producer_epoch, last_timestamp: header.max_timestamp, sent: VecDeque::new() }
    }

    /// Sequence of the last record, -1 when nothing was written under this epoch.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.sent.back().map_or(-1, |sent| sent.last)
    }

    fn note(&mut self, header: &Header, appended: Appended) {
        if header.producer_epoch > self.epoch {
            self.epoch = header.producer_epoch;
            self.sent.clear();
        }
        self.last_timestamp = header.max_timestamp;
        if header.is_control() {
            return;
        }
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            first: header.base_sequence,
            last: header.last_sequence(),
            base_offset: appended.base_offset,
            append_time: appended.append_time,
        });
    }
}
