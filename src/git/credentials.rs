//! How we identify ourselves to a server: read when needed, so that a rotated secret needs no restart.

use std::cell::RefCell;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use git2::{Cred, CredentialType};
use zeroize::Zeroizing;

use super::Error;
use super::location::Address;

/// The largest file that holds a secret, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How we identify ourselves, and whom we trust. `Debug` shows where from, never what.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// User name; none: the URL's, else `x-access-token` for https (which every large forge takes) and `git` for ssh.
    pub username: Option<Secret>,
    /// Token or password for https.
    pub token: Option<Secret>,
    /// Private key for ssh; none: the agent, where there is one.
    pub ssh_key: Option<Secret>,
    /// What the key is locked with.
    pub ssh_passphrase: Option<Secret>,
    /// Hosts whose ssh keys are trusted; none: `~/.ssh/known_hosts`. A host that is in neither is refused.
    pub known_hosts: Option<PathBuf>,
    /// Authorities that are trusted for https, as PEM; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate for https, with what leads to its authority, as PEM.
    pub client_cert_file: Option<PathBuf>,
    /// Its private key.
    pub client_key_file: Option<PathBuf>,
    /// Proxy for http and https; none: the environment's.
    pub proxy: Option<Address>,
}

/// A secret, or the file that holds it.
#[derive(Clone)]
pub enum Secret {
    /// Read anew each time.
    File(PathBuf),
    /// Given by the environment.
    Value(Zeroizing<String>),
}

/// Size and time of a file; none where it isn't.
pub(super) type Stamp = Option<(u64, SystemTime)>;

/// What happened while libgit2 asked us: it can only hand back a number.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Why we gave no credential.
    pub(super) refusal: Option<String>,
    /// A credential file that can't be read.
    pub(super) unreadable: Option<Error>,
    /// SHA-256 of the ssh host key that was shown to us.
    pub(super) fingerprint: Option<String>,
    /// The deadline passed.
    pub(super) late: bool,
    /// Too much was sent.
    pub(super) too_large: bool,
}

// === impl Credentials ===

impl Credentials {
    /// Size and time of every file that is read: what is renewed shows in it.
    pub(super) fn stamp(&self) -> Vec<Stamp> {
        let secrets = [&self.username, &self.token, &self.ssh_key, &self.ssh_passphrase].into_iter().flatten();
        let secrets = secrets.filter_map(|secret| match secret {
            Secret::File(path) => Some(path),
            Secret::Value(_) => None,
        });
        let others = [&self.known_hosts, &self.ca_file, &self.client_cert_file, &self.client_key_file];
        let stamp = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.len(), meta.modified().ok()?))
        };
        secrets.chain(others.into_iter().flatten()).map(stamp).collect()
    }
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "Secret({})", path.display()),
            Self::Value(_) => f.write_str("Secret(***)"),
        }
    }
}

impl Secret {
    /// A secret that is given as it is.
    #[must_use]
    pub fn value(value: String) -> Self {
        Self::Value(Zeroizing::new(value))
    }

    /// Where it comes from.
    pub(super) fn origin(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Value(_) => "the value in the settings".to_owned(),
        }
    }

    /// The secret now, without the white space around it that editors leave.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let unreadable = |why: String| Error::Credentials { from: path.display().to_string(), why };
                let bytes = bounded(path).map_err(|error| unreadable(error.to_string()))?;
                let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("it is not text".to_owned()))?;
                if text.trim().is_empty() {
                    return Err(unreadable("it is empty".to_owned()));
                }
                Ok(Zeroizing::new(text.trim().to_owned()))
            }
        }
    }
}

/// The bytes of a small file.
pub(super) fn bounded(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it has more than 1 MiB"));
    }
    Ok(bytes)
}

