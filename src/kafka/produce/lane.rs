//! The task of one broker: batches in, requests out, up to five at a time, answers in their order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use indexmap::IndexMap;

use super::Outcome;
use super::message::{self, Answer, PartitionAnswer};
use super::state::{Inbox, Item, Shared};
use crate::kafka::{Connection, Error, ErrorCode, Leader, PendingResponse, Role, TopicPartition};

/// `max.in.flight.requests.per.connection`.
const IN_FLIGHT: usize = 5;

struct Lane {
    shared: Arc<Shared>,
    node: i32,
    inbox: Arc<Inbox>,
    /// Per partition in order of submission; partitions in order of service.
    queue: IndexMap<TopicPartition, VecDeque<Item>>,
    flights: VecDeque<Flight>,
    connection: Option<Connection>,
}

/// A request on the wire.
struct Flight {
    pending: PendingResponse,
    version: i16,
    items: Vec<(TopicPartition, Item)>,
}

/// Runs until dropped.
pub(super) async fn run(shared: Arc<Shared>, node: i32, inbox: Arc<Inbox>) {
    let (queue, flights) = (IndexMap::new(), VecDeque::new());
    let mut lane = Lane { shared, node, inbox, queue, flights, connection: None };
    loop {
        for (tp, item) in lane.inbox.drain() {
            lane.queue.entry(tp).or_default().push_back(item);
        }
        while !lane.queue.is_empty() && lane.flights.len() < IN_FLIGHT {
            match lane.connect().await {
                Ok(connection) => lane.send(&connection).await,
                // The connection is gone, but its requests still get their own answers: errors, and first.
                Err(_) if !lane.flights.is_empty() => break,
                Err(error) => lane.refuse(&error).await,
            }
        }
        let inbox = lane.inbox.clone();
        match lane.flights.front_mut() {
            None => inbox.wake.notified().await,
            Some(flight) => {
                tokio::select! {
                    biased;
                    body = &mut flight.pending => {
                        if let Some(flight) = lane.flights.pop_front() {
                            lane.answered(flight.version, flight.items, body).await;
                        }
                    }
                    // What arrives while five are out waits for an answer anyway.
                    () = inbox.wake.notified() => {}
                }
            }
        }
    }
}

