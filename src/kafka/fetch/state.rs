//! What the tasks of a fetcher share: what is wanted, and where each partition is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

use super::{FetchEvent, FetchSettings, Trouble, Want};
use crate::kafka::{Cluster, Leader, TopicPartition};
use crate::supervise::Backoff;

/// `retry.backoff.ms` and `retry.backoff.max.ms`.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) settings: FetchSettings,
    pub(super) events: mpsc::Sender<FetchEvent>,
    pub(super) throttled_ms: AtomicU64,
    /// Wakes the router.
    pub(super) routing: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<TopicPartition, Entry>,
    inboxes: HashMap<i32, Arc<Inbox>>,
    /// By due time; the number keeps them apart.
    errands: BTreeMap<(Instant, u64), (TopicPartition, Errand)>,
    serial: u64,
}

struct Entry {
    want: Want,
    serial: u64,
    place: Place,
    leader_epoch: i32,
    topic_id: Uuid,
    /// A replica near us, until then.
    replica: Option<(i32, Instant)>,
    backoff: Backoff,
    troubled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere, and nobody is looking: the next want starts that.
    Nowhere,
    /// The router is looking.
    Routing,
    /// With the task of this broker.
    Lane(i32),
}

/// What the router is to find out about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Who leads it.
    Route,
    /// Whether the leader, too, says that the offset is out of range.
    Confirm,
    /// Whether the topic still has the id that we know.
    Identify,
}

/// What one broker's task is told.
#[derive(Default)]
pub(super) struct Inbox {
    changes: Mutex<Vec<Change>>,
    pub(super) wake: Notify,
}

pub(super) enum Change {
    Ready(TopicPartition, Fetchable),
    Forget(TopicPartition),
}

/// A partition with credit, as a broker's task needs it.
#[derive(Clone, Debug)]
pub(super) struct Fetchable {
    pub(super) want: Want,
    pub(super) serial: u64,
    pub(super) leader_epoch: i32,
    pub(super) topic_id: Uuid,
    pub(super) follower: bool,
    pub(super) troubled: bool,
}

/// A partition as the router sees it.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    pub(super) tp: TopicPartition,
    pub(super) want: Want,
    pub(super) serial: u64,
    pub(super) topic_id: Uuid,
    pub(super) attempts: u32,
}

impl Shared {
    pub(super) fn new(cluster: Cluster, settings: FetchSettings, events: mpsc::Sender<FetchEvent>) -> Shared {
        let (throttled_ms, routing, state) = (AtomicU64::new(0), Notify::new(), Mutex::default());
        Shared { cluster, settings, events, throttled_ms, routing, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed field by field without a panic between them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn want(&self, tp: &TopicPartition, want: Option<Want>) {
        let leader = self.cluster.cached_leader(tp);
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(want) = want else {
            if let Some(Entry { place: Place::Lane(node), .. }) = state.entries.remove(tp) {
                state.tell(node, Change::Forget(tp.clone()));
            }
            return;
        };
        state.serial += 1;
        let serial = state.serial;
        let entry = state.entries.entry(tp.clone()).or_insert_with(|| Entry::new(&want));
        entry.serial = serial;
        if let Some(id) = want.topic_id {
            entry.topic_id = id;
        }
        entry.want = want;
        let place = entry.place;
        match place {
            Place::Routing => return,
            Place::Lane(node) if entry.stays_at(node, leader) => {
                let fetchable = entry.fetchable();
                state.tell(node, Change::Ready(tp.clone(), fetchable));
                return;
            }
            Place::Lane(node) => {
                entry.place = Place::Routing;
                entry.replica = None;
                state.tell(node, Change::Forget(tp.clone()));
            }
            Place::Nowhere => entry.place = Place::Routing,
        }
        state.errand(tp, Errand::Route, Instant::now());
        drop(guard);
        self.routing.notify_one();
    }

    /// Takes what is due; also when the next will be.
    pub(super) fn due(&self) -> (Vec<(Sought, Errand)>, Option<Instant>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(first) = state.errands.first_entry() {
            if first.key().0 > now {
                break;
            }
            let (tp, errand) = first.remove();
            if let Some(sought) = state.sought(&tp) {
                due.push((sought, errand));
            }
        }
        (due, state.errands.keys().next().map(|(at, _)| *at))
    }

    /// Gives a partition to the task of its leader, or of a replica near us. `None` when nobody seeks it any more; else
    /// the broker, and whether its task has to be started with this inbox.
    pub(super) fn place(&self, tp: &TopicPartition, leader: Leader) -> Option<(i32, Option<Arc<Inbox>>)> {
        let cached_id = self.cluster.cached_topic_id(&tp.topic);
        let mut guard = self.state();
        let state = &mut *guard;
        let entry = state.entries.get_mut(tp).filter(|entry| entry.place == Place::Routing)?;
        if entry.topic_id.is_nil() {
            entry.topic_id = cached_id.unwrap_or_default();
        } else if cached_id.is_some_and(|id| id != entry.topic_id) {
            state.errand(tp, Errand::Identify, Instant::now());
            self.routing.notify_one();
            return None;
        }
        let node = entry.replica.filter(|(_, until)| *until > Instant::now()).map_or(leader.node, |(node, _)| node);
        entry.replica = entry.replica.filter(|_| node != leader.node);
        entry.place = Place::Lane(node);
        entry.leader_epoch = leader.epoch;
        let fetchable = entry.fetchable();
        let mut fresh = None;
        state.inboxes.entry(node).or_insert_with(|| fresh.insert(Arc::new(Inbox::default())).clone());
        state.tell(node, Change::Ready(tp.clone(), fetchable));
        Some((node, fresh))
    }

    /// Hands a partition (back) to the router, at once or after its back-off; `replica`: to be read there from now on.
    /// False when it has been wanted anew, or forgotten, since `serial`.
    pub(super) fn seek(
        &self,
        tp: &TopicPartition,
        serial: u64,
        errand: Errand,
        wait: bool,
        replica: Option<i32>,
    ) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(entry) = state.entries.get_mut(tp).filter(|entry| entry.serial == serial) else { return false };
        entry.place = Place::Routing;
        let now = Instant::now();
        entry.replica = replica.map(|node| (node, now + self.cluster.config().metadata_max_age));
        entry.troubled |= wait;
        let due = if wait { now + entry.backoff.next_delay() } else { now };
        state.errand(tp, errand, due);
        drop(guard);
        self.routing.notify_one();
        true
    }

    /// The same for one that the router holds, whoever wants it now.
    pub(super) fn seek_again(&self, tp: &TopicPartition, errand: Errand) {
        let mut guard = self.state();
        let state = &mut *guard;
        if let Some(entry) = state.entries.get_mut(tp).filter(|entry| entry.place == Place::Routing) {
            entry.troubled = true;
            let due = Instant::now() + entry.backoff.next_delay();
            state.errand(tp, errand, due);
        }
    }

    /// The partition has used up its credit with a verdict. `lost`: where it is must be found out anew. False when it
    /// has been wanted anew since `serial`; the router then looks again.
    pub(super) fn rest(&self, tp: &TopicPartition, serial: u64, lost: bool) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(entry) = state.entries.get_mut(tp) else { return false };
        if entry.serial != serial {
            if entry.place == Place::Routing {
                state.errand(tp, Errand::Route, Instant::now());
            }
            return false;
        }
        entry.troubled = false;
        entry.backoff.reset();
        if lost {
            entry.place = Place::Nowhere;
            entry.replica = None;
            entry.topic_id = entry.want.topic_id.unwrap_or_default();
        }
        true
    }

