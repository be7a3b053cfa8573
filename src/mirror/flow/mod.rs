//! One running connector: its discovery, its partitions, its life cycle.
//!
//! A [`Flow`] is one task. It finds the source topics, plans and applies what the remote topics need, begins partitions and
//! hands them to a lane, and looks after those that stop. Data never passes through it. Whoever owns the flow reads its
//! [`Flow::report`] and stops it; dropping it leaves what is in flight unacknowledged, which the next start finds out.
//!
//! Laws: one bad topic or partition leaves the others alone (law 7); a failure to list topics is never "no topics"
//! (law 8): what runs goes on with what was known.

mod begin;
mod discovery;
mod estimate;
mod report;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use estimate::{AtStake, estimate};
pub use report::{Health, PartitionState, Phase, Problem, Report};

pub use super::cells::Totals;
use super::cells::{FlowCell, PartitionCell};
use super::clients::Clients;
use super::config::FlowConfig;
use super::lanes::Lanes;
use crate::kafka::TopicPartition;
use crate::supervise::{self, Task};

/// A source partition that is to be copied, with what beginning needs to know.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) source: TopicPartition,
    pub(super) source_id: Option<uuid::Uuid>,
    pub(super) target: TopicPartition,
    pub(super) target_id: Option<String>,
    /// Which of the flow's identities it is written with.
    pub(super) rank: usize,
}

/// What a flow is to do, and with which clients.
#[derive(Debug, Clone)]
pub struct Order {
    /// The connector's configuration.
    pub config: FlowConfig,
    /// Its clients.
    pub clients: Clients,
}

/// The clusters that a flow's positions are of; `None`: not known yet, whoever answers is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Id of the source cluster.
    pub source: Option<String>,
    /// Id of the target cluster.
    pub target: Option<String>,
}

/// What flows of one process share.
#[derive(Debug, Clone)]
pub struct Context {
    /// Lanes to the destination.
    pub lanes: Arc<Lanes>,
    /// `group.id`: part of the transactional id under which the producer identity is taken.
    pub group: String,
    /// How many flows may start at once.
    pub starting: Arc<tokio::sync::Semaphore>,
}

/// How often a task that was aborted is looked at.
const ENDING: Duration = Duration::from_millis(5);

/// A running flow.
#[derive(Debug)]
pub struct Flow {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    task: Task<()>,
}

/// What a flow may be asked.
#[derive(Debug)]
enum Command {
    /// Other configuration that needs no restart.
    Update(Box<Order>),
    /// Await what is in flight, write progress, end.
    Stop(oneshot::Sender<()>),
}

/// What the flow's task and its readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cell: Arc<FlowCell>,
    pub(super) state: Mutex<State>,
}

/// The part of a flow that reports read.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) problems: BTreeMap<String, Problem>,
    pub(super) partitions: BTreeMap<TopicPartition, (Arc<str>, Arc<PartitionCell>)>,
    /// What was expected from outside, or was seen first.
    pub(super) expected: Expected,
    /// Who answers.
    pub(super) source_id: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) mode: String,
    pub(super) started_ms: i64,
    pub(super) retries: u32,
    pub(super) next_attempt_ms: Option<i64>,
    pub(super) lane: Option<super::lane::Lane>,
    pub(super) notes: Vec<String>,
}

/// Everything that a flow says about itself.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Health, problems and partitions.
    pub report: Report,
    /// Cluster ids once known.
    pub source_id: Option<String>,
    /// Cluster ids once known.
    pub target_id: Option<String>,
    /// `idempotent` or `plain`, with the reason.
    pub mode: String,
    /// Wall clock in ms when this run began.
    pub started_ms: i64,
    /// Failed attempts in a row.
    pub retries: u32,
    /// When the next attempt is due.
    pub next_attempt_ms: Option<i64>,
    /// What could not be decided, or was found to be twice, about tails of the target: the newest.
    pub notes: Vec<String>,
    /// Bytes per second over the last ten seconds.
    pub bytes_per_second: u64,
    /// Milliseconds of silence that the clusters asked for.
    pub throttled_ms: u64,
}

/// The transactional id through which a flow takes the producer identity of that rank, so that an older self is fenced.
#[must_use]
pub fn transactional_id(group: &str, connector: &str, rank: usize) -> String {
    match rank {
        0 => format!("mirrorkeeper-{group}-{connector}"),
        rank => format!("mirrorkeeper-{group}-{connector}-{rank}"),
    }
}

// === impl Flow ===

