//! Measuring one system on one scenario once.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{busy_seconds, cpu_seconds, peak_resident_bytes};
use crate::rig::{Rig, Running};
use crate::support::raw;

/// How long a system may take until its first record is copied.
const FIRST: Duration = Duration::from_secs(90);

/// How often the target is asked how far it is.
const POLL: Duration = Duration::from_millis(20);

/// Before the window: a fifth of the records, or this long after the first one.
const WARM_UP: Duration = Duration::from_secs(3);

/// What was measured; a scenario fills in what it is about.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// CPU seconds of the copying process per 1e9 bytes of keys and values before compression.
    pub(crate) cpu_s_per_gb: Option<f64>,
    /// 1e6 bytes of keys and values before compression per second.
    pub(crate) mb_per_s: Option<f64>,
    /// Largest resident memory in 1e6 bytes.
    pub(crate) peak_rss_mb: Option<f64>,
    /// CPU seconds of the target broker per 1e9 bytes.
    pub(crate) target_broker_cpu_s_per_gb: Option<f64>,
    /// From the start of the process to the first record on the target.
    pub(crate) start_s: Option<f64>,
    /// Median of what mirroring adds to reading the source directly.
    pub(crate) latency_p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub(crate) latency_p99_ms: Option<f64>,
    /// Share of the machine that was used by processes that are no part of the benchmark: noise.
    pub(crate) foreign_cpu: Option<f64>,
}

/// One look at everything.
struct Look {
    at: Instant,
    records: u64,
    cpu: f64,
    target_cpu: f64,
    ours: f64,
    busy: f64,
}

impl Look {
    fn now(rig: &Rig, pid: u32, topic: &str) -> Self {
        let of = |pids: &[u32]| pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
        let records = records(rig, topic);
        let cpu = cpu_seconds(pid);
        Self {
            at: Instant::now(),
            records,
            cpu,
            target_cpu: of(&rig.target.pids()),
            ours: of(&rig.pids()) + cpu,
            busy: busy_seconds(),
        }
    }
}

/// Records on the target; none while the topic isn't there.
pub(crate) fn records(rig: &Rig, topic: &str) -> u64 {
    let ends = raw::list_offsets(&rig.target.bootstrap(), topic, raw::LATEST).unwrap_or_default();
    ends.values().map(|end| u64::try_from(*end).unwrap_or(0)).sum()
}

/// Waits for the first record: how long after `start` it came.
///
/// # Errors
/// When the system ends or gives no record in time: its own words.
pub(crate) fn first_record(
    rig: &Rig,
    running: &mut Running<'_>,
    topic: &str,
    start: Instant,
) -> Result<Duration, String> {
    while records(rig, topic) == 0 {
        if let Some(words) = running.ended() {
            return Err(format!("it ended before it copied a record: {words}"));
        }
        if start.elapsed() > FIRST {
            return Err(format!("no record within {FIRST:?}: {}", running.explain()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed())
}

/// Watches a copy of `total` records: what happens between the end of the warm-up and the last record, or `window` later.
///
/// # Errors
/// As [`first_record`], and when it stops before its end.
pub(crate) fn copy(
    rig: &Rig,
    mut running: Running<'_>,
    topic: &str,
    (total, record_bytes): (u64, usize),
    window: Duration,
) -> Result<Figures, String> {
    first_record(rig, &mut running, topic, Instant::now())?;
    let pid = running.pid();
    let (first, mut begin, mut moved) = (Instant::now(), None::<Look>, (0, Instant::now()));
    let (begin, end) = loop {
        let look = Look::now(rig, pid, topic);
        if let Some(words) = running.ended() {
            return Err(format!("it ended after {} of {total} records: {words}", look.records));
        }
        if look.records > moved.0 {
            moved = (look.records, look.at);
        } else if moved.1.elapsed() > FIRST {
            return Err(format!("it stopped after {} of {total} records: {}", look.records, running.explain()));
        }
        match begin {
            None if look.records * 5 >= total || first.elapsed() >= WARM_UP => begin = Some(look),
            Some(begin) if look.records >= total || begin.at.elapsed() >= window => break (begin, look),
            _ => {}
        }
        std::thread::sleep(POLL);
    };
    let seconds = end.at.duration_since(begin.at).as_secs_f64();
    let gb = (end.records - begin.records) as f64 * record_bytes as f64 / 1e9;
    if gb <= 0.0 {
        return Err("it copied everything before it could be measured: more records are needed".to_owned());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let foreign = (end.busy - begin.busy) - (end.ours - begin.ours);
    Ok(Figures {
        cpu_s_per_gb: Some((end.cpu - begin.cpu) / gb),
        mb_per_s: Some(gb * 1e3 / seconds),
        peak_rss_mb: peak_resident_bytes(pid).map(|bytes| bytes as f64 / 1e6),
        target_broker_cpu_s_per_gb: Some((end.target_cpu - begin.target_cpu) / gb),
        foreign_cpu: Some((foreign / seconds / cores).clamp(0.0, 1.0)),
        ..Figures::default()
    })
}
