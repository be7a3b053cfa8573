//! Producer ids and transactions (KIP-98, KIP-360), first protocol.

use std::collections::BTreeSet;

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};

use super::apis::Context;
use super::code;
use super::commits::Committed;
use super::header::Header;
use super::state::{State, now_ms};

/// `transaction.max.timeout.ms`.
const MAX_TIMEOUT_MS: i32 = 900_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    Ongoing,
    Committed,
    Aborted,
}

/// What the coordinator knows of a transactional id.
#[derive(Debug)]
pub(crate) struct Transaction {
    producer_id: i64,
    epoch: i16,
    timeout_ms: i32,
    phase: Phase,
    started: i64,
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
}

impl Transaction {
    fn begin(&mut self) {
        if self.phase != Phase::Ongoing {
            self.phase = Phase::Ongoing;
            self.started = now_ms();
        }
    }
}

/// Whether a transactional batch may be written now.
///
/// # Errors
/// Kafka's code: 47, 48 or 49.
pub(crate) fn permits(state: &State, id: &str, header: &Header, topic: &str, partition: i32) -> Result<(), i16> {
    let known = state.transactions.get(id).ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
    if known.producer_id != header.producer_id {
        return Err(code::INVALID_PRODUCER_ID_MAPPING);
    }
    if header.producer_epoch < known.epoch {
        return Err(code::INVALID_PRODUCER_EPOCH);
    }
    let within = known.phase == Phase::Ongoing && known.partitions.contains(&(topic.to_owned(), partition));
    if within { Ok(()) } else { Err(code::INVALID_TXN_STATE) }
}

/// Writes the markers and settles the offsets.
fn finish(state: &mut State, id: &str, commit: bool) {
    let Some(known) = state.transactions.get_mut(id) else { return };
    known.phase = if commit { Phase::Committed } else { Phase::Aborted };
    let (producer_id, epoch) = (known.producer_id, known.epoch);
    let partitions = std::mem::take(&mut known.partitions);
    let groups = std::mem::take(&mut known.groups);
    for (topic, partition) in partitions {
        if let Some(found) = state.partition_mut(&topic, partition) {
            let leader_epoch = found.epoch;
            found.log.end_transaction(producer_id, epoch, commit, leader_epoch, now_ms());
        }
    }
    for group in groups {
        if let Some(group) = state.groups.get_mut(&group) {
            group.settle(producer_id, commit);
        }
    }
}

/// Aborts what has run too long, under an epoch that fences its producer.
pub(crate) fn expire(state: &mut State, now: i64) -> bool {
    let late = |known: &Transaction| {
        known.phase == Phase::Ongoing && now.saturating_sub(known.started) > i64::from(known.timeout_ms)
    };
    let ids: Vec<String> =
        state.transactions.iter().filter(|(_, known)| late(known)).map(|(id, _)| id.clone()).collect();
    for id in &ids {
        if let Some(known) = state.transactions.get_mut(id) {
            known.epoch += 1;
        }
        finish(state, id, false);
    }
    !ids.is_empty()
}

pub(crate) async fn init_producer_id(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let done = {
        let mut state = context.inner.lock();
        match &request.transactional_id {
            None => context.planned("", None).map_or_else(|| Ok((state.next_producer_id(), 0)), Err),
            Some(id) => init(context, &mut state, id, &request),
        }
    };
    context.inner.logs_changed();
    let response = InitProducerIdResponse::default();
    match done {
        Ok((id, epoch)) => response.with_producer_id(ProducerId(id)).with_producer_epoch(epoch),
        Err(code) => response.with_error_code(code).with_producer_epoch(-1),
    }
}

fn init(context: &Context, state: &mut State, id: &str, request: &InitProducerIdRequest) -> Result<(i64, i16), i16> {
    coordinates(context, state, id)?;
    if id.is_empty() {
        return Err(code::INVALID_REQUEST);
    }
    if !(1..=MAX_TIMEOUT_MS).contains(&request.transaction_timeout_ms) {
        return Err(code::INVALID_TRANSACTION_TIMEOUT);
    }
    let fresh = state.next_producer_id();
    let Some(known) = state.transactions.get_mut(id) else {
        let known = Transaction {
            producer_id: fresh,
            epoch: 0,
            timeout_ms: request.transaction_timeout_ms,
            phase: Phase::Empty,
            started: 0,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        };
        state.transactions.insert(id.to_owned(), known);
        return Ok((fresh, 0));
    };
    let claims = request.producer_epoch >= 0;
    if claims && (request.producer_id.0, request.producer_epoch) != (known.producer_id, known.epoch) {
        return Err(fenced(context.version >= 4));
    }
    // the markers of an open transaction carry the epoch that fences
    let open = known.phase == Phase::Ongoing;
    known.epoch += 1;
    if open {
        finish(state, id, false);
    }
    let known = state.transactions.get_mut(id).ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
    if known.epoch >= i16::MAX - 1 {
        (known.producer_id, known.epoch) = (fresh, 0);
    }
    known.phase = Phase::Empty;
    known.timeout_ms = request.transaction_timeout_ms;
    Ok((known.producer_id, known.epoch))
}

fn fenced(newer: bool) -> i16 {
    if newer { code::PRODUCER_FENCED } else { code::INVALID_PRODUCER_EPOCH }
}

