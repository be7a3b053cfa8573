//! Beginning of partitions: positions are read, what arrived since is found out, the new identity is written down, and
//! only then the lane gets them.
//!
//! Law: one progress record that names the new identity is acknowledged before its first batch, so that a crash at any
//! moment leaves the destination able to say who wrote behind the position.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};

use super::Wanted;
use crate::kafka::admin::offsets::{Isolation, OffsetSpec, list_offsets, offset_for_leader_epoch};
use crate::kafka::admin::producers::ProducerIdentity;
use crate::kafka::admin::producers::describe_producers;
use crate::kafka::{self, Cluster, TopicPartition};
use crate::mirror::partition::{Remedy, Start, Stop};
use crate::mirror::progress::{self, Beside, Position, Progress};
use crate::mirror::start::{self, Beginning, Decision, Facts, ProducerKnown, Rules};
use crate::mirror::tail;

/// How long accepted records may take to be replicated at the target before the partition is tried again later.
const REPLICATED_WITHIN: Duration = Duration::from_secs(20);

/// Partitions whose target is being asked, scanned or matched at the same time.
const ASKED_AT_ONCE: usize = 16;

/// How often the target is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What beginning needs to know beside the partitions.
pub(super) struct Context<'a> {
    pub(super) connector: &'a str,
    pub(super) alias: &'a str,
    pub(super) source: &'a Cluster,
    pub(super) target: &'a Cluster,
    pub(super) progress: &'a Arc<Progress>,
    /// By rank.
    pub(super) identities: &'a [ProducerIdentity],
    pub(super) rules: Rules,
}

/// One partition's beginning.
pub(super) enum Begun {
    /// It may be assigned.
    Ready { wanted: Wanted, start: Start, target_next: Option<i64>, lost: u64, note: Option<String> },
    /// It stands still, or is tried again later.
    Not { wanted: Wanted, stop: Stop },
}

/// Finds where each partition begins and writes the identity records of those that do.
///
/// # Errors
/// A cluster can't be asked at all; nothing was begun.
pub(super) async fn begin(context: &Context<'_>, wanted: Vec<Wanted>) -> Result<Vec<Begun>, kafka::Error> {
    let sources: Vec<_> = wanted.iter().map(|w| w.source.clone()).collect();
    let targets: Vec<_> = wanted.iter().map(|w| w.target.clone()).collect();
    let earliest = offsets(context.source, &sources, OffsetSpec::Earliest).await?;
    let latest = offsets(context.source, &sources, OffsetSpec::Latest).await?;
    let ends = offsets(context.target, &targets, OffsetSpec::Latest).await?;
    let mut positions = HashMap::new();
    for w in &wanted {
        positions.insert(w.source.clone(), context.progress.get(&context.key(&w.source)));
    }
    let asked: Vec<_> = wanted
        .iter()
        .filter(|w| matches!(positions.get(&w.source), Some(Ok(Some(Position { beside: Some(_), .. })))))
        .map(|w| w.target.clone())
        .collect();
    let producers = if asked.is_empty() { HashMap::new() } else { producers(context.target, &asked).await };

    let diverged = diverged(context.source, &positions).await;
    let mut begun = Vec::with_capacity(wanted.len());
    let mut known = Vec::with_capacity(wanted.len());
    for w in wanted {
        let offset = positions.get(&w.source).and_then(|p| p.as_ref().ok()?.as_ref()).map_or(0, |p| p.next);
        let stop =
            |state, message: String, remedy| Stop { state, offset, message, hint: "see the message".into(), remedy };
        let ask = |offsets: &Offsets, side: &str, tp: &TopicPartition| match offsets.get(tp) {
            Some(Ok(offset)) if *offset >= 0 => Ok(*offset),
            Some(Err(error)) => Err(format!("{}: {}", missing(side, tp), crate::mirror::describe(error))),
            _ => Err(missing(side, tp)),
        };
        let ends_of_source =
            ask(&earliest, "source", &w.source).and_then(|e| Ok((e, ask(&latest, "source", &w.source)?)));
        let (earliest, latest) = match ends_of_source {
            Ok(found) => found,
            Err(why) => {
                begun.push(Begun::Not { stop: stop("source-unknown", why, Remedy::Reread), wanted: w });
                continue;
            }
        };
        let target_end = match ask(&ends, "target", &w.target) {
            Ok(found) => found,
            Err(why) => {
                begun.push(Begun::Not { stop: stop("target-unknown", why, Remedy::Reread), wanted: w });
                continue;
            }
        };
        let position = match positions.remove(&w.source) {
            Some(Ok(position)) => position,
            Some(Err(error)) => {
                let why = crate::mirror::describe(&error);
                begun.push(Begun::Not { stop: stop("progress-unreadable", why, Remedy::Person), wanted: w });
                continue;
            }
            None => None,
        };
        let producer = producer_known(position.as_ref(), producers.get(&w.target));
        let facts = Facts {
            position,
            source_id: w.source_id.map(|id| id.to_string()),
            target_id: w.target_id.clone(),
            earliest,
            latest,
            diverged: diverged.get(&w.source).copied(),
            target_end,
            producer,
            may_lag: true,
        };
        known.push((w, facts));
    }
    // Side by side: one that has to wait for its replicas, or to be scanned, holds up no other (law 7).
    let mut known = known.into_iter();
    let mut asked: FuturesUnordered<BoxFuture<'_, Begun>> = FuturesUnordered::new();
    loop {
        while asked.len() < ASKED_AT_ONCE
            && let Some((w, facts)) = known.next()
        {
            asked.push(context.one_of_many(w, facts).boxed());
        }
        match asked.next().await {
            Some(one) => begun.push(one),
            None => break,
        }
    }
    context.write_identity(&begun).await?;
    Ok(begun)
}

