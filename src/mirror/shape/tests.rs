use proptest::prelude::*;

use super::model::{Event, Log, Seen, any_event};
use super::*;
use crate::kafka::batch::{BatchHeader, Stamp};
use crate::kafka::records::testing::{any_codec, any_records, record};
use crate::kafka::records::{Record, control_batch, decode, encode};

const LIMIT: usize = 1 << 20;

fn policies() -> impl Strategy<Value = ShapePolicy> {
    (
        proptest::option::weighted(0.25, any_codec()),
        proptest::option::weighted(0.25, any_codec()),
        prop_oneof![Just(1_048_588_usize), 150..2_000_usize],
        prop_oneof![Just(0_usize), Just(64 << 10), 100..600_usize],
        prop_oneof![Just(1_usize << 20), 200..2_000_usize],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(
                target_codec,
                codec_if_none,
                max_batch_bytes,
                merge_below,
                merge_up_to,
                read_committed,
                target_log_append_time,
            )| ShapePolicy {
                target_codec,
                codec_if_none,
                codec_level: None,
                max_batch_bytes,
                merge_below,
                merge_up_to,
                read_committed,
                target_log_append_time,
                decode_limit: LIMIT,
            },
        )
}

/// The records of a batch as the target will hold them, at their offsets in the source.
fn copied(ready: &Ready, stamped: bool) -> Vec<Seen> {
    let batch = if stamped {
        let sealed = ready.batch.stamp(Stamp { producer_id: 1, epoch: 0, sequence: 0 });
        RawBatch::parse(&sealed.to_bytes()).unwrap()
    } else {
        ready.batch.clone()
    };
    batch.verify_crc().unwrap();
    assert!(batch.header().contiguous(), "a broker refuses holes");
    assert_eq!(batch.header().record_count, ready.records);
    assert_eq!(batch.header().max_timestamp, ready.max_timestamp);
    assert_eq!(batch.len(), ready.bytes);
    decode(&batch, LIMIT)
        .unwrap()
        .into_iter()
        .zip(0..)
        .map(|(mut record, index)| {
            assert_eq!(record.offset_delta, index);
            record.offset_delta = 0;
            Seen { offset: ready.source_offset(index), record }
        })
        .collect()
}

