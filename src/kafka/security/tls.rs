//! TLS by rustls: trust from PEM or the system, client certificates, host names.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Pem, TlsConfig};
use crate::kafka::Error;
use crate::supervise;

/// Certificates and keys larger than this are not read.
const MAX_PEM: u64 = 4 << 20;
/// How long reading PEM files may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Speaks TLS over `stream`; `addr` is `host:port`, its host is the server name (SNI).
pub(crate) async fn handshake(
    stream: TcpStream,
    addr: &str,
    host: &str,
    config: &TlsConfig,
) -> Result<TlsStream<TcpStream>, Error> {
    let owned = config.clone();
    let client = supervise::blocking("reading certificates", READ_TIMEOUT, move || client_config(&owned))
        .await
        .map_err(|e| Error::Settings { what: "TLS certificates".into(), message: e.to_string() })??;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|e| Error::Settings { what: format!("host name {host}"), message: e.to_string() })?;
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
        .map_err(|source| Error::Tls { addr: addr.to_owned(), source: Arc::new(source) })
}

fn client_config(config: &TlsConfig) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    match &config.roots {
        Some(pem) => {
            for certificate in certificates(pem, "ssl.truststore")? {
                roots.add(certificate).map_err(|e| settings("ssl.truststore", &e))?;
            }
        }
        None => {
            // A single unreadable file among the system's does not spoil the others; none at all does.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(Error::Settings {
                    what: "the system's certificates".into(),
                    message: "none found: set ssl.truststore.location or ssl.truststore.certificates".into(),
                });
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| settings("TLS versions", &e))?;
    let builder = if config.verify_hostname {
        builder.with_root_certificates(roots)
    } else {
        let roots = Arc::new(roots);
        // Only for its signature checks and supported schemes.
        let signatures = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| settings("ssl.truststore", &e))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { roots, provider, signatures }))
    };
    match &config.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let chain = certificates(&identity.chain, "ssl.keystore.certificate.chain")?;
            let text = read(&identity.key, "ssl.keystore.key")?;
            if text.contains("ENCRYPTED PRIVATE KEY") {
                return Err(Error::Settings {
                    what: "ssl.keystore.key".into(),
                    message: "encrypted private keys are not supported: store it unencrypted, readable by us only"
                        .into(),
                });
            }
            let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|e| settings("ssl.keystore.key", &e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| settings("ssl.keystore.key", &e))
        }
    }
}

fn certificates(pem: &Pem, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(pem, what)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(list) if list.is_empty() => {
            Err(Error::Settings { what: what.into(), message: "no PEM certificate in it".into() })
        }
        Ok(list) => Ok(list),
        Err(e) => Err(settings(what, &e)),
    }
}

fn read(pem: &Pem, what: &str) -> Result<zeroize::Zeroizing<String>, Error> {
    match pem {
        // Java's properties often hold PEM in one line, with spaces or `\n` where the lines broke.
        Pem::Inline(text) => Ok(zeroize::Zeroizing::new(text.expose().replace("\\n", "\n"))),
        Pem::File(path) => {
            let what = format!("{what} {}", path.display());
            let size = std::fs::metadata(path).map_err(|e| settings(&what, &e))?.len();
            if size > MAX_PEM {
                return Err(Error::Settings { what, message: format!("{size} bytes is no certificate") });
            }
            std::fs::read_to_string(path).map(zeroize::Zeroizing::new).map_err(|e| settings(&what, &e))
        }
    }
}

fn settings(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Settings { what: what.into(), message: error.to_string() }
}

/// Trust in the chain, whatever name it bears: `ssl.endpoint.identification.algorithm` set to nothing.
#[derive(Debug)]
struct AnyName {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    signatures: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
