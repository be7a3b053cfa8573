//! The bare clone of one remote: a cache that may be thrown away at any time, and is when it is broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{Oid, Repository};
use sha2::{Digest as _, Sha256};

use super::Error;

/// Where the followed reference is kept.
pub(super) const HEAD: &str = "refs/mirrorkeeper/head";

/// Each fetch leaves a pack behind. Beyond these the clone is made anew, which at depth 1 is cheap.
const MAX_PACKS: usize = 64;

/// The folder of one remote and reference.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

// === impl Cache ===

impl Cache {
    /// The place for `url` (without credentials, so that a rotated token keeps it) below `cache_dir`.
    pub(super) fn new(cache_dir: &Path, url: &str) -> Self {
        Self { folder: cache_dir.join("git").join(key(url.as_bytes())) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The clone, empty at first. What can't be opened is thrown away.
    pub(super) fn open(&self) -> Result<Repository, Error> {
        if self.folder.join("HEAD").exists() {
            match Repository::open_bare(&self.folder) {
                Ok(repository) => return Ok(repository),
                Err(error) => {
                    tracing::warn!(error = error.message(), "the clone in the cache is broken; making it anew")
                }
            }
        }
        self.remove()?;
        let unusable = |why: String| Error::Cache { path: self.folder.clone(), why };
        fs::create_dir_all(&self.folder).map_err(|error| unusable(error.to_string()))?;
        let mut options = git2::RepositoryInitOptions::new();
        // Nobody's templates, so no hooks either.
        options.bare(true).external_template(false);
        Repository::init_opts(&self.folder, &options).map_err(|error| unusable(error.message().to_owned()))
    }

    /// Keeps other processes out until it is dropped: two that fetch into one clone, or throw it away, break it for each
    /// other. Where the file system has no locks there is none.
    pub(super) fn lock(&self, until: Instant) -> Result<fs::File, Error> {
        let unusable = |why: String| Error::Cache { path: self.folder.clone(), why };
        let parent = self.folder.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(|error| unusable(error.to_string()))?;
        let file = fs::File::create(self.folder.with_extension("lock")).map_err(|error| unusable(error.to_string()))?;
        loop {
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(unusable("another process uses it: give each its own cache-dir".to_owned()));
                }
                // The system can wait, but not until a deadline.
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
                Ok(()) | Err(fs::TryLockError::Error(_)) => return Ok(file),
            }
        }
    }

    /// Throws it away.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Cache { path: self.folder.clone(), why: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Whether so many packs lie in it that making it anew is better.
    pub(super) fn is_crowded(&self) -> bool {
        let Ok(entries) = fs::read_dir(self.folder.join("objects/pack")) else { return false };
        let packs = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"));
        packs.count() > MAX_PACKS
    }
}

/// What the followed reference pointed to when it was fetched last (a tag object for an annotated tag).
pub(super) fn fetched(repository: &Repository) -> Option<Oid> {
    repository.refname_to_id(HEAD).ok()
}

/// A name for a folder that stands for `what`.
pub(super) fn key(what: &[u8]) -> String {
    hex(&Sha256::digest(what)[..16])
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
