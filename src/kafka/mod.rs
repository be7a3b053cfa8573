//! The Kafka protocol over TCP.
