//! State of an incremental fetch session (KIP-227), as `org.apache.kafka.clients.FetchSessionHandler`.
//!
//! Pure. A full request opens the session; each later one names only what was added, changed or forgotten, and the
//! broker answers only partitions that have something to say. One request is in flight at a time: [`Session::next`],
//! then [`Session::accepted`], or [`Session::reset`] whenever the answer did not come or was refused.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};
use uuid::Uuid;

use super::TopicPartition;

/// What a session asks of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFetch {
    /// Id of the topic; nil where topics are named (Fetch before v13).
    pub topic_id: Uuid,
    /// Offset of the first record wanted.
    pub offset: i64,
    /// Epoch of the leader as we know it; -1 unknown (KIP-320).
    pub leader_epoch: i32,
    /// Epoch of the last record that was read; -1 unknown (KIP-595).
    pub last_epoch: i32,
    /// Largest record set in bytes, save that one batch always fits (KIP-74).
    pub max_bytes: i32,
}

/// A partition that the broker is to drop from the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The partition.
    pub tp: TopicPartition,
    /// Its topic's id as the session knew it.
    pub topic_id: Uuid,
}

/// The session's part of a Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// 0 where a session is opened.
    pub session_id: i32,
    /// 0 opens, 1.. continues, -1 means no session (brokers before Fetch v7).
    pub epoch: i32,
    /// Added or changed, in the order in which they shall be served; everything for a full request.
    pub send: Vec<(TopicPartition, PartitionFetch)>,
    /// Dropped, or replaced by a topic of another id.
    pub forget: Vec<Forgotten>,
}

/// Sessions are off: every request is complete in itself.
const FINAL_EPOCH: i32 = -1;

/// What is wanted of one broker, and what its session holds as far as we know. Costs follow the changes, not the number of
/// partitions.
#[derive(Clone, Debug, Default)]
pub struct Session {
    id: i32,
    epoch: i32,
    by_id: bool,
    wanted: IndexMap<TopicPartition, PartitionFetch>,
    /// Wanted partitions whose topic has no id.
    nameless: usize,
    sent: HashMap<TopicPartition, PartitionFetch>,
    /// Where `wanted` and `sent` may differ.
    dirty: IndexSet<TopicPartition>,
}

impl Session {
    /// No session yet, nothing wanted.
    pub fn new() -> Session {
        Session::default()
    }

    /// The broker's id of the session; 0 without one.
    pub const fn id(&self) -> i32 {
        self.id
    }

    /// Whether every wanted partition's topic has an id, so that Fetch 13+ can be spoken.
    pub const fn all_have_ids(&self) -> bool {
        self.nameless == 0
    }

    /// Sets what is wanted of a partition; `None` forgets it.
    pub fn set(&mut self, tp: &TopicPartition, fetch: Option<PartitionFetch>) {
        let old = match fetch {
            Some(fetch) => {
                self.nameless += usize::from(fetch.topic_id.is_nil());
                self.wanted.insert(tp.clone(), fetch)
            }
            None => self.wanted.swap_remove(tp),
        };
        self.nameless -= usize::from(old.is_some_and(|old| old.topic_id.is_nil()));
        if self.id != 0 {
            self.dirty.insert(tp.clone());
        }
    }

    /// Forgets everything that is wanted.
    pub fn clear(&mut self) {
        self.wanted.clear();
        self.nameless = 0;
        self.reset();
    }

    /// Builds the next request. `by_id` says that topics go by id (Fetch 13+); a change of that opens a new session, as
    /// brokers demand.
    pub fn next(&mut self, by_id: bool) -> Delta {
        if by_id != self.by_id {
            self.reset();
            self.by_id = by_id;
        }
        if self.id == 0 {
            self.sent = self.wanted.iter().map(|(tp, fetch)| (tp.clone(), fetch.clone())).collect();
            return Delta { epoch: 0, ..self.sessionless() };
        }
        let (mut send, mut forget) = (Vec::new(), Vec::new());
        for tp in self.dirty.drain(..) {
            let (known, wanted) = (self.sent.get(&tp), self.wanted.get(&tp));
            if let Some(known) = known
                && wanted.is_none_or(|wanted| wanted.topic_id != known.topic_id)
            {
                forget.push(Forgotten { tp: tp.clone(), topic_id: known.topic_id });
            }
            match wanted {
                None => drop(self.sent.remove(&tp)),
                Some(wanted) if known != Some(wanted) => {
                    self.sent.insert(tp.clone(), wanted.clone());
                    send.push((tp, wanted.clone()));
                }
                Some(_) => {}
            }
        }
        Delta { session_id: self.id, epoch: self.epoch, send, forget }
    }

    /// A request without a session, for brokers before Fetch v7.
    pub fn sessionless(&self) -> Delta {
        let send = self.wanted.iter().map(|(tp, fetch)| (tp.clone(), fetch.clone())).collect();
        Delta { session_id: 0, epoch: FINAL_EPOCH, send, forget: Vec::new() }
    }

