//! The teller: lines for people or JSON for programs, and a spinner where there is a terminal.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::DemoOptions;

const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const GREEN: &str = "\u{1b}[32m";
const PLAIN: &str = "\u{1b}[0m";

/// Writes the story.
pub(super) struct Tell<'a> {
    out: &'a mut (dyn Write + Send),
    json: bool,
    color: bool,
    spinner: ProgressBar,
    step: u32,
    began: Instant,
}

// === impl Tell ===

impl<'a> Tell<'a> {
    pub(super) fn new(options: DemoOptions, out: &'a mut (dyn Write + Send)) -> Self {
        let spinner = if options.terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let template = if options.color { "    {spinner:.cyan} {msg:.dim}" } else { "    {spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            spinner.set_style(style);
        }
        if options.terminal {
            spinner.enable_steady_tick(Duration::from_millis(100));
        }
        Self { out, json: options.json, color: options.color, spinner, step: 0, began: Instant::now() }
    }

    /// Number of the step that is being told; 0 before the first.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// What is being waited for; only on a terminal.
    pub(super) fn waiting(&self, what: &str) {
        self.spinner.set_message(what.to_owned());
    }

    /// Begins a step.
    pub(super) fn title(&mut self, title: &str) -> io::Result<()> {
        self.step += 1;
        let head = self.painted(BOLD, &format!("{}. {title}", self.step));
        self.write("step", title, &format!("\n{head}"))
    }

    /// Where something is.
    pub(super) fn place(&mut self, what: &str, place: &str) -> io::Result<()> {
        let label = self.painted(DIM, &format!("{what:<8}"));
        self.write(what, place, &format!("  {label} {place}"))
    }

    /// What was done.
    pub(super) fn did(&mut self, what: &str) -> io::Result<()> {
        let label = self.painted(DIM, "did");
        self.write("did", what, &format!("   {label}  {what}"))
    }

    /// What was seen thereupon.
    pub(super) fn saw(&mut self, what: &str) -> io::Result<()> {
        let label = self.painted(GREEN, "saw");
        self.write("saw", what, &format!("   {label}  {what}"))
    }

    /// A line of its own.
    pub(super) fn line(&mut self, kind: &str, text: &str) -> io::Result<()> {
        self.write(kind, text.trim_start(), text)
    }

    /// What all of it was for.
    pub(super) fn verdict(&mut self, text: &str) -> io::Result<()> {
        let shown = self.painted(&format!("{BOLD}{GREEN}"), text);
        self.write("verdict", text, &format!("\n{shown}"))
    }

    /// Removes the spinner.
    pub(super) fn end(&self) {
        self.spinner.finish_and_clear();
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.color { format!("{code}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn write(&mut self, kind: &str, said: &str, shown: &str) -> io::Result<()> {
        let (out, step) = (&mut *self.out, self.step);
        let text = if self.json {
            let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            json!({ "step": step, "atMs": at_ms, "kind": kind, "text": said }).to_string()
        } else {
            shown.to_owned()
        };
        self.spinner.suspend(|| {
            writeln!(out, "{text}")?;
            out.flush()
        })
    }
}

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// Seconds with two digits, for people.
pub(super) fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(["7", "999", "1,000", "1,234,567"].map(str::to_owned), [7, 999, 1_000, 1_234_567].map(grouped));
    }

    #[test]
    fn no_colour_and_no_spinner_into_a_pipe() {
        let mut out = Vec::new();
        let mut tell = Tell::new(DemoOptions::default(), &mut out);
        tell.title("a title").expect("written");
        tell.waiting("something");
        tell.saw("a thing").expect("written");
        drop(tell);
        assert_eq!(String::from_utf8_lossy(&out), "\n1. a title\n   saw  a thing\n");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let mut out = Vec::new();
        let mut tell = Tell::new(DemoOptions { json: true, color: true, ..DemoOptions::default() }, &mut out);
        tell.title("a title").expect("written");
        tell.did("an act").expect("written");
        drop(tell);
        let lines: Vec<serde_json::Value> =
            String::from_utf8_lossy(&out).lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[1]["step"], &lines[1]["text"]), (&1.into(), &"an act".into()));
    }
}
