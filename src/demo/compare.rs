//! Both clusters, read by a client that shares no code with the engine, and compared record by record.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, Timestamp, TopicPartitionList};

use super::Error;
use crate::supervise;

/// How long reading one side may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Records by topic and partition, in log order.
pub(super) type Logs = BTreeMap<(String, i32), Vec<Read>>;

/// A record as it was read; its offset is no part of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Read {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds, and which of Kafka's two kinds it is.
    timestamp: (&'static str, i64),
}

/// How two clusters compare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Records of the source.
    pub(super) records: u64,
    /// Records of the source that the target lacks.
    pub(super) lost: u64,
    /// Records of the target beyond what the source has.
    pub(super) repeated: u64,
    /// Where the first difference is.
    pub(super) first: Option<String>,
}

/// Reads topics from their beginning to their end as of now, CRCs checked.
pub(super) async fn read(bootstrap: String, topics: Vec<String>) -> Result<Logs, Error> {
    let read = supervise::blocking("reading a cluster", PATIENCE + Duration::from_secs(5), move || {
        let mut logs = Logs::new();
        read_all(&bootstrap, &topics, &mut logs).map(|()| logs)
    });
    read.await?.map_err(|source| Error::Client { what: "reading a cluster".to_owned(), source })
}

/// Compares each source topic with its remote topic.
pub(super) fn compare(pairs: &BTreeMap<String, String>, source: &Logs, target: &Logs) -> Verdict {
    let mut verdict = Verdict::default();
    for (topic, remote) in pairs {
        let partitions = |logs: &Logs, name: &str| -> BTreeSet<i32> {
            logs.keys().filter(|(topic, _)| topic == name).map(|(_, partition)| *partition).collect()
        };
        let all = &partitions(source, topic) | &partitions(target, remote);
        for partition in all {
            let from = source.get(&(topic.clone(), partition)).map_or(&[][..], Vec::as_slice);
            let to = target.get(&(remote.clone(), partition)).map_or(&[][..], Vec::as_slice);
            verdict.count(from, to);
            if verdict.first.is_none() {
                verdict.first = difference(from, to).map(|what| format!("{topic}-{partition}: {what}"));
            }
        }
    }
    verdict
}

// === impl Verdict ===

impl Verdict {
    /// Whether nothing differs, not even the order.
    pub(super) fn equal(&self) -> bool {
        self.first.is_none() && self.lost == 0 && self.repeated == 0
    }

    fn count(&mut self, source: &[Read], target: &[Read]) {
        let mut balance: HashMap<&Read, i64> = HashMap::new();
        for record in source {
            *balance.entry(record).or_default() += 1;
        }
        for record in target {
            *balance.entry(record).or_default() -= 1;
        }
        self.records += source.len() as u64;
        for surplus in balance.into_values() {
            if surplus > 0 { self.lost += surplus.unsigned_abs() } else { self.repeated += surplus.unsigned_abs() }
        }
    }
}

fn difference(source: &[Read], target: &[Read]) -> Option<String> {
    if let Some(at) = source.iter().zip(target).position(|(a, b)| a != b) {
        return Some(format!("record {at} differs:\n  source {:?}\n  target {:?}", source[at], target[at]));
    }
    (source.len() != target.len())
        .then(|| format!("{} records in the source, {} in the target", source.len(), target.len()))
}

fn read_all(bootstrap: &str, topics: &[String], logs: &mut Logs) -> Result<(), KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "demo-reader").set("group.id", "demo-reader");
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "error").set("check.crcs", "true");
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
            logs.insert((topic.clone(), partition.id()), Vec::new());
        }
    }
    consumer.assign(&assignment)?;
    let began = Instant::now();
    let mut unread = logs.len();
    while unread > 0 {
        if began.elapsed() > PATIENCE {
            return Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut));
        }
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => {
                let place = (message.topic().to_owned(), message.partition());
                logs.entry(place).or_default().push(Read::from(&message));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(())
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &Option<Vec<u8>>| match bytes {
            None => "null".to_owned(),
            Some(bytes) if bytes.len() <= 60 => format!("\"{}\"", bytes.escape_ascii()),
            Some(bytes) => format!("\"{}...\" ({} bytes)", bytes[..60].escape_ascii(), bytes.len()),
        };
        write!(f, "key {}, value {}, {} {}", shown(&self.key), shown(&self.value), self.timestamp.0, self.timestamp.1)?;
        self.headers.iter().try_for_each(|(key, value)| write!(f, ", header {key:?} {}", shown(value)))
    }
}

impl From<&BorrowedMessage<'_>> for Read {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            timestamp: match message.timestamp() {
                Timestamp::NotAvailable => ("none", -1),
                Timestamp::CreateTime(ms) => ("CreateTime", ms),
                Timestamp::LogAppendTime(ms) => ("LogAppendTime", ms),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8) -> Read {
        Read { key: None, value: Some(vec![number]), headers: vec![], timestamp: ("CreateTime", 1) }
    }

    fn verdict(source: Vec<Read>, target: Vec<Read>) -> Verdict {
        let pairs = BTreeMap::from([("t".to_owned(), "a.t".to_owned())]);
        let logs = |topic: &str, records| Logs::from([((topic.to_owned(), 0), records)]);
        compare(&pairs, &logs("t", source), &logs("a.t", target))
    }

    fn three() -> Vec<Read> {
        (0..3).map(record).collect()
    }

    #[test]
    fn the_same_is_equal() {
        let same = verdict(three(), three());
        assert!(same.equal());
        assert_eq!(same.records, 3);
    }

    #[test]
    fn what_is_lost_or_repeated_is_counted() {
        let lost = verdict(three(), vec![record(0), record(2)]);
        assert_eq!((lost.lost, lost.repeated, lost.equal()), (1, 0, false));
        let repeated = verdict(three(), vec![record(0), record(1), record(1), record(2)]);
        assert_eq!((repeated.lost, repeated.repeated, repeated.equal()), (0, 1, false));
        let missing = compare(
            &BTreeMap::from([("t".into(), "a.t".into())]),
            &Logs::from([(("t".into(), 0), three())]),
            &Logs::new(),
        );
        assert_eq!((missing.lost, missing.equal()), (3, false));
    }

    #[test]
    fn order_and_every_part_of_a_record_count() {
        assert!(!verdict(three(), vec![record(1), record(0), record(2)]).equal());
        let changes: [fn(&mut Read); 5] = [
            |r| r.key = Some(vec![]),
            |r| r.value = None,
            |r| r.headers = vec![("h".into(), None)],
            |r| r.timestamp.1 = 2,
            |r| r.timestamp.0 = "LogAppendTime",
        ];
        for change in changes {
            let mut target = three();
            change(&mut target[1]);
            assert!(!verdict(three(), target).equal());
        }
    }
}
