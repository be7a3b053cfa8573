//! A flow's report: everything a person needs to believe it, derived when asked.
//!
//! Law 4: a partition that stands still, a side task that fails, or a source that can't be reached is never healthy.

use std::collections::BTreeMap;

use crate::kafka::TopicPartition;
use crate::mirror::cells::{Trouble, View};
use crate::mirror::partition::Remedy;

/// The health of a flow, worst last; the engine has the words for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Everything copied, or being copied.
    Healthy,
    /// It was asked to stand still.
    Paused,
    /// Not yet reading.
    Starting,
    /// Something fails, something goes on.
    Degraded,
    /// Readable records wait and nothing was acknowledged for long.
    Stalled,
    /// Nothing is copied until somebody acts.
    Failed,
}

/// What is wrong with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// What was tried, on what, why it failed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Wall clock in ms.
    pub since_ms: i64,
    /// Nothing at all is copied because of it.
    pub fatal: bool,
}

/// What a flow is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding clusters, topics and positions.
    Starting,
    /// Partitions are assigned.
    Running,
    /// Looking, not copying.
    Paused,
}

/// One partition of the report.
#[derive(Debug, Clone)]
pub struct PartitionState {
    /// Remote topic.
    pub remote: String,
    /// Its view.
    pub view: View,
    /// `copying`, `starting`, `retrying`, `paused`, or a named stop.
    pub state: String,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}

/// All of it at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// The worst that is true.
    pub health: Health,
    /// What is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Each partition.
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
}

/// The report over what is known. `now_ms` is wall clock; `stall_after_ms` is the setting.
#[must_use]
pub(super) fn report(
    phase: Phase,
    problems: &[Problem],
    views: BTreeMap<TopicPartition, (String, View)>,
    now_ms: i64,
    stall_after_ms: i64,
) -> Report {
    let mut health = match phase {
        Phase::Starting => Health::Starting,
        Phase::Running => Health::Healthy,
        Phase::Paused => Health::Paused,
    };
    let mut all = problems.to_vec();
    if let Some(worst) = problems.iter().map(|p| if p.fatal { Health::Failed } else { Health::Degraded }).max() {
        health = health.max(worst);
    }
    let (mut standing, mut stalled) = (0usize, 0usize);
    let mut partitions = BTreeMap::new();
    for (tp, (remote, view)) in views {
        let (state, problem) = state(phase, &tp, &view);
        if let Some(problem) = &problem {
            all.push(problem.clone());
            health = health.max(Health::Degraded);
        }
        if phase == Phase::Running && view.stop.is_none() && view.position.is_none() {
            health = health.max(Health::Starting);
        }
        standing += usize::from(view.stop.as_ref().is_some_and(|stop| stop.remedy != Remedy::Reread));
        let standing_still = view.stop.as_ref().is_some_and(|stop| stop.remedy == Remedy::Person);
        if phase == Phase::Running && !standing_still && view.stalled(now_ms, stall_after_ms) {
            stalled += 1;
            all.push(stall(&tp, &view, now_ms));
        }
        partitions.insert(tp, PartitionState { remote, view, state, problem });
    }
    if stalled > 0 {
        health = health.max(Health::Stalled);
    }
    if standing > 0 && standing == partitions.len() {
        health = health.max(Health::Failed);
    }
    all.sort_by(|a, b| b.fatal.cmp(&a.fatal).then(a.since_ms.cmp(&b.since_ms)));
    Report { health, problems: all, partitions }
}

