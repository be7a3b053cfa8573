//! TLS of our own server: certificate and key, and authorities whose clients may write without a token.
//!
//! The files are looked at every few seconds, and a changed certificate holds for connections made after that. Files that
//! can't be used leave the last good ones in force, and say so in the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::supervise::{self, Task};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How long reading them may take.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Larger files are not read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where our certificate lies, and whom we trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `tls-cert-file`: our chain, own certificate first, PEM.
    pub certificate: PathBuf,
    /// `tls-key-file`: its private key, PEM.
    pub key: PathBuf,
    /// `tls-client-ca-file`: whoever bears a certificate of these may write.
    pub client_authority: Option<PathBuf>,
}

/// Why the files can't be used. No content is quoted.
#[derive(Debug, thiserror::Error)]
#[error("{path} can't be used for TLS: {why}")]
pub struct TlsError {
    path: String,
    why: String,
}

/// Does the handshakes, with what the files last said.
#[derive(Debug)]
pub struct Acceptor {
    trusts_clients: bool,
    current: watch::Receiver<Arc<ServerConfig>>,
    _watch: Task<()>,
}

type Digest = [u8; 32];

// === impl Acceptor ===

impl Acceptor {
    /// Reads the files, and goes on looking at them.
    ///
    /// # Errors
    /// One of them can't be used.
    pub async fn start(files: TlsFiles) -> Result<Self, TlsError> {
        let (config, digest) = load(files.clone()).await?;
        let (sender, current) = watch::channel(Arc::new(config));
        let trusts_clients = files.client_authority.is_some();
        Ok(Self {
            trusts_clients,
            current,
            _watch: supervise::spawn("api certificates", follow(files, digest, sender)),
        })
    }

    /// Whether clients can prove themselves by a certificate.
    pub(super) fn trusts_clients(&self) -> bool {
        self.trusts_clients
    }

    /// The handshake, and whether the client bears a certificate that we trust.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, bool)> {
        let config = self.current.borrow().clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
        Ok((stream, certified))
    }
}

async fn follow(files: TlsFiles, mut last: Digest, sender: watch::Sender<Arc<ServerConfig>>) {
    let mut complained = None;
    loop {
        tokio::time::sleep(LOOK).await;
        match load(files.clone()).await {
            Ok((config, digest)) if digest != last => {
                last = digest;
                sender.send_replace(Arc::new(config));
                tracing::info!(file = %files.certificate.display(), "the server's certificate was renewed");
            }
            Ok(_) => complained = None,
            Err(error) => {
                let text = error.to_string();
                if complained.as_ref() != Some(&text) {
                    tracing::warn!(%error, "the last good certificate stays in force");
                    complained = Some(text);
                }
            }
        }
    }
}

async fn load(files: TlsFiles) -> Result<(ServerConfig, Digest), TlsError> {
    let path = files.certificate.clone();
    let loaded = supervise::blocking("reading the server's certificate", READ_WITHIN, move || read_all(&files)).await;
    loaded.unwrap_or_else(|late| Err(bad(&path, &late)))
}

fn read_all(files: &TlsFiles) -> Result<(ServerConfig, Digest), TlsError> {
    let mut digest = Sha256::new();
    let certificate = read(&files.certificate, &mut digest)?;
    let chain = certificates(&files.certificate, &certificate)?;
    let key = read(&files.key, &mut digest)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| bad(&files.key, &"no PEM private key in it"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&files.certificate, &error))?;
    let builder = match &files.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, &read(path, &mut digest)?)? {
                roots.add(certificate).map_err(|error| bad(path, &error))?;
            }
            // Reading needs none, so that probes and scrapers need none.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| bad(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| bad(&files.key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, digest.finalize().into()))
}

fn read(path: &Path, digest: &mut Sha256) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let size = std::fs::metadata(path).map_err(|error| bad(path, &error))?.len();
    if size > MAX_FILE {
        return Err(bad(path, &format!("it has {size} bytes")));
    }
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| bad(path, &error))?;
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes.as_slice());
    Ok(bytes)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad(path, &"no PEM certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(path, &error)),
    }
}

fn bad(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError { path: path.display().to_string(), why: why.to_string() }
}
