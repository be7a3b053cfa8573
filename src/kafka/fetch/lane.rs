//! The task of one broker: one fetch session, one request in flight.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::time::Instant;
use uuid::Uuid;

use super::message::{self, Answer, Ask, PartitionAnswer, TopicRef};
use super::state::{Change, Errand, Fetchable, Inbox, Shared};
use super::{Chunk, FetchEvent, Isolation, Permit, Trouble};
use crate::kafka::session::{PartitionFetch, Session};
use crate::kafka::{Error, ErrorCode, Leader, Role, TopicPartition};

/// How long a partition that has just had records may take to be wanted again before the next request goes without it.
const LINGER: Duration = Duration::from_millis(1);
/// The broker's wait while such a partition has not come back; doubled with every empty answer.
const SHORT_WAIT: Duration = Duration::from_millis(10);
/// The least that is reserved for a request.
const LEAST: usize = 64 << 10;
/// What is reserved where the last answer had little.
const SMALL: usize = 256 << 10;
/// What the first answer is expected to bring.
const FIRST: usize = 1 << 20;
/// A record set smaller than this part of its frame is copied, so that it does not keep the whole frame in memory.
const COPY_BELOW: usize = 4;

struct Lane {
    shared: Arc<Shared>,
    node: i32,
    inbox: Arc<Inbox>,
    session: Session,
    ready: IndexMap<TopicPartition, Ready>,
    /// Had records and was not wanted again yet.
    away: HashSet<TopicPartition>,
    /// What was last told of a partition: high watermark and log start.
    marks: HashMap<TopicPartition, (i64, i64)>,
    names: HashMap<Uuid, Arc<str>>,
    /// Requests built so far.
    round: u64,
    wait: Duration,
    /// Bytes that the next answer may bring, going by the last ones.
    expected: usize,
    refused_sessions: u32,
}

struct Ready {
    fetchable: Fetchable,
    /// First request that can be about this want.
    since: u64,
}

/// Runs until dropped.
pub(super) async fn run(shared: Arc<Shared>, node: i32, inbox: Arc<Inbox>) {
    let mut lane = Lane {
        shared,
        node,
        inbox,
        session: Session::new(),
        ready: IndexMap::new(),
        away: HashSet::new(),
        marks: HashMap::new(),
        names: HashMap::new(),
        round: 0,
        wait: SHORT_WAIT,
        expected: FIRST,
        refused_sessions: 0,
    };
    loop {
        lane.drain();
        if lane.ready.is_empty() {
            lane.inbox.wake.notified().await;
        } else if let Err(error) = lane.request().await {
            lane.fail(error).await;
        } else {
            lane.linger().await;
        }
    }
}

impl Lane {
    fn drain(&mut self) {
        for change in self.inbox.drain() {
            match change {
                Change::Ready(tp, fetchable) => {
                    self.away.remove(&tp);
                    if !fetchable.topic_id.is_nil() {
                        self.names.entry(fetchable.topic_id).or_insert_with(|| tp.topic.clone());
                    }
                    let fetch = PartitionFetch {
                        topic_id: fetchable.topic_id,
                        offset: fetchable.want.offset,
                        leader_epoch: fetchable.leader_epoch,
                        last_epoch: fetchable.want.last_epoch,
                        max_bytes: self.shared.settings.partition_max_bytes,
                    };
                    self.session.set(&tp, Some(fetch));
                    self.ready.insert(tp, Ready { fetchable, since: self.round + 1 });
                }
                Change::Forget(tp) => {
                    self.remove(&tp);
                    self.away.remove(&tp);
                    self.marks.remove(&tp);
                }
            }
        }
    }

    fn remove(&mut self, tp: &TopicPartition) -> Option<Fetchable> {
        self.session.set(tp, None);
        self.ready.swap_remove(tp).map(|ready| ready.fetchable)
    }

    /// Gives partitions that have just had records a moment to be wanted again.
    async fn linger(&mut self) {
        let until = Instant::now() + LINGER;
        loop {
            self.drain();
            if self.away.is_empty() || self.ready.is_empty() {
                return;
            }
            if tokio::time::timeout_at(until, self.inbox.wake.notified()).await.is_err() {
                return;
            }
        }
    }

