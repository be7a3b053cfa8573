//! The story told by `mirrorkeeper demo`: two development clusters, a Git repository, the daemon, and seven things that
//! happen to them.
//!
//! Each step is a real commit or a real act, followed by what `/status` then says; every figure that is printed comes from
//! `/status`, from the clusters or from a clock. At the end both clusters are read by a client that shares no code with the
//! engine, and compared record by record.
//!
//! Used by the command of that name only. Laws: nothing outlives the demo (the daemon is killed with it, files lie in a
//! temporary folder), and each step has a deadline after which it says what it waited for, with the last status.

mod clusters;
mod compare;
mod crash;
mod daemon;
mod load;
mod repository;
mod seen;
mod stage;
mod story;
mod tell;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tell::Tell;
use tokio::signal::unix::{SignalKind, signal};

/// How the demo is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DemoOptions {
    /// Leave everything running after the last step, until Ctrl-C.
    pub keep: bool,
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Standard error is a terminal: show there what is being waited for.
    pub terminal: bool,
    /// Standard output may be coloured.
    pub color: bool,
}

/// What the demo found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Steps told.
    pub steps: u32,
    /// Records compared, all found equal.
    pub records: u64,
    /// How long the story took, without what `keep` adds.
    pub took: Duration,
}

/// The demo can't go on, or found what must not be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A development cluster can't be had.
    #[error("a development cluster can't be started")]
    Cluster(#[source] io::Error),
    /// A topic of the demo can't be made.
    #[error("a topic of the demo can't be made")]
    Topic(#[from] crate::devbroker::TopicError),
    /// The temporary folder can't be used.
    #[error("{path}: {what}")]
    File {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Git refused.
    #[error("the demo's Git repository: {what}")]
    Git {
        /// What was tried.
        what: &'static str,
        /// libgit2's word.
        #[source]
        source: git2::Error,
    },
    /// An example file is not what the demo expects.
    #[error("example file {path}: {why}")]
    Example {
        /// Its path.
        path: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The daemon does not run.
    #[error("the daemon {what}\n{log}")]
    Daemon {
        /// What happened.
        what: String,
        /// The end of its log.
        log: String,
    },
    /// An act on the daemon was refused.
    #[error("{what}: {why}")]
    Act {
        /// The request.
        what: String,
        /// The answer.
        why: String,
    },
    /// Something did not come about in time.
    #[error("step {step}: {what}: not within {} s; last seen: {last}\n{status}\n{log}", within.as_secs())]
    Late {
        /// Number of the step; 0 before the first.
        step: u32,
        /// What was waited for.
        what: String,
        /// The deadline.
        within: Duration,
        /// What was missing when it was looked at last.
        last: String,
        /// The last status, in short.
        status: String,
        /// The end of the daemon's log.
        log: String,
    },
    /// Something is otherwise than promised.
    #[error("step {step}: {what}")]
    Untrue {
        /// Number of the step.
        step: u32,
        /// What was seen.
        what: String,
    },
    /// Records can't be produced or read.
    #[error("{what}")]
    Client {
        /// What was tried.
        what: String,
        /// librdkafka's word.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A client did not end its work in time.
    #[error("{0}")]
    Blocked(#[from] crate::supervise::Blocked),
    /// The two clusters differ.
    #[error("NOT EQUAL: {0}")]
    Different(String),
    /// The output is gone.
    #[error("the output can't be written")]
    Print(#[from] io::Error),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

// === impl DemoOptions ===

impl DemoOptions {
    /// For this process's terminal, with `NO_COLOR` respected.
    #[must_use]
    pub fn here(keep: bool, json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { keep, json, terminal: io::stderr().is_terminal(), color: io::stdout().is_terminal() && !plain }
    }
}

/// Tells the story to `out`; with `terminal`, what is being waited for is shown on standard error.
///
/// # Errors
/// Any step that did not come out as promised; then nothing of the demo is left running.
pub async fn run(options: DemoOptions, out: &mut (dyn Write + Send)) -> Result<Outcome, Error> {
    let began = Instant::now();
    let mut tell = Tell::new(options, out);
    let story = async {
        let mut stage = stage::Stage::set(&mut tell).await?;
        let mut outcome = story::all(&mut stage).await?;
        outcome.took = began.elapsed();
        stage.farewell(&outcome)?;
        Ok::<_, Error>((stage, outcome))
    };
    let (mut stage, outcome) = tokio::select! {
        told = Box::pin(story) => told?,
        asked = asked_to_end() => return Err(asked.map_or_else(Error::Print, |()| Error::Interrupted)),
    };
    if options.keep {
        stage.keep().await?;
    }
    Ok(outcome)
}

/// Ctrl-C, or the `SIGTERM` of whoever runs this: without an ear for it, the daemon would be left running.
async fn asked_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        asked = tokio::signal::ctrl_c() => asked,
        _ = terminate.recv() => Ok(()),
    }
}
