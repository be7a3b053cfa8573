//! TLS by rustls: trust in the system's or the user's certificates, client certificates, host names, versions.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TlsConfig, TlsVersions, store};
use crate::kafka::Error;
use crate::supervise;

/// How long reading certificates may take.
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

pub(super) fn client_config(config: &TlsConfig) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider(&config.cipher_suites)?);
    let mut roots = RootCertStore::empty();
    match &config.roots {
        Some(trusted) => {
            for certificate in store::trusted(trusted)? {
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
    let versions: &[&SupportedProtocolVersion] = match config.versions {
        TlsVersions::Both => &[&TLS13, &TLS12],
        TlsVersions::Only12 => &[&TLS12],
        TlsVersions::Only13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|e| settings("ssl.enabled.protocols with ssl.cipher.suites", &e))?;
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
            let (chain, key) = store::identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|e| settings("ssl.keystore", &e))
        }
    }
}

/// ring, limited to the cipher suites that were named. Java and rustls name those of TLS 1.3 differently.
fn provider(suites: &[String]) -> Result<CryptoProvider, Error> {
    let mut provider = rustls::crypto::ring::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites.retain(|suite| suites.iter().any(|name| *name == java_name(suite.suite())));
        if provider.cipher_suites.is_empty() {
            let have = rustls::crypto::ring::default_provider().cipher_suites;
            let have: Vec<_> = have.iter().map(|suite| java_name(suite.suite())).collect();
            return Err(settings(
                "ssl.cipher.suites",
                &format!("none of them is served; these are: {}", have.join(", ")),
            ));
        }
    }
    Ok(provider)
}

fn java_name(suite: CipherSuite) -> String {
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
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
