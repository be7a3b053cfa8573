//! Certificates for a run: an authority, brokers' and clients' certificates, good and bad ones.
//!
//! All keys are made anew for each [`Certs`], on the curve P-256; all files are PEM.

use std::fs;
use std::path::{Path, PathBuf};

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::pbes2;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};

use super::run_folder::folder;

/// The password of [`Certs::encrypted`]'s key.
pub(crate) const KEY_PASSWORD: &str = "key-secret";

/// The authority and whatever it signed. Brokers trust [`Certs::ca`] only.
pub(crate) struct Certs {
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The certificate of an authority that no broker trusts, and that signed no broker's certificate.
    pub(crate) strangers_ca: PathBuf,
    /// A broker on `localhost` (not on 127.0.0.1).
    pub(crate) broker: Pair,
    /// The same, expired.
    pub(crate) broker_expired: Pair,
    /// A broker on `elsewhere.example`.
    pub(crate) broker_misnamed: Pair,
    /// The client `CN=mirror`.
    pub(crate) mirror: Pair,
    /// The client `CN=mirror` with its key encrypted (PKCS#8, PBES2) by [`KEY_PASSWORD`].
    pub(crate) encrypted: Pair,
    /// The client `CN=limited`.
    pub(crate) limited: Pair,
    /// A client `CN=mirror` whose certificate has expired.
    pub(crate) expired: Pair,
    /// A client `CN=mirror` whose certificate another authority signed.
    pub(crate) stranger: Pair,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The certificate, and the authority's.
    pub(crate) chain: PathBuf,
    /// The private key, PKCS#8.
    pub(crate) key: PathBuf,
    /// Key and chain in one file: Java's PEM key store.
    pub(crate) store: PathBuf,
    /// What the key is encrypted with.
    pub(crate) password: Option<&'static str>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

// === impl Certs ===

impl Certs {
    /// New keys and certificates in a folder of the run.
    pub(crate) fn new() -> Self {
        let home = folder("certs");
        let (ours, strange) = (Authority::new("Test authority"), Authority::new("Strange authority"));
        let write = |name: &str, text: &str| write(&home, name, text);
        let (key, chain) = ours.sign("mirror", None, Age::Valid);
        Self {
            ca: write("ca.pem", &ours.pem),
            strangers_ca: write("strangers-ca.pem", &strange.pem),
            broker: Pair::new(&home, "broker", ours.sign("broker", Some("localhost"), Age::Valid)),
            broker_expired: Pair::new(&home, "broker-expired", ours.sign("broker", Some("localhost"), Age::Expired)),
            broker_misnamed: Pair::new(
                &home,
                "broker-misnamed",
                ours.sign("broker", Some("elsewhere.example"), Age::Valid),
            ),
            mirror: Pair::new(&home, "mirror", (key.clone(), chain.clone())),
            encrypted: Pair {
                password: Some(KEY_PASSWORD),
                ..Pair::new(&home, "encrypted", (encrypt(&key, KEY_PASSWORD), chain))
            },
            limited: Pair::new(&home, "limited", ours.sign("limited", None, Age::Valid)),
            expired: Pair::new(&home, "expired", ours.sign("mirror", None, Age::Expired)),
            stranger: Pair::new(&home, "stranger", strange.sign("mirror", None, Age::Valid)),
        }
    }
}

impl Pair {
    fn new(home: &Path, name: &str, (key, chain): (String, String)) -> Self {
        Self {
            chain: write(home, &format!("{name}.pem"), &chain),
            key: write(home, &format!("{name}.key"), &key),
            store: write(home, &format!("{name}-store.pem"), &format!("{key}{chain}")),
            password: None,
        }
    }
}

// === impl Authority ===

#[derive(Clone, Copy)]
enum Age {
    Valid,
    Expired,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A key, and its certificate with ours below it. A host makes it a broker's, otherwise it is a client's.
    fn sign(&self, common_name: &str, host: Option<&str>, age: Age) -> (String, String) {
        let hosts: Vec<_> = host.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("a valid name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        // A broker is a client of other brokers.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = match age {
            Age::Valid => date_time_ymd(2120, 1, 1),
            Age::Expired => date_time_ymd(2021, 1, 1),
        };
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (key.serialize_pem(), format!("{}{}", certificate.pem(), self.pem))
    }
}

/// As `openssl pkcs8 -topk8` writes it: PBES2, PBKDF2 with SHA-256, AES-256 in CBC mode. (Java 17 can't read that one
/// from PEM: "PBES2 SecretKeyFactory not available".)
fn encrypt(key: &str, password: &str) -> String {
    let (_, der) = pkcs8::SecretDocument::from_pem(key).expect("a PEM key");
    let key = PrivateKeyInfoRef::try_from(der.as_bytes()).expect("a PKCS#8 key");
    let (salt, iv): ([u8; 16], [u8; 16]) = (rand::random(), rand::random());
    let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2048, &salt, iv).expect("valid parameters");
    let encrypted = key.encrypt_with_params(scheme, password).expect("an encrypted key");
    encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).expect("a PEM text").to_string()
}

fn write(home: &Path, name: &str, text: &str) -> PathBuf {
    let path = home.join(name);
    fs::write(&path, text).expect("the run's folder can be written");
    path
}
