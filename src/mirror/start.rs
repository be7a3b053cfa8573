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
    /// Where the source's log parted from the one that was read (KIP-101), before the position.
    pub diverged: Option<i64>,
    /// Target high watermark.
    pub target_end: i64,
    /// What the target knows of the producer named in the position.
    pub producer: ProducerKnown,
    /// Whether the target's high watermark may still rise to what it acknowledged: a new leader is about to know it.
    pub may_lag: bool,
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
    /// Source offsets that were deleted before they were copied: `next` lies behind them.
    pub lost: u64,
}

/// What to do about a topic that was deleted and created again.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `mirrorkeeper.on.recreated`.
    pub on_recreated: Policy,
    /// `mirrorkeeper.on.truncated`.
    pub on_truncated: Policy,
    /// `mirrorkeeper.on.purged`.
    pub on_purged: Policy,
    /// `auto.offset.reset`.
    pub reset: Reset,
}

/// The decision over `facts`.
#[must_use]
pub fn decide(facts: &Facts, rules: Rules) -> Decision {
    match undecided(facts, rules) {
        Decision::Begin(beginning) => readable(beginning, facts, rules),
        // What is gone at the source can't be matched: the match begins with what is there.
        Decision::Match { from, next } if next < facts.earliest => {
            match readable(Beginning { next, skip: 0, epoch: -1, target: from, lost: 0 }, facts, rules) {
                Decision::Begin(beginning) => Decision::Match { from, next: beginning.next },
                other => other,
            }
        }
        other => other,
    }
}

/// `beginning`, moved behind what was deleted at the source (`mirrorkeeper.on.purged`) or back to where it ends now
/// (`mirrorkeeper.on.truncated`).
fn readable(beginning: Beginning, facts: &Facts, rules: Rules) -> Decision {
    let Beginning { next, skip, target, .. } = beginning;
    if next > facts.latest && rules.on_truncated == Policy::Continue {
        // What was copied from there on is another history; the one that is there now is copied whole.
        return Decision::Begin(Beginning { next: facts.latest, skip: 0, epoch: -1, ..beginning });
    }
    let gone = u64::try_from(facts.earliest - next).unwrap_or(0);
    if gone == 0 {
        return Decision::Begin(beginning);
    }
    // Of what is gone `skip` records were copied, if it had no holes; where it had, some are copied again (law 1).
    let copied = gone.min(skip);
    let lost = gone - copied;
    if lost > 0 && rules.on_purged == Policy::Fail {
        return Decision::Stop(super::stops::purged(next + i64::try_from(copied).unwrap_or(0), facts.earliest));
    }
    let target = target.map(|target| target + i64::try_from(copied).unwrap_or(0));
    Decision::Begin(Beginning { next: facts.earliest, skip: skip - copied, epoch: -1, target, lost })
}