fn coordinates(context: &Context, state: &State, id: &str) -> Result<(), i16> {
    if let Some(code) = context.planned(id, None) {
        return Err(code);
    }
    if state.coordinator(id) == Some(context.broker) { Ok(()) } else { Err(code::NOT_COORDINATOR) }
}

/// The transaction, if the producer is its present owner.
fn owned<'a>(
    context: &Context,
    state: &'a mut State,
    id: &str,
    producer: (ProducerId, i16),
) -> Result<&'a mut Transaction, i16> {
    coordinates(context, state, id)?;
    let known = state.transactions.get_mut(id).ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
    if known.producer_id != producer.0.0 {
        return Err(code::INVALID_PRODUCER_ID_MAPPING);
    }
    // PRODUCER_FENCED came with version 2 of all these requests
    if known.epoch == producer.1 { Ok(known) } else { Err(fenced(context.version >= 2)) }
}

pub(crate) async fn add_partitions(
    context: &Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let mut state = context.inner.lock();
    let asked = request.v3_and_below_topics;
    let unknown = |state: &State, topic: &str, partition: i32| state.partition(topic, partition).is_none();
    let any_unknown =
        asked.iter().any(|topic| topic.partitions.iter().any(|partition| unknown(&state, &topic.name, *partition)));
    let producer = (request.v3_and_below_producer_id, request.v3_and_below_producer_epoch);
    let mut verdict = code::NONE;
    if !any_unknown {
        match owned(context, &mut state, &request.v3_and_below_transactional_id, producer) {
            Err(code) => verdict = code,
            Ok(known) => {
                known.begin();
                for topic in &asked {
                    known.partitions.extend(topic.partitions.iter().map(|index| (topic.name.to_string(), *index)));
                }
            }
        }
    }
    let mut response = AddPartitionsToTxnResponse::default();
    for topic in asked {
        let results = topic.partitions.iter().map(|partition| {
            let code = match (any_unknown, unknown(&state, &topic.name, *partition)) {
                (true, true) => code::UNKNOWN_TOPIC_OR_PARTITION,
                // OPERATION_NOT_ATTEMPTED
                (true, false) => 55,
                _ => verdict,
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(code)
        });
        let results = results.collect();
        let answer = AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone());
        response.results_by_topic_v3_and_below.push(answer.with_results_by_partition(results));
    }
    response
}

pub(crate) async fn add_offsets(context: &Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let mut state = context.inner.lock();
    let producer = (request.producer_id, request.producer_epoch);
    let done = owned(context, &mut state, &request.transactional_id, producer).map(|known| {
        known.begin();
        known.groups.insert(request.group_id.0.to_string());
    });
    AddOffsetsToTxnResponse::default().with_error_code(done.err().unwrap_or(code::NONE))
}

pub(crate) async fn end(context: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let done = {
        let mut state = context.inner.lock();
        let producer = (request.producer_id, request.producer_epoch);
        let phase = owned(context, &mut state, &request.transactional_id, producer).map(|known| known.phase);
        match (phase, request.committed) {
            (Err(code), _) => code,
            (Ok(Phase::Ongoing), commit) => {
                finish(&mut state, &request.transactional_id, commit);
                code::NONE
            }
            // said again: the answer was lost
            (Ok(Phase::Committed), true) | (Ok(Phase::Aborted), false) => code::NONE,
            _ => code::INVALID_TXN_STATE,
        }
    };
    context.inner.logs_changed();
    EndTxnResponse::default().with_error_code(done)
}

pub(crate) async fn commit_offsets(context: &Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut state = context.inner.lock();
    let group_id = request.group_id.0.to_string();
    let verdict = match context.planned(&group_id, None) {
        Some(code) => code,
        None if state.coordinator(&group_id) != Some(context.broker) => code::NOT_COORDINATOR,
        None => {
            let id = request.transactional_id.0.as_str();
            match state.transactions.get(id) {
                Some(known) if known.epoch != request.producer_epoch => code::INVALID_PRODUCER_EPOCH,
                Some(known) if known.producer_id == request.producer_id.0 => {
                    let group = state.groups.entry(group_id.clone()).or_default();
                    let member = request.member_id.as_str();
                    let instance = request.group_instance_id.as_deref();
                    if request.generation_id < 0 && member.is_empty() {
                        code::NONE
                    } else {
                        group.check(member, instance, request.generation_id).err().unwrap_or(code::NONE)
                    }
                }
                _ => code::INVALID_PRODUCER_ID_MAPPING,
            }
        }
    };
    let mut response = TxnOffsetCommitResponse::default();
    for topic in request.topics {
        let mut answer = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let known = state.partition(&topic.name, asked.partition_index).is_some();
            let code = match (verdict, known) {
                (code::NONE, false) => code::UNKNOWN_TOPIC_OR_PARTITION,
                (verdict, _) => verdict,
            };
            if code == code::NONE
                && let Some(group) = state.groups.get_mut(&group_id)
            {
                let commit = Committed {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.map(|text| text.to_string()).unwrap_or_default(),
                };
                let pending = group.pending.entry(request.producer_id.0).or_default();
                pending.insert((topic.name.to_string(), asked.partition_index), commit);
            }
            let part = TxnOffsetCommitResponsePartition::default().with_partition_index(asked.partition_index);
            answer.partitions.push(part.with_error_code(code));
        }
        response.topics.push(answer);
    }
    response
}
