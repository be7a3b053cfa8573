//! Kafka's own record sets, shaped; and the result written for a broker's validator. See `tests/fixtures/batches/README.md`.

use std::path::{Path, PathBuf};

use super::*;
use crate::kafka::batch::Stamp;
use crate::kafka::records::decode;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/batches")
}

fn fixture(name: &str) -> Bytes {
    std::fs::read(folder().join(name)).unwrap().into()
}

fn ready(items: Vec<Item>) -> Vec<Ready> {
    items
        .into_iter()
        .filter_map(|item| match item {
            Item::Ready(ready) => Some(ready),
            Item::Skipped { .. } => None,
            Item::Stop { why, .. } => panic!("{why}"),
        })
        .collect()
}

fn shaped(name: &str, policy: &ShapePolicy, aborted: &[AbortedTransaction]) -> (Vec<Ready>, ShapeCounters) {
    let mut counters = ShapeCounters::default();
    let (items, _) = shape(&fixture(name), 0, 0, aborted, policy, &mut counters);
    (ready(items), counters)
}

/// Value, time and source offset of each record.
fn contents(batches: &[Ready]) -> Vec<(i64, i64, Option<Bytes>)> {
    let mut all = Vec::new();
    for ready in batches {
        for record in decode(&ready.batch, DECODE_LIMIT).unwrap() {
            all.push((ready.source_offset(record.offset_delta), record.timestamp, record.value));
        }
    }
    all
}

const T: i64 = 1_700_000_000_000;

#[test]
fn what_kafkas_cleaner_left_is_renumbered_and_keeps_its_times() {
    let policy = ShapePolicy { merge_below: 0, ..ShapePolicy::default() };
    let (batches, counters) = shaped("compacted.bin", &policy, &[]);
    let kept = Some(Bytes::from_static(b"kept"));
    // In the file the first batch's base timestamp is a delete horizon.
    let expected = vec![(51, T + 1, kept.clone()), (53, T + 3, None), (57, T + 7, kept.clone()), (58, T + 8, kept)];
    assert_eq!(contents(&batches), expected);
    assert_eq!(batches[0].runs, [(51, 0), (53, 1)]);
    // The empty batch behind it belongs to it.
    assert_eq!((batches[0].next_source_offset, batches[1].next_source_offset), (57, 59));
    assert_eq!((counters.rebuilt.get(Reason::Holes), counters.dropped.get(Reason::Empty), counters.passed), (1, 1, 1));
}

#[test]
fn of_kafkas_transactions_only_committed_data_goes_on_where_asked() {
    let aborted = [AbortedTransaction { producer_id: 7, first_offset: 20 }];
    let offsets = |read_committed| {
        let policy = ShapePolicy { read_committed, ..ShapePolicy::default() };
        let (batches, _) = shaped("transactions.bin", &policy, &aborted);
        contents(&batches).iter().map(|(offset, ..)| *offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(false), [20, 21, 22, 26]);
    // 26 is in the producer's next transaction.
    assert_eq!(offsets(true), [22, 26]);
}

#[test]
#[ignore = "writes files for Batches.java to judge: tests/fixtures/batches/README.md"]
fn write_shaped_batches_for_kafka_to_judge() {
    let out = PathBuf::from(std::env::var("MIRRORKEEPER_BATCHES").unwrap());
    std::fs::create_dir_all(&out).unwrap();
    let plain = ShapePolicy { merge_below: 0, ..ShapePolicy::default() };
    let mut policies = vec![
        ("pass", plain.clone()),
        ("merge", ShapePolicy::default()),
        ("split", ShapePolicy { max_batch_bytes: 6_000, ..plain }),
    ];
    for codec in Codec::ALL {
        policies.push((codec.name(), ShapePolicy { target_codec: Some(codec), ..plain.clone() }));
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".bin").filter(|stem| !stem.starts_with("old-")) else { continue };
        for (kind, policy) in &policies {
            let (batches, _) = shaped(&name, policy, &[]);
            let id = Stamp { producer_id: 12, epoch: 3, sequence: 40 };
            let bytes: Vec<u8> = batches.iter().flat_map(|ready| ready.batch.stamp(id).to_bytes().to_vec()).collect();
            std::fs::write(out.join(format!("{stem}-as-{kind}.bin")), bytes).unwrap();
        }
    }
}
