//! The flow's task: discover, begin, look after, end.

mod connect;
mod partitions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::begin::{self, Begun};
use super::discovery::{self, Discovered};
use super::{Clients, Command, Context, Expected, FlowConfig, Order, Phase, Problem, Shared, Wanted, transactional_id};
use crate::kafka::admin::offsets::{OffsetSpec, list_offsets};
use crate::kafka::admin::producers::ProducerIdentity;
use crate::kafka::admin::producers::init_producer_id;
use crate::kafka::properties::cluster_config;
use crate::kafka::{self, Cluster, TopicPartition};
use crate::mirror::cells::PartitionCell;
use crate::mirror::config::Policy;
use crate::mirror::lane::{Assignment, Lane};
use crate::mirror::partition::Remedy;
use crate::mirror::start::{Reset, Rules};
use crate::mirror::{describe, wall_ms};
use crate::supervise::Backoff;

/// How often what is not being fetched (paused or stopped partitions) is asked for its end, so that lag stays true.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Waits between attempts to connect and discover.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Waits before a stopped partition is begun again, by whether a person has to act.
const REREAD: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
const PERSON: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(300));

/// Topics that seem to have changed are looked for again this soon.
const REDISCOVER_AFTER: Duration = Duration::from_secs(1);

/// What could not be decided about tails: the newest of it, for the log and for status.
const NOTES: usize = 20;

/// How long the answer of the cluster that a file names as its target is waited for.
const DESTINATION_WITHIN: Duration = Duration::from_secs(5);

/// Not for ever, so that deadlines can be computed: longer than any process lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A new remote topic is known to all brokers within moments.
const AWAITED: Duration = Duration::from_millis(500);

/// Partitions begun in one go: bounds the size of requests and of the identity records written at once.
const BEGIN_AT_ONCE: usize = 200;

/// The flow's task.
pub(super) struct Session {
    config: FlowConfig,
    clients: Clients,
    paused: bool,
    context: Context,
    shared: Arc<Shared>,
    source: Cluster,
    /// By rank: source topics that are merged into one remote topic write with an identity each, as sequences belong to
    /// one source partition.
    identities: Vec<ProducerIdentity>,
    /// By remote and source topic.
    ranks: HashMap<(Arc<str>, Arc<str>), usize>,
    /// What a lane copies for us; almost always one lane for all.
    assigned: BTreeMap<TopicPartition, Lane>,
    known: BTreeMap<TopicPartition, Wanted>,
    discovered: Option<Discovered>,
    synced: Option<Instant>,
    again: HashMap<TopicPartition, (Instant, Backoff)>,
    fenced: bool,
    restarts: Backoff,
    restart_at: Instant,
    /// Something says that topics are not what they were: look before the refresh is due.
    rediscover: bool,
    destination_checked: bool,
    /// Both clusters are who they should be.
    verified: bool,
}

/// A flow can't go on as it is.
pub(super) struct Trouble {
    pub(super) area: &'static str,
    pub(super) problem: Problem,
}

