//! Whom we trust behind https, and who we are there: read from files at each look, so that a renewed certificate or
//! authority needs no restart.
//!
//! Law 9: a private key is read into memory that is wiped; no text quotes what stands in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::credentials::{Secret, bounded};
use super::{Credentials, Error};

/// Why a handshake failed, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server is not one that we trust.
    Untrusted { why: String, hint: String },
    /// It does not trust us.
    Refused { why: String },
    /// Something else.
    Other(String),
}

/// What rustls needs to know, of the files as they are now.
pub(super) fn config(credentials: &Credentials) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    match &credentials.ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, format!("it holds no authority: {error}")))?;
            }
        }
        // One unreadable file among the system's does not spoil the others; with none, every server is refused and told.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Read { location: "TLS".to_owned(), why: error.to_string() })?
        .with_root_certificates(roots);
    let Some((chain, key)) = credentials.client_cert_file.as_ref().zip(credentials.client_key_file.as_ref()) else {
        return Ok(builder.with_no_client_auth());
    };
    let text = Secret::File(key.clone()).read()?;
    if text.contains("ENCRYPTED") {
        let why = "the key is encrypted; store it unencrypted, readable by this user only".to_owned();
        return Err(unusable(key, why));
    }
    // The reader's own words could quote the file.
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| unusable(key, "it holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)".to_owned()))?;
    builder
        .with_client_auth_cert(certificates(chain)?, private)
        .map_err(|error| unusable(key, format!("it can't be used with {}: {error}", chain.display())))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = bounded(path).map_err(|error| unusable(path, error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(unusable(path, "it holds no certificate in PEM".to_owned())),
    }
}

fn unusable(path: &Path, why: String) -> Error {
    Error::Credentials { from: path.display().to_string(), why }
}

/// What rustls says, in words for an operator.
pub(super) fn explain(error: &rustls::Error, ca_file: Option<&PathBuf>, has_certificate: bool) -> Trouble {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    match error {
        InvalidCertificate(wrong) => untrusted(wrong, ca_file),
        AlertReceived(AlertDescription::CertificateRequired) if !has_certificate => {
            Trouble::Refused { why: "it wants a client certificate and none is given".to_owned() }
        }
        AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        ) => Trouble::Refused { why: format!("it does not accept the client certificate (TLS alert {alert:?})") },
        other => Trouble::Other(format!("TLS: {other}")),
    }
}

fn untrusted(wrong: &CertificateError, ca_file: Option<&PathBuf>) -> Trouble {
    use CertificateError as C;
    let elsewhere =
        || "ask its operator for a valid one; nothing is read from a server that can't be trusted".to_owned();
    let authority = || match ca_file {
        Some(path) => format!("put the authority that signed it into {} (repo-ca-file)", path.display()),
        None => "name the file of the authority that signed it (PEM) in repo-ca-file".to_owned(),
    };
    let (why, hint) = match wrong {
        C::UnknownIssuer => ("no authority that we trust signed its certificate".to_owned(), authority()),
        C::Expired => ("its certificate has expired".to_owned(), elsewhere()),
        C::ExpiredContext { not_after, .. } => {
            (format!("its certificate expired at {}", date(*not_after)), elsewhere())
        }
        C::NotValidYet => ("its certificate is not valid yet".to_owned(), elsewhere()),
        C::NotValidYetContext { time, not_before } => (
            format!("its certificate is valid from {}, and here it is {}", date(*not_before), date(*time)),
            "compare this machine's clock".to_owned(),
        ),
        C::NotValidForName => ("its certificate is for another host".to_owned(), elsewhere()),
        C::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
            (
                format!("its certificate is for {names}, not for {}", expected.to_str()),
                "write the host that the certificate names into repo, or give the server a certificate for this one"
                    .to_owned(),
            )
        }
        C::Revoked => ("its certificate was revoked".to_owned(), elsewhere()),
        C::BadSignature => ("its certificate's signature is wrong".to_owned(), elsewhere()),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => (
            "its certificate is an authority's own (CA:TRUE), which no server may use".to_owned(),
            "give the server a certificate without CA:TRUE, signed by that authority".to_owned(),
        ),
        other => (format!("its certificate can't be used: {other}"), elsewhere()),
    };
    Trouble::Untrusted { why, hint }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds}"), |time| time.to_string())
}
