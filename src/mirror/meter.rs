//! What was read and copied of one partition: totals, rates, and how old records were. Pure.
//!
//! The figures of `org.apache.kafka.connect.mirror.MirrorSourceMetrics`, over windows like those of Kafka's `SampledStat`
//! (two of 30 s). Nothing is done per record: ages come from the two timestamps in a batch's header, so the least age is
//! the newest record's, the largest the first record's, and the average the middle between them, weighted by records.
//!
//! Law 4: without a sample in the windows there is no figure, as Java has `NaN` then.

use super::shape::Ready;

/// Length of a window: `metrics.sample.window.ms`.
const WINDOW_MS: i64 = 30_000;

/// Timestamps of a batch in ms: what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first record's.
    pub first: i64,
    /// The newest record's.
    pub newest: i64,
}

/// Counts of one partition, since the flow began.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    born_ms: Option<i64>,
    records: u64,
    bytes: u64,
    moved: [Moved; 2],
    age: Ages,
    latency: Ages,
}

/// What a [`Meter`] says at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Records acknowledged.
    pub records: u64,
    /// Bytes of their batches, as on the wire.
    pub bytes: u64,
    /// Records acknowledged per second.
    pub records_per_second: f64,
    /// Bytes acknowledged per second.
    pub bytes_per_second: f64,
    /// How old records were when they were read.
    pub age: Option<Spread>,
    /// How old they were when the target acknowledged them.
    pub latency: Option<Spread>,
}

/// Ages in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Of the newest record of the last batch.
    pub last: i64,
    /// Least, largest and average over the windows; `None` when nothing came in them.
    pub windows: Option<(i64, i64, f64)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    window: i64,
    records: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Default)]
struct Ages {
    last: Option<i64>,
    slots: [Slot; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    window: i64,
    records: u64,
    /// Of the ages in ms, over all records.
    sum: f64,
    least: i64,
    largest: i64,
}

// === impl Times ===

impl Times {
    /// Those of a batch that is to be produced.
    #[must_use]
    pub fn of(ready: &Ready) -> Self {
        let header = ready.batch.header();
        let first = if header.log_append_time() { header.max_timestamp } else { header.base_timestamp };
        Self { first, newest: ready.max_timestamp }
    }
}

// === impl Meter ===

impl Meter {
    /// A batch was read.
    pub fn read(&mut self, records: i32, times: Times, now_ms: i64) {
        self.age.add(records, times, now_ms);
    }

    /// A batch was acknowledged.
    pub fn copied(&mut self, records: u64, bytes: u64, times: Times, now_ms: i64) {
        self.born_ms.get_or_insert(now_ms);
        self.records += records;
        self.bytes += bytes;
        let window = now_ms.div_euclid(WINDOW_MS);
        let slot = &mut self.moved[place(window)];
        if slot.window != window {
            *slot = Moved { window, ..Moved::default() };
        }
        slot.records += records;
        slot.bytes += bytes;
        self.latency.add(i32::try_from(records).unwrap_or(i32::MAX), times, now_ms);
    }

    /// The figures as of now.
    #[must_use]
    pub fn reading(&self, now_ms: i64) -> Reading {
        let window = now_ms.div_euclid(WINDOW_MS);
        let recent = self.moved.iter().filter(|slot| is_recent(slot.window, window));
        let (records, bytes) = recent.fold((0, 0), |sum, slot| (sum.0 + slot.records, sum.1 + slot.bytes));
        let since = ((window - 1) * WINDOW_MS).max(self.born_ms.unwrap_or(now_ms));
        let seconds = ((now_ms - since) as f64 / 1_000.0).max(1.0);
        Reading {
            records: self.records,
            bytes: self.bytes,
            records_per_second: records as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            age: self.age.spread(window),
            latency: self.latency.spread(window),
        }
    }
}

// === impl Ages ===

impl Ages {
    fn add(&mut self, records: i32, times: Times, now_ms: i64) {
        let Ok(records) = u64::try_from(records) else { return };
        // Message format v2 has -1 for "no timestamp".
        if records == 0 || times.newest < 0 {
            return;
        }
        let first = if times.first < 0 { times.newest } else { times.first.min(times.newest) };
        let (least, largest) = (now_ms.saturating_sub(times.newest), now_ms.saturating_sub(first));
        self.last = Some(least);
        let window = now_ms.div_euclid(WINDOW_MS);
        let slot = &mut self.slots[place(window)];
        if slot.window != window || slot.records == 0 {
            *slot = Slot { window, records: 0, sum: 0.0, least, largest };
        }
        slot.records += records;
        slot.sum += (least as f64 + largest as f64) / 2.0 * records as f64;
        slot.least = slot.least.min(least);
        slot.largest = slot.largest.max(largest);
    }

