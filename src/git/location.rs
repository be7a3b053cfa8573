//! Where a repository is, and how to say so without its credentials.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

use super::Error;

/// Where a repository is. `Display` shows it without credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// Behind a URL.
    Remote(Address),
    /// A folder of this machine, read in place.
    Local(PathBuf),
}

/// A URL, and apart from it the credentials that stood in it: what is handed on to a library or shown never holds them.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Without credentials; an ssh user is none, and stays.
    url: String,
    user: Option<Zeroizing<String>>,
    password: Option<Zeroizing<String>>,
}

/// How a remote is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Http,
    Ssh,
    File,
}

/// What others say is shown up to here, in characters.
const MAX_SHOWN: usize = 1_000;

/// `text` with the user part of every URL in it replaced, so that it can be shown: short, and without what a terminal
/// would obey, for a server may have written it.
#[must_use]
pub fn redact(text: &str) -> String {
    let text: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // A user part ends at the last '@' before the path: a password may hold one itself.
        let end = after.find(|c: char| matches!(c, '/' | '?' | '#' | '\'' | '"') || c.is_whitespace());
        let authority = &after[..end.unwrap_or(after.len())];
        match authority.rfind('@') {
            Some(user) => {
                out.push_str("***");
                rest = &after[user..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

// === impl Location ===

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Location { given: shown(text), why: why.to_owned() });
        let text = text.trim();
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.chars().any(char::is_control) {
            return refuse("it holds control characters");
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if rest.is_empty() {
                return refuse("nothing follows the scheme");
            }
            return match scheme.to_ascii_lowercase().as_str() {
                "https" | "http" if text.contains(['?', '#']) => {
                    refuse("a repository's URL has no query; a token belongs into repo-token-file")
                }
                "https" | "http" if host(text).is_none() => refuse("it names no host"),
                // As in `https://me:pass/word@host`: half of the password would be taken for a port, and shown.
                "https" | "http" if has_odd_port(text) => {
                    refuse("its port is no number; in a user or password, / is written %2F")
                }
                "https" | "http" | "ssh" | "git+ssh" | "ssh+git" | "file" => Ok(Self::Remote(Address::new(text))),
                "git" => refuse("git:// neither encrypts nor tells who answers"),
                _ => refuse("the scheme is unknown"),
            };
        }
        if scp_host(text).is_some() {
            Ok(Self::Remote(Address::new(text)))
        } else {
            Ok(Self::Local(PathBuf::from(text)))
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) => address.fmt(f),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl Location {
    /// The path where it is one.
    #[must_use]
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Remote(_) => None,
        }
    }
}

// === impl Address ===

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.user.is_none() && self.password.is_none() {
            return f.write_str(&self.url);
        }
        match self.url.split_once("://") {
            Some((scheme, rest)) => write!(f, "{scheme}://***@{rest}"),
            None => f.write_str(&self.url),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Address {
    fn new(text: &str) -> Self {
        let plain = Self { url: text.to_owned(), user: None, password: None };
        let transport = Transport::of(text);
        let Some((scheme, rest)) = text.split_once("://").filter(|_| transport != Transport::File) else {
            return plain;
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let Some((who, host)) = authority.rsplit_once('@') else { return plain };
        let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
        let password = password.filter(|password| !password.is_empty()).map(decoded);
        match transport {
            // The name may be the token itself.
            Transport::Http => Self {
                url: format!("{scheme}://{host}{path}"),
                user: (!user.is_empty()).then(|| decoded(user)),
                password,
            },
            _ => Self { url: format!("{scheme}://{user}@{host}{path}"), user: None, password },
        }
    }

    /// A proxy: `http://[USER:PASSWORD@]HOST[:PORT]`, or https.
    ///
    /// # Errors
    /// [`Error::Location`] when it is none.
    pub fn proxy(text: &str) -> Result<Self, Error> {
        match text.parse() {
            Ok(Location::Remote(address)) if Transport::of(&address.url) == Transport::Http => Ok(address),
            _ => Err(Error::Location {
                given: format!("the proxy {}", shown(text)),
                why: "a proxy is http://HOST:PORT or https://HOST:PORT".to_owned(),
            }),
        }
    }

    /// The URL, without credentials.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The user of an http URL.
    pub(super) fn user(&self) -> Option<&Zeroizing<String>> {
        self.user.as_ref()
    }

    /// The password of the URL.
    pub(super) fn password(&self) -> Option<&Zeroizing<String>> {
        self.password.as_ref()
    }
}

/// `%40` and the like as what they stand for; what stands for nothing stays.
fn decoded(text: &str) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
}

// === impl Transport ===

impl Transport {
    pub(super) fn of(url: &str) -> Self {
        match url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()) {
            Some(scheme) if scheme.starts_with("http") => Self::Http,
            Some(scheme) if scheme == "file" => Self::File,
            _ => Self::Ssh,
        }
    }
}

/// The host of a URL or of the short ssh form, lower case; none for `file://`.
pub(super) fn host(url: &str) -> Option<String> {
    let host = match url.split_once("://") {
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next()?;
            let host = authority.rsplit('@').next()?;
            match host.strip_prefix('[') {
                Some(six) => six.split(']').next()?,
                None => host.split(':').next()?,
            }
        }
        None => scp_host(url)?,
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn has_odd_port(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(']').map_or(host, |(_, behind)| behind).split_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err())
}

/// The port of an `ssh://` URL, where it names one.
pub(super) fn port(url: &str) -> Option<u16> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// `https://user:token@host/x?y` as `https://***@host/x`: what is refused may be anything, so all before the last `@` is
/// taken for credentials.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return redact(url) };
    let rest = match rest.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => rest.to_owned(),
    };
    redact(&format!("{scheme}://{}", rest.split(['?', '#']).next().unwrap_or_default()))
}

