//! `sasl.*`: which mechanism, with which credentials.

use super::{Reader, jaas};
use crate::kafka::security::{Login, Sasl, ScramHash, Secret};

impl Reader<'_> {
    /// `None` always comes with a problem.
    pub(super) fn sasl(&mut self) -> Option<Sasl> {
        const KEY: &str = "sasl.mechanism";
        // Java's default is GSSAPI.
        let name = self.get(KEY).unwrap_or("GSSAPI");
        let sasl: fn(Login) -> Sasl = match name {
            "PLAIN" => Sasl::Plain,
            "SCRAM-SHA-256" => |login| Sasl::Scram(ScramHash::Sha256, login),
            "SCRAM-SHA-512" => |login| Sasl::Scram(ScramHash::Sha512, login),
            "AWS_MSK_IAM" | "OAUTHBEARER" | "GSSAPI" => {
                let set = if self.get(KEY).is_some() { "" } else { " (Java's default, as none is set)" };
                let hint = Some("PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are supported");
                self.problem(KEY, format!("{name}{set} is not supported"), hint);
                return None;
            }
            _ => {
                self.problem(KEY, format!("{name:?} is not a SASL mechanism we know"), None);
                return None;
            }
        };
        let Some(jaas) = self.get("sasl.jaas.config") else {
            self.problem(
                "sasl.jaas.config",
                "missing",
                Some("...LoginModule required username=\"..\" password=\"..\";"),
            );
            return None;
        };
        match jaas::credentials(jaas, name) {
            Ok((username, password)) => Some(sasl(Login { username, password: Secret::new(password) })),
            Err(message) => {
                self.problem("sasl.jaas.config", message, None);
                None
            }
        }
    }
}
