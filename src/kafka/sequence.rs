//! The idempotent producer's half of KIP-98 for one partition: sequences, what is in flight, retry in order.
//!
//! Pure: no clock, no network. One [`Window`] per partition and producer identity; it belongs to the partition, never to
//! a connection, so it moves with the leader. Follows `org.apache.kafka.clients.producer.internals.TransactionManager`
//! and keeps these rules on top (law 2: target order is source order; law 1: [`Action::Done`] comes in order):
//!
//! - **First alone.** Until the identity has an acknowledged batch in the partition one batch is in flight: a broker
//!   without state for an identity accepts any first sequence, so a rejected first batch would be overtaken by its
//!   followers. Likewise after [`Window::require_first_alone`] (idle for long, another target topic id).
//! - **Never more than five** batches from the oldest unresolved one on: brokers recognise the last five as repeats.
//! - **Drain, then retry.** After a failure nothing is sent until every batch in flight has its answer; then all that
//!   are unresolved go again, in order, each with the sequence it had.
//! - `OUT_OF_ORDER_SEQUENCE_NUMBER` for a batch that was sent behind an unresolved one says nothing but "later"; for one
//!   that was sent with nothing unresolved before it, the log is not what we think: [`Verdict::Lost`].

use std::collections::VecDeque;

/// Batches that brokers remember per producer and partition: `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`.
pub const MAX_IN_FLIGHT: usize = 5;

/// The sequence `records` behind `sequence`; wraps to 0 behind 2147483647.
pub const fn advance(sequence: i32, records: i32) -> i32 {
    sequence.wrapping_add(records) & i32::MAX
}

/// What a broker, or the lack of one, said to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Appended, or recognised as a repeat with its offset.
    Written {
        /// Offset of the first record; -1 unknown.
        base_offset: i64,
    },
    /// Error 46: a repeat, offset not told.
    Duplicate,
    /// Not appended, or nobody knows: the same again will tell.
    Retry,
    /// Error 45.
    OutOfOrder,
    /// Errors 47 and 90: a newer epoch of our identity has written.
    Fenced,
    /// Error 59: the broker no longer knows the identity.
    UnknownProducer,
    /// Errors 10 and 18: larger than the topic allows.
    TooLarge,
    /// Any other error code: the same again would fail again.
    Refused(i16),
}

impl Reply {
    /// Reads the error code of a produce answer; 0 is success at `base_offset`.
    pub const fn from_code(code: i16, base_offset: i64) -> Reply {
        match code {
            0 => Reply::Written { base_offset },
            46 => Reply::Duplicate,
            45 => Reply::OutOfOrder,
            47 | 90 => Reply::Fenced,
            59 => Reply::UnknownProducer,
            10 | 18 => Reply::TooLarge,
            // Retriable in Java's Errors, as far as Produce answers them.
            2 | 3 | 5 | 6 | 7 | 8 | 9 | 13 | 14 | 15 | 16 | 19 | 20 | 51 | 56 | 74 | 75 | 78 | 84 | 89 | 100 | 103 => {
                Reply::Retry
            }
            other => Reply::Refused(other),
        }
    }
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the batch to the producer (again), stamped with this sequence. In the order given.
    Send {
        /// The caller's name for the batch.
        tag: u64,
        /// Sequence of its first record; -1 in plain mode.
        sequence: i32,
    },
    /// The batch is in the target's log. Comes once per batch, in order.
    Done {
        /// The caller's name for the batch.
        tag: u64,
        /// Records in it.
        records: i32,
        /// Offset of its first record in the target, where the broker told.
        base_offset: Option<i64>,
    },
    /// The batch is too large for the target: cut it and call [`Window::split`]; nothing else happens before that.
    Split {
        /// The caller's name for the batch.
        tag: u64,
        /// Records in it, at least two.
        records: i32,
    },
    /// The window has ended; everything after the last [`Action::Done`] is unresolved.
    End(Verdict),
}

