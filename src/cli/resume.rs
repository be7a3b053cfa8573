//! `resume`: a hold ends.

use reqwest::Method;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::{Ended, Exit};
use super::printer::Printer;
use super::words::summary;

/// Which hold.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["name", "all"]))]
pub(super) struct ResumeArgs {
    /// The connector
    name: Option<String>,
    /// The hold on the whole instance; holds on single connectors stay
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &ResumeArgs, printer: &Printer) -> Ended {
    let query = match &args.name {
        Some(name) => ("name", name.as_str()),
        None => ("all", "true"),
    };
    let answer = Daemon::new(&args.daemon)?.verb(Method::DELETE, "hold", &[query], None).await?;
    summary(printer, &answer)?;
    Ok(Exit::Fine)
}
