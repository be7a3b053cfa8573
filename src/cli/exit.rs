//! How a command ends: its exit code, or why it failed.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of every command. They are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Fine.
    Fine = 0,
    /// A failure at run time.
    Failed = 1,
    /// The command line or the settings can't be used.
    Usage = 2,
    /// Differences were found.
    Different = 3,
    /// Connector files are invalid.
    Invalid = 4,
    /// A guard, a hold or a window refused.
    Refused = 5,
    /// The source can't be reached, or isn't trusted.
    Source = 6,
}

/// Printed below every `--help`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  fine
  1  failure at run time (status: something is Failed or Stalled; the daemon can't be reached)
  2  the command line or the settings can't be used
  3  differences found (status: drift; plan and diff: with --exit-code)
  4  invalid connector files (validate)
  5  refused by a guard, a hold or a window
  6  the source can't be reached or isn't trusted";

/// Why a command failed. Everything but the reader's going away is told on standard error.
#[derive(Debug)]
pub(super) enum Failure {
    /// Whoever read our output has gone: nothing is wrong.
    ReaderGone,
    /// Something is.
    Told { exit: Exit, message: String, hint: Option<String> },
}

/// How every command ends.
pub(super) type Ended = Result<Exit, Failure>;

// === impl Exit ===

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

// === impl Failure ===

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Told { exit, message: message.into(), hint: None }
    }

    pub(super) fn hint(self, new: impl Into<String>) -> Self {
        match self {
            Self::Told { exit, message, .. } => Self::Told { exit, message, hint: Some(new.into()) },
            Self::ReaderGone => Self::ReaderGone,
        }
    }

    /// An error with its causes.
    pub(super) fn chain(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, causes(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReaderGone => f.write_str("nobody reads the output any more"),
            Self::Told { message, .. } => f.write_str(message),
        }
    }
}

/// An error and its sources in one line; what a source repeats is said once.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
