//! One look at a repository: what is there now, and what it cost to know.

use std::time::Duration;

use git2::Oid;

use super::local::Local;
use super::remote::Remote;
use super::{Error, Location, Snapshot, SourceSettings};

/// What a look found.
#[derive(Debug)]
pub(super) struct Look {
    /// The snapshot; none when it is the known one.
    pub(super) snapshot: Option<Snapshot>,
    /// The revision that is there now.
    pub(super) revision: String,
    /// Fetches that were begun: the server was asked for objects, and not only for its list.
    pub(super) fetches: u64,
    /// Packs that were transferred.
    pub(super) packs: u64,
    /// The revision before, where the new one doesn't build on it.
    pub(super) rewritten: Option<String>,
}

/// Something that can be looked at.
#[derive(Debug)]
pub(super) enum Reader {
    Remote(Box<Remote>),
    Local(Box<Local>),
}

// === impl Look ===

impl Look {
    pub(super) fn unchanged(revision: String) -> Self {
        Self { snapshot: None, revision, fetches: 0, packs: 0, rewritten: None }
    }

    /// A snapshot, unless its revision is `known`.
    pub(super) fn of(snapshot: Snapshot, known: Option<&str>) -> Self {
        let revision = snapshot.revision.clone();
        let snapshot = (known != Some(revision.as_str())).then_some(snapshot);
        Self { snapshot, revision, fetches: 0, packs: 0, rewritten: None }
    }
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(mut settings: SourceSettings) -> Result<Self, Error> {
        settings.root = root(&settings)?;
        Ok(match settings.location.clone() {
            Location::Local(path) => Self::Local(Box::new(Local::new(settings, path))),
            Location::Remote(_) if settings.working_tree == Some(true) => {
                let why = "working-tree is for folders of this machine".to_owned();
                return Err(Error::Location { given: settings.location.to_string(), why });
            }
            Location::Remote(address) => Self::Remote(Box::new(Remote::new(settings, address))),
        })
    }

    /// Looks once; `known` is the revision whose snapshot the caller has.
    pub(super) fn look(&mut self, known: Option<&str>, within: Duration) -> Result<Look, Error> {
        match self {
            Self::Remote(remote) => remote.look(known, within),
            Self::Local(local) => local.look(known, within),
        }
    }
}

/// The full names that `name` may stand for.
pub(super) fn candidates(name: &str) -> Vec<String> {
    if name == "HEAD" || name.starts_with("refs/") {
        vec![name.to_owned()]
    } else {
        vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
    }
}

/// `name` as a whole commit id. A shortened one is not taken: it may mean another commit tomorrow.
pub(super) fn commit_id(name: &str) -> Option<Oid> {
    (name.len() == 40).then(|| Oid::from_str(name).ok()).flatten()
}

/// Some names of branches and tags, for a hint.
pub(super) fn known_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let plain = |name: &&str| name.len() <= 200 && !name.chars().any(char::is_control);
    let short = |name: &'a str| name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
    let mut names: Vec<String> = names
        .filter(|name| !name.ends_with("^{}"))
        .filter(plain)
        .filter_map(short)
        .take(10)
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// The root as it is used: relative, without `.` and empty parts. Anything that climbs is refused.
fn root(settings: &SourceSettings) -> Result<String, Error> {
    let given = settings.root.as_str();
    let refuse = |why: &str| {
        Err(Error::Location { given: format!("root {given} of {}", settings.location), why: why.to_owned() })
    };
    if given.starts_with('/') || given.contains('\\') || given.contains('\0') {
        return refuse("it must be a relative path with /");
    }
    let parts: Vec<&str> = given.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return refuse("it leads out of the repository");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_root(text: &str) -> Result<String, Error> {
        let mut settings = SourceSettings::new(Location::Local("x".into()), "cache".into());
        settings.root = text.to_owned();
        root(&settings)
    }

    #[test]
    fn a_root_never_leads_out() {
        assert_eq!(with_root("./a//b/").unwrap(), "a/b");
        assert_eq!(with_root(".").unwrap(), "");
        for bad in ["../x", "a/../../b", "/etc", "a\\b"] {
            assert_eq!(with_root(bad).unwrap_err().code(), "GIT-LOCATION", "{bad}");
        }
    }

    #[test]
    fn shortened_ids_are_no_references() {
        assert!(commit_id("abc123").is_none());
        assert!(commit_id(&"a".repeat(40)).is_some());
        assert_eq!(candidates("main"), ["refs/heads/main", "refs/tags/main"]);
        assert_eq!(candidates("refs/heads/main"), ["refs/heads/main"]);
    }
}
