//! Partitions to tasks, as `MirrorSourceConnector.taskConfigs` deals them out. Pure.

/// Deals items round robin over `min(tasks_max, items)` tasks; no item, no task.
#[must_use]
pub fn split<T: Clone>(items: &[T], tasks_max: usize) -> Vec<Vec<T>> {
    let tasks = tasks_max.min(items.len());
    let mut out = vec![Vec::new(); tasks];
    for (index, item) in items.iter().enumerate() {
        out[index % tasks].push(item.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn twelve_partitions_over_three_tasks() {
        let items: Vec<i32> = (0..12).collect();
        assert_eq!(split(&items, 3), [vec![0, 3, 6, 9], vec![1, 4, 7, 10], vec![2, 5, 8, 11]]);
        assert_eq!(split::<i32>(&[], 3), Vec::<Vec<i32>>::new());
        assert_eq!(split(&[1], 3), [vec![1]]);
    }

    proptest! {
        #[test]
        fn everything_is_dealt_once_and_evenly(items in proptest::collection::vec(any::<u8>(), 0..50), tasks in 1usize..10) {
            let dealt = split(&items, tasks);
            let mut all: Vec<u8> = dealt.concat();
            let mut expected = items;
            all.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            let sizes = dealt.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
        }
    }
}
