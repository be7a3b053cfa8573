//! `sasl.*`: which mechanism, with which credentials; Java's classes by what they do.
//!
//! A class is accepted where it names what we do anyway. Every other one is code that we don't have, and refused.

use super::Reader;
use super::jaas::{self, LoginModule};
use crate::kafka::security::{Login, Sasl, ScramHash, Secret};

pub(super) const JAAS: &str = "sasl.jaas.config";
pub(super) const CLIENT_HANDLER: &str = "sasl.client.callback.handler.class";
pub(super) const LOGIN_HANDLER: &str = "sasl.login.callback.handler.class";
pub(super) const LOGIN: &str = "sasl.login.class";

/// A login module of Java's that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    Plain,
    Scram,
    OAuthBearer,
    MskIam,
    Kerberos,
}

const MODULES: &[(&str, Module)] = &[
    ("org.apache.kafka.common.security.plain.PlainLoginModule", Module::Plain),
    ("org.apache.kafka.common.security.scram.ScramLoginModule", Module::Scram),
    ("org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule", Module::OAuthBearer),
    ("software.amazon.msk.auth.iam.IAMLoginModule", Module::MskIam),
    ("com.sun.security.auth.module.Krb5LoginModule", Module::Kerberos),
    ("com.ibm.security.auth.module.Krb5LoginModule", Module::Kerberos),
];

/// Java's own classes for a user and a password.
const PASSWORD_CLASSES: &[(&str, &[&str])] = &[
    (CLIENT_HANDLER, &["org.apache.kafka.common.security.authenticator.SaslClientCallbackHandler"]),
    (LOGIN_HANDLER, &["org.apache.kafka.common.security.authenticator.AbstractLogin$DefaultLoginCallbackHandler"]),
    (LOGIN, &["org.apache.kafka.common.security.authenticator.DefaultLogin"]),
];

impl Module {
    /// By Java's class; also in a shaded package, and by its simple name alone.
    fn of(class: &str) -> Option<Self> {
        let known = |name: &str| {
            name == class || name.rsplit('.').next() == Some(class) || class.ends_with(&format!(".{name}"))
        };
        MODULES.iter().find(|(name, _)| known(name)).map(|(_, module)| *module)
    }

    fn class(self) -> &'static str {
        MODULES.iter().find(|(_, module)| *module == self).map_or("", |(name, _)| *name)
    }
}

impl Reader<'_> {
    /// `None` always comes with a problem.
    pub(super) fn sasl(&mut self) -> Option<Sasl> {
        const KEY: &str = "sasl.mechanism";
        // Java's default is GSSAPI.
        let name = self.get(KEY).unwrap_or("GSSAPI");
        match name {
            "PLAIN" => self.plain(),
            "SCRAM-SHA-256" => self.scram(ScramHash::Sha256),
            "SCRAM-SHA-512" => self.scram(ScramHash::Sha512),
            "OAUTHBEARER" => self.oauth().map(Box::new).map(Sasl::OAuthBearer),
            "AWS_MSK_IAM" => {
                let hint = Some("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are supported");
                self.problem(KEY, "AWS_MSK_IAM is not supported yet", hint);
                None
            }
            "GSSAPI" => {
                let set = if self.get(KEY).is_some() { "" } else { " (Java's default, as none is set)" };
                let hint = Some("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are supported");
                self.problem(KEY, format!("GSSAPI{set} is not supported: Kerberos comes with the record path"), hint);
                None
            }
            _ => {
                let hint = Some("one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER");
                self.problem(KEY, format!("{name:?} is not a SASL mechanism we know"), hint);
                None
            }
        }
    }

    fn plain(&mut self) -> Option<Sasl> {
        self.classes(PASSWORD_CLASSES);
        // Java's PLAIN takes its user from either module.
        let module = self.module("PLAIN", &[Module::Plain, Module::Scram])?;
        self.login(&module).map(Sasl::Plain)
    }

    fn scram(&mut self, hash: ScramHash) -> Option<Sasl> {
        self.classes(PASSWORD_CLASSES);
        let module = self.module(hash.mechanism(), &[Module::Scram])?;
        let login = self.login(&module)?;
        let token = module.options.get("tokenauth").is_some_and(|v| v.expose().eq_ignore_ascii_case("true"));
        Some(if token { Sasl::DelegationToken(hash, login) } else { Sasl::Scram(hash, login) })
    }

    /// The client's login module, one of `wanted`; `None` comes with a problem.
    pub(super) fn module(&mut self, mechanism: &str, wanted: &[Module]) -> Option<LoginModule> {
        let line = wanted.first().map(|module| module.class()).unwrap_or_default();
        let Some(text) = self.get(JAAS) else {
            self.problem(JAAS, "missing", Some(&format!("{line} required ...;")));
            return None;
        };
        let module = match jaas::client_module(text) {
            Ok(module) => module,
            Err(error) => {
                self.problem(JAAS, error.to_string(), Some(&format!("{line} required name=\"value\" ...;")));
                return None;
            }
        };
        let found = Module::of(&module.class);
        if found.is_some_and(|found| wanted.contains(&found)) {
            return Some(module);
        }
        let message = match found {
            Some(Module::Kerberos) => "Krb5LoginModule is for GSSAPI, which comes with the record path".to_owned(),
            Some(other) => format!("{mechanism} needs {line}, not {}", other.class()),
            None => format!("the login module{} is code that we don't have", quoted(&module.class)),
        };
        self.problem(JAAS, message, Some(&format!("{line} required ...;")));
        None
    }

    /// User and password of a module; `None` comes with a problem.
    fn login(&mut self, module: &LoginModule) -> Option<Login> {
        let option = |name: &str| module.options.get(name).map(Secret::expose).filter(|value| !value.is_empty());
        match (option("username"), option("password")) {
            (Some(username), Some(password)) => {
                Some(Login { username: username.to_owned(), password: Secret::new(password) })
            }
            (username, _) => {
                let missing = if username.is_none() { "username" } else { "password" };
                self.problem(JAAS, format!("the login module has no {missing}"), None);
                None
            }
        }
    }

    /// Refuses each class that is not among those listed beside its key. Gives whether all are.
    pub(super) fn classes(&mut self, allowed: &[(&str, &[&str])]) -> bool {
        let before = self.problems.len();
        for (key, classes) in allowed {
            let Some(class) = self.get(key) else { continue };
            if classes.contains(&class) {
                continue;
            }
            let message = format!("the class{} is code that we don't have", quoted(class));
            let hint = match classes.first() {
                Some(class) => format!("leave it out, or name {class}"),
                None => "leave it out".to_owned(),
            };
            self.problem(key, message, Some(&hint));
        }
        self.problems.len() == before
    }
}

/// A class's name, where it is one: what else stands there may be a secret.
fn quoted(class: &str) -> String {
    let name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
    };
    if class.contains('.') && class.split('.').all(name) { format!(" {class}") } else { String::new() }
}

#[cfg(test)]
mod tests;