    /// A fetch succeeded after trouble. True when that is news.
    pub(super) fn recovered(&self, tp: &TopicPartition) -> bool {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(tp) else { return false };
        entry.backoff.reset();
        std::mem::take(&mut entry.troubled)
    }

    pub(super) async fn trouble(&self, tp: &TopicPartition, generation: u64, kind: Trouble) {
        // Without a receiver the fetcher is about to be dropped.
        let _ = self.events.send(FetchEvent::Trouble { tp: tp.clone(), generation, kind }).await;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("cluster", &self.cluster)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl State {
    fn tell(&self, node: i32, change: Change) {
        if let Some(inbox) = self.inboxes.get(&node) {
            inbox.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
            inbox.wake.notify_one();
        }
    }

    fn errand(&mut self, tp: &TopicPartition, errand: Errand, due: Instant) {
        self.serial += 1;
        self.errands.insert((due, self.serial), (tp.clone(), errand));
    }

    fn sought(&self, tp: &TopicPartition) -> Option<Sought> {
        let entry = self.entries.get(tp).filter(|entry| entry.place == Place::Routing)?;
        Some(Sought {
            tp: tp.clone(),
            want: entry.want.clone(),
            serial: entry.serial,
            topic_id: entry.topic_id,
            attempts: entry.backoff.attempts(),
        })
    }
}

impl Entry {
    fn new(want: &Want) -> Entry {
        Entry {
            want: want.clone(),
            serial: 0,
            place: Place::Nowhere,
            leader_epoch: -1,
            topic_id: Uuid::nil(),
            replica: None,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            troubled: false,
        }
    }

    /// Whether the broker where the partition was last is still the one to ask.
    fn stays_at(&mut self, node: i32, leader: Option<Leader>) -> bool {
        match (self.replica, leader) {
            (Some((_, until)), _) => until > Instant::now(),
            (None, Some(leader)) if leader.node == node => {
                self.leader_epoch = leader.epoch;
                true
            }
            (None, Some(_)) => false,
            // Too old to be trusted, but the broker will say if it no longer leads.
            (None, None) => true,
        }
    }

    fn fetchable(&self) -> Fetchable {
        Fetchable {
            want: self.want.clone(),
            serial: self.serial,
            leader_epoch: self.leader_epoch,
            topic_id: self.topic_id,
            follower: self.replica.is_some(),
            troubled: self.troubled,
        }
    }
}

impl Inbox {
    pub(super) fn drain(&self) -> Vec<Change> {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
