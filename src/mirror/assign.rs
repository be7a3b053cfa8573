//! Partitions to tasks, as Kafka Connect would report them (`MirrorSourceConnector.taskConfigs`). Pure.

use crate::kafka::TopicPartition;

/// Splits partitions round-robin over at most `tasks_max` tasks; no partitions, no tasks.
#[must_use]
pub fn assign(partitions: &[TopicPartition], tasks_max: usize) -> Vec<Vec<TopicPartition>> {
    let tasks = tasks_max.max(1).min(partitions.len());
    let mut split = vec![Vec::new(); tasks];
    for (i, tp) in partitions.iter().enumerate() {
        split[i % tasks].push(tp.clone());
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_never_empty_and_share_evenly() {
        let partitions: Vec<_> = (0..5).map(|partition| TopicPartition { topic: "t".into(), partition }).collect();
        let split = assign(&partitions, 3);
        assert_eq!(split.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(assign(&[], 3).is_empty());
        assert_eq!(assign(&partitions, 99).len(), 5);
    }
}
