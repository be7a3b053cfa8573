//! Git over http and https: libgit2 speaks Git, this carries what it says.
//!
//! libgit2's own transport can't present a client certificate, keeps its authorities in a process-wide variable to which
//! one can only add, and bounds silence but not time. So its place is taken by one over reqwest and rustls, made anew for
//! each look from the files as they are then.
//!
//! Laws: nothing goes to another host than the one of the settings, and no text quotes a credential (law 9); a look ends
//! at its deadline, whatever the server does, and takes so many bytes and no more, references included (law 10).

use std::cell::RefCell;
use std::error::Error as StdError;
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use zeroize::Zeroizing;

use super::location::{Address, redact};
use super::tls::{self, Trouble};
use super::{Credentials, Error};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How often one look is sent elsewhere.
const REDIRECTS: usize = 5;
/// What libgit2 may want to say in one request, in bytes.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// Servers tell clients of Git from browsers by this.
const AGENT: &str = concat!("git/2 (mirrorkeeper ", env!("CARGO_PKG_VERSION"), ")");

thread_local! {
    /// libgit2 makes a transport of a URL alone; this is the look that it belongs to. A look stays on its thread.
    static CURRENT: RefCell<Option<Arc<Session>>> = const { RefCell::new(None) };
}

/// What one look may use up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub(super) until: Instant,
    pub(super) within: Duration,
    pub(super) bytes: usize,
}

/// One look's way to its server.
pub(super) struct Session {
    client: Client,
    runtime: tokio::runtime::Handle,
    /// The URL; elsewhere after a redirect.
    base: Mutex<Url>,
    authorization: Option<HeaderValue>,
    credentials: Credentials,
    proxied: Option<String>,
    location: String,
    allowed: Allowed,
    received: AtomicUsize,
    /// What libgit2 can't hand through: it knows numbers and texts only.
    failure: Mutex<Option<Error>>,
}

/// A [`Session`] that this thread's transports use, until it is dropped.
pub(super) struct Entered(Arc<Session>);

struct Subtransport(Arc<Session>);

/// One request and its response.
struct Exchange {
    session: Arc<Session>,
    /// What is asked; none: the list of references.
    request: Option<Vec<u8>>,
    response: Option<Response>,
    rest: Bytes,
}

/// libgit2's transport for `http` and `https`.
pub(super) fn transport(remote: &git2::Remote<'_>) -> Result<Transport, git2::Error> {
    let session = CURRENT.with_borrow(Clone::clone).ok_or_else(|| git2::Error::from_str("no look is under way"))?;
    Transport::smart(remote, true, Subtransport(session))
}

// === impl Session ===