impl Context<'_> {
    fn key(&self, source: &TopicPartition) -> progress::Key {
        progress::Key {
            connector: self.connector.to_owned(),
            cluster: self.alias.to_owned(),
            topic: source.topic.to_string(),
            partition: source.partition,
        }
    }

    async fn one_of_many(&self, wanted: Wanted, facts: Facts) -> Begun {
        let position = facts.position.as_ref().map_or(0, |p| p.next);
        match self.one(wanted.clone(), facts).await {
            Ok(begun) => begun,
            Err(error) => Begun::Not { stop: unreadable(position, &error), wanted },
        }
    }

    async fn one(&self, wanted: Wanted, mut facts: Facts) -> Result<Begun, kafka::Error> {
        let deadline = tokio::time::Instant::now() + REPLICATED_WITHIN;
        let mut decision = start::decide(&facts, self.rules);
        loop {
            decision = match decision {
                Decision::Begin(beginning) => return Ok(self.ready(wanted, &facts, beginning, None)),
                Decision::Stop(stop) => return Ok(Begun::Not { wanted, stop }),
                Decision::NotYetReplicated { until } => {
                    if tokio::time::Instant::now() > deadline {
                        if !facts.may_lag {
                            let stop = not_replicated(&wanted, until, facts.target_end);
                            return Ok(Begun::Not { wanted, stop });
                        }
                        facts.may_lag = false;
                    }
                    tokio::time::sleep(ASK_EVERY).await;
                    let ends = offsets(self.target, std::slice::from_ref(&wanted.target), OffsetSpec::Latest).await?;
                    facts.target_end = match ends.get(&wanted.target) {
                        Some(Ok(end)) if *end >= 0 => *end,
                        _ => facts.target_end,
                    };
                    let asked = producers(self.target, std::slice::from_ref(&wanted.target)).await;
                    facts.producer = producer_known(facts.position.as_ref(), asked.get(&wanted.target));
                    start::decide(&facts, self.rules)
                }
                Decision::Scan { from } => {
                    let Some(position) = facts.position.as_ref() else {
                        return Ok(self.ready(wanted, &facts, behind(&facts), None));
                    };
                    let writer = position.beside.as_ref().map(|b| (b.producer, b.producer_epoch));
                    let last = tail::last_sequence(self.target, &wanted.target, from, facts.target_end, writer).await?;
                    start::scanned(position, last)
                }
                Decision::Match { from, next } => {
                    let found = tail::match_content(
                        tail::Side {
                            cluster: self.source,
                            tp: &wanted.source,
                            start: facts.earliest,
                            end: facts.latest,
                        },
                        tail::Side {
                            cluster: self.target,
                            tp: &wanted.target,
                            start: from.unwrap_or(0),
                            end: facts.target_end,
                        },
                        next,
                    )
                    .await?;
                    let (skip, note) = match found {
                        tail::Matched::Exactly(skip) => (skip, None),
                        tail::Matched::Undecided { at_most } => (0, Some(may_repeat(&wanted, at_most))),
                    };
                    let beginning = Beginning { next, skip, epoch: -1, target: None, lost: 0 };
                    return Ok(self.ready(wanted, &facts, beginning, note));
                }
            };
        }
    }

    fn ready(&self, wanted: Wanted, facts: &Facts, beginning: Beginning, note: Option<String>) -> Begun {
        let identity = self.identities.get(wanted.rank).copied().unwrap_or(ProducerIdentity::NONE);
        let sequence = start::next_sequence(facts.position.as_ref(), beginning.skip, identity);
        let Beginning { next, skip, epoch, target, lost } = beginning;
        let start = Start { next, skip, epoch, identity, sequence };
        Begun::Ready { wanted, start, target_next: target, lost, note }
    }

    async fn write_identity(&self, begun: &[Begun]) -> Result<(), kafka::Error> {
        let records: Vec<_> = begun
            .iter()
            .filter_map(|begun| match begun {
                Begun::Ready { wanted, start, target_next, .. } => {
                    let beside = Beside {
                        format: progress::FORMAT,
                        target: *target_next,
                        source_id: wanted.source_id.map(|id| id.to_string()),
                        target_id: wanted.target_id.clone(),
                        epoch: start.epoch,
                        producer: start.identity.id,
                        producer_epoch: start.identity.epoch,
                        sequence: start.sequence,
                        skip: start.skip,
                    };
                    Some((self.key(&wanted.source), Position { next: start.next, beside: Some(beside) }))
                }
                Begun::Not { .. } => None,
            })
            .collect();
        if records.is_empty() {
            return Ok(());
        }
        self.progress.put(records).await.map_err(|error| match error {
            progress::Error::Log { source, .. } => source,
            // Writing decodes nothing, so nothing can be unreadable.
            progress::Error::Unreadable { why, .. } => kafka::Error::Settings { what: "progress".into(), message: why },
        })
    }
}

