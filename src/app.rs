//! The composition: every part of the daemon, joined.

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is joined yet.
    #[error("this build can't run the daemon yet")]
    NotYet,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Always, for now.
pub async fn run(settings: crate::settings::Settings) -> Result<(), Error> {
    tracing::debug!(?settings, "settings");
    Err(Error::NotYet)
}
