//! The table of keys. One row per key: the parser, `explain`, the JSON Schema and the documentation read it.

use super::{Connectors, Effect, Key, Kind};

const ALL: Connectors = Connectors::ALL;
const SOURCE: Connectors = Connectors::SOURCE;
const CHECKPOINT: Connectors = Connectors::CHECKPOINT;
const HEARTBEAT: Connectors = Connectors::HEARTBEAT;
const PAIR: Connectors = Connectors(Connectors::SOURCE.0 | Connectors::CHECKPOINT.0);
const NOBODY: Connectors = Connectors(0);

const AT_LEAST_1: Kind = Kind::Int { min: 1, max: i32::MAX };
const LONG: Kind = Kind::LONG;
const NOT_NEGATIVE: Kind = Kind::Long { min: 0, max: i64::MAX };

/// A key of MirrorMaker 2 or Kafka Connect.
const fn key(
    name: &'static str,
    connectors: Connectors,
    kind: Kind,
    default: Option<&'static str>,
    effect: Effect,
    doc: &'static str,
) -> Key {
    Key { name, connectors, kind, default, doc, effect, required: false, replaced_by: None }
}

/// A key without which the connector can't run.
const fn required(name: &'static str, connectors: Connectors, effect: Effect, doc: &'static str) -> Key {
    Key { name, connectors, kind: Kind::String, default: None, doc, effect, required: true, replaced_by: None }
}

/// A name of an older Kafka.
const fn old(name: &'static str, connectors: Connectors, kind: Kind, new: &'static str) -> Key {
    Key {
        name,
        connectors,
        kind,
        default: None,
        doc: "The name of an older Kafka.",
        effect: Effect::Restart,
        required: false,
        replaced_by: Some(new),
    }
}

/// A key that others write into connector files and nobody reads there.
const fn idle(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    key(name, NOBODY, kind, None, Effect::None, doc)
}

const CONFIGS_EXCLUDED: &str = r"follower\.replication\.throttled\.replicas, leader\.replication\.throttled\.replicas, message\.timestamp\.difference\.max\.ms, message\.timestamp\.type, unclean\.leader\.election\.enable, min\.insync\.replicas";

use Effect::{Hot, ReReplicate, Reconnect, Restart};
use Kind::{Bool, Class, Enum, Interval, List, Regexes, ReplicationFactor, String as Text};

