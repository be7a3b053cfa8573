//! The `*.json` files of one commit, read by their ids.

use std::path::Path;
use std::sync::Arc;

use git2::{ErrorCode, ObjectType, Odb, Repository, Tree};

use super::{Commit, Error, File, Limits, Snapshot};

/// How deep folders are looked into below the root. Connector files lie three deep; what lies deeper is only told as
/// misplaced.
pub(super) const MAX_DEPTH: usize = 8;

/// How deep a folder matters: one that can't be followed here could hide connector files.
pub(super) const FOLDERS_THAT_MATTER: usize = 3;

/// Entries that are looked at, of any kind.
pub(super) const MAX_ENTRIES: usize = 500_000;

/// Characters of an author or a subject that are kept.
const MAX_WORDS: usize = 200;

const LINK: i32 = 0o120_000;

/// What a walk has found so far, counted against the limits.
pub(super) struct Found {
    pub(super) location: String,
    limits: Limits,
    files: Vec<File>,
    bytes: usize,
    entries: usize,
}

struct Walk<'repo> {
    repository: &'repo Repository,
    odb: Odb<'repo>,
    top: Tree<'repo>,
    found: Found,
}

/// Reads the snapshot of `id`.
pub(super) fn read(
    repository: &Repository,
    id: git2::Oid,
    root: &str,
    limits: Limits,
    location: &str,
) -> Result<Snapshot, Error> {
    let broken = |error: git2::Error| failed(location, &error);
    let commit = repository.find_commit(id).map_err(broken)?;
    let top = commit.tree().map_err(broken)?;
    let root_tree = match root {
        "" => Some(top.clone()),
        root => match top.get_path(Path::new(root)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => {
                Some(repository.find_tree(entry.id()).map_err(broken)?)
            }
            Ok(entry) if entry.filemode_raw() == LINK || entry.kind() == Some(ObjectType::Commit) => {
                return Err(not_followed(location, root, kind_of(&entry)));
            }
            Ok(_) => None,
            Err(error) if error.code() == ErrorCode::NotFound => None,
            Err(error) => return Err(broken(error)),
        },
    };
    let odb = repository.odb().map_err(broken)?;
    let mut walk = Walk { repository, odb, top, found: Found::new(location, limits) };
    if let Some(tree) = &root_tree {
        walk.folder(tree, root, 0, false)?;
    }
    Ok(Snapshot {
        revision: id.to_string(),
        commit: Some(describe(&commit)),
        files: walk.found.into_files(),
        root_present: root_tree.is_some(),
    })
}

/// Only these are read.
pub(super) fn is_json(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".json")
}

/// Why a file of such a name is not read.
pub(super) const STRANGE: &str = "its path is not plain text in UTF-8";

/// A name as it can be shown, and whether it had to be changed for that. A change keeps different names different.
pub(super) fn name(bytes: &[u8]) -> (String, bool) {
    match std::str::from_utf8(bytes) {
        // No file system makes such names; whoever makes tree objects by hand can.
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '/') => (text.to_owned(), false),
        _ => (bytes.escape_ascii().to_string().replace('/', "\\x2f"), true),
    }
}

/// `a/b`, or `b` at the top.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(super) fn not_followed(location: &str, path: &str, what: &str) -> Error {
    Error::NotFollowed { location: location.to_owned(), path: path.to_owned(), what: what.to_owned() }
}

/// A failure of libgit2 while it reads what is already here.
pub(super) fn failed(location: &str, error: &git2::Error) -> Error {
    Error::Read { location: location.to_owned(), why: super::redact(error.message()) }
}

// === impl Found ===

impl Found {
    pub(super) fn new(location: &str, limits: Limits) -> Self {
        Self { location: location.to_owned(), limits, files: Vec::new(), bytes: 0, entries: 0 }
    }

    /// One more entry of any kind.
    pub(super) fn entry(&mut self) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.too_large(format!("it has more than {MAX_ENTRIES} entries under the root")));
        }
        Ok(())
    }

    /// Whether a file of that size is taken; when not, it is noted as refused.
    pub(super) fn admit(&mut self, path: &str, size: u64, blob: impl FnOnce() -> String) -> Result<bool, Error> {
        if size <= self.limits.file_bytes as u64 {
            return Ok(true);
        }
        let why = format!("the file has {size} bytes; at most {} are read", self.limits.file_bytes);
        self.push(File::refused(path.to_owned(), blob(), why))?;
        Ok(false)
    }

    pub(super) fn push(&mut self, file: File) -> Result<(), Error> {
        self.bytes += file.bytes.len();
        if self.files.len() >= self.limits.files {
            return Err(self.too_large(format!("it has more than {} files under the root", self.limits.files)));
        }
        if self.bytes > self.limits.total_bytes {
            return Err(self.too_large(format!("its files have more than {} bytes", self.limits.total_bytes)));
        }
        self.files.push(file);
        Ok(())
    }

    pub(super) fn file_bytes(&self) -> usize {
        self.limits.file_bytes
    }

    /// In order. A path that is there twice says two things, so it says nothing.
    pub(super) fn into_files(mut self) -> Arc<[File]> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.files.dedup_by(|next, kept| {
            let twice = next.path == kept.path;
            if twice {
                let why = "the tree names it twice".to_owned();
                *kept = File::refused(kept.path.clone(), format!("{}+{}", kept.blob, next.blob), why);
            }
            twice
        });
        Arc::from(self.files)
    }

    fn too_large(&self, what: String) -> Error {
        Error::TooLarge { location: self.location.clone(), what }
    }
}

