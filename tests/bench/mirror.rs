//! The benchmark: `cargo bench --bench mirror`.
//!
//! Copies the same topics between the same two Apache Kafka brokers, on one machine and in one run, with the floor (see
//! [`floor`]), mirrorkeeper, Java MirrorMaker 2 as shipped and tuned, and a loop over librdkafka, each a process of its
//! own, with the same fetch size (1 MiB a partition). The runs of the systems take turns, the report has their medians.
//! It reports and never judges: no test of this project asserts a speed.
//!
//! How it is made fair: MirrorMaker 2 runs in one Connect worker over the whole benchmark and is warmed up first, so its
//! JIT compiler is done; its producer is told to compress as the source does, since nobody else recompresses to less; each
//! system is measured from a fifth of the topic on (or 3 s after its first record), until it has copied all or
//! `--seconds` have passed. Targets are new topics of equal names. It needs Linux (`/proc`), Java 17 and Maven.

#![expect(clippy::cast_possible_truncation, reason = "counts and figures of a benchmark are small")]

#[path = "../support/mod.rs"]
mod support;

mod child;
mod data;
mod floor;
mod latency;
mod measure;
mod process;
mod report;
mod rig;
mod scenario;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use measure::Figures;
use report::{Measured, Report, Setting};
use rig::{Rig, Route};
use scenario::{Batches, Kind, PARTITIONS, SCENARIOS, Scenario, System};
use support::{client, unique};

/// Compares mirrorkeeper with Java MirrorMaker 2 and with the least that copying costs, on real Kafka.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench mirror --")]
struct Args {
    /// Scenarios whose names contain one of these; without any, the usual ones.
    scenarios: Vec<String>,
    /// Runs of each system on each scenario; the report has their medians.
    #[arg(long, default_value_t = 3, env = "MIRRORKEEPER_BENCH_RUNS")]
    runs: u32,
    /// Longest measured time of one run, in seconds.
    #[arg(long, default_value_t = 4, env = "MIRRORKEEPER_BENCH_SECONDS")]
    seconds: u64,
    /// Share of the usual number of records.
    #[arg(long, default_value_t = 1.0, env = "MIRRORKEEPER_BENCH_VOLUME")]
    volume: f64,
    /// One short run on a third of the records, of a few scenarios unless some are named.
    #[arg(long)]
    quick: bool,
    /// Only these systems; parts of their names, as `floor,mm2`.
    #[arg(long, value_delimiter = ',')]
    systems: Vec<String>,
    /// What is printed.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Prints the scenarios and ends.
    #[arg(long)]
    list: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Markdown.
    Table,
    /// Every single measurement.
    Json,
}

/// What a run with `--quick` measures.
const QUICK: [&str; 6] = ["1k-none", "1k-lz4", "1k-zstd", "one-record-batches", "latency-1k-lz4", "start"];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let outcome = match child::requested(&args[1..]) {
        Some(requested) => requested.and_then(|(kind, job)| child::run(kind, &job)),
        None => bench(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn bench(args: Vec<OsString>) -> Result<(), String> {
    if !args.iter().any(|arg| arg == "--bench") && !args.iter().any(|arg| arg == "--help" || arg == "--list") {
        say("the benchmark does nothing unless it is started by: cargo bench --bench mirror");
        return Ok(());
    }
    let mut args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return error.print().map_err(|error| error.to_string()),
    };
    if args.quick {
        (args.runs, args.seconds, args.volume) = (1, args.seconds.min(3), args.volume / 3.0);
    }
    let chosen = choose(&args);
    if args.list || chosen.is_empty() {
        let names: String = SCENARIOS.iter().map(|scenario| format!("{}\n", scenario.name)).collect();
        return print(&names);
    }
    let setting = Setting {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_average_at_start: process::load_average(),
        runs: args.runs,
        window_s: args.seconds,
        volume: args.volume,
    };
    let mut rig = Rig::start().ok_or("Java 17 and Maven are needed")?;
    let mut measured = Vec::new();
    let takes_part = |system: System| {
        let name = system.name().to_lowercase();
        args.systems.is_empty() || args.systems.iter().any(|wanted| name.contains(&wanted.to_lowercase()))
    };
    if takes_part(System::Mm2) && chosen.iter().any(|scenario| scenario.kind != Kind::Start) {
        warm_up(&mut rig);
    }
    for scenario in &chosen {
        let systems: Vec<_> = scenario.systems.iter().copied().filter(|system| takes_part(*system)).collect();
        one(&mut rig, scenario, &systems, &args, &mut measured);
    }
    let report = Report { setting, measured };
    match args.output {
        Output::Table => print(&report.markdown(&chosen)),
        Output::Json => print(&serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?),
    }
}

fn choose(args: &Args) -> Vec<&'static Scenario> {
    let wanted = |scenario: &&Scenario| {
        if !args.scenarios.is_empty() {
            args.scenarios.iter().any(|part| scenario.name.contains(part.as_str()))
        } else if args.quick {
            QUICK.contains(&scenario.name)
        } else {
            scenario.usual
        }
    };
    SCENARIOS.iter().filter(wanted).collect()
}

