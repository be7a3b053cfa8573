//! How we identify ourselves to a server: read when needed, so that a rotated secret needs no restart.

use std::cell::RefCell;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use git2::{Cred, CredentialType};
use zeroize::Zeroizing;

use super::Error;
use super::location::{Transport, has_password, host};

/// The largest file that holds a secret, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How we identify ourselves. `Debug` shows where from, never what.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// User name; none: the URL's, else `x-access-token` for https (which every large forge takes) and `git` for ssh.
    pub username: Option<String>,
    /// Token or password for https.
    pub token: Option<Secret>,
    /// Private key for ssh; none: the agent, where there is one.
    pub ssh_key: Option<Secret>,
    /// What the key is locked with.
    pub ssh_passphrase: Option<Secret>,
    /// Hosts whose keys are trusted; none: `~/.ssh/known_hosts`. A host that is in neither is refused.
    pub known_hosts: Option<PathBuf>,
}

/// A secret, or the file that holds it.
#[derive(Clone)]
pub enum Secret {
    /// Read anew each time.
    File(PathBuf),
    /// Given by the environment.
    Value(Zeroizing<String>),
}

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

    /// The secret now, without the white space around it that editors leave.
    fn read(&self) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let unreadable = |why: String| Error::Credentials { path: path.clone(), why };
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

/// libgit2's credential callback for `url`. libgit2 asks again and again while the server says no, so each kind is
/// offered once.
pub(super) fn callback<'a>(
    url: &'a str,
    credentials: &'a Credentials,
    notes: Rc<RefCell<Notes>>,
) -> impl FnMut(&str, Option<&str>, CredentialType) -> Result<Cred, git2::Error> + 'a {
    let mut offered = CredentialType::empty();
    move |asking, user_of_url, allowed| {
        let no = |why: &str| {
            notes.borrow_mut().refusal.get_or_insert_with(|| why.to_owned());
            Err(git2::Error::new(git2::ErrorCode::Auth, git2::ErrorClass::Callback, "no credential"))
        };
        // A redirect must not carry our secret to another host.
        if Transport::of(url) == Transport::Http && host(asking) != host(url) {
            return no("it redirects to another host, which gets no credentials of ours");
        }
        let fresh = allowed - offered;
        let user = credentials.username.as_deref().or(user_of_url);
        if fresh.contains(CredentialType::SSH_KEY) {
            offered |= CredentialType::SSH_KEY;
            let user = user.unwrap_or("git");
            let Some(key) = &credentials.ssh_key else {
                // libgit2 asks the agent later, and then tells nothing of one that isn't there.
                if std::env::var_os("SSH_AUTH_SOCK").is_none() {
                    return no("there is no key: repo-ssh-key-file is not set and no agent runs");
                }
                return Cred::ssh_key_from_agent(user);
            };
            let secrets = key.read().and_then(|key| {
                let passphrase = credentials.ssh_passphrase.as_ref().map(Secret::read).transpose()?;
                Ok((key, passphrase))
            });
            return match secrets {
                // The last line of a key needs its end of line.
                Ok((key, passphrase)) => Cred::ssh_key_from_memory(
                    user,
                    None,
                    &Zeroizing::new(format!("{}\n", key.as_str())),
                    passphrase.as_ref().map(|p| p.as_str()),
                ),
                Err(error) => {
                    notes.borrow_mut().unreadable = Some(error);
                    no("the key can't be read")
                }
            };
        }
        if fresh.contains(CredentialType::USERNAME) {
            offered |= CredentialType::USERNAME;
            return Cred::username(user.unwrap_or("git"));
        }
        if fresh.contains(CredentialType::USER_PASS_PLAINTEXT) {
            offered |= CredentialType::USER_PASS_PLAINTEXT;
            let Some(token) = &credentials.token else {
                return no(if has_password(url) {
                    "it does not accept the credentials in its address"
                } else {
                    "it asks for credentials and none are given"
                });
            };
            return match token.read() {
                Ok(token) => Cred::userpass_plaintext(user.unwrap_or("x-access-token"), &token),
                Err(error) => {
                    notes.borrow_mut().unreadable = Some(error);
                    no("the token can't be read")
                }
            };
        }
        no(if offered.is_empty() {
            "it takes no kind of credential that we have"
        } else {
            "it does not accept the credentials that are given"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(credentials: &Credentials, url: &str, kinds: &[CredentialType]) -> (Vec<bool>, Notes) {
        let notes = Rc::new(RefCell::new(Notes::default()));
        let mut callback = callback("https://example.com/x", credentials, Rc::clone(&notes));
        let answers = kinds.iter().map(|kind| callback(url, None, *kind).is_ok()).collect();
        drop(callback);
        (answers, Rc::try_unwrap(notes).unwrap().into_inner())
    }

    #[test]
    fn a_refused_token_is_offered_once() {
        let credentials = Credentials { token: Some(Secret::value("s3cret".into())), ..Credentials::default() };
        let kind = CredentialType::USER_PASS_PLAINTEXT;
        let (answers, notes) = ask(&credentials, "https://example.com/x", &[kind, kind, kind]);
        assert_eq!(answers, [true, false, false]);
        assert!(notes.refusal.unwrap().contains("does not accept"));
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }

    #[test]
    fn a_redirect_to_another_host_gets_nothing() {
        let credentials = Credentials { token: Some(Secret::value("s3cret".into())), ..Credentials::default() };
        let (answers, notes) = ask(&credentials, "https://evil.test/x", &[CredentialType::USER_PASS_PLAINTEXT]);
        assert_eq!(answers, [false]);
        assert!(notes.refusal.unwrap().contains("redirects"));
    }

    #[test]
    fn a_token_file_is_read_each_time_and_its_absence_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let credentials = Credentials { token: Some(Secret::File(path.clone())), ..Credentials::default() };
        let kind = [CredentialType::USER_PASS_PLAINTEXT];
        let (answers, notes) = ask(&credentials, "https://example.com/x", &kind);
        assert_eq!(answers, [false]);
        assert_eq!(notes.unreadable.unwrap().code(), "GIT-CREDENTIALS");
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(ask(&credentials, "https://example.com/x", &kind).0, [true]);
        assert_eq!(Secret::File(path).read().unwrap().as_str(), "one");
    }
}
