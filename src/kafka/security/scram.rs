//! SCRAM (RFC 5802), the client's half; pure but for the nonce given to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::ScramHash;

/// Java's minimum is 4096; a server that asks for more than this wants to keep us busy.
const MAX_ITERATIONS: u32 = 1_000_000;

/// What a user name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// A user.
    Named,
    /// A delegation token's id (KIP-48).
    Token,
}

/// A conversation: first message, then the proof, then the server's proof is checked.
pub(crate) struct Scram {
    hash: ScramHash,
    nonce: String,
    first_bare: String,
    server_signature: Option<Vec<u8>>,
}

impl Scram {
    /// Begins a conversation with a nonce that was never used before.
    pub(crate) fn new(hash: ScramHash, user: User, username: &str, nonce: &str) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let extension = match user {
            User::Named => "",
            User::Token => ",tokenauth=true",
        };
        Self {
            hash,
            nonce: nonce.to_owned(),
            first_bare: format!("n={name},r={nonce}{extension}"),
            server_signature: None,
        }
    }

    /// The client's first message.
    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's final message, in answer to the server's first.
    pub(crate) fn proof(&mut self, password: &str, server_first: &str) -> Result<String, String> {
        let (mut nonce, mut salt, mut iterations) = (None, None, None);
        for part in server_first.split(',') {
            match part.split_once('=') {
                Some(("r", value)) => nonce = Some(value),
                Some(("s", value)) => salt = STANDARD.decode(value).ok(),
                Some(("i", value)) => iterations = value.parse::<u32>().ok(),
                Some(("e", value)) => return Err(value.to_owned()),
                Some(("m", _)) => return Err("the server demands an extension".into()),
                _ => {}
            }
        }
        let (Some(nonce), Some(salt), Some(iterations)) = (nonce, salt, iterations) else {
            return Err("the server's first message is malformed".into());
        };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's nonce does not continue ours".into());
        }
        if !(4096..=MAX_ITERATIONS).contains(&iterations) {
            return Err(format!("the server asks for {iterations} iterations"));
        }
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let salted = self.salted(password.as_bytes(), &salt, iterations);
        let client_key = Zeroizing::new(self.hmac(&salted, b"Client Key"));
        let stored_key = self.digest(&client_key);
        let signature = self.hmac(&stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = self.hmac(&salted, b"Server Key");
        self.server_signature = Some(self.hmac(&server_key, message.as_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Checks the server's final message: it must know the password too.
    pub(crate) fn verify(&self, server_final: &str) -> Result<(), String> {
        let expected = self.server_signature.as_ref().ok_or("no proof was sent")?;
        let part = server_final.split(',').next().unwrap_or_default();
        match part.split_once('=') {
            Some(("v", value)) => {
                let given = STANDARD.decode(value).map_err(|_| "the server's proof is malformed".to_owned())?;
                if bool::from(given.as_slice().ct_eq(expected)) {
                    Ok(())
                } else {
                    Err("the server's proof is wrong: it does not know the password".into())
                }
            }
            Some(("e", value)) => Err(value.to_owned()),
            _ => Err("the server's final message is malformed".into()),
        }
    }

    fn hmac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self.hash {
            ScramHash::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
            ScramHash::Sha512 => {
                let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes a key of any length");
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    fn digest(&self, data: &[u8]) -> Vec<u8> {
        match self.hash {
            ScramHash::Sha256 => Sha256::digest(data).to_vec(),
            ScramHash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    /// `Hi()` of RFC 5802, which is PBKDF2 with one block.
    fn salted(&self, password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
        let mut first = salt.to_vec();
        first.extend_from_slice(&1u32.to_be_bytes());
        let mut last = Zeroizing::new(self.hmac(password, &first));
        let mut sum = last.clone();
        for _ in 1..iterations {
            last = Zeroizing::new(self.hmac(password, &last));
            for (s, l) in sum.iter_mut().zip(last.iter()) {
                *s ^= l;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 §3.
    #[test]
    fn the_rfcs_conversation() {
        let mut scram = Scram::new(ScramHash::Sha256, User::Named, "user", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.proof("pencil", server).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=").is_err());
        assert_eq!(scram.verify("e=invalid-proof"), Err("invalid-proof".into()));
    }

    #[test]
    fn a_foreign_nonce_or_cheap_iterations_are_refused() {
        for server in ["r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", "x"] {
            assert!(Scram::new(ScramHash::Sha512, User::Named, "u", "abc").proof("p", server).is_err(), "{server}");
        }
    }

    #[test]
    fn names_are_escaped() {
        let first = |user| Scram::new(ScramHash::Sha512, user, "a=b,c", "n").first();
        assert_eq!(first(User::Named), "n,,n=a=3Db=2Cc,r=n");
        assert_eq!(first(User::Token), "n,,n=a=3Db=2Cc,r=n,tokenauth=true");
    }
}
