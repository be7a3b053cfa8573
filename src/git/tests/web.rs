//! A Git server over http and https, as small as it can be: `git upload-pack` behind rustls, a script of how to
//! misbehave, and a proxy in front of it.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
pub(super) use rcgen::{BasicConstraints, IsCa, KeyPair};
use rcgen::{CertificateParams, CertifiedIssuer};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::supervise::{self, Task};

/// An authority of its own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(super) struct Identity {
    pub(super) cert: rcgen::Certificate,
    pub(super) key: KeyPair,
}

/// What the server does.
#[derive(Clone)]
pub(super) enum Answer {
    /// What a Git server does.
    Git,
    /// Nothing, for ever.
    Silence,
    /// References, one at a time and without end.
    Drip,
    /// References as fast as they are taken, without end.
    Flood,
    /// This status, type and further head lines.
    Status(&'static str, &'static str, String),
}

/// How the server is set up now.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) tls: Option<TlsAcceptor>,
    /// The only credentials that are accepted; none: everybody is.
    pub(super) basic: Option<String>,
    pub(super) answer: Answer,
}

/// A running server.
pub(super) struct Web {
    pub(super) port: u16,
    pub(super) script: Arc<Mutex<Script>>,
    /// `METHOD PATH` of every request.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    _task: Task<()>,
}

/// A proxy that answers CONNECT, for one user, by connecting to one port.
pub(super) struct Proxy {
    pub(super) port: u16,
    /// What it was asked to connect to.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    _task: Task<()>,
}

// === impl Authority ===

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn issue(&self, host: &str) -> Identity {
        self.issue_with(host, |_| ())
    }

    pub(super) fn issue_with(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity { cert, key }
    }
}

// === impl Identity ===

impl Identity {
    /// As a server's; `clients`: who signs those that may come.
    pub(super) fn acceptor(&self, clients: Option<&Authority>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![self.cert.der().clone()], key).unwrap()))
    }
}

// === impl Web ===

impl Web {
    /// Serves the repositories in `root`.
    pub(super) async fn start(root: &Path, tls: Option<TlsAcceptor>, basic: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Script { tls, basic: basic.map(str::to_owned), answer: Answer::Git };
        let (script, asked) = (Arc::new(Mutex::new(script)), Arc::new(Mutex::new(Vec::new())));
        let (root, scripted, noted) = (root.to_owned(), Arc::clone(&script), Arc::clone(&asked));
        let serve = async move {
            let mut connections = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let now = scripted.lock().unwrap().clone();
                let (root, noted) = (root.clone(), Arc::clone(&noted));
                connections.push(supervise::spawn("connection", async move {
                    match now.tls.clone() {
                        None => answer(stream, &now, &root, &noted).await,
                        Some(tls) => {
                            if matches!(now.answer, Answer::Silence) {
                                std::future::pending::<()>().await;
                            }
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, &now, &root, &noted).await;
                            }
                        }
                    }
                }));
            }
        };
        Self { port, script, asked, _task: supervise::spawn("web", serve) }
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// How many requests of that kind came.
    pub(super) fn count(&self, method: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.starts_with(method)).count()
    }
}

/// One request, one answer.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    root: &Path,
    noted: &Mutex<Vec<String>>,
) {
    let Some((head, body)) = request(&mut stream).await else { return };
    let line = head.lines().next().unwrap_or_default().to_owned();
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    noted.lock().unwrap().push(format!("{method} {path}"));
    let authorized = header(&head, "authorization");
    let wanted =
        script.basic.as_ref().map(|basic| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic)));
    let (status, kind, more, content) = match &script.answer {
        _ if wanted.is_some() && wanted != authorized => {
            ("401 Unauthorized", "text/plain", "WWW-Authenticate: Basic realm=\"x\"\r\n".to_owned(), b"no".to_vec())
        }
        Answer::Silence => return std::future::pending().await,
        Answer::Drip | Answer::Flood => return drip(stream, matches!(script.answer, Answer::Flood)).await,
        Answer::Status(status, kind, more) => (*status, *kind, more.clone(), b"<html>hello</html>".to_vec()),
        Answer::Git => git(method, path, &body, root).await,
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n",
        content.len()
    );
    // A client that has heard enough may be gone.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&content).await;
    let _ = stream.shutdown().await;
}

async fn drip(mut stream: impl AsyncRead + AsyncWrite + Unpin, fast: bool) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n";
    let _ = stream.write_all(format!("{head}001e# service=git-upload-pack\n0000").as_bytes()).await;
    let mut n = 0_u64;
    loop {
        let line = format!("{n:040x} refs/heads/{n:020}\n");
        let line = if n == 0 { format!("{}\0shallow\n", line.trim_end()) } else { line };
        let sent = stream.write_all(format!("{:04x}{line}", line.len() + 4).as_bytes()).await;
        if sent.is_err() || stream.flush().await.is_err() {
            return;
        }
        n += 1;
        if !fast {
            // The pace is what is tested.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn git(method: &str, path: &str, body: &[u8], root: &Path) -> (&'static str, &'static str, String, Vec<u8>) {
    let at = |suffix: &str| path.strip_suffix(suffix).map(|path| root.join(path.trim_start_matches('/')));
    let found = match method {
        "GET" => at("/info/refs?service=git-upload-pack").map(|at| (at, true)),
        _ => at("/git-upload-pack").map(|at| (at, false)),
    };
    let Some((repository, list)) = found.filter(|(at, _)| at.exists()) else {
        return ("404 Not Found", "text/plain", String::new(), Vec::new());
    };
    let mut command = tokio::process::Command::new("git");
    command.args(["upload-pack", "--stateless-rpc"]).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", root);
    if list {
        command.arg("--advertise-refs");
    }
    let child = command.arg(repository).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("git can be run");
    child.stdin.take().unwrap().write_all(body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    if list {
        let content = [b"001e# service=git-upload-pack\n0000".as_slice(), &output].concat();
        ("200 OK", "application/x-git-upload-pack-advertisement", String::new(), content)
    } else {
        ("200 OK", "application/x-git-upload-pack-result", String::new(), output)
    }
}

/// Head and body of a request.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some((head, bytes[end..].to_vec()))
}

fn header(head: &str, name: &str) -> Option<String> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

// === impl Proxy ===

impl Proxy {
    /// Leads everybody who brings `basic` to `port`.
    pub(super) async fn start(port: u16, basic: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let wanted = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic));
        let serve = async move {
            let mut connections = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, wanted) = (Arc::clone(&noted), wanted.clone());
                connections.push(supervise::spawn("tunnel", async move {
                    let Some((head, _)) = request(&mut stream).await else { return };
                    noted.lock().unwrap().push(head.split(' ').nth(1).unwrap_or_default().to_owned());
                    if header(&head, "proxy-authorization").as_deref() != Some(&wanted) {
                        let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                }));
            }
        };
        Self { port: own, asked, _task: supervise::spawn("proxy", serve) }
    }
}
