//! The Kafka protocol over TCP.

pub mod batch;
pub mod compress;
pub mod records;
