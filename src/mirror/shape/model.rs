//! A source log made up for tests, and what a naive reader would copy of it, record by record.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use proptest::prelude::*;

use crate::kafka::batch::{AbortedTransaction, BatchHeader, RawBatch};
use crate::kafka::compress::Codec;
use crate::kafka::records::testing::{any_codec, any_records};
use crate::kafka::records::{ControlType, Record, control_batch, encode};

/// One thing in a source log.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Data {
        records: Vec<Record>,
        codec: Codec,
        /// Which records the cleaner has kept, cycled.
        kept: Vec<bool>,
        append_time: Option<i64>,
        /// In a transaction of this producer, or in none.
        producer: Option<i64>,
    },
    /// Ends the producer's transaction, if there is one.
    End { producer: i64, commit: bool },
    /// Offsets that the cleaner has removed batch and all.
    Gap(i64),
}

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let kept = prop_oneof![
        3 => Just(vec![true]),
        1 => proptest::collection::vec(any::<bool>(), 1..6),
        1 => Just(vec![false]),
    ];
    let data = (
        any_records(1..8),
        any_codec(),
        kept,
        proptest::option::weighted(0.15, 0..1_000_i64),
        proptest::option::weighted(0.5, 0..3_i64),
    )
        .prop_map(|(records, codec, kept, append_time, producer)| Event::Data {
            records,
            codec,
            kept,
            append_time,
            producer,
        });
    prop_oneof![
        6 => data,
        2 => (0..3_i64, any::<bool>()).prop_map(|(producer, commit)| Event::End { producer, commit }),
        1 => (1..5_i64).prop_map(Event::Gap),
    ]
}

/// A record as a reader sees it, with its offset in the source; `offset_delta` is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) record: Record,
}

/// A source log and everything there is to know about it.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) batches: Vec<RawBatch>,
    pub(crate) end: i64,
    /// Every data record; `true` where its transaction was aborted.
    pub(crate) records: Vec<(Seen, bool)>,
    /// Aborted transactions with the offset of their marker.
    aborted: Vec<(AbortedTransaction, i64)>,
}

impl Log {
    pub(crate) fn new(start: i64, events: &[Event]) -> Log {
        let mut log = Log { batches: Vec::new(), end: start, records: Vec::new(), aborted: Vec::new() };
        // First offset and first record of each open transaction.
        let mut open: HashMap<i64, (i64, Vec<usize>)> = HashMap::new();
        for event in events {
            match event {
                Event::Gap(offsets) => log.end += offsets,
                Event::End { producer, commit } => log.close(&mut open, *producer, *commit),
                Event::Data { producer, .. } => {
                    if let Some(producer) = producer {
                        open.entry(*producer).or_insert((log.end, Vec::new()));
                    }
                    let before = log.records.len();
                    log.data(event);
                    if let Some(producer) = producer {
                        let added = before..log.records.len();
                        open.entry(*producer).and_modify(|(_, all)| all.extend(added));
                    }
                }
            }
        }
        // Nothing is open below the last stable offset.
        let mut left: Vec<i64> = open.keys().copied().collect();
        left.sort_unstable();
        for producer in left {
            log.close(&mut open, producer, producer % 2 == 0);
        }
        log
    }

    fn close(&mut self, open: &mut HashMap<i64, (i64, Vec<usize>)>, producer: i64, commit: bool) {
        let Some((first_offset, records)) = open.remove(&producer) else {
            return;
        };
        let kind = if commit { ControlType::Commit } else { ControlType::Abort };
        if !commit {
            let transaction = AbortedTransaction { producer_id: producer, first_offset };
            self.aborted.push((transaction, self.end));
            for record in records {
                self.records[record].1 = true;
            }
        }
        self.batches.push(control_batch(kind, self.end, 5, (producer, 0), 0).unwrap());
        self.end += 1;
    }

