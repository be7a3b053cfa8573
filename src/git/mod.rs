//! A repository as a stream of snapshots.
//!
//! [`Source`] follows a remote Git repository (https, ssh, `file://`), a local one, or a plain folder, and publishes a
//! [`Snapshot`] whenever what lies under the configured root has changed. [`read_once`] reads one snapshot and is done.
//! There is never a work tree: blobs are read by their ids from a bare clone that is a cache and nothing more.
//!
//! It uses [`crate::supervise`] only, and knows nothing of connectors: what the files mean is for others to say.
//!
//! Laws: a failure leaves the last snapshot in force and says since when (law 8); a path that is refused is in the
//! snapshot as a [`File`] that can't be parsed and never missing; no credential is in any text that leaves here (law 9);
//! files, repository, time and attempts are bounded (law 10).
//!
//! Not obvious: libgit2 keeps its time-outs, its home folder and its transports in process-wide variables, so they are
//! set once (`libgit2.rs`, the only place with `unsafe`). http and https are carried by reqwest (`http.rs`), ssh by
//! libssh2.

mod cache;
mod credentials;
mod error;
mod folder;
mod http;
mod libgit2;
mod local;
mod location;
mod reader;
mod remote;
mod source;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::supervise;

pub use credentials::{Credentials, Secret};
pub use error::Error;
pub use location::{Address, Location, redact};
pub use source::{Failure, Handle, Rewritten, Source, SourceState};

/// A repository at one revision: every `*.json` under the root, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Commit id, or `working-tree:<hash>` where files were read as they lie.
    pub revision: String,
    /// The commit; none for a working tree.
    pub commit: Option<Commit>,
    /// The files, in order of their paths.
    pub files: Arc<[File]>,
    /// The root folder exists at this revision. `false` is a finding ("there is no such folder"), never a failure.
    pub root_present: bool,
}

/// One `*.json` of a snapshot.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path inside the repository, with `/`.
    pub path: String,
    /// The content. Where `refused` is set, bytes that no parser accepts.
    pub bytes: Arc<[u8]>,
    /// Git's id of the content, also for files that are in no repository.
    pub blob: String,
    /// Why the content was not read. Such a file is present and can't be used.
    pub refused: Option<String>,
}

/// Who made a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The author's name.
    pub author: String,
    /// The author's address.
    pub email: String,
    /// When it was committed.
    pub time: Timestamp,
    /// First line of the message.
    pub subject: String,
}

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Where it is.
    pub location: Location,
    /// Branch, tag, full reference name or commit id; none for the repository's `HEAD`.
    pub reference: Option<String>,
    /// Folder inside the repository that is read; empty for all of it.
    pub root: String,
    /// Time between two looks; it is jittered by a tenth.
    pub interval: Duration,
    /// How long one look may take.
    pub timeout: Duration,
    /// Files as they lie (`true`) or as committed (`false`), for a local path; none: as committed where it is a repository.
    pub working_tree: Option<bool>,
    /// Where the bare clone is kept. It may be deleted at any time.
    pub cache_dir: PathBuf,
    /// What is too much.
    pub limits: Limits,
    /// How we identify ourselves.
    pub credentials: Credentials,
}

/// What is too much (law 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file; a larger one is in the snapshot as refused.
    pub file_bytes: usize,
    /// `*.json` files under the root.
    pub files: usize,
    /// Bytes of all files together.
    pub total_bytes: usize,
    /// Bytes that one fetch may transfer.
    pub transfer_bytes: usize,
}

/// Reads one snapshot.
///
/// # Errors
/// Whatever keeps it from being read whole; never an empty snapshot instead.
pub async fn read_once(settings: SourceSettings) -> Result<Snapshot, Error> {
    let deadline = settings.timeout;
    let shown = settings.location.to_string();
    let mut reader = reader::Reader::new(settings)?;
    let read = supervise::blocking("git", deadline.saturating_add(source::GRACE), move || reader.look(None, deadline));
    match read.await {
        Ok(look) => look?.snapshot.ok_or(Error::Late { location: shown, after: deadline }),
        Err(supervise::Blocked::Late(..)) => Err(Error::Late { location: shown, after: deadline }),
        Err(lost @ supervise::Blocked::Lost(_)) => Err(Error::Read { location: shown, why: lost.to_string() }),
    }
}

// === impl SourceSettings ===

impl SourceSettings {
    /// `location` with every default: its `HEAD`, root `connectors`, 30 s, as committed, no credentials.
    #[must_use]
    pub fn new(location: Location, cache_dir: PathBuf) -> Self {
        Self {
            location,
            reference: None,
            root: "connectors".to_owned(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(120),
            working_tree: None,
            cache_dir,
            limits: Limits::default(),
            credentials: Credentials::default(),
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1024 * 1024,
            files: 20_000,
            total_bytes: 256 * 1024 * 1024,
            transfer_bytes: 1024 * 1024 * 1024,
        }
    }
}

// === impl File ===

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The content may hold secrets.
        f.debug_struct("File")
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .field("blob", &self.blob)
            .field("refused", &self.refused)
            .finish()
    }
}

impl File {
    fn read(path: String, bytes: Arc<[u8]>, blob: String) -> Self {
        Self { path, bytes, blob, refused: None }
    }

    /// Present, not readable: what replaces the content must never parse, or a refused file would be obeyed.
    fn refused(path: String, blob: String, why: String) -> Self {
        Self { path, bytes: Arc::from(format!("refused: {why}").into_bytes()), blob, refused: Some(why) }
    }
}