/// Why a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target's log is not what we wrote: forget the position, read it again from the destination.
    Lost,
    /// A newer epoch of our identity writes: stop.
    Fenced,
    /// The broker no longer knows the identity (before KIP-360): take a new one, read the position again.
    UnknownProducer,
    /// A single record is too large for the target topic.
    TooLarge {
        /// The batch.
        tag: u64,
    },
    /// The target refuses this batch for what it is.
    Refused {
        /// The batch.
        tag: u64,
        /// Kafka's error code.
        code: i16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be sent, for the first time or again.
    Waiting,
    /// On the wire. `alone`: nothing before it was unresolved when it was sent.
    InFlight { alone: bool },
    /// In the log, behind one that is unresolved.
    Written { base_offset: Option<i64> },
    /// Refused while the first of all: ends the window once nothing is in flight.
    Doomed(Verdict),
    /// Too large while the first of all: asked to be cut once nothing is in flight.
    Oversized { asked: bool },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u64,
    sequence: i32,
    records: i32,
    state: State,
}

/// One partition's batches between the source and the acknowledgement.
#[derive(Clone, Debug)]
pub struct Window {
    next: i32,
    plain: bool,
    proven: bool,
    /// A batch failed: nothing is sent until nothing is in flight.
    draining: bool,
    ended: bool,
    slots: VecDeque<Slot>,
}

impl Window {
    /// A window whose first batch gets `next_sequence` (0 for a new identity). The first batch goes alone.
    pub fn new(next_sequence: i32) -> Window {
        Window {
            next: next_sequence,
            plain: false,
            proven: false,
            draining: false,
            ended: false,
            slots: VecDeque::new(),
        }
    }

    /// Without idempotence: sequences are -1, one batch is in flight, a retry may repeat records.
    pub fn plain() -> Window {
        Window { plain: true, ..Window::new(-1) }
    }

    /// Sequence of the next new batch.
    pub const fn next_sequence(&self) -> i32 {
        self.next
    }

    /// Whether [`Window::push`] may be called now.
    pub fn room(&self) -> bool {
        !self.ended && !self.draining && self.slots.len() < self.limit() && self.slots.iter().all(Slot::was_sent)
    }

    /// Nothing is unresolved: only then may the epoch be raised or the identity changed.
    pub fn settled(&self) -> bool {
        self.slots.is_empty()
    }

    /// The window has ended with a [`Verdict`] that was given; acknowledgements that still come mean nothing.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Batches that are unresolved, oldest first, with their sequences.
    pub fn unresolved(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        self.slots.iter().filter(|slot| !matches!(slot.state, State::Written { .. })).map(|s| (s.tag, s.sequence))
    }

    /// The next batches go one at a time until one is acknowledged: after an hour idle, and when the target's topic id
    /// has changed. What is in flight stays so.
    pub const fn require_first_alone(&mut self) {
        self.proven = false;
    }

    /// A new batch; the caller sends it with the sequence returned. `None` without [`Window::room`] or records.
    pub fn push(&mut self, records: i32, tag: u64) -> Option<i32> {
        if !self.room() || records < 1 {
            return None;
        }
        let sequence = self.next;
        if !self.plain {
            self.next = advance(sequence, records);
        }
        let alone = self.slots.is_empty();
        self.slots.push_back(Slot { tag, sequence, records, state: State::InFlight { alone } });
        Some(sequence)
    }

