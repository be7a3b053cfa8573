//! Creating topics, growing them, deleting our own.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest};
use kafka_protocol::protocol::StrBytes;

use super::{millis, named};
use crate::kafka::{Cluster, Error, ErrorCode};

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; -1: the broker's default (brokers from 2.4).
    pub partitions: i32,
    /// Replication factor; -1: the broker's default (brokers from 2.4).
    pub replication_factor: i16,
    /// Configuration, `cleanup.policy` and the like.
    pub configs: Vec<(String, String)>,
}

/// Creates topics; one result each, in the order given. A topic that exists comes with TOPIC_ALREADY_EXISTS.
///
/// # Errors
/// The controller could not be asked within `config.api_timeout`.
pub async fn create_topics(cluster: &Cluster, topics: &[NewTopic]) -> Result<Vec<(String, Result<(), Error>)>, Error> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let timeout_ms = millis(cluster.config().request_timeout);
    let build = |_| {
        let creatable = |t: &NewTopic| {
            let config = |(name, value): &(String, String)| {
                CreatableTopicConfig::default().with_name(named(name)).with_value(Some(named(value)))
            };
            CreatableTopic::default()
                .with_name(named(&t.name).into())
                .with_num_partitions(t.partitions)
                .with_replication_factor(t.replication_factor)
                .with_configs(t.configs.iter().map(config).collect())
        };
        CreateTopicsRequest::default().with_topics(topics.iter().map(creatable).collect()).with_timeout_ms(timeout_ms)
    };
    let answer = cluster.call_controller(build, |r| moved(r.topics.iter().map(|t| t.error_code))).await?;
    Ok(in_order(
        "CreateTopics",
        topics.iter().map(|t| t.name.as_str()),
        answer.topics.into_iter().map(|t| (t.name.0, t.error_code, t.error_message)),
    ))
}

/// Grows topics to the given number of partitions; one result each, in the order given.
///
/// # Errors
/// The controller could not be asked within `config.api_timeout`.
pub async fn create_partitions(
    cluster: &Cluster,
    increase_to: &[(String, i32)],
) -> Result<Vec<(String, Result<(), Error>)>, Error> {
    if increase_to.is_empty() {
        return Ok(Vec::new());
    }
    let timeout_ms = millis(cluster.config().request_timeout);
    let build = |_| {
        let topic = |(name, count): &(String, i32)| {
            CreatePartitionsTopic::default().with_name(named(name).into()).with_count(*count).with_assignments(None)
        };
        CreatePartitionsRequest::default()
            .with_topics(increase_to.iter().map(topic).collect())
            .with_timeout_ms(timeout_ms)
    };
    let answer = cluster.call_controller(build, |r| moved(r.results.iter().map(|t| t.error_code))).await?;
    Ok(in_order(
        "CreatePartitions",
        increase_to.iter().map(|(name, _)| name.as_str()),
        answer.results.into_iter().map(|t| (t.name.0, t.error_code, t.error_message)),
    ))
}

/// NOT_CONTROLLER is said per item but concerns the whole call: ask again elsewhere.
fn moved(mut codes: impl Iterator<Item = i16>) -> ErrorCode {
    codes.find(|code| *code == ErrorCode::NOT_CONTROLLER.0).map_or(ErrorCode::NONE, ErrorCode)
}

/// One result per asked name, in the order asked; a name without an answer is an error, not a success (law 8).
pub(super) fn in_order<'a>(
    api: &'static str,
    asked: impl Iterator<Item = &'a str>,
    answers: impl Iterator<Item = (StrBytes, i16, Option<StrBytes>)>,
) -> Vec<(String, Result<(), Error>)> {
    let answers: Vec<_> = answers.collect();
    asked
        .map(|name| {
            let result = match answers.iter().find(|(answered, ..)| answered.as_str() == name) {
                Some((_, code, message)) => ErrorCode(*code)
                    .ok()
                    .map_err(|code| Error::broker(api, code, name, message.as_ref().map(|m| m.to_string()))),
                None => Err(super::unanswered(api, name)),
            };
            (name.to_owned(), result)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_name_is_an_error() {
        let answers = vec![
            (StrBytes::from_static_str("b"), 0, None),
            (StrBytes::from_static_str("a"), 36, Some(StrBytes::from_static_str("there"))),
        ];
        let results = in_order("CreateTopics", ["a", "b", "c"].into_iter(), answers.into_iter());
        assert_eq!(results[0].1.as_ref().unwrap_err().broker_code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
        assert!(results[1].1.is_ok());
        assert!(results[2].1.is_err());
    }
}
