//! Connector properties as Kafka Connect stores them, with care for the secrets among them.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::keys;

/// What stands in place of a secret.
const MASK: &str = "********";

/// What stands in Connect's config topic in place of a secret that is kept out of it (`config.topic.secrets=omit`).
///
/// It has the form of a reference, to a provider that no worker has: Kafka's `ConfigTransformer` leaves it as it is, and as
/// a JAAS line, a key or a store's password it can't be used. So a Java worker fails on it instead of trying a password.
const OMITTED: &str = "${mirrorkeeper:omitted:secret}";

/// Connector properties, as Kafka Connect holds them. `Debug` masks what could be secret.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// The value of a key, as written.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, in order of key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Sets a key; answers what it was before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes a key; answers what it was.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The properties as a map, for the edges that speak maps.
    #[must_use]
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The pairs whose key begins with `prefix`, without it.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
    }

    /// What two configurations have in common when they mean the same: values in canonical form, defaults left out,
    /// lists in order where order means nothing. Equality of this is "nothing changed" (law 5).
    #[must_use]
    pub fn normalised(&self) -> Self {
        Self(self.iter().filter_map(|(key, value)| Some((key.to_owned(), keys::canonical(key, value)?))).collect())
    }

    /// The same with every literal secret masked, for eyes and logs, and whatever stands under a key that nobody knows;
    /// references to secrets stay.
    #[must_use]
    pub fn masked(&self) -> Self {
        self.map_secrets(|_, _| MASK.to_owned())
    }

    /// The same with every literal secret replaced by a keyed fingerprint (HMAC-SHA-256 over key name and value), so that a
    /// change shows and the value doesn't. `key` is the instance's own secret.
    #[must_use]
    pub fn fingerprinted(&self, key: &[u8]) -> Self {
        self.map_secrets(|name, value| format!("hmac-sha256:{}", &hmac_hex(key, [name, value])[..32]))
    }

    /// The same with every literal secret left out, and a mark in its place.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        self.map_secrets(|_, _| OMITTED.to_owned())
    }

    /// The keys whose secret was left out.
    pub fn omitted(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, value)| *value == OMITTED).map(|(key, _)| key)
    }

    /// A keyed fingerprint of the whole normalised configuration, as 64 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self, key: &[u8]) -> String {
        let normalised = self.normalised();
        hmac_hex(key, normalised.iter().flat_map(|(name, value)| [name, value]))
    }

    fn map_secrets(&self, mut replace: impl FnMut(&str, &str) -> String) -> Self {
        Self(
            self.iter()
                .map(|(name, value)| {
                    let literal = keys::must_be_masked(name, value);
                    (name.to_owned(), if literal { replace(name, value) } else { value.to_owned() })
                })
                .collect(),
        )
    }
}

/// HMAC-SHA-256 over parts that can't run into each other: each is preceded by its length.
fn hmac_hex<'a>(key: &[u8], parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    let mut text = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        text.push(char::from_digit(u32::from(byte >> 4), 16).expect("four bits are one digit"));
        text.push(char::from_digit(u32::from(byte & 15), 16).expect("four bits are one digit"));
    }
    text
}

impl FromIterator<(String, String)> for Config {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl From<BTreeMap<String, String>> for Config {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Config {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.masked().iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "hunter2-hunter2";

    fn sample() -> Config {
        Config::from([("tasks.max", "3"), ("source.cluster.sasl.jaas.config", PASSWORD), ("topics", "b, a")])
    }

    #[test]
    fn no_secret_leaves_through_debug_masks_or_fingerprints() {
        let config = sample();
        for text in [
            format!("{config:?}"),
            format!("{:?}", config.masked()),
            serde_json::to_string(&config.fingerprinted(b"k")).unwrap(),
            config.fingerprint(b"k"),
        ] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_changed_secret_changes_its_fingerprint_and_another_key_gives_another_one() {
        let mut other = sample();
        other.insert("source.cluster.sasl.jaas.config", "different");
        assert_ne!(sample().fingerprinted(b"k"), other.fingerprinted(b"k"));
        assert_ne!(sample().fingerprint(b"k"), other.fingerprint(b"k"));
        assert_ne!(sample().fingerprinted(b"k"), sample().fingerprinted(b"l"));
    }

    #[test]
    fn references_to_secrets_stay_readable() {
        let config = Config::from([("source.cluster.sasl.jaas.config", "${file:/etc/s.properties:jaas}")]);
        assert_eq!(config.masked(), config);
    }

    #[test]
    fn an_omitted_secret_leaves_a_mark_and_a_reference_stays() {
        let reference = ("target.cluster.sasl.jaas.config", "${file:/etc/s.properties:jaas}");
        let mut config = sample();
        config.insert(reference.0, reference.1);
        let written = config.without_secrets();
        assert_eq!(written.omitted().collect::<Vec<_>>(), ["source.cluster.sasl.jaas.config"]);
        assert_eq!((written.get(reference.0), written.get("topics")), (Some(reference.1), Some("b, a")));
        assert!(!serde_json::to_string(&written).unwrap().contains("hunter2"));
        assert_eq!(written.without_secrets(), written);
    }

    #[test]
    fn spelling_is_no_difference() {
        let other = Config::from([
            ("tasks.max", " 3 "),
            ("source.cluster.sasl.jaas.config", PASSWORD),
            ("topics", "a,b"),
            ("enabled", "TRUE"),
        ]);
        assert_eq!(sample().normalised(), other.normalised());
        assert_eq!(sample().fingerprint(b"k"), other.fingerprint(b"k"));
    }
}