/// Lets MirrorMaker 2 copy until its code is compiled; nothing is kept of it. By volume, not by time: on a busy machine
/// compiling takes long.
fn warm_up(rig: &mut Rig) {
    say("warming MirrorMaker 2 up");
    rig.start_worker();
    // The first with large batches: it is soon where the others take long to get.
    for (system, codec) in [(System::Mm2Tuned, "zstd"), (System::Mm2, "none")] {
        let scenario = Scenario {
            name: "warm-up",
            kind: Kind::Near,
            value_bytes: 500,
            codec,
            batches: Batches::Filled,
            volume: 500,
            systems: &[],
            usual: false,
        };
        let args = Args::parse_from(["bench", "--runs", "1", "--seconds", "30"]);
        one(rig, &scenario, &[system], &args, &mut Vec::new());
    }
}

/// All runs of a scenario; the systems take turns.
fn one(rig: &mut Rig, scenario: &Scenario, systems: &[System], args: &Args, measured: &mut Vec<Measured>) {
    let topic = unique(scenario.name);
    let configs: &[_] = if scenario.kind == Kind::Compacted { &data::COMPACT } else { &[] };
    let mut records = scenario.records(args.volume);
    if scenario.kind != Kind::Paced {
        say(&format!("{}: writing {records} records", scenario.name));
        client::create_topic(&rig.source, &topic, PARTITIONS as i32, 1, configs);
        match scenario.kind {
            Kind::Compacted => records = data::fill_and_compact(&rig.source, &topic, scenario, records),
            _ => data::fill(&rig.source, &topic, scenario, records),
        }
    }
    for run in 1..=args.runs {
        for system in systems {
            let result = once(rig, scenario, *system, (&topic, records), args);
            say(&match &result {
                Ok(figures) => format!("{}, run {run}, {}: {}", scenario.name, system.name(), brief(figures)),
                Err(error) => format!("{}, run {run}, {}: {error}", scenario.name, system.name()),
            });
            let (figures, failure) = match result {
                Ok(figures) => (figures, None),
                Err(error) => (Figures::default(), Some(error)),
            };
            measured.push(Measured { scenario: scenario.name, system: system.name(), run, figures, failure });
        }
    }
    if scenario.kind != Kind::Paced {
        rig.forget_source(&topic);
    }
}

/// One measurement.
fn once(
    rig: &mut Rig,
    scenario: &Scenario,
    system: System,
    (topic, records): (&str, u64),
    args: &Args,
) -> Result<Figures, String> {
    let route = Route {
        topic: if scenario.kind == Kind::Paced { unique(scenario.name) } else { topic.to_owned() },
        alias: unique("from"),
        codec: scenario.codec,
        far: scenario.kind == Kind::Far,
    };
    let window = Duration::from_secs(args.seconds);
    let target = route.target_topic();
    match scenario.kind {
        Kind::Start => {
            if system == System::Floor {
                // It creates no topic.
                rig.create_target(&route);
            }
            rig.settle();
            let start = Instant::now();
            let mut running = rig.run_cold(system, &route);
            let took = measure::first_record(rig, &mut running, &target, start)?;
            let peak = process::peak_resident_bytes(running.pid()).map(|bytes| bytes as f64 / 1e6);
            Ok(Figures { start_s: Some(took.as_secs_f64()), peak_rss_mb: peak, ..Figures::default() })
        }
        Kind::Paced => {
            client::create_topic(&rig.source, &route.topic, PARTITIONS as i32, 1, &[]);
            rig.create_target(&route);
            rig.settle();
            let outcome = latency::paced(rig, scenario, &route, rig.run(system, &route), 2 * args.seconds);
            rig.forget_source(&route.topic);
            outcome
        }
        Kind::Near | Kind::Compacted | Kind::Far => {
            rig.create_target(&route);
            rig.settle();
            measure::copy(rig, rig.run(system, &route), &target, (records, scenario.record_bytes()), window)
        }
    }
}

fn brief(figures: &Figures) -> String {
    let parts = [
        ("CPU s/GB", figures.cpu_s_per_gb),
        ("MB/s", figures.mb_per_s),
        ("MB peak RSS", figures.peak_rss_mb),
        ("s to the first record", figures.start_s),
        ("ms p50", figures.latency_p50_ms),
        ("ms p99", figures.latency_p99_ms),
        ("of the machine used by others", figures.foreign_cpu),
    ];
    let known = parts.iter().filter_map(|(unit, value)| Some(format!("{:.2} {unit}", (*value)?)));
    known.collect::<Vec<_>>().join(", ")
}

fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("writing the report: {error}"))
}

/// To standard error: standard output is the report's.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
