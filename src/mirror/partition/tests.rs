//! The laws of a partition in simulation: a made-up source log, a target that keeps KIP-98's rules, a network that refuses,
//! loses answers and carries out requests late, and crashes anywhere. After each step the target holds the source's
//! records once and in order (laws 2, 3), and no position, kept or in memory, lies beyond them (law 1).

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::kafka::Error;
use crate::kafka::batch::{AbortedTransaction, split};
use crate::kafka::records::{Record, decode};
use crate::mirror::config::Policy;
use crate::mirror::progress::{Beside, Position};
use crate::mirror::shape::model::{Event as Logged, Log, any_event};
use crate::mirror::shape::{ShapeCounters, ShapePolicy, next_offset};
use crate::mirror::start::{self, Beginning, Decision, Facts, ProducerKnown, Reset, Rules};
use crate::mirror::tail;

const RULES: Rules =
    Rules { on_recreated: Policy::Fail, on_truncated: Policy::Fail, on_purged: Policy::Fail, reset: Reset::Earliest };

/// What differs between runs.
#[derive(Debug, Clone)]
struct Knobs {
    seed: u64,
    /// Steps during which things go wrong.
    trouble: usize,
    read_committed: bool,
    /// Most records of a batch that the target takes.
    largest: i32,
    merge_below: usize,
    /// Without idempotence.
    plain: bool,
}

fn any_knobs() -> impl Strategy<Value = Knobs> {
    let largest = prop_oneof![Just(1), Just(3), Just(1_000)];
    (any::<u64>(), 0..300_usize, any::<bool>(), largest, prop_oneof![Just(0_usize), Just(400), Just(64 << 10)])
        .prop_map(|(seed, trouble, read_committed, largest, merge_below)| Knobs {
            seed,
            trouble,
            read_committed,
            largest,
            merge_below,
            plain: false,
        })
}

/// What the target keeps of a producer: `ProducerStateEntry`.
#[derive(Debug)]
struct Entry {
    epoch: i16,
    last: i32,
    sent: VecDeque<(i32, i32, i64)>,
}

#[derive(Debug, Default)]
struct Target {
    log: Vec<(Record, i64, i16, i32)>,
    producers: HashMap<i64, Entry>,
    /// Older epochs are refused.
    fence: i16,
    largest: i32,
}

impl Target {
    /// `ProducerAppendInfo`, without transactions.
    fn produce(&mut self, bytes: &Bytes) -> Result<i64, i16> {
        let batch = split(bytes).next().expect("one batch").expect("a whole one");
        batch.verify_crc().expect("stamped with its CRC");
        let header = *batch.header();
        assert!(header.contiguous() && header.base_offset == 0 && header.attributes & !0x07 == 0, "{header:?}");
        if header.record_count > self.largest {
            return Err(10);
        }
        let (id, epoch, first) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let last = sequence::advance(first, header.last_offset_delta);
        let base = self.log.len() as i64;
        if id >= 0 {
            if epoch < self.fence {
                return Err(47);
            }
            if let Some(entry) = self.producers.get(&id) {
                let same = entry.sent.iter().find(|(f, l, _)| entry.epoch == epoch && (*f, *l) == (first, last));
                if let Some((.., base)) = same {
                    return Ok(*base);
                }
                let expected = if entry.epoch == epoch { sequence::advance(entry.last, 1) } else { 0 };
                if epoch < entry.epoch {
                    return Err(47);
                }
                if first != expected {
                    return Err(45);
                }
            }
            let entry = self.producers.entry(id).or_insert(Entry { epoch, last, sent: VecDeque::new() });
            if entry.epoch != epoch {
                entry.sent.clear();
            }
            (entry.epoch, entry.last) = (epoch, last);
            entry.sent.push_back((first, last, base));
            if entry.sent.len() > sequence::MAX_IN_FLIGHT {
                entry.sent.pop_front();
            }
        }
        for (index, mut record) in (0..).zip(decode(&batch, 1 << 24).expect("readable")) {
            record.offset_delta = 0;
            self.log.push((record, id, epoch, sequence::advance(first, index)));
        }
        Ok(base)
    }
}

struct Sim {
    knobs: Knobs,
    rng: StdRng,
    source: Log,
    visible: Vec<(i64, Record)>,
    target: Target,
    identity: ProducerIdentity,
    generation: u64,
    partition: Partition,
    target_start: Option<i64>,
    now: u64,
    want: Option<(i64, u64)>,
    /// Sent, not yet carried out, in order.
    wire: VecDeque<(u64, Bytes)>,
    /// Answered as lost, and perhaps still to be carried out.
    late: Vec<Bytes>,
    replies: VecDeque<(u64, Outcome)>,
    stored: Option<Position>,
    flushing: Option<Position>,
    dirty: bool,
    calm: bool,
    story: Vec<String>,
}

