//! `sasl.jaas.config`: login modules with their options, read as Java reads them.
//!
//! Kafka's `JaasConfig` over the JDK's `StreamTokenizer`, quirks included, because a file that works in Java must mean
//! the same here: `tests/fixtures/jaas` holds what Java makes of a corpus. Pure. Law 9: no error quotes an option's name
//! or value, as a quote in the wrong place makes one of the other.

use std::collections::BTreeMap;

use crate::kafka::security::Secret;

mod tokens;

use tokens::{Token, Tokens};

/// One login module with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoginModule {
    /// Java's class.
    pub(super) class: String,
    /// What its failure means to the modules after it.
    pub(super) flag: Flag,
    /// Its options by name; of several with one name the last counts, as in Java.
    pub(super) options: BTreeMap<String, Secret>,
}

/// A module's control flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Required,
    Requisite,
    Sufficient,
    Optional,
}

/// Why it can't be read. Java refuses each of these, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JaasError {
    #[error("no login module")]
    Empty,
    #[error("login module {0} has no class name")]
    NoClass(usize),
    #[error("no control flag (required) after the login module")]
    NoFlag,
    #[error("what follows the login module is no control flag: required, requisite, sufficient or optional")]
    UnknownFlag,
    #[error(
        "{} is not name=\"value\" (numbers and special characters need quotes, a quote in a quoted value is \\\")",
        after(.0)
    )]
    NotAnOption(usize),
    #[error("the closing ; is missing")]
    NoEnd,
    #[error("{0} login modules; a client has exactly one")]
    Several(usize),
}

fn after(options: &usize) -> String {
    match options {
        0 => "what follows the control flag".into(),
        1 => "what follows the first option".into(),
        n => format!("what follows option {n}"),
    }
}

/// The one login module of a client.
pub(super) fn client_module(text: &str) -> Result<LoginModule, JaasError> {
    let mut found = modules(text)?;
    match (found.len(), found.pop()) {
        (1, Some(module)) => Ok(module),
        (n, _) => Err(JaasError::Several(n)),
    }
}

/// All login modules.
fn modules(text: &str) -> Result<Vec<LoginModule>, JaasError> {
    let mut tokens = Tokens::new(text);
    let mut found = Vec::new();
    while let Some(first) = tokens.next() {
        found.push(module(first, &mut tokens, found.len() + 1)?);
    }
    if found.is_empty() { Err(JaasError::Empty) } else { Ok(found) }
}

fn module(first: Token, tokens: &mut Tokens<'_>, number: usize) -> Result<LoginModule, JaasError> {
    let flag = match tokens.next().ok_or(JaasError::NoFlag)? {
        Token::Text(word) => match word.to_uppercase().as_str() {
            "REQUIRED" => Flag::Required,
            "REQUISITE" => Flag::Requisite,
            "SUFFICIENT" => Flag::Sufficient,
            "OPTIONAL" => Flag::Optional,
            _ => return Err(JaasError::UnknownFlag),
        },
        _ => return Err(JaasError::NoFlag),
    };
    let (mut options, mut count) = (BTreeMap::new(), 0);
    loop {
        let key = match tokens.next().ok_or(JaasError::NoEnd)? {
            Token::Char(';') => break,
            Token::Text(key) => Some(key),
            // Java files such an option under `null`, where nobody finds it.
            _ => None,
        };
        if tokens.next() != Some(Token::Char('=')) {
            return Err(JaasError::NotAnOption(count));
        }
        let Some(Token::Text(value)) = tokens.next() else { return Err(JaasError::NotAnOption(count)) };
        let value = Secret::new(value);
        if let Some(key) = key {
            options.insert(key, value);
        }
        count += 1;
    }
    match first {
        Token::Text(class) if !class.is_empty() => Ok(LoginModule { class, flag, options }),
        _ => Err(JaasError::NoClass(number)),
    }
}

#[cfg(test)]
mod golden;
