//! What a partition does next by itself: send what waits, pass over what is dropped, want more.

use super::acknowledge::stop_of;
use super::*;

impl Partition {
    /// Sends and wants all that may be sent and wanted now.
    pub(super) fn advance(&mut self, now: u64, actions: &mut Vec<Action>) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        if self.giving_up && self.on_wire == 0 {
            self.abandon();
        }
        if self.retry_at.is_none() && !self.giving_up {
            self.on_wire += self.unsent.len();
            actions.extend(self.unsent.drain(..).map(|tag| Action::Send { tag }));
        }
        while self.stop.is_none() && !self.draining && self.retry_at.is_none() {
            match self.queue.front().map(|queued| &queued.item) {
                Some(Item::Ready(_)) if self.window.room() => self.send_front(now, actions),
                Some(Item::Skipped { .. }) => self.skip_front(actions),
                Some(Item::Stop { .. }) if self.settled() => {
                    if let Some(Queued { item: Item::Stop { offset, why }, .. }) = self.queue.pop_front() {
                        self.stop_at(stop_of(offset, &why));
                    }
                }
                _ => break,
            }
        }
        if self.stop.is_some() && self.settled() {
            actions.push(Action::Stopped);
        } else if self.may_want(now) {
            self.wanting = true;
            self.wants_after = 0;
            let (offset, epoch) = (self.fetch_next, self.fetched_epoch);
            actions.push(Action::Want { offset, epoch, generation: self.generation });
        }
    }

    /// Small batches are left at the source until the window has room: they come back merged.
    fn may_want(&self, now: u64) -> bool {
        let stopping = self.queue.iter().any(|q| matches!(q.item, Item::Stop { .. }));
        !self.wanting
            && !stopping
            && self.stop.is_none()
            && !self.draining
            && self.retry_at.is_none()
            && self.wants_after <= now
            && self.queue_bytes < QUEUE_BYTES
            && ((self.queue.is_empty() && self.window.room()) || self.last_chunk_bytes >= WELL_FILLED)
    }

    fn send_front(&mut self, now: u64, actions: &mut Vec<Action>) {
        let Some(Queued { item: Item::Ready(ready), epoch, held }) = self.queue.pop_front() else { return };
        self.queue_bytes -= ready.bytes;
        if now.saturating_sub(self.last_ack) > IDLE_MS && self.settled() {
            self.window.require_first_alone();
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        let Some(sequence) = self.window.push(ready.records, tag) else { return };
        let next = ready.next_source_offset;
        self.in_flight.push_back(InFlight { tag, sequence, ready, next, epoch, held });
        self.on_wire += 1;
        actions.push(Action::Send { tag });
    }

    fn skip_front(&mut self, actions: &mut Vec<Action>) {
        let Some(Queued { item: Item::Skipped { next_source_offset, .. }, epoch, .. }) = self.queue.pop_front() else {
            return;
        };
        match self.in_flight.back_mut() {
            Some(last) => last.next = next_source_offset,
            None if self.lost => {}
            None => {
                self.position = next_source_offset;
                self.copied_epoch = epoch;
                actions.push(Action::Moved { records: 0, bytes: 0, times: None, map: None });
            }
        }
    }
}
