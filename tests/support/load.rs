//! Steady load: numbered records at a rate, until the test has seen enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;

use super::client;
use super::records::numbered_record;

/// A thread that produces; it ends with [`Load::stop`], or when dropped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    partitions: i32,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Produces `per_second` records a second, round robin over the partitions, numbered from 0 in each.
    pub(crate) fn start(bootstrap: &str, topic: &str, partitions: i32, per_second: u32) -> Self {
        let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            move || {
                let producer = client::producer(&bootstrap, "lz4", None);
                let start = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let round = rounds.load(Ordering::Relaxed);
                    for partition in 0..partitions {
                        client::send(&producer, &topic, &numbered_record(partition, round));
                    }
                    rounds.store(round + 1, Ordering::Relaxed);
                    let due = f64::from(partitions) * (round as f64 + 1.0) / f64::from(per_second);
                    std::thread::sleep(Duration::from_secs_f64(due).saturating_sub(start.elapsed()));
                }
                producer.flush(client::PATIENCE).expect("all records are acknowledged");
            }
        });
        Self { stop, rounds, partitions, thread: Some(thread) }
    }

    /// Records given to the producer so far.
    pub(crate) fn sent(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed) * u64::from(self.partitions.unsigned_abs())
    }

    /// Waits until that many more records were given to the producer.
    #[track_caller]
    pub(crate) fn more(&self, records: u64) {
        let target = self.sent() + records;
        super::wait_for("more load", client::PATIENCE, || match self.sent() {
            sent if sent >= target => Ok(()),
            sent => Err(format!("{sent} of {target} sent")),
        });
    }

    /// Ends the load and waits for every acknowledgement: how many numbers each partition holds.
    pub(crate) fn stop(mut self) -> Vec<u64> {
        self.end().expect("the load ended well");
        vec![self.rounds.load(Ordering::Relaxed); usize::try_from(self.partitions).expect("a count")]
    }

    fn end(&mut self) -> std::thread::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that fails must not wait for the load's end, which may be what failed.
        self.stop.store(true, Ordering::Relaxed);
    }
}
