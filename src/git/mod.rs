//! A repository as a stream of snapshots.
