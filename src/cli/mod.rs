//! The commands. One file each; what they print goes through `Printer`, how they end is [`Exit`].
//!
//! `run`, `check` and `demo` are the only ones that touch Kafka or Git. `validate`, `explain`, `schema`, `completions` and `man` need
//! nobody; all others ask a running daemon over HTTP. It may use everything and is used by `main` only.
//!
//! Laws: data goes to standard output and everything else to standard error; a reader that goes away is no failure;
//! no secret is printed (law 9), and no control character of somebody else's text reaches the terminal.

mod apply;
mod check;
mod completions;
mod confirm;
mod daemon;
mod demo;
mod diff;
mod exit;
mod explain;
mod flags;
mod healthcheck;
mod history;
mod man;
mod pause;
mod plan;
mod printer;
mod reconcile;
mod resume;
mod run;
mod schema;
mod status;
mod tree;
mod validate;
mod words;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

use daemon::DaemonArgs;
use exit::{EXIT_CODES, Ended, Failure};
use printer::{Color, Output, Printer};

/// The longest settings file that is read, in bytes.
const MAX_SETTINGS: u64 = 1024 * 1024;

/// Keeps Kafka mirrors the way a Git repository of MirrorMaker 2 connector files says
#[derive(Debug, Parser)]
#[command(name = "mirrorkeeper", version, after_help = EXIT_CODES, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    /// What is printed
    #[arg(long, short, global = true, value_enum, default_value = "text")]
    output: Output,
    /// Whether there are colours; NO_COLOR is obeyed
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell the whole story in one process: no Kafka, no Git server needed
    #[command(after_help = EXIT_CODES)]
    Demo(demo::DemoArgs),
    /// Run the daemon
    #[command(after_help = EXIT_CODES)]
    Run(Box<run::RunArgs>),
    /// Check connector files, without Kafka and without the daemon
    #[command(after_help = EXIT_CODES)]
    Validate(validate::ValidateArgs),
    /// Try what mirrors need on the clusters themselves: reach, security, permissions, topics, Git. Changes nothing
    #[command(after_help = EXIT_CODES)]
    Check(Box<check::CheckArgs>),
    /// Show what would be done, and what is kept from being done
    #[command(after_help = EXIT_CODES)]
    Plan(plan::PlanArgs),
    /// Apply what waits because sync is manual; guards and holds still count
    #[command(after_help = EXIT_CODES)]
    Apply(apply::ApplyArgs),
    /// Let go what a plan keeps back, by the plan's hash
    #[command(after_help = EXIT_CODES)]
    Confirm(confirm::ConfirmArgs),
    /// Show what is true now
    #[command(after_help = EXIT_CODES)]
    Status(status::StatusArgs),
    /// Show drift: what somebody changed behind Git's back
    #[command(after_help = EXIT_CODES)]
    Diff(diff::DiffArgs),
    /// Look at the repository and the live side now, and try again what failed
    #[command(after_help = EXIT_CODES)]
    Reconcile(reconcile::ReconcileArgs),
    /// Leave a connector, or all, alone: nothing is applied and nothing corrected
    #[command(after_help = EXIT_CODES)]
    Pause(pause::PauseArgs),
    /// End a pause
    #[command(after_help = EXIT_CODES)]
    Resume(resume::ResumeArgs),
    /// Show the last passes that did something
    #[command(after_help = EXIT_CODES)]
    History(history::HistoryArgs),
    /// Explain a key of connector files, a setting, or a connector file with all that holds for it
    #[command(after_help = EXIT_CODES)]
    Explain(explain::ExplainArgs),
    /// Print a JSON Schema
    #[command(after_help = EXIT_CODES)]
    Schema(schema::SchemaArgs),
    /// Print completions for a shell
    #[command(after_help = EXIT_CODES)]
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    #[command(after_help = EXIT_CODES)]
    Man(man::ManArgs),
    /// Ask whether the daemon lives, for containers
    #[command(after_help = EXIT_CODES)]
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// The program: reads the process's arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    // Two providers are compiled in; without a choice the first TLS connection would panic. A second call is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => {
            // Help and version are data on standard output, mistakes go to standard error; nobody to tell is no failure.
            let _ = shown.print();
            return if shown.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    let printer = Printer::new(cli.output, cli.color);
    let ended = dispatch(cli.command, &printer);
    ended.unwrap_or_else(|failure| printer.failure(&failure).into())
}

fn dispatch(command: Command, printer: &Printer) -> Result<ExitCode, Failure> {
    let ended: Ended = match command {
        Command::Demo(args) => demo::run(&args, printer),
        Command::Run(args) => run::run(*args, printer),
        Command::Check(args) => check::run(*args, printer),
        Command::Validate(args) => validate::run(&args, printer),
        Command::Explain(args) => explain::run(&args, printer),
        Command::Schema(args) => schema::run(&args, printer),
        Command::Completions(args) => completions::run(&args, printer),
        Command::Man(args) => man::run(&args, printer),
        Command::Plan(args) => asking(plan::run(&args, printer)),
        Command::Apply(args) => asking(apply::run(&args, printer)),
        Command::Confirm(args) => asking(confirm::run(&args, printer)),
        Command::Status(args) => asking(status::run(&args, printer)),
        Command::Diff(args) => asking(diff::run(&args, printer)),
        Command::Reconcile(args) => asking(reconcile::run(&args, printer)),
        Command::Pause(args) => asking(pause::run(&args, printer)),
        Command::Resume(args) => asking(resume::run(&args, printer)),
        Command::History(args) => asking(history::run(&args, printer)),
        Command::Healthcheck(args) => asking(healthcheck::run(&args)),
    };
    ended.map(ExitCode::from)
}

/// Runs a command that asks the daemon.
fn asking(command: impl Future<Output = Ended>) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("the network can't be used: {error}")))?;
    runtime.block_on(command)
}

/// The process's variables that are text; others can't be settings.
fn variables() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// A settings file's path and text. An empty path is none: charts and compose files can't leave a variable out.
fn settings_file(path: Option<&OsStr>) -> Result<Option<(String, String)>, Failure> {
    use std::io::Read as _;
    let Some(path) = path.filter(|path| !path.is_empty()).map(Path::new) else { return Ok(None) };
    let shown = path.display().to_string();
    let unreadable = |why: String| Failure::new(Exit::Usage, format!("settings file {shown} can't be read: {why}"));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    file.take(MAX_SETTINGS + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_SETTINGS {
        return Err(unreadable("it has more than 1 MiB".to_owned()));
    }
    Ok(Some((shown, text)))
}