impl Sim {
    fn new(knobs: Knobs, events: &[Logged]) -> Self {
        let source = Log::new(0, events);
        let visible = source.visible(0, knobs.read_committed).into_iter().map(|s| (s.offset, s.record)).collect();
        let identity = if knobs.plain { ProducerIdentity::NONE } else { ProducerIdentity { id: 7, epoch: 0 } };
        let start = Start { next: 0, skip: 0, epoch: -1, identity, sequence: 0 };
        let mut sim = Self {
            rng: StdRng::seed_from_u64(knobs.seed),
            target: Target { largest: knobs.largest, ..Target::default() },
            source,
            visible,
            identity,
            generation: 0,
            partition: Partition::new(&start, 0),
            target_start: None,
            now: 0,
            want: None,
            wire: VecDeque::new(),
            late: Vec::new(),
            replies: VecDeque::new(),
            stored: None,
            flushing: None,
            dirty: false,
            calm: false,
            story: Vec::new(),
            knobs,
        };
        sim.begin();
        sim
    }

    fn chance(&mut self, percent: u32) -> bool {
        !self.calm && self.rng.random_range(0..100) < percent
    }

    /// What a flow does before a lane gets the partition.
    fn begin(&mut self) {
        loop {
            let known = self.stored.as_ref().and_then(|p| p.beside.as_ref()).map(|b| b.producer);
            if self.chance(10) && self.late.is_empty() && self.wire.is_empty() {
                // Expired (`producer.id.expiration.ms`), long after whatever was on its way.
                self.target.producers.clear();
            }
            let silent = self.chance(20);
            let producer = match known.and_then(|id| self.target.producers.get(&id)) {
                _ if silent => ProducerKnown::NotAsked,
                Some(entry) => ProducerKnown::Wrote { epoch: entry.epoch, last_sequence: entry.last },
                None => ProducerKnown::Absent,
            };
            let facts = Facts {
                position: self.stored.clone(),
                source_id: None,
                target_id: None,
                earliest: 0,
                latest: self.source.end,
                diverged: None,
                target_end: self.target.log.len() as i64,
                producer,
                may_lag: false,
            };
            let decision = match start::decide(&facts, RULES) {
                Decision::Scan { from } => {
                    let position = self.stored.as_ref().expect("a position says from where");
                    let writer = position.beside.as_ref().map(|b| (b.producer, b.producer_epoch));
                    let tail = &self.target.log[from as usize..];
                    let last = tail.iter().rfind(|(_, id, epoch, _)| writer == Some((*id, *epoch)));
                    start::scanned(position, last.map(|(.., sequence)| *sequence))
                }
                Decision::Match { from, next } if self.knobs.plain => {
                    let digest = |record: &Record| {
                        let mut hasher = std::hash::DefaultHasher::new();
                        format!("{record:?}").hash(&mut hasher);
                        hasher.finish()
                    };
                    let from = usize::try_from(from.unwrap_or(0)).expect("an offset");
                    let original: Vec<_> = self.visible.iter().map(|(_, record)| digest(record)).collect();
                    let copy: Vec<_> = self.target.log[from..].iter().map(|(record, ..)| digest(record)).collect();
                    let before = self.visible.partition_point(|(offset, _)| *offset < next);
                    let skip = match tail::match_tail(&original, before, &copy) {
                        tail::Matched::Exactly(skip) => skip,
                        tail::Matched::Undecided { .. } => 0,
                    };
                    Decision::Begin(Beginning { next, skip, epoch: -1, target: None, lost: 0 })
                }
                other => other,
            };
            self.story.push(format!("{:?} {producer:?} end {} -> {decision:?}", self.stored, facts.target_end));
            let Decision::Begin(Beginning { next, skip, epoch, target, lost: 0 }) = decision else {
                panic!("can't begin: {decision:?}\n{}", self.story.join("\n"))
            };
            let sequence = start::next_sequence(self.stored.as_ref(), skip, self.identity);
            let start = Start { next, skip, epoch, identity: self.identity, sequence };
            let beside = Beside {
                format: 1,
                target,
                source_id: None,
                target_id: None,
                epoch,
                producer: self.identity.id,
                producer_epoch: self.identity.epoch,
                sequence,
                skip,
            };
            self.stored = Some(Position { next, beside: Some(beside) });
            if self.chance(5) {
                // A request of a former identity that is carried out after its successor has looked can't be told
                // from a foreign record: what is late is decided before.
                self.expire_late();
                self.other_identity();
                continue;
            }
            self.generation += 1;
            self.partition = Partition::new(&start, self.generation);
            self.target_start = target;
            (self.want, self.dirty, self.flushing) = (None, false, None);
            let actions = self.partition.begin(self.now);
            self.act(actions);
            return;
        }
    }