fn undecided(facts: &Facts, rules: Rules) -> Decision {
    let Some(position) = &facts.position else {
        let next = match rules.reset {
            Reset::Earliest => facts.earliest,
            Reset::Latest => facts.latest,
        };
        return begin(next, 0, -1, Some(facts.target_end));
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
    if let Some(end) = facts.diverged.filter(|end| *end < position.next) {
        return match rules.on_truncated {
            Policy::Continue => begin(end, 0, -1, Some(facts.target_end)),
            Policy::Fail => Decision::Stop(super::stops::source_truncated(position.next, end)),
        };
    }
    if differ(beside.target_id.as_deref(), facts.target_id.as_deref()) {
        return match rules.on_recreated {
            Policy::Continue => begin(position.next, 0, beside.epoch, Some(facts.target_end)),
            Policy::Fail => Decision::Stop(recreated("target-recreated", "remote", position.next)),
        };
    }
    if let Some(target) = beside.target
        && facts.target_end < target
        && !facts.may_lag
    {
        return lost(facts, beside.epoch, position.next, target, rules);
    }
    if beside.producer < 0 {
        return match beside.target {
            Some(target) if target == facts.target_end => begin(position.next, beside.skip, beside.epoch, Some(target)),
            from => Decision::Match { from, next: position.next },
        };
    }
    if let Some(target) = beside.target
        && facts.target_end < target
    {
        return Decision::NotYetReplicated { until: target };
    }
    match facts.producer {
        ProducerKnown::Wrote { epoch, last_sequence } if epoch == beside.producer_epoch => {
            match arrived(last_sequence, beside.sequence) {
                Some(arrived) => arrived_records(position.next, beside.skip + arrived, facts.target_end, beside),
                None => lost(facts, beside.epoch, position.next, facts.target_end, rules),
            }
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
    // Older than the position, where its target offset is only a lower bound: nothing came since.
    let arrived = last_sequence.and_then(|last| arrived(last, beside.sequence)).unwrap_or(0);
    begin(position.next, beside.skip + arrived, beside.epoch, beside.target)
}

/// Records behind the position up to `last_sequence`; `None` when that lies before it: sequences wrap, so what looks
/// like more than half of their range is less than nothing.
fn arrived(last_sequence: i32, sequence: i32) -> Option<u64> {
    let arrived = (i64::from(last_sequence) + 1 - i64::from(sequence)) & SEQUENCE_MASK;
    (arrived <= SEQUENCE_MASK / 2).then_some(arrived.unsigned_abs())
}

/// The target has less than it acknowledged.
fn lost(facts: &Facts, epoch: i32, next: i64, expected: i64, rules: Rules) -> Decision {
    match rules.on_truncated {
        Policy::Continue => begin(next, 0, epoch, Some(facts.target_end)),
        Policy::Fail => Decision::Stop(super::stops::target_lost(next, facts.target_end, expected)),
    }
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
    Decision::Begin(Beginning { next, skip, epoch, target, lost: 0 })
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

    const RULES: Rules = Rules {
        on_recreated: Policy::Fail,
        on_truncated: Policy::Fail,
        on_purged: Policy::Continue,
        reset: Reset::Earliest,
    };

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
            diverged: None,
            target_end,
            producer,
            may_lag: false,
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
    fn what_was_purged_is_passed_over_and_counted() {
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 14 };
        let purged = Facts { earliest: 108, ..facts(Some(beside()), 55, wrote) };
        let expected = Beginning { next: 108, skip: 0, epoch: -1, target: Some(55), lost: 3 };
        assert_eq!(decide(&purged, RULES), Decision::Begin(expected));
        let half = Facts { earliest: 103, ..purged.clone() };
        let expected = Beginning { next: 103, skip: 2, epoch: -1, target: Some(53), lost: 0 };
        assert_eq!(decide(&half, RULES), Decision::Begin(expected));
        let fail = Rules { on_purged: Policy::Fail, ..RULES };
        assert!(matches!(decide(&purged, fail), Decision::Stop(stop) if stop.state == "source-purged"));
        assert!(matches!(decide(&half, fail), Decision::Begin(_)), "nothing is lost");
    }

    #[test]
    fn a_target_with_less_than_it_acknowledged_is_named() {
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 7 };
        for facts in [facts(Some(beside()), 48, ProducerKnown::Absent), facts(Some(beside()), 60, wrote)] {
            assert!(matches!(decide(&facts, RULES), Decision::Stop(stop) if stop.state == "target-truncated"));
            let go_on = Rules { on_truncated: Policy::Continue, ..RULES };
            assert!(matches!(decide(&facts, go_on), Decision::Begin(Beginning { next: 100, skip: 0, .. })));
        }
        let position = Position { next: 100, beside: Some(beside()) };
        assert_eq!(scanned(&position, Some(7)), begin(100, 0, 3, Some(50)));
        assert_eq!(scanned(&position, Some(12)), begin(100, 3, 3, Some(50)));
    }

    #[test]
    fn a_source_that_was_cut_stops_or_is_copied_from_the_cut() {
        let cut = Facts { diverged: Some(90), ..facts(Some(beside()), 50, ProducerKnown::Absent) };
        assert!(matches!(decide(&cut, RULES), Decision::Stop(stop) if stop.state == "source-truncated"));
        let go_on = Rules { on_truncated: Policy::Continue, ..RULES };
        assert_eq!(decide(&cut, go_on), begin(90, 0, -1, Some(50)));
        let short = Facts { latest: 80, ..facts(Some(beside()), 50, ProducerKnown::Absent) };
        assert_eq!(decide(&short, go_on), begin(80, 0, -1, Some(50)));
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
