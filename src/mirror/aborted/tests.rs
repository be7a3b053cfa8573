use proptest::prelude::*;

use super::*;
use crate::kafka::batch::split;
use crate::mirror::shape::model::{Event, Log, any_event};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Against a reader that knows each record's fate.
    #[test]
    fn exactly_the_data_of_aborted_transactions_is_found(events in proptest::collection::vec(any_event(), 0..25), at in any::<proptest::sample::Index>()) {
        let log = Log::new(100, &events);
        // A fetch begins anywhere, also within a transaction.
        let from = 100 + at.index((log.end - 100) as usize + 1) as i64;
        let (bytes, aborted) = log.fetch(from);
        let expected = log.aborted_offsets();
        let mut filter = AbortFilter::new(&aborted);
        for batch in split(&bytes) {
            let batch = batch.unwrap();
            let range = batch.header().base_offset..batch.header().next_offset();
            let found = filter.is_aborted(&batch).unwrap();
            if batch.header().is_control() {
                prop_assert!(!found);
            } else if batch.header().record_count > 0 {
                prop_assert_eq!(found, range.into_iter().any(|offset| expected.contains(&offset)));
            }
        }
    }
}

fn data(producer: Option<i64>) -> Event {
    Event::Data {
        records: vec![crate::kafka::records::testing::record(0, 1, None, Some("v"))],
        codec: crate::kafka::compress::Codec::None,
        kept: vec![true],
        append_time: None,
        producer,
    }
}

fn fates(events: &[Event]) -> Vec<bool> {
    let log = Log::new(0, events);
    let (bytes, aborted) = log.fetch(0);
    let mut filter = AbortFilter::new(&aborted);
    split(&bytes).map(|batch| filter.is_aborted(&batch.unwrap()).unwrap()).collect()
}

#[test]
fn a_producer_that_aborted_once_may_commit_the_next_time() {
    let end = |commit| Event::End { producer: 1, commit };
    assert_eq!(
        fates(&[data(Some(1)), end(false), data(Some(1)), end(true), data(Some(1)), end(false)]),
        [true, false, false, false, true, false]
    );
}

#[test]
fn others_in_between_are_not_concerned() {
    assert_eq!(
        fates(&[
            data(Some(1)),
            data(Some(2)),
            data(None),
            Event::End { producer: 2, commit: true },
            data(Some(1)),
            Event::End { producer: 1, commit: false },
        ]),
        [true, false, false, false, true, false]
    );
}

#[test]
fn a_marker_that_cannot_be_read_is_an_error_and_an_empty_one_is_none() {
    use crate::kafka::batch::{BatchHeader, RawBatch};
    let aborted = [AbortedTransaction { producer_id: 1, first_offset: 0 }];
    let marker = crate::kafka::records::control_batch(ControlType::Abort, 5, 1, (1, 0), 0).unwrap();
    let empty = BatchHeader { record_count: 0, ..*marker.header() };
    let empty = RawBatch::assemble(empty, &[]).unwrap();
    let broken = RawBatch::assemble(*marker.header(), &[1]).unwrap();
    let mut filter = AbortFilter::new(&aborted);
    assert_eq!(filter.is_aborted(&empty), Ok(false));
    assert!(filter.is_aborted(&broken).is_err());
    assert_eq!(filter.is_aborted(&marker), Ok(false));
}

#[test]
fn data_outside_of_transactions_is_not_concerned() {
    use crate::kafka::batch::BatchHeader;
    let batch = crate::kafka::records::encode(
        &[crate::kafka::records::testing::record(0, 1, None, None)],
        crate::kafka::compress::Codec::None,
        None,
    )
    .unwrap();
    let of_producer = |attributes, producer_id| {
        let header = BatchHeader { attributes, producer_id, ..*batch.header() };
        batch.with_header(header).unwrap()
    };
    let mut filter = AbortFilter::new(&[AbortedTransaction { producer_id: 1, first_offset: 0 }]);
    assert_eq!(filter.is_aborted(&of_producer(0x10, 1)), Ok(true));
    assert_eq!(filter.is_aborted(&of_producer(0, 1)), Ok(false));
    assert_eq!(filter.is_aborted(&of_producer(0x10, -1)), Ok(false));
}
