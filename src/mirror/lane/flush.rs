//! A lane's progress: acknowledged positions, written every so often.

use super::*;

impl Run {
    pub(super) fn flush_due(&self) -> Option<Instant> {
        if self.flush.is_some() || self.dirty.is_empty() {
            return None;
        }
        Some(if self.flush_now { Instant::now() } else { self.flush_after })
    }

    pub(super) fn start_flush(&mut self) {
        self.flush_now = false;
        self.flushing = std::mem::take(&mut self.dirty);
        let positions = self.flushing.iter().filter_map(|source| self.slots.get(source)).map(Slot::progress).collect();
        let progress = self.progress.clone();
        self.flush = Some(Box::pin(async move { progress.put(positions).await }));
    }

    pub(super) fn flushed(&mut self, result: Result<(), progress::Error>) {
        self.flush = None;
        self.flush_after = Instant::now() + FLUSH_EVERY;
        let flushed = std::mem::take(&mut self.flushing);
        match result {
            Ok(()) => {
                for source in &flushed {
                    if let Some(slot) = self.slots.get(source) {
                        slot.assignment.cell.update(|view| view.progress_trouble = None);
                    }
                }
            }
            Err(error) => {
                let message = describe(&error);
                for source in flushed {
                    if let Some(slot) = self.slots.get(&source) {
                        slot.assignment.cell.update(|view| {
                            let since_ms = view.progress_trouble.as_ref().map_or_else(wall_ms, |t| t.since_ms);
                            let code = "PROGRESS-WRITE".to_owned();
                            view.progress_trouble =
                                Some(Trouble { code, message: message.clone(), hint: None, since_ms });
                        });
                        self.dirty.insert(source);
                    }
                }
            }
        }
        self.finish_releases();
    }
}

impl Slot {
    fn progress(&self) -> (progress::Key, progress::Position) {
        let (a, p) = (&self.assignment, &self.partition);
        let beside = progress::Beside {
            format: progress::FORMAT,
            target: p.target_next().or(a.target_next),
            source_id: a.source_id.map(|id| id.to_string()),
            target_id: a.target_id.clone(),
            epoch: p.epoch(),
            producer: a.start.identity.id,
            producer_epoch: a.start.identity.epoch,
            sequence: p.sequence(),
            skip: 0,
        };
        (a.key.clone(), progress::Position { next: p.position(), beside: Some(beside) })
    }
}

pub(super) async fn poll_flush(flush: &mut Option<Flush>) -> Result<(), progress::Error> {
    match flush {
        Some(flush) => flush.await,
        None => std::future::pending().await,
    }
}
