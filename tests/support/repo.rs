//! A Git repository with connector files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{Commit, IndexEntry, IndexTime, Oid, Repository, Signature};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::run_folder::folder;

/// A bare repository: what is committed exists nowhere else.
pub(crate) struct Repo {
    path: PathBuf,
    repository: Repository,
}

impl Repo {
    /// An empty repository; its branch is `main`.
    pub(crate) fn new() -> Self {
        let path = folder("repo").join("connectors.git");
        let repository = Repository::init_bare(&path).expect("a repository");
        repository.set_head("refs/heads/main").expect("a branch");
        Self { path, repository }
    }

    /// Where it lies: what `--repo` takes.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Commits files on top of the last commit; `None` deletes one. The commit's id.
    pub(crate) fn commit(&self, files: &[(String, Option<Vec<u8>>)]) -> String {
        let parent = self.head();
        let mut index = git2::Index::new().expect("an index");
        if let Some(parent) = &parent {
            index.read_tree(&parent.tree().expect("a commit's tree")).expect("a tree");
        }
        for (path, content) in files {
            match content {
                Some(content) => index.add(&self.entry(path, content)).expect("a valid path"),
                None => index.remove_path(Path::new(path)).expect("the file was there"),
            }
        }
        let tree = index.write_tree_to(&self.repository).expect("a tree");
        let tree = self.repository.find_tree(tree).expect("the tree just written");
        let author = Signature::now("Test", "test@example.com").expect("a signature");
        let parents: Vec<_> = parent.iter().collect();
        self.repository
            .commit(Some("refs/heads/main"), &author, &author, "Change connectors", &tree, &parents)
            .expect("a commit")
            .to_string()
    }

    /// Commits one connector file; see [`connector_path`].
    pub(crate) fn commit_connector(&self, path: &str, config: &Value) -> String {
        self.commit(&[(path.to_owned(), Some(pretty(config)))])
    }

    /// Commits the deletion of a file.
    pub(crate) fn delete(&self, path: &str) -> String {
        self.commit(&[(path.to_owned(), None)])
    }

    /// Points the branch elsewhere, as a force-push does.
    pub(crate) fn reset(&self, commit: &str) {
        let commit = Oid::from_str(commit).expect("a commit id");
        self.repository.reference("refs/heads/main", commit, true, "force-push").expect("a branch");
    }

    fn head(&self) -> Option<Commit<'_>> {
        self.repository.head().ok().map(|head| head.peel_to_commit().expect("a branch points to a commit"))
    }

    fn entry(&self, path: &str, content: &[u8]) -> IndexEntry {
        let id = self.repository.blob(content).expect("a blob");
        IndexEntry {
            ctime: IndexTime::new(0, 0),
            mtime: IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            file_size: 0,
            id,
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        }
    }
}

/// `connectors/<environment>/<destination>/<source>/<name>.json`
pub(crate) fn connector_path(environment: &str, destination: &str, source: &str, name: &str) -> String {
    format!("connectors/{environment}/{destination}/{source}/{name}.json")
}

/// A MirrorSourceConnector that keeps topic names and looks for new topics every second; `more` replaces and adds keys.
pub(crate) fn mirror(source: &Cluster, target: &Cluster, name: &str, topics: &str, more: &[(&str, &str)]) -> Value {
    let bytes = "org.apache.kafka.connect.converters.ByteArrayConverter";
    let mut config: BTreeMap<&str, Value> = BTreeMap::from([
        ("name", json!(name)),
        ("connector.class", json!("org.apache.kafka.connect.mirror.MirrorSourceConnector")),
        ("source.cluster.alias", json!("source")),
        ("target.cluster.alias", json!("target")),
        ("source.cluster.bootstrap.servers", json!(source.bootstrap())),
        ("target.cluster.bootstrap.servers", json!(target.bootstrap())),
        ("topics", json!(topics)),
        ("replication.policy.class", json!("org.apache.kafka.connect.mirror.IdentityReplicationPolicy")),
        ("replication.factor", json!(2)),
        ("tasks.max", json!(2)),
        ("refresh.topics.interval.seconds", json!(1)),
        // The source has one broker.
        ("offset-syncs.topic.replication.factor", json!(1)),
        ("sync.topic.acls.enabled", json!(false)),
        ("key.converter", json!(bytes)),
        ("value.converter", json!(bytes)),
        ("header.converter", json!(bytes)),
    ]);
    config.extend(more.iter().map(|(key, value)| (*key, json!(value))));
    json!(config)
}

/// The JSON as a person would commit it.
pub(crate) fn pretty(config: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(config).expect("a JSON value")
}
