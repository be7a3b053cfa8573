//! A connector's name and what it may look like.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name, in characters: it is part of topic keys, URLs and metric labels.
const MAX_CHARS: usize = 249;

/// A connector's name: what Kafka Connect calls it, and what the offsets topic's keys begin with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Name(String);

/// Why a text is no connector name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a connector's name must not be empty")]
    Empty,
    /// Kafka Connect trims names; a name that changes by it can't be found again.
    #[error("a connector's name must not begin or end with white space")]
    Untrimmed,
    /// A `/` can't be addressed over REST.
    #[error("a connector's name must not contain '/'")]
    Slash,
    /// Kafka Connect refuses control characters (KAFKA-7551).
    #[error("a connector's name must not contain control characters")]
    Control,
    /// Longer than 249 characters.
    #[error("a connector's name must not be longer than 249 characters")]
    TooLong,
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(NameError::Empty);
        }
        if text.trim() != text {
            return Err(NameError::Untrimmed);
        }
        if text.contains('/') {
            return Err(NameError::Slash);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if text.chars().count() > MAX_CHARS {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_addressed_are_refused() {
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!(" a".parse::<Name>(), Err(NameError::Untrimmed));
        assert_eq!("a/b".parse::<Name>(), Err(NameError::Slash));
        assert_eq!("a\u{7}b".parse::<Name>(), Err(NameError::Control));
        assert_eq!("x".repeat(250).parse::<Name>(), Err(NameError::TooLong));
        assert_eq!("events staging-ü".parse::<Name>().map(|n| n.to_string()), Ok("events staging-ü".to_owned()));
    }

    #[test]
    fn a_name_read_from_json_obeys_the_same_rules() {
        assert!(serde_json::from_str::<Name>("\"a/b\"").is_err());
        assert_eq!(serde_json::from_str::<Name>("\"a\"").unwrap().as_str(), "a");
    }
}