impl Session {
    /// Ready to speak to `address`. Nothing is sent yet, and every file is read now.
    pub(super) fn enter(address: &Address, credentials: &Credentials, allowed: Allowed) -> Result<Entered, Error> {
        let location = address.to_string();
        let wrong = |why: String| Error::Location { given: location.clone(), why };
        let base = Url::parse(address.url()).map_err(|error| wrong(error.to_string()))?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| wrong(error.to_string()))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::config(credentials)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(AGENT);
        // Without one, reqwest takes HTTPS_PROXY, ALL_PROXY and NO_PROXY, as every other tool does.
        if let Some(address) = &credentials.proxy {
            let unusable = |_| wrong(format!("the proxy {address} can't be used"));
            let mut proxy = reqwest::Proxy::all(address.url()).map_err(unusable)?;
            if let Some(user) = address.user() {
                proxy = proxy.basic_auth(user, address.password().map_or("", |password| password));
            }
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| wrong(innermost(&error)))?;
        let session = Self {
            client,
            runtime,
            base: Mutex::new(base),
            authorization: authorization(address, credentials)?,
            credentials: credentials.clone(),
            proxied: credentials.proxy.as_ref().map(ToString::to_string),
            location,
            allowed,
            received: AtomicUsize::new(0),
            failure: Mutex::new(None),
        };
        let session = Arc::new(session);
        CURRENT.set(Some(Arc::clone(&session)));
        Ok(Entered(session))
    }

    /// Why the last call to libgit2 failed, if it failed here.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn base(&self) -> Url {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The list of references, from where the server says that it is.
    fn discover(&self) -> Result<Response, Error> {
        let mut base = self.base();
        for _ in 0..=REDIRECTS {
            let mut url = below(&base, "info/refs");
            url.set_query(Some("service=git-upload-pack"));
            let response = self.wait(self.request(Method::GET, url).send())?;
            if !response.status().is_redirection() {
                self.check(&response, "application/x-git-upload-pack-advertisement")?;
                *self.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
                return Ok(response);
            }
            base = self.moved(&base, &response)?;
        }
        Err(self.unreachable("it redirects again and again".to_owned()))
    }

    fn ask(&self, body: Vec<u8>) -> Result<Response, Error> {
        let request = self.request(Method::POST, below(&self.base(), "git-upload-pack"));
        let request = request
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(ACCEPT, "application/x-git-upload-pack-result")
            .body(body);
        let response = self.wait(request.send())?;
        self.check(&response, "application/x-git-upload-pack-result")?;
        Ok(response)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// The new place of the repository. Who has credentials for one host shows them to no other.
    fn moved(&self, base: &Url, response: &Response) -> Result<Url, Error> {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let Some(mut to) = to.and_then(|to| response.url().join(to).ok()) else {
            return Err(self.unreachable("it redirects to nowhere".to_owned()));
        };
        // Path and query of a login page hold what is nobody's business.
        let shown = format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default());
        let Some(path) = to.path().strip_suffix("/info/refs").map(str::to_owned) else {
            return Err(self.refused(format!("it sends us to {shown}, where no repository is")));
        };
        let same_host = to.host_str() == base.host_str();
        let same = same_host && to.scheme() == base.scheme() && to.port() == base.port();
        let safer = same_host && base.scheme() == "http" && to.scheme() == "https";
        let ours = self.authorization.is_some() || self.credentials.client_cert_file.is_some();
        if to.scheme() != "https" && !same {
            return Err(self.refused(format!("it redirects to {shown}, which is not encrypted")));
        }
        if ours && !same && !safer {
            return Err(self.refused(format!("it redirects to {shown}, and another host gets no credentials of ours")));
        }
        to.set_path(&path);
        to.set_query(None);
        to.set_fragment(None);
        // Credentials that a server puts there are none of ours.
        let plain = to.set_username("").and_then(|()| to.set_password(None));
        plain.map_err(|()| self.unreachable("it redirects to nowhere".to_owned()))?;
        Ok(to)
    }

    fn check(&self, response: &Response, wanted: &str) -> Result<(), Error> {
        let status = response.status();
        if status.is_success() {
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind: String = kind.split(';').next().unwrap_or_default().trim().chars().take(60).collect();
            if kind == wanted {
                return Ok(());
            }
            return Err(self.unreachable(format!("it answers, and not as a Git server does (content type \"{kind}\")")));
        }
        let given = self.authorization.is_some();
        Err(match status {
            StatusCode::UNAUTHORIZED if given => {
                self.refused("it does not accept the credentials that are given (401)".to_owned())
            }
            StatusCode::UNAUTHORIZED => self.refused("it asks for credentials and none are given (401)".to_owned()),
            StatusCode::FORBIDDEN if given => {
                self.refused("who the credentials stand for may not read it (403)".to_owned())
            }
            StatusCode::FORBIDDEN => self.refused("it may not be read without credentials (403)".to_owned()),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => self.proxy("it wants credentials, or others (407)".to_owned()),
            status => self.unreachable(format!("it answers {status}")),
        })
    }

    /// Waits until the deadline of the look, and no longer.
    fn wait<T>(&self, doing: impl Future<Output = reqwest::Result<T>>) -> Result<T, Error> {
        let until = tokio::time::Instant::from_std(self.allowed.until);
        match self.runtime.block_on(async { tokio::time::timeout_at(until, doing).await }) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(Error::Late { location: self.location.clone(), after: self.allowed.within }),
        }
    }

    fn explain(&self, error: &reqwest::Error) -> Error {
        let location = self.location.clone();
        if let Some(found) = find_tls(error) {
            let has_certificate = self.credentials.client_cert_file.is_some();
            return match tls::explain(found, self.credentials.ca_file.as_ref(), has_certificate) {
                Trouble::Untrusted { why, hint } => Error::Untrusted { location, why, hint },
                Trouble::Refused { why } => self.refused(why),
                Trouble::Other(why) => self.unreachable(why),
            };
        }
        let why = innermost(error);
        if texts(error).iter().any(|text| text.contains("tunnel") || text.contains("proxy")) {
            return self.proxy(why);
        }
        if error.is_timeout() {
            return self.unreachable("it does not answer in time".to_owned());
        }
        self.unreachable(why)
    }

    fn count(&self, bytes: usize) -> Result<(), Error> {
        let received = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if received > self.allowed.bytes {
            let what = format!("one look brings more than {} bytes", self.allowed.bytes);
            return Err(Error::TooLarge { location: self.location.clone(), what });
        }
        Ok(())
    }

    fn refused(&self, why: String) -> Error {
        Error::Refused { location: self.location.clone(), why }
    }

    fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { location: self.location.clone(), why }
    }

    fn proxy(&self, why: String) -> Error {
        let proxy = self.proxied.clone().unwrap_or_else(|| "the environment's proxy".to_owned());
        Error::Proxy { location: self.location.clone(), proxy, why }
    }

    /// Keeps the first reason, and gives libgit2 something to end with.
    fn failed(&self, error: Error) -> io::Error {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        io::Error::other("the exchange with the server failed")
    }
}

