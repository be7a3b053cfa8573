//! One source partition's copying as a pure state machine: `step(Event) -> Vec<Action>`.
//!
//! One [`Partition`] is owned by one lane. It holds everything that must move together: what was fetched and not yet
//! sent, what is in flight, the producer's sequence, the position. It knows no clock (time comes in as milliseconds), no
//! network and no async, so the same code runs in simulation and in production.
//!
//! Laws, numbered as in the crate's documentation:
//! 1. `position` only moves to the end of a batch that was acknowledged with everything before it acknowledged.
//! 2. Batches are handed over in source order; what failed is sent again in order with the same sequence, and nothing new
//!    overtakes it.
//! 4. A partition that stopped says so, with offset and reason, until it is started again.
//!
//! Non-obvious: source offsets that are dropped (control records, aborted data, holes) have no acknowledgement of their
//! own; they count as copied when everything before them is.

mod acknowledge;
mod advance;

use std::collections::VecDeque;
use std::sync::Arc;

use super::meter::Times;
use super::shape::{self, Item, Ready, StopReason};
use super::stops;
use crate::kafka::ErrorCode;
use crate::kafka::admin::producers::ProducerIdentity;
use crate::kafka::batch::{Sealed, Stamp};
use crate::kafka::produce::Outcome;
use crate::kafka::sequence::{self, Reply, Verdict, Window};

/// Bytes that stay accounted for while anything of a chunk is held; dropping the last clone gives them back.
pub type Held = Arc<dyn Send + Sync>;

/// The generation of the partition that gave out `tag`.
#[must_use]
pub const fn generation_of(tag: u64) -> u64 {
    tag >> 32
}

/// How much may wait, not yet sent, before the partition is no longer fetched.
const QUEUE_BYTES: usize = 2 * 1024 * 1024;

/// A batch this large is worth fetching ahead for, even while the window is full.
const WELL_FILLED: usize = 64 * 1024;

/// First and longest wait before what failed is sent again.
const RETRY_MS: (u64, u64) = (50, 5_000);

/// Failing for this long, a partition lets go of what it holds and asks the destination anew: its memory is others' too.
const GIVE_UP_MS: u64 = 60_000;

/// A chunk without one whole batch: it is asked for again after this long.
const EMPTY_MS: u64 = 200;

/// Idle for this long, a broker may have forgotten the producer: the next batch goes alone again.
const IDLE_MS: u64 = 3_600_000;

/// What a partition starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Next source offset to read.
    pub next: i64,
    /// Records behind `next` that are on the target already.
    pub skip: u64,
    /// Leader epoch of the batch before `next`; -1 when unknown.
    pub epoch: i32,
    /// Who writes.
    pub identity: ProducerIdentity,
    /// The sequence of its next record in this partition.
    pub sequence: i32,
}

/// What happens to a partition.
pub enum Event {
    /// A fetched chunk, already shaped.
    Shaped {
        /// The generation of the want it answers.
        generation: u64,
        /// What is to be done, in source order.
        items: Vec<Item>,
        /// Where the next fetch begins.
        next: i64,
        /// Leader epoch of the last batch; -1 when the chunk was empty.
        epoch: i32,
        /// Records still to be skipped.
        skip: u64,
        /// Keeps the chunk's bytes accounted for.
        held: Held,
    },
    /// The target answered for one batch.
    Ack {
        /// The batch.
        tag: u64,
        /// How it went.
        outcome: Outcome,
    },
    /// Time has passed, or the sink has room again.
    Tick,
    /// The source can't give what was wanted, for good.
    Stop(Stop),
    /// Nothing new is to be read or sent; what is in flight is awaited.
    Drain,
    /// As [`Event::Drain`], and what fails is not sent again: the partition is settled as soon as nothing is on the wire.
    GiveUp,
}

/// What the owner has to do.
pub enum Action {
    /// Fetch from here.
    Want {
        /// Source offset.
        offset: i64,
        /// Leader epoch of the batch before it.
        epoch: i32,
        /// Echoed by the chunk that answers.
        generation: u64,
    },
    /// Hand one batch to the sink. When the sink is full, call [`Partition::not_sent`].
    Send {
        /// Echoed by the acknowledgement.
        tag: u64,
    },
    /// The position moved.
    Moved {
        /// Records acknowledged by this.
        records: u64,
        /// Bytes acknowledged by this.
        bytes: u64,
        /// Timestamps of the batch; `None` where nothing was produced.
        times: Option<Times>,
        /// Source offset and target base offset of the batch, where the target said it.
        map: Option<Written>,
    },
    /// Nothing more happens here until the owner starts it anew.
    Stopped,
}

