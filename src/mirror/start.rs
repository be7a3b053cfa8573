//! Where a partition begins: decided from what the destination holds, so that a restart repeats nothing and loses nothing.
//!
//! A progress record says where copying stood and who wrote behind it. Whatever that writer got through afterwards is on
//! the target already; its producer state there says exactly how many records. This module turns those facts into a
//! [`Decision`]; it asks nobody ([`super::tail`] does).
//!
//! Laws: nothing is skipped that is not known to be on the target (law 1); where nothing decides, records may repeat, and
//! the number is said (law 2).

use super::config::Policy;
use super::partition::{Remedy, Stop};
use super::progress::Position;
use crate::kafka::admin::producers::ProducerIdentity;

/// Sequences wrap at 2^31 (KIP-98).
const SEQUENCE_MASK: i64 = 0x7fff_ffff;

/// What is known of a partition before it begins.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the offsets topic says.
    pub position: Option<Position>,
    /// Topic id of the source topic now.
    pub source_id: Option<String>,
    /// Topic id of the remote topic now.
    pub target_id: Option<String>,
    /// First readable source offset.
    pub earliest: i64,
    /// Source high watermark.
    pub latest: i64,
    /// Target high watermark.
    pub target_end: i64,
    /// What the target knows of the producer named in the position.
    pub producer: ProducerKnown,
}

/// What the target's `DescribeProducers` said of one producer id (KIP-664).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerKnown {
    /// The broker can't be asked, or we may not.
    NotAsked,
    /// It wrote nothing there, or so long ago that the state expired.
    Absent,
    /// It wrote.
    Wrote {
        /// Its epoch at its last batch.
        epoch: i16,
        /// Sequence of its last record.
        last_sequence: i32,
    },
}

/// Where to begin when nothing is known (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// With the first record that is still there.
    Earliest,
    /// With what comes next.
    Latest,
}

/// What happens now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Begin here.
    Begin(Beginning),
    /// Records were accepted by the target's leader that are not yet readable: ask again.
    NotYetReplicated {
        /// The target's high watermark has to reach this.
        until: i64,
    },
    /// Count what this producer wrote from there on.
    Scan {
        /// First target offset to look at.
        from: i64,
    },
    /// Compare the target's tail with the source by content: somebody else wrote it, or nobody signed it.
    Match {
        /// First target offset that can be a copy, where known.
        from: Option<i64>,
        /// Source offset behind which to look.
        next: i64,
    },
    /// Don't begin.
    Stop(Stop),
}

/// Where a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Next source offset to read.
    pub next: i64,
    /// Records behind it that are on the target.
    pub skip: u64,
    /// Leader epoch of the source batch before it; -1 when unknown.
    pub epoch: i32,
    /// Target offset that belongs to `next`, as far as known.
    pub target: Option<i64>,
}

/// What to do about a topic that was deleted and created again.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `mirrorkeeper.on.recreated`.
    pub on_recreated: Policy,
    /// `auto.offset.reset`.
    pub reset: Reset,
}

