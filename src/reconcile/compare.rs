//! When two configurations mean the same, and whose difference it is.
//!
//! White space, number spelling, list order and defaults are no difference ([`Config::normalised`], from the table of
//! keys); a literal secret is compared by its keyed fingerprint, so that the base needs none. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::destination::state::FingerprintKey;
use crate::spec::{Config, keys};

/// Keys that say how we treat a connector, not what it does. The engine never sees them: a change of one restarts nothing.
pub const OURS: [&str; 4] =
    ["mirrorkeeper.drift", "mirrorkeeper.prune", "mirrorkeeper.renamed.from", "mirrorkeeper.state"];

/// A configuration in the form in which equal means "nothing to do".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparable(BTreeMap<String, Value>);

/// A normalised value, or the fingerprint of a secret one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    text: String,
    secret: bool,
}

/// Who made a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Git changed since we applied it.
    Git,
    /// The live side changed since we applied it: drift.
    Live,
    /// Both changed, and not to the same value.
    Both,
}

/// What happens to a key when the difference is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Git has the key, the live side doesn't.
    Add,
    /// Both have it, with different values.
    Change,
    /// The live side has it, Git doesn't.
    Remove,
}

/// One key that differs between Git and the live side. Serialised, it shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The property; `state` for the target state.
    pub key: String,
    /// What applying it does to the key.
    pub op: Op,
    /// What Git says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub desired: Option<Value>,
    /// What is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub live: Option<Value>,
    /// What we last applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub base: Option<Value>,
    /// Who made the difference.
    pub origin: Origin,
    /// What applying it costs: `none`, `hot`, `restart`, ...
    pub effect: String,
    /// Whether the values are fingerprints.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

// === impl Comparable ===

impl Comparable {
    /// A configuration as Git or the live side has it.
    #[must_use]
    pub fn new(config: &Config, key: &FingerprintKey) -> Self {
        Self::stored(&storable(config, key))
    }

    /// A configuration as the state topic has it: already normalised, secrets already fingerprints.
    #[must_use]
    pub fn stored(config: &Config) -> Self {
        Self(
            config
                .iter()
                .filter(|(name, _)| !OURS.contains(name))
                .map(|(name, text)| {
                    let secret = keys::is_secret(name) && !keys::only_references(text);
                    (name.to_owned(), Value { text: text.to_owned(), secret })
                })
                .collect(),
        )
    }

    /// As [`Comparable::new`], of the live side: a secret that was left out of the config topic is the one that was
    /// applied, since whoever changes it there writes another value.
    #[must_use]
    pub fn live(config: &Config, base: Option<&Self>, key: &FingerprintKey) -> Self {
        let mut live = Self::new(config, key);
        for name in config.omitted() {
            if let Some(value) = base.and_then(|base| base.0.get(name)) {
                live.0.insert(name.to_owned(), value.clone());
            }
        }
        live
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The same without one key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.remove(key);
        self
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

/// What the state topic keeps of a configuration: [`OURS`] included, since a file that is gone can't be asked.
#[must_use]
pub fn storable(config: &Config, key: &FingerprintKey) -> Config {
    config.normalised().fingerprinted(key.bytes())
}

/// What the engine is given of a configuration.
#[must_use]
pub fn runnable(config: &Config) -> Config {
    let mut config = config.clone();
    for key in OURS {
        config.remove(key);
    }
    config
}

/// Every key in which Git and the live side differ, in order, with its origin. Without a base, Git is the origin: nothing
/// says that the live side was ever otherwise.
#[must_use]
pub fn differences(desired: &Comparable, live: &Comparable, base: Option<&Comparable>) -> Vec<Difference> {
    let keys: BTreeSet<&String> = desired.0.keys().chain(live.0.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let (desired, live) = (desired.0.get(key), live.0.get(key));
            if desired == live {
                return None;
            }
            let before = base.map(|base| base.0.get(key));
            Some(Difference {
                key: key.clone(),
                op: match (desired, live) {
                    (Some(_), None) => Op::Add,
                    (None, _) => Op::Remove,
                    _ => Op::Change,
                },
                desired: desired.cloned(),
                live: live.cloned(),
                base: before.flatten().cloned(),
                origin: before.map_or(Origin::Git, |before| origin(desired, live, before)),
                effect: effect(key),
                redacted: [desired, live, before.flatten()].into_iter().flatten().any(|value| value.secret),
            })
        })
        .collect()
}

/// Who made `desired` and `live` differ, given what both were.
#[must_use]
pub fn origin<T: PartialEq + Copy>(desired: T, live: T, base: T) -> Origin {
    match (desired == base, live == base) {
        (true, _) => Origin::Live,
        (false, true) => Origin::Git,
        (false, false) => Origin::Both,
    }
}

fn effect(key: &str) -> String {
    match keys::effect(key) {
        keys::Effect::None => "none",
        keys::Effect::Hot => "hot",
        keys::Effect::Reconnect => "reconnect",
        keys::Effect::Restart => "restart",
        keys::Effect::ReReplicate => "re-replicate",
    }
    .to_owned()
}

// === impl Value ===

impl Value {
    /// A value that is no secret, such as a target state.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret: false }
    }

