use proptest::prelude::*;

use super::testing::{any_codec, any_records, record};
use super::*;
use crate::kafka::batch::{BatchHeader, HEADER_LEN, split};

const LIMIT: usize = 1 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Law 3.
    #[test]
    fn what_was_encoded_decodes_to_itself(records in any_records(1..30), codec in any_codec()) {
        let batch = encode(&records, codec, None).unwrap();
        prop_assert!(batch.verify_crc().is_ok());
        prop_assert!(batch.header().contiguous());
        prop_assert_eq!(batch.header().record_count as usize, records.len());
        prop_assert_eq!(batch.header().base_timestamp, records[0].timestamp);
        prop_assert_eq!(batch.header().max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap());
        prop_assert_eq!(&RawBatch::parse(batch.bytes()).unwrap(), &batch);
        prop_assert_eq!(decode(&batch, LIMIT).unwrap(), records);
    }

    /// Views copied into another batch are the same records, without decoding.
    #[test]
    fn copied_views_are_the_same_records(records in any_records(1..30), from in any_codec(), to in any_codec(), skip in 0..30_usize) {
        let batch = encode(&records, from, None).unwrap();
        let section = Section::open(&batch, LIMIT).unwrap();
        let skip = skip.min(records.len() - 1);
        let mut encoder = Encoder::new(to, None);
        for view in section.views().skip(skip) {
            encoder.push_view(&view.unwrap()).unwrap();
        }
        let mut expected = records[skip..].to_vec();
        for (record, index) in expected.iter_mut().zip(0..) {
            record.offset_delta = index;
        }
        prop_assert_eq!(decode(&encoder.finish().unwrap(), LIMIT).unwrap(), expected);
    }

    #[test]
    fn arbitrary_records_never_panic(section in proptest::collection::vec(any::<u8>(), 0..200), count in any::<i32>(), attributes in any::<i16>(), timestamps in any::<(i64, i64)>()) {
        let header = BatchHeader { record_count: count.max(0), attributes, base_timestamp: timestamps.0, max_timestamp: timestamps.1, ..*encode(&[record(0, 0, None, None)], Codec::None, None).unwrap().header() };
        let batch = RawBatch::assemble(header, &section).unwrap();
        let decoded = decode(&batch, LIMIT);
        if let Ok(records) = &decoded {
            prop_assert_eq!(records.len(), count.max(0) as usize);
        }
        let _ = control_type(&batch);
    }

    /// Every byte of a valid batch in turn may be anything: an error or other records, never a panic; and the CRC sees it.
    #[test]
    fn a_damaged_batch_never_panics(records in any_records(1..10), codec in any_codec(), at in any::<proptest::sample::Index>(), flip in 1..=255_u8, cut in proptest::option::of(any::<proptest::sample::Index>())) {
        let batch = encode(&records, codec, None).unwrap();
        let mut bytes = batch.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for batch in split(&bytes.into()).flatten() {
            if at >= 17 {
                prop_assert!(batch.verify_crc().is_err());
            }
            let _ = decode(&batch, LIMIT);
            let _ = control_type(&batch);
        }
    }

    #[test]
    fn numbers_of_every_length(value in any::<i64>(), shift in 0..64_u32) {
        let value = value >> shift;
        let mut out = Vec::new();
        varint::write_i64(&mut out, value);
        prop_assert_eq!(out.len(), varint::len_i64(value));
        prop_assert_eq!(varint::read_i64(&mut &out[..]), Some(value));
        let value = value as i32;
        out.clear();
        varint::write_i32(&mut out, value);
        prop_assert_eq!(out.len(), varint::len_i32(value));
        prop_assert_eq!(varint::read_i32(&mut &out[..]), Some(value));
        out.pop();
        prop_assert_eq!(varint::read_i32(&mut &out[..]), None);
    }
}

#[test]
fn numbers_too_long_for_their_type_are_refused() {
    assert_eq!(varint::read_i32(&mut &[0xff; 6][..]), None);
    assert_eq!(varint::read_i64(&mut &[0xff; 11][..]), None);
    for value in [i32::MIN, i32::MAX, 0, -1, 63, 64, -64, -65] {
        let mut out = Vec::new();
        varint::write_i32(&mut out, value);
        assert_eq!(varint::read_i32(&mut &out[..]), Some(value));
        assert_eq!(out.len(), varint::len_i32(value));
    }
}

#[test]
fn header_keys_that_are_not_utf8_survive_in_order_and_repeated() {
    let mut one = record(0, 5, Some("k"), None);
    one.headers = vec![
        (Bytes::from_static(b"\xff\xfe"), Some(Bytes::from_static(b"1"))),
        (Bytes::from_static(b"b"), None),
        (Bytes::from_static(b"\xff\xfe"), Some(Bytes::new())),
    ];
    let batch = encode(std::slice::from_ref(&one), Codec::Lz4, None).unwrap();
    assert_eq!(decode(&batch, LIMIT).unwrap(), vec![one]);
}

#[test]
fn in_a_log_append_time_batch_every_record_has_the_batchs_time() {
    let records = [record(0, 10, None, Some("a")), record(1, 30, None, Some("b"))];
    let batch = encode(&records, Codec::None, None).unwrap();
    let header = BatchHeader { attributes: 0x08, max_timestamp: 99, ..*batch.header() };
    let times: Vec<i64> =
        decode(&batch.with_header(header).unwrap(), LIMIT).unwrap().iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [99, 99]);
}

#[test]
fn a_count_that_lies_is_an_error_either_way() {
    let batch = encode(&[record(0, 1, None, None), record(1, 2, None, None)], Codec::None, None).unwrap();
    for (count, index, what) in [
        (1, 1, "it is not in the batch's record count"),
        (3, 2, "its length is cut off"),
        (i32::MAX, 2, "its length is cut off"),
    ] {
        let header = BatchHeader { record_count: count, ..*batch.header() };
        let lying = batch.with_header(header).unwrap();
        assert_eq!(decode(&lying, LIMIT), Err(BatchError::Record { offset: 0, index, what }));
    }
}

#[test]
fn decompressed_size_is_bounded() {
    let value: &'static str = Box::leak("a".repeat(100_000).into_boxed_str());
    let batch = encode(&[record(0, 1, None, Some(value))], Codec::Zstd, None).unwrap();
    assert!(batch.len() < 1_000);
    assert!(matches!(decode(&batch, 10_000), Err(BatchError::Compression { .. })));
    assert!(decode(&batch, 200_000).is_ok());
}

#[test]
fn an_uncompressed_batch_is_decoded_without_copying() {
    let batch = encode(&[record(0, 1, Some("key"), Some("value"))], Codec::None, None).unwrap();
    let value = decode(&batch, LIMIT).unwrap()[0].value.clone().unwrap();
    let whole = batch.bytes().as_ptr_range();
    assert!(whole.contains(&value.as_ptr()));
    assert_eq!(batch.records_section().len(), batch.len() - HEADER_LEN);
}

#[test]
fn a_marker_is_recognised_and_data_is_not_one() {
    for kind in [ControlType::Abort, ControlType::Commit, ControlType::Other(5)] {
        let batch = control_batch(kind, 10, 1, (1, 0), 0).unwrap();
        assert_eq!(control_type(&batch), Ok(kind));
    }
    let data = encode(&[record(0, 1, Some("key"), None)], Codec::None, None).unwrap();
    assert!(control_type(&data).is_err());
}
