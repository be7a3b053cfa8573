use proptest::prelude::*;

use super::*;

fn any_codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

/// Bytes that compress well at times, and beyond one block of snappy and lz4 at times.
fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2_000),
        (any::<u8>(), 0..200_000_usize).prop_map(|(byte, n)| vec![byte; n]),
        (proptest::collection::vec(any::<u8>(), 1..50), 1..4_000_usize).prop_map(|(v, n)| v.repeat(n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_compressed_decompresses_to_itself(codec in any_codec(), data in data()) {
        let packed = compress(codec, None, &data).unwrap();
        prop_assert_eq!(decompress(codec, &packed, data.len()).unwrap(), data);
    }

    #[test]
    fn one_byte_above_the_limit_is_refused(codec in any_codec(), data in data()) {
        prop_assume!(!data.is_empty());
        let packed = compress(codec, None, &data).unwrap();
        let limit = data.len() - 1;
        prop_assert_eq!(decompress(codec, &packed, limit), Err(CompressError::TooLarge { codec, limit }));
    }

    #[test]
    fn hostile_bytes_never_panic_nor_pass_the_limit(codec in any_codec(), data in proptest::collection::vec(any::<u8>(), 0..500)) {
        if let Ok(out) = decompress(codec, &data, 1_000) {
            prop_assert!(out.len() <= 1_000);
        }
    }

    #[test]
    fn a_damaged_stream_never_panics(codec in any_codec(), data in data(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>()) {
        let mut packed = compress(codec, None, &data).unwrap();
        prop_assume!(!packed.is_empty());
        let at = at.index(packed.len());
        packed[at] = byte;
        packed.truncate(cut.index(packed.len()) + 1);
        if let Ok(out) = decompress(codec, &packed, 300_000) {
            prop_assert!(out.len() <= 300_000);
        }
    }
}

#[test]
fn plain_snappy_is_read_as_well() {
    let data = b"some clients send snappy without xerial's framing".repeat(20);
    let packed = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    assert_eq!(decompress(Codec::Snappy, &packed, data.len()).unwrap(), data);
}

#[test]
fn concatenated_xerial_streams_are_read_as_one() {
    let mut packed = compress(Codec::Snappy, None, b"one").unwrap();
    packed.extend(compress(Codec::Snappy, None, b"two").unwrap());
    assert_eq!(decompress(Codec::Snappy, &packed, 10).unwrap(), b"onetwo");
}

#[test]
fn a_snappy_block_that_claims_gigabytes_is_not_believed() {
    // The preamble says 2^32-1 bytes; five bytes follow.
    let packed = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0];
    assert!(matches!(decompress(Codec::Snappy, &packed, usize::MAX), Err(CompressError::Corrupt { .. })));
}

#[test]
fn a_zip_bomb_stops_at_the_limit() {
    let bomb = vec![0_u8; 64 << 20];
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let packed = compress(codec, None, &bomb).unwrap();
        assert!(packed.len() < bomb.len() / 100);
        assert_eq!(decompress(codec, &packed, 1 << 20), Err(CompressError::TooLarge { codec, limit: 1 << 20 }));
    }
}

#[test]
fn levels_are_taken_and_names_are_kafkas() {
    let data = b"abcdefgh".repeat(5_000);
    for (codec, level) in [(Codec::Gzip, 1), (Codec::Gzip, 9), (Codec::Zstd, 19), (Codec::Zstd, -5)] {
        let packed = compress(codec, Some(level), &data).unwrap();
        assert_eq!(decompress(codec, &packed, data.len()).unwrap(), data);
    }
    for codec in Codec::ALL {
        assert_eq!(codec.name().parse(), Ok(codec));
        assert_eq!(Codec::from_id(codec.id()), Some(codec));
    }
    assert!("producer".parse::<Codec>().is_err());
    assert_eq!(Codec::from_id(5), None);
}