/// Every key by name; sorted.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("add.source.alias.to.metrics", SOURCE, Bool, Some("false"), Effect::None, "Kafka 3.5 to 3.9: put the source's alias into metric tags. Since 4.0 it always is."),
    key("admin.timeout.ms", ALL, LONG, Some("60000"), Hot, "How long an administrative call may take, in milliseconds."),
    idle("auto.include.jmx.reporter", Bool, "Kafka before 4.0: whether metrics go to JMX."),
    key("checkpoints.topic.replication.factor", CHECKPOINT, ReplicationFactor, Some("3"), Effect::None, "Replication factor of the checkpoints topic, when it is created."),
    idle("clusters", List, "Names of the clusters; read in MirrorMaker's dedicated mode only."),
    key("config.action.reload", ALL, Enum(&["none", "restart"]), Some("restart"), Effect::None, "What Kafka Connect does when a configuration provider reports a change."),
    old("config.properties.blacklist", SOURCE, Regexes, "config.properties.exclude"),
    key("config.properties.exclude", SOURCE, Regexes, Some(CONFIGS_EXCLUDED), Hot, "Topic configurations that are never copied, as regular expressions."),
    key("config.property.filter.class", SOURCE, Class, Some("org.apache.kafka.connect.mirror.DefaultConfigPropertyFilter"), Restart, "Which topic configurations are copied: a Java class; only the default one can run here."),
    key("config.providers", ALL, List, None, Reconnect, "Names of the providers that `${provider:path:key}` may use."),
    idle("config.storage.replication.factor", ReplicationFactor, "A key of the Connect worker."),
    idle("config.storage.topic", Text, "A key of the Connect worker."),
    required("connector.class", ALL, ReReplicate, "Which of MirrorMaker's connectors this is."),
    key("connector.plugin.version", ALL, Text, None, Effect::None, "Version of the connector's plugin (KIP-891)."),
    key("consumer.poll.timeout.ms", PAIR, LONG, Some("1000"), Hot, "How long one poll of the source waits, in milliseconds."),
    key("emit.checkpoints.enabled", CHECKPOINT, Bool, Some("true"), Hot, "Whether checkpoints are written."),
    key("emit.checkpoints.interval.seconds", CHECKPOINT, Interval, Some("60"), Hot, "How often checkpoints are written, in seconds; negative: never."),
    key("emit.heartbeats.enabled", HEARTBEAT, Bool, Some("true"), Hot, "Whether heartbeats are written."),
    key("emit.heartbeats.interval.seconds", HEARTBEAT, Interval, Some("1"), Hot, "How often a heartbeat is written, in seconds; negative: never."),
    key("emit.offset-syncs.enabled", PAIR, Bool, Some("true"), Restart, "Whether offset syncs are written (KIP-1031)."),
    key("enabled", ALL, Bool, Some("true"), Restart, "Whether source and checkpoint connectors do anything; the heartbeat connector ignores it."),
    key("errors.log.enable", ALL, Bool, Some("false"), Hot, "Whether each failed operation is logged."),
    key("errors.log.include.messages", ALL, Bool, Some("false"), Hot, "Whether the log names the record that failed."),
    key("errors.retry.delay.max.ms", ALL, LONG, Some("60000"), Hot, "The longest wait between two tries, in milliseconds; -1: no limit."),
    key("errors.retry.timeout", ALL, LONG, Some("0"), Hot, "How long a failed operation is tried again, in milliseconds; -1: for ever."),
    key("errors.tolerance", ALL, Enum(&["none", "all"]), Some("none"), Restart, "Whether records that can't be copied are skipped."),
    key("exactly.once.support", SOURCE, Enum(&["requested", "required"]), Some("requested"), Restart, "Whether the connector refuses to run without exactly-once support (KIP-618)."),
    key("forwarding.admin.class", ALL, Class, Some("org.apache.kafka.clients.admin.ForwardingAdmin"), Restart, "How topics are administered: a Java class (KIP-787); only the default one can run here."),
    key("group.filter.class", CHECKPOINT, Class, Some("org.apache.kafka.connect.mirror.DefaultGroupFilter"), Restart, "Which groups are looked at: a Java class; only the default one can run here."),
    key("groups", CHECKPOINT, Regexes, Some(".*"), Hot, "Consumer groups to look at, as regular expressions."),
    old("groups.blacklist", CHECKPOINT, Regexes, "groups.exclude"),
    key("groups.exclude", CHECKPOINT, Regexes, Some("console-consumer-.*, connect-.*, __.*"), Hot, "Consumer groups not to look at; wins over `groups`."),
    key("header.converter", ALL, Class, None, Effect::None, "How headers are converted. Bytes are always copied as they are here."),
    key("header.converter.plugin.version", ALL, Text, None, Effect::None, "Version of the header converter's plugin (KIP-891)."),
    key("heartbeats.replication.enabled", SOURCE, Bool, Some("true"), Hot, "Whether heartbeats topics are copied whatever `topics` says (KIP-1089)."),
    key("heartbeats.topic.replication.factor", HEARTBEAT, ReplicationFactor, Some("3"), Effect::None, "Replication factor of the heartbeats topic, when it is created."),
    key("key.converter", ALL, Class, None, Effect::None, "How keys are converted. Bytes are always copied as they are here."),
    key("key.converter.plugin.version", ALL, Text, None, Effect::None, "Version of the key converter's plugin (KIP-891)."),
    key("metric.names.formats", PAIR, List, Some("legacy"), Effect::None, "Which names metrics have (KIP-1280)."),
    key("metric.reporters", ALL, List, Some("org.apache.kafka.common.metrics.JmxReporter"), Effect::None, "Where Java sends metrics. Metrics are at `/metrics` here."),
    key("mirrorkeeper.compression", SOURCE, Enum(&["keep", "force"]), Some("keep"), Hot, "Whether compressed batches keep their codec, or get the one of `producer.override.compression.type` at MirrorMaker's cost."),
    key("mirrorkeeper.data.path", SOURCE, Enum(&["auto", "batch", "record"]), Some("auto"), Restart, "Whether batches are copied as they are or record by record."),
    key("mirrorkeeper.drift", ALL, Enum(&["correct", "report", "off"]), None, Effect::None, "What happens when somebody changed what was applied. Default: the instance's `drift`."),
    key("mirrorkeeper.max.bytes.per.second", SOURCE, Kind::Long { min: 1, max: i64::MAX }, None, Hot, "The most this connector copies, in bytes per second as on the wire. Default: no limit."),
    key("mirrorkeeper.merge", SOURCE, Bool, Some("false"), Restart, "Allows several source topics to be written into one remote topic."),
    key("mirrorkeeper.on.purged", SOURCE, Enum(&["continue", "fail"]), Some("continue"), Hot, "What happens when records were deleted at the source before they were copied."),
    key("mirrorkeeper.on.recreated", SOURCE, Enum(&["fail", "continue"]), Some("fail"), Hot, "What happens when a source topic was deleted and created anew: `continue` copies the new one from its beginning."),
    key("mirrorkeeper.on.truncated", SOURCE, Enum(&["fail", "continue"]), Some("fail"), Hot, "What happens when the source lost records that were copied: `continue` goes on at its end."),
    key("mirrorkeeper.prune", ALL, Enum(&["auto", "off"]), None, Effect::None, "What happens to the running connector when this file goes. Default: the instance's `prune`."),
    key("mirrorkeeper.renamed.from", ALL, Text, None, Effect::None, "The name this connector had: progress is carried over from it."),
    key("mirrorkeeper.replication.policy", ALL, Enum(&["identity", "alias"]), None, ReReplicate, "Which of its two published behaviours `CustomMM2ReplicationPolicy` has: the remote topic is the topic, or the source's alias."),
    key("mirrorkeeper.state", ALL, Enum(&["running", "paused", "stopped"]), Some("running"), Hot, "What the connector should be doing."),
    key("name", ALL, Text, None, ReReplicate, "The connector's name. Default: the file's name without `.json`."),
    key("offset-syncs.topic.location", PAIR, Enum(&["source", "target"]), Some("source"), Restart, "On which cluster the offset-syncs topic lies."),
    key("offset-syncs.topic.replication.factor", SOURCE, ReplicationFactor, Some("3"), Effect::None, "Replication factor of the offset-syncs topic, when it is created."),
    key("offset.lag.max", SOURCE, NOT_NEGATIVE, Some("100"), Hot, "How many records an offset sync may lag behind."),
    idle("offset.storage.partitions", AT_LEAST_1, "A key of the Connect worker."),
    idle("offset.storage.replication.factor", ReplicationFactor, "A key of the Connect worker."),
    idle("offset.storage.topic", Text, "A key of the Connect worker."),
    key("offsets.storage.topic", SOURCE, Text, None, ReReplicate, "A topic of its own for this connector's progress (KIP-618)."),
    key("predicates", ALL, List, Some(""), Restart, "Names of the predicates of single message transforms."),
    key("refresh.groups.enabled", CHECKPOINT, Bool, Some("true"), Hot, "Whether new consumer groups are looked for."),
    key("refresh.groups.interval.seconds", CHECKPOINT, Interval, Some("600"), Hot, "How often new consumer groups are looked for, in seconds; negative: never."),
    key("refresh.topics.enabled", SOURCE, Bool, Some("true"), Hot, "Whether new topics and partitions are looked for."),
    key("refresh.topics.interval.seconds", SOURCE, Interval, Some("600"), Hot, "How often new topics and partitions are looked for, in seconds; negative: never."),
    key("replication.factor", SOURCE, ReplicationFactor, Some("2"), Hot, "Replication factor of remote topics, when they are created; -1: the broker's default."),
    key("replication.policy.class", ALL, Class, Some("org.apache.kafka.connect.mirror.DefaultReplicationPolicy"), ReReplicate, "How remote topics are named."),
    key("replication.policy.internal.topic.separator.enabled", ALL, Bool, Some("true"), ReReplicate, "Whether MirrorMaker's internal topics use the separator too (KIP-949)."),
    key("replication.policy.separator", ALL, Text, Some("."), ReReplicate, "What stands between alias and topic in a remote topic's name."),
    key("security.protocol", ALL, Enum(super::clients::SECURITY_PROTOCOLS), Some("PLAINTEXT"), Effect::None, "Has no effect here; write it behind `source.cluster.` and `target.cluster.`."),
    required("source.cluster.alias", ALL, ReReplicate, "Name of the source cluster: in remote topics, in progress, in metrics."),
    key("source.cluster.bootstrap.servers", ALL, List, None, Reconnect, "Where the source cluster is found: host:port, separated by commas."),
    idle("status.storage.partitions", AT_LEAST_1, "A key of the Connect worker."),
    idle("status.storage.replication.factor", ReplicationFactor, "A key of the Connect worker."),
    idle("status.storage.topic", Text, "A key of the Connect worker."),
    key("sync.group.offsets.enabled", CHECKPOINT, Bool, Some("false"), Hot, "Whether consumer groups' offsets are written on the target (KIP-545)."),
    key("sync.group.offsets.interval.seconds", CHECKPOINT, Interval, Some("60"), Hot, "How often consumer groups' offsets are written, in seconds; negative: never."),
    key("sync.topic.acls.enabled", SOURCE, Bool, Some("true"), Hot, "Whether the access rules of topics are copied."),
    key("sync.topic.acls.interval.seconds", SOURCE, Interval, Some("600"), Hot, "How often access rules are copied, in seconds; negative: never."),
    key("sync.topic.configs.enabled", SOURCE, Bool, Some("true"), Hot, "Whether the configurations of topics are copied."),
    key("sync.topic.configs.interval.seconds", SOURCE, Interval, Some("600"), Hot, "How often configurations are copied, in seconds; negative: never."),
    key("target.cluster.alias", ALL, Text, Some("target"), Restart, "Name of the target cluster: in cycle detection, in the offset-syncs topic's name, in metrics."),
    key("target.cluster.bootstrap.servers", ALL, List, None, Reconnect, "Where the target cluster is found: host:port, separated by commas."),
    idle("task.assigned.groups", List, "Written by MirrorMaker into its tasks' configuration."),
    idle("task.assigned.partitions", List, "Written by MirrorMaker into its tasks' configuration."),
    idle("task.index", Kind::INT, "Written by MirrorMaker into its tasks' configuration."),
    key("tasks.max", ALL, AT_LEAST_1, Some("1"), Hot, "The most tasks the partitions are split over, as reported."),
    key("tasks.max.enforce", ALL, Bool, Some("true"), Effect::None, "Whether a connector with more tasks than `tasks.max` fails."),
    key("topic.creation.groups", SOURCE, List, Some(""), Effect::None, "Kafka Connect's own topic creation; MirrorMaker creates its topics itself."),
    key("topic.filter.class", PAIR, Class, Some("org.apache.kafka.connect.mirror.DefaultTopicFilter"), Restart, "Which topics are copied: a Java class; only the default one can run here."),
    key("topics", PAIR, Regexes, Some(".*"), Hot, "Topics to copy, as regular expressions."),
    old("topics.blacklist", PAIR, Regexes, "topics.exclude"),
    key("topics.exclude", PAIR, Regexes, Some(r"mm2.*\.internal, .*\.replica, __.*"), Hot, "Topics not to copy; wins over `topics`."),
    key("transaction.boundary", SOURCE, Enum(&["poll", "interval", "connector"]), Some("poll"), Restart, "Where transactions end (KIP-618)."),
    key("transaction.boundary.interval.ms", SOURCE, NOT_NEGATIVE, None, Restart, "How long a transaction may last, in milliseconds."),
    key("transforms", ALL, List, Some(""), Restart, "Names of single message transforms."),
    key("use.defaults.from", SOURCE, Enum(&["target", "source"]), Some("target"), Hot, "Whose default holds where a topic says nothing itself (Kafka 3.5)."),
    key("use.incremental.alter.configs", SOURCE, Enum(&["requested", "required", "never"]), Some("requested"), Effect::None, "Kafka 3.5 to 3.9: how configurations are altered. Always incrementally here."),
    key("value.converter", ALL, Class, None, Effect::None, "How values are converted. Bytes are always copied as they are here."),
    key("value.converter.plugin.version", ALL, Text, None, Effect::None, "Version of the value converter's plugin (KIP-891)."),
];
