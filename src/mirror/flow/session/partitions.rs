//! A flow's partitions: begun, given to a lane, and taken back.

use super::connect::identity;
use super::*;

impl Session {
    pub(super) async fn begin_due(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        let due: Vec<Wanted> = self
            .known
            .values()
            .filter(|w| match self.again.get(&w.source) {
                Some((at, _)) => *at <= now,
                None => !self.assigned.contains_key(&w.source),
            })
            .cloned()
            .collect();
        for chunk in due.chunks(BEGIN_AT_ONCE) {
            self.begin(chunk.to_vec()).await?;
        }
        Ok(())
    }

    pub(super) async fn begin(&mut self, wanted: Vec<Wanted>) -> Result<(), Trouble> {
        if self.identities.is_empty() || self.fenced {
            return Ok(());
        }
        let again: Vec<_> =
            wanted.iter().map(|w| w.source.clone()).filter(|tp| self.assigned.contains_key(tp)).collect();
        self.release(&again, true).await;
        let target = self.context.lanes.target().clone();
        for rank in self.identities.len()..wanted.iter().map(|w| w.rank + 1).max().unwrap_or(0) {
            let (identity, _) = identity(&target, &self.context.group, &self.config.name, rank).await?;
            self.identities.push(identity);
        }
        let progress = self.context.lanes.progress().clone();
        let reset = if self.config.from_latest { Reset::Latest } else { Reset::Earliest };
        let context = begin::Context {
            connector: &self.config.name,
            alias: &self.config.source_alias,
            source: &self.source,
            target: &target,
            progress: &progress,
            identities: &self.identities,
            rules: Rules {
                on_recreated: self.config.on_recreated,
                on_truncated: self.config.on_truncated,
                on_purged: self.config.on_purged,
                reset,
            },
        };
        let begun = begin::begin(&context, wanted).await.map_err(|e| trouble("positions", &e))?;
        self.shared.problem("positions", None);
        let mut assignments = Vec::new();
        for begun in begun {
            match begun {
                Begun::Ready { wanted, start, target_next, lost, note } => {
                    self.shared.cell.lost(lost);
                    if let Some(note) = note {
                        tracing::warn!(connector = %self.config.name, "{note}");
                        let mut state = self.shared.state();
                        if state.notes.len() == NOTES {
                            state.notes.remove(0);
                        }
                        state.notes.push(note);
                    }
                    if let Some(assignment) = self.assignment(wanted, start, target_next) {
                        assignments.push(assignment);
                    }
                }
                Begun::Not { wanted, stop } => {
                    self.rediscover |= stop.state.starts_with("source-") || stop.state.starts_with("target-");
                    schedule(&mut self.again, &wanted.source, stop.remedy);
                    if let Some((_, cell)) = self.shared.state().partitions.get(&wanted.source) {
                        cell.update(|view| {
                            view.stopped_since_ms = Some(view.stopped_since_ms.unwrap_or_else(wall_ms));
                            view.stop = Some(stop);
                        });
                    }
                }
            }
        }
        self.assign(assignments).await
    }

    pub(super) fn assignment(
        &self,
        wanted: Wanted,
        start: crate::mirror::partition::Start,
        target_next: Option<i64>,
    ) -> Option<Assignment> {
        let cell: Arc<PartitionCell> = self.shared.state().partitions.get(&wanted.source)?.1.clone();
        let policy = self.discovered.as_ref()?.policies.get(&wanted.target.topic)?.clone();
        let key = crate::mirror::progress::Key {
            connector: self.config.name.clone(),
            cluster: self.config.source_alias.clone(),
            topic: wanted.source.topic.to_string(),
            partition: wanted.source.partition,
        };
        Some(Assignment {
            flow: self.shared.cell.clone(),
            cell,
            key,
            source: wanted.source,
            source_id: wanted.source_id,
            target: wanted.target,
            target_id: wanted.target_id,
            start,
            target_next,
            policy,
            on_purged: self.config.on_purged,
            on_truncated: self.config.on_truncated,
            on_recreated: self.config.on_recreated,
            go_on_after_loss: self.config.on_recreated == Policy::Continue
                && self.config.on_truncated == Policy::Continue,
        })
    }

    pub(super) async fn assign(&mut self, assignments: Vec<Assignment>) -> Result<(), Trouble> {
        if assignments.is_empty() {
            return Ok(());
        }
        let partitions: Vec<_> = assignments.iter().map(|a| a.source.clone()).collect();
        // Another flow may copy the same partition: then it is another lane.
        let lane = self.context.lanes.reserve(&self.source, &self.clients.reading, &partitions);
        self.shared.state().lane = Some(lane.clone());
        for tp in &partitions {
            if let Some((at, _)) = self.again.get_mut(tp) {
                // It stays known as troubled until it moves, but is not due again before it stops again.
                *at = Instant::now() + NEVER;
            }
        }
        self.assigned.extend(partitions.into_iter().map(|tp| (tp, lane.clone())));
        lane.assign(assignments).await.map_err(|_| Trouble {
            area: "lane",
            problem: Problem {
                code: "LANE-ENDED".into(),
                message: "the data path of this flow ended unexpectedly".into(),
                hint: Some("a defect of mirrorkeeper: please report it with the log".into()),
                since_ms: wall_ms(),
                fatal: true,
            },
        })
    }

    pub(super) async fn release(&mut self, partitions: &[TopicPartition], drain: bool) {
        while let Some(lane) = partitions.iter().find_map(|tp| self.assigned.get(tp)).cloned() {
            let ours = |tp: &&TopicPartition| self.assigned.get(*tp).is_some_and(|of| of.same(&lane));
            let held: Vec<_> = partitions.iter().filter(ours).cloned().collect();
            // A lane that is gone holds nothing any more.
            let _ = lane.release(held.clone(), drain).await;
            self.context.lanes.give_back(&lane, &held);
            for tp in &held {
                self.assigned.remove(tp);
            }
        }
        if self.assigned.is_empty() {
            self.shared.state().lane = None;
        }
    }
}
