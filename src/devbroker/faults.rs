//! Fault injection: what a test can make go wrong, and where.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::TopicError;
use super::code;
use super::server;
use super::state::{Inner, State};

/// What an injected error is aimed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whatever the API is asked about.
    Any,
    /// One partition.
    Partition(String, i32),
    /// A topic (all its partitions), group, transactional id or resource of this name.
    Named(String),
}

/// When a connection is cut in the midst of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The request is not carried out.
    Before,
    /// The request is carried out and its answer is lost: the client can't know.
    After,
}

#[derive(Debug)]
struct Failure {
    api: i16,
    target: Target,
    code: i16,
    times: u32,
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    failures: Vec<Failure>,
    cuts: Vec<(i16, Cut, u32)>,
    hangs: Vec<(i16, u32)>,
    throttles: Vec<(i16, i32, u32)>,
    delays: BTreeMap<i16, Duration>,
    round_trip: Duration,
}

/// What the connection does with one request.
#[derive(Debug, Default)]
pub(crate) struct Disturbance {
    pub(crate) cut: Option<Cut>,
    pub(crate) hang: bool,
    pub(crate) delay: Duration,
    pub(crate) round_trip: Duration,
    pub(crate) throttle_ms: i32,
}

/// Disturbs a development cluster. APIs are named by their key (0 Produce, 1 Fetch, 3 Metadata, ...).
#[derive(Clone, Debug)]
pub struct Faults {
    inner: Arc<Inner>,
}

/// Takes one from a counter; whether there was one.
fn spend(times: &mut u32) -> bool {
    let had = *times > 0;
    *times = times.saturating_sub(1);
    had
}

impl Rules {
    /// The code to answer instead of doing what was asked, if one is planned.
    pub(crate) fn failure(&mut self, api: i16, name: &str, partition: Option<i32>) -> Option<i16> {
        let hits = |failure: &&mut Failure| {
            failure.api == api
                && match &failure.target {
                    Target::Any => true,
                    Target::Named(wanted) => wanted == name,
                    Target::Partition(topic, wanted) => topic == name && partition == Some(*wanted),
                }
        };
        let failure = self.failures.iter_mut().filter(|failure| failure.times > 0).find(hits)?;
        failure.times -= 1;
        let code = failure.code;
        self.failures.retain(|failure| failure.times > 0);
        Some(code)
    }

    pub(crate) fn disturb(&mut self, api: i16) -> Disturbance {
        let cut = self
            .cuts
            .iter_mut()
            .find(|(key, _, times)| *key == api && *times > 0)
            .and_then(|(_, cut, times)| spend(times).then_some(*cut));
        let hang = self.hangs.iter_mut().find(|(key, times)| *key == api && *times > 0);
        let hang = hang.is_some_and(|(_, times)| spend(times));
        let throttle = self.throttles.iter_mut().find(|(key, _, times)| *key == api && *times > 0);
        let throttle_ms = throttle.and_then(|(_, ms, times)| spend(times).then_some(*ms)).unwrap_or(0);
        let delay = self.delays.get(&api).copied().unwrap_or_default();
        Disturbance { cut, hang, delay, round_trip: self.round_trip, throttle_ms }
    }
}

impl Faults {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Answers the next `times` items of `api` that `target` names with `code`, and does nothing for them.
    pub fn fail(&self, api: i16, target: Target, code: i16, times: u32) {
        self.inner.rules().failures.push(Failure { api, target, code, times });
    }

    /// Closes all connections now, or those of one broker.
    pub fn cut_connections(&self, broker: Option<i32>) {
        self.inner.cuts.send_modify(|(count, whose)| {
            *count += 1;
            *whose = broker.unwrap_or(0);
        });
    }

    /// Closes the connection on each of the next `times` requests of `api`.
    pub fn cut(&self, api: i16, cut: Cut, times: u32) {
        self.inner.rules().cuts.push((api, cut, times));
    }

    /// Never answers the next `times` requests of `api`; the connection stays open and silent.
    pub fn hang(&self, api: i16, times: u32) {
        self.inner.rules().hangs.push((api, times));
    }