    fn spread(&self, window: i64) -> Option<Spread> {
        let recent = self.slots.iter().filter(|slot| slot.records > 0 && is_recent(slot.window, window));
        let windows = recent.copied().reduce(|a, b| Slot {
            window,
            records: a.records + b.records,
            sum: a.sum + b.sum,
            least: a.least.min(b.least),
            largest: a.largest.max(b.largest),
        });
        let windows = windows.map(|all| (all.least, all.largest, all.sum / all.records as f64));
        Some(Spread { last: self.last?, windows })
    }
}

fn place(window: i64) -> usize {
    window.rem_euclid(2) as usize
}

fn is_recent(window: i64, now: i64) -> bool {
    window == now || window == now - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000 / WINDOW_MS * WINDOW_MS;

    fn times(first: i64, newest: i64) -> Times {
        Times { first, newest }
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        let reading = Meter::default().reading(NOW);
        assert_eq!((reading.records, reading.records_per_second), (0, 0.0));
        assert_eq!((reading.age, reading.latency), (None, None));
    }

    #[test]
    fn ages_are_least_for_the_newest_and_largest_for_the_first_record() {
        let mut meter = Meter::default();
        meter.read(1, times(NOW - 10, NOW - 10), NOW);
        meter.read(3, times(NOW - 50, NOW - 30), NOW);
        let age = meter.reading(NOW + 100).age.unwrap();
        assert_eq!(age, Spread { last: 30, windows: Some((10, 50, (10.0 + 3.0 * 40.0) / 4.0)) });
    }

    #[test]
    fn a_first_record_newer_than_the_newest_or_without_time_does_not_count() {
        let mut meter = Meter::default();
        meter.read(1, times(-1, NOW - 5), NOW);
        meter.read(1, times(NOW, NOW - 7), NOW);
        meter.read(1, times(-1, -1), NOW);
        assert_eq!(meter.reading(NOW).age.unwrap().windows, Some((5, 7, 6.0)));
    }

    #[test]
    fn after_two_windows_only_the_last_age_is_left_and_the_rates_are_zero() {
        let mut meter = Meter::default();
        meter.copied(10, 1_000, times(NOW - 5, NOW - 5), NOW);
        let next = meter.reading(NOW + WINDOW_MS);
        assert_eq!(next.latency.unwrap().windows, Some((5, 5, 5.0)));
        let later = meter.reading(NOW + 2 * WINDOW_MS);
        assert_eq!(later.latency, Some(Spread { last: 5, windows: None }));
        assert_eq!((later.records, later.bytes, later.records_per_second), (10, 1_000, 0.0));
    }

    #[test]
    fn rates_are_over_the_time_that_was_measured() {
        let mut meter = Meter::default();
        for second in 0..90 {
            meter.copied(100, 5_000, times(NOW, NOW), NOW + second * 1_000);
            let reading = meter.reading(NOW + (second + 1) * 1_000);
            assert!((95.0..=105.0).contains(&reading.records_per_second), "{second}: {reading:?}");
            assert!((4_750.0..=5_250.0).contains(&reading.bytes_per_second), "{second}: {reading:?}");
        }
    }
}