impl Flow {
    /// Starts a flow; with `paused` it looks and reports, and copies nothing. Nor does it while other clusters answer than
    /// are `expected`. It counts on from `totals`.
    #[must_use]
    pub fn start(order: Order, paused: bool, expected: Expected, totals: Arc<Totals>, context: Context) -> Self {
        let (commands, receiver) = mpsc::channel(8);
        let shared = Arc::new(Shared {
            cell: Arc::new(FlowCell::new(order.config.max_bytes_per_second, totals)),
            state: Mutex::new(State::new(expected)),
        });
        let name = format!("flow {}", order.config.name);
        let session = session::Session::new(order, paused, context, shared.clone());
        let task = supervise::spawn(name, session.run(receiver));
        Self { shared, commands, task }
    }

    /// Replaces the configuration without a restart; the caller knows that all changes are hot. False when it has to be said
    /// again later: too many are waiting already. A task that ended has nobody to tell; its end is seen by `ended`.
    #[must_use]
    pub fn update(&self, order: Order) -> bool {
        let limit = order.config.max_bytes_per_second;
        let told = match self.commands.try_send(Command::Update(Box::new(order))) {
            Err(mpsc::error::TrySendError::Full(_)) => false,
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
        };
        if told {
            self.shared.cell.set_limit(limit);
        }
        told
    }

    /// From now on these are the right clusters.
    pub fn expect(&self, expected: Expected) {
        self.shared.state().expected = expected;
        self.shared.cell.attention.notify_one();
    }

    /// Awaits what is in flight and writes progress, within `grace`; then its task has ended. Whether it did in time.
    pub async fn stop(&self, grace: Duration) -> bool {
        let stopping = async {
            let (reply, done) = oneshot::channel();
            // A task that is gone has stopped, too.
            if self.commands.send(Command::Stop(reply)).await.is_ok() {
                let _ = done.await;
            }
        };
        tokio::time::timeout(grace, stopping).await.is_ok()
    }

    /// Ends its task where it stands, and awaits that; what is in flight is left unacknowledged.
    pub async fn end(&self) {
        self.task.abort();
        let ended = async {
            while !self.task.is_finished() {
                tokio::time::sleep(ENDING).await;
            }
        };
        // A task ends at its next await, and none here computes for long.
        let _ = tokio::time::timeout(Duration::from_secs(1), ended).await;
    }

    /// Whether its task ended, which it never does by itself.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Everything it says about itself, as of now.
    #[must_use]
    pub fn snapshot(&self, stall_after: Duration) -> Snapshot {
        let state = self.shared.state();
        let views = state
            .partitions
            .iter()
            .map(|(tp, (remote, cell))| (tp.clone(), (remote.to_string(), cell.view())))
            .collect();
        let now_ms = super::wall_ms();
        let stall_after_ms = i64::try_from(stall_after.as_millis()).unwrap_or(i64::MAX);
        let problems: Vec<_> = state.problems.values().cloned().collect();
        let cell = &self.shared.cell;
        Snapshot {
            report: report::report(state.phase, &problems, views, now_ms, stall_after_ms),
            source_id: state.source_id.clone(),
            target_id: state.target_id.clone(),
            mode: state.mode.clone(),
            started_ms: state.started_ms,
            retries: state.retries,
            next_attempt_ms: state.next_attempt_ms,
            notes: state.notes.clone(),
            bytes_per_second: cell.bytes_per_second(),
            throttled_ms: state.lane.as_ref().map_or(0, super::lane::Lane::throttled_ms),
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Each change is whole, so a poisoned lock still guards a readable value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a problem of one area, keeping since when it lasts; `None` clears it.
    pub(super) fn problem(&self, area: &str, problem: Option<Problem>) {
        let mut state = self.state();
        match problem {
            None => {
                state.problems.remove(area);
            }
            Some(mut problem) => {
                if let Some(before) = state.problems.get(area)
                    && before.code == problem.code
                {
                    problem.since_ms = before.since_ms;
                }
                state.problems.insert(area.to_owned(), problem);
            }
        }
    }
}

impl State {
    fn new(expected: Expected) -> Self {
        Self {
            phase: Phase::Starting,
            problems: BTreeMap::new(),
            partitions: BTreeMap::new(),
            expected,
            source_id: None,
            target_id: None,
            mode: String::from("unknown"),
            started_ms: super::wall_ms(),
            retries: 0,
            next_attempt_ms: None,
            lane: None,
            notes: Vec::new(),
        }
    }
}
