//! A remote repository: its references are listed; only when the one that is followed has moved is anything fetched.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use git2::{
    AutotagOption, CertificateCheckStatus, Direction, ErrorClass, ErrorCode, FetchOptions, ObjectType, Oid,
    RemoteCallbacks, Repository,
};

use super::cache::{self, Cache};
use super::credentials::{self, Notes};
use super::http::{Allowed, Entered, Session};
use super::location::{Address, Transport, host, port, redact};
use super::reader::{Look, candidates, commit_id, known_names};
use super::{Error, Secret, Snapshot, SourceSettings, libgit2, tree};

/// History that is fetched: first the head alone; with a new head, enough to see whether it builds on the old one, in two
/// steps. Beyond the last it is taken for rewritten: only the whole history could tell, and that may be too large.
const DEPTHS: [i32; 3] = [1, 50, 1000];

/// All of the history.
const WHOLE: i32 = 0;

/// A remote, looked at again and again.
#[derive(Debug)]
pub(super) struct Remote {
    settings: SourceSettings,
    address: Address,
    cache: Cache,
    home: PathBuf,
}

/// What one look may use up, and its way to the server where that is http.
struct Budget {
    allowed: Allowed,
    web: Option<Entered>,
}

/// What the server's list says of the reference that is followed.
struct Wanted {
    /// What to ask for: a name, or a commit id.
    name: String,
    id: Oid,
}

// === impl Remote ===

impl Remote {
    pub(super) fn new(settings: SourceSettings, address: Address) -> Self {
        let reference = settings.reference.as_deref().unwrap_or("HEAD");
        // Without credentials, so that a rotated token keeps its clone.
        let cache = Cache::new(&settings.cache_dir, &format!("{}#{reference}", address.url()));
        // Two processes may share the cache and know different hosts.
        let hosts = settings.credentials.known_hosts.as_deref().unwrap_or(Path::new("")).as_os_str();
        let home = settings.cache_dir.join("home").join(cache::key(hosts.as_encoded_bytes()));
        if Transport::of(address.url()) == Transport::Http && !address.url().to_ascii_lowercase().starts_with("https") {
            tracing::warn!(repo = %address, "http does not encrypt: who sits between reads credentials and changes files");
        }
        Self { settings, address, cache, home }
    }

