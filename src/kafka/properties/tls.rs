//! `ssl.*`: trust, our own certificate, host names, versions. Java's rules for which key goes with which.

use super::Reader;
use crate::kafka::security::{Identity, Pem, Secret, Store, TlsConfig, TlsVersions};

/// A store's keys in Java.
struct Keys {
    kind: &'static str,
    location: &'static str,
    password: &'static str,
    inline: &'static str,
}

const TRUST: Keys = Keys {
    kind: "ssl.truststore.type",
    location: "ssl.truststore.location",
    password: "ssl.truststore.password",
    inline: "ssl.truststore.certificates",
};

const OWN: Keys = Keys {
    kind: "ssl.keystore.type",
    location: "ssl.keystore.location",
    password: "ssl.keystore.password",
    inline: "ssl.keystore.certificate.chain",
};

impl Reader<'_> {
    pub(super) fn tls(&mut self) -> TlsConfig {
        TlsConfig {
            roots: self.store(&TRUST),
            identity: self.identity(),
            verify_hostname: self.verify_hostname(),
            versions: self.versions(),
            cipher_suites: self.words("ssl.cipher.suites"),
        }
    }

    fn identity(&mut self) -> Option<Identity> {
        const KEY: &str = "ssl.keystore.key";
        let chain = self.store(&OWN);
        let key = self.get(KEY).map(|key| Pem::Inline(Secret::new(key)));
        let password = self.get("ssl.key.password").map(Secret::new);
        match (chain, key) {
            (Some(Store::Pem(Pem::Inline(_))), None) => {
                self.problem(KEY, format!("missing beside {}", OWN.inline), None);
                None
            }
            (Some(chain @ Store::Pem(Pem::Inline(_))), key) => Some(Identity { chain, key, password }),
            (Some(_), Some(_)) => {
                self.problem(
                    KEY,
                    format!("given beside {}, which holds the key", OWN.location),
                    Some("give one of them"),
                );
                None
            }
            // Java's PEM key stores and PKCS#12 hold both in one file.
            (Some(chain), None) => Some(Identity { chain, key: None, password }),
            (None, Some(_)) => {
                if self.get(OWN.inline).is_none() {
                    self.problem(OWN.inline, format!("missing beside {KEY}"), None);
                }
                None
            }
            (None, None) => None,
        }
    }

    fn verify_hostname(&mut self) -> bool {
        const KEY: &str = "ssl.endpoint.identification.algorithm";
        match self.props.get(KEY).map(|v| v.trim()) {
            None => true,
            Some("") => false,
            Some(value) if value.eq_ignore_ascii_case("https") => true,
            Some(_) => {
                self.problem(KEY, "neither https nor empty", None);
                true
            }
        }
    }

    /// `ssl.enabled.protocols`, and `ssl.protocol` where that is not given: Java then takes no better than it names.
    fn versions(&mut self) -> TlsVersions {
        const KEY: &str = "ssl.enabled.protocols";
        let mut named = self.words(KEY);
        let mut key = KEY;
        if named.is_empty() {
            key = "ssl.protocol";
            named = match self.get(key) {
                // The provider's context, whatever it has; Java's default is the first.
                None | Some("TLSv1.3" | "TLS" | "SSL") => return TlsVersions::Both,
                Some(one) => vec![one.to_owned()],
            };
        }
        let has = |version: &str| named.iter().any(|name| name.eq_ignore_ascii_case(version));
        match (has("TLSv1.2"), has("TLSv1.3")) {
            (true, true) => TlsVersions::Both,
            (true, false) => TlsVersions::Only12,
            (false, true) => TlsVersions::Only13,
            (false, false) => {
                self.problem(key, "neither TLSv1.2 nor TLSv1.3 is allowed, and nothing else is served", None);
                TlsVersions::Both
            }
        }
    }

    fn words(&self, key: &str) -> Vec<String> {
        let list = self.get(key).unwrap_or_default();
        list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn store(&mut self, keys: &Keys) -> Option<Store> {
        let kind = self.get(keys.kind).unwrap_or("JKS").to_ascii_uppercase();
        let (file, text) = (self.get(keys.location), self.get(keys.inline));
        match (kind.as_str(), file, text) {
            (_, None, None) => None,
            (_, Some(_), Some(_)) => {
                self.problem(keys.inline, format!("given beside {}", keys.location), Some("give one of them"));
                None
            }
            ("PEM", Some(file), None) => Some(Store::Pem(Pem::File(file.into()))),
            ("PEM", None, Some(text)) => Some(Store::Pem(Pem::Inline(Secret::new(text)))),
            (_, None, Some(_)) => {
                let hint = format!("set {} to PEM", keys.kind);
                self.problem(keys.inline, format!("needs a store of type PEM, this one is {kind}"), Some(&hint));
                None
            }
            // Java opens a PKCS#12 file under its default type too; a real JKS file is refused when it is read.
            ("JKS" | "PKCS12", Some(file), None) => {
                let password = Secret::new(self.get(keys.password).unwrap_or_default());
                Some(Store::Pkcs12 { file: file.into(), password })
            }
            (_, Some(_), None) => {
                self.problem(keys.kind, format!("{kind} stores are not served"), Some("use PEM or PKCS12"));
                None
            }
        }
    }
}
