//! Regular expressions as Java reads them: MirrorMaker's filters are Java regexes that must match a whole name.
//!
//! A pattern is translated into what `fancy-regex` runs, construct by construct; what can't be translated faithfully is
//! refused by name instead of meaning something else. A pattern that takes too many steps is an error, not "no match"
//! (law 8).

mod class;
mod escape;
mod translate;

use std::fmt;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 32 * 1024;

/// How many steps one match may take before it is given up.
const MAX_STEPS: usize = 1_000_000;

/// A pattern that must match a whole text, as `Pattern.compile(p).matcher(text).matches()` of Java.
#[derive(Clone)]
pub struct JavaRegex {
    source: String,
    compiled: fancy_regex::Regex,
}

/// Why a pattern isn't one, or can't be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Java refuses it too.
    #[error("{what} at character {at}")]
    Syntax {
        /// What is wrong.
        what: String,
        /// Where, from 1.
        at: usize,
    },
    /// Java knows it; it can't be run here as Java would.
    #[error("{construct} at character {at} is Java that can't be run here")]
    Unsupported {
        /// The construct.
        construct: String,
        /// Where, from 1.
        at: usize,
    },
    /// It is longer than 32 KiB, or nested too deeply.
    #[error("the pattern is too long or nested too deeply")]
    TooLarge,
    /// The engine refuses it: too large when compiled, or a look-behind of varying length.
    #[error("the pattern can't be run here: {why}")]
    Refused {
        /// The engine's reason.
        why: String,
    },
}

/// A match was given up: neither yes nor no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} takes more than a million steps; make its repetitions less ambiguous")]
pub struct MatchError {
    /// The pattern.
    pub pattern: String,
}

/// A list of patterns as MirrorMaker's filters hold it: joined by `|`, one match of a whole name is enough, the empty list
/// matches nothing (`MirrorUtils.compilePatternList`).
#[derive(Clone)]
pub struct PatternList {
    items: Vec<String>,
    joined: Option<JavaRegex>,
}

/// Why a list of patterns can't be used, and which item is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {item:?} is wrong")]
pub struct PatternError {
    /// The item that can't be read, or the whole list when each item alone can.
    pub item: String,
    /// Why.
    #[source]
    pub source: RegexError,
}

// === impl JavaRegex ===

impl JavaRegex {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, by name and place.
    pub fn parse(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > MAX_PATTERN {
            return Err(RegexError::TooLarge);
        }
        let translated = format!(r"\A(?:{})\z", translate::translate(pattern)?);
        let compiled = fancy_regex::RegexBuilder::new(&translated)
            .backtrack_limit(MAX_STEPS)
            .build()
            .map_err(|error| RegexError::Refused { why: reason(&error) })?;
        Ok(Self { source: pattern.to_owned(), compiled })
    }

    /// Whether the whole text matches.
    ///
    /// # Errors
    /// It could not be found out within a million steps.
    pub fn matches(&self, text: &str) -> Result<bool, MatchError> {
        self.compiled.is_match(text).map_err(|_| MatchError { pattern: self.source.clone() })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

/// The engine's error speaks of the translated pattern; a person gets what it means.
fn reason(error: &fancy_regex::Error) -> String {
    use fancy_regex::{CompileError, Error};
    match error {
        Error::CompileError(inner) => match inner {
            CompileError::LookBehindNotConst => "a look-behind must have one fixed length".to_owned(),
            CompileError::InnerError(_) => "it is too large when compiled".to_owned(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

impl PartialEq for JavaRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for JavaRegex {}

impl fmt::Debug for JavaRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JavaRegex({:?})", self.source)
    }
}

// === impl PatternList ===

impl PatternList {
    /// The list that matches nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self { items: Vec::new(), joined: None }
    }

    /// Reads a list: patterns separated by commas, white space around them dropped. A pattern with a comma in it
    /// (`a{1,2}`) can't be written, as in MirrorMaker.
    ///
    /// # Errors
    /// The item that is wrong, and why.
    pub fn parse(value: &str) -> Result<Self, PatternError> {
        let items: Vec<String> = super::keys::list(value).into_iter().map(str::to_owned).collect();
        if items.is_empty() {
            return Ok(Self { items, joined: None });
        }
        let whole = items.join("|");
        match JavaRegex::parse(&whole) {
            Ok(joined) => Ok(Self { items, joined: Some(joined) }),
            Err(source) => {
                for item in &items {
                    if let Err(source) = JavaRegex::parse(item) {
                        return Err(PatternError { item: item.clone(), source });
                    }
                }
                Err(PatternError { item: whole, source })
            }
        }
    }

    /// Whether one of the patterns matches the whole name.
    ///
    /// # Errors
    /// It could not be found out within a million steps.
    pub fn matches(&self, name: &str) -> Result<bool, MatchError> {
        self.joined.as_ref().map_or(Ok(false), |joined| joined.matches(name))
    }

    /// The patterns.
    #[must_use]
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// No pattern at all: nothing matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The names that this list can match, when every pattern is a literal name (dots taken as meant); `None` when some
    /// pattern is a real expression.
    #[must_use]
    pub fn literals(&self) -> Option<Vec<&str>> {
        self.items
            .iter()
            .map(|item| {
                let plain = item.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
                (plain && !item.is_empty()).then_some(item.as_str())
            })
            .collect()
    }
}

impl PartialEq for PatternList {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Eq for PatternList {}

impl fmt::Debug for PatternList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PatternList").field(&self.items).finish()
    }
}

#[cfg(test)]
mod tests;