/// The decision over `facts`.
#[must_use]
pub fn decide(facts: &Facts, rules: Rules) -> Decision {
    let Some(position) = &facts.position else {
        let next = match rules.reset {
            Reset::Earliest => facts.earliest,
            Reset::Latest => facts.latest,
        };
        return Decision::Begin(Beginning { next, skip: 0, epoch: -1, target: Some(facts.target_end) });
    };
    let Some(beside) = &position.beside else {
        if facts.target_end == 0 {
            return begin(position.next, 0, -1, Some(0));
        }
        return Decision::Match { from: None, next: position.next };
    };
    if differ(beside.source_id.as_deref(), facts.source_id.as_deref()) {
        return match rules.on_recreated {
            Policy::Continue => begin(facts.earliest, 0, -1, Some(facts.target_end)),
            Policy::Fail => Decision::Stop(recreated("source-recreated", "source", position.next)),
        };
    }
    if differ(beside.target_id.as_deref(), facts.target_id.as_deref()) {
        return match rules.on_recreated {
            Policy::Continue => begin(position.next, 0, beside.epoch, Some(facts.target_end)),
            Policy::Fail => Decision::Stop(recreated("target-recreated", "remote", position.next)),
        };
    }
    if beside.producer < 0 {
        return match beside.target {
            Some(target) if target == facts.target_end => begin(position.next, beside.skip, beside.epoch, Some(target)),
            from => Decision::Match { from, next: position.next },
        };
    }
    match facts.producer {
        ProducerKnown::Wrote { epoch, last_sequence } if epoch == beside.producer_epoch => {
            let arrived = (i64::from(last_sequence) + 1 - i64::from(beside.sequence)) & SEQUENCE_MASK;
            arrived_records(position.next, beside.skip + arrived.unsigned_abs(), facts.target_end, beside)
        }
        // Our latest identity wrote nothing yet: what an earlier one wrote is in `skip`.
        ProducerKnown::Wrote { epoch, .. } if epoch < beside.producer_epoch => {
            arrived_records(position.next, beside.skip, facts.target_end, beside)
        }
        ProducerKnown::Wrote { .. } => Decision::Match { from: beside.target, next: position.next },
        ProducerKnown::Absent | ProducerKnown::NotAsked => match beside.target {
            Some(target) if facts.target_end <= target + i64::try_from(beside.skip).unwrap_or(i64::MAX) => {
                arrived_records(position.next, beside.skip, facts.target_end, beside)
            }
            Some(target) => Decision::Scan { from: target },
            None => Decision::Match { from: None, next: position.next },
        },
    }
}

/// The decision once a scan of the target counted what the producer wrote behind the position.
#[must_use]
pub fn scanned(position: &Position, last_sequence: Option<i32>) -> Decision {
    let Some(beside) = &position.beside else { return begin(position.next, 0, -1, None) };
    let arrived = last_sequence
        .map_or(0, |last| (i64::from(last) + 1 - i64::from(beside.sequence)) & SEQUENCE_MASK)
        .unsigned_abs();
    begin(position.next, beside.skip + arrived, beside.epoch, beside.target)
}

/// The sequence at which `identity` goes on: behind what it wrote already, else 0.
#[must_use]
pub fn next_sequence(position: Option<&Position>, skip: u64, identity: ProducerIdentity) -> i32 {
    let Some(beside) = position.and_then(|p| p.beside.as_ref()) else { return 0 };
    if (beside.producer, beside.producer_epoch) != (identity.id, identity.epoch) {
        return 0;
    }
    let arrived = i64::try_from(skip.saturating_sub(beside.skip)).unwrap_or(0);
    i32::try_from((i64::from(beside.sequence) + arrived) & SEQUENCE_MASK).unwrap_or(0)
}

fn arrived_records(next: i64, skip: u64, target_end: i64, beside: &super::progress::Beside) -> Decision {
    let expected = beside.target.map(|target| target + i64::try_from(skip).unwrap_or(i64::MAX));
    match expected {
        // Skipping what a failing leader may still lose would lose it for good.
        Some(until) if until > target_end => Decision::NotYetReplicated { until },
        _ => begin(next, skip, beside.epoch, beside.target),
    }
}

fn begin(next: i64, skip: u64, epoch: i32, target: Option<i64>) -> Decision {
    Decision::Begin(Beginning { next, skip, epoch, target })
}

fn differ(then: Option<&str>, now: Option<&str>) -> bool {
    matches!((then, now), (Some(then), Some(now)) if then != now)
}

