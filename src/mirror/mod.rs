//! MirrorMaker 2 semantics: what is copied, how it is named, how far it got.

pub mod aborted;
pub mod shape;