/// Laws of offsets for any items: returns where they end.
fn tiles(items: &[Item], from: i64) -> Result<i64, TestCaseError> {
    let mut covered = from;
    for (index, item) in items.iter().enumerate() {
        match item {
            Item::Ready(ready) => {
                prop_assert_eq!(ready.first_source_offset, covered);
                prop_assert!(ready.runs[0].1 == 0 && ready.runs[0].0 >= covered);
                prop_assert!(ready.source_offset(ready.records - 1) < ready.next_source_offset);
                for pair in ready.runs.windows(2) {
                    prop_assert!(pair[1].1 > pair[0].1 && pair[1].1 < ready.records);
                    prop_assert!(pair[1].0 - pair[0].0 > i64::from(pair[1].1 - pair[0].1), "{:?}", ready.runs);
                }
                covered = ready.next_source_offset;
            }
            Item::Skipped { next_source_offset, .. } => {
                prop_assert!(*next_source_offset > covered);
                prop_assert!(index == 0, "what is dropped behind a batch belongs to it");
                covered = *next_source_offset;
            }
            Item::Stop { offset, .. } => {
                prop_assert!(*offset >= covered);
                prop_assert_eq!(index, items.len() - 1);
            }
        }
    }
    Ok(covered)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Laws 2 and 3, for whatever a source may hold, against a reader that goes record by record.
    #[test]
    fn what_comes_out_is_what_a_naive_reader_copies(
        events in proptest::collection::vec(any_event(), 0..20),
        at in any::<proptest::sample::Index>(),
        skip in prop_oneof![2 => Just(0_u64), 1 => 0..60_u64],
        policy in policies(),
    ) {
        let log = Log::new(50, &events);
        let from = 50 + at.index((log.end - 50) as usize + 1) as i64;
        let (bytes, aborted) = log.fetch(from);
        let mut counters = ShapeCounters::default();
        let (items, left) = shape(&bytes, from, skip, &aborted, &policy, &mut counters);

        let visible = log.visible(from, policy.read_committed);
        let skipped = (skip as usize).min(visible.len());
        let expected = &visible[skipped..];
        let mut got = Vec::new();
        let mut bytes_out = 0;
        for item in &items {
            if let Item::Ready(ready) = item {
                prop_assert!(ready.bytes <= policy.max_batch_bytes);
                if let Some(codec) = policy.target_codec {
                    prop_assert_eq!(ready.batch.codec().unwrap(), codec);
                } else if policy.codec_if_none.is_some_and(|codec| codec != Codec::None) {
                    prop_assert_ne!(ready.batch.codec().unwrap(), Codec::None);
                }
                bytes_out += ready.bytes as u64;
                got.extend(copied(ready, !policy.target_log_append_time));
            }
        }
        prop_assert_eq!((counters.records, counters.bytes), (got.len() as u64, bytes_out));
        let covered = tiles(&items, from)?;
        if let Some(Item::Stop { offset, why }) = items.last() {
            prop_assert!(matches!(why, StopReason::RecordTooLarge { .. }), "{why:?}");
            prop_assert_eq!(&got[..], &expected[..got.len()]);
            prop_assert_eq!(*offset, expected[got.len()].offset);
        } else {
            prop_assert_eq!(&got[..], expected);
            prop_assert_eq!(left, skip - skipped as u64);
            let end = log.batches.last().map_or(from, |batch| batch.header().next_offset().max(from));
            prop_assert_eq!(covered, end);
        }
    }

    /// A refused batch, split: the same records, within the same range of sequences.
    #[test]
    fn splitting_keeps_records_offsets_and_count(records in any_records(2..40), codec in any_codec(), base in 0..1_000_i64, max in 100..2_000_usize) {
        let batch = encode(&records, codec, None).unwrap().placed(base, 1);
        let mut counters = ShapeCounters::default();
        let policy = ShapePolicy { decode_limit: LIMIT, ..ShapePolicy::default() };
        let (items, _) = shape(batch.bytes(), base, 0, &[], &policy, &mut counters);
        let [Item::Ready(ready)] = &items[..] else { panic!("{items:?}") };
        match split_ready(ready, max) {
            Ok(parts) => {
                prop_assert!(parts.len() >= 2);
                prop_assert!(parts.iter().all(|part| part.bytes <= max && part.shape == Shape::Split));
                prop_assert_eq!(parts.iter().map(|part| part.records).sum::<i32>(), ready.records);
                let all: Vec<Seen> = parts.iter().flat_map(|part| copied(part, true)).collect();
                prop_assert_eq!(all, copied(ready, true));
                let items: Vec<Item> = parts.into_iter().map(Item::Ready).collect();
                prop_assert_eq!(tiles(&items, ready.first_source_offset)?, ready.next_source_offset);
            }
            Err(StopReason::RecordTooLarge { offset, bytes, limit }) => {
                let alone = &records[(offset - base) as usize];
                prop_assert_eq!(encode(std::slice::from_ref(alone), codec, None).unwrap().len(), bytes);
                prop_assert!(bytes > max && limit == max);
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Whatever stands in a batch, even under a valid CRC, is an item or a stop, never a panic; and offsets stay in order.
    #[test]
    fn hostile_batches_never_panic(
        records in any_records(1..6), codec in any_codec(), at in any::<proptest::sample::Index>(), flip in any::<u8>(),
        numbers in any::<(i16, i16, i8)>(), from in 0..20_i64, skip in 0..5_u64, policy in policies(),
    ) {
        let good = encode(&records, codec, None).unwrap();
        let mut section = good.records_section().to_vec();
        let at = at.index(section.len());
        section[at] ^= flip;
        let header = BatchHeader {
            base_offset: 10,
            attributes: numbers.0,
            last_offset_delta: i32::from(numbers.1 & 0xf),
            record_count: good.header().record_count.wrapping_add(i32::from(numbers.2 % 2)),
            producer_id: 1,
            ..*good.header()
        };
        let bad = RawBatch::assemble(header, &section).unwrap();
        let bytes: Bytes = [good.placed(2, 0), bad, good.placed(40, 0)].iter().flat_map(|batch| batch.bytes().to_vec()).collect();
        let aborted = [AbortedTransaction { producer_id: 1, first_offset: 3 }];
        let (items, _) = shape(&bytes, from, skip, &aborted, &policy, &mut ShapeCounters::default());
        tiles_loosely(&items, from)?;
        for cut in [bytes.len() / 3, bytes.len() / 2] {
            let (items, _) = shape(&bytes.slice(cut..), from, skip, &aborted, &policy, &mut ShapeCounters::default());
            tiles_loosely(&items, from)?;
        }
    }
}

/// Only what holds for batches that lie about themselves.
fn tiles_loosely(items: &[Item], from: i64) -> Result<(), TestCaseError> {
    let mut covered = from;
    for item in items {
        covered = match item {
            Item::Ready(ready) => {
                prop_assert_eq!(ready.first_source_offset, covered);
                prop_assert!(ready.runs[0].0 >= covered);
                prop_assert!(ready.next_source_offset > covered);
                ready.next_source_offset
            }
            Item::Skipped { next_source_offset, .. } => {
                prop_assert!(*next_source_offset > covered);
                *next_source_offset
            }
            Item::Stop { offset, .. } => {
                prop_assert!(*offset >= covered);
                covered
            }
        };
    }
    Ok(())
}

fn simple(count: i32) -> Vec<Record> {
    (0..count).map(|index| record(index, 1_000 + i64::from(index), Some("key"), Some("value"))).collect()
}

fn batch_at(offset: i64, count: i32, codec: Codec) -> RawBatch {
    encode(&simple(count), codec, None).unwrap().placed(offset, 4)
}

fn all(batches: &[RawBatch]) -> Bytes {
    batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect()
}

fn shaped(batches: &[RawBatch], policy: &ShapePolicy) -> (Vec<Item>, ShapeCounters) {
    let mut counters = ShapeCounters::default();
    let from = batches[0].header().base_offset;
    let (items, _) = shape(&all(batches), from, 0, &[], policy, &mut counters);
    (items, counters)
}

fn no_merge() -> ShapePolicy {
    ShapePolicy { merge_below: 0, ..ShapePolicy::default() }
}

fn shapes(items: &[Item]) -> Vec<Shape> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Ready(ready) => Some(ready.shape),
            _ => None,
        })
        .collect()
}

