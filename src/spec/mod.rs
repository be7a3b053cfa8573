//! The language of desired state: connector files, their keys, and what is wrong with them. Pure.
//!
//! [`load`] turns the files of a repository into [`Loaded`]: connectors that may run, files that may not, and every
//! problem found, each with code, line, column, key and hint. Everybody may use this module; it uses no other module,
//! no clock, no network and no file system.
//!
//! Laws: a broken file never hides another one and never means "deleted" (laws 7 and 8), no value that could be a
//! secret is quoted (law 9), and every input is bounded (law 10).

mod combinations;
mod config;
pub mod diagnostic;
pub mod keys;
mod layout;
mod name;
mod parse;
pub mod policy;
pub mod properties;
pub mod regex;
pub mod render;
mod repository;
mod rules;
pub mod schema;
pub mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use config::Config;
pub use diagnostic::{Diagnostic, Severity};
pub use layout::load;
pub use name::{Name, NameError};

/// The largest connector file that is read, in bytes (1 MiB).
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// What a connector should be doing (KIP-875).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// Copying.
    Running,
    /// Standing still, resources kept.
    Paused,
    /// Standing still, resources released.
    Stopped,
}

/// What happens when somebody changed what we applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriftMode {
    /// The change is undone.
    Correct,
    /// The change is shown and left alone.
    Report,
    /// The change is not looked for.
    Off,
}

/// What happens to a running connector whose file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PruneMode {
    /// It is stopped and forgotten; its offsets and topics stay.
    Auto,
    /// It is shown and goes on running.
    Off,
}

/// The part of a repository that one instance looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Folder of the connector files inside the repository; empty for the repository itself.
    pub root: String,
    /// First folder level below the root.
    pub environment: String,
    /// Second folder level.
    pub destination: String,
    /// Third folder level: only these; empty for all.
    pub sources: Vec<String>,
}

/// One file of a repository.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// The content as it lies there.
    pub bytes: Arc<[u8]>,
    /// Identity of the content (Git's blob id).
    pub blob: String,
}

/// How strictly files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Unknown keys are errors, not warnings.
    pub strict: bool,
}

/// A connector file that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// The connector's name: `name` in the file, else the file's stem.
    pub name: Name,
    /// Its properties as Kafka Connect would hold them: all values strings, `name` present, `mirrorkeeper.*` included.
    pub config: Config,
    /// What it should be doing (`mirrorkeeper.state`).
    pub state: TargetState,
    /// Path of the file in the repository.
    pub path: String,
    /// Folder of the third level: the source.
    pub source: String,
    /// Identity of the file's content.
    pub blob: String,
    /// `mirrorkeeper.drift`, where the file says it.
    pub drift: Option<DriftMode>,
    /// `mirrorkeeper.prune`, where the file says it.
    pub prune: Option<PruneMode>,
    /// `mirrorkeeper.renamed.from`, where the file says it.
    pub renamed_from: Option<Name>,
    /// What is odd but doesn't stop it.
    pub warnings: Vec<Diagnostic>,
}

/// A connector file that may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFile {
    /// Path of the file in the repository.
    pub path: String,
    /// Its name as far as it is readable, else the stem.
    pub name: Option<Name>,
    /// Why, at least one error among them.
    pub problems: Vec<Diagnostic>,
}

/// Everything a repository says about one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What may run, by name.
    pub connectors: BTreeMap<Name, Connector>,
    /// What may not.
    pub invalid: Vec<InvalidFile>,
    /// Findings that belong to no connector file, such as misplaced JSON.
    pub warnings: Vec<Diagnostic>,
    /// Connector files in scope, valid or not.
    pub files: usize,
    /// Some file lies below the root.
    pub root_present: bool,
    /// Some file lies below the scope's environment and destination.
    pub scope_present: bool,
}

impl TargetState {
    /// The word of `mirrorkeeper.state`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl DriftMode {
    /// The word of `mirrorkeeper.drift`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Report => "report",
            Self::Off => "off",
        }
    }
}

impl PruneMode {
    /// The word of `mirrorkeeper.prune`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

impl InvalidFile {
    /// The file asks for something that this engine can't run, and nothing else is wrong with it.
    #[must_use]
    pub fn unsupported(&self) -> bool {
        let mut errors = self.problems.iter().filter(|p| p.severity == Severity::Error).peekable();
        errors.peek().is_some() && errors.all(|p| p.code == diagnostic::UNSUPPORTED)
    }
}

impl Loaded {
    /// Every finding, in order of path, line and column.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self
            .connectors
            .values()
            .flat_map(|c| &c.warnings)
            .chain(self.invalid.iter().flat_map(|f| &f.problems))
            .chain(&self.warnings)
            .cloned()
            .collect();
        all.sort_by(|a, b| (&a.path, a.line, a.column, a.code).cmp(&(&b.path, b.line, b.column, b.code)));
        all
    }
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The content may hold secrets.
        f.debug_struct("SourceFile")
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .field("blob", &self.blob)
            .finish()
    }
}

#[cfg(test)]
mod tests;
