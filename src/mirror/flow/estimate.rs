//! What a configuration would copy, before it does.

use super::{Order, discovery::taken};
use crate::kafka::admin::offsets::{OffsetSpec, list_offsets};
use crate::kafka::{self, TopicPartition};
use crate::mirror::lanes::Lanes;
use crate::mirror::progress::Key;

/// Topics and records at stake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtStake {
    /// Source topics that would be copied.
    pub topics: Vec<String>,
    /// Records between the position, or the log's start, and its end.
    pub records: u64,
}

/// Looks at the source and at progress; changes nothing.
///
/// # Errors
/// The source can't be asked.
pub async fn estimate(order: &Order, lanes: &Lanes) -> Result<AtStake, kafka::Error> {
    let config = &order.config;
    let source = lanes.source(&order.clients.source);
    let mut at_stake = AtStake::default();
    let mut partitions = Vec::new();
    for topic in source.topics(None).await? {
        // A pattern that gives up is reported where topics are discovered.
        if taken(config, &topic.name).unwrap_or(false) && topic.error.is_none() {
            let name: std::sync::Arc<str> = std::sync::Arc::from(&*topic.name);
            partitions
                .extend(topic.partitions.iter().map(|p| TopicPartition { topic: name.clone(), partition: p.index }));
            at_stake.topics.push(topic.name.to_string());
        }
    }
    let ask = |spec| partitions.iter().map(|tp| (tp.clone(), spec)).collect::<Vec<_>>();
    let starts = list_offsets(&source, &ask(OffsetSpec::Earliest), order.clients.reading.isolation).await?;
    let ends = list_offsets(&source, &ask(OffsetSpec::Latest), order.clients.reading.isolation).await?;
    for ((tp, start), (_, end)) in starts.into_iter().zip(ends) {
        let (start, end) = (start?.offset, end?.offset);
        let key = Key {
            connector: config.name.clone(),
            cluster: config.source_alias.clone(),
            topic: tp.topic.to_string(),
            partition: tp.partition,
        };
        let next = lanes.progress().get(&key).ok().flatten().map_or(start, |position| position.next.max(start));
        at_stake.records += u64::try_from(end - next).unwrap_or(0);
    }
    Ok(at_stake)
}
