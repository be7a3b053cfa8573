//! An in-memory Kafka broker for development.
