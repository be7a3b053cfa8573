//! Numbers, times and words as people read them, and what verbs leave behind.

use serde_json::Value;

use super::exit::{Exit, Failure};
use super::printer::{Hue, Printer, clean};
use crate::reconcile::status::Word;

/// Summary words, worst first.
const WORDS: [Word; 14] = [
    Word::Failed,
    Word::Stalled,
    Word::Blocked,
    Word::Invalid,
    Word::Drifted,
    Word::SourceUnreachable,
    Word::Pending,
    Word::Degraded,
    Word::Held,
    Word::Standby,
    Word::Starting,
    Word::Unknown,
    Word::Paused,
    Word::InSync,
];

/// Guards that are the instance's own choice: they refuse nothing that was asked for.
const CHOICES: [&str; 2] = ["prune-off", "drift-report"];

/// A text of a document, fit for a terminal; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list of a document; empty where there is none.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How bad a summary word is: 0 is worst. A word that a newer daemon invented comes first: somebody should look.
pub(super) fn rank(word: &str) -> usize {
    WORDS.iter().position(|known| format!("{known:?}") == word).map_or(0, |at| at + 1)
}

pub(super) fn hue(word: &str) -> Option<Hue> {
    match word {
        "Failed" | "Stalled" | "Blocked" | "Invalid" => Some(Hue::Bad),
        "Drifted" | "SourceUnreachable" | "Pending" | "Degraded" | "Held" | "Unknown" => Some(Hue::Odd),
        "InSync" | "Healthy" => Some(Hue::Good),
        "Paused" | "Standby" | "Starting" => Some(Hue::Dim),
        _ => None,
    }
}

/// Milliseconds: `0s`, `340ms`, `12s`, `4m 5s`, `3h 2m`, `2d 4h`.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 if ms == 0 => "0s".to_owned(),
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Bytes per second, in powers of 1,000.
pub(super) fn rate(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B/s"),
        1_000..1_000_000 => format!("{:.1} kB/s", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB/s", number / 1e6),
        _ => format!("{:.2} GB/s", number / 1e9),
    }
}

/// The first characters of a text, on one line.
pub(super) fn cut(text: &str, most: usize) -> String {
    let line: String = clean(text).chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    if line.chars().count() <= most {
        return line;
    }
    let short: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", short.trim_end())
}

/// A revision as people write it.
pub(super) fn short(revision: &str) -> &str {
    if revision.len() >= 40 && revision.bytes().all(|b| b.is_ascii_hexdigit()) { &revision[..12] } else { revision }
}

/// A moment to the second: what is finer stands in JSON.
pub(super) fn moment(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, fraction)) if fraction.trim_start_matches(|c: char| c.is_ascii_digit()) == "Z" => {
            format!("{seconds}Z")
        }
        _ => text.to_owned(),
    }
}

/// A problem and its hint, indented.
pub(super) fn problem(printer: &Printer, problem: &Value, indent: &str) -> String {
    let code = text(problem, "/code");
    let head = if code.is_empty() { String::new() } else { printer.paint(Hue::Odd, &format!("[{}] ", clean(code))) };
    let mut out = format!("{indent}{head}{}\n", clean(text(problem, "/message")));
    let hint = text(problem, "/hint");
    if !hint.is_empty() {
        out.push_str(&format!("{indent}  {} {}\n", printer.paint(Hue::Dim, "hint:"), clean(hint)));
    }
    out
}

/// What a verb's pass left: printed, and what it means for the exit code.
pub(super) fn summary(printer: &Printer, answer: &Value) -> Result<(), Failure> {
    if printer.json() {
        return printer.value(answer);
    }
    let state = text(answer, "/state");
    let word = hue(state).map_or_else(|| clean(state), |hue| printer.paint(hue, &clean(state)));
    let mut out = format!("{word}: {}\n", clean(text(answer, "/message")));
    for found in list(answer, "/problems") {
        out.push_str(&problem(printer, found, "  "));
    }
    if let Some(found) = answer.pointer("/source/problem").filter(|found| found.is_object()) {
        out.push_str(&problem(printer, found, "  "));
    }
    out.push_str(&steps(answer));
    printer.data(&out)
}

