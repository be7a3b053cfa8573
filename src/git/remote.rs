//! A remote repository: its references are listed; only when the one that is followed has moved is anything fetched.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use git2::{
    AutotagOption, CertificateCheckStatus, Direction, ErrorClass, ErrorCode, FetchOptions, Oid, ProxyOptions,
    RemoteCallbacks, Repository,
};

use super::cache::{self, Cache};
use super::credentials::{self, Notes};
use super::location::{Transport, host, port, redact};
use super::reader::{Look, candidates, commit_id, known_names};
use super::{Error, Snapshot, SourceSettings, libgit2, tree};

/// History that is fetched: first the head alone; with a new head, enough to see whether it builds on the old one, in two
/// steps. Beyond the last it is taken for rewritten: only the whole history could tell, and that may be too large.
const DEPTHS: [i32; 3] = [1, 50, 1000];

/// All of the history.
const WHOLE: i32 = 0;

/// A remote, looked at again and again.
#[derive(Debug)]
pub(super) struct Remote {
    settings: SourceSettings,
    url: String,
    cache: Cache,
    home: PathBuf,
}

/// What one look may use up.
struct Budget {
    until: Instant,
    within: Duration,
    bytes: usize,
}

/// What the server's list says of the reference that is followed.
struct Wanted {
    /// What to ask for: a name, or a commit id.
    name: String,
    id: Oid,
}

// === impl Remote ===

impl Remote {
    pub(super) fn new(settings: SourceSettings, url: String) -> Self {
        let reference = settings.reference.as_deref().unwrap_or("HEAD");
        let cache = Cache::new(&settings.cache_dir, &format!("{}#{reference}", redact(&url)));
        let home = settings.cache_dir.join("home");
        Self { settings, url, cache, home }
    }

    pub(super) fn look(&mut self, known: Option<&str>, within: Duration) -> Result<Look, Error> {
        libgit2::prepare();
        if let Some(hosts) = &self.settings.credentials.known_hosts
            && Transport::of(&self.url) == Transport::Ssh
        {
            libgit2::trust(hosts, &self.home)?;
        }
        let budget = Budget { until: Instant::now() + within, within, bytes: self.settings.limits.transfer_bytes };
        let mut repository = self.cache.open()?;
        let wanted = self.list(&repository, &budget)?;
        let fetched = cache::fetched(&repository);
        let old = fetched.and_then(|id| self.peel(&repository, id).ok());
        if fetched != Some(wanted.id) && self.cache.is_crowded() {
            drop(repository);
            self.cache.remove()?;
            repository = self.cache.open()?;
        }
        match self.take(&repository, &wanted, old, known, &budget) {
            // What can't be read though it was fetched is a broken cache: once anew, from nothing.
            Err(error @ (Error::Read { .. } | Error::Cache { .. })) => {
                tracing::warn!(%error, "the clone in the cache is broken; making it anew");
                drop(repository);
                self.cache.remove()?;
                let repository = self.cache.open()?;
                self.take(&repository, &wanted, old, known, &budget).map_err(|error| match error {
                    Error::Read { why, .. } => Error::Cache { path: self.cache.folder().to_owned(), why },
                    other => other,
                })
            }
            other => other,
        }
    }

    /// Brings the wanted object here, if it isn't, and reads its snapshot, if it isn't `known`. `old` is the commit that
    /// was followed before.
    fn take(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        old: Option<Oid>,
        known: Option<&str>,
        budget: &Budget,
    ) -> Result<Look, Error> {
        if cache::fetched(repository) == Some(wanted.id) {
            let commit = self.peel(repository, wanted.id)?;
            if known == Some(commit.to_string().as_str()) {
                return Ok(Look::unchanged(commit.to_string()));
            }
            return Ok(Look::of(self.read(repository, commit)?, known));
        }
        let mut fetches = 1;
        let mut packs = 0;
        let mut rewritten = None;
        match old {
            None => packs += self.fetch(repository, wanted, DEPTHS[0], budget)?,
            Some(old) => {
                for (depth, nth) in DEPTHS[1..].iter().zip(1..) {
                    fetches = nth;
                    packs += self.fetch(repository, wanted, *depth, budget)?;
                    let new = self.peel(repository, self.head(repository)?)?;
                    let builds_on = new == old || self.builds_on(repository, new, old);
                    rewritten = (!builds_on).then(|| old.to_string());
                    if builds_on || !repository.is_shallow() {
                        break;
                    }
                }
            }
        }
        let commit = self.peel(repository, self.head(repository)?)?;
        let snapshot = self.read(repository, commit)?;
        Ok(Look { fetches, packs, rewritten, ..Look::of(snapshot, known) })
    }

