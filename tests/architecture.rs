//! The import table of the crate's documentation, kept true; and the cap on file sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines of one file, tests beside it not counted.
const MOST_LINES: usize = 500;

/// `module` or `module::part`: what it may use of the crate. The longest name that fits a file decides.
const TABLE: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("supervise", &[]),
    ("telemetry", &["settings"]),
    ("settings", &["spec"]),
    ("git", &["supervise"]),
    ("kafka", &["supervise"]),
    ("mirror", &["kafka", "spec", "supervise"]),
    ("destination", &["kafka", "spec", "supervise"]),
    ("engine", &["spec"]),
    ("engine::embedded", &["engine", "spec", "mirror", "kafka", "destination", "supervise"]),
    ("reconcile", &["spec", "engine", "destination", "supervise"]),
    ("api", &["engine", "spec", "reconcile", "destination", "supervise"]),
    ("devbroker", &["supervise"]),
    ("demo", &["devbroker", "supervise", "settings", "cli"]),
    (
        "app",
        &[
            "api",
            "destination",
            "engine",
            "git",
            "kafka",
            "mirror",
            "reconcile",
            "settings",
            "spec",
            "supervise",
            "telemetry",
        ],
    ),
];

/// Foreign libraries with one home.
const HOMES: &[(&str, &[&str])] = &[
    ("git2", &["git", "demo"]),
    ("notify", &["git"]),
    ("rustls", &["kafka", "api", "cli", "main", "git", "demo"]),
    ("kafka_protocol", &["kafka", "devbroker"]),
    ("axum", &["api"]),
    ("reqwest", &["cli", "demo", "git", "kafka"]),
    ("clap", &["cli", "settings"]),
    ("rdkafka", &["demo", "mirror", "devbroker"]),
];

/// Files and folders without a clock, a network or async.
const PURE: &[&str] = &[
    "spec",
    "mirror/partition.rs",
    "mirror/shape",
    "mirror/shape.rs",
    "mirror/aborted.rs",
    "mirror/meter.rs",
    "mirror/start.rs",
    "mirror/stops.rs",
    "mirror/naming.rs",
    "mirror/filter.rs",
    "mirror/topics.rs",
    "mirror/assign.rs",
    "mirror/config.rs",
    "kafka/batch.rs",
    "kafka/records",
    "kafka/records.rs",
    "kafka/sequence.rs",
    "kafka/session.rs",
    "reconcile/plan",
    "reconcile/plan.rs",
    "reconcile/compare.rs",
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("src can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file is text");
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.into_iter().map(|(path, text)| (path.strip_prefix(&root).expect("below src").to_owned(), text)).collect()
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("tests") || ["testing.rs", "golden.rs", "model.rs", "laws.rs"].iter().any(|name| text.ends_with(name))
}

/// Production lines: what stands before the first test module.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn module(path: &Path) -> String {
    let mut parts: Vec<_> = path.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts.join("::")
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    production(text).lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let rules: BTreeMap<_, _> = TABLE.iter().copied().collect();
    let mut broken = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let module = module(path);
        let rule = rules
            .iter()
            .filter(|(name, _)| module == **name || module.starts_with(&format!("{name}::")))
            .max_by_key(|(name, _)| name.len());
        let Some((owner, allowed)) = rule else { continue };
        let own = owner.split("::").next().unwrap_or(owner);
        for line in code_lines(text) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !used.is_empty() && used != own && !allowed.contains(&used.as_str()) {
                    broken.push(format!("{}: {owner} may not use {used}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn foreign_libraries_have_one_home() {
    let mut broken = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let module = module(path);
        let home = module.split("::").next().unwrap_or_default();
        for (library, homes) in HOMES {
            let used = code_lines(text).any(|line| {
                line.contains(&format!("use {library}::"))
                    || line.contains(&format!(" {library}::"))
                    || line.contains(&format!("({library}::"))
            });
            if used && !homes.contains(&home) {
                broken.push(format!("{} uses {library}, whose home is {}", path.display(), homes.join(" and ")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_pure_core_is_pure() {
    let mut broken = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        if !PURE.iter().any(|pure| path.starts_with(pure)) {
            continue;
        }
        for word in
            ["tokio", "async fn", ".await", "SystemTime", "Instant::now", "Timestamp::now", "std::net", "std::fs"]
        {
            if code_lines(text).any(|line| line.contains(word)) {
                broken.push(format!("{} is pure and has {word}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_stay_small_enough_to_read() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path.display().to_string(), production(text).lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines, {MOST_LINES} are enough"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_rule_and_pure_file_names_something_that_exists() {
    let modules: BTreeSet<_> = sources().iter().map(|(path, _)| module(path)).collect();
    for (name, _) in TABLE {
        assert!(modules.contains(*name), "{name} is in the table and not in src");
    }
    for pure in PURE {
        assert!(sources().iter().any(|(path, _)| path.starts_with(pure)), "{pure} is named pure and not in src");
    }
}
