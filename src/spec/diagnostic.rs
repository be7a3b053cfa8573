//! What is wrong with a file: where, what, and what to do about it.
//!
//! Codes are stable: scripts may rely on them. A message never quotes a value that could be a secret (law 9).

use std::fmt;

use serde::Serialize;

/// The file is not valid UTF-8.
pub const NOT_UTF8: &str = "CFG-001";
/// The file is not valid JSON.
pub const NOT_JSON: &str = "CFG-002";
/// The file's JSON is not an object.
pub const NOT_OBJECT: &str = "CFG-003";
/// The file is larger than [`super::MAX_FILE_BYTES`].
pub const TOO_LARGE: &str = "CFG-004";
/// A key appears more than once.
pub const DUPLICATE_KEY: &str = "CFG-005";
/// A value is null, an object or an array.
pub const NOT_SCALAR: &str = "CFG-006";
/// The file begins with a byte order mark.
pub const BYTE_ORDER_MARK: &str = "CFG-007";
/// A required key is missing.
pub const MISSING_KEY: &str = "CFG-010";
/// A key that nobody knows.
pub const UNKNOWN_KEY: &str = "CFG-011";
/// A `mirrorkeeper.` key that nobody knows.
pub const UNKNOWN_OWN_KEY: &str = "CFG-012";
/// A value that is not of the key's type, or out of its range.
pub const BAD_VALUE: &str = "CFG-013";
/// A value that is not one of the key's words.
pub const NOT_A_CHOICE: &str = "CFG-014";
/// A regular expression that can't be read or can't be run.
pub const BAD_REGEX: &str = "CFG-015";
/// Keys that contradict each other.
pub const CONTRADICTION: &str = "CFG-016";
/// A known key that has no effect in this file.
pub const NO_EFFECT: &str = "CFG-017";
/// A key of an older Kafka; its successor is named.
pub const OLD_KEY: &str = "CFG-018";
/// Something that the connector file's JSON Schema refuses and no other rule names.
pub const SCHEMA: &str = "CFG-019";
/// A replication policy with two published behaviours.
pub const AMBIGUOUS_POLICY: &str = "CFG-021";
/// Several source topics would be written into one remote topic.
pub const MERGED_TOPICS: &str = "CFG-022";
/// A secret stands in the file as it is.
pub const LITERAL_SECRET: &str = "CFG-030";
/// A reference to a provider that may not be there.
pub const UNKNOWN_PROVIDER: &str = "CFG-031";
/// A JSON file that lies where no connector file is looked for.
pub const MISPLACED: &str = "CFG-040";
/// The name in the file differs from the file's stem.
pub const NAME_MISMATCH: &str = "CFG-041";
/// Two files give the same name.
pub const DUPLICATE_NAME: &str = "CFG-042";
/// A text that is no connector name.
pub const BAD_NAME: &str = "CFG-043";
/// Two connectors may write one topic.
pub const SHARED_TARGET: &str = "CFG-050";
/// Mirrors that feed each other.
pub const CYCLE: &str = "CFG-051";
/// Settings of a source and a checkpoint connector that must agree and don't.
pub const PAIR_DISAGREES: &str = "CFG-052";
/// Source and target are the same cluster.
pub const SAME_CLUSTER: &str = "CFG-053";
/// The file asks for something that this engine can't run.
pub const UNSUPPORTED: &str = "unsupported";

/// Whether a finding stops the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file can't run like this.
    Error,
    /// The file runs; somebody should look.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
pub struct Diagnostic {
    /// Stable code, such as `CFG-014`.
    pub code: &'static str,
    /// Whether it stops the file.
    pub severity: Severity,
    /// Path of the file in the repository.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The key it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A finding about a file as a whole, placed at its beginning.
    #[must_use]
    pub fn new(code: &'static str, severity: Severity, path: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            path: path.to_owned(),
            line: 1,
            column: 1,
            key: None,
            message: message.into(),
            hint: None,
        }
    }

    /// The same, at a line and column (both from 1).
    #[must_use]
    pub fn at(mut self, (line, column): (u32, u32)) -> Self {
        self.line = line;
        self.column = column;
        self
    }

    /// The same, about a key.
    #[must_use]
    pub fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}[{}]", self.path, self.line, self.column, self.severity, self.code)?;
        if let Some(key) = &self.key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}
