//! `apply`: what waits because `sync` is manual is done now.

use reqwest::Method;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::Ended;
use super::printer::Printer;
use super::words::{ending, summary};

/// Which daemon.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &ApplyArgs, printer: &Printer) -> Ended {
    let answer = Daemon::new(&args.daemon)?.verb(Method::POST, "apply", &[], None).await?;
    summary(printer, &answer)?;
    Ok(ending(&answer))
}