/// The plan that a document holds.
pub(super) fn steps(answer: &Value) -> String {
    let mut out = String::new();
    for (pointer, word) in [("/plan/steps", "to do"), ("/plan/withheld", "withheld")] {
        for step in list(answer, pointer) {
            let name = match text(step, "/name") {
                "" => "the instance",
                name => name,
            };
            let line = format!("  {word}: {} {name}: {}", text(step, "/action"), text(step, "/why"));
            out.push_str(&clean(&line));
            out.push('\n');
        }
    }
    if answer.pointer("/plan/confirmable") == Some(&Value::Bool(true)) {
        out.push_str(&format!("  to let it go: mirrorkeeper confirm {}\n", clean(text(answer, "/plan/hash"))));
    }
    out
}

/// What a pass that was asked for ended with: refused by a guard or hold, failed, or fine.
pub(super) fn ending(answer: &Value) -> Exit {
    let refused = list(answer, "/plan/withheld").iter().any(|step| !CHOICES.contains(&text(step, "/guard")));
    if refused {
        Exit::Refused
    } else if source_fails(answer) {
        Exit::Source
    } else if matches!(text(answer, "/state"), "Failed" | "Stalled") {
        Exit::Failed
    } else {
        Exit::Fine
    }
}

/// The repository can't be read now.
pub(super) fn source_fails(answer: &Value) -> bool {
    answer.pointer("/source/problem").is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ranked_as_the_status_ranks_them() {
        let mut sorted = WORDS;
        sorted.sort();
        assert_eq!(sorted, WORDS);
        assert!(rank("Failed") < rank("InSync") && rank("Exploded") < rank("Failed"));
        let schema = crate::reconcile::status::status_schema();
        let known = schema["$defs"]["Word"]["oneOf"].as_array().map(Vec::len);
        assert_eq!(known, Some(WORDS.len()), "a word is missing here");
    }

    #[test]
    fn numbers_as_people_read_them() {
        let ages: Vec<String> = [0, 340, 12_000, 245_000, 10_920_000, 187_200_000].map(age).into();
        assert_eq!(ages, ["0s", "340ms", "12s", "4m 5s", "3h 2m", "2d 4h"]);
        let rates: Vec<String> = [0, 1_500, 2_340_000, 1_250_000_000].map(rate).into();
        assert_eq!(rates, ["0 B/s", "1.5 kB/s", "2.3 MB/s", "1.25 GB/s"]);
        assert_eq!(cut("one\ntwo three", 9), "one two…");
        assert_eq!(cut("\x1b[31mred", 20), "\u{fffd}[31mred");
        let moments = ["2026-01-01T00:01:00.433298122Z", "2026-01-01T00:01:00Z", "", "in a.moment"].map(moment);
        assert_eq!(moments, ["2026-01-01T00:01:00Z", "2026-01-01T00:01:00Z", "", "in a.moment"]);
    }

    #[test]
    fn guards_refuse_and_choices_do_not() {
        let with = |guard: &str| serde_json::json!({"state": "Blocked", "plan": {"withheld": [{"guard": guard}]}});
        assert_eq!(ending(&with("max-deletes")), Exit::Refused);
        assert_eq!(ending(&with("hold")), Exit::Refused);
        assert_eq!(ending(&with("prune-off")), Exit::Fine);
        let unreachable = serde_json::json!({"state": "SourceUnreachable", "source": {"problem": {"code": "GIT"}}});
        assert_eq!(ending(&unreachable), Exit::Source);
        assert_eq!(ending(&serde_json::json!({"state": "Failed"})), Exit::Failed);
        assert_eq!(ending(&serde_json::json!({"state": "InSync"})), Exit::Fine);
    }
}
