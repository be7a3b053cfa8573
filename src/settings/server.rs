//! Settings of our own server's TLS.

use std::path::PathBuf;

use super::values::bad;
use super::{Reading, path};

/// `tls-cert-file` and its companions: TLS of our own server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `tls-cert-file`
    pub certificate: PathBuf,
    /// `tls-key-file`
    pub key: PathBuf,
    /// `tls-client-ca-file`
    pub client_authority: Option<PathBuf>,
}

impl Reading {
    pub(super) fn tls(&mut self) -> Option<TlsFiles> {
        let certificate = self.get("tls-cert-file", path);
        let key = self.get("tls-key-file", path);
        let client_authority = self.get("tls-client-ca-file", path);
        let missing = |name: &str| bad("it is needed too", format!("give {name} as well, or none of them"));
        match (certificate, key) {
            (Some(certificate), Some(key)) => return Some(TlsFiles { certificate, key, client_authority }),
            (Some(_), None) => self.mistake("tls-cert-file", missing("tls-key-file")),
            (None, Some(_)) => self.mistake("tls-key-file", missing("tls-cert-file")),
            (None, None) if client_authority.is_some() => {
                self.mistake("tls-client-ca-file", missing("tls-cert-file and tls-key-file"));
            }
            (None, None) => {}
        }
        None
    }

    /// A guard that nobody can pass is a mistake.
    pub(super) fn provable(&mut self, token: bool, tls: Option<&TlsFiles>, guard_reading: Option<bool>) {
        let certificates = tls.is_some_and(|tls| tls.client_authority.is_some());
        if guard_reading == Some(true) && !token && !certificates {
            self.mistake(
                "guard-reading",
                bad("nobody could read", "set token-file, or tls-client-ca-file with tls-cert-file"),
            );
        }
    }
}
