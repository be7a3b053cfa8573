//! Being told of changes in folders. It is a hint only: a look follows at every interval anyway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// How long folders must be quiet before they are read.
const QUIET: Duration = Duration::from_millis(100);
/// How long that is waited for while they are not.
const PATIENCE: Duration = Duration::from_secs(1);

/// A folder to watch. Equal only if it is the same folder: one that was made anew needs a new watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    real: PathBuf,
    created: Option<SystemTime>,
    /// What lies below, too.
    below: bool,
}

/// Watched folders. Dropping it ends the watch.
#[derive(Debug)]
pub(super) struct Watch {
    _watcher: notify::RecommendedWatcher,
    changed: Arc<Notify>,
    /// What it was asked to watch.
    pub(super) folders: Vec<Watched>,
}

// === impl Watched ===

impl Watched {
    /// None where there is no such folder.
    pub(super) fn new(path: &Path, below: bool) -> Option<Self> {
        let real = path.canonicalize().ok()?;
        let meta = real.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        Some(Self { real, created: meta.created().ok(), below })
    }
}

// === impl Watch ===

impl Watch {
    /// Watches `folders`; one that has vanished meanwhile is left out.
    pub(super) fn start(folders: Vec<Watched>) -> Result<Self, notify::Error> {
        let changed = Arc::new(Notify::new());
        let tell = Arc::clone(&changed);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is an access: it must not wake us.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                tell.notify_one();
            }
        })?;
        for folder in &folders {
            let mode = if folder.below { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match watcher.watch(&folder.real, mode) {
                Err(error) if folder.real.exists() => return Err(error),
                _ => {}
            }
        }
        Ok(Self { _watcher: watcher, changed, folders })
    }

    /// Ends when something changed and the folders are quiet again, or are never quiet.
    pub(super) async fn settled(&self) {
        self.changed.notified().await;
        let burst = async { while tokio::time::timeout(QUIET, self.changed.notified()).await.is_ok() {} };
        // Out of patience is a reason to look, too.
        let _ = tokio::time::timeout(PATIENCE, burst).await;
    }
}
