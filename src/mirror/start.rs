//! Where a partition begins: decided from what the destination holds, so that a restart repeats nothing and loses nothing.
//!
//! A progress record says where copying stood and who wrote behind it. Whatever that writer got through afterwards is on
//! the target already; its producer state there says exactly how many records. This module turns those facts into a
//! [`Decision`]; it asks nobody ([`super::tail`] does).
//!
//! What a dead process sent may still be carried out after its successor looked, until a batch of the successor has
//! arrived: from then on the broker refuses the older epoch. So the first batch of a new identity is one record, and goes
//! alone ([`super::partition`]); when it lands elsewhere than at the end that was seen, the target is looked at again.
//! Then at most that one record is there twice, and it is said.
//!
//! Laws: nothing is skipped that is not known to be on the target (law 1); where nothing decides, records may repeat, and
//! the number is said (law 2).

use super::config::Policy;
use super::partition::{Remedy, Start, Stop};
use super::progress::{Beside, Position};
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

/// What one producer identity wrote to the target in some range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// Producer id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Its records.
    pub records: u64,
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
    /// Records behind the position that its own identity wrote: how far that one's sequence moved.
    pub own: u64,
    /// Records that are on the target twice.
    pub repeated: u64,
}

/// How a partition is begun, and what is written down before its first batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// What the partition is given.
    pub start: Start,
    /// Target offset that belongs to the position, as far as known.
    pub target: Option<i64>,
    /// Producer id of an earlier identity of which something may still arrive.
    pub former: Option<i64>,
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
            match readable(Beginning { next, target: from, ..Beginning::NOTHING }, facts, rules) {
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
    Decision::Begin(Beginning { next: facts.earliest, skip: skip - copied, epoch: -1, target, lost, ..beginning })
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
                Some(arrived) => match late(facts.target_end, beside, arrived) {
                    Some(from) => Decision::Scan { from },
                    None => arrived_records(position.next, arrived, facts.target_end, beside),
                },
                None => lost(facts, beside.epoch, position.next, facts.target_end, rules),
            }
        }
        // Our latest identity wrote nothing yet: what an earlier one wrote is in `skip`.
        ProducerKnown::Wrote { epoch, .. } if epoch < beside.producer_epoch => {
            match late(facts.target_end, beside, 0) {
                Some(from) => Decision::Scan { from },
                None => arrived_records(position.next, 0, facts.target_end, beside),
            }
        }
        ProducerKnown::Wrote { .. } => Decision::Match { from: beside.target, next: position.next },
        ProducerKnown::Absent | ProducerKnown::NotAsked => match beside.target {
            Some(target) if facts.target_end <= target + i64::try_from(beside.skip).unwrap_or(i64::MAX) => {
                arrived_records(position.next, 0, facts.target_end, beside)
            }
            Some(target) => Decision::Scan { from: behind_skip(target, beside) },
            None => Decision::Match { from: None, next: position.next },
        },
    }
}

/// Where to look for what an earlier identity wrote after its successor looked: when more is on the target than is known.
fn late(target_end: i64, beside: &Beside, arrived: u64) -> Option<i64> {
    let from = behind_skip(beside.target?, beside);
    let known = from.saturating_add(i64::try_from(arrived).unwrap_or(i64::MAX));
    (beside.former.is_some() && target_end > known).then_some(from)
}

/// The end of the target when the record was written, or before it.
fn behind_skip(target: i64, beside: &Beside) -> i64 {
    target.saturating_add(i64::try_from(beside.skip).unwrap_or(i64::MAX))
}

/// The producer ids whose batches a scan counts.
#[must_use]
pub fn scanned_for(position: &Position) -> Vec<i64> {
    position.beside.as_ref().map_or_else(Vec::new, |b| std::iter::once(b.producer).chain(b.former).collect())
}