/// Where a batch landed: the exact map from source to target offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Target offset of the batch's first record.
    pub base: i64,
    /// Starts of runs: source offset and index in the batch.
    pub runs: Vec<(i64, i32)>,
    /// Records in the batch.
    pub records: i32,
}

/// Why a partition stands still, in a named state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The state's name: `record-too-large`, `timestamp-refused`, `source-recreated`, ...
    pub state: &'static str,
    /// Source offset that could not be copied.
    pub offset: i64,
    /// What happened, in one line.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// What the owner may do without a person.
    pub remedy: Remedy,
}

/// Whether a stop can end without somebody acting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Ask the destination how far it got and start again, after a back-off.
    Reread,
    /// Another writer took over: stop the flow, ask who owns the group.
    Fenced,
    /// A person has to change something; tried again rarely.
    Person,
}

/// The state machine.
pub struct Partition {
    identity: ProducerIdentity,
    position: i64,
    target_next: Option<i64>,
    fetched_epoch: i32,
    copied_epoch: i32,
    fetch_next: i64,
    generation: u64,
    wanting: bool,
    wants_after: u64,
    skip: u64,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    last_chunk_bytes: usize,
    window: Window,
    in_flight: VecDeque<InFlight>,
    /// Batches to hand to the sink, oldest first.
    unsent: VecDeque<u64>,
    /// Batches that the sink has and did not answer.
    on_wire: usize,
    /// Under this start something was acknowledged, or there was nothing to skip: positions may be written.
    settled_start: bool,
    /// When what fails began to.
    failing_since: Option<u64>,
    giving_up: bool,
    /// Sequence of the first batch that was given up: the window's own is beyond it.
    abandoned: Option<i32>,
    /// The target has less than it acknowledged: no position moves any more.
    lost: bool,
    go_on_after_loss: bool,
    next_tag: u64,
    retry_at: Option<u64>,
    failures: u32,
    last_ack: u64,
    trouble: Option<String>,
    stop: Option<Stop>,
    draining: bool,
}

struct Queued {
    item: Item,
    epoch: i32,
    held: Held,
}

struct InFlight {
    tag: u64,
    sequence: i32,
    ready: Ready,
    /// One past everything that counts as copied once this batch is acknowledged.
    next: i64,
    epoch: i32,
    held: Held,
}

// === impl Partition ===

impl Partition {
    /// A partition that begins at `start`; nothing happens before [`Partition::begin`].
    #[must_use]
    pub fn new(start: &Start, generation: u64) -> Self {
        let plain = start.identity.id < 0;
        Self {
            identity: start.identity,
            position: start.next,
            target_next: None,
            fetched_epoch: start.epoch,
            copied_epoch: start.epoch,
            fetch_next: start.next,
            generation,
            wanting: false,
            wants_after: 0,
            skip: start.skip,
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_chunk_bytes: 0,
            window: if plain { Window::plain() } else { Window::new(start.sequence) },
            in_flight: VecDeque::new(),
            unsent: VecDeque::new(),
            on_wire: 0,
            settled_start: start.skip == 0,
            failing_since: None,
            giving_up: false,
            abandoned: None,
            lost: false,
            go_on_after_loss: false,
            // Tags of an earlier life of this partition may still be answered: they must not be mistaken for ours.
            next_tag: generation << 32,
            retry_at: None,
            failures: 0,
            last_ack: 0,
            trouble: None,
            stop: None,
            draining: false,
        }
    }

    /// The first want.
    pub fn begin(&mut self, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.last_ack = now;
        self.advance(now, &mut actions);
        actions
    }

    /// One past the last source offset that is copied.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// One past the last target offset that was acknowledged.
    #[must_use]
    pub fn target_next(&self) -> Option<i64> {
        self.target_next
    }

    /// Leader epoch of the source batch before the position; -1 when unknown.
    #[must_use]
    pub fn epoch(&self) -> i32 {
        self.copied_epoch
    }

    /// The sequence of the first record behind the position.
    #[must_use]
    pub fn sequence(&self) -> i32 {
        let front = self.in_flight.front().map(|flight| flight.sequence);
        front.or(self.abandoned).unwrap_or_else(|| self.window.next_sequence())
    }

