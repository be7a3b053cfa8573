//! `plan`: what would be done, and what is kept from being done.

use super::DaemonArgs;
use super::daemon::{Accept, Daemon};
use super::exit::{Ended, Exit};
use super::printer::{Printer, clean};
use super::words::list;

/// How it ends.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// End with 3 when there is something to do
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &PlanArgs, printer: &Printer) -> Ended {
    let daemon = Daemon::new(&args.daemon)?;
    let document = daemon.get("plan", &[]).await?;
    if printer.json() {
        printer.value(&document)?;
    } else {
        printer.data(&clean(&daemon.text("plan", Accept::Text).await?))?;
    }
    let empty = list(&document, "/plan/steps").is_empty() && list(&document, "/plan/withheld").is_empty();
    Ok(if args.exit_code && !empty { Exit::Different } else { Exit::Fine })
}
