//! The repository as the control loop wants it: snapshots and how following goes, in the loop's own words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Error;
use crate::api::Token;
use crate::engine::Problem;
use crate::git::{self, SourceSettings, SourceState};
use crate::reconcile::plan::{self, MaxDeletes};
use crate::reconcile::{Refresh, Snapshot, status};
use crate::settings::{self, GitCredentials, Settings};
use crate::spec::SourceFile;
use crate::supervise::{self, Task};

/// How long `POST /reconcile` waits for the repository to be looked at; the pass comes after it all the same.
const LOOK_WITHIN: Duration = Duration::from_secs(60);

/// A repository that is followed.
pub(super) struct Followed {
    pub(super) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(super) state: watch::Receiver<status::Source>,
    pub(super) refresh: Refresh,
    _source: git::Source,
    _tasks: [Task<()>; 2],
}

/// Begins to follow the repository of the settings.
pub(super) fn follow(settings: &Settings) -> Result<Followed, Error> {
    let source = git::Source::start(source_settings(settings)?).map_err(Error::Source)?;
    let (snapshots, snapshots_out) = watch::channel(None);
    let mut snapshots_in = source.snapshots();
    let translate_snapshots = async move {
        loop {
            let snapshot = snapshots_in.borrow_and_update().clone();
            snapshots.send_replace(snapshot.map(|snapshot| Arc::new(translate(&snapshot))));
            if snapshots_in.changed().await.is_err() {
                return;
            }
        }
    };
    let mut state_in = source.state();
    let (state, state_out) = watch::channel(source_status(&state_in.borrow_and_update()));
    let translate_state = async move {
        while state_in.changed().await.is_ok() {
            state.send_replace(source_status(&state_in.borrow_and_update()));
        }
    };
    let handle = source.handle();
    let refresh = Refresh::new(move || {
        let handle = handle.clone();
        async move {
            if tokio::time::timeout(LOOK_WITHIN, handle.refresh()).await.is_err() {
                tracing::warn!("the repository was not looked at in time; the last snapshot stays in force");
            }
        }
    });
    Ok(Followed {
        snapshots: snapshots_out,
        state: state_out,
        refresh,
        _source: source,
        _tasks: [supervise::spawn("snapshots", translate_snapshots), supervise::spawn("source state", translate_state)],
    })
}

/// The settings of `validate`, `plan` and the daemon alike.
pub(crate) fn source_settings(settings: &Settings) -> Result<SourceSettings, Error> {
    let location = settings.repo.expose().parse().map_err(Error::Source)?;
    let mut source = SourceSettings::new(location, settings.cache_dir.clone());
    source.reference.clone_from(&settings.reference);
    source.root.clone_from(&settings.root);
    source.interval = settings.interval;
    source.working_tree = settings.working_tree;
    source.credentials = credentials(&settings.git)?;
    Ok(source)
}

fn credentials(git: &GitCredentials) -> Result<git::Credentials, Error> {
    let either = |file: &Option<PathBuf>, value: Option<&settings::Secret>| {
        let value = || value.map(|value| git::Secret::value(value.expose().to_owned()));
        file.clone().map(git::Secret::File).or_else(value)
    };
    let username = || git.username.clone().map(git::Secret::value);
    let proxy = git.proxy.as_ref().map(|proxy| git::Address::proxy(proxy.expose()));
    Ok(git::Credentials {
        username: git.username_file.clone().map(git::Secret::File).or_else(username),
        token: either(&git.token_file, git.token.as_ref()),
        ssh_key: either(&git.ssh_key_file, git.ssh_key.as_ref()),
        ssh_passphrase: either(&git.ssh_passphrase_file, git.ssh_passphrase.as_ref()),
        known_hosts: git.known_hosts_file.clone(),
        ca_file: git.ca_file.clone(),
        client_cert_file: git.client_cert_file.clone(),
        client_key_file: git.client_key_file.clone(),
        proxy: proxy.transpose().map_err(Error::Source)?,
    })
}

/// What the loop may do.
pub(super) fn rules(settings: &Settings) -> status::Rules {
    status::Rules {
        sync: match settings.sync {
            settings::Sync::Auto => plan::Sync::Auto,
            settings::Sync::Manual => plan::Sync::Manual,
        },
        drift: settings.drift,
        prune: match settings.prune {
            settings::Prune::Auto => plan::Prune::Auto,
            settings::Prune::Confirm => plan::Prune::Confirm,
            settings::Prune::Off => plan::Prune::Off,
        },
        max_deletes: MaxDeletes { count: settings.max_deletes.count, percent: settings.max_deletes.percent },
    }
}

/// The API token of a file.
pub(super) fn token(path: &Path) -> Result<Token, Error> {
    let unusable = |why: String| Error::File { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|e| unusable(format!("cannot be read: {e}")))?;
    Token::new(&text).map_err(|e| unusable(e.to_string()))
}

fn translate(snapshot: &git::Snapshot) -> Snapshot {
    // A file that could not be read is passed on with bytes that no parser accepts: present and invalid, never absent.
    let file =
        |file: &git::File| SourceFile { path: file.path.clone(), bytes: file.bytes.clone(), blob: file.blob.clone() };
    Snapshot {
        revision: snapshot.revision.clone(),
        commit: snapshot.commit.as_ref().map(|commit| status::Commit {
            author: commit.author.clone(),
            subject: commit.subject.clone(),
            time: Some(commit.time),
        }),
        files: snapshot.files.iter().map(file).collect(),
    }
}

fn source_status(state: &SourceState) -> status::Source {
    let problem = state.error.as_ref().map(|failure| Problem {
        code: failure.code.to_owned(),
        message: failure.message.clone(),
        hint: failure.hint.clone(),
        since: state.failing_since.unwrap_or_else(jiff::Timestamp::now),
    });
    let rewritten = state.rewritten.as_ref().map(|rewritten| status::Rewritten {
        from: rewritten.from.clone(),
        to: rewritten.to.clone(),
        at: rewritten.at,
    });
    status::Source {
        url: state.url.clone(),
        reference: state.reference.clone(),
        path: state.root.clone(),
        observed: state.observed.clone(),
        applied: None,
        commit: None,
        last_ok: state.last_ok,
        failures: state.failures,
        problem,
        next: state.next,
        rewritten,
    }
}
