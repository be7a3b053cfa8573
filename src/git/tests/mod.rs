//! Real repositories in temporary folders, made with libgit2; remotes are `file://`.

mod follow;
mod hostile;
mod https;
mod plain;
mod refuse;
mod ssh;
mod web;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git2::{Oid, Repository, Signature};
use tempfile::TempDir;

use super::{Location, Snapshot, Source, SourceSettings, SourceState};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bare repository that stands for a server.
struct Server {
    folder: TempDir,
    repository: Repository,
}

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).initial_head("main");
        let repository = Repository::init_opts(folder.path().join("r.git"), &options).unwrap();
        Self { folder, repository }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("r.git")
    }

    /// Commits exactly `files` on `branch`, upon what is there.
    fn commit(&self, branch: &str, files: &[(&str, &str)]) -> Oid {
        let parent = self.repository.find_branch(branch, git2::BranchType::Local).ok();
        let parent = parent.map(|branch| branch.get().peel_to_commit().unwrap());
        self.commit_on(branch, parent.as_ref(), files)
    }

    /// Replaces `branch` by a history of one commit, as a force push does.
    fn rewrite(&self, branch: &str, files: &[(&str, &str)]) -> Oid {
        let id = self.commit_on("rewriting", None, files);
        self.repository.find_branch("rewriting", git2::BranchType::Local).unwrap().delete().unwrap();
        self.repository.reference(&format!("refs/heads/{branch}"), id, true, "forced").unwrap();
        id
    }

    fn commit_on(&self, branch: &str, parent: Option<&git2::Commit<'_>>, files: &[(&str, &str)]) -> Oid {
        let modes: Vec<_> = files.iter().map(|(path, text)| (*path, *text, 0o100_644)).collect();
        self.commit_modes(branch, parent, &modes)
    }

    /// Files with their modes: `0o120000` makes a link, `0o160000` a submodule of the commit that `text` names.
    fn commit_modes(&self, branch: &str, parent: Option<&git2::Commit<'_>>, files: &[(&str, &str, i32)]) -> Oid {
        let repository = &self.repository;
        let empty = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, text, mode) in files {
            let id = match mode {
                0o160_000 => Oid::from_str(text).unwrap(),
                _ => repository.blob(text.as_bytes()).unwrap(),
            };
            let mode = match mode {
                0o120_000 => git2::FileMode::Link,
                0o160_000 => git2::FileMode::Commit,
                _ => git2::FileMode::Blob,
            };
            update.upsert(*path, id, mode);
        }
        let tree = repository.find_tree(update.create_updated(repository, &empty).unwrap()).unwrap();
        let who = Signature::new("Ada", "ada@example.com", &git2::Time::new(1_700_000_000, 60)).unwrap();
        let parents: Vec<_> = parent.into_iter().collect();
        let reference = format!("refs/heads/{branch}");
        repository.commit(Some(&reference), &who, &who, "Add things\n\nat length", &tree, &parents).unwrap()
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    fn settings(&self) -> SourceSettings {
        settings(&self.url(), &self.folder.path().join("cache"))
    }
}

/// Settings under which nothing happens by itself for an hour.
fn settings(location: &str, cache: &Path) -> SourceSettings {
    let mut settings = SourceSettings::new(location.parse::<Location>().unwrap(), cache.to_owned());
    settings.interval = Duration::from_secs(3600);
    settings
}

async fn snapshot_where(source: &Source, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut snapshots = source.snapshots();
    let found = snapshots.wait_for(|snapshot| snapshot.as_ref().is_some_and(|snapshot| wanted(snapshot)));
    let found = tokio::time::timeout(PATIENCE, found).await.expect("in time").expect("the source lives").clone();
    found.unwrap()
}

async fn state_where(source: &Source, wanted: impl Fn(&SourceState) -> bool) -> SourceState {
    let mut state = source.state();
    tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state))).await.expect("in time").unwrap().clone()
}

fn paths(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files.iter().map(|file| file.path.as_str()).collect()
}

fn content<'a>(snapshot: &'a Snapshot, path: &str) -> &'a str {
    let file = snapshot.files.iter().find(|file| file.path == path).expect("the file is there");
    std::str::from_utf8(&file.bytes).unwrap()
}
