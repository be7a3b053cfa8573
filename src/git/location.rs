//! Where a repository is, and how to say so without its credentials.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Error;

/// Where a repository is. `Display` shows it without credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// Behind a URL; kept as given, credentials included.
    Remote(String),
    /// A folder of this machine, read in place.
    Local(PathBuf),
}

/// How a remote is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Http,
    Ssh,
    File,
}

/// `text` with the user part of every URL in it replaced, so that it can be shown.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
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
                "https" | "http" | "ssh" | "git+ssh" | "ssh+git" | "file" => Ok(Self::Remote(text.to_owned())),
                "git" => refuse("git:// neither encrypts nor tells who answers"),
                _ => refuse("the scheme is unknown"),
            };
        }
        if scp_host(text).is_some() { Ok(Self::Remote(text.to_owned())) } else { Ok(Self::Local(PathBuf::from(text))) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(url) => f.write_str(&shown(url)),
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

/// The URL brings credentials of its own.
pub(super) fn has_password(url: &str) -> bool {
    url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()).is_some_and(|a| a.contains('@'))
}

/// The port of an `ssh://` URL, where it names one.
pub(super) fn port(url: &str) -> Option<u16> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// `https://user:token@host/x` as `https://***@host/x`; the user of ssh is no secret and stays.
fn shown(url: &str) -> String {
    if Transport::of(url) == Transport::Ssh && !url.split('@').next().unwrap_or_default().contains("://") {
        return url.to_owned();
    }
    redact(url)
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
        let remote = |text: &str| matches!(text.parse::<Location>(), Ok(Location::Remote(url)) if url == text);
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
        let error = "svn://u:hidden@h/x".parse::<Location>().unwrap_err();
        assert!(!error.to_string().contains("hidden"));
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
