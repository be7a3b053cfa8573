//! What an acknowledgement does to a partition: the position moves, a batch goes again or in parts, or all stands still.

use super::*;

impl Partition {
    pub(super) fn acknowledged(&mut self, tag: u64, outcome: Outcome, now: u64, actions: &mut Vec<Action>) {
        if !self.in_flight.iter().any(|f| f.tag == tag) {
            return;
        }
        self.on_wire = self.on_wire.saturating_sub(1);
        let (reply, why) = read(outcome);
        if why.is_none() {
            self.last_ack = now;
        }
        let todo = self.window.on_ack(tag, reply);
        self.follow(todo, why.as_deref(), now, actions);
    }

    fn follow(&mut self, todo: Vec<sequence::Action>, why: Option<&str>, now: u64, actions: &mut Vec<Action>) {
        if why.is_some() && self.stop.is_none() {
            self.trouble = why.map(str::to_owned);
        }
        for action in todo {
            match action {
                sequence::Action::Done { tag, base_offset, .. } => self.settle(tag, base_offset, actions),
                sequence::Action::Send { tag, sequence } => {
                    if let Some(flight) = self.in_flight.iter_mut().find(|f| f.tag == tag) {
                        flight.sequence = sequence;
                    }
                    self.unsent.push_back(tag);
                    if let Some(why) = why
                        && self.retry_at.is_none()
                    {
                        self.retry_at = Some(now + self.next_wait());
                        if now.saturating_sub(*self.failing_since.get_or_insert(now)) >= GIVE_UP_MS {
                            self.give_up(why);
                        }
                    }
                }
                sequence::Action::Split { tag, .. } => self.too_large(tag, now, actions),
                sequence::Action::End(verdict) => self.end(verdict, why),
            }
        }
    }

    fn next_wait(&mut self) -> u64 {
        let (first, cap) = RETRY_MS;
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(cap);
        self.failures += 1;
        wait
    }

    /// Nobody knows what of this was written; the next start finds out.
    pub(super) fn give_up(&mut self, why: &str) {
        let offset = self.in_flight.front().map_or(self.position, |f| f.ready.first_source_offset);
        self.giving_up = true;
        self.stop_at(Stop {
            state: "target-unavailable",
            offset,
            message: format!("the target refused for {} s: {why}", GIVE_UP_MS / 1_000),
            hint: "see the remote topic's leader and replicas; it is tried again".to_owned(),
            remedy: Remedy::Reread,
        });
    }

    /// Law 1: the window says done in order, so the position follows an unbroken row.
    fn settle(&mut self, tag: u64, base: Option<i64>, actions: &mut Vec<Action>) {
        let Some(flight) = self.in_flight.pop_front() else { return };
        debug_assert_eq!(flight.tag, tag, "done out of order");
        if let (Some(base), Some(target)) = (base, self.target_next)
            && base < target
            && !self.go_on_after_loss
        {
            self.lost = true;
            self.stop_at(stops::target_lost(flight.ready.first_source_offset, base, target));
        }
        if self.lost {
            return;
        }
        self.settled_start = true;
        self.failing_since = None;
        self.position = flight.next;
        self.copied_epoch = flight.epoch;
        let records = i64::from(flight.ready.records);
        match (base, self.target_next.as_mut()) {
            (Some(base), _) => self.target_next = Some(base + records),
            // A recognised repeat whose offset was not told lies where it was expected.
            (None, Some(target)) => *target += records,
            (None, None) => {}
        }
        let map = base.map(|base| Written { base, runs: flight.ready.runs.clone(), records: flight.ready.records });
        let (bytes, times) = (flight.ready.bytes as u64, Some(Times::of(&flight.ready)));
        actions.push(Action::Moved { records: records.unsigned_abs(), bytes, times, map });
        self.failures = 0;
        self.trouble = None;
    }

    /// The target's limit is below ours: the batch goes out in parts, within the same sequence range.
    fn too_large(&mut self, tag: u64, now: u64, actions: &mut Vec<Action>) {
        let Some(at) = self.in_flight.iter().position(|f| f.tag == tag) else { return };
        let flight = &self.in_flight[at];
        // Into two: nobody knows the target's limit but by trying, and a large record may fit although its half would not.
        match shape::split_ready(&flight.ready, usize::MAX) {
            Ok(parts) => {
                let (next, epoch, held) = (flight.next, flight.epoch, flight.held.clone());
                let last = parts.len() - 1;
                let mut sequence = flight.sequence;
                let mut tags = Vec::with_capacity(parts.len());
                self.in_flight.remove(at);
                for (i, ready) in parts.into_iter().enumerate() {
                    let tag = self.next_tag;
                    self.next_tag += 1;
                    tags.push((tag, ready.records));
                    let next = if i == last { next } else { ready.next_source_offset };
                    let records = ready.records;
                    let flight = InFlight { tag, sequence, ready, next, epoch, held: held.clone() };
                    if sequence >= 0 {
                        sequence = sequence::advance(sequence, records);
                    }
                    self.in_flight.insert(at + i, flight);
                }
                let todo = self.window.split(tag, &tags);
                self.follow(todo, None, now, actions);
                self.trouble = None;
            }
            Err(why) => {
                let stop = stop_of(flight.ready.first_source_offset, &why);
                self.abandon();
                self.stop_at(stop);
            }
        }
    }

    fn end(&mut self, verdict: Verdict, why: Option<&str>) {
        let offset = self.in_flight.front().map_or(self.position, |f| f.ready.first_source_offset);
        self.abandon();
        let message = why.unwrap_or("the target refused the batch").to_owned();
        let (state, hint, remedy) = match verdict {
            Verdict::Lost | Verdict::UnknownProducer => {
                ("sequence-lost", "nothing: the destination is asked how far it got", Remedy::Reread)
            }
            Verdict::Fenced => ("fenced", "see who else runs with this group.id", Remedy::Fenced),
            Verdict::TooLarge { .. } => {
                let (state, hint) = stops::refusal(ErrorCode(10));
                (state, hint, Remedy::Person)
            }
            Verdict::Refused { code, .. } => {
                let (state, hint) = stops::refusal(ErrorCode(code));
                (state, hint, Remedy::Person)
            }
        };
        self.stop_at(Stop { state, offset, message, hint: hint.to_owned(), remedy });
    }

    /// The window has ended: nothing more is awaited, what was unresolved is found out at the next start.
    pub(super) fn abandon(&mut self) {
        self.abandoned = self.abandoned.or(self.in_flight.front().map(|flight| flight.sequence));
        self.in_flight.clear();
        self.unsent.clear();
        self.on_wire = 0;
        self.retry_at = None;
        self.trouble = None;
    }
}

fn read(outcome: Outcome) -> (Reply, Option<String>) {
    match outcome {
        Outcome::Written { base_offset, .. } => (Reply::Written { base_offset }, None),
        Outcome::Duplicate => (Reply::Duplicate, None),
        Outcome::Failed { error, code, .. } => {
            // Without a code nobody knows whether it was written: the same again will tell.
            let reply = code.map_or(Reply::Retry, |code| Reply::from_code(code.0, -1));
            (reply, Some(crate::mirror::describe(&error)))
        }
    }
}

pub(super) fn stop_of(offset: i64, why: &StopReason) -> Stop {
    let (state, hint) = stops::of_shape(why);
    Stop { state, offset, message: crate::mirror::describe(why), hint: hint.to_owned(), remedy: Remedy::Person }
}
