//! A path of this machine: a repository read at its commit, or a folder read as it lies.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{ErrorCode, Oid, Repository, RepositoryOpenFlags};

use super::reader::{Look, known_names};
use super::tree::{self, failed};
use super::watch::Watched;
use super::{Error, SourceSettings, folder, libgit2};

/// A path, looked at again and again.
#[derive(Debug)]
pub(super) struct Local {
    settings: SourceSettings,
    path: PathBuf,
    /// It was a repository. If it is none any more, it is broken, and not a plain folder by a change of mind (law 8).
    was_repository: bool,
}

// === impl Local ===

impl Local {
    pub(super) fn new(settings: SourceSettings, path: PathBuf) -> Self {
        Self { settings, path, was_repository: false }
    }

    pub(super) fn look(&mut self, known: Option<&str>, within: Duration) -> Result<Look, Error> {
        libgit2::prepare();
        let until = Instant::now() + within;
        let location = self.location();
        if !self.path.exists() {
            let why = "there is no such folder".to_owned();
            return Err(Error::Unreachable { location, why });
        }
        let repository = if self.settings.working_tree == Some(true) { None } else { open(&self.path, &location)? };
        match repository {
            Some(repository) => {
                self.was_repository = true;
                self.committed(&repository, known)
            }
            None if self.was_repository => {
                Err(Error::Read { location, why: "it is no Git repository any more".to_owned() })
            }
            None if self.settings.working_tree == Some(false) => {
                Err(Error::Read { location, why: "it is no Git repository, and working-tree is false".to_owned() })
            }
            None if self.settings.reference.is_some() => Err(Error::Location {
                given: location,
                why: "a reference is given, and it is read as it lies, without Git".to_owned(),
            }),
            None => {
                let snapshot = folder::read(&self.path, &self.settings.root, self.settings.limits, until)?;
                Ok(Look::of(snapshot, known))
            }
        }
    }

    /// The folders whose change may mean a new snapshot.
    pub(super) fn watched(settings: &SourceSettings, path: &Path) -> Vec<Watched> {
        libgit2::prepare();
        let repository = if settings.working_tree == Some(true) { None } else { open(path, "").ok().flatten() };
        let folders = match repository {
            // HEAD and packed-refs lie in the folder, the branches below `refs`. In a linked work tree both are elsewhere.
            Some(repository) => {
                let (own, common) = (repository.path(), repository.commondir());
                let mut folders = vec![Watched::new(&common.join("refs"), true), Watched::new(common, false)];
                if own != common {
                    folders.push(Watched::new(own, false));
                }
                folders
            }
            // The folder itself tells of a root that appears, and of a ConfigMap that is swapped.
            None => vec![Watched::new(path, false), Watched::new(&path.join(&settings.root), true)],
        };
        folders.into_iter().flatten().collect()
    }

    fn location(&self) -> String {
        self.settings.location.to_string()
    }

    fn committed(&self, repository: &Repository, known: Option<&str>) -> Result<Look, Error> {
        let location = self.location();
        let id = resolve(repository, self.settings.reference.as_deref(), &location)?;
        if known == Some(id.to_string().as_str()) {
            return Ok(Look::unchanged(id.to_string()));
        }
        let snapshot = tree::read(repository, id, &self.settings.root, self.settings.limits, &location)?;
        let mut look = Look::of(snapshot, known);
        let before = known.and_then(|known| Oid::from_str(known).ok());
        if let Some(before) = before
            && repository.find_commit(before).is_ok()
            && !repository.graph_descendant_of(id, before).unwrap_or(true)
        {
            look.rewritten = Some(before.to_string());
        }
        Ok(look)
    }
}

/// The repository at `path`, and not one above it; none where there is none.
pub(super) fn open(path: &Path, location: &str) -> Result<Option<Repository>, Error> {
    let nowhere_above: [&Path; 0] = [];
    match Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, nowhere_above) {
        Ok(repository) => Ok(Some(repository)),
        // A `.git` that can't be opened is a broken repository, never a plain folder.
        Err(error) if error.code() == ErrorCode::NotFound && !path.join(".git").exists() => Ok(None),
        Err(error) => Err(failed(location, &error)),
    }
}

/// The commit that `reference` stands for.
pub(super) fn resolve(repository: &Repository, reference: Option<&str>, location: &str) -> Result<Oid, Error> {
    let broken = |error: git2::Error| failed(location, &error);
    let Some(name) = reference else {
        return match repository.head() {
            Ok(head) => head.peel_to_commit().map(|commit| commit.id()).map_err(broken),
            Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => {
                Err(Error::Unborn { location: location.to_owned() })
            }
            Err(error) => Err(broken(error)),
        };
    };
    let mut found = Vec::new();
    for full in super::reader::candidates(name) {
        match repository.find_reference(&full) {
            Ok(reference) => {
                let commit = reference.peel_to_commit().map_err(|error| match error.code() {
                    ErrorCode::Peel | ErrorCode::InvalidSpec => {
                        Error::NoCommit { location: location.to_owned(), reference: name.to_owned() }
                    }
                    _ => broken(error),
                })?;
                found.push(commit.id());
            }
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
            Err(error) => return Err(broken(error)),
        }
    }
    if found.is_empty()
        && let Some(id) = super::reader::commit_id(name)
    {
        match repository.find_commit(id) {
            Ok(commit) => found.push(commit.id()),
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(broken(error)),
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let names = repository.references().map_err(broken)?;
            let names: Vec<String> = names.filter_map(|r| r.ok()?.name().ok().map(str::to_owned)).collect();
            let known = known_names(names.iter().map(String::as_str));
            Err(Error::NoReference { location: location.to_owned(), reference: name.to_owned(), known })
        }
        _ => Err(Error::Ambiguous { location: location.to_owned(), reference: name.to_owned() }),
    }
}
