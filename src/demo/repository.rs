//! The demo's Git repository, and the connector files in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{IndexAddOption, Signature};
use serde_json::Value;

use super::Error;
use crate::supervise;

/// A commit is a few small files; anything longer is a fault.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connector file that is part of this repository, as an example.
#[derive(Debug)]
pub(super) struct Example {
    /// Path in the repository.
    pub(super) path: &'static str,
    /// The connector.
    pub(super) name: &'static str,
    text: &'static str,
}

macro_rules! example {
    ($name:literal) => {
        Example {
            path: concat!("connectors/demo/target/source/", $name, ".json"),
            name: $name,
            text: include_str!(concat!("../../connectors/demo/target/source/", $name, ".json")),
        }
    };
}

/// The file that lives through the whole story.
pub(super) const ORDERS: Example = example!("orders");
/// The file that gets broken, drifts and is deleted.
pub(super) const PAYMENTS: Example = example!("payments");

/// What a commit changes.
#[derive(Debug)]
pub(super) enum Edit {
    /// The file has this text.
    Write(&'static str, String),
    /// The file is gone.
    Remove(&'static str),
}

/// A commit that was made.
#[derive(Debug)]
pub(super) struct Committed {
    /// Its full id.
    pub(super) id: String,
    /// What was done, in a line.
    pub(super) said: String,
}

/// A Git repository in a folder.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    folder: PathBuf,
}

// === impl Example ===

impl Example {
    /// The file for these clusters, with further properties set.
    pub(super) fn with(&self, source: &str, target: &str, more: &[(&str, &str)]) -> Result<String, Error> {
        let wrong = |why: String| Error::Example { path: self.path, why };
        let mut json: Value = serde_json::from_str(self.text).map_err(|error| wrong(error.to_string()))?;
        let object = json.as_object_mut().ok_or_else(|| wrong("it is no JSON object".into()))?;
        let addresses = [("source.cluster.bootstrap.servers", source), ("target.cluster.bootstrap.servers", target)];
        for (key, value) in addresses.iter().chain(more) {
            object.insert((*key).to_owned(), Value::from(*value));
        }
        let text = serde_json::to_string_pretty(&json).map_err(|error| wrong(error.to_string()))?;
        Ok(text + "\n")
    }

