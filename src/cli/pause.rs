//! `pause`: a hold, with a reason and an end.

use reqwest::Method;
use serde_json::json;

use super::DaemonArgs;
use super::daemon::Daemon;
use super::exit::{Ended, Exit};
use super::printer::Printer;
use super::words::summary;

/// What is to be left alone, why and until when.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["name", "all"]))]
pub(super) struct PauseArgs {
    /// The connector
    name: Option<String>,
    /// Every connector of this instance
    #[arg(long)]
    all: bool,
    /// For how long: 2h, 90m, 3d [default: until `resume`]
    #[arg(long = "for", value_name = "TIME")]
    length: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who asks [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) async fn run(args: &PauseArgs, printer: &Printer) -> Ended {
    let by = args.by.clone().or_else(|| {
        let known = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
        known.into_iter().find(|name| !name.trim().is_empty())
    });
    let mut body = json!({ "reason": args.reason, "by": by.as_deref().unwrap_or("somebody at the command line") });
    match &args.name {
        Some(name) => (body["scope"], body["name"]) = (json!("connector"), json!(name)),
        None => body["scope"] = json!("all"),
    }
    if let Some(length) = &args.length {
        body["for"] = json!(length);
    }
    let answer = Daemon::new(&args.daemon)?.verb(Method::POST, "hold", &[], Some(&body)).await?;
    summary(printer, &answer)?;
    Ok(Exit::Fine)
}
