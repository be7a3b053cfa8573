//! Records made up for tests.

use bytes::Bytes;
use proptest::prelude::*;

use super::Record;
use crate::kafka::compress::Codec;

pub(crate) const CODECS: [Codec; 5] = Codec::ALL;

pub(crate) fn any_codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(CODECS.to_vec())
}

pub(crate) fn record(
    offset_delta: i32,
    timestamp: i64,
    key: Option<&'static str>,
    value: Option<&'static str>,
) -> Record {
    Record {
        offset_delta,
        timestamp,
        key: key.map(|key| Bytes::from_static(key.as_bytes())),
        value: value.map(|value| Bytes::from_static(value.as_bytes())),
        headers: Vec::new(),
        attributes: 0,
    }
}

fn field() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..20),
        2 => (any::<u8>(), 0..300_usize).prop_map(|(byte, n)| vec![byte; n]),
    ]
    .prop_map(Bytes::from)
}

pub(crate) fn any_timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 1_700_000_000_000..1_700_000_100_000_i64,
        1 => Just(-1_i64),
        1 => Just(0_i64),
        1 => any::<i64>(),
    ]
}

/// Records with offsets from 0 without holes.
pub(crate) fn any_records(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Record>> {
    let headers = proptest::collection::vec((field(), proptest::option::of(field())), 0..4);
    let one = (any_timestamp(), proptest::option::of(field()), proptest::option::of(field()), headers, any::<i8>());
    proptest::collection::vec(one, count).prop_map(|records| {
        records
            .into_iter()
            .zip(0..)
            .map(|((timestamp, key, value, headers, attributes), offset_delta)| Record {
                offset_delta,
                timestamp,
                key,
                value,
                headers,
                attributes,
            })
            .collect()
    })
}
