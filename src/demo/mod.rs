//! The story told by `mirrorkeeper demo`.

use std::process::ExitCode;

/// What the demo is told.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// Everything keeps running when the story is told.
    pub keep: bool,
}

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is written yet.
    #[error("this build has no demo yet")]
    NotYet,
}

/// Tells the story.
///
/// # Errors
/// Always, for now.
pub async fn run(options: DemoOptions) -> Result<ExitCode, Error> {
    tracing::debug!(?options, "demo");
    Err(Error::NotYet)
}