    /// Takes so long over each request of `api`, one after another on a connection; zero ends it.
    pub fn delay(&self, api: i16, delay: Duration) {
        self.inner.rules().delays.insert(api, delay);
    }

    /// Answers so much later, as a distant network does: requests in flight don't wait for one another.
    pub fn round_trip(&self, time: Duration) {
        self.inner.rules().round_trip = time;
    }

    /// Says `throttle_time_ms` in the next `times` answers of `api`.
    pub fn throttle(&self, api: i16, ms: i32, times: u32) {
        self.inner.rules().throttles.push((api, ms, times));
    }

    /// Ends all errors, cuts, hangs, delays and throttling; brokers and leaders stay as they are.
    pub fn clear(&self) {
        *self.inner.rules() = Rules::default();
    }

    /// Makes `broker` the leader of a partition, under a new epoch.
    ///
    /// # Errors
    /// [`TopicError`] with code 3 when there is no such partition or broker.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<(), TopicError> {
        self.on_partition(topic, partition, |state| {
            let known = state.broker(broker).is_some();
            let found = state.partition_mut(topic, partition).filter(|_| known)?;
            if !found.replicas.contains(&broker) {
                found.replicas.push(broker);
            }
            State::lead(found, broker);
            Some(())
        })
    }

    /// Leader of a partition, -1 when it has none, and the leader epoch.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        self.inner.lock().partition(topic, partition).map(|found| (found.leader, found.epoch))
    }

    /// Loses all records from `offset` on (rounded down to a batch) and begins a new epoch: an unclean election.
    ///
    /// # Errors
    /// [`TopicError`] with code 3 when there is no such partition.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> Result<(), TopicError> {
        self.on_partition(topic, partition, |state| {
            let found = state.partition_mut(topic, partition)?;
            found.log.truncate(offset);
            let leader = found.leader;
            State::lead(found, leader);
            Some(())
        })
    }

    /// Forgets the producers of a partition, as a week idle does (`producer.id.expiration.ms`).
    ///
    /// # Errors
    /// [`TopicError`] with code 3 when there is no such partition.
    pub fn forget_producers(&self, topic: &str, partition: i32) -> Result<(), TopicError> {
        self.on_partition(topic, partition, |state| {
            state.partition_mut(topic, partition)?.log.forget_producers();
            Some(())
        })
    }

    /// Stops a broker: its port refuses connections, its partitions go to other replicas or have no leader.
    pub fn stop_broker(&self, broker: i32) {
        let mut state = self.inner.lock();
        let Some(stopped) = state.brokers.iter_mut().find(|known| known.id == broker) else { return };
        stopped.alive = false;
        let listener = stopped.listener.take();
        let alive = state.alive();
        for partition in state.topics.values_mut().flat_map(|topic| topic.partitions.iter_mut()) {
            if partition.leader == broker {
                let next = partition.replicas.iter().find(|replica| alive.contains(replica)).copied();
                State::lead(partition, next.unwrap_or(-1));
            }
        }
        state.sessions.remove(&broker);
        drop(state);
        drop(listener);
        self.inner.logs_changed();
        self.inner.groups_changed();
    }

    /// Starts a stopped broker on the port it had; partitions without a leader come back to it.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub async fn start_broker(&self, broker: i32) -> io::Result<()> {
        let port = self.inner.lock().broker(broker).filter(|known| !known.alive).map(|known| known.port);
        let Some(port) = port else { return Ok(()) };
        server::listen(&self.inner, broker, port).await?;
        let mut state = self.inner.lock();
        for partition in state.topics.values_mut().flat_map(|topic| topic.partitions.iter_mut()) {
            if partition.leader < 0 && partition.replicas.contains(&broker) {
                State::lead(partition, broker);
            }
        }
        Ok(())
    }

    fn on_partition(
        &self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut State) -> Option<()>,
    ) -> Result<(), TopicError> {
        let done = change(&mut self.inner.lock());
        self.inner.logs_changed();
        let missing = || TopicError { topic: format!("{topic}-{partition}"), code: code::UNKNOWN_TOPIC_OR_PARTITION };
        done.ok_or_else(missing)
    }
}
