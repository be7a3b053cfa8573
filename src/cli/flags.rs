//! The flags of settings, made of the table of settings: one name, one text.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::settings::{Partial, SETTINGS, Setting};

/// What the command line says about settings; unread, so that all mistakes come in one message.
#[derive(Debug, Clone, Default)]
pub(super) struct SettingFlags(pub(super) Partial);

// === impl SettingFlags ===

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.next_help_heading("Settings").args(flags().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut partial = Partial::default();
        for setting in flags() {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                partial.set(setting.name, values.cloned().collect());
            }
        }
        Ok(Self(partial))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Secrets have no flag: command lines are readable by everybody on the machine.
fn flags() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !setting.secret)
}

fn arg(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let help = format!("{}{default} [env: {}]", setting.doc, setting.variable());
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.takes)
        .help(help)
        .action(if setting.many { ArgAction::Append } else { ArgAction::Set })
        .allow_negative_numbers(true);
    if setting.takes == "BOOL" { arg.num_args(0..=1).default_missing_value("true").require_equals(true) } else { arg }
}
