//! What a flow's status is read from: cells that the lane writes and reports read.
//!
//! Each cell is written by one lane and locked for a few instructions, never across an await. Derived figures (lag, age,
//! rate) are computed when somebody asks, so they can't be stale.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::meter::Meter;
use super::partition::Stop;

/// Seconds over which the byte rate is averaged.
const RATE_SECONDS: u64 = 10;

/// What one connector has copied since the process began: it outlives its flows, so that no total goes back.
#[derive(Debug, Default)]
pub struct Totals {
    records: AtomicU64,
    bytes: AtomicU64,
    /// Records that were gone before they were copied.
    lost: AtomicU64,
    /// Wall clock in ms of the last acknowledgement; 0 before the first.
    last_ack_ms: AtomicI64,
    shapes: Mutex<BTreeMap<String, u64>>,
}

/// Counters of one flow.
#[derive(Debug)]
pub struct FlowCell {
    started: Instant,
    totals: Arc<Totals>,
    rate: Mutex<Rate>,
    limit: Mutex<Option<Bucket>>,
    /// Woken when a partition stopped and the flow has to look.
    pub(super) attention: tokio::sync::Notify,
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub struct PartitionCell(Mutex<View>);

/// A partition as status shows it.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Next source offset to be acknowledged.
    pub position: Option<i64>,
    /// The source's readable end.
    pub end: Option<i64>,
    /// Wall clock in ms since when something readable lies past the position.
    pub behind_since_ms: Option<i64>,
    /// Timestamp of the oldest fetched record that is not yet copied.
    pub oldest_held_ms: Option<i64>,
    /// Wall clock in ms of the last acknowledgement.
    pub last_ack_ms: Option<i64>,
    /// Why it stands still.
    pub stop: Option<Stop>,
    /// Wall clock in ms since when it stands still.
    pub stopped_since_ms: Option<i64>,
    /// What is being retried at the target.
    pub target_trouble: Option<Trouble>,
    /// What is being retried at the source.
    pub source_trouble: Option<Trouble>,
    /// Positions can't be written; copying goes on, a crash now would need the tail match.
    pub progress_trouble: Option<Trouble>,
    /// What was read and copied, for metrics.
    pub meter: Meter,
}

/// Something that is being retried.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Stable code.
    pub code: String,
    /// What fails, one line.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Wall clock in ms when it began.
    pub since_ms: i64,
}

#[derive(Debug, Default)]
struct Rate {
    slots: [(u64, u64); RATE_SECONDS as usize],
}

/// A token bucket in bytes: a second's worth may be spent at once.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    tokens: f64,
    at: Instant,
}

/// [`Totals`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Records acknowledged.
    pub records: u64,
    /// Bytes acknowledged, as on the wire.
    pub bytes: u64,
    /// Records that were gone before they were copied.
    pub lost: u64,
    /// Wall clock in ms of the last acknowledgement.
    pub last_ack_ms: Option<i64>,
    /// Batches by what was done with them.
    pub shapes: BTreeMap<String, u64>,
}

// === impl Totals ===

impl Totals {
    /// All of it as it is now.
    #[must_use]
    pub fn seen(&self) -> Sums {
        Sums {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            last_ack_ms: Some(self.last_ack_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0),
            shapes: lock(&self.shapes).clone(),
        }
    }
}

// === impl FlowCell ===

impl FlowCell {
    /// A flow that begins now, with an optional limit in bytes per second, and counts on from `totals`.
    #[must_use]
    pub fn new(limit: Option<u64>, totals: Arc<Totals>) -> Self {
        Self {
            started: Instant::now(),
            totals,
            rate: Mutex::default(),
            limit: Mutex::new(limit.map(Bucket::new)),
            attention: tokio::sync::Notify::new(),
        }
    }

    /// Changes the limit of a running flow.
    pub fn set_limit(&self, limit: Option<u64>) {
        *lock(&self.limit) = limit.map(Bucket::new);
    }

    /// Takes bytes from the limit; the wait before more may be fetched.
    pub fn spend(&self, bytes: usize) -> Option<Duration> {
        lock(&self.limit).as_mut().and_then(|bucket| bucket.spend(bytes, Instant::now()))
    }

    /// Counts one acknowledged batch.
    pub fn acknowledged(&self, records: u64, bytes: u64, now_ms: i64) {
        self.totals.records.fetch_add(records, Ordering::Relaxed);
        self.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.totals.last_ack_ms.store(now_ms, Ordering::Relaxed);
        lock(&self.rate).add(self.started.elapsed().as_secs(), bytes);
    }

