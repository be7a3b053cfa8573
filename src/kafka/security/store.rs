//! Certificates and keys from where Java's clients keep them: PEM, as it is or encrypted, and PKCS#12.
//!
//! Files are read anew for every connection, so a renewed certificate needs no restart and no healthy connection ends for
//! it. Law 9: no error quotes what was read; keys are wiped. Law 10: what is too large is not read.

use std::path::Path;

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{Identity, Pem, Secret, Store};
use crate::kafka::Error;

/// Stores larger than this are not read.
const MAX_STORE: u64 = 4 << 20;
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
const TRUSTSTORE: &str = "ssl.truststore";
const KEYSTORE: &str = "ssl.keystore";

/// The certificates that `ssl.truststore.*` names.
pub(super) fn trusted(store: &Store) -> Result<Vec<CertificateDer<'static>>, Error> {
    match store {
        Store::Pem(pem) => pem_certificates(pem, TRUSTSTORE),
        Store::Pkcs12 { file, password } => {
            let keys = pkcs12(file, password, TRUSTSTORE)?;
            let entries = keys.entries();
            let certificates: Vec<_> = entries
                .filter_map(|(_, entry)| match entry {
                    KeyStoreEntry::Certificate(certificate) => {
                        Some(CertificateDer::from(certificate.as_der().to_vec()))
                    }
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(bad(&described(TRUSTSTORE, file), "no trusted certificate in it"));
            }
            Ok(certificates)
        }
    }
}

/// Our certificate chain, own certificate first, and the key to it.
pub(super) fn identity(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let store = match &identity.chain {
        Store::Pem(chain) => {
            let key = identity.key.as_ref().unwrap_or(chain);
            return Ok((pem_certificates(chain, KEYSTORE)?, pem_key(key, identity.password.as_ref())?));
        }
        Store::Pkcs12 { file, password } => (file, password),
    };
    let (file, password) = store;
    let keys = pkcs12(file, password, KEYSTORE)?;
    let what = described(KEYSTORE, file);
    let (_, found) = keys.private_key_chain().ok_or_else(|| {
        // The store's own password opened it: what is missing may be locked by another.
        bad(&what, "no private key in it that its password opens (a key password must equal ssl.keystore.password)")
    })?;
    let chain: Vec<_> = found.certs().iter().map(|c| CertificateDer::from(c.as_der().to_vec())).collect();
    if chain.is_empty() {
        return Err(bad(&what, "no certificate in it belongs to its private key"));
    }
    Ok((chain, PrivatePkcs8KeyDer::from(found.key().as_der().to_vec()).into()))
}

fn pkcs12(file: &Path, password: &Secret, what: &str) -> Result<KeyStore, Error> {
    let bytes = read(file, what)?;
    let what = described(what, file);
    match bytes.as_slice() {
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => {
            let name = file.display();
            return Err(bad(
                &what,
                &format!(
                    "it is in Java's old JKS format; convert it once: keytool -importkeystore -srckeystore {name} \
                     -destkeystore {name}.p12 -deststoretype PKCS12, and name {name}.p12"
                ),
            ));
        }
        [0x2d, 0x2d, ..] => return Err(bad(&what, "it is PEM: set the store's type to PEM")),
        [0x30, ..] => {}
        _ => return Err(bad(&what, "it is no PKCS#12 store")),
    }
    KeyStore::from_pkcs12(&bytes, password.expose(), Pkcs12ImportPolicy::Relaxed)
        .map_err(|_| bad(&what, "the password is wrong, or the store is damaged"))
}

fn pem_certificates(pem: &Pem, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let what = match pem {
        Pem::Inline(_) if what == TRUSTSTORE => "ssl.truststore.certificates".to_owned(),
        Pem::Inline(_) => "ssl.keystore.certificate.chain".to_owned(),
        Pem::File(path) => described(what, path),
    };
    let text = text(pem, &what)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(list) if list.is_empty() => Err(bad(&what, "no PEM certificate in it")),
        Ok(list) => Ok(list),
        Err(error) => Err(bad(&what, &format!("broken PEM: {error}"))),
    }
}

fn pem_key(pem: &Pem, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, Error> {
    let what = match pem {
        Pem::Inline(_) => "ssl.keystore.key".to_owned(),
        Pem::File(path) => described(KEYSTORE, path),
    };
    let text = text(pem, &what)?;
    if let Some(body) = text.split_once(ENCRYPTED_BEGIN).map(|(_, rest)| rest) {
        let (body, _) = body.split_once(ENCRYPTED_END).ok_or_else(|| bad(&what, "broken PEM: no end of the key"))?;
        let password = password
            .ok_or_else(|| bad(&what, "the private key is encrypted: give its password as ssl.key.password"))?;
        return decrypted(body, password).map_err(|why| bad(&what, why));
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        let why = "the private key is encrypted in OpenSSL's old form; convert it: openssl pkcs8 -topk8 -v2 aes256";
        return Err(bad(&what, why));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| bad(&what, "no PEM private key in it"))
}

/// PKCS#8 encrypted with PBES2, which is all that today's tools write.
fn decrypted(base64: &str, password: &Secret) -> Result<PrivateKeyDer<'static>, &'static str> {
    use base64::Engine;
    let compact: String = base64.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(compact).map_err(|_| "broken PEM")?;
    let info = EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).map_err(
        |_| "the private key is encrypted in a way that is not read here; convert it: openssl pkcs8 -topk8 -v2 aes256",
    )?;
    let key = info.decrypt(password.expose()).map_err(|_| "ssl.key.password does not open the private key")?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn text(pem: &Pem, what: &str) -> Result<Zeroizing<String>, Error> {
    match pem {
        // Java's properties often hold PEM in one line, with spaces or `\n` where the lines broke.
        Pem::Inline(text) => Ok(Zeroizing::new(broken_into_lines(text.expose()))),
        Pem::File(path) => {
            let mut bytes = read(path, what)?;
            let text = String::from_utf8(std::mem::take(&mut *bytes));
            text.map(Zeroizing::new)
                .map_err(|_| bad(what, "it is not PEM: set the store's type to PKCS12, if it is that"))
        }
    }
}

/// PEM as people squeeze it into one line: `\n` written out, or spaces instead of line breaks.
fn broken_into_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let text = text.replace("\\n", "\n");
    let mut rest = text.as_str();
    while let Some(at) = rest.find("-----BEGIN ") {
        let block = &rest[at..];
        let Some(label_end) = block[11..].find("-----").map(|n| n + 16) else { break };
        let (label, body) = block.split_at(label_end);
        let Some(end) = body.find("-----END ") else { break };
        let Some(close) = body[end + 9..].find("-----").map(|n| end + 9 + n + 5) else { break };
        out.push_str(label);
        out.push('\n');
        for word in body[..end].split_whitespace() {
            out.push_str(word);
            out.push('\n');
        }
        out.push_str(&body[end..close]);
        out.push('\n');
        rest = &body[close..];
    }
    out
}

