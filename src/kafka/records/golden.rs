//! Kafka's own bytes, read by us; and the other way round on demand. See `tests/fixtures/batches/README.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::testing::{CODECS, record};
use super::*;
use crate::kafka::batch::{BatchError, Stamp, split};

const LIMIT: usize = 1 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/batches")
}

fn fixture(name: &str) -> Bytes {
    std::fs::read(folder().join(name)).unwrap().into()
}

fn show(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > 40 => {
            format!("<{} bytes, crc {:08x}>", bytes.len(), crc32c::crc32c(bytes))
        }
        Some(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'{hex}'")
        }
    }
}

/// The text that `Batches.java` prints for the same record set.
fn dump(records: &Bytes) -> String {
    let mut out = String::new();
    for batch in split(records) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        let header = batch.header();
        writeln!(
            out,
            "batch base={} last={} count={} codec={} append={} transactional={} control={} horizon={} max={} producer={}/{}/{} leader={} size={}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            batch.codec().unwrap(),
            header.log_append_time(),
            header.is_transactional(),
            header.is_control(),
            header.has_delete_horizon(),
            header.max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.leader_epoch,
            batch.len(),
        )
        .unwrap();
        for record in decode(&batch, LIMIT).unwrap() {
            write!(
                out,
                "  {} at {} {} = {}",
                header.base_offset + i64::from(record.offset_delta),
                record.timestamp,
                show(record.key.as_deref()),
                show(record.value.as_deref()),
            )
            .unwrap();
            for (name, value) in &record.headers {
                write!(out, " {}:{}", show(Some(name)), show(value.as_deref())).unwrap();
            }
            if header.is_control() {
                let kind = match control_type(&batch).unwrap() {
                    ControlType::Abort => "ABORT",
                    ControlType::Commit => "COMMIT",
                    ControlType::Other(2) => "LEADER_CHANGE",
                    ControlType::Other(_) => "UNKNOWN",
                };
                write!(out, " {kind}").unwrap();
            }
            out.push('\n');
        }
    }
    out
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".txt").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn what_kafka_wrote_reads_as_kafka_reads_it() {
    let names = names();
    assert!(names.len() >= 18, "fixtures are missing: {names:?}");
    for name in names {
        let expected = String::from_utf8(fixture(&format!("{name}.txt")).to_vec()).unwrap();
        assert_eq!(dump(&fixture(&format!("{name}.bin"))), expected, "{name}");
    }
}

#[test]
fn kafkas_records_survive_a_turn_through_our_encoder() {
    for name in names() {
        for batch in split(&fixture(&format!("{name}.bin"))) {
            let batch = batch.unwrap();
            let mut records = decode(&batch, LIMIT).unwrap();
            for (index, record) in records.iter_mut().enumerate() {
                record.offset_delta = index as i32;
            }
            if records.is_empty() {
                assert_eq!(encode(&records, Codec::None, None), Err(BatchError::Empty));
                continue;
            }
            for codec in CODECS {
                let again = encode(&records, codec, None).unwrap();
                again.verify_crc().unwrap();
                assert_eq!(decode(&again, LIMIT).unwrap(), records, "{name} {codec}");
            }
        }
    }
}

#[test]
fn an_uncompressed_batch_is_encoded_to_kafkas_very_bytes() {
    let java = RawBatch::parse(&fixture("plain-none.bin")).unwrap();
    let ours = encode(&decode(&java, LIMIT).unwrap(), Codec::None, None).unwrap();
    assert_eq!(ours.placed(41, 3), java);
}

#[test]
fn stamped_as_kafka_stamps_it() {
    let plain = RawBatch::parse(&fixture("plain-none.bin")).unwrap();
    let idempotent = RawBatch::parse(&fixture("idempotent.bin")).unwrap();
    let sealed = plain.stamp(Stamp { producer_id: 4711, epoch: 2, sequence: 17 });
    let ours = RawBatch::parse(&sealed.to_bytes()).unwrap();
    ours.verify_crc().unwrap();
    assert_eq!(ours.placed(100, 5), idempotent);
}

#[test]
fn old_formats_are_named() {
    for (name, expected) in [("old-v0.bin", 0), ("old-v1.bin", 1)] {
        let first = split(&fixture(name)).next().unwrap();
        assert_eq!(first, Err(BatchError::OldFormat { offset: 9, magic: expected }));
    }
}

#[test]
fn markers_are_written_as_kafkas_coordinator_writes_them() {
    let records = fixture("transactions.bin");
    let markers: Vec<RawBatch> = split(&records)
        .map(Result::unwrap)
        .filter(|batch| batch.header().is_control() && batch.header().is_transactional())
        .collect();
    let abort = control_batch(ControlType::Abort, 23, 1_700_000_000_002, (7, 1), 6).unwrap();
    let commit = control_batch(ControlType::Commit, 24, 1_700_000_000_003, (8, 0), 6).unwrap();
    assert_eq!(vec![abort.placed(23, 2), commit.placed(24, 2)], markers);
}

#[test]
#[ignore = "writes files for Batches.java to read: tests/fixtures/batches/README.md"]
fn write_batches_for_kafka_to_read() {
    let folder = PathBuf::from(std::env::var("MIRRORKEEPER_BATCHES").unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    let plain = decode(&RawBatch::parse(&fixture("plain-none.bin")).unwrap(), LIMIT).unwrap();
    let big = decode(&RawBatch::parse(&fixture("big-zstd.bin")).unwrap(), LIMIT).unwrap();
    let single = vec![record(0, -1, None, None)];
    for codec in CODECS {
        for (name, records) in [("plain", &plain), ("big", &big), ("single", &single)] {
            let batch = encode(records, codec, None).unwrap();
            let sealed = batch.stamp(Stamp { producer_id: 5, epoch: 1, sequence: 9 });
            let mut bytes = batch.placed(77, 2).bytes().to_vec();
            bytes.extend_from_slice(&sealed.to_bytes());
            let name = format!("{name}-{codec}");
            std::fs::write(folder.join(format!("{name}.bin")), &bytes).unwrap();
            std::fs::write(folder.join(format!("{name}.txt")), dump(&bytes.into())).unwrap();
        }
    }
}
