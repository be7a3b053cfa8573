//! Fetching.
pub mod budget;
pub mod message;

/// Which records count as readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// All that is replicated.
    ReadUncommitted,
    /// Only what is decided.
    ReadCommitted,
}
