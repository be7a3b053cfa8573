//! `reconcile`: a pass now, with a new look at the repository.

use reqwest::Method;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::{Ended, Exit};
use super::printer::Printer;
use super::words::{ending, summary};

/// Which daemon.
#[derive(Debug, clap::Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &ReconcileArgs, printer: &Printer) -> Ended {
    let answer = Daemon::new(&args.daemon)?.verb(Method::POST, "reconcile", &[], None).await?;
    summary(printer, &answer)?;
    // A pass was asked for and made; what guards keep back was not asked to be let go.
    Ok(match ending(&answer) {
        Exit::Refused => Exit::Fine,
        exit => exit,
    })
}
