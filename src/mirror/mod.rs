//! MirrorMaker 2 semantics: what is copied, how it is named, how far it got.
//!
//! A [`flow`] is one running connector. It finds topics, begins partitions and gives them to a [`lane`], the one task that
//! moves batches; [`partition`] is the pure state machine that the lane steps, [`shape`] what is done with each batch,
//! [`progress`] how far each partition got. Control-plane words (files, plans, engines) are unknown here.

pub mod aborted;
pub mod assign;
pub mod cells;
pub mod clients;
pub mod config;
pub mod filter;
pub mod flow;
pub mod lane;
pub mod lanes;
pub mod meter;
pub mod naming;
pub mod partition;
pub mod progress;
pub mod shape;
pub mod start;
pub mod stops;
pub mod tail;
pub mod topics;

/// The whole chain of an error in one line.
#[must_use]
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Wall clock in ms since 1970, for what people read; never for deciding order.
#[must_use]
pub(crate) fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
