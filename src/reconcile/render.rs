//! Plans and drift for people: the same for the same status, without colours, without secrets.
//!
//! Everything comes from a [`Status`], whose differences are normalised and redacted already; nothing here sees a
//! configuration.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use super::compare::{Difference, Origin};
use super::status::{Item, PlannedStep, Status, SyncWord};

/// What would be done, what is kept from being done, and why.
#[must_use]
pub fn plan(status: &Status) -> String {
    let mut text = String::new();
    let planned = &status.plan;
    if planned.steps.is_empty() && planned.withheld.is_empty() {
        line(&mut text, format_args!("nothing to do: {}", status.message));
        return text;
    }
    for step in &planned.steps {
        section(&mut text, status, step, "");
    }
    for step in &planned.withheld {
        section(&mut text, status, step, "withheld ");
    }
    line(
        &mut text,
        format_args!("plan {}: {} to do, {} withheld", planned.hash, planned.steps.len(), planned.withheld.len()),
    );
    if planned.confirmable {
        line(&mut text, format_args!("to let it go: mirrorkeeper confirm {}", planned.hash));
    }
    text
}

/// What the live side changed: for each drifted connector its differences, in the direction of Git's correction.
#[must_use]
pub fn drift(status: &Status) -> String {
    let mut text = String::new();
    for item in &status.items {
        let drifted: Vec<&Difference> = item.diff.iter().filter(|d| d.origin != Origin::Git).collect();
        if drifted.is_empty() && item.sync != SyncWord::Drifted {
            continue;
        }
        line(&mut text, format_args!("{} ({})", item.name, item.plan.why));
        differences(&mut text, drifted.into_iter());
    }
    text
}

fn section(text: &mut String, status: &Status, step: &PlannedStep, prefix: &str) {
    line(text, format_args!("{prefix}{} {} ({})", step.action, step.name, step.why));
    if let Some(estimate) = &step.estimate {
        let bytes = estimate.bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
        let topics = estimate.topics.len();
        line(text, format_args!("  copies about {} records{bytes} from {topics} topics", estimate.records));
    }
    let item: Option<&Item> = status.items.iter().find(|item| item.name == step.name);
    if let ("update" | "adopt" | "rename" | "pause" | "stop" | "resume", Some(item)) = (step.action.as_str(), item) {
        let state = matches!(step.action.as_str(), "pause" | "stop" | "resume");
        differences(text, item.diff.iter().filter(|difference| (difference.key == "state") == state));
    }
}

/// A unified diff of the properties that differ, from what is in force to what Git says; what changed within a line is
/// marked `[-old-]{+new+}` below it.
fn differences<'a>(text: &mut String, found: impl Iterator<Item = &'a Difference> + Clone) {
    let side = |value: fn(&Difference) -> Option<String>| -> String {
        found.clone().filter_map(|d| Some(format!("{} = {}\n", d.key, value(d)?))).collect()
    };
    let live = side(|d| d.live.as_ref().map(ToString::to_string));
    let desired = side(|d| d.desired.as_ref().map(ToString::to_string));
    for change in TextDiff::from_lines(&live, &desired).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        line(text, format_args!("  {sign} {}", change.value().trim_end_matches('\n')));
    }
    for difference in found {
        let origin = match difference.origin {
            Origin::Git => "Git",
            Origin::Live => "the live side",
            Origin::Both => "both sides",
        };
        let words = match (&difference.live, &difference.desired) {
            (Some(live), Some(desired)) if !difference.redacted => inline(&live.to_string(), &desired.to_string()),
            _ => String::new(),
        };
        line(text, format_args!("    {}: changed by {origin}, effect {}{words}", difference.key, difference.effect));
    }
}

/// The words that differ, when most of the value stays.
fn inline(live: &str, desired: &str) -> String {
    let diff = TextDiff::from_words(live, desired);
    if diff.ratio() < 0.5 {
        return String::new();
    }
    let mut text = String::from(": ");
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => text.push_str(change.value()),
            ChangeTag::Delete => {
                let _ = write!(text, "[-{}-]", change.value());
            }
            ChangeTag::Insert => {
                let _ = write!(text, "{{+{}+}}", change.value());
            }
        }
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String can't refuse");
}
