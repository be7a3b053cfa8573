//! Connector files as they lie in a folder: where the tree begins, which of it was asked for, and its bytes.
//!
//! The tree is `<environment>/<destination>/<source>/<name>.json`. A person points at a repository, at the folder of
//! connector files, at a part of it, or at one file; all of the tree is read anyway, because some rules look at more than
//! one file.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exit::{Exit, Failure};
use crate::spec::{Diagnostic, LoadOptions, Loaded, MAX_FILE_BYTES, Scope, SourceFile, load};

/// More files than this are refused.
const MAX_FILES: usize = 20_000;
/// Folders deeper than this are not looked into: nothing there could be a connector file.
const MAX_DEPTH: usize = 8;
/// Folders above a connector file.
const LEVELS: usize = 3;

/// A tree of connector files.
#[derive(Debug)]
pub(super) struct Tree {
    /// Its files; paths begin with `base`, so that every message names them alike.
    files: Vec<SourceFile>,
    /// Where the tree lies, seen from the current folder where it is below it; without slashes around it.
    base: String,
    /// `base` is an absolute path that has lost its slash: a scope's root is relative.
    absolute: bool,
    /// What was asked for, as the beginning of paths; empty for everything.
    wanted: String,
}

// === impl Tree ===

impl Tree {
    /// Reads what lies at `path`. `root` is how the folder of connector files is called in a repository.
    pub(super) fn read(path: &Path, root: &str) -> Result<Self, Failure> {
        let unreadable = |path: &Path, error: &std::io::Error| {
            Failure::new(Exit::Usage, format!("{} can't be read: {error}", path.display()))
        };
        let asked = path.canonicalize().map_err(|error| unreadable(path, &error))?;
        let top = top(&asked, root).map_err(|error| unreadable(path, &error))?;
        let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
        let (base, absolute) = match top.strip_prefix(&here) {
            Ok(below) => (slashed(below), false),
            Err(_) => (slashed(&top), true),
        };
        let base = base.trim_matches('/').to_owned();
        let below = if base.is_empty() { String::new() } else { format!("{base}/") };
        let mut files = Vec::new();
        walk(&top, &below, 0, &mut files).map_err(|(at, error)| unreadable(&at, &error))?;
        if files.len() > MAX_FILES {
            let message = format!("{} holds more than {MAX_FILES} JSON files", top.display());
            return Err(Failure::new(Exit::Usage, message).hint("name the folder of connector files"));
        }
        let wanted = match asked.strip_prefix(&top).map(slashed) {
            Ok(rest) if !rest.is_empty() => format!("{below}{rest}"),
            // All of the tree, or a repository around it.
            _ => String::new(),
        };
        Ok(Self { files, base, absolute, wanted })
    }

    /// The connector files that were asked for.
    pub(super) fn connectors(&self) -> impl Iterator<Item = &SourceFile> {
        let is_connector = |file: &&SourceFile| self.levels(&file.path).len() == LEVELS + 1;
        self.files.iter().filter(|file| self.is_wanted(&file.path)).filter(is_connector)
    }

    /// Loads every environment and destination in turn.
    pub(super) fn load(&self, strict: bool) -> impl Iterator<Item = Loaded> {
        self.scopes().into_iter().map(move |(environment, destination)| {
            let scope = Scope { root: self.base.clone(), environment, destination, sources: Vec::new() };
            load(&scope, &self.files, &LoadOptions { strict })
        })
    }

    /// Every finding about what was asked for, once, in order; paths as a person would write them here.
    pub(super) fn findings(&self, strict: bool) -> Vec<Diagnostic> {
        let mut found: Vec<Diagnostic> = Vec::new();
        for loaded in self.load(strict) {
            found.extend(loaded.diagnostics().into_iter().filter(|f| self.is_wanted(&f.path)));
        }
        found.sort_by(|a, b| (&a.path, a.line, a.column, a.code).cmp(&(&b.path, b.line, b.column, b.code)));
        // A misplaced file concerns several destinations.
        found.dedup();
        for finding in &mut found {
            finding.path = self.shown(&finding.path);
        }
        found
    }

    /// The files under the paths of [`Tree::findings`].
    pub(super) fn shown_files(&self) -> Vec<SourceFile> {
        let renamed = self.files.iter().map(|file| SourceFile { path: self.shown(&file.path), ..file.clone() });
        renamed.collect()
    }

