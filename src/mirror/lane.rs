//! A lane: one task that moves batches from one source cluster to the destination for every flow that shares it.
//!
//! Flows with equal cluster, security, isolation and rack share a lane, its connections and its fetch sessions. The lane
//! owns each partition's state machine ([`Partition`]) and is the only one that steps it, so no lock guards the data
//! path. It knows nothing of topics' discovery or configuration: a flow assigns partitions with a start and takes them
//! back.
//!
//! Laws: progress is written from acknowledged positions only (law 1); one partition's failure leaves the others alone
//! (law 7); queues, windows and memory are bounded (law 10). No task, timer or buffer per partition.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::cells::{FlowCell, PartitionCell, Trouble};
use super::config::Policy;
use super::partition::{Action, Event, Held, Partition, Remedy, Start, Stop};
use super::progress::{self, Progress};
use super::shape::{self, ShapeCounters, ShapePolicy};
use super::{describe, stops, wall_ms};
use crate::kafka::TopicPartition;
use crate::kafka::fetch::{Chunk, FetchEvent, Fetcher, Want};
use crate::kafka::produce::{Ack, Producer};
use crate::supervise::{self, Task};

/// How often changed positions are written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often retries, full queues and spent limits are looked at, while there are any.
const TICK: Duration = Duration::from_millis(20);

/// Acknowledgements handled before anything else gets a turn.
const ACKS_AT_ONCE: usize = 256;

/// Bytes that are rebuilt or merged in the lane itself; more goes to another thread.
const SHAPE_AT_ONCE: usize = 64 * 1024;

/// A rebuild decompresses, encodes and compresses at most one chunk: a minute is far beyond any honest one.
const SHAPE_DEADLINE: Duration = Duration::from_secs(60);

/// One partition given to a lane.
pub struct Assignment {
    /// The flow's counters.
    pub flow: Arc<FlowCell>,
    /// The partition's status.
    pub cell: Arc<PartitionCell>,
    /// Its key in the offsets topic.
    pub key: progress::Key,
    /// Source partition.
    pub source: TopicPartition,
    /// Topic id of the source topic, where the broker has ids.
    pub source_id: Option<uuid::Uuid>,
    /// Remote partition.
    pub target: TopicPartition,
    /// Topic id of the remote topic.
    pub target_id: Option<String>,
    /// Where and as whom it begins.
    pub start: Start,
    /// Target offset it begins at, as far as known.
    pub target_next: Option<i64>,
    /// What is done with batches.
    pub policy: Arc<ShapePolicy>,
    /// What to do when records were purged before they were copied.
    pub on_purged: Policy,
}

/// What a lane may be asked.
enum Command {
    Assign(Vec<Assignment>, oneshot::Sender<()>),
    Release { partitions: Vec<TopicPartition>, drain: bool, reply: oneshot::Sender<()> },
}

/// A handle to a running lane; the lane ends with its last handle.
#[derive(Clone)]
pub struct Lane {
    commands: mpsc::Sender<Command>,
    throttled: Arc<AtomicU64>,
    _task: Arc<Task<()>>,
}

/// The lane is gone: its task ended.
#[derive(Debug, thiserror::Error)]
#[error("the lane ended; the flow starts anew")]
pub struct Gone;

struct Slot {
    assignment: Assignment,
    partition: Partition,
    /// The first acknowledgement under this start was seen: nothing is left to skip.
    settled_start: bool,
    end: Option<i64>,
}

struct Releasing {
    waiting: HashSet<TopicPartition>,
    reply: Option<oneshot::Sender<()>>,
}

struct Shaped {
    source: TopicPartition,
    generation: u64,
    outcome: Result<(Vec<shape::Item>, u64, i64), supervise::Blocked>,
    epoch: i32,
    from: i64,
    counters: ShapeCounters,
    held: Held,
    bytes: usize,
}

type Flush = Pin<Box<dyn Future<Output = Result<(), progress::Error>> + Send>>;