fn state(phase: Phase, tp: &TopicPartition, view: &View) -> (String, Option<Problem>) {
    if let Some(stop) = &view.stop {
        let problem = Problem {
            code: stop.state.to_owned(),
            message: format!("{}-{} stands at offset {}: {}", tp.topic, tp.partition, stop.offset, stop.message),
            hint: Some(stop.hint.clone()),
            since_ms: view.stopped_since_ms.unwrap_or_default(),
            fatal: false,
        };
        return (stop.state.to_owned(), Some(problem));
    }
    let trouble = [&view.source_trouble, &view.target_trouble, &view.progress_trouble].into_iter().flatten().next();
    if let Some(trouble) = trouble {
        return ("retrying".to_owned(), Some(problem_of(tp, trouble)));
    }
    let state = match (phase, view.position) {
        (Phase::Paused, _) => "paused",
        (Phase::Starting, _) | (_, None) => "starting",
        _ => "copying",
    };
    (state.to_owned(), None)
}

fn problem_of(tp: &TopicPartition, trouble: &Trouble) -> Problem {
    Problem {
        code: trouble.code.clone(),
        message: format!("{}-{}: {}", tp.topic, tp.partition, trouble.message),
        hint: trouble.hint.clone(),
        since_ms: trouble.since_ms,
        fatal: false,
    }
}

fn stall(tp: &TopicPartition, view: &View, now_ms: i64) -> Problem {
    let since_ms = view.last_ack_ms.or(view.behind_since_ms).unwrap_or(now_ms);
    Problem {
        code: "STALLED".to_owned(),
        message: format!(
            "{}-{}: {} readable records wait and nothing was acknowledged for {} s",
            tp.topic,
            tp.partition,
            view.lag().unwrap_or_default(),
            (now_ms - since_ms) / 1_000
        ),
        hint: Some("see the partition's problem, the target's health and throttling".to_owned()),
        since_ms,
        fatal: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::partition::Stop;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    fn at(position: i64, end: i64) -> View {
        let mut view = View::default();
        view.at(position, Some(end), 1_000);
        view
    }

    fn stopped(remedy: Remedy) -> View {
        let stop = Stop { state: "record-too-large", offset: 3, message: "m".into(), hint: "h".into(), remedy };
        View { stop: Some(stop), ..at(3, 9) }
    }

    fn health(phase: Phase, problems: &[Problem], views: Vec<View>, now_ms: i64) -> Health {
        let views = views.into_iter().zip(0..).map(|(view, n)| (tp(n), ("r".to_owned(), view))).collect();
        report(phase, problems, views, now_ms, 60_000).health
    }

    #[test]
    fn each_word_is_reached() {
        assert_eq!(health(Phase::Running, &[], vec![at(9, 9), at(2, 9)], 2_000), Health::Healthy);
        assert_eq!(health(Phase::Starting, &[], vec![], 2_000), Health::Starting);
        assert_eq!(health(Phase::Paused, &[], vec![at(2, 9)], 999_000), Health::Paused);
        assert_eq!(health(Phase::Running, &[], vec![at(2, 9)], 61_000), Health::Stalled);
        assert_eq!(health(Phase::Running, &[], vec![stopped(Remedy::Person), at(9, 9)], 2_000), Health::Degraded);
        assert_eq!(health(Phase::Running, &[], vec![stopped(Remedy::Person)], 2_000), Health::Failed);
        let fatal = Problem { code: "X".into(), message: "m".into(), hint: None, since_ms: 0, fatal: true };
        assert_eq!(health(Phase::Starting, &[fatal], vec![], 2_000), Health::Failed);
    }

    #[test]
    fn what_is_read_again_and_again_is_stalled() {
        assert_eq!(health(Phase::Running, &[], vec![stopped(Remedy::Reread)], 2_000), Health::Degraded);
        assert_eq!(health(Phase::Running, &[], vec![stopped(Remedy::Reread)], 61_000), Health::Stalled);
    }

    #[test]
    fn a_retry_is_not_healthy() {
        let trouble = Trouble { code: "C".into(), message: "m".into(), hint: None, since_ms: 1 };
        let view = View { source_trouble: Some(trouble), ..at(9, 9) };
        assert_eq!(health(Phase::Running, &[], vec![view], 2_000), Health::Degraded);
    }
}