/// libgit2's credential callback, for ssh. libgit2 asks again and again while the server says no, so each kind is
/// offered once.
pub(super) fn callback<'a>(
    address: &'a Address,
    credentials: &'a Credentials,
    notes: Rc<RefCell<Notes>>,
) -> impl FnMut(&str, Option<&str>, CredentialType) -> Result<Cred, git2::Error> + 'a {
    let mut offered = CredentialType::empty();
    move |_asking, user_of_url, allowed| {
        let no = |why: &str| {
            notes.borrow_mut().refusal.get_or_insert_with(|| why.to_owned());
            Err(git2::Error::new(git2::ErrorCode::Auth, git2::ErrorClass::Callback, "no credential"))
        };
        let unreadable = |error| {
            notes.borrow_mut().unreadable = Some(error);
            no("a credential can't be read")
        };
        let fresh = allowed - offered;
        let user = match credentials.username.as_ref().map(Secret::read).transpose() {
            Ok(named) => named.map_or_else(|| user_of_url.unwrap_or("git").to_owned(), |named| named.to_string()),
            Err(error) => return unreadable(error),
        };
        if fresh.contains(CredentialType::USERNAME) {
            offered |= CredentialType::USERNAME;
            return Cred::username(&user);
        }
        // What the address holds is offered to its host only; a token for https is no password for ssh.
        if let Some(password) = address.password().filter(|_| fresh.contains(CredentialType::USER_PASS_PLAINTEXT)) {
            offered |= CredentialType::USER_PASS_PLAINTEXT;
            return Cred::userpass_plaintext(&user, password);
        }
        if fresh.contains(CredentialType::SSH_KEY) {
            offered |= CredentialType::SSH_KEY;
            let Some(key) = &credentials.ssh_key else {
                // libgit2 asks the agent later, and then tells nothing of one that isn't there.
                if std::env::var_os("SSH_AUTH_SOCK").is_none() {
                    return no("there is no key: repo-ssh-key-file is not set and no agent runs");
                }
                return Cred::ssh_key_from_agent(&user);
            };
            let secrets = key.read().and_then(|key| {
                let passphrase = credentials.ssh_passphrase.as_ref().map(Secret::read).transpose()?;
                Ok((key, passphrase))
            });
            return match secrets {
                // The last line of a key needs its end of line.
                Ok((key, passphrase)) => Cred::ssh_key_from_memory(
                    &user,
                    None,
                    &Zeroizing::new(format!("{}\n", key.as_str())),
                    passphrase.as_ref().map(|p| p.as_str()),
                ),
                Err(error) => unreadable(error),
            };
        }
        if offered.contains(CredentialType::SSH_KEY) {
            return no(&format!("it does not accept the key that is given, for user {user}"));
        }
        no(if offered.contains(CredentialType::USER_PASS_PLAINTEXT) {
            "it does not accept the password in its address"
        } else {
            "it takes no kind of credential that we have"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Location;

    fn ask(credentials: &Credentials, kinds: &[CredentialType]) -> (Vec<bool>, Notes) {
        let Ok(Location::Remote(address)) = "ssh://git@example.com/x".parse() else { panic!("a URL") };
        let notes = Rc::new(RefCell::new(Notes::default()));
        let mut callback = callback(&address, credentials, Rc::clone(&notes));
        let answers = kinds.iter().map(|kind| callback("", Some("git"), *kind).is_ok()).collect();
        drop(callback);
        (answers, Rc::try_unwrap(notes).unwrap().into_inner())
    }

    #[test]
    fn a_refused_key_is_offered_once() {
        let credentials = Credentials { ssh_key: Some(Secret::value("s3cret".into())), ..Credentials::default() };
        let kind = CredentialType::SSH_KEY;
        let (answers, notes) = ask(&credentials, &[kind, kind, kind]);
        assert_eq!(answers, [true, false, false]);
        assert!(notes.refusal.unwrap().contains("does not accept the key"));
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_for_https_is_no_password_for_ssh() {
        let credentials = Credentials { token: Some(Secret::value("s3cret".into())), ..Credentials::default() };
        let (answers, notes) = ask(&credentials, &[CredentialType::USER_PASS_PLAINTEXT]);
        assert_eq!(answers, [false]);
        assert!(notes.refusal.is_some());
    }

    #[test]
    fn a_key_file_is_read_each_time_and_its_absence_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let credentials = Credentials { ssh_key: Some(Secret::File(path.clone())), ..Credentials::default() };
        let (answers, notes) = ask(&credentials, &[CredentialType::SSH_KEY]);
        assert_eq!(answers, [false]);
        assert_eq!(notes.unreadable.unwrap().code(), "GIT-CREDENTIALS");
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(ask(&credentials, &[CredentialType::SSH_KEY]).0, [true]);
        assert_eq!(Secret::File(path).read().unwrap().as_str(), "one");
    }
}
