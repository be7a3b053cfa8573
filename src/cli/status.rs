//! `status`: what is true now. Worst first, quiet where all is well.

use serde_json::Value;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::{Ended, Exit};
use super::printer::{Hue, Printer, clean};
use super::words::{age, cut, hue, list, moment, problem, rank, rate, short, steps, text};

/// How much of a message stands in the table: it is told in full below. On a terminal, what fits, but a few words.
const MESSAGE: usize = 60;
const LEAST_MESSAGE: usize = 16;

/// Of what.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Only this connector, with all that is known about it
    name: Option<String>,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &StatusArgs, printer: &Printer) -> Ended {
    let daemon = Daemon::new(&args.daemon)?;
    let Some(name) = &args.name else {
        let status = daemon.get("status", &[]).await?;
        if printer.json() {
            printer.value(&status)?;
        } else {
            printer.data(&whole(printer, &status))?;
        }
        return Ok(ending(list(&status, "/items"), text(&status, "/state")));
    };
    let item = daemon.get("status", &[("item", name)]).await?;
    if printer.json() {
        printer.value(&item)?;
    } else {
        printer.data(&single(printer, &item))?;
    }
    Ok(ending(std::slice::from_ref(&item), text(&item, "/summary")))
}

/// 1 when something is Failed or Stalled, else 3 when something drifted.
fn ending(items: &[Value], state: &str) -> Exit {
    let any = |pointer: &str, words: &[&str]| items.iter().any(|item| words.contains(&text(item, pointer)));
    let bad = ["Failed", "Stalled"];
    if bad.contains(&state) || any("/health", &bad) || any("/summary", &bad) {
        Exit::Failed
    } else if any("/sync", &["Drifted"]) || state == "Drifted" {
        Exit::Different
    } else {
        Exit::Fine
    }
}

/// The whole document.
fn whole(printer: &Printer, status: &Value) -> String {
    let instance = format!("{}/{}", text(status, "/instance/environment"), text(status, "/instance/destination"));
    let mut out = format!(
        "{} {}: {}\n",
        printer.paint(Hue::Bold, &clean(&instance)),
        painted(printer, text(status, "/state")),
        clean(text(status, "/message"))
    );
    out.push_str(&source(printer, status));
    for found in list(status, "/problems") {
        out.push_str(&problem(printer, found, "  "));
    }
    let mut items: Vec<&Value> = list(status, "/items").iter().collect();
    items.sort_by_key(|item| (rank(text(item, "/summary")), text(item, "/name")));
    if !items.is_empty() {
        out.push('\n');
        out.push_str(&table(printer, &items));
    }
    for item in &items {
        out.push_str(&told(printer, item));
    }
    for file in list(status, "/files") {
        out.push_str(&format!("\n{}\n", printer.paint(Hue::Bold, &clean(text(file, "/path")))));
        for found in list(file, "/problems") {
            out.push_str(&diagnostic(printer, found));
        }
        let good = text(file, "/runningLastGood");
        if !good.is_empty() {
            out.push_str(&format!("  runs on as of {}\n", clean(short(good))));
        }
    }
    out.push_str(&rest(printer, status));
    out
}

fn source(printer: &Printer, status: &Value) -> String {
    let revision = match (text(status, "/source/observed"), text(status, "/source/applied")) {
        ("", _) => "not read yet".to_owned(),
        (observed, applied) if observed == applied => format!("{}, applied", short(observed)),
        (observed, "") => format!("{}, not applied yet", short(observed)),
        (observed, applied) => format!("{}, applied {}", short(observed), short(applied)),
    };
    let mut out = format!("  source {} at {}\n", clean(text(status, "/source/url")), clean(&revision));
    if let Some(found) = status.pointer("/source/problem").filter(|found| found.is_object()) {
        out.push_str(&problem(printer, found, "  "));
    }
    out
}