#[test]
fn a_batch_that_passes_is_not_copied() {
    let bytes = all(&[batch_at(5, 3, Codec::Zstd)]);
    let (items, _) = shape(&bytes, 5, 0, &[], &ShapePolicy::default(), &mut ShapeCounters::default());
    let [Item::Ready(ready)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(ready.shape, Shape::Pass);
    assert_eq!(ready.batch.bytes().as_ptr(), bytes.as_ptr());
    assert_eq!((ready.first_source_offset, ready.next_source_offset), (5, 8));
    assert_eq!(ready.runs, [(5, 0)]);
}

#[test]
fn small_neighbours_of_one_codec_become_one_batch() {
    let batches = [
        batch_at(0, 1, Codec::Lz4),
        batch_at(1, 1, Codec::Lz4),
        // A marker in between is a hole.
        control_batch(crate::kafka::records::ControlType::Commit, 2, 1, (9, 0), 0).unwrap(),
        batch_at(3, 2, Codec::Lz4),
        batch_at(5, 1, Codec::None),
    ];
    let (items, counters) = shaped(&batches, &ShapePolicy::default());
    let [Item::Ready(merged), Item::Ready(other)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((merged.shape, merged.records), (Shape::Merge, 4));
    assert_eq!(merged.batch.codec(), Ok(Codec::Lz4));
    assert_eq!(merged.runs, [(0, 0), (3, 2)]);
    assert_eq!((merged.first_source_offset, merged.next_source_offset), (0, 5));
    assert_eq!((other.shape, other.first_source_offset), (Shape::Pass, 5));
    assert_eq!((counters.merged_from, counters.merged, counters.passed), (3, 1, 1));
    assert_eq!(counters.dropped.get(Reason::Control), 1);
    assert_eq!(counters.source_batches, 5);
}

#[test]
fn merging_ends_at_its_limit() {
    let batches: Vec<RawBatch> = (0..100).map(|offset| batch_at(offset, 1, Codec::None)).collect();
    let policy = ShapePolicy { merge_up_to: 1_000, ..ShapePolicy::default() };
    let (items, _) = shaped(&batches, &policy);
    assert!(shapes(&items).iter().all(|shape| *shape == Shape::Merge));
    assert!(items.len() > 5 && items.len() < 20, "{}", items.len());
}

#[test]
fn little_that_holds_much_is_not_merged_into_a_giant() {
    let value: &'static str = Box::leak("a".repeat(600_000).into_boxed_str());
    let batches: Vec<RawBatch> = (0..4)
        .map(|offset| encode(&[record(0, 1, None, Some(value))], Codec::Zstd, None).unwrap().placed(offset, 0))
        .collect();
    let (items, _) = shaped(&batches, &ShapePolicy::default());
    assert_eq!(shapes(&items), [Shape::Pass; 4]);
}

#[test]
fn a_codec_that_is_forced_rebuilds_and_a_default_concerns_uncompressed_batches_only() {
    let batches = [batch_at(0, 3, Codec::None), batch_at(3, 3, Codec::Lz4), batch_at(6, 3, Codec::Gzip)];
    let recompress = Shape::Rebuild(Reason::Recompress);
    let policy = ShapePolicy { codec_if_none: Some(Codec::Gzip), codec_level: Some(1), ..no_merge() };
    let (items, _) = shaped(&batches, &policy);
    assert_eq!(shapes(&items), [recompress, Shape::Pass, Shape::Pass]);
    let policy = ShapePolicy { target_codec: Some(Codec::Gzip), ..no_merge() };
    let (items, counters) = shaped(&batches, &policy);
    assert_eq!(shapes(&items), [recompress, recompress, Shape::Pass]);
    assert_eq!(counters.rebuilt.iter().collect::<Vec<_>>(), [(Reason::Recompress, 2)]);
}

#[test]
fn log_append_time_becomes_create_time_unless_the_target_stamps_itself() {
    let batch = batch_at(0, 2, Codec::None);
    let header = BatchHeader { attributes: 0x08, max_timestamp: 5_555, ..*batch.header() };
    let batch = batch.with_header(header).unwrap();
    let (items, _) = shaped(std::slice::from_ref(&batch), &no_merge());
    let [Item::Ready(ready)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(ready.shape, Shape::Rebuild(Reason::LogAppendTime));
    assert!(copied(ready, true).iter().all(|seen| seen.record.timestamp == 5_555));
    let policy = ShapePolicy { target_log_append_time: true, ..no_merge() };
    assert_eq!(shapes(&shaped(&[batch], &policy).0), [Shape::Pass]);
}

#[test]
fn records_that_were_written_already_are_left_out_once() {
    let batches = [batch_at(0, 3, Codec::None), batch_at(3, 3, Codec::None), batch_at(6, 3, Codec::None)];
    let (items, left) = shape(&all(&batches), 0, 4, &[], &no_merge(), &mut ShapeCounters::default());
    assert_eq!(left, 0);
    let [
        Item::Skipped { next_source_offset: 3, reason: Reason::AlreadyWritten },
        Item::Ready(rest),
        Item::Ready(whole),
    ] = &items[..]
    else {
        panic!("{items:?}")
    };
    assert_eq!((rest.shape, rest.records, rest.runs[0]), (Shape::Rebuild(Reason::AlreadyWritten), 2, (4, 0)));
    assert_eq!((rest.first_source_offset, rest.next_source_offset), (3, 6));
    assert_eq!(whole.shape, Shape::Pass);
    let (items, left) = shape(&all(&batches), 0, 11, &[], &no_merge(), &mut ShapeCounters::default());
    assert_eq!(left, 2);
    assert_eq!(items, [Item::Skipped { next_source_offset: 9, reason: Reason::AlreadyWritten }]);
}

#[test]
fn what_cannot_be_copied_stops_the_partition_and_what_lies_before_goes_on() {
    let good = batch_at(0, 3, Codec::None);
    let header = |change: fn(&mut BatchHeader)| {
        let batch = batch_at(3, 3, Codec::None);
        let mut header = *batch.header();
        change(&mut header);
        batch.with_header(header).unwrap().bytes().to_vec()
    };
    let damaged = {
        let mut bytes = batch_at(3, 3, Codec::Gzip).bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let old = {
        let mut bytes = batch_at(3, 3, Codec::None).bytes().to_vec();
        bytes[16] = 1;
        bytes
    };
    let bomb = {
        let value: &'static str = Box::leak("a".repeat(300_000).into_boxed_str());
        let bomb = encode(&[record(0, 1, None, Some(value))], Codec::Zstd, None).unwrap().placed(3, 0);
        let holes = BatchHeader { last_offset_delta: 1, ..*bomb.header() };
        bomb.with_header(holes).unwrap().bytes().to_vec()
    };
    for (bytes, code) in [
        (damaged, "BATCH-CORRUPT"),
        (old, "BATCH-OLD-FORMAT"),
        (header(|header| header.attributes = 7), "BATCH-UNKNOWN-CODEC"),
        // Has holes, so it is opened; and then does not hold what it says.
        (header(|header| header.record_count = 2), "BATCH-UNDECODABLE"),
        (bomb, "BATCH-DECODE-LIMIT"),
    ] {
        for merge_below in [0, 64 << 10] {
            let policy = ShapePolicy { merge_below, decode_limit: 100_000, ..ShapePolicy::default() };
            let mut chunk = good.bytes().to_vec();
            chunk.extend_from_slice(&bytes);
            chunk.extend_from_slice(batch_at(6, 1, Codec::None).bytes());
            let (items, _) = shape(&chunk.into(), 0, 0, &[], &policy, &mut ShapeCounters::default());
            let [Item::Ready(before), Item::Stop { offset: 3, why }] = &items[..] else { panic!("{code}: {items:?}") };
            assert_eq!(why.code(), code);
            assert_eq!(before.next_source_offset, 3);
        }
    }
}

#[test]
fn a_stop_gives_back_what_was_to_be_left_out_behind_it() {
    let batch = batch_at(0, 3, Codec::None);
    let lying = BatchHeader { last_offset_delta: 4, record_count: 5, ..*batch.header() };
    let (items, left) =
        shape(batch.with_header(lying).unwrap().bytes(), 0, 2, &[], &no_merge(), &mut ShapeCounters::default());
    assert!(matches!(&items[..], [Item::Stop { offset: 0, .. }]), "{items:?}");
    assert_eq!(left, 2);
}

#[test]
fn a_single_record_too_large_stops_at_its_own_offset_behind_its_neighbours() {
    let large: &'static str = Box::leak("x".repeat(2_000).into_boxed_str());
    let mut records = simple(5);
    records[3] = record(3, 1, None, Some(large));
    let batch = encode(&records, Codec::None, None).unwrap().placed(10, 0);
    let policy = ShapePolicy { max_batch_bytes: 1_000, ..ShapePolicy::default() };
    let (items, counters) = shaped(&[batch], &policy);
    let Some(Item::Stop { offset: 13, why: StopReason::RecordTooLarge { offset: 13, bytes, limit: 1_000 } }) =
        items.last()
    else {
        panic!("{items:?}")
    };
    assert!(*bytes > 2_000);
    assert_eq!(counters.records, 3);
    let whole = ShapePolicy { max_batch_bytes: 10_000, ..ShapePolicy::default() };
    let batch = encode(&records, Codec::None, None).unwrap();
    let (items, _) = shaped(&[batch], &whole);
    let [Item::Ready(ready)] = &items[..] else { panic!("{items:?}") };
    assert!(matches!(split_ready(ready, 1_000), Err(StopReason::RecordTooLarge { offset: 3, .. })));
}

#[test]
fn a_refused_batch_is_halved_even_where_it_seems_to_fit() {
    let (items, _) = shaped(&[batch_at(0, 10, Codec::Snappy)], &no_merge());
    let [Item::Ready(ready)] = &items[..] else { panic!("{items:?}") };
    let parts = split_ready(ready, 1 << 20).unwrap();
    assert_eq!(parts.iter().map(|part| part.records).collect::<Vec<_>>(), [5, 5]);
}

#[test]
fn nothing_comes_of_nothing() {
    let (items, left) = shape(&Bytes::new(), 7, 3, &[], &ShapePolicy::default(), &mut ShapeCounters::default());
    assert_eq!((items, left), (Vec::new(), 3));
}

#[test]
fn only_markers_and_gaps_move_the_position() {
    let log = Log::new(
        0,
        &[
            Event::Data {
                records: simple(2),
                codec: Codec::None,
                kept: vec![true],
                append_time: None,
                producer: Some(1),
            },
            Event::End { producer: 1, commit: false },
        ],
    );
    let (bytes, aborted) = log.fetch(0);
    let policy = ShapePolicy { read_committed: true, ..ShapePolicy::default() };
    let (items, _) = shape(&bytes, 0, 0, &aborted, &policy, &mut ShapeCounters::default());
    assert_eq!(items, [Item::Skipped { next_source_offset: 3, reason: Reason::Aborted }]);
}

#[test]
fn a_batch_that_holds_nothing_behind_the_position_belongs_to_the_one_before() {
    // Overlapping offsets: nothing a healthy broker sends, and still no record twice and no offset uncovered.
    let overlapping = batch_at(1, 2, Codec::None);
    let header = BatchHeader { last_offset_delta: 5, ..*overlapping.header() };
    let batches = [batch_at(0, 3, Codec::None), overlapping.with_header(header).unwrap()];
    let (items, _) = shaped(&batches, &no_merge());
    let [Item::Ready(ready)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((ready.records, ready.next_source_offset), (3, 7));
}

#[test]
fn records_out_of_order_within_a_batch_are_not_guessed_at() {
    let batch = batch_at(0, 2, Codec::None);
    let mut section = batch.records_section().to_vec();
    // Length, attributes, timestamp delta, offset delta: one byte each; then the second record.
    let second = section.len() / 2;
    for (at, delta) in [(second + 3, 0), (3, 2), (second + 3, 40)] {
        let before = std::mem::replace(&mut section[at], delta);
        let header = BatchHeader { last_offset_delta: 2, ..*batch.header() };
        let lying = RawBatch::assemble(header, &section).unwrap();
        section[at] = before;
        let (items, _) = shaped(&[lying], &no_merge());
        let [Item::Stop { offset: 0, why }] = &items[..] else { panic!("{items:?}") };
        assert_eq!(why.code(), "BATCH-UNDECODABLE");
    }
}