    /// The broker answered without a session error. Id 0 means that it keeps no session (its cache is full, or it
    /// dropped this one): the next request is full again.
    pub fn accepted(&mut self, session_id: i32) {
        if session_id == 0 {
            self.reset();
        } else if session_id == self.id {
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        } else {
            self.id = session_id;
            self.epoch = 1;
            // What was set while the opening request was under way.
            let changed = self.wanted.iter().filter(|(tp, fetch)| self.sent.get(*tp) != Some(fetch));
            self.dirty.extend(changed.map(|(tp, _)| tp.clone()));
            self.dirty.extend(self.sent.keys().filter(|tp| !self.wanted.contains_key(*tp)).cloned());
        }
    }

    /// The session is lost or in doubt (`FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, no answer): the
    /// next request opens a new one.
    pub fn reset(&mut self) {
        self.id = 0;
        self.epoch = 0;
        self.sent.clear();
        self.dirty.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The broker's half: what a `FetchSession` in its cache holds.
    #[derive(Default)]
    struct Broker {
        id: i32,
        epoch: i32,
        held: IndexMap<TopicPartition, PartitionFetch>,
    }

    impl Broker {
        fn answer(&mut self, delta: &Delta) -> Result<i32, &'static str> {
            if delta.session_id == 0 {
                assert!(delta.forget.is_empty());
                self.id += 1;
                self.epoch = 1;
                self.held = delta.send.iter().cloned().collect();
                return Ok(self.id);
            }
            if delta.session_id != self.id {
                return Err("FETCH_SESSION_ID_NOT_FOUND");
            }
            if delta.epoch != self.epoch {
                return Err("INVALID_FETCH_SESSION_EPOCH");
            }
            self.epoch += 1;
            for forgotten in &delta.forget {
                let known = self.held.shift_remove(&forgotten.tp).expect("only what is held is forgotten");
                assert_eq!(known.topic_id, forgotten.topic_id);
            }
            for (tp, fetch) in &delta.send {
                let known = self.held.insert(tp.clone(), fetch.clone());
                assert_ne!(known.as_ref(), Some(fetch), "nothing is sent twice");
            }
            Ok(self.id)
        }
    }

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    fn fetch(offset: i64, id: u128) -> PartitionFetch {
        PartitionFetch { topic_id: Uuid::from_u128(id), offset, leader_epoch: -1, last_epoch: -1, max_bytes: 1 }
    }

    #[test]
    fn a_quiet_session_sends_nothing() {
        let mut session = Session::new();
        for p in 0..3 {
            session.set(&tp(p), Some(fetch(0, 0)));
        }
        assert_eq!(session.next(false).send.len(), 3);
        session.accepted(7);
        session.set(&tp(2), Some(fetch(0, 0)));
        let delta = session.next(false);
        assert_eq!(delta, Delta { session_id: 7, epoch: 1, send: vec![], forget: vec![] });
        session.accepted(7);
        session.set(&tp(0), None);
        session.set(&tp(1), Some(fetch(5, 0)));
        session.set(&tp(2), None);
        let delta = session.next(false);
        assert_eq!((delta.epoch, delta.send.len(), delta.forget.len()), (2, 1, 2));
    }

    #[test]
    fn topic_ids_open_a_new_session() {
        let mut session = Session::new();
        session.set(&tp(0), Some(fetch(0, 0)));
        assert!(!session.all_have_ids());
        session.next(false);
        session.accepted(7);
        session.set(&tp(0), Some(fetch(0, 9)));
        assert!(session.all_have_ids());
        assert_eq!(session.next(true).session_id, 0);
    }

    proptest! {
        /// Whatever happens to sessions and answers, the broker holds what is wanted after every accepted request.
        #[test]
        fn the_broker_holds_what_is_wanted(
            rounds in prop::collection::vec(
                (prop::collection::btree_map(0..6_i32, (0..3_i64, 1..3_u128), 0..6), 0..10_u8), 1..40)
        ) {
            let (mut session, mut broker) = (Session::new(), Broker::default());
            for (wanted, fate) in rounds {
                let wanted: HashMap<_, _> = wanted.into_iter().map(|(p, (o, id))| (tp(p), fetch(o, id))).collect();
                for p in 0..6 {
                    session.set(&tp(p), wanted.get(&tp(p)).cloned());
                }
                if fate == 0 {
                    broker.id += 1; // evicted from its cache
                }
                let mut delta = session.next(true);
                if fate == 1 {
                    session.reset(); // never arrived
                    continue;
                }
                let mut answer = broker.answer(&delta);
                if answer.is_err() {
                    session.reset();
                    delta = session.next(true);
                    answer = broker.answer(&delta);
                }
                if fate == 2 {
                    session.reset(); // the answer was lost
                    continue;
                }
                session.accepted(answer.expect("a full request is never refused"));
                let held: HashMap<_, _> = broker.held.clone().into_iter().collect();
                prop_assert_eq!(held, wanted);
            }
        }
    }
}
