//! Logs: text on a terminal, JSON otherwise, always to standard error.
//!
//! [`init`] is called once, by the program's start. It uses no sibling. No secret may be put into an event (law 9); nothing
//! here could take it out again.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How events look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Text`] on a terminal, [`Format::Json`] otherwise.
    Auto,
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter can't be read.
    #[error("the log filter can't be read: {why}; write a level such as info, or target=level,...")]
    Filter {
        /// What the parser says; a filter is no secret.
        why: String,
    },
    /// Somebody was faster.
    #[error("logs are set up already")]
    Twice,
}

/// Sends the events of the whole process to standard error. `color` allows ANSI colours in text.
///
/// # Errors
/// The filter can't be read, or this was called before.
pub fn init(format: Format, filter: &str, color: bool) -> Result<(), Error> {
    let filter = self::filter(filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let set = match format {
        Format::Text => registry.with(text(color)).try_init(),
        Format::Auto if io::stderr().is_terminal() => registry.with(text(color)).try_init(),
        Format::Auto | Format::Json => registry.with(json()).try_init(),
    };
    set.map_err(|_| Error::Twice)
}

fn filter(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder().parse(filter).map_err(|error| Error::Filter { why: error.to_string() })
}

fn text<S>(color: bool) -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(color).with_target(false)
}

fn json<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(io::stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_targets() {
        for good in ["info", "off", "warn,mirrorkeeper::git=debug", "mirrorkeeper=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        let error = filter("mirrorkeeper=loud").unwrap_err().to_string();
        assert!(error.contains("write a level"), "{error}");
    }
}