    /// Records behind what was read that are on the target already; they are still to be skipped.
    #[must_use]
    pub fn skip(&self) -> u64 {
        self.skip
    }

    /// The generation that chunks must echo.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Why it stands still, once everything before is settled.
    #[must_use]
    pub fn stopped(&self) -> Option<&Stop> {
        if self.settled() { self.stop.as_ref() } else { None }
    }

    /// What is being retried, if anything.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether a [`Event::Tick`] could do something.
    #[must_use]
    pub fn needs_tick(&self) -> bool {
        !self.unsent.is_empty() || self.retry_at.is_some() || (self.wants_after > 0 && !self.wanting)
    }

    /// Timestamp in ms of the oldest record that was fetched and is not yet copied.
    #[must_use]
    pub fn oldest_held(&self) -> Option<i64> {
        let queued = self.queue.iter().find_map(|q| match &q.item {
            Item::Ready(ready) => Some(ready.max_timestamp),
            _ => None,
        });
        self.in_flight.front().map(|f| f.ready.max_timestamp).or(queued)
    }

    /// Whether the position may be written down. What a former identity wrote behind the start is told apart from ours
    /// only by the record of the start, which so stays until a batch of ours is acknowledged.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.settled_start
    }

    /// A target that has less than it acknowledged (recreated, truncated) is written on, not a reason to stop.
    pub fn go_on_after_loss(&mut self, go_on: bool) {
        self.go_on_after_loss = go_on;
    }

    /// No want before this moment: a byte limit is spent.
    pub fn hold_wants_until(&mut self, at: u64) {
        self.wants_after = at;
    }

    /// One event in, what is to be done out.
    pub fn step(&mut self, event: Event, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Shaped { generation, items, next, epoch, skip, held } => {
                if generation != self.generation || !self.wanting {
                    return actions;
                }
                self.wanting = false;
                if self.stop.is_none() && !self.draining {
                    if items.is_empty() {
                        self.wants_after = now + EMPTY_MS;
                    }
                    self.shaped(items, next, epoch, skip, &held);
                }
            }
            Event::Ack { tag, outcome } => self.acknowledged(tag, outcome, now, &mut actions),
            Event::Tick => {}
            Event::Stop(stop) => self.stop_at(stop),
            Event::Drain | Event::GiveUp => {
                self.giving_up |= matches!(event, Event::GiveUp);
                self.draining = true;
                self.queue.clear();
                self.queue_bytes = 0;
            }
        }
        self.advance(now, &mut actions);
        actions
    }

    /// The sink had no room for `tag`: it goes out before anything newer, at the next tick.
    pub fn not_sent(&mut self, tag: u64) {
        self.on_wire = self.on_wire.saturating_sub(1);
        // By place, not by tag: the parts of a split batch have younger tags than what follows them.
        let place = |tag: u64| self.in_flight.iter().position(|f| f.tag == tag);
        let ours = place(tag);
        let at = self.unsent.iter().position(|t| place(*t) > ours).unwrap_or(self.unsent.len());
        self.unsent.insert(at, tag);
    }

    /// The batch of an [`Action::Send`], with its identity and sequence, ready for the wire.
    #[must_use]
    pub fn sealed(&self, tag: u64) -> Option<Sealed> {
        let flight = self.in_flight.iter().find(|f| f.tag == tag)?;
        let stamp = Stamp { producer_id: self.identity.id, epoch: self.identity.epoch, sequence: flight.sequence };
        Some(flight.ready.batch.stamp(stamp))
    }

    fn shaped(&mut self, items: Vec<Item>, next: i64, epoch: i32, skip: u64, held: &Held) {
        self.fetch_next = next;
        self.skip = skip;
        if epoch >= 0 {
            self.fetched_epoch = epoch;
        }
        self.last_chunk_bytes = 0;
        for item in items {
            if let Item::Ready(ready) = &item {
                self.queue_bytes += ready.bytes;
                self.last_chunk_bytes += ready.bytes;
            }
            self.queue.push_back(Queued { item, epoch: self.fetched_epoch, held: held.clone() });
        }
    }

    fn stop_at(&mut self, stop: Stop) {
        if self.stop.is_none() {
            self.stop = Some(stop);
        }
        self.queue.clear();
        self.queue_bytes = 0;
    }
}

#[cfg(test)]
mod tests;
