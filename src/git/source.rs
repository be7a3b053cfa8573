//! The task that looks at a repository again and again, and tells what it found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng as _;
use tokio::sync::{Notify, watch};

use crate::supervise::{self, Backoff, Blocked, Task};

use super::credentials::Stamp;
use super::local::Local;
use super::reader::{Look, Reader};
use super::watch::Watch;
use super::{Error, Location, Snapshot, SourceSettings};

/// A look bounds itself; this much later its thread is given up.
pub(super) const GRACE: Duration = Duration::from_secs(35);

/// The first and the longest wait after failures.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A repository that is followed. Dropping it ends the following.
#[derive(Debug)]
pub struct Source {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    state: watch::Receiver<SourceState>,
    handle: Handle,
    _task: Task<()>,
}

/// Wakes a [`Source`]; outlives it harmlessly.
#[derive(Debug, Clone)]
pub struct Handle {
    wake: Arc<Wake>,
    served: watch::Receiver<u64>,
}

/// How following a repository goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Where, without credentials.
    pub url: String,
    /// What is followed; none for `HEAD`.
    pub reference: Option<String>,
    /// Folder that is read.
    pub root: String,
    /// The revision that was seen last.
    pub observed: Option<String>,
    /// When a look last succeeded.
    pub last_ok: Option<Timestamp>,
    /// Since when looks fail.
    pub failing_since: Option<Timestamp>,
    /// Why the last look failed.
    pub error: Option<Failure>,
    /// Failed looks in a row.
    pub failures: u32,
    /// When the next look is due.
    pub next: Option<Timestamp>,
    /// The last time that history was rewritten (force push).
    pub rewritten: Option<Rewritten>,
    /// Looks, successful or not.
    pub looks: u64,
    /// Looks that found another revision.
    pub changes: u64,
    /// Requests for objects; an unchanged head costs none.
    pub fetches: u64,
    /// Packs that were transferred; an unchanged head costs none.
    pub packs_transferred: u64,
    /// Changes of folders are told by the system, and not only seen at the interval.
    pub watching: bool,
}

/// Why a look failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable code for scripts.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A history that was replaced. More than a thousand commits between two looks at a remote are taken for it, too: only
/// the whole history could tell them apart, and fetching that may be too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The commit before.
    pub from: String,
    /// The commit since.
    pub to: String,
    /// When it was seen.
    pub at: Timestamp,
}

#[derive(Debug, Default)]
struct Wake {
    notify: Notify,
    /// Number of the last request.
    requested: AtomicU64,
}

struct Follower {
    settings: SourceSettings,
    /// A look that overran its deadline may still hold it.
    reader: Arc<Mutex<Reader>>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    state: watch::Sender<SourceState>,
    served: watch::Sender<u64>,
    wake: Arc<Wake>,
    watch: Option<Watch>,
}

// === impl Source ===

impl Source {
    /// Begins to follow; the first look begins at once.
    ///
    /// # Errors
    /// [`Error::Location`] when the settings make no sense. Whatever the world does is in [`SourceState`].
    pub fn start(settings: SourceSettings) -> Result<Self, Error> {
        let reader = Arc::new(Mutex::new(Reader::new(settings.clone())?));
        let (snapshots, snapshots_seen) = watch::channel(None);
        let (state, state_seen) = watch::channel(SourceState::new(&settings));
        let (served, served_seen) = watch::channel(0);
        let wake = Arc::new(Wake::default());
        let handle = Handle { wake: Arc::clone(&wake), served: served_seen };
        let follower = Follower { settings, reader, snapshots, state, served, wake, watch: None };
        let task = supervise::spawn("git", follower.run());
        Ok(Self { snapshots: snapshots_seen, state: state_seen, handle, _task: task })
    }

    /// The latest snapshot; none before the first. It stays when looks fail.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshots.clone()
    }

    /// How it goes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SourceState> {
        self.state.clone()
    }

    /// What wakes it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// As [`Handle::poke`].
    pub fn poke(&self) {
        self.handle.poke();
    }

    /// As [`Handle::refresh`].
    pub async fn refresh(&self) {
        self.handle.refresh().await;
    }
}

// === impl Handle ===

impl Handle {
    /// Looks now, whatever the interval or the back-off say. Returns at once.
    pub fn poke(&self) {
        self.ask();
    }

    /// Looks now, and ends when a look that began after this call has ended, well or badly.
    pub async fn refresh(&self) {
        let ticket = self.ask();
        // An error means that the source is gone: nothing to wait for.
        let _ = self.served.clone().wait_for(|served| *served >= ticket).await;
    }

    fn ask(&self) -> u64 {
        let ticket = self.wake.requested.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake.notify.notify_one();
        ticket
    }
}

// === impl SourceState ===

impl SourceState {
    fn new(settings: &SourceSettings) -> Self {
        Self {
            url: settings.location.to_string(),
            reference: settings.reference.clone(),
            root: settings.root.clone(),
            observed: None,
            last_ok: None,
            failing_since: None,
            error: None,
            failures: 0,
            next: None,
            rewritten: None,
            looks: 0,
            changes: 0,
            fetches: 0,
            packs_transferred: 0,
            watching: false,
        }
    }
}

// === impl Failure ===

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }
}

// === impl Follower ===

