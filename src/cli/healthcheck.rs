//! `healthcheck`: for containers, which have no curl. It prints nothing when all is well.

use super::DaemonArgs;
use super::daemon::{Accept, Daemon};
use super::exit::{Ended, Exit};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct HealthcheckArgs {
    /// Ask whether it is ready, not only whether it lives
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &HealthcheckArgs) -> Ended {
    let path = if args.ready { "readyz" } else { "livez" };
    Daemon::probe(&args.daemon)?.text(path, Accept::Text).await?;
    Ok(Exit::Fine)
}
