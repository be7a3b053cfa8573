//! What tests ask of `/status`. The shape of the document is known here and nowhere else in the tests.

use serde_json::Value;

/// The document.
#[derive(Clone, Debug)]
pub(crate) struct Status(pub(crate) Value);

/// One connector file in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a>(&'a Value);

impl Status {
    /// All connector files.
    pub(crate) fn items(&self) -> Vec<Item<'_>> {
        self.0["items"].as_array().map(|items| items.iter().map(Item).collect()).unwrap_or_default()
    }

    /// The connector file of that name.
    pub(crate) fn item(&self, name: &str) -> Result<Item<'_>, String> {
        self.items().into_iter().find(|item| item.name() == name).ok_or_else(|| format!("no item {name}"))
    }

    /// How many items have this health.
    pub(crate) fn with_health(&self, health: &str) -> usize {
        self.items().iter().filter(|item| item.health() == health).count()
    }

    /// How many items have this sync word.
    pub(crate) fn with_sync(&self, sync: &str) -> usize {
        self.items().iter().filter(|item| item.sync() == sync).count()
    }

    /// The whole text: for words that must, or must not, be said anywhere.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.0.to_string().contains(words)
    }

    /// The commit that was last read.
    pub(crate) fn revision(&self) -> Option<&str> {
        let source = &self.0["source"];
        ["observed", "revision", "commit"].iter().find_map(|key| source[*key].as_str())
    }
}

impl<'a> Item<'a> {
    pub(crate) fn name(self) -> &'a str {
        self.0["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn sync(self) -> &'a str {
        self.0["sync"].as_str().unwrap_or_default()
    }

    pub(crate) fn health(self) -> &'a str {
        self.0["health"].as_str().unwrap_or_default()
    }

    /// The item is in sync and healthy, and nothing is left to copy.
    pub(crate) fn caught_up(self) -> Result<(), String> {
        match (self.sync(), self.health(), self.lag()) {
            ("InSync", "Healthy", Some(0)) => Ok(()),
            (sync, health, lag) => Err(format!("{}: {sync}, {health}, lag {lag:?}", self.name())),
        }
    }

    /// Records not yet copied.
    pub(crate) fn lag(self) -> Option<u64> {
        self.0["lagRecords"].as_u64().or_else(|| self.flow()["lagRecords"].as_u64())
    }

    /// Records acknowledged since this run of the flow began.
    pub(crate) fn copied(self) -> u64 {
        self.flow()["recordsTotal"].as_u64().unwrap_or(0)
    }

    /// When this run of the flow began: another value is another run.
    pub(crate) fn started(self) -> Option<&'a str> {
        self.flow()["started"].as_str()
    }

    /// Milliseconds that the clusters asked us to stay silent, over the last minute.
    pub(crate) fn throttled_ms(self) -> u64 {
        self.flow()["throttledMs"].as_u64().unwrap_or(0)
    }

    /// Records that were deleted at the source before they were copied.
    pub(crate) fn lost(self) -> u64 {
        self.flow()["lostRecords"].as_u64().unwrap_or(0)
    }

    /// How often batches were treated in ways whose name contains `word`.
    pub(crate) fn shapes(self, word: &str) -> u64 {
        let shapes = self.flow()["shapes"].as_object();
        let counts = shapes.into_iter().flatten().filter(|(name, _)| name.contains(word));
        counts.filter_map(|(_, count)| count.as_u64()).sum()
    }

    /// The state word of a source partition.
    pub(crate) fn partition_state(self, topic: &str, partition: i32) -> Option<&'a str> {
        self.partition(topic, partition)?["state"].as_str()
    }

    /// The lag of a source partition.
    pub(crate) fn partition_lag(self, topic: &str, partition: i32) -> Option<u64> {
        self.partition(topic, partition)?["lag"].as_u64()
    }

    /// The number of source partitions that the flow knows of a topic.
    pub(crate) fn partitions_of(self, topic: &str) -> usize {
        let partitions = self.flow()["partitions"].as_array();
        partitions.into_iter().flatten().filter(|partition| partition["topic"] == topic).count()
    }

    /// `code: message (hint)` of each problem, the item's own and its flow's.
    pub(crate) fn problems(self) -> Vec<String> {
        let all = [&self.0["problems"], &self.flow()["problems"]];
        let all = all.into_iter().filter_map(Value::as_array).flatten();
        all.map(|problem| {
            let text = |key: &str| problem[key].as_str().unwrap_or_default();
            format!("{}: {} ({})", text("code"), text("message"), text("hint"))
        })
        .collect()
    }

    fn flow(self) -> &'a Value {
        &self.0["flow"]
    }

    fn partition(self, topic: &str, partition: i32) -> Option<&'a Value> {
        let partitions = self.flow()["partitions"].as_array()?;
        partitions.iter().find(|found| found["topic"] == topic && found["partition"] == partition)
    }
}