    /// The answer to a batch on the wire. Answers to tags that are not there are ignored.
    pub fn on_ack(&mut self, tag: u64, reply: Reply) -> Vec<Action> {
        let Some(at) = self.slots.iter().position(|slot| slot.tag == tag) else { return Vec::new() };
        let slot = &mut self.slots[at];
        let State::InFlight { alone } = slot.state else { return Vec::new() };
        slot.state = match reply {
            Reply::Written { base_offset } => {
                self.proven = true;
                State::Written { base_offset: (base_offset >= 0).then_some(base_offset) }
            }
            Reply::Duplicate => {
                self.proven = true;
                State::Written { base_offset: None }
            }
            // Being fenced is not about this batch: no later one can succeed.
            Reply::Fenced => State::Doomed(Verdict::Fenced),
            // About a follower nothing is certain before all that came before it is in the log.
            _ if !alone => State::Waiting,
            Reply::Retry => State::Waiting,
            Reply::OutOfOrder => State::Doomed(Verdict::Lost),
            Reply::UnknownProducer => State::Doomed(Verdict::UnknownProducer),
            Reply::TooLarge if slot.records > 1 => State::Oversized { asked: false },
            Reply::TooLarge => State::Doomed(Verdict::TooLarge { tag }),
            Reply::Refused(code) => State::Doomed(Verdict::Refused { tag, code }),
        };
        if !matches!(slot.state, State::Written { .. }) {
            self.draining = true;
        }
        self.go()
    }

    /// Replaces a batch that is too large ([`Action::Split`]) by its parts: `(tag, records)`, which must add up to it and
    /// keep its sequence range. Parts are sent as there is room; a part may be split again. Nothing happens when the
    /// batch is not waiting for it or the parts do not add up.
    pub fn split(&mut self, tag: u64, parts: &[(u64, i32)]) -> Vec<Action> {
        let Some(slot) = self.slots.front().copied() else { return Vec::new() };
        let sum: i64 = parts.iter().map(|(_, records)| i64::from(*records)).sum();
        let fits = sum == i64::from(slot.records) && parts.iter().all(|(_, records)| *records > 0);
        if slot.tag != tag || slot.state != (State::Oversized { asked: true }) || !fits {
            return Vec::new();
        }
        self.slots.pop_front();
        let mut end = advance(slot.sequence, slot.records);
        for &(tag, records) in parts.iter().rev() {
            let sequence = if self.plain { -1 } else { end.wrapping_sub(records) & i32::MAX };
            end = sequence;
            self.slots.push_front(Slot { tag, sequence, records, state: State::Waiting });
        }
        self.go()
    }

    fn limit(&self) -> usize {
        if self.plain || !self.proven { 1 } else { MAX_IN_FLIGHT }
    }

    fn go(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.ended {
            self.slots.retain(|slot| matches!(slot.state, State::InFlight { .. }));
            return actions;
        }
        while let Some(&Slot { tag, records, state: State::Written { base_offset }, .. }) = self.slots.front() {
            actions.push(Action::Done { tag, records, base_offset });
            self.slots.pop_front();
        }
        let flying = |slot: &Slot| matches!(slot.state, State::InFlight { .. });
        if self.draining && self.slots.iter().any(flying) {
            return actions;
        }
        self.draining = false;
        let doom = self.slots.iter().find_map(|slot| match slot.state {
            State::Doomed(verdict) => Some(verdict),
            _ => None,
        });
        if let Some(verdict) = doom {
            self.ended = true;
            self.slots.clear();
            actions.push(Action::End(verdict));
            return actions;
        }
        if let Some(Slot { tag, records, state: State::Oversized { asked }, .. }) = self.slots.front_mut() {
            if !*asked {
                *asked = true;
                actions.push(Action::Split { tag: *tag, records: *records });
            }
            return actions;
        }
        let limit = self.limit();
        let mut alone = true;
        for slot in self.slots.iter_mut().take(limit) {
            if slot.state == State::Waiting {
                slot.state = State::InFlight { alone };
                actions.push(Action::Send { tag: slot.tag, sequence: slot.sequence });
            }
            alone = false;
        }
        actions
    }
}

impl Slot {
    const fn was_sent(&self) -> bool {
        matches!(self.state, State::InFlight { .. } | State::Written { .. })
    }
}

#[cfg(test)]
mod tests;