    fn data(&mut self, event: &Event) {
        let Event::Data { records, codec, kept, append_time, producer } = event else {
            return;
        };
        let full = encode(records, *codec, None).unwrap();
        let survivors: Vec<Record> = records
            .iter()
            .zip(kept.iter().cycle())
            .filter(|(_, kept)| **kept)
            .map(|(record, _)| record.clone())
            .collect();
        let last = *records.last().map(|record| &record.offset_delta).unwrap();
        let batch = with_holes(&survivors, *codec);
        let mut header =
            BatchHeader { base_offset: self.end, leader_epoch: 3, last_offset_delta: last, ..*batch.header() };
        if survivors.is_empty() {
            header.max_timestamp = full.header().max_timestamp;
        }
        if let Some(producer) = producer {
            header.attributes |= 0x10;
            header.producer_id = *producer;
            header.producer_epoch = 0;
            header.base_sequence = 7;
        }
        if let Some(time) = append_time {
            header.attributes |= 0x08;
            header.max_timestamp = *time;
        }
        for mut record in survivors {
            let offset = self.end + i64::from(record.offset_delta);
            record.offset_delta = 0;
            record.timestamp = append_time.unwrap_or(record.timestamp);
            self.records.push((Seen { offset, record }, false));
        }
        self.end += i64::from(last) + 1;
        self.batches.push(batch.with_header(header).unwrap());
    }

    /// The answer to a fetch: whole batches from the one that holds `from`, and the aborted transactions that reach there.
    pub(crate) fn fetch(&self, from: i64) -> (Bytes, Vec<AbortedTransaction>) {
        let bytes = self
            .batches
            .iter()
            .filter(|batch| batch.header().next_offset() > from)
            .flat_map(|batch| batch.bytes().to_vec())
            .collect();
        let aborted =
            self.aborted.iter().filter(|(_, marker)| *marker >= from).map(|(transaction, _)| *transaction).collect();
        (bytes, aborted)
    }

    /// What a reader gets from `from` on.
    pub(crate) fn visible(&self, from: i64, read_committed: bool) -> Vec<Seen> {
        self.records
            .iter()
            .filter(|(seen, aborted)| seen.offset >= from && !(read_committed && *aborted))
            .map(|(seen, _)| seen.clone())
            .collect()
    }

    /// Offsets of the records that are aborted.
    pub(crate) fn aborted_offsets(&self) -> HashSet<i64> {
        self.records.iter().filter(|(_, aborted)| *aborted).map(|(seen, _)| seen.offset).collect()
    }
}

/// Our encoder never leaves holes; so it is told other offsets, by bytes: each record's delta is patched in.
fn with_holes(records: &[Record], codec: Codec) -> RawBatch {
    let template = encode(&[crate::kafka::records::testing::record(0, 0, None, None)], codec, None).unwrap();
    let Some(first) = records.first() else {
        let header = BatchHeader { record_count: 0, max_timestamp: 0, attributes: 0, ..*template.header() };
        return RawBatch::assemble(header, &[]).unwrap();
    };
    let mut section = Vec::new();
    for record in records {
        // One record alone, uncompressed: length, attributes, timestamp delta 0, offset delta 0, tail.
        let mut alone = record.clone();
        alone.timestamp = 0;
        let alone = encode(&[alone], Codec::None, None).unwrap();
        let bytes = alone.records_section();
        let length_bytes = bytes.iter().position(|byte| *byte < 0x80).unwrap() + 1;
        let tail = &bytes[length_bytes + 3..];
        let mut body = vec![record.attributes as u8];
        varint(&mut body, record.timestamp.wrapping_sub(first.timestamp));
        varint(&mut body, i64::from(record.offset_delta));
        body.extend_from_slice(tail);
        varint(&mut section, body.len() as i64);
        section.extend_from_slice(&body);
    }
    let header = BatchHeader {
        record_count: records.len() as i32,
        base_timestamp: first.timestamp,
        max_timestamp: records.iter().map(|record| record.timestamp).max().unwrap(),
        ..*template.header()
    };
    let packed = crate::kafka::compress::compress(codec, None, &section).unwrap();
    RawBatch::assemble(header, &packed).unwrap()
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}
