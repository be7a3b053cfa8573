//! Why a repository can't be read, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// A repository can't be read. Every text is free of credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The location is not one that can be followed.
    #[error("{given} can't be followed: {why}")]
    Location {
        /// As given, without credentials.
        given: String,
        /// Why.
        why: String,
    },
    /// The server or the path can't be reached.
    #[error("{location} can't be reached: {why}")]
    Unreachable {
        /// Where.
        location: String,
        /// What libgit2 says.
        why: String,
    },
    /// The server refuses us.
    #[error("{location} refuses access: {why}")]
    Refused {
        /// Where.
        location: String,
        /// Why, as far as known.
        why: String,
    },
    /// The server is not the one we know.
    #[error("the identity of {location} is not trusted: {why}")]
    Untrusted {
        /// Where.
        location: String,
        /// What was shown to us.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The proxy is in the way.
    #[error("{proxy} does not let us through to {location}: {why}")]
    Proxy {
        /// Where.
        location: String,
        /// The proxy.
        proxy: String,
        /// Why.
        why: String,
    },
    /// A secret or a certificate can't be used as the settings say.
    #[error("{from} can't be used: {why}")]
    Credentials {
        /// The file, or the setting.
        from: String,
        /// Why.
        why: String,
    },
    /// There is no such branch, tag or commit.
    #[error("{location} has no {reference}")]
    NoReference {
        /// Where.
        location: String,
        /// What was asked for.
        reference: String,
        /// What there is, some of it.
        known: Vec<String>,
    },
    /// What the name stands for is no commit.
    #[error("{reference} in {location} stands for no commit")]
    NoCommit {
        /// Where.
        location: String,
        /// The name.
        reference: String,
    },
    /// A branch and a tag bear the name.
    #[error("{reference} is both a branch and a tag in {location}")]
    Ambiguous {
        /// Where.
        location: String,
        /// The name.
        reference: String,
    },
    /// The repository has no commit.
    #[error("{location} has no commit yet")]
    Unborn {
        /// Where.
        location: String,
    },
    /// Something is more than we take (law 10).
    #[error("{location} is too large: {what}")]
    TooLarge {
        /// Where.
        location: String,
        /// What, and the limit.
        what: String,
    },
    /// It took longer than one look may take.
    #[error("{location} was not read within {after:?}")]
    Late {
        /// Where.
        location: String,
        /// The time allowed.
        after: Duration,
    },
    /// A folder's place is taken by something that isn't followed.
    #[error("{path} in {location} is {what}, which is not followed")]
    NotFollowed {
        /// Where.
        location: String,
        /// Path inside the repository.
        path: String,
        /// `a symbolic link`, `a submodule`.
        what: String,
    },
    /// The folder changed each time it was read.
    #[error("{location} changes faster than it can be read")]
    Changing {
        /// Where.
        location: String,
    },
    /// The cache can't be written or read, and could not be rebuilt.
    #[error("the cache {} can't be used: {why}", path.display())]
    Cache {
        /// Its folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Something else failed while reading.
    #[error("{location} can't be read: {why}")]
    Read {
        /// Where.
        location: String,
        /// Why.
        why: String,
    },
}

// === impl Error ===

impl Error {
    /// Stable code for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Location { .. } => "GIT-LOCATION",
            Self::Unreachable { .. } => "GIT-UNREACHABLE",
            Self::Refused { .. } => "GIT-REFUSED",
            Self::Untrusted { .. } => "GIT-UNTRUSTED",
            Self::Proxy { .. } => "GIT-PROXY",
            Self::Credentials { .. } => "GIT-CREDENTIALS",
            Self::NoReference { .. } => "GIT-NO-REFERENCE",
            Self::NoCommit { .. } => "GIT-NO-COMMIT",
            Self::Ambiguous { .. } => "GIT-AMBIGUOUS",
            Self::Unborn { .. } => "GIT-UNBORN",
            Self::TooLarge { .. } => "GIT-TOO-LARGE",
            Self::Late { .. } => "GIT-LATE",
            Self::NotFollowed { .. } => "GIT-NOT-FOLLOWED",
            Self::Changing { .. } => "GIT-CHANGING",
            Self::Cache { .. } => "GIT-CACHE",
            Self::Read { .. } => "GIT-READ",
        }
    }

    /// The server was reached and let us in, and did not give what was asked for.
    pub(super) fn about_content(&self) -> bool {
        match self {
            Self::Cache { .. } => true,
            Self::Unreachable { why, .. } => why.contains("not our ref") || why.contains("unadvertised object"),
            _ => false,
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Location { .. } => {
                "write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, file:///PATH or the path of a folder"
                    .to_owned()
            }
            Self::Unreachable { why, .. } if why.contains("not as a Git server") => {
                "check the address: this is how a login page or a web page answers".to_owned()
            }
            Self::Unreachable { why, .. } if why.contains("404") => {
                "check the address; a server also answers 404 for a private repository without credentials: \
                 set repo-token-file"
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "check the address and the network; what was read last stays in force, and it is tried again".to_owned()
            }
            Self::Refused { why, .. } if why.contains("client certificate") => {
                "repo-client-cert-file and repo-client-key-file hold a certificate that the server accepts, and its key"
                    .to_owned()
            }
            Self::Refused { why, .. } if why.contains("redirects") || why.contains("sends us") => {
                "write the repository's real address into repo".to_owned()
            }
            Self::Refused { .. } => {
                "give a token (repo-token-file or MIRRORKEEPER_REPO_TOKEN) or a key (repo-ssh-key-file) that may read it"
                    .to_owned()
            }
            Self::Untrusted { hint, .. } => hint.clone(),
            Self::Proxy { .. } => {
                "check repo-proxy, or HTTPS_PROXY and NO_PROXY; a proxy's user and password stand in its URL".to_owned()
            }
            Self::Credentials { .. } => {
                "check what the setting names, what is in it, and that this user may read it".to_owned()
            }
            Self::NoCommit { .. } => "name a branch, a tag of a commit, or a commit".to_owned(),
            Self::NoReference { known, .. } if known.is_empty() => "the repository has no branch: push one".to_owned(),
            Self::NoReference { known, .. } => format!("there are: {}", known.join(", ")),
            Self::Ambiguous { reference, .. } => format!("write refs/heads/{reference} or refs/tags/{reference}"),
            Self::Unborn { .. } => "commit something, or read the files as they lie with working-tree = true".to_owned(),
            Self::TooLarge { what, .. } if what.contains("brings") => {
                "keep connector files in a repository of their own, without large files".to_owned()
            }
            Self::TooLarge { .. } => "set root to the folder that holds connector files only".to_owned(),
            Self::Late { .. } => "it is tried again; see whether the server answers at all".to_owned(),
            Self::NotFollowed { .. } => "put a real folder there".to_owned(),
            Self::Changing { .. } => "it is tried again".to_owned(),
            Self::Cache { .. } => "check that this user may write there and that the disk is not full".to_owned(),
            Self::Read { .. } => "look at it with `git fsck`; what was read last stays in force".to_owned(),
        })
    }
}
