//! `diff`: what somebody changed behind Git's back.

use super::DaemonArgs;
use super::daemon::{Accept, Daemon};
use super::exit::{Ended, Exit};
use super::printer::{Printer, clean};
use super::words::list;

/// How it ends.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// End with 3 when there is drift
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &DiffArgs, printer: &Printer) -> Ended {
    let daemon = Daemon::new(&args.daemon)?;
    let different = if printer.json() {
        let document = daemon.get("diff", &[]).await?;
        printer.value(&document)?;
        !list(&document, "/items").is_empty()
    } else {
        let text = daemon.text("diff", Accept::Text).await?;
        printer.data(&clean(&text))?;
        if text.trim().is_empty() {
            printer.note("no drift");
        }
        !text.trim().is_empty()
    };
    Ok(if args.exit_code && different { Exit::Different } else { Exit::Fine })
}
