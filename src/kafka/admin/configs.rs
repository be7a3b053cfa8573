//! Topic configurations: described, and changed entry by entry (KIP-339).

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use super::{named, unanswered};
use crate::kafka::{Cluster, Error, ErrorCode, Role};

const TOPIC: i8 = 2;

/// One configuration of a topic. Java's `ConfigEntry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` for a sensitive one, or where there is none.
    pub value: Option<String>,
    /// Whether it can't be changed.
    pub read_only: bool,
    /// Whether its value is kept secret.
    pub sensitive: bool,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether the topic itself does not set it. Java's `ConfigEntry.isDefault`: the compiled-in default.
    pub is_default: bool,
}

/// Where a configuration's value comes from. Java's `ConfigEntry.ConfigSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic,
    /// Set on one broker, dynamically.
    DynamicBroker,
    /// Set on all brokers, dynamically.
    DynamicDefaultBroker,
    /// Set in the broker's properties file.
    StaticBroker,
    /// Compiled in.
    Default,
    /// A source newer than this list.
    Other(i8),
}

/// A change of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterConfig {
    /// Set to a value.
    Set(String, String),
    /// Back to the broker's default.
    Delete(String),
}

impl ConfigSource {
    fn of(code: i8) -> Self {
        match code {
            1 => ConfigSource::DynamicTopic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            other => ConfigSource::Other(other),
        }
    }
}

/// Describes the configurations of topics; one result each, in the order given.
///
/// # Errors
/// No broker answered within `config.api_timeout`.
pub async fn describe_topic_configs(
    cluster: &Cluster,
    topics: &[String],
) -> Result<Vec<(String, Result<Vec<ConfigEntry>, Error>)>, Error> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let build = |_| {
        let resource = |name: &String| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(named(name))
                .with_configuration_keys(None)
        };
        DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect())
    };
    let answer = cluster.call_any(Role::Admin, build, |_| ErrorCode::NONE).await?;
    let described = |name: &String| {
        let Some(found) = answer.results.iter().find(|r| r.resource_name.as_str() == name) else {
            return Err(unanswered("DescribeConfigs", name));
        };
        ErrorCode(found.error_code).ok().map_err(|code| {
            let words = found.error_message.as_ref().map(|m| m.to_string());
            Error::broker("DescribeConfigs", code, name, words)
        })?;
        let entry = |c: &kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
            let source = ConfigSource::of(c.config_source);
            ConfigEntry {
                name: c.name.to_string(),
                value: c.value.as_ref().map(|v| v.to_string()),
                read_only: c.read_only,
                sensitive: c.is_sensitive,
                source,
                is_default: source == ConfigSource::Default,
            }
        };
        Ok(found.configs.iter().map(entry).collect())
    };
    Ok(topics.iter().map(|name| (name.clone(), described(name))).collect())
}

/// Changes configurations of one topic, all or none; what is not named stays.
///
/// # Errors
/// The broker's refusal, or nobody answered within `config.api_timeout`. Brokers before 2.3 lack the API.
pub async fn incremental_alter_topic_configs(
    cluster: &Cluster,
    topic: &str,
    changes: &[AlterConfig],
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let build = |_| {
        let change = |change: &AlterConfig| match change {
            AlterConfig::Set(name, value) => AlterableConfig::default()
                .with_name(named(name))
                .with_config_operation(0)
                .with_value(Some(named(value))),
            AlterConfig::Delete(name) => {
                AlterableConfig::default().with_name(named(name)).with_config_operation(1).with_value(None)
            }
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(named(topic))
            .with_configs(changes.iter().map(change).collect());
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    let answer = cluster
        .call_controller(build, |r| {
            let code = r.responses.first().map(|r| ErrorCode(r.error_code));
            code.filter(|code| *code == ErrorCode::NOT_CONTROLLER).unwrap_or_default()
        })
        .await?;
    let Some(answer) = answer.responses.into_iter().next() else {
        return Err(unanswered("IncrementalAlterConfigs", topic));
    };
    ErrorCode(answer.error_code).ok().map_err(|code| {
        Error::broker("IncrementalAlterConfigs", code, topic, answer.error_message.map(|m| m.to_string()))
    })
}
