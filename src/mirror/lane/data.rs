//! A lane's data: chunks in, batches out, acknowledgements back; each steps one partition.

use super::*;

impl Run {
    pub(super) fn fetched(&mut self, event: FetchEvent) {
        match event {
            FetchEvent::Chunk(chunk) => self.chunk(chunk),
            FetchEvent::Trouble { tp, generation, kind } => {
                let Some(slot) = self.slots.get_mut(&tp) else { return };
                if generation != slot.partition.generation() {
                    return;
                }
                let position = slot.partition.position();
                match stops::of_fetch(kind, position, slot.assignment.on_purged) {
                    stops::Fetched::Retrying(trouble) => slot.assignment.cell.update(|view| {
                        let since_ms = view.source_trouble.as_ref().map_or_else(wall_ms, |t| t.since_ms);
                        view.source_trouble = Some(Trouble { since_ms, ..trouble });
                    }),
                    stops::Fetched::Recovered => slot.assignment.cell.update(|view| view.source_trouble = None),
                    stops::Fetched::Purged { log_start } => self.purged(&tp, log_start),
                    stops::Fetched::Stop(mut stop) => {
                        let (truncated, recreated) = (slot.assignment.on_truncated, slot.assignment.on_recreated);
                        // Where the policy is to go on the next start does so.
                        if (stop.state == "source-truncated" && truncated == Policy::Continue)
                            || (stop.state == "source-recreated" && recreated == Policy::Continue)
                        {
                            stop.remedy = Remedy::Reread;
                        }
                        self.step(&tp, Event::Stop(stop));
                    }
                }
            }
        }
    }

    /// Records were deleted at the source before they were copied, and the policy is to go on: it starts behind them.
    pub(super) fn purged(&mut self, source: &TopicPartition, log_start: i64) {
        let Some(slot) = self.slots.get_mut(source) else { return };
        let stop = stops::purged(slot.partition.position(), log_start);
        // What was read before the purge may still be in flight, so the flow restarts it once that is settled, and counts
        // what was lost.
        self.step(source, Event::Stop(Stop { remedy: Remedy::Reread, ..stop }));
    }

    pub(super) fn chunk(&mut self, chunk: Chunk) {
        let now_ms = wall_ms();
        let Some(slot) = self.slots.get_mut(&chunk.tp) else { return };
        if chunk.generation != slot.partition.generation() {
            return;
        }
        let end = if slot.assignment.policy.read_committed { chunk.last_stable_offset } else { chunk.high_watermark };
        slot.end = Some(end);
        let position = slot.partition.position();
        slot.assignment.cell.update(|view| {
            view.source_trouble = None;
            view.at(position, Some(end), now_ms);
        });
        if chunk.records.is_empty() {
            return;
        }
        let bytes = chunk.records.len();
        let Chunk { tp, generation, fetch_offset, records, aborted, permit, .. } = chunk;
        let held: Held = Arc::new(permit);
        let policy = slot.assignment.policy.clone();
        let skip = slot.partition.skip();
        let epoch = shape::last_epoch(&records);
        let cheap = skip == 0 && shape::bytes_to_rebuild(&records, fetch_offset, &policy) <= SHAPE_AT_ONCE;
        let work = move || {
            let mut counters = ShapeCounters::default();
            let (items, skip) = shape::shape(&records, fetch_offset, skip, &aborted, &policy, &mut counters);
            let next = shape::next_offset(&items).unwrap_or(fetch_offset);
            (items, skip, next, counters)
        };
        let from = fetch_offset;
        if cheap {
            let (items, skip, next, counters) = work();
            self.shaped(Shaped {
                source: tp,
                generation,
                outcome: Ok((items, skip, next)),
                epoch,
                from,
                counters,
                held,
                bytes,
            });
        } else {
            // Decompressing and compressing would hold up every other partition of the lane.
            self.shaping.push(Box::pin(async move {
                let result = supervise::blocking("shaping of a batch", SHAPE_DEADLINE, work).await;
                let (outcome, counters) = match result {
                    Ok((items, skip, next, counters)) => (Ok((items, skip, next)), counters),
                    Err(blocked) => (Err(blocked), ShapeCounters::default()),
                };
                Shaped { source: tp, generation, outcome, epoch, from, counters, held, bytes }
            }));
        }
    }

