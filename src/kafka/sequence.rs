//! Sequences of an idempotent producer, per partition.
