//! MirrorMaker 2 semantics: what is copied, how it is named, how far it got.

pub mod assign;
pub mod config;
pub mod filter;
pub mod naming;
pub mod topics;