impl Follower {
    async fn run(mut self) {
        let mut backoff =
            Backoff::new(FIRST_WAIT.min(self.settings.interval), LONGEST_WAIT.max(self.settings.interval));
        loop {
            let ticket = self.wake.requested.load(Ordering::Acquire);
            // Before the look: what changes while we read must wake us again.
            self.rewatch().await;
            let stamp = self.stamp().await;
            let wait = match self.look().await {
                Ok(look) => {
                    self.succeeded(look);
                    backoff.reset();
                    self.settings.interval.mul_f64(rand::rng().random_range(0.9..=1.1))
                }
                Err(error) => {
                    self.failed(&error);
                    backoff.next_delay()
                }
            };
            let next = Timestamp::now().checked_add(wait).ok();
            self.state.send_modify(|state| state.next = next);
            self.served.send_replace(ticket);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notify.notified() => backoff.reset(),
                () = settled(self.watch.as_ref()) => {}
                () = self.renewed(stamp) => backoff.reset(),
            }
        }
    }

    /// The files of the credentials as they are; none when that can't be told.
    async fn stamp(&self) -> Option<Vec<Stamp>> {
        let credentials = self.settings.credentials.clone();
        supervise::blocking("credentials", GRACE, move || credentials.stamp()).await.ok()
    }

    /// Ends when a file of the credentials has changed since a look that failed: who has put a new token there waits for
    /// the interval, and not for the back-off.
    async fn renewed(&self, before: Option<Vec<Stamp>>) {
        if self.state.borrow().failures == 0 {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.settings.interval).await;
            if self.stamp().await != before {
                return;
            }
        }
    }

    async fn look(&self) -> Result<Look, Error> {
        let location = self.settings.location.to_string();
        let reader = Arc::clone(&self.reader);
        let known = self.snapshots.borrow().as_ref().map(|snapshot| snapshot.revision.clone());
        let within = self.settings.timeout;
        let busy = location.clone();
        let call = move || match reader.try_lock() {
            Ok(mut reader) => reader.look(known.as_deref(), within),
            // It panicked half way; it keeps nothing that could be half done.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().look(known.as_deref(), within),
            Err(TryLockError::WouldBlock) => {
                Err(Error::Read { location: busy, why: "the look before has not ended yet".to_owned() })
            }
        };
        match supervise::blocking("git", within.saturating_add(GRACE), call).await {
            Ok(look) => look,
            Err(Blocked::Late(..)) => Err(Error::Late { location, after: within }),
            Err(lost @ Blocked::Lost(_)) => Err(Error::Read { location, why: lost.to_string() }),
        }
    }

    fn succeeded(&self, look: Look) {
        let now = Timestamp::now();
        let rewritten = look.rewritten.map(|from| Rewritten { from, to: look.revision.clone(), at: now });
        if let Some(Rewritten { from, to, .. }) = &rewritten {
            tracing::warn!(from, to, "the repository's history was rewritten; following it");
        }
        let changed = look.snapshot.is_some();
        if changed {
            tracing::info!(revision = look.revision, "a new revision was read");
        }
        let recovered = self.state.borrow().failures;
        if recovered > 0 {
            tracing::info!(failures = recovered, "the repository can be read again");
        }
        // The snapshot first: who sees the state's revision finds its snapshot.
        if let Some(snapshot) = look.snapshot {
            self.snapshots.send_replace(Some(Arc::new(snapshot)));
        }
        self.state.send_modify(|state| {
            state.observed = Some(look.revision);
            state.last_ok = Some(now);
            state.failing_since = None;
            state.error = None;
            state.failures = 0;
            state.looks += 1;
            state.changes += u64::from(changed);
            state.fetches += look.fetches;
            state.packs_transferred += look.packs;
            if rewritten.is_some() {
                state.rewritten = rewritten;
            }
        });
    }

    fn failed(&self, error: &Error) {
        let failure = Failure::from(error);
        let known = self.state.borrow().error.as_ref() == Some(&failure);
        if !known {
            tracing::warn!(code = failure.code, hint = failure.hint, "{}", failure.message);
        }
        self.state.send_modify(|state| {
            state.failing_since.get_or_insert_with(Timestamp::now);
            state.error = Some(failure);
            state.failures = state.failures.saturating_add(1);
            state.looks += 1;
        });
    }

    /// Folders come and go, so what is watched is compared with what should be before each look.
    async fn rewatch(&mut self) {
        let Location::Local(path) = &self.settings.location else { return };
        let (settings, path) = (self.settings.clone(), path.clone());
        let current = self.watch.as_ref().map(|watch| watch.folders.clone());
        let start = move || {
            let folders = Local::watched(&settings, &path);
            if current.as_ref() == Some(&folders) { None } else { Some(Watch::start(folders)) }
        };
        match supervise::blocking("watch", Duration::from_secs(30), start).await {
            Ok(None) => return,
            Ok(Some(Ok(watch))) => self.watch = Some(watch),
            Ok(Some(Err(error))) => {
                if self.state.borrow().watching || self.state.borrow().looks == 0 {
                    tracing::warn!(%error, "changes are not told by the system; they are seen at the interval");
                }
                self.watch = None;
            }
            Err(error) => {
                tracing::warn!(%error, "changes are not told by the system; they are seen at the interval");
                self.watch = None;
            }
        }
        let watching = self.watch.is_some();
        self.state.send_modify(|state| state.watching = watching);
    }
}

async fn settled(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.settled().await,
        None => std::future::pending().await,
    }
}