    /// The reference's object, as the server lists it. Nothing is transferred.
    fn list(&self, repository: &Repository, budget: &Budget) -> Result<Wanted, Error> {
        let notes = Rc::new(RefCell::new(Notes::default()));
        let mut remote = repository.remote_anonymous(&self.url).map_err(|error| self.failed(&error, &notes, budget))?;
        let connection = remote
            .connect_auth(Direction::Fetch, Some(self.callbacks(&notes, budget)), Some(proxy()))
            .map_err(|error| self.failed(&error, &notes, budget))?;
        let heads = connection.list().map_err(|error| self.failed(&error, &notes, budget))?;
        let heads: Vec<(&str, Oid)> = heads.iter().map(|head| (head.name(), head.oid())).collect();
        let name = self.settings.reference.as_deref().unwrap_or("HEAD");
        let candidates = candidates(name);
        let found: Vec<&(&str, Oid)> = heads.iter().filter(|(name, _)| candidates.iter().any(|c| c == name)).collect();
        match (found.as_slice(), commit_id(name)) {
            ([(name, id)], _) => Ok(Wanted { name: (*name).to_owned(), id: *id }),
            ([], Some(id)) => Ok(Wanted { name: id.to_string(), id }),
            ([], None) if heads.is_empty() => Err(Error::Unborn { location: self.location() }),
            ([], None) => Err(Error::NoReference {
                location: self.location(),
                reference: name.to_owned(),
                known: known_names(heads.iter().map(|(name, _)| *name)),
            }),
            _ => Err(Error::Ambiguous { location: self.location(), reference: name.to_owned() }),
        }
    }

