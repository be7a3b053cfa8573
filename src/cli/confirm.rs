//! `confirm HASH`: exactly the plan of that hash is let go.

use reqwest::Method;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::Ended;
use super::printer::Printer;
use super::words::{ending, summary};

/// Which plan.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmArgs {
    /// The plan's hash, as `plan` and `status` show it
    hash: String,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &ConfirmArgs, printer: &Printer) -> Ended {
    let body = serde_json::json!({ "hash": args.hash.trim() });
    let answer = Daemon::new(&args.daemon)?.verb(Method::POST, "confirm", &[], Some(&body)).await?;
    summary(printer, &answer)?;
    Ok(ending(&answer))
}
