//! The task that finds leaders for partitions that have something to write.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::state::Shared;
use super::{Outcome, lane};
use crate::kafka::{Error, Leader, TopicPartition};
use crate::supervise::{self, Task};

/// Runs until dropped; owns the brokers' tasks.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut lanes: HashMap<i32, Task<()>> = HashMap::new();
    let mut searches: FuturesUnordered<BoxFuture<'static, (TopicPartition, Result<Leader, Error>)>> =
        FuturesUnordered::new();
    loop {
        let (due, next) = shared.due();
        for tp in due {
            let cluster = shared.cluster.clone();
            match cluster.cached_leader(&tp) {
                Some(leader) => place(&shared, &mut lanes, &tp, leader),
                None => searches.push(Box::pin(async move {
                    let found = cluster.leader(&tp).await;
                    (tp, found)
                })),
            }
        }
        let later = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((tp, found)) = searches.next(), if !searches.is_empty() => match found {
                Ok(leader) => place(&shared, &mut lanes, &tp, leader),
                Err(error) => {
                    for item in shared.give_up(&tp) {
                        let code = error.broker_code();
                        let outcome = Outcome::Failed { error: error.clone(), code, unknown: false };
                        shared.ack(&tp, item, outcome, false).await;
                    }
                }
            },
            () = shared.routing.notified() => {}
            () = later => {}
        }
    }
}

fn place(shared: &Arc<Shared>, lanes: &mut HashMap<i32, Task<()>>, tp: &TopicPartition, leader: Leader) {
    if let Some(inbox) = shared.place(tp, leader) {
        let task = lane::run(shared.clone(), leader.node, inbox);
        lanes.insert(leader.node, supervise::spawn(format!("produce to broker {}", leader.node), task));
    }
}
