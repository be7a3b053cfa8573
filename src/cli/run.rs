//! `run`: the daemon.

use std::ffi::OsString;

use super::exit::{Ended, Exit, Failure};
use super::flags::SettingFlags;
use super::printer::Printer;
use super::settings_file;
use crate::settings::{LogFormat, SettingProblem, Settings};
use crate::telemetry;

/// The daemon's command line.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE", env = "MIRRORKEEPER_CONFIG", value_parser = clap::value_parser!(OsString))]
    config: Option<OsString>,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) fn run(args: RunArgs, printer: &Printer) -> Ended {
    let settings = load(args)?;
    let format = match settings.log_format {
        LogFormat::Auto => telemetry::Format::Auto,
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(format, &settings.log_filter, printer.color_notes)
        .map_err(|error| Failure::chain(Exit::Usage, &error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("threads can't be started: {error}")))?;
    runtime
        .block_on(Box::pin(crate::app::run(settings)))
        .map(|()| Exit::Fine)
        .map_err(|error| Failure::chain(Exit::Failed, &error))
}

fn load(args: RunArgs) -> Result<Settings, Failure> {
    let file = settings_file(args.config.as_deref())?;
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    Settings::load(args.settings.0, super::variables().into_iter(), file).map_err(|problems| mistakes(&problems))
}

/// Every mistake in one message.
pub(super) fn mistakes(problems: &[SettingProblem]) -> Failure {
    let mut message = match problems.len() {
        1 => "a setting can't be used".to_owned(),
        n => format!("{n} settings can't be used"),
    };
    for problem in problems {
        message.push_str("\n  ");
        message.push_str(&problem.to_string());
    }
    Failure::new(Exit::Usage, message).hint("mirrorkeeper run --help lists all settings")
}