    pub(super) fn shaped(&mut self, shaped: Shaped) {
        let Shaped { source, generation, outcome, epoch, from, counters, held, bytes } = shaped;
        let Some(slot) = self.slots.get_mut(&source) else { return };
        if generation != slot.partition.generation() {
            return;
        }
        slot.assignment.flow.shaped(counters.by_name());
        if let Some(wait) = slot.assignment.flow.spend(bytes) {
            // The limit is spent: what is here goes on, the next fetch waits.
            slot.partition.hold_wants_until(self.born.elapsed().as_millis() as u64 + wait.as_millis() as u64);
        }
        if let Ok((items, ..)) = &outcome {
            let now_ms = wall_ms();
            slot.assignment.cell.update(|view| {
                for item in items {
                    if let shape::Item::Ready(ready) = item {
                        view.meter.read(ready.records, Times::of(ready), now_ms);
                    }
                }
            });
        }
        let event = match outcome {
            Ok((items, skip, next)) => Event::Shaped { generation, items, next, epoch, skip, held },
            Err(blocked) => Event::Stop(stops::shaping(from, &blocked)),
        };
        self.step(&source, event);
    }

    pub(super) fn ack(&mut self, ack: Ack) {
        let Some(source) = self.by_generation.get(&partition::generation_of(ack.tag)).cloned() else { return };
        self.step(&source, Event::Ack { tag: ack.tag, outcome: ack.outcome });
    }

    pub(super) fn step(&mut self, source: &TopicPartition, event: Event) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(source) else { return };
        let actions = slot.partition.step(event, now);
        self.act(source, actions);
    }

    pub(super) fn act(&mut self, source: &TopicPartition, actions: Vec<Action>) {
        let now_ms = wall_ms();
        let Some(slot) = self.slots.get_mut(source) else { return };
        let mut moved = false;
        for action in actions {
            match action {
                Action::Want { offset, epoch, generation } => {
                    let topic_id = slot.assignment.source_id;
                    self.fetcher.want(source, Some(Want { offset, last_epoch: epoch, topic_id, generation }));
                }
                Action::Send { tag } => {
                    let Some(sealed) = slot.partition.sealed(tag) else { continue };
                    // The partition keeps the chunk's bytes accounted for until the acknowledgement.
                    if self.producer.submit(&slot.assignment.target, sealed, tag, None).is_err() {
                        slot.partition.not_sent(tag);
                    }
                }
                Action::Moved { records, bytes, times, .. } => {
                    moved = true;
                    if let Some(times) = times {
                        slot.assignment.flow.acknowledged(records, bytes, now_ms);
                        slot.assignment.cell.update(|view| view.meter.copied(records, bytes, times, now_ms));
                    }
                }
                Action::Stopped => {
                    self.fetcher.want(source, None);
                    slot.assignment.flow.attention.notify_one();
                    self.flush_now = true;
                }
            }
        }
        let partition = &slot.partition;
        slot.assignment.cell.update(|view| {
            view.at(partition.position(), slot.end, now_ms);
            view.oldest_held_ms = partition.oldest_held();
            if moved {
                view.last_ack_ms = Some(now_ms);
            }
            view.stop = partition.stopped().cloned();
            view.stopped_since_ms = view.stop.as_ref().map(|_| view.stopped_since_ms.unwrap_or(now_ms));
            view.target_trouble = partition.trouble().map(|message| Trouble {
                code: "TARGET-RETRY".to_owned(),
                message: message.to_owned(),
                hint: None,
                since_ms: view.target_trouble.as_ref().map_or(now_ms, |t| t.since_ms),
            });
        });
        if partition.needs_tick() {
            self.restless.insert(source.clone());
        }
        if moved && slot.partition.writable() {
            if self.dirty.is_empty() && self.flush.is_none() {
                self.flush_after = Instant::now() + FLUSH_EVERY;
            }
            self.dirty.insert(source.clone());
        }
        if !self.releasing.is_empty() {
            self.finish_releases();
        }
    }
}