    /// A new process, or one that was fenced.
    fn other_identity(&mut self) {
        if self.knobs.plain {
            return;
        }
        self.identity = if self.rng.random_bool(0.7) {
            ProducerIdentity { id: self.identity.id, epoch: (self.identity.epoch + 1).max(self.target.fence) }
        } else {
            ProducerIdentity { id: self.identity.id + 1, epoch: self.target.fence }
        };
    }

    /// Everything in memory is lost; what was sent is carried out up to some point.
    fn crash(&mut self) {
        self.story.push(format!("crash at {}", self.partition.position()));
        if let Some(position) = self.flushing.take()
            && self.rng.random()
        {
            self.stored = Some(position);
        }
        let carried = self.rng.random_range(0..=self.wire.len());
        let sent: Vec<_> = self.wire.drain(..).take(carried).map(|(_, bytes)| bytes).collect();
        for bytes in sent {
            let _ = self.produce(&bytes);
        }
        self.expire_late();
        self.replies.clear();
        self.other_identity();
        self.begin();
    }

    /// What may still be carried out is, or never will be.
    fn expire_late(&mut self) {
        for bytes in std::mem::take(&mut self.late) {
            if self.rng.random() {
                let _ = self.produce(&bytes);
            }
        }
    }

    fn produce(&mut self, bytes: &Bytes) -> Result<i64, i16> {
        let before = self.target.log.len();
        let outcome = self.target.produce(bytes);
        let header = *split(bytes).next().expect("one batch").expect("a whole one").header();
        let (epoch, sequence, count) = (header.producer_epoch, header.base_sequence, header.record_count);
        let after = self.target.log.len();
        self.story.push(format!("produced epoch {epoch} seq {sequence} x{count}: {outcome:?}, {before} -> {after}"));
        if !self.knobs.plain {
            let new = &self.target.log[before..];
            let expected = self.visible.get(before..before + new.len());
            assert!(
                expected.is_some_and(|expected| expected.iter().map(|(_, r)| r).eq(new.iter().map(|(r, ..)| r))),
                "the target's record {before} is not the source's\n{}",
                self.story.join("\n")
            );
        }
        outcome
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Want { offset, generation, .. } => {
                    assert!(self.want.is_none(), "wanted twice");
                    self.want = Some((offset, generation));
                }
                Action::Send { tag } => {
                    if self.chance(10) {
                        self.partition.not_sent(tag);
                        continue;
                    }
                    let sealed = self.partition.sealed(tag).expect("what is to be sent is there");
                    let mut bytes = BytesMut::from(&sealed.header[..]);
                    bytes.extend_from_slice(&sealed.body);
                    self.wire.push_back((tag, bytes.freeze()));
                }
                Action::Moved { .. } => self.dirty = true,
                Action::Stopped => {}
            }
        }
        let below = self.visible.partition_point(|(offset, _)| *offset < self.partition.position());
        let skipped = usize::try_from(self.partition.skip()).expect("small");
        assert!(below <= self.target.log.len() && skipped <= self.visible.len(), "law 1: {}", self.story.join("\n"));
    }

    fn step(&mut self, event: Event) {
        let actions = self.partition.step(event, self.now);
        self.act(actions);
    }

    fn deliver(&mut self) {
        let Some((offset, generation)) = self.want else { return };
        let batches: Vec<_> =
            self.source.batches.iter().filter(|b| b.header().next_offset() > offset).cloned().collect();
        if batches.is_empty() {
            return;
        }
        let whole = if self.chance(5) { 0 } else { self.rng.random_range(1..=batches.len().min(5)) };
        let mut records = BytesMut::new();
        for batch in &batches[..whole] {
            records.extend_from_slice(batch.bytes());
        }
        if let Some(cut) = batches.get(whole) {
            records.extend_from_slice(&cut.bytes()[..self.rng.random_range(0..cut.bytes().len())]);
        }
        let records = records.freeze();
        let aborted: Vec<AbortedTransaction> = self.source.fetch(offset).1;
        let policy = ShapePolicy {
            read_committed: self.knobs.read_committed,
            merge_below: self.knobs.merge_below,
            ..ShapePolicy::default()
        };
        let mut counters = ShapeCounters::default();
        let (items, skip) = shape::shape(&records, offset, self.partition.skip(), &aborted, &policy, &mut counters);
        let next = next_offset(&items).unwrap_or(offset);
        self.want = None;
        self.story.push(format!("chunk {offset}..{next}, {} items, skip {skip}", items.len()));
        self.step(Event::Shaped { generation, items, next, epoch: 3, skip, held: Arc::new(()) });
    }

    /// The broker takes the next request.
    fn carry_out(&mut self) {
        let Some((tag, bytes)) = self.wire.pop_front() else { return };
        let refused = |code: i16| Outcome::Failed {
            error: Error::broker("Produce", ErrorCode(code), "t-0", None),
            code: Some(ErrorCode(code)),
            unknown: false,
        };
        let lost = || Outcome::Failed {
            error: Error::broker("Produce", ErrorCode(7), "t-0", None),
            code: None,
            unknown: true,
        };
        let kind = if self.calm { 100 } else { self.rng.random_range(0..100) };
        let reply = match kind {
            0..8 => refused(6),
            8..16 => {
                let _ = self.produce(&bytes);
                lost()
            }
            16..24 => lost(),
            24..28 => {
                self.late.push(bytes);
                lost()
            }
            28..30 if !self.knobs.plain => {
                self.target.fence = self.identity.epoch + 1;
                refused(47)
            }
            _ => match self.produce(&bytes) {
                Ok(base_offset) if kind % 8 == 0 && !self.calm => {
                    let _ = base_offset;
                    Outcome::Duplicate
                }
                Ok(base_offset) => Outcome::Written { base_offset, log_append_time: -1 },
                Err(code) => refused(code),
            },
        };
        self.replies.push_back((tag, reply));
    }

    /// As the lane: positions of what is acknowledged, once the start is settled.
    fn flush(&mut self) {
        if let Some(position) = self.flushing.take() {
            self.stored = Some(position);
        } else if self.dirty && self.partition.writable() {
            self.dirty = false;
            let beside = Beside {
                format: 1,
                target: self.partition.target_next().or(self.target_start),
                source_id: None,
                target_id: None,
                epoch: self.partition.epoch(),
                producer: self.identity.id,
                producer_epoch: self.identity.epoch,
                sequence: self.partition.sequence(),
                skip: 0,
            };
            self.flushing = Some(Position { next: self.partition.position(), beside: Some(beside) });
        }
    }

    /// Released by the flow and begun again in the same process, with the same identity.
    fn reread(&mut self, give_up: bool) {
        self.step(if give_up { Event::GiveUp } else { Event::Drain });
        for _ in 0..2_000 {
            if self.partition.settled() {
                break;
            }
            self.now += 100;
            self.carry_out();
            self.answer();
            self.step(Event::Tick);
        }
        assert!(self.partition.settled(), "released in bounded time");
        if self.wire.is_empty() && self.replies.is_empty() {
            self.flush();
            self.flush();
        }
        self.begin();
    }

    fn answer(&mut self) {
        if let Some((tag, outcome)) = self.replies.pop_front() {
            self.story.push(format!("ack {tag:#x} {outcome:?}"));
            self.step(Event::Ack { tag, outcome });
        }
    }

    fn once(&mut self) {
        self.now += self.rng.random_range(0..60);
        match self.rng.random_range(0..100) {
            0..25 => self.deliver(),
            25..55 => self.carry_out(),
            55..80 => self.answer(),
            80..88 => self.step(Event::Tick),
            88..92 => self.flush(),
            92..94 if !self.late.is_empty() => {
                self.story.push("late:".to_owned());
                let at = self.rng.random_range(0..self.late.len());
                let bytes = self.late.swap_remove(at);
                let _ = self.produce(&bytes);
            }
            94 if !self.calm => self.now += 4_000_000,
            95 if !self.calm => {
                let give_up = self.rng.random();
                self.reread(give_up);
            }
            96..98 if !self.calm => self.crash(),
            _ => {}
        }
        if let Some(stop) = self.partition.stopped().cloned() {
            self.story.push(format!("stopped {stop:?}"));
            match stop.remedy {
                Remedy::Reread if stop.state == "target-unavailable" => self.reread(true),
                Remedy::Reread | Remedy::Fenced => {
                    // The flow takes another identity, after everything on the wire has its answer.
                    self.wire.clear();
                    self.replies.clear();
                    self.expire_late();
                    self.other_identity();
                    self.begin();
                }
                Remedy::Person => panic!("stopped: {stop:?}\n{}", self.story.join("\n")),
            }
        }
    }

    fn done(&self) -> bool {
        self.target.log.len() >= self.visible.len()
            && self.partition.settled()
            && self.partition.stopped().is_none()
            && self.want.is_some_and(|(offset, _)| self.source.fetch(offset).0.is_empty())
    }

    fn run(mut self) {
        for _ in 0..self.knobs.trouble {
            self.once();
        }
        self.calm = true;
        for _ in 0..20_000 {
            if self.done() {
                break;
            }
            self.once();
        }
        assert!(
            self.done(),
            "stuck: {:?} want {:?} wire {} settled {}\n{}",
            self.partition.position(),
            self.want,
            self.wire.len(),
            self.partition.settled(),
            self.story.join("\n")
        );
        assert_eq!(self.partition.position(), self.want.map_or(-1, |(offset, _)| offset));
        self.flush();
        self.flush();
        let copied: Vec<_> = self.target.log.iter().map(|(record, ..)| record.clone()).collect();
        let original: Vec<_> = self.visible.iter().map(|(_, record)| record.clone()).collect();
        if self.knobs.plain {
            // Repeats there may be; nothing is lost, and first appearances are in order.
            let mut rest = copied.iter();
            assert!(original.iter().all(|record| rest.any(|copy| copy == record)), "{}", self.story.join("\n"));
        } else {
            assert_eq!(copied, original);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_target_holds_the_source_once_and_in_order(
        events in prop::collection::vec(any_event(), 1..40),
        knobs in any_knobs(),
    ) {
        Sim::new(knobs, &events).run();
    }

    #[test]
    fn without_idempotence_nothing_is_lost(events in prop::collection::vec(any_event(), 1..20), knobs in any_knobs()) {
        Sim::new(Knobs { plain: true, ..knobs }, &events).run();
    }
}

fn ready(count: usize) -> Vec<Item> {
    let record = |i: usize| Record {
        offset_delta: i as i32,
        timestamp: 1,
        key: None,
        value: Some(Bytes::from(vec![b'v'; if i == 0 { 900 } else { 10 }])),
        headers: Vec::new(),
        attributes: 0,
    };
    let records: Vec<_> = (0..count).map(record).collect();
    let batch = crate::kafka::records::encode(&records, crate::kafka::compress::Codec::None, None).unwrap();
    let bytes = batch.bytes().clone();
    shape::shape(&bytes, 0, 0, &[], &ShapePolicy::default(), &mut ShapeCounters::default()).0
}

fn started() -> (Partition, u64) {
    let identity = ProducerIdentity { id: 1, epoch: 0 };
    let mut partition = Partition::new(&Start { next: 0, skip: 0, epoch: -1, identity, sequence: 0 }, 1);
    partition.begin(0);
    let held: Held = Arc::new(());
    let actions = partition.step(Event::Shaped { generation: 1, items: ready(2), next: 2, epoch: 0, skip: 0, held }, 0);
    let tag = actions.iter().find_map(|a| if let Action::Send { tag } = a { Some(*tag) } else { None });
    (partition, tag.expect("sent"))
}

fn failed(code: i16) -> Outcome {
    let error = Error::broker("Produce", ErrorCode(code), "t-0", None);
    Outcome::Failed { error, code: Some(ErrorCode(code)), unknown: false }
}

#[test]
fn a_large_record_beside_a_small_one_goes_out_alone() {
    // Together too large for the target; the large one alone fits, though it is more than half.
    let (mut partition, tag) = started();
    let actions = partition.step(Event::Ack { tag, outcome: failed(10) }, 1);
    assert!(actions.iter().any(|a| matches!(a, Action::Send { .. })));
    assert_eq!(partition.stopped(), None);
}

#[test]
fn a_target_that_went_back_stops_the_partition_before_its_position_moves() {
    let (mut partition, tag) = started();
    partition.target_next = Some(500);
    partition.step(Event::Ack { tag, outcome: Outcome::Written { base_offset: 0, log_append_time: -1 } }, 1);
    assert_eq!(partition.stopped().map(|s| s.state), Some("target-truncated"));
    assert_eq!(partition.position(), 0);
}

#[test]
fn what_fails_for_long_is_let_go_and_read_again() {
    let (mut partition, mut tag) = started();
    let mut now = 0;
    while partition.stopped().is_none() {
        assert!(now < 200_000, "gives up in the end");
        partition.step(Event::Ack { tag, outcome: failed(6) }, now);
        now += 6_000;
        for action in partition.step(Event::Tick, now) {
            if let Action::Send { tag: sent } = action {
                tag = sent;
            }
        }
    }
    assert_eq!(partition.stopped().map(|s| (s.state, s.remedy)), Some(("target-unavailable", Remedy::Reread)));
    assert!(now >= GIVE_UP_MS && partition.position() == 0);
}
