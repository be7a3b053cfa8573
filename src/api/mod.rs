//! HTTP: status, metrics and Kafka Connect's REST API.
