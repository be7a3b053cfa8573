//! `check`: tries everything that a mirror needs before it is needed, and changes nothing.
//!
//! Git, then the destination, then each connector file: is the cluster there, does it accept us, is it another one than the
//! other side, does it speak what we speak, may we do what each feature needs ([`needs`]). One [`Finding`] a question, as soon
//! as it is answered. What can't be asked is said, and is never "fine" (law 8). No finding quotes a secret (law 9).

pub mod needs;
mod rights;
mod sides;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{Error, destination, source};
use crate::kafka::{Cluster, ClusterConfig};
use crate::settings::Settings;
use crate::spec::{self, LoadOptions, Loaded, Scope};

/// How long the repository may take to be read.
const GIT_WITHIN: Duration = Duration::from_secs(30);

/// How long one question to a cluster may take, with its retries.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A commit that is so much younger than now was made by a clock that is ahead, or ours is behind.
const CLOCK_SLACK: i64 = 300;

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be asked, so nothing is known.
    Unknown,
    /// It will do, but somebody should look.
    Warning,
    /// A mirror would fail of it.
    Failed,
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `git`, `destination` or a connector's name.
    pub about: String,
    /// What was asked, in a word or two.
    pub check: String,
    /// How it was answered.
    pub verdict: Verdict,
    /// The answer in one line.
    pub detail: String,
    /// A stable code, where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What to do, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Where findings go as they come.
pub(super) struct Report<'a>(&'a mut (dyn FnMut(Finding) + Send));

/// Asks everything. `tell` hears each finding as soon as it is there.
///
/// # Errors
/// The settings can't even be tried.
pub async fn run(settings: &Settings, tell: &mut (dyn FnMut(Finding) + Send)) -> Result<(), Error> {
    let mut report = Report(tell);
    let repository = source::follow(settings)?;
    let mut snapshots = repository.snapshots.clone();
    let first = tokio::time::timeout(GIT_WITHIN, snapshots.wait_for(Option::is_some)).await;
    let snapshot = match first {
        Ok(Ok(snapshot)) => snapshot.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(snapshot) = snapshot else {
        let state = repository.state.borrow().clone();
        match state.problem {
            Some(problem) => report.failed("git", "repository", &problem.message, &problem.code, problem.hint),
            None => report.failed("git", "repository", "it was not read within 30 s", "GIT-LATE", None),
        }
        return Ok(());
    };
    let scope = Scope {
        root: settings.root.clone(),
        environment: settings.environment.clone(),
        destination: settings.destination.clone(),
        sources: settings.sources.clone(),
    };
    let loaded = spec::load(&scope, &snapshot.files, &LoadOptions { strict: settings.strict });
    git(&mut report, &snapshot, &loaded);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let found =
        tokio::time::timeout(ASK_WITHIN, destination::find(settings, nowhere, repository.snapshots.clone())).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            report.failed("destination", "address", &error.to_string(), "DESTINATION", None);
            return Ok(());
        }
        Err(_) => {
            let hint = Some("set bootstrap-servers or worker-config".to_owned());
            report.failed("destination", "address", "nothing says where it is", "DESTINATION", hint);
            return Ok(());
        }
    };
    for warning in &found.warnings {
        report.warning("destination", "settings", warning);
    }
    let target = Cluster::new(hurried(&found.cluster));
    let target_id = sides::cluster(&mut report, "destination", "", &target).await;
    if target_id.is_some() {
        sides::daemon(&mut report, &target, &found).await;
    }
    let mut sources = BTreeMap::new();
    for connector in loaded.connectors.values() {
        let target = target_id.as_deref().map(|id| (&target, id));
        sides::connector(&mut report, connector, target, &found, &mut sources).await;
    }
    Ok(())
}

fn git(report: &mut Report<'_>, snapshot: &crate::reconcile::Snapshot, loaded: &Loaded) {
    let files = loaded.connectors.len() + loaded.invalid.len();
    let revision: String = snapshot.revision.chars().take(12).collect();
    report.ok("git", "repository", &format!("revision {revision}, {files} connector files in scope"));
    if files == 0 {
        report.warning("git", "files", "no connector file is in scope: nothing would run");
    }
    for file in &loaded.invalid {
        let first = file.problems.iter().find(|problem| problem.severity == spec::Severity::Error);
        let detail = first.map_or_else(|| file.path.clone(), ToString::to_string);
        let code = first.map_or("CFG", |problem| problem.code);
        report.failed("git", "file", &detail, code, Some("mirrorkeeper validate tells all of it".to_owned()));
    }
    let newest = snapshot.commit.as_ref().and_then(|commit| commit.time);
    let now = Timestamp::now();
    if let Some(ahead) = newest.map(|time| time.as_second() - now.as_second()).filter(|ahead| *ahead > CLOCK_SLACK) {
        report.warning(
            "git",
            "clock",
            &format!("the newest commit is {ahead} s from now: is this machine's clock behind?"),
        );
    } else {
        report.ok("git", "clock", &format!("{now:.0}, no commit is from the future"));
    }
}

/// The same cluster, asked by somebody who waits at a terminal.
fn hurried(config: &ClusterConfig) -> ClusterConfig {
    ClusterConfig {
        request_timeout: config.request_timeout.min(ASK_WITHIN),
        api_timeout: config.api_timeout.min(ASK_WITHIN),
        connect_timeout: config.connect_timeout.min(CONNECT_WITHIN),
        ..config.clone()
    }
}

// === impl Report ===

impl Report<'_> {
    fn say(
        &mut self,
        about: &str,
        check: &str,
        verdict: Verdict,
        detail: &str,
        code: Option<&str>,
        hint: Option<String>,
    ) {
        (self.0)(Finding {
            about: about.to_owned(),
            check: check.to_owned(),
            verdict,
            detail: detail.to_owned(),
            code: code.map(str::to_owned),
            hint,
        });
    }

    pub(super) fn ok(&mut self, about: &str, check: &str, detail: &str) {
        self.say(about, check, Verdict::Ok, detail, None, None);
    }

    pub(super) fn warning(&mut self, about: &str, check: &str, detail: &str) {
        self.say(about, check, Verdict::Warning, detail, None, None);
    }

    pub(super) fn unknown(&mut self, about: &str, check: &str, detail: &str) {
        self.say(about, check, Verdict::Unknown, detail, None, None);
    }

    pub(super) fn failed(&mut self, about: &str, check: &str, detail: &str, code: &str, hint: Option<String>) {
        self.say(about, check, Verdict::Failed, detail, Some(code), hint);
    }

    pub(super) fn error(&mut self, about: &str, check: &str, error: &crate::kafka::Error) {
        let error = error.root();
        self.failed(about, check, &crate::mirror::describe(error), error.code(), error.hint());
    }
}