struct Run {
    throttled: Arc<AtomicU64>,
    fetcher: Fetcher,
    producer: Producer,
    progress: Arc<Progress>,
    slots: HashMap<TopicPartition, Slot>,
    by_target: HashMap<TopicPartition, TopicPartition>,
    shaping: FuturesUnordered<Pin<Box<dyn Future<Output = Shaped> + Send>>>,
    postponed: Vec<(Instant, TopicPartition, Want)>,
    restless: HashSet<TopicPartition>,
    dirty: HashSet<TopicPartition>,
    flushing: HashSet<TopicPartition>,
    flush: Option<Flush>,
    flush_now: bool,
    flush_after: Instant,
    releasing: Vec<Releasing>,
    generation: u64,
    born: Instant,
}

// === impl Lane ===

impl Lane {
    /// Starts a lane over a running fetcher and producer.
    #[must_use]
    pub fn start(
        name: String,
        (fetcher, chunks): (Fetcher, mpsc::Receiver<FetchEvent>),
        (producer, acks): (Producer, mpsc::Receiver<Ack>),
        progress: Arc<Progress>,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(64);
        let throttled = Arc::new(AtomicU64::new(0));
        let run = Run {
            throttled: throttled.clone(),
            fetcher,
            producer,
            progress,
            slots: HashMap::new(),
            by_target: HashMap::new(),
            shaping: FuturesUnordered::new(),
            postponed: Vec::new(),
            restless: HashSet::new(),
            dirty: HashSet::new(),
            flushing: HashSet::new(),
            flush: None,
            flush_now: false,
            flush_after: Instant::now(),
            releasing: Vec::new(),
            generation: 0,
            born: Instant::now(),
        };
        let task = supervise::spawn(name, run.run(receiver, chunks, acks));
        Self { commands, throttled, _task: Arc::new(task) }
    }

    /// Begins copying; returns when the lane has taken them.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn assign(&self, assignments: Vec<Assignment>) -> Result<(), Gone> {
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Assign(assignments, reply)).await.map_err(|_| Gone)?;
        done.await.map_err(|_| Gone)
    }

    /// Stops copying. With `drain`, what is in flight is awaited and the final progress written before this returns;
    /// the caller bounds the wait and calls again without.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn release(&self, partitions: Vec<TopicPartition>, drain: bool) -> Result<(), Gone> {
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Release { partitions, drain, reply }).await.map_err(|_| Gone)?;
        done.await.map_err(|_| Gone)
    }

    /// Lets go of partitions at once, without waiting and without progress: their owner is gone.
    pub fn abandon(&self, partitions: Vec<TopicPartition>) {
        let (reply, _) = oneshot::channel();
        if self.commands.try_send(Command::Release { partitions, drain: false, reply }).is_err() {
            // The lane ended, or is so busy that 64 commands wait: what it still copies is counted at the next start.
            tracing::warn!("a lane could not be told to let go of partitions");
        }
    }

    /// Whether both are handles of one lane.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.commands.same_channel(&other.commands)
    }

    /// Milliseconds that the clusters asked this lane to stay silent, since it began.
    #[must_use]
    pub fn throttled_ms(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane")
    }
}

// === impl Run ===

