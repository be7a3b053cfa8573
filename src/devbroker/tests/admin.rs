//! Administration by librdkafka.

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::RDKafkaErrorCode;

use super::{client, cluster};

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_their_configurations() {
    let cluster = cluster(3).await;
    let admin: AdminClient<DefaultClientContext> = AdminClient::from_config(&client(&cluster, &[])).unwrap();
    let options = AdminOptions::new();
    let topic = |name: &'static str, replicas: i32| {
        NewTopic::new(name, 2, TopicReplication::Fixed(replicas)).set("cleanup.policy", "compact")
    };
    let asked = [topic("good", 2), topic("bad/name", 1), topic("wide", 9)];
    let made = admin.create_topics(&asked, &options).await.unwrap();
    let wrong = |at: usize| made[at].as_ref().unwrap_err().1;
    assert_eq!(made[0].as_deref(), Ok("good"));
    assert_eq!((wrong(1), wrong(2)), (RDKafkaErrorCode::InvalidTopic, RDKafkaErrorCode::InvalidReplicationFactor));
    let made = admin.create_topics(&[topic("good", 1)], &options).await.unwrap();
    assert_eq!(made[0].as_ref().unwrap_err().1, RDKafkaErrorCode::TopicAlreadyExists);
    let grown = admin.create_partitions(&[NewPartitions::new("good", 5)], &options).await.unwrap();
    assert_eq!(grown[0].as_deref(), Ok("good"));
    let told = admin.describe_configs(&[ResourceSpecifier::Topic("good")], &options).await.unwrap();
    let told = told[0].as_ref().unwrap().entry_map();
    assert_eq!(told["cleanup.policy"].value.as_deref(), Some("compact"));
    assert!(!told["cleanup.policy"].is_default && told["max.message.bytes"].is_default);
    assert_eq!(told["max.message.bytes"].value.as_deref(), Some("1048588"));
    let change = AlterConfig::new(ResourceSpecifier::Topic("good")).set("retention.ms", "not a number");
    // rdkafka does not look at the error of a resource here: what stays tells
    let _told_as_done = admin.alter_configs(&[change], &options).await.unwrap();
    assert_eq!(cluster.inner.lock().topics["good"].configs["cleanup.policy"], "compact");
    let change = AlterConfig::new(ResourceSpecifier::Topic("good")).set("retention.ms", "5");
    assert!(admin.alter_configs(&[change], &options).await.unwrap()[0].is_ok());
    assert_eq!(cluster.inner.lock().topics["good"].configs.len(), 1, "what is not named goes back to its default");
    assert!(admin.delete_topics(&["good"], &options).await.unwrap()[0].is_ok());
    assert!(cluster.topics().is_empty());
}