// === impl Entered ===

impl Deref for Entered {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

// === impl Subtransport ===

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let request = match service {
            Service::UploadPackLs => None,
            Service::UploadPack => Some(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(git2::Error::from_str("nothing is ever pushed"));
            }
        };
        let session = Arc::clone(&self.0);
        Ok(Box::new(Exchange { session, request, response: None, rest: Bytes::new() }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

// === impl Exchange ===

impl Exchange {
    /// The next piece of the answer; empty at its end.
    fn next(&mut self) -> Result<Bytes, Error> {
        let response = match &mut self.response {
            Some(response) => response,
            None => self.response.insert(match self.request.take() {
                None => self.session.discover()?,
                Some(body) => self.session.ask(body)?,
            }),
        };
        let piece = self.session.wait(response.chunk())?.unwrap_or_default();
        self.session.count(piece.len())?;
        Ok(piece)
    }
}

impl Read for Exchange {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.next().map_err(|error| self.session.failed(error))?;
        }
        let taken = self.rest.split_to(into.len().min(self.rest.len()));
        into[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

impl Write for Exchange {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match &mut self.request {
            Some(request) if request.len() + data.len() <= MAX_REQUEST => {
                request.extend_from_slice(data);
                Ok(data.len())
            }
            _ => Err(io::Error::other("more is said than one request may hold")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `base`/`path`, whatever `base` ends with.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// What is said to the server at once: waiting for it to ask would double every look's round trips.
fn authorization(address: &Address, credentials: &Credentials) -> Result<Option<HeaderValue>, Error> {
    let user = credentials.username.as_ref().map(super::Secret::read).transpose()?.or_else(|| address.user().cloned());
    let token = credentials.token.as_ref().map(super::Secret::read).transpose()?;
    let token = token.or_else(|| address.password().cloned());
    let (user, password) = match (user, token) {
        (None, None) => return Ok(None),
        (Some(user), Some(token)) => (user, token),
        // Every large forge takes this one with a token.
        (None, Some(token)) => (Zeroizing::new("x-access-token".to_owned()), token),
        (Some(user), None) => (user, Zeroizing::new(String::new())),
    };
    let plain = Zeroizing::new(format!("{}:{}", user.as_str(), password.as_str()));
    let coded = Zeroizing::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain.as_bytes())));
    // Base64 is always a legal header.
    Ok(HeaderValue::from_str(&coded).ok().map(|mut value| {
        value.set_sensitive(true);
        value
    }))
}

/// The TLS error in a chain. An `io::Error` hides what it wraps from `source`.
fn find_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.and_then(|inner| find_tls(inner)).or_else(|| error.source().and_then(find_tls))
}

/// What the links of a chain say, but for the first, which names the URL.
fn texts(error: &reqwest::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(link) = next {
        texts.push(redact(&link.to_string()));
        next = link.source();
    }
    texts
}

fn innermost(error: &reqwest::Error) -> String {
    texts(error)
        .pop()
        .unwrap_or_else(|| if error.is_timeout() { "it does not answer in time" } else { "no answer" }.to_owned())
}