    /// Its source topics, which are names and not patterns.
    pub(super) fn topics(&self) -> Result<Vec<String>, Error> {
        let wrong = |why: &str| Error::Example { path: self.path, why: why.to_owned() };
        let json: Value = serde_json::from_str(self.text).map_err(|error| wrong(&error.to_string()))?;
        let topics = json["topics"].as_str().ok_or_else(|| wrong("no topics"))?;
        Ok(topics.split(',').map(|topic| topic.trim().to_owned()).collect())
    }
}

// === impl Repository ===

impl Repository {
    /// Makes a repository in an empty folder, with a first commit that has no connector in it.
    pub(super) async fn create(folder: PathBuf) -> Result<Self, Error> {
        let repository = Self { folder: folder.clone() };
        supervise::blocking("git init", PATIENCE, move || {
            let mut options = git2::RepositoryInitOptions::new();
            options.initial_head("main");
            git2::Repository::init_opts(&folder, &options).map_err(|source| Error::Git { what: "init", source })
        })
        .await??;
        repository.commit("Begin", vec![Edit::Write("README.md", "Connectors of the demo.\n".to_owned())]).await?;
        Ok(repository)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes files and commits them.
    pub(super) async fn commit(&self, message: &str, edits: Vec<Edit>) -> Result<Committed, Error> {
        let (folder, message) = (self.folder.clone(), message.to_owned());
        supervise::blocking("git commit", PATIENCE, move || {
            edits.iter().try_for_each(|edit| apply(&folder, edit))?;
            let repository = git2::Repository::open(&folder);
            let repository = repository.map_err(|source| Error::Git { what: "open", source })?;
            let id = commit(&repository, &message).map_err(|source| Error::Git { what: "commit", source })?;
            Ok(Committed { id: id.to_string(), said: format!("git commit {}: {message}", short(id)) })
        })
        .await?
    }

    /// Takes the last commit back by another one.
    pub(super) async fn revert(&self) -> Result<Committed, Error> {
        let folder = self.folder.clone();
        supervise::blocking("git revert", PATIENCE, move || {
            let reverted = || {
                let repository = git2::Repository::open(&folder)?;
                let head = repository.head()?.peel_to_commit()?;
                let before = head.parent(0)?.tree()?;
                repository.checkout_tree(before.as_object(), Some(git2::build::CheckoutBuilder::new().force()))?;
                let subject = head.summary().ok().flatten().unwrap_or_default().to_owned();
                let id = commit(&repository, &format!("Revert \"{subject}\""))?;
                let said = format!("git revert {}: {}", short(head.id()), short(id));
                Ok(Committed { id: id.to_string(), said })
            };
            reverted().map_err(|source| Error::Git { what: "revert", source })
        })
        .await?
    }
}

fn apply(folder: &Path, edit: &Edit) -> Result<(), Error> {
    let (path, what, done) = match edit {
        Edit::Write(path, text) => {
            let path = folder.join(path);
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            let done = made.and_then(|()| std::fs::write(&path, text));
            (path, "writing", done)
        }
        Edit::Remove(path) => {
            let path = folder.join(path);
            let done = std::fs::remove_file(&path);
            (path, "removing", done)
        }
    };
    done.map_err(|source| Error::File { path, what, source })
}

/// Commits the working tree as it lies.
fn commit(repository: &git2::Repository, message: &str) -> Result<git2::Oid, git2::Error> {
    let mut index = repository.index()?;
    index.add_all(["*"], IndexAddOption::DEFAULT, None)?;
    index.update_all(["*"], None)?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let who = Signature::now("Demo", "demo@example.com")?;
    let parent = match repository.head() {
        Ok(head) => Some(head.peel_to_commit()?),
        Err(error) if error.code() == git2::ErrorCode::UnbornBranch => None,
        Err(error) => return Err(error),
    };
    repository.commit(Some("HEAD"), &who, &who, message, &tree, &parent.iter().collect::<Vec<_>>())
}

fn short(id: git2::Oid) -> String {
    id.to_string().chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_connectors_that_load() {
        for example in [&ORDERS, &PAYMENTS] {
            let text = example.with("127.0.0.1:1", "127.0.0.1:2", &[]).expect("an example");
            let scope = crate::spec::Scope {
                root: "connectors".into(),
                environment: "demo".into(),
                destination: "target".into(),
                sources: vec![],
            };
            let file = crate::spec::SourceFile {
                path: example.path.to_owned(),
                bytes: text.into_bytes().into(),
                blob: "b".to_owned(),
            };
            let loaded = crate::spec::load(&scope, &[file], &crate::spec::LoadOptions { strict: true });
            assert!(loaded.invalid.is_empty(), "{:?}", loaded.invalid);
            assert!(loaded.connectors.keys().any(|name| name.as_str() == example.name));
            assert!(example.topics().expect("topics").iter().all(|topic| !topic.contains('*')));
        }
    }

    #[tokio::test]
    async fn a_revert_brings_back_what_a_commit_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = Repository::create(folder.path().to_owned()).await.expect("a repository");
        repository.commit("Add", vec![Edit::Write("a/b.json", "1".into())]).await.expect("a commit");
        repository.commit("Remove", vec![Edit::Remove("a/b.json")]).await.expect("a commit");
        assert!(!folder.path().join("a/b.json").exists());
        repository.revert().await.expect("a revert");
        assert_eq!(std::fs::read_to_string(folder.path().join("a/b.json")).expect("there"), "1");
        let opened = git2::Repository::open(folder.path()).expect("a repository");
        let tree = opened.head().expect("a head").peel_to_tree().expect("a tree");
        assert!(tree.get_path(Path::new("a/b.json")).is_ok());
        assert!(tree.get_path(Path::new("README.md")).is_ok());
    }
}
