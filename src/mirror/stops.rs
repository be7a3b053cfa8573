//! The named states in which a partition stands still, and what to do about each. Pure.

use super::cells::Trouble;
use super::config::Policy;
use super::partition::{Remedy, Stop};
use super::shape::StopReason;
use crate::kafka::ErrorCode;
use crate::kafka::fetch;
use crate::supervise::Blocked;

/// What a report of the fetcher means.
#[derive(Debug)]
pub enum Fetched {
    /// It is being retried.
    Retrying(Trouble),
    /// It works again.
    Recovered,
    /// Records before `log_start` are gone and the policy is to go on.
    Purged {
        /// First offset that is still there.
        log_start: i64,
    },
    /// The partition stands still.
    Stop(Stop),
}

/// What the fetcher reports, as state of a partition at `position`.
#[must_use]
pub fn of_fetch(trouble: fetch::Trouble, position: i64, on_purged: Policy) -> Fetched {
    use fetch::Trouble as T;
    let stop = |state, message: String, hint: &str, remedy| {
        Fetched::Stop(Stop { state, offset: position, message, hint: hint.to_owned(), remedy })
    };
    match trouble {
        T::Retriable(error) => Fetched::Retrying(Trouble {
            code: error.code().to_owned(),
            message: super::describe(&error),
            hint: error.hint(),
            since_ms: 0,
        }),
        T::Recovered => Fetched::Recovered,
        T::OffsetOutOfRange { log_start, .. } if log_start > position => match on_purged {
            Policy::Continue => Fetched::Purged { log_start },
            Policy::Fail => Fetched::Stop(purged(position, log_start)),
        },
        T::OffsetOutOfRange { high_watermark, .. } => stop(
            "source-truncated",
            format!("the source ends at {high_watermark}, before the position {position}"),
            "the source lost records or the topic was recreated: see mirrorkeeper.on.truncated",
            Remedy::Person,
        ),
        T::Truncated { epoch, end_offset } => stop(
            "source-truncated",
            format!(
                "the source's log of epoch {epoch} ends at {end_offset}: records at the position {position} were replaced"
            ),
            "an unclean leader election at the source: see mirrorkeeper.on.truncated",
            Remedy::Person,
        ),
        T::Recreated { .. } => stop(
            "source-recreated",
            "the source topic was deleted and created again".to_owned(),
            "decide whether the new topic is to be copied behind the old one: see mirrorkeeper.on.recreated",
            Remedy::Person,
        ),
        T::UnknownTopic => stop(
            "source-missing",
            "the source topic does not exist any more".to_owned(),
            "nothing, if it was deleted on purpose: it leaves the status with the next refresh",
            Remedy::Reread,
        ),
        T::Unauthorized => stop(
            "source-unauthorized",
            "the source refuses READ on the topic".to_owned(),
            "grant the source principal READ and DESCRIBE on the topic",
            Remedy::Person,
        ),
        T::Fatal(error) => stop("source-failed", super::describe(&error), "see the message", Remedy::Person),
    }
}

/// The state's name and what to do, for a batch that can't be shaped.
#[must_use]
pub const fn of_shape(why: &StopReason) -> (&'static str, &'static str) {
    match why {
        StopReason::Corrupt(_) => (
            "source-corrupt",
            "the source's log or the network damages records: check the source's disks, or skip the records there by DeleteRecords",
        ),
        StopReason::OldFormat { .. } => (
            "old-message-format",
            "records from before Kafka 0.11 are not copied yet: rewrite the topic with a current client",
        ),
        StopReason::UnknownCodec { .. } => ("unknown-codec", "a newer mirrorkeeper may know it"),
        StopReason::Undecodable(_) | StopReason::Unwritable(_) => (
            "record-undecodable",
            "the records are damaged inside a correct checksum: look at them with DumpLogSegments",
        ),
        StopReason::DecodeLimit { .. } => {
            ("batch-too-large", "one batch unpacks to more than may be held: split it at the source")
        }
        StopReason::RecordTooLarge { .. } => {
            ("record-too-large", "raise max.message.bytes of the remote topic to the source's")
        }
    }
}

/// Records were deleted at the source before they were copied.
#[must_use]
pub fn purged(position: i64, log_start: i64) -> Stop {
    Stop {
        state: "source-purged",
        offset: position,
        message: format!(
            "{} records from {position} to {} were deleted at the source before they were copied",
            log_start - position,
            log_start - 1
        ),
        hint: "set mirrorkeeper.on.purged=continue to go on behind them, or raise the source's retention".to_owned(),
        remedy: Remedy::Person,
    }
}

/// The source's log was cut before the position.
#[must_use]
pub fn source_truncated(position: i64, end: i64) -> Stop {
    Stop {
        state: "source-truncated",
        offset: position,
        message: format!("the source's log was cut at {end}: records before the position {position} were replaced"),
        hint: "an unclean leader election at the source: see mirrorkeeper.on.truncated".to_owned(),
        remedy: Remedy::Person,
    }
}

/// The target wrote a batch before the end of what it had acknowledged.
#[must_use]
pub fn target_lost(offset: i64, base: i64, expected: i64) -> Stop {
    Stop {
        state: "target-truncated",
        offset,
        message: format!(
            "the target wrote at offset {base} although it had acknowledged records up to {expected}: the remote topic was truncated or created again"
        ),
        hint: "records that were copied are gone there: restore them, or go on with mirrorkeeper.on.recreated=continue (on.truncated for a truncated one)".to_owned(),
        remedy: Remedy::Person,
    }
}

/// The shaping of a chunk did not end.
#[must_use]
pub fn shaping(offset: i64, blocked: &Blocked) -> Stop {
    Stop {
        state: "shaping-failed",
        offset,
        message: blocked.to_string(),
        hint: "a defect of mirrorkeeper: please report it with the log".to_owned(),
        remedy: Remedy::Person,
    }
}

/// The state's name and what to do, for a batch that the target refused with `code`.
#[must_use]
pub fn refusal(code: ErrorCode) -> (&'static str, &'static str) {
    match code.0 {
        10 | 18 => ("record-too-large", "raise max.message.bytes of the remote topic to the source's"),
        32 => (
            "timestamp-refused",
            "raise message.timestamp.after.max.ms (or .before.max.ms) of the remote topic, or set message.timestamp.type=LogAppendTime there",
        ),
        87 => {
            ("record-refused", "the remote topic is compacted and the record has no key: change cleanup.policy there")
        }
        2 => ("record-corrupt", "the target found the batch corrupt: a defect of mirrorkeeper or of the network"),
        29 | 31 => (
            "target-unauthorized",
            "grant the target principal WRITE on the remote topic (and IDEMPOTENT_WRITE on the cluster)",
        ),
        44 => ("policy-violation", "a create or alter policy of the target refuses the record"),
        43 | 76 => {
            ("format-refused", "the remote topic's message format or codec support is too old: upgrade the target")
        }
        _ => ("target-refused", "see the error's name in Kafka's protocol documentation"),
    }
}
