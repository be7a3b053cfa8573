//! Whether a target holds what its source holds: record by record, or by the numbers in the values.

use std::fmt::{self, Write};

use super::client::{Isolation, read_all};
use super::records::Rec;

/// What became of numbered records, all partitions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Records read.
    pub(crate) read: u64,
    /// Numbers below the expected end that are missing.
    pub(crate) lost: u64,
    /// Records whose number was there before.
    pub(crate) repeated: u64,
    /// Records with a number not seen before that is lower than one seen before.
    pub(crate) reordered: u64,
    /// Where the first trouble is, for people.
    pub(crate) first: Option<String>,
}

/// Asserts that both topics hold the same records in the same order: partition, key, value, null-ness, headers with
/// order and repeats, timestamp and its type. Offsets may differ.
#[track_caller]
pub(crate) fn assert_same(source: &[Vec<Rec>], target: &[Vec<Rec>]) {
    if let Some(difference) = difference(source, target) {
        panic!("source and target differ: {difference}");
    }
}

/// Reads both topics to their ends and compares them.
#[track_caller]
pub(crate) fn assert_topics_same(source: (&str, &str, Isolation), target: (&str, &str, Isolation)) {
    let source = read_all(source.0, source.1, source.2);
    assert!(source.iter().any(|partition| !partition.is_empty()), "the source is empty: nothing was compared");
    assert_same(&source, &read_all(target.0, target.1, target.2));
}

/// The first difference, in words; `None` when there is none.
pub(crate) fn difference(source: &[Vec<Rec>], target: &[Vec<Rec>]) -> Option<String> {
    if source.len() != target.len() {
        return Some(format!("{} partitions in the source, {} in the target", source.len(), target.len()));
    }
    for (partition, (source, target)) in source.iter().zip(target).enumerate() {
        if let Some(at) = source.iter().zip(target).position(|(a, b)| !same(a, b)) {
            let mut text = format!("partition {partition}, record {at}:");
            let _ = write!(text, "\n  source {:?}\n  target {:?}", source[at], target[at]);
            if let Some(shift) = target.iter().position(|record| same(record, &source[at])) {
                let _ = write!(text, "\n  the source's record is the target's record {shift}");
            }
            return Some(text);
        }
        if source.len() != target.len() {
            let common = source.len().min(target.len());
            let next = source.get(common).or_else(|| target.get(common));
            return Some(format!(
                "partition {partition}: {} records in the source, {} in the target; the first only in one: {next:?}",
                source.len(),
                target.len()
            ));
        }
    }
    None
}

fn same(a: &Rec, b: &Rec) -> bool {
    a.partition == b.partition
        && a.timestamp == b.timestamp
        && a.key == b.key
        && a.headers == b.headers
        && a.value == b.value
}

impl Census {
    /// Counts the records of [`super::records::numbered`]; `expected` numbers were acknowledged per partition.
    pub(crate) fn of(topic: &[Vec<Rec>], expected: &[u64]) -> Self {
        let mut census = Self::default();
        assert_eq!(topic.len(), expected.len(), "partitions read and partitions expected");
        for (partition, (records, expected)) in topic.iter().zip(expected).enumerate() {
            census.count(partition, records, *expected);
        }
        census
    }

    /// Asserts that each number is there once and in order.
    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        assert!(self.lost == 0 && self.repeated == 0 && self.reordered == 0, "{self}");
    }

    /// Asserts that each number is there, in order; repeats are allowed.
    #[track_caller]
    pub(crate) fn assert_none_lost_or_reordered(&self) {
        assert!(self.lost == 0 && self.reordered == 0, "{self}");
    }

    fn count(&mut self, partition: usize, records: &[Rec], expected: u64) {
        let mut seen = vec![false; usize::try_from(expected).expect("a count of records")];
        let mut highest = None;
        for record in records {
            let number = number(record);
            self.read += 1;
            let index = usize::try_from(number).expect("a count of records");
            if index >= seen.len() {
                // Written after the expectation was taken down.
                seen.resize(index + 1, false);
            }
            if seen[index] {
                self.repeated += 1;
                self.note(format!("partition {partition}: {number} again at offset {}", record.offset));
            } else if highest.is_some_and(|highest| number < highest) {
                self.reordered += 1;
                self.note(format!("partition {partition}: {number} late at offset {}", record.offset));
            }
            seen[index] = true;
            highest = highest.max(Some(number));
        }
        for (number, _) in seen.iter().enumerate().filter(|(_, seen)| !**seen) {
            self.lost += 1;
            self.note(format!("partition {partition}: {number} is missing"));
        }
    }

    fn note(&mut self, trouble: String) {
        self.first.get_or_insert(trouble);
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, lost, repeated, reordered, first } = self;
        write!(f, "{read} read, {lost} lost, {repeated} repeated, {reordered} reordered")?;
        first.iter().try_for_each(|first| write!(f, "; first: {first}"))
    }
}

impl fmt::Debug for Rec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &Option<Vec<u8>>| match bytes {
            None => "null".to_owned(),
            Some(bytes) if bytes.len() <= 60 => format!("\"{}\"", bytes.escape_ascii()),
            Some(bytes) => format!("\"{}...\" ({} bytes)", bytes[..60].escape_ascii(), bytes.len()),
        };
        write!(f, "{}@{} {:?} key={}", self.partition, self.offset, self.timestamp, short(&self.key))?;
        write!(f, " value={}", short(&self.value))?;
        for (key, value) in &self.headers {
            write!(f, " {key:?}:{}", short(value))?;
        }
        Ok(())
    }
}

/// The number that a record of [`super::records::numbered`] carries.
pub(crate) fn number(record: &Rec) -> u64 {
    let value = record.value.as_deref().unwrap_or_default();
    let digits = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).expect("a numbered record")
}
