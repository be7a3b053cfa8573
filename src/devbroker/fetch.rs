//! Fetch: long poll, limits (KIP-74), isolation, and incremental sessions (KIP-227).

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId, TopicName};
use tokio::time::{Instant, timeout_at};

use super::apis::Context;
use super::code;
use super::state::State;

type Key = (TopicName, i32);

/// A partition of a session: what is wanted and what was told last.
#[derive(Clone, Debug)]
struct Wanted {
    offset: i64,
    leader_epoch: i32,
    last_epoch: i32,
    max_bytes: usize,
    told: Option<(i64, i64)>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    partitions: IndexMap<Key, Wanted>,
}

/// The fetch sessions of one broker.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: HashMap<i32, Session>,
}

struct Limits {
    max_bytes: usize,
    min_bytes: usize,
    committed: bool,
}

impl Wanted {
    fn new(asked: &FetchPartition) -> Self {
        Self {
            offset: asked.fetch_offset,
            leader_epoch: asked.current_leader_epoch,
            last_epoch: asked.last_fetched_epoch,
            max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
            told: None,
        }
    }
}

pub(crate) async fn fetch(context: &Context, request: FetchRequest) -> FetchResponse {
    let limits = Limits {
        max_bytes: usize::try_from(request.max_bytes).unwrap_or(0),
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
        committed: request.isolation_level == 1,
    };
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let (session_id, mut wanted) = match open(context, &request) {
        Ok(opened) => opened,
        Err(code) => return FetchResponse::default().with_error_code(code),
    };
    let incremental = request.session_id != 0 && request.session_epoch > 0;
    let mut changes = context.inner.watch_logs();
    let planned: HashMap<Key, i16> =
        wanted.keys().filter_map(|key| Some((key.clone(), context.planned(&key.0, Some(key.1))?))).collect();
    loop {
        changes.borrow_and_update();
        let enough = !planned.is_empty() || wanted.is_empty() && !incremental || ready(context, &wanted, &limits);
        if enough || timeout_at(deadline, changes.changed()).await.is_err() {
            break;
        }
    }
    let answers = read(context, &wanted, &limits, &planned);
    let mut response = FetchResponse::default().with_session_id(session_id);
    for (key, data) in answers {
        let told = (data.high_watermark, data.log_start_offset);
        let Some(want) = wanted.get_mut(&key) else { continue };
        let news = data.records.as_ref().is_some_and(|records| !records.is_empty())
            || data.error_code != code::NONE
            || data.diverging_epoch.epoch >= 0
            || want.told != Some(told);
        // an error makes the next answer tell all again
        want.told = (data.error_code == code::NONE).then_some(told);
        if incremental && !news {
            continue;
        }
        match response.responses.iter_mut().find(|topic| topic.topic == key.0) {
            Some(topic) => topic.partitions.push(data),
            None => {
                let topic = FetchableTopicResponse::default().with_topic(key.0).with_partitions(vec![data]);
                response.responses.push(topic);
            }
        }
    }
    close(context, session_id, wanted, &response);
    response
}

/// Finds or makes the session: its id (0: none) and all its partitions.
fn open(context: &Context, request: &FetchRequest) -> Result<(i32, IndexMap<Key, Wanted>), i16> {
    let asked = || {
        request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|asked| ((topic.topic.clone(), asked.partition), Wanted::new(asked)))
        })
    };
    let mut state = context.inner.lock();
    let id = i32::try_from(state.next_id() & i64::from(i32::MAX)).unwrap_or(1).max(1);
    let sessions = state.sessions.entry(context.broker).or_default();
    if request.session_epoch <= 0 {
        sessions.sessions.remove(&request.session_id);
        let room = sessions.sessions.len() < context.inner.config.fetch_sessions;
        if request.session_epoch < 0 || context.version < 7 || !room {
            return Ok((0, asked().collect()));
        }
        let partitions: IndexMap<_, _> = asked().collect();
        sessions.sessions.insert(id, Session { epoch: 1, partitions: partitions.clone() });
        return Ok((id, partitions));
    }
    let session = sessions.sessions.get_mut(&request.session_id).ok_or(code::FETCH_SESSION_ID_NOT_FOUND)?;
    if session.epoch != request.session_epoch {
        return Err(code::INVALID_FETCH_SESSION_EPOCH);
    }
    session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
    for (key, mut want) in asked() {
        want.told = session.partitions.get(&key).and_then(|known| known.told);
        session.partitions.insert(key, want);
    }
    for topic in &request.forgotten_topics_data {
        for partition in &topic.partitions {
            session.partitions.shift_remove(&(topic.topic.clone(), *partition));
        }
    }
    Ok((request.session_id, session.partitions.clone()))
}

