//! What the tasks of a producer share: where each partition goes, and what waits for a leader.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::{Ack, Full, MAX_UNANSWERED, Outcome, ProduceSettings};
use crate::kafka::batch::Sealed;
use crate::kafka::fetch::Permit;
use crate::kafka::{Cluster, Leader, TopicPartition};
use crate::supervise::Backoff;

/// `retry.backoff.ms` and `retry.backoff.max.ms`.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) settings: ProduceSettings,
    pub(super) throttled_ms: AtomicU64,
    /// Wakes the router.
    pub(super) routing: Notify,
    acks: mpsc::Sender<Ack>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    routes: HashMap<TopicPartition, Route>,
    lanes: HashMap<i32, Arc<Inbox>>,
    /// Partitions whose batches wait for a leader, by due time; the number keeps them apart.
    errands: BTreeMap<(Instant, u64), TopicPartition>,
    serial: u64,
    unanswered: usize,
}

struct Route {
    place: Place,
    /// Taken and not answered, wherever they are.
    unanswered: usize,
    /// Waiting for a leader.
    parked: VecDeque<Item>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Routing,
    Lane(i32),
}

/// One batch on its way.
pub(super) struct Item {
    pub(super) batch: Sealed,
    pub(super) tag: u64,
    pub(super) _permit: Option<Permit>,
}

/// What waits for one broker's task.
#[derive(Default)]
pub(super) struct Inbox {
    items: Mutex<Vec<(TopicPartition, Item)>>,
    pub(super) wake: Notify,
}

impl Shared {
    pub(super) fn new(cluster: Cluster, settings: ProduceSettings, acks: mpsc::Sender<Ack>) -> Shared {
        let (throttled_ms, routing, state) = (AtomicU64::new(0), Notify::new(), Mutex::default());
        Shared { cluster, settings, throttled_ms, routing, acks, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed field by field without a panic between them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, tp: &TopicPartition, item: Item) -> Result<(), Full> {
        let leader = self.cluster.cached_leader(tp);
        let mut guard = self.state();
        let state = &mut *guard;
        if state.unanswered >= self.settings.max_batches {
            return Err(Full);
        }
        let route = match state.routes.get_mut(tp) {
            Some(route) => route,
            None => state.routes.entry(tp.clone()).or_insert_with(Route::new),
        };
        if route.unanswered >= MAX_UNANSWERED {
            return Err(Full);
        }
        state.unanswered += 1;
        let idle = route.unanswered == 0;
        route.unanswered += 1;
        let now = Instant::now();
        let due = route.not_before.filter(|at| *at > now);
        // Only a partition with nothing unanswered may go to another broker, or it would overtake itself.
        if idle && route.place != Place::Routing {
            route.place = match leader {
                Some(leader) if due.is_none() && state.lanes.contains_key(&leader.node) => Place::Lane(leader.node),
                _ => Place::Nowhere,
            };
        }
        match route.place {
            Place::Lane(node) => {
                if let Some(lane) = state.lanes.get(&node) {
                    lane.push(tp.clone(), item);
                }
            }
            Place::Routing => route.parked.push_back(item),
            Place::Nowhere => {
                route.place = Place::Routing;
                route.parked.push_back(item);
                state.errand(tp, due.unwrap_or(now));
                drop(guard);
                self.routing.notify_one();
            }
        }
        Ok(())
    }

    /// Takes the partitions whose leader is to be found now; also when the next is due.
    pub(super) fn due(&self) -> (Vec<TopicPartition>, Option<Instant>) {
        let mut state = self.state();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(first) = state.errands.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        (due, state.errands.keys().next().map(|(at, _)| *at))
    }

    /// Sends what waits for a leader to its task; the inbox when that has to be started first.
    pub(super) fn place(&self, tp: &TopicPartition, leader: Leader) -> Option<Arc<Inbox>> {
        let mut guard = self.state();
        let state = &mut *guard;
        let route = state.routes.get_mut(tp).filter(|route| route.place == Place::Routing)?;
        route.place = Place::Lane(leader.node);
        let mut fresh = None;
        let lane = state.lanes.entry(leader.node).or_insert_with(|| fresh.insert(Arc::new(Inbox::default())).clone());
        for item in route.parked.drain(..) {
            lane.push(tp.clone(), item);
        }
        fresh
    }

    /// No leader was found: takes back what waits.
    pub(super) fn give_up(&self, tp: &TopicPartition) -> Vec<Item> {
        let mut state = self.state();
        let Some(route) = state.routes.get_mut(tp) else { return Vec::new() };
        route.place = Place::Nowhere;
        route.parked.drain(..).collect()
    }

    /// Tells what became of a batch; its memory is released. `hurry`: a newer leader has just been named, so the first
    /// retry need not wait.
    pub(super) async fn ack(&self, tp: &TopicPartition, item: Item, outcome: Outcome, hurry: bool) {
        let tag = item.tag;
        drop(item);
        {
            let mut state = self.state();
            state.unanswered = state.unanswered.saturating_sub(1);
            if let Some(route) = state.routes.get_mut(tp) {
                route.unanswered = route.unanswered.saturating_sub(1);
                match &outcome {
                    Outcome::Failed { error, code, .. } if code.is_none() || error.retriable() => {
                        // One wait for all that failed together.
                        let now = Instant::now();
                        if route.not_before.is_none_or(|at| at <= now) {
                            let delay = route.backoff.next_delay();
                            route.not_before = (!hurry || route.backoff.attempts() > 1).then(|| now + delay);
                        }
                    }
                    Outcome::Failed { .. } => {}
                    Outcome::Written { .. } | Outcome::Duplicate => {
                        route.backoff.reset();
                        route.not_before = None;
                    }
                }
            }
        }
        // Without a receiver the producer is about to be dropped.
        let _ = self.acks.send(Ack { tp: tp.clone(), tag, outcome }).await;
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
    fn errand(&mut self, tp: &TopicPartition, due: Instant) {
        self.serial += 1;
        self.errands.insert((due, self.serial), tp.clone());
    }
}

impl Route {
    fn new() -> Route {
        Route {
            place: Place::Nowhere,
            unanswered: 0,
            parked: VecDeque::new(),
            backoff: Backoff::new(RETRY.0, RETRY.1),
            not_before: None,
        }
    }
}

impl Inbox {
    fn push(&self, tp: TopicPartition, item: Item) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push((tp, item));
        self.wake.notify_one();
    }

    pub(super) fn drain(&self) -> Vec<(TopicPartition, Item)> {
        std::mem::take(&mut self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
