//! A lane: one task that moves batches from one source cluster to the destination for every flow that shares it.
//!
//! Flows with equal cluster, security, isolation and rack share a lane, its connections and its fetch sessions. The lane
//! owns each partition's state machine ([`Partition`]) and is the only one that steps it, so no lock guards the data
//! path. It knows nothing of topics' discovery or configuration: a flow assigns partitions with a start and takes them
//! back.
//!
//! Laws: progress is written from acknowledged positions only (law 1); one partition's failure leaves the others alone
//! (law 7); queues, windows and memory are bounded (law 10). No task, timer or buffer per partition.

mod data;
mod flush;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use flush::poll_flush;

use super::cells::{FlowCell, PartitionCell, Trouble};
use super::config::Policy;
use super::meter::Times;
use super::partition::{self, Action, Event, Held, Partition, Remedy, Start, Stop};
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

/// How long a release awaits the acknowledgement of what is in flight before it settles for answers of any kind.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

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
    /// `mirrorkeeper.on.truncated`.
    pub on_truncated: Policy,
    /// `mirrorkeeper.on.recreated`.
    pub on_recreated: Policy,
    /// Whether a target that has less than it acknowledged is written on (`mirrorkeeper.on.recreated`, `on.truncated`).
    pub go_on_after_loss: bool,
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
    task: Arc<Task<()>>,
}

/// The lane is gone: its task ended.
#[derive(Debug, thiserror::Error)]
#[error("the lane ended; the flow starts anew")]
pub struct Gone;

struct Slot {
    assignment: Assignment,
    partition: Partition,
    end: Option<i64>,
}

struct Releasing {
    waiting: HashSet<TopicPartition>,
    /// From then on what fails is not sent again, and progress that can't be written is found out at the next start.
    give_up: Instant,
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
    /// Several source partitions may be written to one remote partition, so acknowledgements are told apart by the
    /// generation in their tags.
    by_generation: HashMap<u64, TopicPartition>,
    shaping: FuturesUnordered<Pin<Box<dyn Future<Output = Shaped> + Send>>>,
    restless: HashSet<TopicPartition>,
    tick_at: Option<Instant>,
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
            by_generation: HashMap::new(),
            shaping: FuturesUnordered::new(),
            restless: HashSet::new(),
            tick_at: None,
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
        Self { commands, throttled, task: Arc::new(task) }
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

    /// Stops copying. With `drain`, what is in flight is awaited and the final progress written before this returns; what
    /// the target does not take in ten seconds is given up once it has answered.
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

    /// Stops it where it is: nothing is produced any more.
    pub fn kill(&self) {
        self.task.abort();
    }

    /// Whether its task ended, which it does only when it is killed.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.task.is_finished()
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
            // Not left to the choice below: a busy lane would never get to it.
            if self.tick_at.is_some_and(|at| at <= Instant::now()) {
                self.tick();
            }
            let tick = self.next_tick();
            let flush_due = self.flush_due();
            if flush_due.is_some_and(|at| at <= Instant::now()) {
                self.start_flush();
            }
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
                () = sleep_until(flush_due), if flush_due.is_some() => {}
                event = chunks.recv() => {
                    let Some(event) = event else { return };
                    self.fetched(event);
                }
                () = sleep_until(tick), if tick.is_some() => {}
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Set once and kept until it comes, however much happens meanwhile.
    fn next_tick(&mut self) -> Option<Instant> {
        if self.tick_at.is_none() && !(self.restless.is_empty() && self.releasing.is_empty()) {
            self.tick_at = Some(Instant::now() + TICK);
        }
        self.tick_at
    }

    fn tick(&mut self) {
        self.tick_at = None;
        let now = Instant::now();
        let late = self.releasing.iter().filter(|release| release.give_up <= now);
        for source in late.flat_map(|release| release.waiting.iter().cloned()).collect::<Vec<_>>() {
            self.step(&source, Event::GiveUp);
        }
        for source in std::mem::take(&mut self.restless) {
            self.step(&source, Event::Tick);
        }
        self.finish_releases();
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
                let give_up = Instant::now() + DRAIN_WITHIN;
                self.releasing.push(Releasing { waiting, give_up, reply: Some(reply) });
                self.finish_releases();
            }
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        self.generation += 1;
        let source = assignment.source.clone();
        self.drop_slot(&source);
        let mut partition = Partition::new(&assignment.start, self.generation);
        partition.go_on_after_loss(assignment.go_on_after_loss);
        let now_ms = wall_ms();
        assignment.cell.update(|view| {
            view.stop = None;
            view.stopped_since_ms = None;
            view.source_trouble = None;
            view.at(assignment.start.next, None, now_ms);
        });
        self.by_generation.insert(self.generation, source.clone());
        let slot = Slot { assignment, partition, end: None };
        self.slots.insert(source.clone(), slot);
        let now = self.now();
        let actions = self.slots.get_mut(&source).map(|slot| slot.partition.begin(now)).unwrap_or_default();
        self.act(&source, actions);
    }

    fn drop_slot(&mut self, source: &TopicPartition) {
        if let Some(slot) = self.slots.remove(source) {
            self.by_generation.remove(&slot.partition.generation());
            self.fetcher.want(source, None);
        }
        self.dirty.remove(source);
        self.flushing.remove(source);
        self.restless.remove(source);
    }

    /// Replies to releases whose partitions are settled and written.
    fn finish_releases(&mut self) {
        let mut done = Vec::new();
        let now = Instant::now();
        for release in &mut self.releasing {
            let (slots, dirty, flushing) = (&self.slots, &self.dirty, &self.flushing);
            release.waiting.retain(|source| {
                let open = slots.get(source).is_some_and(|slot| !slot.partition.settled());
                let written = release.give_up <= now || !dirty.contains(source) && !flushing.contains(source);
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
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
