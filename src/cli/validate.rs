//! `validate`: every finding about connector files as they lie, without Kafka.

use std::path::PathBuf;

use super::exit::{Ended, Exit, Failure};
use super::printer::{Hue, Printer};
use super::tree::Tree;
use crate::spec::render::render_text;
use crate::spec::{Loaded, Severity};

/// What is checked.
#[derive(Debug, clap::Args)]
pub(super) struct ValidateArgs {
    /// A repository, its folder of connector files, a part of that folder, or one file
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Unknown keys are errors
    #[arg(long)]
    strict: bool,
    /// How the folder of connector files is called
    #[arg(long, default_value = "connectors", value_name = "FOLDER")]
    root: String,
}

pub(super) fn run(args: &ValidateArgs, printer: &Printer) -> Ended {
    let tree = Tree::read(&args.path, &args.root)?;
    let findings = tree.findings(args.strict);
    let files = tree.connectors().count();
    let errors = findings.iter().filter(|found| found.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    if printer.json() {
        printer.value(&findings)?;
    } else {
        let all = Loaded { warnings: findings, ..Loaded::default() };
        let mut text = render_text(&all, &tree.shown_files(), printer.color);
        let hue = match (errors, warnings) {
            (0, 0) => Hue::Good,
            (0, _) => Hue::Odd,
            _ => Hue::Bad,
        };
        let line = format!("{}, {}, {}", count(files, "file"), count(errors, "error"), count(warnings, "warning"));
        text.push_str(&printer.paint(hue, &line));
        printer.data(&text)?;
    }
    if files == 0 {
        // Nothing found is not "nothing wrong".
        let message = format!("there is no connector file at {}", args.path.display());
        let hint = format!("connector files are {}/<environment>/<destination>/<source>/<name>.json", args.root);
        return Err(Failure::new(Exit::Invalid, message).hint(hint));
    }
    Ok(if errors > 0 { Exit::Invalid } else { Exit::Fine })
}

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}