/// Remembers what was told; a partition that gave records goes behind the others.
fn close(context: &Context, id: i32, wanted: IndexMap<Key, Wanted>, response: &FetchResponse) {
    let mut state = context.inner.lock();
    let sessions = state.sessions.get_mut(&context.broker);
    let Some(session) = sessions.and_then(|sessions| sessions.sessions.get_mut(&id)) else { return };
    session.partitions = wanted;
    for topic in &response.responses {
        for data in topic.partitions.iter().filter(|data| data.records.as_ref().is_some_and(|bytes| !bytes.is_empty()))
        {
            let key = (topic.topic.clone(), data.partition_index);
            if let Some(want) = session.partitions.shift_remove(&key) {
                session.partitions.insert(key, want);
            }
        }
    }
}

/// Whether an answer need not wait.
fn ready(context: &Context, wanted: &IndexMap<Key, Wanted>, limits: &Limits) -> bool {
    let mut state = context.inner.lock();
    let mut size = 0;
    for ((topic, partition), want) in wanted {
        let Ok(found) = state.led(topic, *partition, context.broker, want.leader_epoch) else { return true };
        let log = &found.log;
        if want.offset < log.start() || want.offset > log.high_watermark() || diverging(want, log).is_some() {
            return true;
        }
        let limit = if limits.committed { log.last_stable_offset() } else { log.high_watermark() };
        size += log.available(want.offset, limit, limits.min_bytes.max(1));
        if size >= limits.min_bytes {
            return true;
        }
    }
    limits.min_bytes == 0
}

/// The end of the epoch the client last read in, when it is not what the client thinks.
fn diverging(want: &Wanted, log: &super::log::Log) -> Option<(i32, i64)> {
    if want.last_epoch < 0 {
        return None;
    }
    let (epoch, end) = log.end_of_epoch(want.last_epoch);
    (epoch < want.last_epoch || end < want.offset).then_some((epoch, end))
}

fn read(
    context: &Context,
    wanted: &IndexMap<Key, Wanted>,
    limits: &Limits,
    planned: &HashMap<Key, i16>,
) -> Vec<(Key, PartitionData)> {
    let mut state = context.inner.lock();
    let mut left = limits.max_bytes;
    let mut first = true;
    let mut answers = Vec::new();
    for (key, want) in wanted {
        let mut data = match planned.get(key) {
            Some(code) => Err(*code),
            None => one(&mut state, context, key, want, limits, left.min(want.max_bytes), first),
        }
        .unwrap_or_else(|code| refusal(&state, context, key, code));
        data.partition_index = key.1;
        let size = data.records.as_ref().map_or(0, bytes::Bytes::len);
        first &= size == 0;
        left = left.saturating_sub(size);
        answers.push((key.clone(), data));
    }
    answers
}

fn refusal(state: &State, context: &Context, key: &Key, code: i16) -> PartitionData {
    let mut data = PartitionData::default().with_error_code(code).with_high_watermark(-1);
    data.records = Some(bytes::Bytes::new());
    let moved = matches!(code, code::NOT_LEADER_OR_FOLLOWER | code::FENCED_LEADER_EPOCH);
    if let Some(found) = state.partition(&key.0, key.1).filter(|_| moved && context.version >= 12) {
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(found.leader));
        data.current_leader = leader.with_leader_epoch(found.epoch);
    }
    data
}

fn one(
    state: &mut State,
    context: &Context,
    key: &Key,
    want: &Wanted,
    limits: &Limits,
    max: usize,
    first: bool,
) -> Result<PartitionData, i16> {
    let log = &state.led(&key.0, key.1, context.broker, want.leader_epoch)?.log;
    let high_watermark = log.high_watermark();
    let mut data = PartitionData::default()
        .with_high_watermark(high_watermark)
        .with_last_stable_offset(log.last_stable_offset())
        .with_log_start_offset(log.start())
        .with_records(Some(bytes::Bytes::new()));
    if let Some((epoch, end)) = diverging(want, log) {
        if epoch < 0 {
            return Err(code::OFFSET_OUT_OF_RANGE);
        }
        data.diverging_epoch = EpochEndOffset::default().with_epoch(epoch).with_end_offset(end);
        return Ok(data);
    }
    if want.offset < log.start() || want.offset > high_watermark {
        return Err(code::OFFSET_OUT_OF_RANGE);
    }
    let limit = if limits.committed { log.last_stable_offset() } else { high_watermark };
    data.records = Some(log.read(want.offset, limit, max, first));
    if limits.committed {
        let told = |aborted: &super::log::Aborted| {
            let told = AbortedTransaction::default().with_producer_id(ProducerId(aborted.producer_id));
            told.with_first_offset(aborted.first)
        };
        data.aborted_transactions = Some(log.aborted(want.offset, limit).iter().map(told).collect());
    } else {
        data.aborted_transactions = None;
    }
    Ok(data)
}
