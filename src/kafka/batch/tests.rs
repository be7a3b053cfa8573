use proptest::prelude::*;

use super::*;
use crate::kafka::records::testing::{any_codec, any_records, record};
use crate::kafka::records::{decode, encode};

prop_compose! {
    fn any_batch()(records in any_records(1..8), codec in any_codec(), base in 0..1_000_000_i64, leader in any::<i32>(), bits in any::<i16>(), pid in any::<i64>(), epoch in any::<i16>(), sequence in any::<i32>()) -> RawBatch {
        let batch = encode(&records, codec, None).unwrap();
        let header = BatchHeader {
            base_offset: base,
            leader_epoch: leader,
            attributes: (bits & !CODEC_MASK) | i16::from(codec.id()),
            producer_id: pid,
            producer_epoch: epoch,
            base_sequence: sequence,
            ..*batch.header()
        };
        batch.with_header(header).unwrap()
    }
}

fn concatenated(batches: &[RawBatch]) -> Bytes {
    batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect()
}

proptest! {
    #[test]
    fn splitting_what_was_concatenated_gives_it_back(batches in proptest::collection::vec(any_batch(), 0..6)) {
        let all = concatenated(&batches);
        let back: Vec<RawBatch> = split(&all).map(Result::unwrap).collect();
        prop_assert_eq!(back, batches);
    }

    #[test]
    fn an_incomplete_last_batch_is_left_out(batches in proptest::collection::vec(any_batch(), 1..4), keep in any::<proptest::sample::Index>()) {
        let all = concatenated(&batches);
        let cut = keep.index(all.len());
        let whole = batches
            .iter()
            .scan(0, |end, batch| { *end += batch.len(); Some(*end) })
            .take_while(|end| *end <= cut)
            .count();
        let back: Vec<RawBatch> = split(&all.slice(..cut)).map(Result::unwrap).collect();
        prop_assert_eq!(&back[..], &batches[..whole]);
    }

    /// Law 3: only what makes the batch ours changes.
    #[test]
    fn stamping_changes_what_it_says_and_nothing_else(batch in any_batch(), producer_id in any::<i64>(), epoch in any::<i16>(), sequence in any::<i32>()) {
        let sealed = batch.stamp(Stamp { producer_id, epoch, sequence });
        let body = sealed.body.as_ptr();
        prop_assert_eq!(body, batch.records_section().as_ptr(), "the records are not copied");
        prop_assert_eq!(sealed.len(), batch.len());
        let ours = RawBatch::parse(&sealed.to_bytes()).unwrap();
        prop_assert!(ours.verify_crc().is_ok());
        let expected = BatchHeader {
            base_offset: 0,
            leader_epoch: -1,
            crc: ours.header().crc,
            attributes: batch.header().attributes & 7,
            producer_id,
            producer_epoch: epoch,
            base_sequence: sequence,
            ..*batch.header()
        };
        prop_assert_eq!(ours.header(), &expected);
        prop_assert_eq!(ours.records_section(), batch.records_section());
        let in_transaction = batch.stamp_transactional(Stamp { producer_id, epoch, sequence });
        let ours = RawBatch::parse(&in_transaction.to_bytes()).unwrap();
        prop_assert!(ours.verify_crc().is_ok());
        prop_assert_eq!(ours.header().attributes, expected.attributes | 0x10);
    }

    #[test]
    fn placing_leaves_the_crc_valid(batch in any_batch(), base in 0..i64::MAX / 2, leader in any::<i32>()) {
        let placed = batch.placed(base, leader);
        prop_assert!(placed.verify_crc().is_ok());
        prop_assert_eq!(&RawBatch::parse(placed.bytes()).unwrap(), &placed);
        prop_assert_eq!((placed.header().base_offset, placed.header().leader_epoch), (base, leader));
        prop_assert_eq!(decode(&placed, 1 << 20), decode(&batch, 1 << 20));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_always_end(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in 0..100_i32, magic in 0..4_i8) {
        let mut bytes = bytes;
        if bytes.len() > UP_TO_MAGIC {
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = magic as u8;
        }
        let bytes = Bytes::from(bytes);
        prop_assert!(split(&bytes).count() <= bytes.len() / HEADER_LEN + 1);
        for batch in split(&bytes).flatten() {
            let _ = batch.verify_crc();
            let _ = batch.stamp(Stamp::NONE);
            let _ = decode(&batch, 1 << 16);
        }
    }
}

fn sample() -> RawBatch {
    encode(&[record(0, 7, Some("k"), Some("v"))], Codec::None, None).unwrap()
}

#[test]
fn a_flipped_bit_is_seen() {
    let mut bytes = sample().bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let batch = RawBatch::parse(&bytes.into()).unwrap();
    assert!(matches!(batch.verify_crc(), Err(BatchError::Checksum { offset: 0, .. })));
}

#[test]
fn nothing_follows_an_error() {
    let mut bytes = sample().bytes().to_vec();
    bytes[16] = 9;
    bytes.extend_from_slice(sample().bytes());
    let all: Vec<_> = split(&bytes.into()).collect();
    assert_eq!(all, [Err(BatchError::UnknownFormat { offset: 0, magic: 9 })]);
}

#[test]
fn lengths_and_counts_that_no_batch_has_are_errors() {
    let with = |at: usize, number: &[u8]| {
        let mut bytes = sample().bytes().to_vec();
        bytes[at..at + number.len()].copy_from_slice(number);
        split(&bytes.into()).next()
    };
    for (at, number) in [
        (8, (-1_i32).to_be_bytes().to_vec()),
        (8, 20_i32.to_be_bytes().to_vec()),
        (23, (-1_i32).to_be_bytes().to_vec()),
        (57, (-1_i32).to_be_bytes().to_vec()),
        (0, (-5_i64).to_be_bytes().to_vec()),
        (0, i64::MAX.to_be_bytes().to_vec()),
    ] {
        assert!(matches!(with(at, &number), Some(Err(BatchError::Malformed { .. }))), "{at} {number:?}");
    }
    // A length beyond the bytes that are there is a cut, not an error.
    assert_eq!(with(8, &i32::MAX.to_be_bytes()), None);
}

#[test]
fn one_batch_and_nothing_else_is_parsed() {
    let one = sample().bytes().clone();
    let two = concatenated(&[sample(), sample()]);
    assert!(RawBatch::parse(&one).is_ok());
    assert!(RawBatch::parse(&two).is_err());
    assert!(RawBatch::parse(&one.slice(..one.len() - 1)).is_err());
    assert!(RawBatch::parse(&Bytes::new()).is_err());
}

#[test]
fn unknown_compression_is_named() {
    let batch = sample();
    let header = BatchHeader { attributes: 6, ..*batch.header() };
    let batch = batch.with_header(header).unwrap();
    assert_eq!(batch.codec(), Err(BatchError::UnknownCodec { offset: 0, id: 6 }));
    assert_eq!(batch.header().codec(), Err(6));
}

#[test]
fn offsets_and_holes() {
    let header = BatchHeader { base_offset: 10, last_offset_delta: 4, record_count: 2, ..*sample().header() };
    assert_eq!((header.last_offset(), header.next_offset()), (14, 15));
    assert!(!header.contiguous());
    assert!(sample().header().contiguous());
}
