//! The Kafka protocol over TCP.

use std::sync::Arc;

pub mod batch;
pub mod compress;
pub mod fetch;
mod primitive;
pub mod produce;
pub mod records;
pub mod sequence;
pub mod session;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition index.
    pub partition: i32,
}