impl Run {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut chunks: mpsc::Receiver<FetchEvent>,
        mut acks: mpsc::Receiver<Ack>,
    ) {
        loop {
            self.throttled.store(self.fetcher.throttled_ms() + self.producer.throttled_ms(), Ordering::Relaxed);
            let tick = self.next_tick();
            let flush_due = self.flush_due();
            // Acknowledgements first: they free memory and move positions. Each arm is cancel-safe; none awaits.
            tokio::select! {
                biased;
                ack = acks.recv() => {
                    let Some(ack) = ack else { return };
                    self.ack(ack);
                    for _ in 0..ACKS_AT_ONCE {
                        let Ok(ack) = acks.try_recv() else { break };
                        self.ack(ack);
                    }
                }
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(shaped) = self.shaping.next(), if !self.shaping.is_empty() => self.shaped(shaped),
                result = poll_flush(&mut self.flush), if self.flush.is_some() => self.flushed(result),
                () = sleep_until(flush_due), if flush_due.is_some() => self.start_flush(),
                event = chunks.recv() => {
                    let Some(event) = event else { return };
                    self.fetched(event);
                }
                () = sleep_until(tick), if tick.is_some() => self.tick(),
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn next_tick(&self) -> Option<Instant> {
        let postponed = self.postponed.iter().map(|(at, ..)| *at).min();
        let restless = (!self.restless.is_empty()).then(|| Instant::now() + TICK);
        match (postponed, restless) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn flush_due(&self) -> Option<Instant> {
        if self.flush.is_some() || self.dirty.is_empty() {
            return None;
        }
        Some(if self.flush_now { Instant::now() } else { self.flush_after })
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let mut i = 0;
        while i < self.postponed.len() {
            if self.postponed[i].0 <= now {
                let (_, source, want) = self.postponed.swap_remove(i);
                self.fetcher.want(&source, Some(want));
            } else {
                i += 1;
            }
        }
        for source in std::mem::take(&mut self.restless) {
            self.step(&source, Event::Tick);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Assign(assignments, reply) => {
                for assignment in assignments {
                    self.assign(assignment);
                }
                let _ = reply.send(());
            }
            Command::Release { partitions, drain, reply } => {
                let mut waiting = HashSet::new();
                for source in partitions {
                    if !self.slots.contains_key(&source) {
                        continue;
                    }
                    if drain {
                        self.fetcher.want(&source, None);
                        waiting.insert(source.clone());
                        self.step(&source, Event::Drain);
                    } else {
                        self.drop_slot(&source);
                    }
                }
                self.flush_now = true;
                self.releasing.push(Releasing { waiting, reply: Some(reply) });
                self.finish_releases();
            }
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        self.generation += 1;
        let source = assignment.source.clone();
        self.drop_slot(&source);
        let partition = Partition::new(&assignment.start, self.generation);
        let now_ms = wall_ms();
        assignment.cell.update(|view| {
            view.stop = None;
            view.stopped_since_ms = None;
            view.at(assignment.start.next, None, now_ms);
        });
        self.by_target.insert(assignment.target.clone(), source.clone());
        let slot = Slot { settled_start: assignment.start.skip == 0, assignment, partition, end: None };
        self.slots.insert(source.clone(), slot);
        let now = self.now();
        let actions = self.slots.get_mut(&source).map(|slot| slot.partition.begin(now)).unwrap_or_default();
        self.act(&source, actions);
    }

    fn drop_slot(&mut self, source: &TopicPartition) {
        if let Some(slot) = self.slots.remove(source) {
            self.by_target.remove(&slot.assignment.target);
            self.fetcher.want(source, None);
        }
        self.dirty.remove(source);
        self.flushing.remove(source);
        self.restless.remove(source);
        self.postponed.retain(|(_, tp, _)| tp != source);
    }

    /// Replies to releases whose partitions are settled and written.
    fn finish_releases(&mut self) {
        let mut done = Vec::new();
        for release in &mut self.releasing {
            let (slots, dirty, flushing) = (&self.slots, &self.dirty, &self.flushing);
            release.waiting.retain(|source| {
                let open = slots.get(source).is_some_and(|slot| !slot.partition.settled());
                let written = !dirty.contains(source) && !flushing.contains(source);
                if !open && written {
                    done.push(source.clone());
                    return false;
                }
                true
            });
            if release.waiting.is_empty()
                && let Some(reply) = release.reply.take()
            {
                let _ = reply.send(());
            }
        }
        self.releasing.retain(|release| release.reply.is_some());
        for source in done {
            self.drop_slot(&source);
        }
    }

    fn fetched(&mut self, event: FetchEvent) {
        match event {
            FetchEvent::Chunk(chunk) => self.chunk(chunk),
            FetchEvent::Trouble { tp, generation, kind } => {
                let Some(slot) = self.slots.get_mut(&tp) else { return };
                if generation != slot.partition.generation() {
                    return;
                }
                let position = slot.partition.position();
                match stops::of_fetch(kind, position, slot.assignment.on_purged) {
                    stops::Fetched::Retrying(trouble) => slot.assignment.cell.update(|view| {
                        let since_ms = view.source_trouble.as_ref().map_or_else(wall_ms, |t| t.since_ms);
                        view.source_trouble = Some(Trouble { since_ms, ..trouble });
                    }),
                    stops::Fetched::Recovered => slot.assignment.cell.update(|view| view.source_trouble = None),
                    stops::Fetched::Purged { log_start } => self.purged(&tp, log_start),
                    stops::Fetched::Stop(stop) => self.step(&tp, Event::Stop(stop)),
                }
            }
        }
    }

    /// Records were deleted at the source before they were copied, and the policy is to go on: it starts behind them.
    fn purged(&mut self, source: &TopicPartition, log_start: i64) {
        let Some(slot) = self.slots.get_mut(source) else { return };
        let stop = stops::purged(slot.partition.position(), log_start);
        // What was read before the purge may still be in flight, so the flow restarts it once that is settled, and counts
        // what was lost.
        self.step(source, Event::Stop(Stop { remedy: Remedy::Reread, ..stop }));
    }

    fn chunk(&mut self, chunk: Chunk) {
        let now_ms = wall_ms();
        let Some(slot) = self.slots.get_mut(&chunk.tp) else { return };
        if chunk.generation != slot.partition.generation() {
            return;
        }
        let end = if slot.assignment.policy.read_committed { chunk.last_stable_offset } else { chunk.high_watermark };
        slot.end = Some(end);
        let position = slot.partition.position();
        slot.assignment.cell.update(|view| {
            view.source_trouble = None;
            view.at(position, Some(end), now_ms);
        });
        if chunk.records.is_empty() {
            return;
        }
        let bytes = chunk.records.len();
        let Chunk { tp, generation, fetch_offset, records, aborted, permit, .. } = chunk;
        let held: Held = Arc::new(permit);
        let policy = slot.assignment.policy.clone();
        let skip = slot.partition.skip();
        let epoch = shape::last_epoch(&records);
        let cheap = skip == 0 && shape::bytes_to_rebuild(&records, fetch_offset, &policy) <= SHAPE_AT_ONCE;
        let work = move || {
            let mut counters = ShapeCounters::default();
            let (items, skip) = shape::shape(&records, fetch_offset, skip, &aborted, &policy, &mut counters);
            let next = shape::next_offset(&items).unwrap_or(fetch_offset);
            (items, skip, next, counters)
        };
        let from = fetch_offset;
        if cheap {
            let (items, skip, next, counters) = work();
            self.shaped(Shaped {
                source: tp,
                generation,
                outcome: Ok((items, skip, next)),
                epoch,
                from,
                counters,
                held,
                bytes,
            });
        } else {
            // Decompressing and compressing would hold up every other partition of the lane.
            self.shaping.push(Box::pin(async move {
                let result = supervise::blocking("shaping of a batch", SHAPE_DEADLINE, work).await;
                let (outcome, counters) = match result {
                    Ok((items, skip, next, counters)) => (Ok((items, skip, next)), counters),
                    Err(blocked) => (Err(blocked), ShapeCounters::default()),
                };
                Shaped { source: tp, generation, outcome, epoch, from, counters, held, bytes }
            }));
        }
    }

    fn shaped(&mut self, shaped: Shaped) {
        let Shaped { source, generation, outcome, epoch, from, counters, held, bytes } = shaped;
        let Some(slot) = self.slots.get_mut(&source) else { return };
        if generation != slot.partition.generation() {
            return;
        }
        slot.assignment.flow.shaped(counters.by_name());
        if let Some(wait) = slot.assignment.flow.spend(bytes) {
            // The limit is spent: what is here goes on, the next fetch waits.
            self.postponed.retain(|(_, tp, _)| *tp != source);
            slot.partition.hold_wants_until(self.born.elapsed().as_millis() as u64 + wait.as_millis() as u64);
        }
        let event = match outcome {
            Ok((items, skip, next)) => Event::Shaped { generation, items, next, epoch, skip, held },
            Err(blocked) => Event::Stop(stops::shaping(from, &blocked)),
        };
        self.step(&source, event);
    }

    fn ack(&mut self, ack: Ack) {
        let Some(source) = self.by_target.get(&ack.tp).cloned() else { return };
        self.step(&source, Event::Ack { tag: ack.tag, outcome: ack.outcome });
    }

    fn step(&mut self, source: &TopicPartition, event: Event) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(source) else { return };
        let actions = slot.partition.step(event, now);
        self.act(source, actions);
    }

    fn act(&mut self, source: &TopicPartition, actions: Vec<Action>) {
        let now_ms = wall_ms();
        let Some(slot) = self.slots.get_mut(source) else { return };
        let mut moved = false;
        for action in actions {
            match action {
                Action::Want { offset, epoch, generation } => {
                    let topic_id = slot.assignment.source_id;
                    self.fetcher.want(source, Some(Want { offset, last_epoch: epoch, topic_id, generation }));
                }
                Action::Send { tag } => {
                    let Some(sealed) = slot.partition.sealed(tag) else { continue };
                    // The partition keeps the chunk's bytes accounted for until the acknowledgement.
                    if self.producer.submit(&slot.assignment.target, sealed, tag, None).is_err() {
                        slot.partition.not_sent(tag);
                    }
                }
                Action::Moved { records, bytes, .. } => {
                    moved = true;
                    if records > 0 {
                        slot.settled_start = true;
                        slot.assignment.flow.acknowledged(records, bytes, now_ms);
                    }
                }
                Action::Stopped => {
                    self.fetcher.want(source, None);
                    slot.assignment.flow.attention.notify_one();
                    self.flush_now = true;
                }
            }
        }
        let partition = &slot.partition;
        slot.assignment.cell.update(|view| {
            view.at(partition.position(), slot.end, now_ms);
            view.oldest_held_ms = partition.oldest_held();
            if moved {
                view.last_ack_ms = Some(now_ms);
            }
            view.stop = partition.stopped().cloned();
            view.stopped_since_ms = view.stop.as_ref().map(|_| view.stopped_since_ms.unwrap_or(now_ms));
            view.target_trouble = partition.trouble().map(|message| Trouble {
                code: "TARGET-RETRY".to_owned(),
                message: message.to_owned(),
                hint: None,
                since_ms: view.target_trouble.as_ref().map_or(now_ms, |t| t.since_ms),
            });
        });
        if partition.needs_tick() {
            self.restless.insert(source.clone());
        }
        if moved && slot.settled_start {
            if self.dirty.is_empty() && self.flush.is_none() {
                self.flush_after = Instant::now() + FLUSH_EVERY;
            }
            self.dirty.insert(source.clone());
        }
        if !self.releasing.is_empty() {
            self.finish_releases();
        }
    }

    fn start_flush(&mut self) {
        self.flush_now = false;
        self.flushing = std::mem::take(&mut self.dirty);
        let positions = self.flushing.iter().filter_map(|source| self.slots.get(source)).map(Slot::progress).collect();
        let progress = self.progress.clone();
        self.flush = Some(Box::pin(async move { progress.put(positions).await }));
    }

    fn flushed(&mut self, result: Result<(), progress::Error>) {
        self.flush = None;
        self.flush_after = Instant::now() + FLUSH_EVERY;
        let flushed = std::mem::take(&mut self.flushing);
        match result {
            Ok(()) => {
                for source in &flushed {
                    if let Some(slot) = self.slots.get(source) {
                        slot.assignment.cell.update(|view| view.progress_trouble = None);
                    }
                }
            }
            Err(error) => {
                let message = describe(&error);
                for source in flushed {
                    if let Some(slot) = self.slots.get(&source) {
                        slot.assignment.cell.update(|view| {
                            let since_ms = view.progress_trouble.as_ref().map_or_else(wall_ms, |t| t.since_ms);
                            let code = "PROGRESS-WRITE".to_owned();
                            view.progress_trouble =
                                Some(Trouble { code, message: message.clone(), hint: None, since_ms });
                        });
                        self.dirty.insert(source);
                    }
                }
            }
        }
        self.finish_releases();
    }
}

// === impl Slot ===

impl Slot {
    fn progress(&self) -> (progress::Key, progress::Position) {
        let (a, p) = (&self.assignment, &self.partition);
        let beside = progress::Beside {
            format: progress::FORMAT,
            target: p.target_next().or(a.target_next),
            source_id: a.source_id.map(|id| id.to_string()),
            target_id: a.target_id.clone(),
            epoch: p.epoch(),
            producer: a.start.identity.id,
            producer_epoch: a.start.identity.epoch,
            sequence: p.sequence(),
            skip: 0,
        };
        (a.key.clone(), progress::Position { next: p.position(), beside: Some(beside) })
    }
}

async fn poll_flush(flush: &mut Option<Flush>) -> Result<(), progress::Error> {
    match flush {
        Some(flush) => flush.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