impl Lane {
    /// The connection; another one only when nothing is in flight on the old one, so that order is kept.
    async fn connect(&mut self) -> Result<Connection, Error> {
        if let Some(connection) = &self.connection
            && (!connection.is_closed() || !self.flights.is_empty())
        {
            return Ok(connection.clone());
        }
        let connection = self.shared.cluster.broker(self.node, Role::Produce).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Packs and sends one request.
    async fn send(&mut self, connection: &Connection) {
        let settings = &self.shared.settings;
        let silence = connection.throttled_for();
        if !silence.is_zero() && self.flights.is_empty() {
            tokio::time::sleep(silence).await;
        }
        let (newest, addr) = (message::MAX_VERSION, connection.addr());
        let Some(version) = connection.version(message::API_KEY, message::MIN_VERSION, newest) else {
            let wanted = format!("{} to {newest}", message::MIN_VERSION);
            let error = Error::UnsupportedVersion { api: "Produce", addr: addr.to_owned(), wanted };
            return self.refuse(&error).await;
        };
        let items = pack(&mut self.queue, settings.max_request_bytes);
        let mut topics: Vec<(&str, Vec<(i32, &_)>)> = Vec::new();
        let mut at: HashMap<&str, usize> = HashMap::new();
        for (tp, item) in &items {
            let slot = *at.entry(&tp.topic).or_insert_with(|| {
                topics.push((&tp.topic, Vec::new()));
                topics.len() - 1
            });
            topics[slot].1.push((tp.partition, &item.batch));
        }
        let timeout_ms = i32::try_from(settings.timeout.as_millis()).unwrap_or(i32::MAX);
        let id = settings.transactional_id.as_deref();
        let body = message::encode(version, id, settings.acks, timeout_ms, &topics);
        let timeout = settings.timeout + self.shared.cluster.config().request_timeout;
        match connection.send(message::API_KEY, version, &settings.client_id, body, timeout) {
            Ok(pending) => self.flights.push_back(Flight { pending, version, items }),
            Err(error) => {
                // Behind what is in flight there is order to keep: it fails too, and its answers come first.
                while let Some(flight) = self.flights.pop_front() {
                    let body = flight.pending.await;
                    self.answered(flight.version, flight.items, body).await;
                }
                for (tp, item) in items {
                    self.fail(&tp, item, error.clone(), false).await;
                }
            }
        }
    }

    async fn answered(&mut self, version: i16, items: Vec<(TopicPartition, Item)>, body: Result<bytes::Bytes, Error>) {
        let addr = self.connection.as_ref().map(|connection| connection.addr().to_owned()).unwrap_or_default();
        let answer = body.and_then(|body| {
            message::decode(version, body).map_err(|malformed| {
                let message = format!("Produce v{version} can't be decoded: {malformed}");
                let cause = Error::Protocol { addr: addr.clone(), message };
                if let Some(connection) = &self.connection {
                    connection.close(&cause);
                }
                cause
            })
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                for (tp, item) in items {
                    self.fail(&tp, item, error.clone(), true).await;
                }
                return;
            }
        };
        if let Some(connection) = &self.connection {
            connection.note_throttle(answer.throttle_ms);
        }
        self.shared.throttled_ms.fetch_add(u64::try_from(answer.throttle_ms).unwrap_or(0), Ordering::Relaxed);
        let Answer { partitions, brokers, .. } = answer;
        for (node, host, port) in &brokers {
            self.shared.cluster.note_broker(*node, host, *port);
        }
        let answers: HashMap<(&[u8], i32), &PartitionAnswer> =
            partitions.iter().map(|partition| ((&partition.topic[..], partition.index), partition)).collect();
        for (tp, item) in items {
            match answers.get(&(tp.topic.as_bytes(), tp.partition)) {
                Some(partition) => self.partition(&tp, item, partition).await,
                None => {
                    let message = format!("the answer to Produce lacks {tp}");
                    self.fail(&tp, item, Error::Protocol { addr: addr.clone(), message }, true).await;
                }
            }
        }
    }

    async fn partition(&self, tp: &TopicPartition, item: Item, answer: &PartitionAnswer) {
        let code = ErrorCode(answer.error_code);
        let outcome = match code.0 {
            0 => Outcome::Written { base_offset: answer.base_offset, log_append_time: answer.log_append_time },
            46 => Outcome::Duplicate,
            _ => {
                let error = Error::broker("Produce", code, tp.to_string(), answer.message.clone());
                Outcome::Failed { error, code: Some(code), unknown: maybe_written(code) }
            }
        };
        let mut hurry = false;
        if code.invalidates_metadata() {
            let cluster = &self.shared.cluster;
            match answer.current_leader {
                Some((node, epoch)) if node != self.node => {
                    cluster.note_leader(tp, Leader { node, epoch });
                    hurry = cluster.cached_leader(tp).is_some_and(|leader| leader.node != self.node);
                }
                _ => cluster.invalidate(&tp.topic),
            }
        }
        self.shared.ack(tp, item, outcome, hurry).await;
    }

    /// There is no way to this broker: everything that waits for it fails unsent.
    async fn refuse(&mut self, error: &Error) {
        for (tp, items) in std::mem::take(&mut self.queue) {
            for item in items {
                self.fail(&tp, item, error.clone(), false).await;
            }
        }
    }

    async fn fail(&self, tp: &TopicPartition, item: Item, error: Error, unknown: bool) {
        self.shared.cluster.invalidate(&tp.topic);
        self.shared.ack(tp, item, Outcome::Failed { error, code: None, unknown }, false).await;
    }
}

/// Takes one batch per partition, oldest partitions first, up to `most` bytes but at least one batch. Partitions that
/// have more go behind the others.
fn pack(queue: &mut IndexMap<TopicPartition, VecDeque<Item>>, most: usize) -> Vec<(TopicPartition, Item)> {
    let mut items: Vec<(TopicPartition, Item)> = Vec::new();
    let mut bytes = 0;
    let mut rest: Vec<(TopicPartition, VecDeque<Item>)> = Vec::new();
    let mut visited = 0;
    for (tp, waiting) in queue.iter_mut() {
        let Some(next) = waiting.front() else { break };
        if !items.is_empty() && bytes + next.batch.len() > most {
            break;
        }
        visited += 1;
        bytes += next.batch.len();
        items.extend(waiting.pop_front().map(|item| (tp.clone(), item)));
    }
    for (tp, waiting) in queue.drain(..visited) {
        if !waiting.is_empty() {
            rest.push((tp, waiting));
        }
    }
    queue.extend(rest);
    items
}

/// Whether the batch may be in the log although this code came back: the broker gave up waiting for replicas, or lost
/// the partition while it waited.
fn maybe_written(code: ErrorCode) -> bool {
    matches!(code.0, -1 | 3 | 6 | 7 | 13 | 20 | 56)
}