    /// Counts records that were gone before they were copied.
    pub fn lost(&self, records: u64) {
        self.totals.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts what was done with batches.
    pub fn shaped(&self, counts: impl IntoIterator<Item = (String, u64)>) {
        let mut shapes = lock(&self.totals.shapes);
        for (shape, count) in counts {
            *shapes.entry(shape).or_default() += count;
        }
    }

    /// Bytes acknowledged per second, over the last ten seconds.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        lock(&self.rate).per_second(self.started.elapsed().as_secs())
    }
}

// === impl PartitionCell ===

impl PartitionCell {
    /// Changes the view in one step.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        change(&mut lock(&self.0));
    }

    /// The view as it is now.
    #[must_use]
    pub fn view(&self) -> View {
        lock(&self.0).clone()
    }
}

// === impl View ===

impl View {
    /// Readable records past the position.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        Some(u64::try_from(self.end?.saturating_sub(self.position?)).unwrap_or(0))
    }

    /// Notes position and end, and since when there is something to copy.
    pub fn at(&mut self, position: i64, end: Option<i64>, now_ms: i64) {
        self.position = Some(position);
        if end.is_some() {
            self.end = end;
        }
        match self.lag() {
            Some(0) => self.behind_since_ms = None,
            Some(_) if self.behind_since_ms.is_none() => self.behind_since_ms = Some(now_ms),
            _ => {}
        }
    }

    /// Age in ms of the oldest record not yet copied: by its own timestamp where it was fetched, else since we know of it.
    #[must_use]
    pub fn oldest_uncopied_ms(&self, now_ms: i64) -> Option<u64> {
        if self.lag()? == 0 {
            return Some(0);
        }
        let known_since = self.behind_since_ms.unwrap_or(now_ms);
        let oldest = self.oldest_held_ms.filter(|ms| *ms > 0).map_or(known_since, |ms| ms.min(known_since));
        Some(u64::try_from(now_ms - oldest).unwrap_or(0))
    }

    /// Whether a readable record lies past the position and nothing was acknowledged for `after_ms`.
    #[must_use]
    pub fn stalled(&self, now_ms: i64, after_ms: i64) -> bool {
        let Some(behind) = self.behind_since_ms else { return false };
        now_ms - self.last_ack_ms.map_or(behind, |ack| ack.max(behind)) >= after_ms
    }
}

// === impl Rate ===

impl Rate {
    fn add(&mut self, second: u64, bytes: u64) {
        let slot = &mut self.slots[(second % RATE_SECONDS) as usize];
        if slot.0 == second {
            slot.1 += bytes;
        } else {
            *slot = (second, bytes);
        }
    }

    fn per_second(&self, now: u64) -> u64 {
        let seconds = (now + 1).min(RATE_SECONDS);
        let sum: u64 = self.slots.iter().filter(|(s, _)| s + RATE_SECONDS > now).map(|(_, bytes)| bytes).sum();
        sum / seconds
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(per_second: u64) -> Self {
        Self { per_second, tokens: per_second as f64, at: Instant::now() }
    }

    fn spend(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        let rate = self.per_second.max(1) as f64;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + earned).min(rate) - bytes as f64;
        self.at = now;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64((-self.tokens / rate).min(3600.0)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the value whole, so a poisoned lock is still readable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_readable_past_the_position() {
        let mut view = View::default();
        assert_eq!(view.lag(), None);
        view.at(5, Some(9), 1_000);
        assert_eq!((view.lag(), view.behind_since_ms), (Some(4), Some(1_000)));
        assert!(!view.stalled(1_500, 1_000));
        assert!(view.stalled(2_000, 1_000));
        view.at(9, None, 3_000);
        assert_eq!((view.lag(), view.behind_since_ms, view.oldest_uncopied_ms(4_000)), (Some(0), None, Some(0)));
    }

    #[test]
    fn a_spent_limit_says_how_long_to_wait() {
        let start = Instant::now();
        let mut bucket = Bucket { per_second: 1_000, tokens: 1_000.0, at: start };
        assert_eq!(bucket.spend(1_000, start), None);
        assert_eq!(bucket.spend(500, start), Some(Duration::from_millis(500)));
        assert_eq!(bucket.spend(0, start + Duration::from_millis(500)), None);
    }

    #[test]
    fn the_rate_forgets_after_ten_seconds() {
        let mut rate = Rate::default();
        rate.add(0, 100);
        assert_eq!(rate.per_second(0), 100);
        rate.add(9, 900);
        assert_eq!(rate.per_second(9), 100);
        assert_eq!(rate.per_second(12), 90);
        assert_eq!(rate.per_second(40), 0);
    }
}
