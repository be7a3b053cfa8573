//! `demo`: the whole story, without Kafka and without Git.

use std::io::IsTerminal;

use super::exit::{Ended, Exit, Failure};
use super::printer::Printer;
use crate::demo::DemoOptions;

/// What the demo may be told.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Keep everything running when the story is told, until interrupted
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &DemoArgs, printer: &Printer) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("threads can't be started: {error}")))?;
    let options = DemoOptions {
        keep: args.keep,
        json: printer.json(),
        terminal: std::io::stderr().is_terminal(),
        color: printer.color,
    };
    runtime
        .block_on(Box::pin(crate::demo::run(options, &mut std::io::stdout())))
        .map(|_| Exit::Fine)
        .map_err(|error| Failure::chain(Exit::Failed, &error))
}