    /// Fetches the wanted object with some of its history; the number of packs that came.
    fn fetch(&self, repository: &Repository, wanted: &Wanted, depth: i32, budget: &Budget) -> Result<u64, Error> {
        let one = [format!("+{}:{}", wanted.name, cache::HEAD)];
        // libgit2 can't take part of a history from a path.
        let depth = if Transport::of(&self.url) == Transport::File { WHOLE } else { depth };
        let fetched = match self.transfer(repository, &one, depth, budget) {
            // What a server can't do it doesn't announce, and libgit2 tells only in words.
            Err(Error::Cache { why, .. }) if depth != WHOLE && why.contains("shallow") => {
                self.transfer(repository, &one, WHOLE, budget)
            }
            other => other,
        };
        match fetched {
            // Many servers give out what a branch or tag names and nothing else, each with words of its own. Through all of
            // those the commit is found, or isn't there.
            Err(error) if commit_id(&wanted.name).is_some() && error.about_content() => {
                let all = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/mirrorkeeper/{kind}/*"));
                let packs = self.transfer(repository, &all, WHOLE, budget)?;
                let missing = |_| Error::NoReference {
                    location: self.location(),
                    reference: wanted.name.clone(),
                    known: vec!["only commits that a branch or a tag leads to".to_owned()],
                };
                repository.find_commit(wanted.id).map_err(missing)?;
                let named = repository.reference(cache::HEAD, wanted.id, true, "fetched");
                named.map_err(|error| tree::failed(&self.location(), &error))?;
                Ok(packs)
            }
            other => other,
        }
    }

    fn transfer(
        &self,
        repository: &Repository,
        refspecs: &[String],
        depth: i32,
        budget: &Budget,
    ) -> Result<u64, Error> {
        let notes = Rc::new(RefCell::new(Notes::default()));
        let mut remote = repository.remote_anonymous(&self.url).map_err(|error| self.failed(&error, &notes, budget))?;
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self.callbacks(&notes, budget))
            .proxy_options(proxy())
            .download_tags(AutotagOption::None)
            .update_fetchhead(false)
            .depth(depth);
        remote.fetch(refspecs, Some(&mut options), None).map_err(|error| {
            let network = matches!(error.class(), ErrorClass::Http | ErrorClass::Ssh | ErrorClass::Ssl)
                || (error.class() == ErrorClass::Net && !error.message().contains("shallow"));
            let told = notes.borrow().told();
            if network || told || matches!(error.code(), ErrorCode::Auth | ErrorCode::Certificate | ErrorCode::User) {
                self.failed(&error, &notes, budget)
            } else {
                Error::Cache { path: self.cache.folder().to_owned(), why: redact(error.message()) }
            }
        })?;
        Ok(u64::from(remote.stats().received_objects() > 0))
    }

    fn callbacks<'a>(&'a self, notes: &Rc<RefCell<Notes>>, budget: &Budget) -> RemoteCallbacks<'a> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.credentials(credentials::callback(&self.url, &self.settings.credentials, Rc::clone(notes)));
        let shown = Rc::clone(notes);
        callbacks.certificate_check(move |certificate, _host| {
            let key = certificate.as_hostkey().and_then(|key| key.hash_sha256());
            shown.borrow_mut().fingerprint = key.map(fingerprint);
            // libgit2 decides, by the known hosts and the certificate authorities.
            Ok(CertificateCheckStatus::CertificatePassthrough)
        });
        let (until, most, progress) = (budget.until, budget.bytes, Rc::clone(notes));
        callbacks.transfer_progress(move |stats| {
            let mut notes = progress.borrow_mut();
            notes.late |= Instant::now() >= until;
            notes.too_large |= stats.received_bytes() > most;
            !notes.late && !notes.too_large
        });
        let late = Rc::clone(notes);
        callbacks.sideband_progress(move |_| {
            let passed = Instant::now() >= until;
            late.borrow_mut().late |= passed;
            !passed
        });
        callbacks
    }

    fn head(&self, repository: &Repository) -> Result<Oid, Error> {
        cache::fetched(repository).ok_or_else(|| Error::Cache {
            path: self.cache.folder().to_owned(),
            why: "what was fetched is not there".to_owned(),
        })
    }

    fn peel(&self, repository: &Repository, id: Oid) -> Result<Oid, Error> {
        let object = repository.find_object(id, None).and_then(|object| object.peel_to_commit());
        object.map(|commit| commit.id()).map_err(|error| tree::failed(&self.location(), &error))
    }

    fn read(&self, repository: &Repository, commit: Oid) -> Result<Snapshot, Error> {
        tree::read(repository, commit, &self.settings.root, self.settings.limits, &self.location())
    }

    /// Whether `old` is in the history of `new`, as far as it is here.
    fn builds_on(&self, repository: &Repository, new: Oid, old: Oid) -> bool {
        repository.graph_descendant_of(new, old).unwrap_or(false)
    }

    fn location(&self) -> String {
        self.settings.location.to_string()
    }

    /// What libgit2's error means, with what was noted on the way.
    fn failed(&self, error: &git2::Error, notes: &Rc<RefCell<Notes>>, budget: &Budget) -> Error {
        let notes = notes.borrow();
        let location = self.location();
        if let Some(unreadable) = &notes.unreadable {
            return unreadable.clone();
        }
        if notes.too_large {
            return Error::TooLarge { location, what: format!("one fetch brings more than {} bytes", budget.bytes) };
        }
        if notes.late {
            return Error::Late { location, after: budget.within };
        }
        let why = redact(error.message().trim());
        if let Some(refusal) = &notes.refusal {
            return Error::Refused { location, why: refusal.clone() };
        }
        match (error.code(), &notes.fingerprint) {
            (ErrorCode::Certificate, Some(fingerprint)) => Error::Untrusted {
                location,
                why: format!("its host key SHA256:{fingerprint} is not the one in the known hosts"),
                host: Some(match (host(&self.url).unwrap_or_default(), port(&self.url)) {
                    (host, Some(port)) => format!("-p {port} {host}"),
                    (host, None) => host,
                }),
            },
            (ErrorCode::Certificate, None) => Error::Untrusted { location, why, host: None },
            (ErrorCode::Auth, _) => Error::Refused { location, why },
            // libgit2 has no code for these.
            _ if ["401", "403", "failed to authenticate"].iter().any(|word| why.contains(word)) => {
                Error::Refused { location, why }
            }
            _ => Error::Unreachable { location, why },
        }
    }
}

// === impl Notes ===

impl Notes {
    fn told(&self) -> bool {
        self.late || self.too_large || self.refusal.is_some() || self.unreadable.is_some()
    }
}

/// As `ssh-keygen -l` writes it.
fn fingerprint(hash: &[u8; 32]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash)
}

/// The proxy of the environment, as every other tool takes it.
fn proxy<'a>() -> ProxyOptions<'a> {
    let mut proxy = ProxyOptions::new();
    proxy.auto();
    proxy
}
