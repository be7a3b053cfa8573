//! `man`: the manual pages, made of the same texts as `--help`.

use clap::CommandFactory as _;

use super::Cli;
use super::exit::{Ended, Exit, Failure};
use super::printer::Printer;

/// Which page.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// A command; without it, the page of the program
    command: Option<String>,
}

pub(super) fn run(args: &ManArgs, printer: &Printer) -> Ended {
    let mut program = Cli::command();
    program.build();
    let page = match &args.command {
        None => program,
        Some(wanted) => {
            let found = program.find_subcommand(wanted).cloned();
            let name = format!("mirrorkeeper-{wanted}");
            found
                .ok_or_else(|| Failure::new(Exit::Usage, format!("there is no command {wanted}")))?
                .name(name.clone())
                .display_name(name)
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| Failure::new(Exit::Failed, format!("the page can't be made: {error}")))?;
    printer.data(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Fine)
}