/// The decision once a scan of the target counted what was written behind the position.
///
/// Each identity that wrote there began with the same record, as none knew of the others' batches: what is there is as much
/// as the longest of them, and the others repeat it.
#[must_use]
pub fn scanned(position: &Position, writers: &[Writer]) -> Decision {
    let Some(beside) = &position.beside else { return begin(position.next, 0, -1, None) };
    let is_own = |w: &Writer| (w.id, w.epoch) == (beside.producer, beside.producer_epoch);
    // Older than the position, where its target offset is only a lower bound: nothing came since.
    let own = writers.iter().find(|w| is_own(w)).and_then(|w| arrived(w.last_sequence, beside.sequence)).unwrap_or(0);
    let is_late = |w: &&Writer| {
        let older = w.id == beside.producer && w.epoch < beside.producer_epoch;
        older || (w.id != beside.producer && beside.former == Some(w.id))
    };
    let late = writers.iter().filter(is_late).filter(|_| beside.former.is_some()).map(|w| w.records);
    let (most, sum) = late.fold((own, own), |(most, sum), records| (most.max(records), sum + records));
    Decision::Begin(Beginning {
        next: position.next,
        skip: beside.skip + most,
        epoch: beside.epoch,
        target: beside.target,
        own,
        repeated: sum - most,
        ..Beginning::NOTHING
    })
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

/// How `identity` begins there.
#[must_use]
pub fn open(facts: &Facts, beginning: &Beginning, identity: ProducerIdentity) -> Opening {
    let before = facts.position.as_ref().and_then(|p| p.beside.as_ref());
    let same = before.filter(|b| (b.producer, b.producer_epoch) == (identity.id, identity.epoch));
    let sequence = same.map_or(0, |b| {
        let own = i64::try_from(beginning.own).unwrap_or(0);
        i32::try_from((i64::from(b.sequence) + own) & SEQUENCE_MASK).unwrap_or(0)
    });
    let former = match same {
        _ if identity.id < 0 => None,
        // A batch of ours is there: an older epoch is refused.
        Some(_) if beginning.own > 0 => None,
        Some(before) => before.former,
        None => before.map(|b| b.producer).filter(|id| *id >= 0),
    };
    let Beginning { next, skip, epoch, .. } = *beginning;
    let expect = former.map(|_| facts.target_end);
    let target = match former {
        Some(_) => i64::try_from(skip).ok().map(|skip| facts.target_end - skip),
        None if beginning.repeated > 0 => i64::try_from(skip).ok().map(|skip| facts.target_end - skip),
        None => beginning.target,
    };
    Opening { start: Start { next, skip, epoch, identity, sequence, expect }, target, former }
}

fn arrived_records(next: i64, own: u64, target_end: i64, beside: &Beside) -> Decision {
    let skip = beside.skip + own;
    let expected = beside.target.map(|target| target + i64::try_from(skip).unwrap_or(i64::MAX));
    match expected {
        // Skipping what a failing leader may still lose would lose it for good.
        Some(until) if until > target_end => Decision::NotYetReplicated { until },
        _ => Decision::Begin(Beginning {
            next,
            skip,
            epoch: beside.epoch,
            target: beside.target,
            own,
            ..Beginning::NOTHING
        }),
    }
}

fn begin(next: i64, skip: u64, epoch: i32, target: Option<i64>) -> Decision {
    Decision::Begin(Beginning { next, skip, epoch, target, ..Beginning::NOTHING })
}

impl Beginning {
    /// The first record, with nothing known.
    pub const NOTHING: Self = Self { next: 0, skip: 0, epoch: -1, target: None, lost: 0, own: 0, repeated: 0 };
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
            former: None,
        }
    }

    fn begin_own(next: i64, skip: u64, own: u64) -> Decision {
        let beginning = Beginning { next, skip, epoch: 3, target: Some(50), own, ..Beginning::NOTHING };
        Decision::Begin(beginning)
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
        assert_eq!(decide(&facts(Some(beside()), 55, wrote), RULES), begin_own(100, 5, 5));
        let nothing = ProducerKnown::Wrote { epoch: 2, last_sequence: 9 };
        assert_eq!(decide(&facts(Some(beside()), 50, nothing), RULES), begin(100, 0, 3, Some(50)));
    }

    #[test]
    fn sequences_wrap() {
        let beside = Beside { sequence: i32::MAX - 1, ..beside() };
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 2 };
        assert_eq!(decide(&facts(Some(beside), 60, wrote), RULES), begin_own(100, 5, 5));
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
        let expected = Beginning { next: 108, target: Some(55), lost: 3, own: 5, ..Beginning::NOTHING };
        assert_eq!(decide(&purged, RULES), Decision::Begin(expected));
        let half = Facts { earliest: 103, ..purged.clone() };
        let expected = Beginning { next: 103, skip: 2, target: Some(53), own: 5, ..Beginning::NOTHING };
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
        let own = |last_sequence| [Writer { id: 7, epoch: 2, last_sequence, records: 3 }];
        assert_eq!(scanned(&position, &own(7)), begin(100, 0, 3, Some(50)));
        assert_eq!(scanned(&position, &own(12)), begin_own(100, 3, 3));
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

    #[test]
    fn what_a_dead_process_sent_late_is_counted_once_and_said() {
        let beside = Beside { sequence: 0, skip: 4, former: Some(7), ..beside() };
        let identity = ProducerIdentity { id: 7, epoch: 2 };
        // At 54 it looked. Three records of epoch 1 came, then its own first one.
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 0 };
        let known = facts(Some(beside.clone()), 58, wrote);
        assert_eq!(decide(&known, RULES), Decision::Scan { from: 54 });
        let late = Writer { id: 7, epoch: 1, last_sequence: 99, records: 3 };
        let ours = Writer { id: 7, epoch: 2, last_sequence: 0, records: 1 };
        let position = known.position.clone().unwrap();
        let Decision::Begin(beginning) = scanned(&position, &[late, ours]) else { panic!("it begins") };
        assert_eq!((beginning.skip, beginning.own, beginning.repeated), (7, 1, 1));
        let opening = open(&known, &beginning, identity);
        assert_eq!((opening.start.sequence, opening.former, opening.start.expect), (1, None, None));
        assert_eq!(opening.target, Some(51), "what is known and what is there agree again");

        // Only strangers wrote meanwhile: nothing repeats.
        let Decision::Begin(beginning) = scanned(&position, &[ours]) else { panic!("it begins") };
        assert_eq!((beginning.skip, beginning.repeated), (5, 0));
        // Nothing but ours is there: no need to look.
        assert_eq!(decide(&facts(Some(beside), 55, wrote), RULES), begin_own(100, 5, 1));
    }

    #[test]
    fn a_new_identity_expects_its_first_record_at_the_end_that_was_seen() {
        let wrote = ProducerKnown::Wrote { epoch: 2, last_sequence: 14 };
        let known = facts(Some(beside()), 55, wrote);
        let Decision::Begin(beginning) = decide(&known, RULES) else { panic!("it begins") };
        let opening = open(&known, &beginning, ProducerIdentity { id: 7, epoch: 3 });
        assert_eq!((opening.start.expect, opening.former, opening.start.sequence), (Some(55), Some(7), 0));
        let again = open(&known, &beginning, ProducerIdentity { id: 7, epoch: 2 });
        assert_eq!((again.start.expect, again.former, again.start.sequence), (None, None, 15));
        let plain = open(&known, &beginning, ProducerIdentity::NONE);
        assert_eq!((plain.start.expect, plain.former), (None, None));
    }
}