fn read(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let what = described(what, path);
    let size = std::fs::metadata(path).map_err(|e| bad(&what, &e.to_string()))?.len();
    if size > MAX_STORE {
        return Err(bad(&what, &format!("{size} bytes are no store of certificates")));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(|e| bad(&what, &e.to_string()))
}

fn described(what: &str, path: &Path) -> String {
    let path = path.display().to_string();
    if what.contains(&path) { what.to_owned() } else { format!("{what} {path}") }
}

fn bad(what: &str, message: &str) -> Error {
    Error::Settings { what: what.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
    }

    fn text(name: &str) -> String {
        std::fs::read_to_string(fixture(name)).unwrap()
    }

    fn p12(name: &str, password: &str) -> Store {
        Store::Pkcs12 { file: fixture(name), password: Secret::new(password) }
    }

    fn pem(name: &str) -> Store {
        Store::Pem(Pem::File(fixture(name)))
    }

    fn own(chain: Store, key: Option<Pem>, password: Option<&str>) -> Result<(usize, Vec<u8>), String> {
        let identity = super::identity(&Identity { chain, key, password: password.map(Secret::new) });
        identity.map(|(chain, key)| (chain.len(), key.secret_der().to_vec())).map_err(|e| e.to_string())
    }

    #[test]
    fn authorities_are_found_in_every_kind_of_store() {
        let one_line = text("ca.pem").replace('\n', " ");
        let escaped = text("ca.pem").replace('\n', "\\n");
        let expected = trusted(&pem("ca.pem")).unwrap();
        for store in [
            p12("truststore.java.p12", "sesame"),
            Store::Pem(Pem::Inline(Secret::new(text("ca.pem")))),
            Store::Pem(Pem::Inline(Secret::new(one_line))),
            Store::Pem(Pem::Inline(Secret::new(escaped))),
        ] {
            assert_eq!(trusted(&store).unwrap(), expected, "{store:?}");
        }
    }

    #[test]
    fn keys_are_found_in_every_kind_of_store() {
        let (_, key) = own(pem("chain.pem"), Some(Pem::File(fixture("client.key"))), None).unwrap();
        let encrypted = Some(Pem::Inline(Secret::new(text("client.encrypted.key").replace('\n', " "))));
        for (what, found) in [
            ("openssl", own(p12("keystore.openssl.p12", "sesame"), None, None)),
            ("java", own(p12("keystore.java.p12", "sesame"), None, Some("sesame"))),
            ("one file", own(pem("keystore.pem"), None, Some("sesame"))),
            ("inline", own(pem("chain.pem"), encrypted, Some("sesame"))),
        ] {
            assert_eq!(found, Ok((2, key.clone())), "{what}");
        }
        assert_eq!(own(p12("keystore.legacy.p12", "sesame"), None, None), Ok((1, key)));
    }

    #[test]
    fn what_can_not_be_read_says_what_to_do_and_no_secret() {
        let broken = |password: &str| own(pem("keystore.pem"), None, Some(password)).unwrap_err();
        for (message, expected) in [
            (trusted(&p12("truststore.jks", "sesame")).unwrap_err().to_string(), "keytool -importkeystore"),
            (trusted(&p12("truststore.java.p12", "open")).unwrap_err().to_string(), "the password is wrong"),
            (trusted(&p12("ca.pem", "")).unwrap_err().to_string(), "set the store's type to PEM"),
            (trusted(&pem("keystore.java.p12")).unwrap_err().to_string(), "set the store's type to PKCS12"),
            (trusted(&pem("client.key")).unwrap_err().to_string(), "no PEM certificate"),
            (trusted(&pem("none.pem")).unwrap_err().to_string(), "No such file"),
            (broken("open"), "ssl.key.password does not open"),
            (own(pem("keystore.pem"), None, None).unwrap_err(), "give its password as ssl.key.password"),
            (
                own(pem("chain.pem"), Some(Pem::File(fixture("client.old.key"))), Some("sesame")).unwrap_err(),
                "openssl pkcs8 -topk8",
            ),
            (own(p12("keystore.java.p12", "open"), None, None).unwrap_err(), "the password is wrong"),
        ] {
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("sesame") && !message.contains("open\""), "{message}");
        }
    }
}
