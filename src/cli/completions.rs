//! `completions`: for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::exit::{Ended, Exit};
use super::printer::Printer;

/// Which shell.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, printer: &Printer) -> Ended {
    // Into memory first: clap_complete panics where its writer fails, and a reader may go away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mirrorkeeper", &mut script);
    printer.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}
