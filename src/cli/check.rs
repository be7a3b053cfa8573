//! `check`: a doctor. It tries what mirrors need, on the clusters themselves, and changes nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::exit::{Ended, Exit, Failure};
use super::flags::SettingFlags;
use super::printer::{Hue, Printer, clean};
use super::run::mistakes;
use super::settings_file;
use super::tree::Tree;
use crate::app::check::{self, Finding, Verdict};
use crate::settings::{Partial, Settings};

/// What is tried.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// A repository, its folder of connector files, a part of that folder, or one file, as they lie; without it, the daemon's
    /// own repository
    path: Option<PathBuf>,
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE", env = "MIRRORKEEPER_CONFIG", value_parser = clap::value_parser!(OsString))]
    config: Option<OsString>,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) fn run(args: CheckArgs, printer: &Printer) -> Ended {
    let file = settings_file(args.config.as_deref())?;
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    let load = |flags: Partial| Settings::load(flags, super::variables().into_iter(), file);
    let all: Vec<Settings> = match &args.path {
        None => vec![load(args.settings.0).map_err(|problems| mistakes(&problems))?],
        Some(path) => scopes(path, &args.settings.0)?
            .into_iter()
            .map(|flags| load(flags).map_err(|problems| mistakes(&problems)))
            .collect::<Result<_, _>>()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("the network can't be used: {error}")))?;
    let mut findings = Vec::new();
    for settings in all {
        if !printer.json() {
            let title = format!("{}/{}", settings.environment, settings.destination);
            printer.data(&printer.paint(Hue::Bold, &clean(&title)))?;
        }
        let mut gone = None;
        let mut tell = |finding: Finding| {
            if !printer.json() && gone.is_none() {
                gone = printer.data(&line(&finding, printer)).err();
            }
            findings.push(finding);
        };
        runtime.block_on(check::run(&settings, &mut tell)).map_err(|error| Failure::chain(Exit::Failed, &error))?;
        if let Some(failure) = gone {
            return Err(failure);
        }
    }
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    if printer.json() {
        printer.value(&findings)?;
    } else {
        let hue = if failed > 0 { Hue::Bad } else { Hue::Good };
        printer.data(&printer.paint(hue, &format!("{} checks, {failed} failed", findings.len())))?;
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Fine })
}

/// Settings for each environment and destination below `path`, unless the flags name one.
fn scopes(path: &std::path::Path, given: &Partial) -> Result<Vec<Partial>, Failure> {
    let root = given.get("root").unwrap_or("connectors");
    let tree = Tree::read(path, root)?;
    let (repository, root) = tree.as_repository();
    let mut found: BTreeMap<(String, String), ()> = BTreeMap::new();
    for file in tree.connectors() {
        if let [environment, destination, ..] = tree.levels(&file.path)[..] {
            found.insert((environment.to_owned(), destination.to_owned()), ());
        }
    }
    let wanted = |name: &str, value: &str| given.get(name).is_none_or(|given| given == value);
    let scopes: Vec<_> = found
        .into_keys()
        .filter(|(environment, destination)| wanted("environment", environment) && wanted("destination", destination))
        .collect();
    if scopes.is_empty() {
        let message = format!("there is no connector file at {}", path.display());
        return Err(Failure::new(Exit::Invalid, message));
    }
    let settings = |(environment, destination): (String, String)| {
        let mut flags = given.clone();
        for (name, value) in [
            ("repo", repository.clone()),
            ("root", root.clone()),
            ("environment", environment),
            ("destination", destination),
            ("working-tree", "true".to_owned()),
        ] {
            flags.set(name, vec![value]);
        }
        flags
    };
    Ok(scopes.into_iter().map(settings).collect())
}

fn line(finding: &Finding, printer: &Printer) -> String {
    let (word, hue) = match finding.verdict {
        Verdict::Ok => ("ok", Hue::Good),
        Verdict::Unknown => ("?", Hue::Odd),
        Verdict::Warning => ("warning", Hue::Odd),
        Verdict::Failed => ("failed", Hue::Bad),
    };
    let code = finding.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let word = printer.paint(hue, &format!("{word:7}"));
    let mut text = format!(
        "  {word}  {}",
        clean(&format!("{:12}  {:16}  {}{code}", finding.about, finding.check, finding.detail))
    );
    if let Some(hint) = &finding.hint {
        text.push_str(&format!("\n           {}", printer.paint(Hue::Dim, &clean(&format!("hint: {hint}")))));
    }
    text
}
