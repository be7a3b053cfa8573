//! Administration: topics, configurations, offsets, producers, groups.
//!
//! Each function takes a [`Cluster`](super::Cluster) and gives one result per item: one bad topic does not fail the
//! others (law 7). The outer error is for what concerns all: nobody answered in time.

pub mod configs;
pub mod groups;
pub mod offsets;
pub mod producers;
pub mod rights;
pub mod topics;

pub use configs::*;
pub use groups::*;
pub use offsets::*;
pub use producers::*;
pub use topics::*;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;

use super::{Error, Leader, TopicPartition};
use topics::in_order;

fn named(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The broker left an item out of its answer: that is no success (law 8).
fn unanswered(api: &'static str, item: &str) -> Error {
    Error::Protocol { addr: "the broker".into(), message: format!("{api} was not answered for {item}") }
}

fn by_topic(partitions: Vec<(TopicPartition, Leader)>) -> BTreeMap<Arc<str>, Vec<(i32, Leader)>> {
    let mut topics: BTreeMap<Arc<str>, Vec<(i32, Leader)>> = BTreeMap::new();
    for (tp, leader) in partitions {
        topics.entry(tp.topic).or_default().push((tp.partition, leader));
    }
    topics
}