/// What waits, what is held, and what is nobody's.
fn rest(printer: &Printer, status: &Value) -> String {
    let mut out = String::new();
    let waiting = steps(status);
    if !waiting.is_empty() {
        out.push_str(&format!("\n{}\n{waiting}", printer.paint(Hue::Bold, "plan")));
    }
    let holds = list(status, "/holds");
    if !holds.is_empty() {
        out.push_str(&format!("\n{}\n", printer.paint(Hue::Bold, "held")));
    }
    for hold in holds {
        let until = match text(hold, "/until") {
            "" => "resumed".to_owned(),
            until => moment(until),
        };
        let line =
            format!("  {} by {} until {until}: {}", text(hold, "/scope"), text(hold, "/by"), text(hold, "/reason"));
        out.push_str(&clean(&line));
        out.push('\n');
    }
    let strangers: Vec<&str> = list(status, "/unmanaged").iter().map(|found| text(found, "/name")).collect();
    if !strangers.is_empty() {
        out.push_str(&format!("\nnobody's, left alone: {}\n", clean(&strangers.join(", "))));
    }
    let warnings = list(status, "/warnings").len()
        + list(status, "/items").iter().map(|item| list(item, "/warnings").len()).sum::<usize>();
    if warnings > 0 {
        let line = format!("\n{} about files: mirrorkeeper validate\n", counted(warnings as u64, "warning"));
        out.push_str(&printer.paint(Hue::Dim, &line));
    }
    out
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn painted(printer: &Printer, word: &str) -> String {
    hue(word).map_or_else(|| clean(word), |hue| printer.paint(hue, &clean(word)))
}

/// One line each, aligned. Widths are counted before colours are added.
fn table(printer: &Printer, items: &[&Value]) -> String {
    let head = ["NAME", "SYNC", "HEALTH", "LAG", "AGE", "RATE", "MESSAGE"].map(str::to_owned);
    let mut rows: Vec<[String; 7]> = items.iter().map(|item| row(item)).collect();
    let mut widths = [0; 7];
    for cells in std::iter::once(&head).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let rest: usize = widths[..6].iter().map(|width| width + 2).sum();
    let room = printer.width.map_or(MESSAGE, |width| width.saturating_sub(rest).clamp(LEAST_MESSAGE, MESSAGE));
    for cells in &mut rows {
        cells[6] = cut(&cells[6], room);
    }
    let mut out = String::new();
    for (number, cells) in std::iter::once(&head).chain(&rows).enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let shown = match (number, column) {
                (0, _) => printer.paint(Hue::Dim, cell),
                (_, 1 | 2) => painted(printer, cell),
                _ => cell.clone(),
            };
            // Numbers are compared by their last digits.
            line.push_str(&if matches!(column, 3..=5) { format!("{gap}{shown}") } else { format!("{shown}{gap}") });
            line.push_str("  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(item: &Value) -> [String; 7] {
    let number = |pointer: &str| item.pointer(pointer).and_then(Value::as_u64);
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let message = match list(item, "/problems").first() {
        Some(found) => text(found, "/message"),
        None if text(item, "/sync") == "InSync" => "",
        None => text(item, "/plan/why"),
    };
    [
        clean(text(item, "/name")),
        clean(text(item, "/sync")),
        clean(text(item, "/health")),
        shown(number("/lagRecords").map(|lag| lag.to_string())),
        shown(number("/oldestUncopiedMs").map(age)),
        shown(number("/bytesPerSecond").map(rate)),
        message.to_owned(),
    ]
}

/// The problems of an item in full.
fn told(printer: &Printer, item: &Value) -> String {
    let problems = list(item, "/problems");
    if problems.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", printer.paint(Hue::Bold, &clean(text(item, "/name"))));
    for found in problems {
        out.push_str(&problem(printer, found, "  "));
    }
    let next = moment(text(item, "/nextAttempt"));
    if !next.is_empty() {
        let retries = item.pointer("/retries").and_then(Value::as_u64).unwrap_or_default();
        out.push_str(&clean(&format!("  failed {}, tried again at {next}\n", counted(retries, "time"))));
    }
    out
}

/// A finding about a file, as `validate` words it in one line.
fn diagnostic(printer: &Printer, found: &Value) -> String {
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let key = match text(found, "/key") {
        "" => String::new(),
        key => format!(" {key}:"),
    };
    let head =
        format!("{}:{}: {}[{}]", number("/line"), number("/column"), text(found, "/severity"), text(found, "/code"));
    let head = printer.paint(if text(found, "/severity") == "error" { Hue::Bad } else { Hue::Odd }, &clean(&head));
    let mut out = format!("  {head}{} {}\n", clean(&key), clean(text(found, "/message")));
    let hint = text(found, "/hint");
    if !hint.is_empty() {
        out.push_str(&format!("    {} {}\n", printer.paint(Hue::Dim, "hint:"), clean(hint)));
    }
    out
}

/// One connector with all that is known.
fn single(printer: &Printer, item: &Value) -> String {
    let mut out = table(printer, &[item]);
    let state = |pointer: &str| match text(item, pointer) {
        "" => "-".to_owned(),
        word => word.to_owned(),
    };
    let lines = [
        ("file", text(item, "/file").to_owned()),
        ("state", format!("{} (Git says {})", state("/state/live"), state("/state/desired"))),
        ("plan", format!("{}: {}", text(item, "/plan/action"), text(item, "/plan/why"))),
        ("applied", short(text(item, "/applied/revision")).to_owned()),
        ("path", text(item, "/path").to_owned()),
        ("last acknowledgement", moment(text(item, "/lastAcknowledged"))),
        ("held", text(item, "/hold/reason").to_owned()),
    ];
    out.push('\n');
    let shown: Vec<&(&str, String)> = lines.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    for (label, value) in shown {
        let gap = " ".repeat(width - label.len());
        out.push_str(&format!("{}:{gap} {}\n", printer.paint(Hue::Dim, label), clean(value)));
    }
    for found in list(item, "/diff") {
        let side = |pointer: &str| found.pointer(pointer).filter(|v| !v.is_null()).map_or("-".to_owned(), plain);
        let line = format!("differs: {}: live {}, Git {}", text(found, "/key"), side("/live"), side("/desired"));
        out.push_str(&clean(&line));
        out.push('\n');
    }
    for partition in list(item, "/flow/partitions").iter().filter(|p| p.get("problem").is_some_and(Value::is_object)) {
        let number = partition.pointer("/partition").and_then(Value::as_i64).unwrap_or_default();
        out.push_str(&clean(&format!("{}-{number}: {}\n", text(partition, "/topic"), text(partition, "/state"))));
        out.push_str(&problem(printer, &partition["problem"], "  "));
    }
    out.push_str(&told(printer, item));
    for found in list(item, "/warnings") {
        out.push_str(&diagnostic(printer, found));
    }
    out
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::printer::{Color, Output};
    use super::*;

    fn item(name: &str, summary: &str, sync: &str, health: &str) -> Value {
        json!({"name": name, "summary": summary, "sync": sync, "health": health, "lagRecords": 0,
               "oldestUncopiedMs": 0, "bytesPerSecond": 1_250_000, "problems": [], "plan": {"action": "none", "why": ""}})
    }

    fn sample() -> Value {
        let mut broken = item("orders", "Failed", "InSync", "Failed");
        broken["lagRecords"] = json!(120_455);
        broken["oldestUncopiedMs"] = json!(245_000);
        broken["bytesPerSecond"] = Value::Null;
        broken["problems"] = json!([{"code": "KAFKA-AUTH", "message":
            "the source cluster kafka.example:9093 refuses our credentials: SASL authentication failed",
            "hint": "look at source.cluster.sasl.jaas.config", "since": "2026-01-01T00:00:00Z"}]);
        broken["retries"] = json!(3);
        broken["nextAttempt"] = json!("2026-01-01T00:01:00Z");
        json!({"schema": "v1", "state": "Failed", "message": "1 of 2 connectors has failed",
            "instance": {"environment": "staging", "destination": "stg-ue2"},
            "source": {"url": "https://git.example/x.git", "observed": "0123456789abcdef0123456789abcdef01234567",
                       "applied": "0123456789abcdef0123456789abcdef01234567"},
            "items": [item("events", "InSync", "InSync", "Healthy"), broken],
            "plan": {"hash": "", "confirmable": false, "steps": [], "withheld": []},
            "holds": [{"scope": "connector/events", "by": "me", "reason": "INC-1\u{1b}[2J", "since": "x"}],
            "unmanaged": [{"name": "by-hand"}], "files": [], "warnings": []})
    }

    #[test]
    fn the_worst_comes_first_and_problems_are_told_in_full() {
        let printer = Printer::new(Output::Text, Color::Never);
        insta::assert_snapshot!(whole(&printer, &sample()), @r"
        staging/stg-ue2 Failed: 1 of 2 connectors has failed
          source https://git.example/x.git at 0123456789ab, applied

        NAME    SYNC    HEALTH      LAG    AGE      RATE  MESSAGE
        orders  InSync  Failed   120455  4m 5s         -  the source cluster kafka.example:9093 refuses our credentia…
        events  InSync  Healthy       0     0s  1.2 MB/s

        orders
          [KAFKA-AUTH] the source cluster kafka.example:9093 refuses our credentials: SASL authentication failed
            hint: look at source.cluster.sasl.jaas.config
          failed 3 times, tried again at 2026-01-01T00:01:00Z

        held
          connector/events by me until resumed: INC-1�[2J

        nobody's, left alone: by-hand
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_short_messages_and_no_broken_rows() {
        let printer = |width| Printer { width: Some(width), ..Printer::new(Output::Text, Color::Never) };
        let longest = |width: usize| {
            let text = whole(&printer(width), &sample());
            let rows = text.lines().skip_while(|line| !line.starts_with("NAME")).take(3);
            rows.map(|row| row.chars().count()).max().unwrap_or_default()
        };
        assert_eq!((longest(80), longest(100), longest(200)), (80, 100, 110));
        assert_eq!(longest(20), 66, "the message keeps a few words");
        assert!(whole(&printer(80), &sample()).contains("SASL authentication failed"), "it is told in full below");
    }

    #[test]
    fn what_is_bad_decides_the_exit_code() {
        let end = |items: &[Value], state: &str| ending(items, state);
        assert_eq!(end(&[item("a", "InSync", "InSync", "Healthy")], "InSync"), Exit::Fine);
        assert_eq!(end(&[item("a", "Drifted", "Drifted", "Healthy")], "Drifted"), Exit::Different);
        assert_eq!(end(&[item("a", "Stalled", "Drifted", "Stalled")], "Stalled"), Exit::Failed);
        assert_eq!(end(&[item("a", "Held", "Held", "Failed")], "Held"), Exit::Failed);
        assert_eq!(end(&[], "Failed"), Exit::Failed);
        assert_eq!(end(&[item("a", "Pending", "Pending", "Healthy")], "Pending"), Exit::Fine);
    }
}