    async fn request(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let settings = &shared.settings;
        let role = match settings.isolation {
            Isolation::ReadUncommitted => Role::Fetch,
            Isolation::ReadCommitted => Role::FetchCommitted,
        };
        let connection = shared.cluster.broker(self.node, role).await?;
        let silence = connection.throttled_for();
        if !silence.is_zero() {
            tokio::time::sleep(silence).await;
        }
        let most = self.expected.saturating_mul(2).clamp(SMALL, settings.max_bytes.max(SMALL));
        let most = most.min(settings.budget.capacity() / 2).max(1);
        let permit = settings.budget.reserve(LEAST.min(most), most).await;
        self.drain();
        if self.ready.is_empty() {
            return Ok(());
        }
        let newest = if self.session.all_have_ids() { message::MAX_VERSION } else { message::MAX_BY_NAME };
        let version = connection.version(message::API_KEY, message::MIN_VERSION, newest).ok_or_else(|| {
            let (addr, wanted) = (connection.addr().to_owned(), format!("{} to {newest}", message::MIN_VERSION));
            Error::UnsupportedVersion { api: "Fetch", addr, wanted }
        })?;
        let delta = if version >= message::SESSIONS {
            self.session.next(version > message::MAX_BY_NAME)
        } else {
            self.session.sessionless()
        };
        let wait = if self.away.is_empty() { settings.max_wait } else { self.wait.min(settings.max_wait) };
        let ask = Ask {
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: settings.min_bytes,
            max_bytes: i32::try_from(permit.bytes()).unwrap_or(i32::MAX),
            isolation: settings.isolation,
            rack: settings.rack.as_deref().unwrap_or_default(),
        };
        let body = message::encode(version, ask, &delta);
        self.round += 1;
        let timeout = shared.cluster.config().request_timeout + wait;
        let body = connection.send(message::API_KEY, version, &settings.client_id, vec![body], timeout)?.await?;
        let answer = message::decode(version, body).map_err(|malformed| {
            let cause = Error::Protocol {
                addr: connection.addr().to_owned(),
                message: format!("Fetch v{version} can't be decoded: {malformed}"),
            };
            connection.close(&cause);
            cause
        })?;
        shared.throttled_ms.fetch_add(u64::try_from(answer.throttle_ms).unwrap_or(0), Ordering::Relaxed);
        self.answered(answer, permit).await
    }

    async fn answered(&mut self, answer: Answer, mut permit: Permit) -> Result<(), Error> {
        match answer.error_code {
            0 => self.refused_sessions = 0,
            // FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR, and by some
            // brokers INCONSISTENT_TOPIC_ID: a new session, which a broker never refuses for long.
            70 | 71 | 103 | 106 if self.refused_sessions < 3 => {
                self.refused_sessions += 1;
                self.session.reset();
                return Ok(());
            }
            code => return Err(Error::broker("Fetch", ErrorCode(code), format!("broker {}", self.node), None)),
        }
        self.session.accepted(answer.session_id);
        let records = || answer.topics.iter().flat_map(|topic| topic.partitions.iter());
        let total: usize = records().map(|partition| partition.records.len()).sum();
        self.expected = total.max(self.expected / 2);
        self.wait = if total > 0 { SHORT_WAIT } else { self.wait.saturating_mul(2) };
        permit.shrink_to(total.min(permit.bytes()));
        self.drain();
        for topic in answer.topics {
            let Some(name) = self.name(&topic.topic) else { continue };
            for partition in topic.partitions {
                let tp = TopicPartition { topic: name.clone(), partition: partition.index };
                // Replaced or forgotten meanwhile: nobody waits for this.
                if self.ready.get(&tp).is_some_and(|ready| ready.since <= self.round) {
                    self.partition(tp, partition, total, &mut permit).await;
                }
            }
        }
        Ok(())
    }

    fn name(&self, topic: &TopicRef) -> Option<Arc<str>> {
        match topic {
            TopicRef::Id(id) => self.names.get(id).cloned(),
            TopicRef::Name(name) => std::str::from_utf8(name).ok().map(Arc::from),
        }
    }

