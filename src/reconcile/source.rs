//! What the loop takes from a repository: its latest snapshot, and how reading it goes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::spec::SourceFile;

use super::status;

/// A repository at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Commit id, or `working-tree:<hash>`.
    pub revision: String,
    /// The commit, for the status.
    pub commit: Option<status::Commit>,
    /// The files under the root.
    pub files: Arc<[SourceFile]>,
}

/// Asks the repository to be looked at now, and ends when that look has ended. Who made it bounds it.
#[derive(Clone)]
pub struct Refresh(Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>);

// === impl Refresh ===

impl Refresh {
    /// From an async function.
    pub fn new<F>(look: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(look())))
    }

    /// For a repository that tells by itself.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|| async {})
    }

    pub(super) async fn look(&self) {
        (self.0)().await;
    }
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refresh")
    }
}
