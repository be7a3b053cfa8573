//! The loops that are measured as processes of their own: this binary, started with other arguments.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::floor;
use crate::support::process::Watched;

/// The word that starts a child.
const CHILD: &str = "child";

/// Which loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// [`floor`].
    Floor,
    /// Record by record with librdkafka.
    Librdkafka,
}

/// What a loop copies; both topics have that many partitions.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    /// `host:port` of the source's only broker.
    pub(crate) source: String,
    /// `host:port` of the target's only broker.
    pub(crate) target: String,
    /// Read from its beginning.
    pub(crate) source_topic: String,
    /// Exists.
    pub(crate) target_topic: String,
    /// Of either topic.
    pub(crate) partitions: usize,
    /// What librdkafka compresses with; the floor leaves batches as they are.
    pub(crate) codec: String,
}

impl Loop {
    /// Starts this binary as that loop.
    pub(crate) fn start(&self, kind: Kind, log: &Path) -> Watched {
        let name = match kind {
            Kind::Floor => "floor",
            Kind::Librdkafka => "librdkafka",
        };
        let program = std::env::current_exe().expect("the system knows what it runs");
        let partitions = self.partitions.to_string();
        let args =
            [CHILD, name, &self.source, &self.target, &self.source_topic, &self.target_topic, &partitions, &self.codec];
        Watched::spawn(name, program, args, &[], log)
    }
}

/// What a child was started for; `None` when this is no child.
///
/// # Errors
/// When the arguments are not those that [`Loop::start`] gives.
pub(crate) fn requested(args: &[OsString]) -> Option<Result<(Kind, Loop), String>> {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (first, rest) = args.split_first()?;
    if first != CHILD {
        return None;
    }
    let [kind, source, target, source_topic, target_topic, partitions, codec] = rest else {
        return Some(Err(format!("a child takes seven arguments, not {rest:?}")));
    };
    let kind = match kind.as_str() {
        "floor" => Kind::Floor,
        "librdkafka" => Kind::Librdkafka,
        other => return Some(Err(format!("there is no loop {other:?}"))),
    };
    let Ok(partitions) = partitions.parse() else { return Some(Err(format!("{partitions:?} is no number"))) };
    let job = Loop {
        source: source.clone(),
        target: target.clone(),
        source_topic: source_topic.clone(),
        target_topic: target_topic.clone(),
        partitions,
        codec: codec.clone(),
    };
    Some(Ok((kind, job)))
}

/// Copies until it is killed.
///
/// # Errors
/// What went wrong: nothing is retried here.
pub(crate) fn run(kind: Kind, job: &Loop) -> Result<(), String> {
    match kind {
        Kind::Floor => floor::run(job),
        Kind::Librdkafka => librdkafka(job).map_err(|error| error.to_string()),
    }
}

/// The plainest mirror on librdkafka: one thread that consumes and produces, batches filled as far as they go.
fn librdkafka(job: &Loop) -> Result<(), KafkaError> {
    let mut config = crate::support::client::config(&job.source);
    config.set("group.id", "bench").set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("check.crcs", "true").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in (0_i32..).take(job.partitions) {
        assignment.add_partition_offset(&job.source_topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;

    let mut config = crate::support::client::config(&job.target);
    config.set("enable.idempotence", "true").set("compression.type", &job.codec).set("linger.ms", "20");
    config.set("batch.size", "1000000").set("batch.num.messages", "1000000").set("message.max.bytes", "1048588");
    config.set("queue.buffering.max.messages", "200000").set("queue.buffering.max.kbytes", "131072");
    let producer: BaseProducer = config.create()?;
    loop {
        // Its own acknowledgement callbacks; costs nothing when there are none.
        producer.poll(Duration::ZERO);
        let message = match consumer.poll(Duration::from_millis(20)) {
            None => continue,
            Some(message) => message?,
        };
        let mut record = BaseRecord::<[u8], [u8]>::to(&job.target_topic).partition(message.partition());
        record.key = message.key();
        record.payload = message.payload();
        record.timestamp = message.timestamp().to_millis();
        while let Err((error, again)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            record = again;
            producer.poll(Duration::from_millis(5));
        }
    }
}
