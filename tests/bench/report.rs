//! Medians of the runs, as aligned Markdown tables or as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::Figures;
use crate::scenario::{Kind, Scenario, System};

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) scenario: &'static str,
    pub(crate) system: &'static str,
    /// From 1.
    pub(crate) run: u32,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Why there are no figures.
    pub(crate) failure: Option<String>,
}

/// What is known of the machine and the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) cores: usize,
    pub(crate) load_average_at_start: String,
    pub(crate) runs: u32,
    pub(crate) window_s: u64,
    pub(crate) volume: f64,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) setting: Setting,
    pub(crate) measured: Vec<Measured>,
}

type Field = fn(&Figures) -> Option<f64>;

const CPU: Field = |figures| figures.cpu_s_per_gb;
const RATE: Field = |figures| figures.mb_per_s;
const RSS: Field = |figures| figures.peak_rss_mb;
const BROKER: Field = |figures| figures.target_broker_cpu_s_per_gb;
const START: Field = |figures| figures.start_s;
const P50: Field = |figures| figures.latency_p50_ms;
const P99: Field = |figures| figures.latency_p99_ms;
const FOREIGN: Field = |figures| figures.foreign_cpu;

impl Report {
    /// The tables: copying, latency, start.
    pub(crate) fn markdown(&self, scenarios: &[&Scenario]) -> String {
        let Setting { cores, load_average_at_start: load, runs, window_s, volume } = &self.setting;
        let mut text = format!(
            "{cores} cores, load average {load} at the start, medians of {runs} runs, at most {window_s} s each, {volume} of the \
             usual volume.\nGB and MB are uncompressed keys and values; CPU is that of the copying process alone. \
             \"spread\" is (largest - smallest) / median of the CPU figures,\n\"foreign\" the share of the machine that \
             other programs used meanwhile: where either is large, the line is noise.\n"
        );
        let of = |kinds: &[Kind]| -> Vec<&Scenario> {
            scenarios.iter().copied().filter(|scenario| kinds.contains(&scenario.kind)).collect()
        };
        let mut section = |header: &[&str], rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                let _ = write!(text, "\n{}", table(header, &rows));
            }
        };
        section(
            &[
                "scenario",
                "system",
                "CPU s/GB",
                "/ floor",
                "MM2 /",
                "MB/s",
                "/ MM2",
                "peak RSS MB",
                "target broker CPU s/GB",
                "spread",
                "foreign",
            ],
            self.rows(&of(&[Kind::Near, Kind::Compacted, Kind::Far]), |name, system| {
                let cpu = self.median(name, system, CPU);
                let rate = self.median(name, system, RATE);
                vec![
                    figure(cpu, 2),
                    ratio(cpu, self.median(name, System::Floor, CPU)),
                    ratio(self.median(name, System::Mm2, CPU), cpu),
                    figure(rate, 1),
                    ratio(rate, self.median(name, System::Mm2, RATE)),
                    figure(self.median(name, system, RSS), 0),
                    figure(self.median(name, system, BROKER), 2),
                    percent(self.spread(name, system)),
                    percent(self.median(name, system, FOREIGN)),
                ]
            }),
        );
        section(
            &["scenario", "system", "added p50 ms", "added p99 ms", "MM2 p50 /", "MM2 p99 /", "peak RSS MB"],
            self.rows(&of(&[Kind::Paced]), |name, system| {
                let (p50, p99) = (self.median(name, system, P50), self.median(name, system, P99));
                vec![
                    figure(p50, 1),
                    figure(p99, 1),
                    ratio(self.median(name, System::Mm2, P50), p50),
                    ratio(self.median(name, System::Mm2, P99), p99),
                    figure(self.median(name, system, RSS), 0),
                ]
            }),
        );
        section(
            &["scenario", "system", "start to first record s", "MM2 /", "peak RSS MB"],
            self.rows(&of(&[Kind::Start]), |name, system| {
                let start = self.median(name, system, START);
                vec![
                    figure(start, 2),
                    ratio(self.median(name, System::Mm2, START), start),
                    figure(self.median(name, system, RSS), 0),
                ]
            }),
        );
        for failed in self.measured.iter().filter(|measured| measured.failure.is_some()) {
            let why = failed.failure.as_deref().unwrap_or_default();
            let _ = write!(text, "\n{}, {}, run {}: {why}\n", failed.scenario, failed.system, failed.run);
        }
        text
    }

    fn rows(&self, scenarios: &[&Scenario], cells: impl Fn(&str, System) -> Vec<String>) -> Vec<Vec<String>> {
        let systems =
            scenarios.iter().flat_map(|scenario| scenario.systems.iter().map(|system| (scenario.name, *system)));
        let measured = systems.filter(|(name, system)| self.of(name, *system).next().is_some());
        measured
            .map(|(name, system)| {
                [name.to_owned(), system.name().to_owned()].into_iter().chain(cells(name, system)).collect()
            })
            .collect()
    }

    fn of<'a>(&'a self, scenario: &'a str, system: System) -> impl Iterator<Item = &'a Measured> {
        self.measured.iter().filter(move |m| m.scenario == scenario && m.system == system.name())
    }

    fn values(&self, scenario: &str, system: System, field: Field) -> Vec<f64> {
        let mut values: Vec<f64> = self.of(scenario, system).filter_map(|measured| field(&measured.figures)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self, scenario: &str, system: System, field: Field) -> Option<f64> {
        median(&self.values(scenario, system, field))
    }

    fn spread(&self, scenario: &str, system: System) -> Option<f64> {
        let values = self.values(scenario, system, CPU);
        Some((values.last()? - values.first()?) / median(&values)?)
    }
}

/// Of sorted values.
fn median(values: &[f64]) -> Option<f64> {
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((upper + values[values.len() / 2 - 1]) / 2.0) }
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn ratio(value: Option<f64>, to: Option<f64>) -> String {
    match (value, to) {
        (Some(value), Some(to)) if to > 0.0 => format!("{:.2}x", value / to),
        _ => "-".to_owned(),
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.0}%", value * 100.0))
}

/// A Markdown table; text to the left, figures to the right.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    const TEXT: usize = 2;
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < TEXT { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
        });
        format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.iter().enumerate().map(|(column, width)| {
        if column < TEXT { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
    });
    let mut text = line(&mut header.iter().copied());
    text.push_str(&format!("|{}|\n", rule.collect::<Vec<_>>().join("|")));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}
