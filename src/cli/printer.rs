//! The only way to standard output and standard error: data on the one, the rest on the other.

use std::io::{self, IsTerminal as _, Write};

use super::exit::{Exit, Failure};

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// Prints.
pub(super) struct Printer {
    pub(super) output: Output,
    /// Colours on standard output.
    pub(super) color: bool,
    /// Colours on standard error.
    pub(super) color_notes: bool,
    /// Columns of the terminal that standard output is; `None` where it is none.
    pub(super) width: Option<usize>,
}

/// ANSI styles by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hue {
    Bad,
    Odd,
    Good,
    Dim,
    Bold,
}

// === impl Printer ===

impl Printer {
    pub(super) fn new(output: Output, color: Color) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let wanted = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        };
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self {
            output,
            color: wanted(io::stdout().is_terminal()),
            color_notes: wanted(io::stderr().is_terminal()),
            width: width.filter(|columns| *columns > 0),
        }
    }

    pub(super) fn json(&self) -> bool {
        self.output == Output::Json
    }

    /// Data, with a line end if it has none.
    pub(super) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| match text.ends_with('\n') || text.is_empty() {
            true => Ok(()),
            false => out.write_all(b"\n"),
        });
        written.and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::new(Exit::Failed, format!("standard output can't be written: {error}")),
        })
    }

    /// Data as JSON, indented.
    pub(super) fn value(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(Exit::Failed, format!("the answer can't be written as JSON: {error}")))?;
        self.data(&text)
    }

    /// Everything that is not data. Nobody to tell is no failure.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", clean(text));
    }

    /// Why a command failed.
    pub(super) fn failure(&self, failure: &Failure) -> Exit {
        let Failure::Told { exit, message, hint } = failure else { return Exit::Fine };
        let label = |hue, word: &str| if self.color_notes { styled(hue, word) } else { word.to_owned() };
        let mut err = io::stderr().lock();
        let _ = writeln!(err, "{} {}", label(Hue::Bad, "error:"), clean(message));
        if let Some(hint) = hint {
            let _ = writeln!(err, " {} {}", label(Hue::Dim, "hint:"), clean(hint));
        }
        *exit
    }

    pub(super) fn paint(&self, hue: Hue, text: &str) -> String {
        if self.color { styled(hue, text) } else { text.to_owned() }
    }
}

fn styled(hue: Hue, text: &str) -> String {
    let code = match hue {
        Hue::Bad => "1;31",
        Hue::Odd => "33",
        Hue::Good => "32",
        Hue::Dim => "2",
        Hue::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Terminals obey control characters; what others wrote must not command them.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}