fn behind(facts: &Facts) -> Beginning {
    Beginning { next: facts.earliest, skip: 0, epoch: -1, target: Some(facts.target_end), lost: 0 }
}

fn producer_known(
    position: Option<&Position>,
    states: Option<&Vec<kafka::admin::producers::ProducerState>>,
) -> ProducerKnown {
    let Some(beside) = position.and_then(|p| p.beside.as_ref()) else { return ProducerKnown::NotAsked };
    let Some(states) = states else { return ProducerKnown::NotAsked };
    match states.iter().find(|s| s.producer_id == beside.producer) {
        Some(s) if s.last_sequence >= 0 => {
            let epoch = i16::try_from(s.epoch).unwrap_or(i16::MAX);
            ProducerKnown::Wrote { epoch, last_sequence: s.last_sequence }
        }
        _ => ProducerKnown::Absent,
    }
}

/// A failure here is no verdict: the target is then scanned instead.
async fn producers(
    target: &Cluster,
    partitions: &[TopicPartition],
) -> HashMap<TopicPartition, Vec<kafka::admin::producers::ProducerState>> {
    match describe_producers(target, partitions).await {
        Ok(answers) => answers.into_iter().filter_map(|(tp, answer)| Some((tp, answer.ok()?))).collect(),
        Err(error) => {
            tracing::debug!(%error, "producers of the target can't be described, it is scanned instead");
            HashMap::new()
        }
    }
}

/// What was told of each partition.
type Offsets = HashMap<TopicPartition, Result<i64, kafka::Error>>;

/// Offsets by partition; those that can't be told are unknown, not zero.
async fn offsets(cluster: &Cluster, partitions: &[TopicPartition], spec: OffsetSpec) -> Result<Offsets, kafka::Error> {
    // Several source topics may be merged into one remote topic: it is asked for once.
    let mut asked: Vec<_> = partitions.iter().map(|tp| (tp.clone(), spec)).collect();
    asked.sort_by(|(a, _), (b, _)| a.cmp(b));
    asked.dedup_by(|(a, _), (b, _)| a == b);
    let answers = list_offsets(cluster, &asked, Isolation::ReadUncommitted).await?;
    Ok(answers.into_iter().map(|(tp, answer)| (tp, answer.map(|info| info.offset))).collect())
}

/// Where the source's logs end for the epochs that were read, for those that can be asked (KIP-101). What can't be told
/// here the fetcher finds out.
async fn diverged(
    source: &Cluster,
    positions: &HashMap<TopicPartition, Result<Option<Position>, progress::Error>>,
) -> HashMap<TopicPartition, i64> {
    let epoch = |position: &Result<Option<Position>, progress::Error>| {
        position.as_ref().ok()?.as_ref()?.beside.as_ref().map(|b| b.epoch).filter(|epoch| *epoch >= 0)
    };
    let asked: Vec<_> = positions.iter().filter_map(|(tp, p)| Some((tp.clone(), epoch(p)?))).collect();
    if asked.is_empty() {
        return HashMap::new();
    }
    match offset_for_leader_epoch(source, &asked).await {
        Ok(answers) => answers
            .into_iter()
            .filter_map(|(tp, answer)| Some((tp, answer.ok()?.end_offset)).filter(|(_, end)| *end >= 0))
            .collect(),
        Err(error) => {
            tracing::debug!(%error, "the source does not tell the ends of its epochs");
            HashMap::new()
        }
    }
}

fn unreadable(offset: i64, error: &kafka::Error) -> Stop {
    Stop {
        state: "tail-unreadable",
        offset,
        message: format!("what arrived at the target can't be found out: {}", crate::mirror::describe(error)),
        hint: error.hint().unwrap_or_else(|| "it is tried again".to_owned()),
        remedy: Remedy::Reread,
    }
}

fn missing(side: &str, tp: &TopicPartition) -> String {
    format!("the {side} cluster does not tell the offsets of {}-{}", tp.topic, tp.partition)
}

fn not_replicated(wanted: &Wanted, until: i64, end: i64) -> Stop {
    Stop {
        state: "target-not-replicated",
        offset: end,
        message: format!(
            "{}-{} accepted records up to {until} but can be read up to {end} only: its replicas are behind",
            wanted.target.topic, wanted.target.partition
        ),
        hint: "see the target's under-replicated partitions".to_owned(),
        remedy: Remedy::Reread,
    }
}

fn may_repeat(wanted: &Wanted, at_most: u64) -> String {
    format!(
        "{}-{}: the tail of {} could not be matched with the source, up to {at_most} records may be there twice",
        wanted.source.topic, wanted.source.partition, wanted.target.topic
    )
}