    pub(super) fn look(&mut self, known: Option<&str>, within: Duration) -> Result<Look, Error> {
        libgit2::prepare();
        if let Some(hosts) = &self.settings.credentials.known_hosts
            && Transport::of(self.address.url()) == Transport::Ssh
        {
            libgit2::trust(hosts, &self.home)?;
        }
        let until = Instant::now() + within;
        let allowed = Allowed { until, within, bytes: self.settings.limits.transfer_bytes };
        let web = match Transport::of(self.address.url()) {
            Transport::Http => Some(Session::enter(&self.address, &self.settings.credentials, allowed)?),
            Transport::Ssh | Transport::File => None,
        };
        let budget = Budget { allowed, web };
        let _lock = self.cache.lock(until)?;
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
        let mut remote =
            repository.remote_anonymous(self.address.url()).map_err(|error| self.failed(&error, &notes, budget))?;
        let connection = remote
            .connect_auth(Direction::Fetch, Some(self.callbacks(&notes, budget)), None)
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
        let depth = if Transport::of(self.address.url()) == Transport::File { WHOLE } else { depth };
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
        let mut remote =
            repository.remote_anonymous(self.address.url()).map_err(|error| self.failed(&error, &notes, budget))?;
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self.callbacks(&notes, budget))
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
        callbacks.credentials(credentials::callback(&self.address, &self.settings.credentials, Rc::clone(notes)));
        let shown = Rc::clone(notes);
        callbacks.certificate_check(move |certificate, _host| {
            let key = certificate.as_hostkey().and_then(|key| key.hash_sha256());
            shown.borrow_mut().fingerprint = key.map(fingerprint);
            // libgit2 decides, by the known hosts and the certificate authorities.
            Ok(CertificateCheckStatus::CertificatePassthrough)
        });
        let (until, most, progress) = (budget.allowed.until, budget.allowed.bytes, Rc::clone(notes));
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
        let broken = |error: git2::Error| tree::failed(&self.location(), &error);
        let object = repository.find_object(id, None).map_err(broken)?;
        // A tag of a tree is no broken clone.
        let end =
            if object.kind() == Some(ObjectType::Tag) { object.peel(ObjectType::Any).map_err(broken)? } else { object };
        if end.kind() != Some(ObjectType::Commit) {
            let reference = self.settings.reference.clone().unwrap_or_else(|| "HEAD".to_owned());
            return Err(Error::NoCommit { location: self.location(), reference });
        }
        Ok(end.id())
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
        if let Some(failure) = budget.web.as_ref().and_then(|web| web.failure()) {
            return failure;
        }
        let notes = notes.borrow();
        let location = self.location();
        if let Some(unreadable) = &notes.unreadable {
            return unreadable.clone();
        }
        if notes.too_large {
            return Error::TooLarge {
                location,
                what: format!("one fetch brings more than {} bytes", budget.allowed.bytes),
            };
        }
        if notes.late {
            return Error::Late { location, after: budget.allowed.within };
        }
        let why = redact(error.message().trim());
        if let Some(refusal) = &notes.refusal {
            return Error::Refused { location, why: refusal.clone() };
        }
        match (error.code(), &notes.fingerprint) {
            (ErrorCode::Certificate, Some(fingerprint)) => self.stranger(location, fingerprint),
            (ErrorCode::Certificate, None) => {
                Error::Untrusted { location, why, hint: "see what the host is".to_owned() }
            }
            (ErrorCode::Auth, _) => Error::Refused { location, why },
            // libssh2 has no code for these.
            _ if why.contains("private key") => Error::Credentials {
                from: self.settings.credentials.ssh_key.as_ref().map_or("the key".to_owned(), Secret::origin),
                why: "it is no private key, or its passphrase (repo-ssh-passphrase-file) is another".to_owned(),
            },
            _ if ["failed to authenticate", "Authentication"].iter().any(|word| why.contains(word)) => {
                Error::Refused { location, why }
            }
            _ => Error::Unreachable { location, why },
        }
    }

    /// A host whose ssh key we don't know.
    fn stranger(&self, location: String, fingerprint: &str) -> Error {
        let host = host(self.address.url()).unwrap_or_default();
        let port = port(self.address.url()).filter(|port| *port != 22);
        let name = port.map_or(host.clone(), |port| format!("[{host}]:{port}"));
        let given = self.settings.credentials.known_hosts.as_ref();
        let (file, setting) = given.map_or_else(
            || ("~/.ssh/known_hosts".to_owned(), String::new()),
            |path| (path.display().to_string(), " (repo-known-hosts-file)".to_owned()),
        );
        let known = given.and_then(|path| credentials::bounded(path).ok());
        let listed =
            known.is_some_and(|text| String::from_utf8_lossy(&text).lines().any(|line| names_host(line, &name)));
        let scan = port.map_or(host.clone(), |port| format!("-p {port} {host}"));
        if listed {
            let why = format!("its host key SHA256:{fingerprint} is not the one that {file} has for {name}");
            let hint = format!(
                "somebody may sit between, or its operator changed the key: compare the fingerprint with the one its                  operator publishes, then replace the line of {name} in {file}{setting} by that of `ssh-keyscan {scan}`"
            );
            return Error::Untrusted { location, why, hint };
        }
        Error::Untrusted {
            location,
            why: format!("its host key SHA256:{fingerprint} is not among the known hosts in {file}"),
            hint: format!(
                "compare the fingerprint with the one its operator publishes, then add the line of                  `ssh-keyscan {scan}` to {file}{setting}"
            ),
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

/// Whether a line of a known-hosts file is plainly about `name`; hashed names tell nothing.
fn names_host(line: &str, name: &str) -> bool {
    let hosts = line.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default();
    hosts.split(',').any(|host| host == name)
}
