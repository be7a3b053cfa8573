//! What this project claims about Kafka, told on Apache Kafka itself.
//!
//! One binary, so that the shared brokers start once. Each test uses topics, groups and environments of its own.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod client;
mod jaas;
mod sasl;
mod security;
mod state_topic;
mod stories;