fn recreated(state: &'static str, side: &str, offset: i64) -> Stop {
    Stop {
        state,
        offset,
        message: format!("the {side} topic was deleted and created again since the last acknowledged record"),
        hint: "set mirrorkeeper.on.recreated=continue to go on with the new topic".to_owned(),
        remedy: Remedy::Person,
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::Beside;
    use super::*;

    const RULES: Rules = Rules { on_recreated: Policy::Fail, reset: Reset::Earliest };

    fn beside() -> Beside {
        Beside {
            format: 1,
            target: Some(50),
            source_id: Some("s".into()),
            target_id: Some("t".into()),
            epoch: 3,
            producer: 7,
            producer_epoch: 2,
            sequence: 10,
            skip: 0,
        }
    }

    fn facts(beside: Option<Beside>, target_end: i64, producer: ProducerKnown) -> Facts {
        Facts {
            position: Some(Position { next: 100, beside }),
            source_id: Some("s".into()),
            target_id: Some("t".into()),
            earliest: 0,
            latest: 1_000,
            target_end,
            producer,
        }
    }

    #[test]
    fn nothing_known_begins_by_the_reset_rule() {
        let facts = Facts { position: None, ..facts(None, 0, ProducerKnown::Absent) };
        assert!(matches!(decide(&facts, RULES), Decision::Begin(Beginning { next: 0, skip: 0, .. })));
        let latest = Rules { reset: Reset::Latest, ..RULES };
        assert!(matches!(decide(&facts, latest), Decision::Begin(Beginning { next: 1_000, .. })));
    }

    #[test]
    fn what_arrived_behind_the_position_is_skipped() {
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 14 };
        assert_eq!(decide(&facts(Some(beside()), 55, wrote), RULES), begin(100, 5, 3, Some(50)));
        let nothing = ProducerKnown::Wrote { epoch: 2, last_sequence: 9 };
        assert_eq!(decide(&facts(Some(beside()), 50, nothing), RULES), begin(100, 0, 3, Some(50)));
    }

    #[test]
    fn sequences_wrap() {
        let beside = Beside { sequence: i32::MAX - 1, ..beside() };
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 2 };
        assert_eq!(decide(&facts(Some(beside), 60, wrote), RULES), begin(100, 5, 3, Some(50)));
    }

    #[test]
    fn what_is_not_yet_replicated_is_waited_for() {
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 14 };
        assert_eq!(decide(&facts(Some(beside()), 52, wrote), RULES), Decision::NotYetReplicated { until: 55 });
    }

    #[test]
    fn an_identity_that_wrote_nothing_keeps_the_skip_of_the_one_before() {
        let beside = Beside { skip: 4, sequence: 0, ..beside() };
        let older = ProducerKnown::Wrote { epoch: 1, last_sequence: 99 };
        assert_eq!(decide(&facts(Some(beside), 54, older), RULES), begin(100, 4, 3, Some(50)));
    }

    #[test]
    fn without_producer_state_the_target_is_scanned_unless_nothing_came() {
        assert_eq!(decide(&facts(Some(beside()), 50, ProducerKnown::Absent), RULES), begin(100, 0, 3, Some(50)));
        assert_eq!(decide(&facts(Some(beside()), 51, ProducerKnown::NotAsked), RULES), Decision::Scan { from: 50 });
    }

    #[test]
    fn another_writer_is_matched_by_content() {
        let newer = ProducerKnown::Wrote { epoch: 3, last_sequence: 0 };
        assert_eq!(decide(&facts(Some(beside()), 60, newer), RULES), Decision::Match { from: Some(50), next: 100 });
        assert_eq!(decide(&facts(None, 60, newer), RULES), Decision::Match { from: None, next: 100 });
    }

    #[test]
    fn a_recreated_topic_stops_unless_told_otherwise() {
        let other = Facts { source_id: Some("x".into()), ..facts(Some(beside()), 50, ProducerKnown::Absent) };
        assert!(matches!(decide(&other, RULES), Decision::Stop(stop) if stop.state == "source-recreated"));
        let go_on = Rules { on_recreated: Policy::Continue, ..RULES };
        assert_eq!(decide(&other, go_on), begin(0, 0, -1, Some(50)));
        let other = Facts { target_id: Some("x".into()), ..facts(Some(beside()), 0, ProducerKnown::Absent) };
        assert!(matches!(decide(&other, RULES), Decision::Stop(stop) if stop.state == "target-recreated"));
    }
}
