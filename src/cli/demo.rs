//! `demo`: the whole story in one process, without Kafka and without Git.

use std::process::ExitCode;

use super::exit::{Exit, Failure};
use crate::demo::DemoOptions;

/// What the demo may be told.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Keep everything running when the story is told, until interrupted
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("threads can't be started: {error}")))?;
    runtime
        .block_on(Box::pin(crate::demo::run(DemoOptions { keep: args.keep })))
        .map_err(|error| Failure::chain(Exit::Failed, &error))
}