// === impl Walk ===

impl Walk<'_> {
    /// `strange`: a folder above has a name that nothing may be called.
    fn folder(&mut self, tree: &Tree<'_>, folder: &str, depth: usize, strange: bool) -> Result<(), Error> {
        for entry in tree {
            self.found.entry()?;
            let (name, odd) = name(entry.name_bytes());
            let strange = strange || odd;
            if name.starts_with('.') {
                continue;
            }
            let path = join(folder, &name);
            match entry.kind() {
                Some(ObjectType::Tree) if depth < MAX_DEPTH => {
                    let below =
                        self.repository.find_tree(entry.id()).map_err(|error| failed(&self.found.location, &error))?;
                    self.folder(&below, &path, depth + 1, strange)?;
                }
                Some(ObjectType::Blob) if strange && is_json(&name) => {
                    self.found.push(File::refused(path, entry.id().to_string(), STRANGE.to_owned()))?;
                }
                Some(ObjectType::Blob) if entry.filemode_raw() == LINK => self.link(&path, &name, entry.id(), depth)?,
                Some(ObjectType::Blob) if is_json(&name) => self.blob(path, entry.id())?,
                Some(ObjectType::Commit) if depth < FOLDERS_THAT_MATTER => {
                    return Err(not_followed(&self.found.location, &path, "a submodule"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn blob(&mut self, path: String, id: git2::Oid) -> Result<(), Error> {
        let broken = |error: git2::Error| failed(&self.found.location, &error);
        // The size first: a huge blob must not come into memory.
        let (size, _) = self.odb.read_header(id).map_err(broken)?;
        if !self.found.admit(&path, size as u64, || id.to_string())? {
            return Ok(());
        }
        let object = self.odb.read(id).map_err(|error| failed(&self.found.location, &error))?;
        self.found.push(File::read(path, Arc::from(object.data()), id.to_string()))
    }

    /// A link is never followed. One in a file's place is a file that can't be used; one that may stand for a folder
    /// would hide what lies there, so it fails the whole read (law 8); one to a file of another kind is of no interest.
    fn link(&mut self, path: &str, name: &str, id: git2::Oid, depth: usize) -> Result<(), Error> {
        if is_json(name) {
            let why = "it is a symbolic link, which is not followed".to_owned();
            return self.found.push(File::refused(path.to_owned(), id.to_string(), why));
        }
        if depth >= FOLDERS_THAT_MATTER || self.links_to_file(path, id) {
            return Ok(());
        }
        Err(not_followed(&self.found.location, path, "a symbolic link"))
    }

    fn links_to_file(&self, path: &str, id: git2::Oid) -> bool {
        let Ok(blob) = self.repository.find_blob(id) else { return false };
        let Ok(target) = std::str::from_utf8(blob.content()) else { return false };
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return false,
                ".." => {}
                part => parts.push(part),
            }
        }
        let entry = self.top.get_path(Path::new(&parts.join("/")));
        entry.is_ok_and(|entry| entry.kind() == Some(ObjectType::Blob) && entry.filemode_raw() != LINK)
    }
}

fn kind_of(entry: &git2::TreeEntry<'_>) -> &'static str {
    if entry.kind() == Some(ObjectType::Commit) { "a submodule" } else { "a symbolic link" }
}

fn describe(commit: &git2::Commit<'_>) -> Commit {
    let author = commit.author();
    // It is shown on terminals, and its author may be anybody.
    let text = |bytes: &[u8]| -> String {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_WORDS)]);
        text.trim().chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
    };
    Commit {
        author: text(author.name_bytes()),
        email: text(author.email_bytes()),
        time: jiff::Timestamp::from_second(commit.time().seconds()).unwrap_or_default(),
        subject: text(commit.message_bytes().split(|byte| *byte == b'\n').next().unwrap_or_default()),
    }
}