    /// What tells the value apart from any other: never shown, only hashed.
    pub(super) fn identity(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.secret {
            return f.write_str(&self.text);
        }
        // Four digits are enough to see a change, and too few to confirm a guess.
        let digits = self.text.rsplit(':').next().unwrap_or_default();
        write!(f, "***#{}", digits.get(..4).unwrap_or_default())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> FingerprintKey {
        FingerprintKey::from([1; 32])
    }

    fn of(pairs: &[(&str, &str)]) -> Comparable {
        let config: Config = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Comparable::new(&config, &key())
    }

    #[test]
    fn each_key_has_its_own_origin() {
        let base = of(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let live = of(&[("a", "1"), ("b", "2"), ("c", "2"), ("d", "2")]);
        let desired = of(&[("a", "2"), ("b", "1"), ("c", "3"), ("d", "2")]);
        let found: Vec<_> = differences(&desired, &live, Some(&base)).into_iter().map(|d| (d.key, d.origin)).collect();
        assert_eq!(found, [("a".into(), Origin::Git), ("b".into(), Origin::Live), ("c".into(), Origin::Both)]);
    }

    #[test]
    fn a_secret_shows_that_it_changed_and_not_what_it_is() {
        let secret = "source.cluster.sasl.jaas.config";
        let found = differences(&of(&[(secret, "canary-1")]), &of(&[(secret, "canary-2")]), None);
        let json = serde_json::to_value(&found).unwrap();
        assert!(!json.to_string().contains("canary"), "{json}");
        assert_eq!(json[0]["redacted"], true);
        let (desired, live) = (json[0]["desired"].as_str().unwrap(), json[0]["live"].as_str().unwrap());
        assert!(desired.starts_with("***#") && desired.len() == 8 && desired != live, "{json}");
        assert!(!format!("{found:?}").contains("canary"));
    }

    #[test]
    fn spelling_order_and_defaults_are_no_difference() {
        let jaas = "source.cluster.sasl.jaas.config";
        for (key, one, other) in [
            ("tasks.max", "3", " 3 "),
            ("refresh.topics.enabled", "false", " FALSE"),
            ("topics", "a, b", "b,a"),
            (
                jaas,
                "x.LoginModule required  username='u'\n password='p' ;",
                "x.LoginModule required username='u' password='p';",
            ),
        ] {
            assert_eq!(differences(&of(&[(key, one)]), &of(&[(key, other)]), None), [], "{key}");
        }
        assert_eq!(differences(&of(&[("tasks.max", "1")]), &of(&[]), None), [], "a default need not be written");
        assert_eq!(
            differences(&of(&[(jaas, "a 'b  c';")]), &of(&[(jaas, "a 'b c';")]), None).len(),
            1,
            "a quoted blank counts"
        );
    }

    #[test]
    fn our_own_keys_are_no_difference() {
        assert_eq!(differences(&of(&[("mirrorkeeper.prune", "off")]), &of(&[]), None), []);
    }

    #[test]
    fn the_stored_form_compares_equal_to_the_live_one() {
        let config = Config::from([("topics", "b, a"), ("x.password", "canary"), ("tasks.max", " 3")]);
        assert_eq!(Comparable::stored(&storable(&config, &key())), Comparable::new(&config, &key()));
    }
}