    async fn partition(&mut self, tp: TopicPartition, answer: PartitionAnswer, total: usize, permit: &mut Permit) {
        let code = ErrorCode(answer.error_code);
        let Some(fetchable) = self.ready.get(&tp).map(|ready| ready.fetchable.clone()) else { return };
        let generation = fetchable.want.generation;
        if !code.is_none() {
            return self.refused(tp, &fetchable, code, answer.current_leader).await;
        }
        if let Some((epoch, end_offset)) = answer.diverging_epoch {
            self.verdict(&tp, &fetchable, Trouble::Truncated { epoch, end_offset }).await;
            return;
        }
        if answer.preferred_read_replica >= 0 && answer.preferred_read_replica != self.node {
            self.hand_over(&tp, &fetchable, Errand::Route, false, Some(answer.preferred_read_replica));
            return;
        }
        if fetchable.troubled {
            if let Some(ready) = self.ready.get_mut(&tp) {
                ready.fetchable.troubled = false;
            }
            if self.shared.recovered(&tp) {
                self.shared.trouble(&tp, generation, Trouble::Recovered).await;
            }
        }
        let marks = (answer.high_watermark, answer.log_start);
        let news = self.marks.insert(tp.clone(), marks) != Some(marks);
        if answer.records.is_empty() && !news {
            return;
        }
        let size = answer.records.len();
        if size > 0 {
            self.remove(&tp);
            self.away.insert(tp.clone());
        }
        let records = if size > 0 && size < total / COPY_BELOW {
            Bytes::copy_from_slice(&answer.records)
        } else {
            answer.records
        };
        let chunk = Chunk {
            tp,
            generation,
            fetch_offset: fetchable.want.offset,
            records,
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.last_stable_offset,
            log_start: answer.log_start,
            aborted: answer.aborted,
            permit: permit.split(size),
        };
        // Without a receiver the fetcher is about to be dropped.
        let _ = self.shared.events.send(FetchEvent::Chunk(chunk)).await;
    }

    async fn refused(
        &mut self,
        tp: TopicPartition,
        fetchable: &Fetchable,
        code: ErrorCode,
        leader: Option<(i32, i32)>,
    ) {
        let error = || Error::broker("Fetch", code, tp.to_string(), None);
        let errand = match code.0 {
            1 if fetchable.follower => Errand::Route,
            1 => Errand::Confirm,
            100 | 103 => Errand::Identify,
            29 => return self.verdict(&tp, fetchable, Trouble::Unauthorized).await,
            _ if code.retriable() || code.0 == -1 => Errand::Route,
            _ => return self.verdict(&tp, fetchable, Trouble::Fatal(error())).await,
        };
        // What is only to be confirmed is no trouble yet, and a newer leader that was named needs no wait.
        let mut wait = code.0 != 1 && !fetchable.follower;
        if code.invalidates_metadata() && !fetchable.follower {
            let known = self.shared.cluster.cached_leader(&tp);
            if let Some((node, epoch)) = leader {
                self.shared.cluster.note_leader(&tp, Leader { node, epoch });
            }
            let now = self.shared.cluster.cached_leader(&tp);
            if now.is_some_and(|now| now.epoch > fetchable.leader_epoch)
                && (now != known || now.is_some_and(|n| n.node != self.node))
            {
                wait = false;
            } else {
                self.shared.cluster.invalidate(&tp.topic);
            }
        }
        if self.hand_over(&tp, fetchable, errand, wait, None) && wait {
            self.shared.trouble(&tp, fetchable.want.generation, Trouble::Retriable(error())).await;
        }
    }

    /// False when the partition has been wanted anew: then it stays, and the next answer decides.
    fn hand_over(
        &mut self,
        tp: &TopicPartition,
        fetchable: &Fetchable,
        errand: Errand,
        wait: bool,
        replica: Option<i32>,
    ) -> bool {
        self.remove(tp);
        self.shared.seek(tp, fetchable.serial, errand, wait, replica)
    }

    async fn verdict(&mut self, tp: &TopicPartition, fetchable: &Fetchable, kind: Trouble) {
        self.remove(tp);
        if self.shared.rest(tp, fetchable.serial, false) {
            self.shared.trouble(tp, fetchable.want.generation, kind).await;
        }
    }

    /// The request as a whole failed: every partition goes back to the router, which asks anew who leads it.
    async fn fail(&mut self, error: Error) {
        self.drain();
        self.session.clear();
        let ready: Vec<_> = self.ready.drain(..).collect();
        for topic in ready.iter().map(|(tp, _)| &tp.topic).collect::<HashSet<_>>() {
            self.shared.cluster.invalidate(topic);
        }
        for (tp, Ready { fetchable, .. }) in ready {
            let generation = fetchable.want.generation;
            if error.retriable() {
                if self.shared.seek(&tp, fetchable.serial, Errand::Route, true, None) {
                    self.shared.trouble(&tp, generation, Trouble::Retriable(error.clone())).await;
                }
            } else if self.shared.rest(&tp, fetchable.serial, false) {
                self.shared.trouble(&tp, generation, Trouble::Fatal(error.clone())).await;
            }
        }
    }
}