/// The host of `user@host:path` or `host:path`, as ssh's short form; none for a path.
fn scp_host(text: &str) -> Option<&str> {
    let (before, path) = text.split_once(':')?;
    // A single letter is a drive, and a slash before the colon makes it a path, as git itself decides.
    if before.contains('/') || before.len() < 2 || path.is_empty() {
        return None;
    }
    before.rsplit('@').next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_url_is_one_and_the_rest_is_a_path() {
        let remote = |text: &str| matches!(text.parse::<Location>(), Ok(Location::Remote(url)) if url.url() == text);
        let local =
            |text: &str| matches!(text.parse::<Location>(), Ok(Location::Local(path)) if path == Path::new(text));
        assert!(remote("https://example.com/a.git"));
        assert!(remote("ssh://git@example.com:2222/a.git"));
        assert!(remote("git@example.com:a/b.git"));
        assert!(remote("file:///srv/a.git"));
        assert!(local("."));
        assert!(local("./a:b"));
        assert!(local("/srv/x"));
        assert!(local("C:\\x"));
        assert!("git://example.com/x".parse::<Location>().is_err());
        assert!("ftp://example.com/x".parse::<Location>().is_err());
        assert!("".parse::<Location>().is_err());
    }

    #[test]
    fn no_credential_is_shown() {
        let location: Location = "https://me:s3cr@t@example.com/a.git".parse().unwrap();
        assert_eq!(location.to_string(), "https://***@example.com/a.git");
        assert!(!format!("{location:?}").contains("s3cr"));
        let text = redact("failed at 'http://u:p@proxy:3128' and https://tok@h/x, see http://ok/");
        assert_eq!(text, "failed at 'http://***@proxy:3128' and https://***@h/x, see http://ok/");
        for refused in [
            "svn://u:hidden@h/x",
            "https://h/x?private_token=hidden",
            "https://u:hidden@/x",
            "https://u:hidden/hidden@h/x",
        ] {
            let error = refused.parse::<Location>().unwrap_err();
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let error = Address::proxy("socks5://u:hidden@h:1").unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }

    #[test]
    fn credentials_of_a_url_are_kept_apart() {
        let parts = |text: &str| match text.parse() {
            Ok(Location::Remote(address)) => {
                let text = |part: Option<&Zeroizing<String>>| part.map(|part| part.to_string());
                (address.url().to_owned(), text(address.user()), text(address.password()))
            }
            other => panic!("{other:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("https://me:a%40b%2@h/x"), ("https://h/x".into(), some("me"), some("a@b%2")));
        assert_eq!(parts("https://tok@h:1/x"), ("https://h:1/x".into(), some("tok"), None));
        assert_eq!(parts("ssh://git:pw@h:22/x"), ("ssh://git@h:22/x".into(), None, some("pw")));
        assert_eq!(parts("git@h:a/b"), ("git@h:a/b".into(), None, None));
        assert_eq!(parts("https://h/a@b"), ("https://h/a@b".into(), None, None));
    }

    #[test]
    fn hosts_and_ports_are_found() {
        assert_eq!(host("ssh://git@Example.com:2222/a").as_deref(), Some("example.com"));
        assert_eq!(host("git@example.com:a/b").as_deref(), Some("example.com"));
        assert_eq!(host("https://u:p@[::1]:80/x").as_deref(), Some("::1"));
        assert_eq!(host("file:///x"), None);
        assert_eq!(port("ssh://git@example.com:2222/a"), Some(2222));
        assert_eq!(port("ssh://example.com/a"), None);
    }
}
