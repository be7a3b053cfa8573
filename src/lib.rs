//! mirrorkeeper keeps Kafka mirrors the way a Git repository of MirrorMaker 2 connector files says.
//!
//! ```text
//! commit -> git -> spec -> reconcile -> engine -> mirror -> kafka -> destination
//!                               \-> status -> api
//! ```

pub mod api;
pub mod app;
pub mod cli;
pub mod demo;
pub mod destination;
pub mod devbroker;
pub mod engine;
pub mod git;
pub mod kafka;
pub mod mirror;
pub mod reconcile;
pub mod settings;
pub mod spec;
pub mod supervise;
pub mod telemetry;
