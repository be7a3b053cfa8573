//! Which values are secrets, by the meaning of their key, and references that stand in for them.

use std::sync::LazyLock;

use super::suggest::distance;

/// Words that make a key secret, wherever they stand in it.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "jaas",
    "token",
    "credential",
    "private.key",
    "privatekey",
    "apikey",
];

/// Endings of keys that only say where or how a secret is kept.
const HARMLESS_ENDINGS: &[&str] =
    &[".url", ".class", ".file", ".location", ".algorithm", ".ms", ".seconds", ".client.id", ".enabled", ".name"];

/// Options of a JAAS login module that are no secret.
const HARMLESS_OPTIONS: &[&str] = &[
    "username",
    "servicename",
    "principal",
    "keytab",
    "usekeytab",
    "storekey",
    "useticketcache",
    "donotprompt",
    "renewtgt",
    "refreshkrb5config",
    "debug",
    "awsprofilename",
    "awsrolearn",
    "awsrolesessionname",
    "awsstsregion",
    "awsdebugcreds",
    "awsmaxretries",
    "awsmaxbackofftimems",
    "clientid",
    "scope",
];

/// A `${provider:path:key}` or `${provider:key}` inside a value (Kafka's `ConfigTransformer`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `file`, `env`, `dir` or another configured provider.
    pub provider: String,
    /// What stands between the first and the second colon; empty when there is one colon only.
    pub path: String,
    /// The rest.
    pub key: String,
    /// Where it stands in the value, in bytes.
    pub range: std::ops::Range<usize>,
}

/// Whether a key's value could be a secret. It looks at the name only, sees through prefixes and small misspellings, and
/// says yes when in doubt.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if lower.contains("jaas") || lower.ends_with("ssl.keystore.key") || lower.ends_with("basic.auth.user.info") {
        return true;
    }
    if HARMLESS_ENDINGS.iter().any(|ending| lower.ends_with(ending)) || super::key(name).is_some() {
        return false;
    }
    if SECRET_WORDS.iter().any(|word| lower.contains(word)) || lower.contains("api.key") || lower.contains("access.key")
    {
        return true;
    }
    lower.split(['.', '-', '_']).any(|segment| {
        SECRET_WORDS
            .iter()
            .filter(|word| segment.len() >= 4 && segment.len().abs_diff(word.len()) <= 1)
            .any(|word| distance(segment, word) <= 1)
    })
}

/// The references inside a value, as Kafka's `ConfigTransformer` finds them: the first `:` ends the provider, the second
/// the path, the rest up to `}` is the key.
#[must_use]
pub fn references(value: &str) -> Vec<Reference> {
    static PATTERN: LazyLock<Option<fancy_regex::Regex>> =
        LazyLock::new(|| fancy_regex::Regex::new(r"\$\{([^}]*?):(([^}]*?):)?([^}]*?)\}").ok());
    let Some(pattern) = PATTERN.as_ref() else { return Vec::new() };
    pattern
        .captures_iter(value)
        .filter_map(Result::ok)
        .filter_map(|found| {
            let text = |group| found.get(group).map_or_else(String::new, |m| m.as_str().to_owned());
            Some(Reference { provider: text(1), path: text(3), key: text(4), range: found.get(0)?.range() })
        })
        .collect()
}

/// The value is made of references and nothing else that could be a secret.
#[must_use]
pub fn only_references(value: &str) -> bool {
    let found = references(value);
    !found.is_empty() && without(value, &found).trim().is_empty()
}

/// Whether a secret stands in this value as it is. A JAAS line whose options are all harmless, empty or references holds none.
#[must_use]
pub fn holds_literal_secret(name: &str, value: &str) -> bool {
    if has_url_credentials(value) {
        return true;
    }
    if !is_secret(name) || value.trim().is_empty() || only_references(value) {
        return false;
    }
    !(name.to_ascii_lowercase().contains("jaas") && jaas_is_harmless(value))
}

/// Whether a value must not be shown: a literal secret, or anything literal under a key that nobody knows, which may be a
/// misspelt secret.
#[must_use]
pub fn must_be_masked(name: &str, value: &str) -> bool {
    let known = matches!(super::lookup(name), Some(super::Found::Key(_) | super::Found::Prefixed { .. }));
    holds_literal_secret(name, value) || (!known && !value.is_empty() && !only_references(value))
}

/// `scheme://user:password@host` under whatever key.
fn has_url_credentials(value: &str) -> bool {
    value.match_indices("://").any(|(at, _)| {
        let authority = value[at + 3..].split(['/', '?', '#', ',', ' ']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| {
            user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !only_references(password))
        })
    })
}

fn without(value: &str, found: &[Reference]) -> String {
    let mut rest = String::new();
    let mut from = 0;
    for reference in found {
        rest.push_str(&value[from..reference.range.start]);
        from = reference.range.end;
    }
    rest.push_str(&value[from..]);
    rest
}

/// `Module control-flag (name=value)* ;`, every option harmless. Anything that doesn't read like that is not harmless.
fn jaas_is_harmless(value: &str) -> bool {
    let Some(options) = jaas_options(value) else { return false };
    options.iter().all(|(name, option)| {
        let lower = name.to_ascii_lowercase();
        HARMLESS_OPTIONS.contains(&lower.as_str()) || option.is_empty() || only_references(option)
    })
}

/// The options of a JAAS line as Kafka's `JaasConfig` reads them; `None` when it can't be read.
pub(super) fn jaas_options(value: &str) -> Option<Vec<(String, String)>> {
    let body = value.trim().strip_suffix(';')?;
    let mut words = body.trim_start();
    for _ in 0..2 {
        let end = words.find(char::is_whitespace).unwrap_or(words.len());
        if end == 0 || words[..end].contains(['=', '\'', '"']) {
            return None;
        }
        words = words[end..].trim_start();
    }
    let mut options = Vec::new();
    while !words.is_empty() {
        let (name, rest) = words.split_once('=')?;
        let rest = rest.trim_start();
        let (option, rest) = match rest.chars().next()? {
            quote @ ('"' | '\'') => {
                let inner = &rest[1..];
                let end = closing_quote(inner, quote)?;
                (&inner[..end], &inner[end + 1..])
            }
            _ => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        options.push((name.trim().to_owned(), option.to_owned()));
        words = rest.trim_start();
    }
    Some(options)
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}
