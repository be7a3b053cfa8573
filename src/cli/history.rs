//! `history`: the last passes that did something.

use serde_json::Value;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::{Ended, Exit};
use super::printer::{Hue, Printer, clean};
use super::words::{list, moment, short, text};

/// Which daemon.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &HistoryArgs, printer: &Printer) -> Ended {
    let document = Daemon::new(&args.daemon)?.get("history", &[]).await?;
    if printer.json() {
        printer.value(&document)?;
        return Ok(Exit::Fine);
    }
    let entries = list(&document, "/history");
    if entries.is_empty() {
        printer.note("nothing was done yet");
    }
    let text: String = entries.iter().map(|entry| told(printer, entry)).collect();
    printer.data(&text)?;
    Ok(Exit::Fine)
}

fn told(printer: &Printer, entry: &Value) -> String {
    let at = moment(text(entry, "/startedAt"));
    let head = format!("{at}  {}  {}", short(text(entry, "/revision")), text(entry, "/trigger"));
    let mut out = format!("{}\n", printer.paint(Hue::Bold, &clean(&head)));
    for step in list(entry, "/steps") {
        let keys: Vec<&str> = list(step, "/keys").iter().filter_map(Value::as_str).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
        out.push_str(&clean(&format!("  {} {}{keys}\n", text(step, "/action"), text(step, "/name"))));
        let failed = text(step, "/failed");
        if !failed.is_empty() {
            out.push_str(&format!("    {}\n", printer.paint(Hue::Bad, &clean(&format!("failed: {failed}")))));
        }
    }
    out
}
