//! Finding or creating the topic, and refusing one that would lose state.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::{KeyedLog, LogSpec};
use crate::kafka::admin::{NewTopic, create_topics, describe_topic_configs};
use crate::kafka::{Cluster, Error, ErrorCode, TopicInfo};

impl KeyedLog {
    /// Opens the log, creating its topic when it is missing.
    ///
    /// A missing permission to describe the topic's configuration is no reason to refuse it (as in Connect); it is
    /// logged.
    ///
    /// # Errors
    /// [`Error::NotCompacted`], a refusal to create or describe it, or nobody answered in time.
    pub async fn open(cluster: &Cluster, spec: LogSpec) -> Result<KeyedLog, Error> {
        let found = match describe(cluster, &spec.topic).await? {
            Some(found) => found,
            None => {
                create(cluster, &spec).await?;
                // The broker asked next may not have heard of it yet.
                cluster
                    .within(|| {
                        let topic = &spec.topic;
                        Box::pin(async move {
                            let missing = || {
                                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                                Error::broker("Metadata", code, topic.clone(), Some("just created".into()))
                            };
                            describe(cluster, topic).await?.ok_or_else(missing)
                        })
                    })
                    .await?
            }
        };
        check_compacted(cluster, &spec.topic).await?;
        Ok(KeyedLog {
            cluster: cluster.clone(),
            topic: Arc::from(spec.topic),
            next: found.partitions.iter().map(|p| (p.index, 0)).collect(),
            turn: Semaphore::new(1),
            writer: Mutex::default(),
        })
    }
}

async fn describe(cluster: &Cluster, topic: &str) -> Result<Option<TopicInfo>, Error> {
    let names = [topic.to_owned()];
    let found = cluster
        .within(|| {
            let names = &names;
            Box::pin(async move {
                let found = cluster.topics(Some(names)).await?.into_iter().next();
                let Some(found) = found else { return Ok(None) };
                match found.error {
                    ErrorCode::NONE => Ok(Some(found)),
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Ok(None),
                    code => Err(Error::broker("Metadata", code, topic, None)),
                }
            })
        })
        .await?;
    Ok(found.filter(|found| !found.partitions.is_empty()))
}

async fn create(cluster: &Cluster, spec: &LogSpec) -> Result<(), Error> {
    let mut configs: Vec<(String, String)> =
        spec.configs.iter().filter(|(name, _)| name != "cleanup.policy").cloned().collect();
    configs.push(("cleanup.policy".into(), "compact".into()));
    let topic = NewTopic {
        name: spec.topic.clone(),
        partitions: spec.partitions,
        replication_factor: spec.replication_factor,
        configs,
    };
    for (_, result) in create_topics(cluster, &[topic]).await? {
        match result {
            // Somebody else was faster; whether it is compacted is checked next.
            Err(error) if error.broker_code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Connect's `TopicAdmin.verifyTopicCleanupPolicyOnlyCompact`.
async fn check_compacted(cluster: &Cluster, topic: &str) -> Result<(), Error> {
    let described = describe_topic_configs(cluster, &[topic.to_owned()]).await?;
    let Some((_, result)) = described.into_iter().next() else { return Ok(()) };
    let entries = match result {
        Ok(entries) => entries,
        Err(error) if error.broker_code().is_some_and(ErrorCode::authorization) => {
            tracing::warn!(topic, %error, "cannot check that the topic is compacted");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let policy = entries.into_iter().find(|e| e.name == "cleanup.policy").and_then(|e| e.value).unwrap_or_default();
    if policy.trim() == "compact" { Ok(()) } else { Err(Error::NotCompacted { topic: topic.to_owned(), policy }) }
}
