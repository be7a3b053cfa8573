//! What `/status` said: reading it by the names that it has for users.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// One `/status` document.
#[derive(Debug)]
pub(super) struct Seen(Value);

/// One of its items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a>(&'a Value);

// === impl Seen ===

impl Seen {
    pub(super) fn new(document: Value) -> Self {
        Self(document)
    }

    /// A value by JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The item of a connector.
    pub(super) fn item(&self, name: &str) -> Result<Item<'_>, String> {
        let items = self.0["items"].as_array().map_or(&[][..], Vec::as_slice);
        let found = items.iter().find(|item| item["name"] == name);
        found.map(Item).ok_or_else(|| format!("there is no item {name}"))
    }

    /// The item, when it has these two words.
    pub(super) fn item_is(&self, name: &str, sync: &str, health: &str) -> Result<Item<'_>, String> {
        let item = self.item(name)?;
        let (is_sync, is_health) = (item.text("/sync"), item.text("/health"));
        if (is_sync, is_health) != (sync, health) {
            let problem = item.text("/problems/0/message");
            return Err(format!("{name} is {is_sync}, {is_health}, and not {sync}, {health}; {problem}"));
        }
        Ok(item)
    }

    /// What is wrong with a file, worst first.
    pub(super) fn file_problem(&self, path: &str) -> Result<&Value, String> {
        let files = self.0["files"].as_array().map_or(&[][..], Vec::as_slice);
        let file = files.iter().find(|file| file["path"] == path);
        file.filter(|file| file["problems"][0].is_object()).ok_or_else(|| format!("nothing is wrong with {path}"))
    }

    /// The newest entry of the history after `sequence` that did `action` to `name`, and did not fail.
    pub(super) fn deed(&self, after: u64, name: &str, action: &str) -> Result<&Value, String> {
        let history = self.0["history"].as_array().map_or(&[][..], Vec::as_slice);
        let later = history.iter().filter(|entry| entry["sequence"].as_u64().is_some_and(|number| number > after));
        let does = |entry: &&Value| {
            let steps = entry["steps"].as_array().map_or(&[][..], Vec::as_slice);
            steps.iter().any(|step| step["name"] == name && step["action"] == action && step["failed"].is_null())
        };
        later.clone().find(does).ok_or_else(|| format!("the history has no {action} of {name}"))
    }

    /// Number of the newest entry of the history; 0 when it is empty.
    pub(super) fn newest(&self) -> u64 {
        let history = self.0["history"].as_array().map_or(&[][..], Vec::as_slice);
        history.iter().filter_map(|entry| entry["sequence"].as_u64()).max().unwrap_or(0)
    }

    /// Whether the commit was read.
    pub(super) fn observed(&self, revision: &str) -> Result<(), String> {
        let observed = self.at("/source/observed").as_str().unwrap_or("nothing");
        if observed == revision { Ok(()) } else { Err(format!("the revision read last is {observed}")) }
    }

    /// A few lines for people.
    pub(super) fn in_short(&self) -> String {
        let word = |pointer: &str| self.at(pointer).as_str().unwrap_or("?").to_owned();
        let mut text = format!("status: {}: {}", word("/state"), word("/message"));
        for item in self.0["items"].as_array().into_iter().flatten().map(Item) {
            let lag = item.at("/lagRecords");
            let words = [item.text("/name"), item.text("/sync"), item.text("/health"), item.text("/plan/why")];
            let _ = write!(text, "\n  {}: {}, {}, lag {lag}; {}", words[0], words[1], words[2], words[3]);
            for problem in item.at("/problems").as_array().into_iter().flatten() {
                let _ = write!(text, "\n    {problem}");
            }
        }
        for file in self.0["files"].as_array().into_iter().flatten() {
            let _ = write!(text, "\n  {}", file["problems"][0]);
        }
        text
    }
}

// === impl Item ===

impl<'a> Item<'a> {
    /// A value by JSON pointer.
    pub(super) fn at(self, pointer: &str) -> &'a Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A text by JSON pointer; `-` where there is none.
    pub(super) fn text(self, pointer: &str) -> &'a str {
        self.at(pointer).as_str().unwrap_or("-")
    }

    /// The item, when nothing waits to be copied.
    pub(super) fn caught_up(self) -> Result<Self, String> {
        match self.at("/lagRecords").as_u64() {
            Some(0) => Ok(self),
            lag => Err(format!("{} has lag {lag:?}", self.text("/name"))),
        }
    }

    /// When this run of the flow began.
    pub(super) fn started(self) -> Result<String, String> {
        let started = self.at("/flow/started").as_str().map(str::to_owned);
        started.ok_or_else(|| format!("{} has no flow", self.text("/name")))
    }

    /// The difference in one key.
    pub(super) fn difference(self, key: &str) -> Result<&'a Value, String> {
        let mut all = self.at("/diff").as_array().into_iter().flatten();
        all.find(|difference| difference["key"] == key).ok_or_else(|| format!("there is no difference in {key}"))
    }

    /// Source topics with the remote topics that they are copied to.
    pub(super) fn topics(self) -> BTreeMap<String, String> {
        let partitions = self.at("/flow/partitions").as_array().into_iter().flatten();
        partitions
            .filter_map(|p| Some((p["topic"].as_str()?.to_owned(), p["remoteTopic"].as_str()?.to_owned())))
            .collect()
    }

    /// The ends of a source topic's partitions, as the flow knows them.
    pub(super) fn ends(self, topic: &str) -> Vec<i64> {
        let partitions = self.at("/flow/partitions").as_array().into_iter().flatten();
        let ours = partitions.filter(|partition| partition["topic"] == topic);
        let ends: BTreeMap<_, _> = ours.filter_map(|p| Some((p["partition"].as_i64()?, p["end"].as_i64()?))).collect();
        ends.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_found_or_named() {
        let seen = Seen::new(json!({ "items": [{ "name": "a", "sync": "InSync", "health": "Degraded",
            "lagRecords": null, "problems": [{ "message": "no leader" }] }] }));
        assert!(seen.item_is("a", "InSync", "Degraded").is_ok());
        let why = seen.item_is("a", "InSync", "Healthy").expect_err("another word");
        assert!(why.contains("Degraded") && why.contains("no leader"), "{why}");
        assert!(seen.item("b").is_err());
        assert!(seen.item("a").expect("there").caught_up().is_err(), "an unknown lag is not 0");
    }

    #[test]
    fn a_failed_or_older_deed_is_none() {
        let deed = |sequence: u64, failed: Value| json!({ "sequence": sequence, "steps": [{ "name": "a", "action": "resume", "failed": failed }] });
        let seen = |entry: Value| Seen::new(json!({ "history": [entry] }));
        assert!(seen(deed(2, Value::Null)).deed(1, "a", "resume").is_ok());
        assert!(seen(deed(1, Value::Null)).deed(1, "a", "resume").is_err());
        assert!(seen(deed(2, "ENGINE-FAILED".into())).deed(1, "a", "resume").is_err());
    }
}