    /// The tree as a local repository: its folder, and the root inside it.
    pub(super) fn as_repository(&self) -> (String, String) {
        let base = self.shown(&self.base);
        match base.rsplit_once('/') {
            Some(("", root)) => ("/".to_owned(), root.to_owned()),
            Some((folder, root)) => (folder.to_owned(), root.to_owned()),
            None if base.is_empty() => (".".to_owned(), ".".to_owned()),
            None => (".".to_owned(), base),
        }
    }

    /// A path as a person would write it here.
    pub(super) fn shown(&self, path: &str) -> String {
        if self.absolute { format!("/{path}") } else { path.to_owned() }
    }

    pub(super) fn is_wanted(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.wanted.as_str());
        self.wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The levels of a path below the tree's beginning.
    pub(super) fn levels<'a>(&self, path: &'a str) -> Vec<&'a str> {
        path.strip_prefix(&self.base).unwrap_or(path).trim_start_matches('/').split('/').collect()
    }

    /// Every environment and destination that some file lies below.
    fn scopes(&self) -> BTreeSet<(String, String)> {
        let of = |file: &SourceFile| {
            let levels = self.levels(&file.path);
            let folder = |level: usize| (level + 1 < levels.len()).then(|| levels[level].to_owned());
            // A file that lies too high is told by any scope of its environment; a name that no folder has stands in.
            (folder(0).unwrap_or_default(), folder(1).unwrap_or_default())
        };
        self.files.iter().map(of).collect()
    }
}

/// Where the tree begins: a folder `root` inside, or an ancestor called `root`; else what the depth of the files says.
fn top(asked: &Path, root: &str) -> std::io::Result<PathBuf> {
    // Inside comes first: a repository may itself lie below a folder of that name.
    if asked.is_dir() && asked.join(root).is_dir() {
        return Ok(asked.join(root));
    }
    let named = |folder: &&Path| folder.file_name().is_some_and(|name| name == root) && folder.is_dir();
    if let Some(above) = asked.ancestors().take(LEVELS + 2).find(named) {
        return Ok(above.to_path_buf());
    }
    let depth = if asked.is_file() { Some(0) } else { depth(asked, 0)? };
    let missing = match depth {
        // The file itself is a level of the path.
        Some(0) if asked.is_file() => LEVELS + 1,
        Some(depth) => LEVELS.saturating_sub(depth),
        None => 0,
    };
    Ok(asked.ancestors().nth(missing).unwrap_or(asked).to_path_buf())
}

/// How many folders lie above the deepest connector file, at most [`LEVELS`].
fn depth(folder: &Path, level: usize) -> std::io::Result<Option<usize>> {
    let mut deepest = None;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if level < LEVELS {
                deepest = deepest.max(depth(&entry.path(), level + 1)?);
            }
        } else if name.to_string_lossy().ends_with(".json") {
            deepest = deepest.max(Some(level));
        }
    }
    Ok(deepest)
}

/// Every JSON file below a folder; a folder that can't be read is a failure, never an empty one (law 8).
fn walk(
    folder: &Path,
    prefix: &str,
    level: usize,
    files: &mut Vec<SourceFile>,
) -> Result<(), (PathBuf, std::io::Error)> {
    let at = |error| (folder.to_path_buf(), error);
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(|error| (path.clone(), error))?;
        if name.starts_with('.') || files.len() > MAX_FILES {
            continue;
        }
        let below = format!("{prefix}{name}");
        if kind.is_dir() {
            if level < MAX_DEPTH {
                walk(&path, &format!("{below}/"), level + 1, files)?;
            }
        } else if name.to_ascii_lowercase().ends_with(".json") {
            let mut bytes = Vec::new();
            // One byte more than is allowed, so that too much is seen.
            let limit = MAX_FILE_BYTES as u64 + 1;
            let file = std::fs::File::open(&path).map_err(|error| (path.clone(), error))?;
            file.take(limit).read_to_end(&mut bytes).map_err(|error| (path.clone(), error))?;
            files.push(SourceFile { path: below, bytes: Arc::from(bytes), blob: String::new() });
        }
    }
    Ok(())
}

fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