impl Session {
    pub(super) fn new(order: Order, paused: bool, context: Context, shared: Arc<Shared>) -> Self {
        let source = context.lanes.source(&order.clients.source);
        // `enabled=false` is MirrorMaker's own way to say: look, and copy nothing.
        let paused = paused || !order.config.enabled;
        Self {
            config: order.config,
            clients: order.clients,
            paused,
            context,
            shared,
            source,
            identities: Vec::new(),
            ranks: HashMap::new(),
            assigned: BTreeMap::new(),
            known: BTreeMap::new(),
            discovered: None,
            synced: None,
            again: HashMap::new(),
            fenced: false,
            restarts: Backoff::new(REREAD.0, REREAD.1),
            restart_at: Instant::now(),
            rediscover: false,
            destination_checked: false,
            verified: false,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut wake = Instant::now();
        loop {
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Update(order)) => {
                        self.take_over(*order);
                        wake = Instant::now();
                    }
                    Some(Command::Stop(reply)) => return self.stop(reply).await,
                    None => return,
                },
                () = shared.cell.attention.notified() => wake = wake.min(Instant::now() + Duration::from_millis(50)),
                () = tokio::time::sleep_until(wake.into()) => {
                    // A command that comes meanwhile waits for the round to end; each step of a round has a deadline.
                    let round = self.round(&mut commands).await;
                    let wait = match round {
                        Ok(Some(reply)) => return self.stop(reply).await,
                        Ok(None) => {
                            backoff.reset();
                            self.next_round()
                        }
                        Err(trouble) => {
                            let wait = backoff.next_delay();
                            tracing::warn!(connector = %self.config.name, code = %trouble.problem.code, "{}", trouble.problem.message);
                            self.shared.problem(trouble.area, Some(trouble.problem));
                            wait
                        }
                    };
                    let mut state = self.shared.state();
                    state.retries = backoff.attempts();
                    let due = wall_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                    state.next_attempt_ms = (backoff.attempts() > 0).then_some(due);
                    wake = Instant::now() + wait;
                }
            }
        }
    }

    /// One round, unless a stop comes first: a source that does not answer must not hold up the end.
    async fn round(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<Option<oneshot::Sender<()>>, Trouble> {
        let mut update = None;
        let outcome = {
            let step = self.step();
            tokio::pin!(step);
            loop {
                tokio::select! {
                    outcome = &mut step => break outcome,
                    command = commands.recv() => match command {
                        Some(Command::Stop(reply)) => return Ok(Some(reply)),
                        Some(Command::Update(order)) => update = Some(order),
                        None => std::future::pending().await,
                    },
                }
            }
        };
        if let Some(order) = update {
            self.take_over(*order);
        }
        outcome.map(|()| None)
    }

    /// Hot changes: topics are looked for again at once under the new configuration.
    fn take_over(&mut self, order: Order) {
        self.config = order.config;
        self.clients = order.clients;
        self.discovered = None;
    }

    /// How often topics are looked for; a very long time where it is switched off.
    fn refresh_every(&self) -> Duration {
        self.config.refresh_topics.unwrap_or(NEVER)
    }

    /// When topics are looked for again: soon, while a remote partition is awaited.
    fn refresh_after(&self, discovered: &Discovered) -> Duration {
        let every = self.refresh_every();
        if discovered.pending.is_empty() { every } else { every.min(AWAITED) }
    }

    /// When something is due next.
    fn next_round(&self) -> Duration {
        let now = Instant::now();
        let again = self.again.values().map(|(at, _)| at.saturating_duration_since(now)).min();
        let refresh = self
            .discovered
            .as_ref()
            .map_or(Duration::ZERO, |d| (d.at + self.refresh_after(d)).saturating_duration_since(now));
        let restart = self.fenced.then(|| self.restart_at.saturating_duration_since(now));
        let rediscover = self.rediscover.then_some(REDISCOVER_AFTER);
        again
            .into_iter()
            .chain(restart)
            .chain(rediscover)
            .chain([refresh, LOOK_EVERY])
            .min()
            .unwrap_or(LOOK_EVERY)
            .max(Duration::from_millis(20))
    }

    /// Everything that is due: connect, refresh topics, begin what is new or due again, look at what stands still.
    async fn step(&mut self) -> Result<(), Trouble> {
        self.let_go_of_dead_lanes();
        if self.fenced && self.restart_at <= Instant::now() {
            // Another writer bumped our epoch: everything is released and begun again under a new identity.
            self.restart().await;
        }
        self.connect().await?;
        let age = self.discovered.as_ref().map(|d| (d.at.elapsed(), self.refresh_after(d)));
        let due = age.is_none_or(|(age, after)| age >= after || (self.rediscover && age >= REDISCOVER_AFTER));
        if due {
            self.refresh().await?;
        }
        self.look_after_stopped();
        if !self.paused {
            self.begin_due().await?;
        }
        self.look().await;
        self.shared.state().phase = if self.paused { Phase::Paused } else { Phase::Running };
        Ok(())
    }

    /// A lane ends when the group is lost; should it end otherwise, its partitions are begun again.
    fn let_go_of_dead_lanes(&mut self) {
        self.assigned.retain(|_, lane| !lane.ended());
    }

    async fn refresh(&mut self) -> Result<(), Trouble> {
        let sync =
            self.config.sync_topic_configs.is_some_and(|every| self.synced.is_none_or(|at| at.elapsed() >= every));
        let discovered =
            discovery::discover(&self.config, &self.clients, &self.source, self.context.lanes.target(), sync).await;
        let discovered = discovered.map_err(|e| trouble("topics", &e))?;
        if sync {
            self.synced = Some(Instant::now());
        }
        self.rediscover = false;
        self.shared.problem("topics", None);
        for area in discovery::AREAS {
            self.shared.problem(area, discovered.problems.get(area).cloned());
        }
        let mut wanted: BTreeMap<_, _> = discovered.wanted.iter().map(|w| (w.source.clone(), w.clone())).collect();
        for w in wanted.values_mut() {
            w.rank = self.rank(&w.target.topic, &w.source.topic);
        }
        let pending: BTreeMap<_, _> = discovered.pending.iter().cloned().collect();
        let gone: Vec<_> = self.known.keys().filter(|tp| !wanted.contains_key(tp)).cloned().collect();
        if !gone.is_empty() {
            self.release(&gone, true).await;
            for tp in &gone {
                self.again.remove(tp);
            }
        }
        {
            // What waits for its remote partition is shown too, or nothing to copy would look like all copied (law 4).
            let mut state = self.shared.state();
            state.partitions.retain(|tp, _| wanted.contains_key(tp) || pending.contains_key(tp));
            let remotes = wanted.iter().map(|(tp, w)| (tp, &w.target.topic)).chain(&pending);
            for (tp, remote) in remotes {
                state.partitions.entry(tp.clone()).or_insert_with(|| (remote.clone(), Arc::default()));
            }
        }
        self.known = wanted;
        self.discovered = Some(discovered);
        Ok(())
    }

    /// Which of the flow's identities a source topic writes with: one per source topic of a remote topic, and kept.
    fn rank(&mut self, remote: &Arc<str>, source: &Arc<str>) -> usize {
        let key = (remote.clone(), source.clone());
        if let Some(rank) = self.ranks.get(&key) {
            return *rank;
        }
        let rank = self.ranks.keys().filter(|(r, _)| r == remote).count();
        self.ranks.insert(key, rank);
        rank
    }

    /// Partitions that stopped are due again after a back-off; a fenced one makes the whole flow begin anew.
    fn look_after_stopped(&mut self) {
        let state = self.shared.state();
        for tp in self.assigned.keys() {
            let Some((_, cell)) = state.partitions.get(tp) else { continue };
            let view = cell.view();
            let Some(stop) = view.stop else {
                if view.last_ack_ms.is_some() || view.lag() == Some(0) {
                    self.again.remove(tp);
                }
                continue;
            };
            if (stop.remedy == Remedy::Fenced || stop.state == "sequence-lost") && !self.fenced {
                self.fenced = true;
                // A minute without trouble counts as a success.
                if self.restart_at.elapsed() > Duration::from_secs(60) {
                    self.restarts.reset();
                }
                self.restart_at = Instant::now() + self.restarts.next_delay();
            }
            self.rediscover |= stop.state.starts_with("source-") || stop.state.starts_with("target-");
            // One wait per stop: one that is due is begun by this very round, not put off again.
            if self.again.get(tp).is_none_or(|(at, _)| *at > Instant::now() + PERSON.1) {
                schedule(&mut self.again, tp, stop.remedy);
            }
        }
    }

    async fn restart(&mut self) {
        let all: Vec<_> = self.assigned.keys().cloned().collect();
        self.release(&all, true).await;
        self.identities.clear();
        self.fenced = false;
        self.again.clear();
        if let Err(error) = self.context.lanes.progress().refresh().await {
            tracing::warn!(connector = %self.config.name, error = %describe(&error), "progress can't be read again");
        }
    }

    /// The ends of partitions that nobody fetches, so that their lag stays true.
    async fn look(&mut self) {
        let partitions: Vec<_> = {
            let state = self.shared.state();
            let idle = state
                .partitions
                .iter()
                .filter(|(tp, (_, cell))| self.paused || !self.assigned.contains_key(tp) || cell.view().stop.is_some());
            idle.map(|(tp, (_, cell))| (tp.clone(), cell.clone())).collect()
        };
        if partitions.is_empty() {
            return;
        }
        let asked: Vec<_> = partitions.iter().map(|(tp, _)| (tp.clone(), OffsetSpec::Latest)).collect();
        match list_offsets(&self.source, &asked, self.clients.reading.isolation).await {
            Ok(answers) => {
                self.shared.problem("lag", None);
                let ends: HashMap<_, _> =
                    answers.into_iter().filter_map(|(tp, a)| Some((tp, a.ok()?.offset))).collect();
                for (tp, cell) in partitions {
                    let position = cell.view().position.or_else(|| self.stored(&tp));
                    if let (Some(end), Some(position)) = (ends.get(&tp), position) {
                        cell.update(|view| view.at(position, Some(*end), wall_ms()));
                    }
                }
            }
            Err(error) => self.shared.problem("lag", Some(trouble("lag", &error).problem)),
        }
    }

    fn stored(&self, tp: &TopicPartition) -> Option<i64> {
        let key = crate::mirror::progress::Key {
            connector: self.config.name.clone(),
            cluster: self.config.source_alias.clone(),
            topic: tp.topic.to_string(),
            partition: tp.partition,
        };
        // Unreadable progress is reported where partitions begin; here it only leaves the lag unknown.
        self.context.lanes.progress().get(&key).ok().flatten().map(|p| p.next)
    }

    async fn stop(mut self, reply: oneshot::Sender<()>) {
        let all: Vec<_> = self.assigned.keys().cloned().collect();
        self.release(&all, true).await;
        let _ = reply.send(());
    }
}

impl Drop for Session {
    /// A flow that is dropped in the middle gives its partitions back, so that the next one may have them.
    fn drop(&mut self) {
        for (tp, lane) in &self.assigned {
            self.context.lanes.abandon(lane, std::slice::from_ref(tp));
        }
    }
}

fn schedule(again: &mut HashMap<TopicPartition, (Instant, Backoff)>, tp: &TopicPartition, remedy: Remedy) {
    let (first, cap) = if remedy == Remedy::Person { PERSON } else { REREAD };
    let now = Instant::now();
    match again.get_mut(tp) {
        Some((at, backoff)) => *at = now + backoff.next_delay(),
        None => {
            let mut backoff = Backoff::new(first, cap);
            again.insert(tp.clone(), (now + backoff.next_delay(), backoff));
        }
    }
}

pub(super) fn trouble(area: &'static str, error: &kafka::Error) -> Trouble {
    Trouble {
        area,
        problem: Problem {
            code: error.code().to_owned(),
            message: describe(error),
            hint: error.hint(),
            since_ms: wall_ms(),
            fatal: !error.retriable(),
        },
    }
}
