//! Why TLS failed, told apart so far as what to do differs.

use std::io;

use rustls::{AlertDescription, CertificateError};

/// A broker answered a request without TLS with a TLS record.
#[derive(Debug, thiserror::Error)]
#[error("the broker speaks TLS there, and security.protocol says not to")]
pub(crate) struct SpeaksTls;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The broker's certificate is past its end, or before its beginning.
    Expired,
    /// Nobody whom we trust vouches for the broker's certificate.
    UnknownAuthority,
    /// The broker's certificate bears other names.
    OtherName,
    /// The broker's certificate is bad in another way.
    BadCertificate,
    /// The broker wants a certificate of ours.
    WantsCertificate,
    /// The broker does not accept our certificate.
    RefusesCertificate,
    /// No version or cipher suite that both sides allow.
    NothingInCommon,
    /// The other side speaks no TLS.
    Plaintext,
    /// The other side speaks TLS, and we did not.
    SpeaksTls,
    /// The connection ended in the middle.
    CutOff,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn of(error: &io::Error) -> Self {
        let Some(inner) = error.get_ref() else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Self::CutOff
                }
                _ => Self::Other,
            };
        };
        if inner.is::<SpeaksTls>() {
            return Self::SpeaksTls;
        }
        match inner.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(why)) => match why {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                _ => Self::BadCertificate,
            },
            Some(rustls::Error::AlertReceived(alert)) => match alert {
                AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Self::WantsCertificate,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => Self::RefusesCertificate,
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity => Self::NothingInCommon,
                _ => Self::Other,
            },
            Some(rustls::Error::PeerIncompatible(_)) => Self::NothingInCommon,
            Some(rustls::Error::InvalidMessage(_)) => Self::Plaintext,
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Other,
        }
    }

    /// Whether it may pass without anybody's doing: a connection that broke, not what a certificate says.
    pub(crate) fn passing(self) -> bool {
        matches!(self, Self::CutOff | Self::Other)
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Expired => "KAFKA-TLS-EXPIRED",
            Self::UnknownAuthority => "KAFKA-TLS-UNKNOWN-CA",
            Self::OtherName => "KAFKA-TLS-HOST-NAME",
            Self::BadCertificate => "KAFKA-TLS-CERTIFICATE",
            Self::WantsCertificate | Self::RefusesCertificate => "KAFKA-TLS-CLIENT-CERTIFICATE",
            Self::NothingInCommon => "KAFKA-TLS-VERSION",
            Self::Plaintext | Self::SpeaksTls => "KAFKA-TLS-PROTOCOL",
            Self::CutOff | Self::Other => "KAFKA-TLS",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Expired => "renew the broker's certificate; if it is valid, this machine's clock is wrong",
            Self::UnknownAuthority => {
                "set ssl.truststore.* to the authority that signed the broker's certificate; without it the system's \
                 authorities are trusted"
            }
            Self::OtherName => {
                "use in bootstrap.servers and advertised.listeners a name that stands in the broker's certificate, or \
                 renew it with this name; an empty ssl.endpoint.identification.algorithm switches the check off"
            }
            Self::BadCertificate => "have a look at the broker's certificate: openssl s_client -connect HOST:PORT",
            Self::WantsCertificate => "the broker wants a client certificate: set ssl.keystore.*",
            Self::RefusesCertificate => {
                "the broker does not accept our client certificate: is the one in ssl.keystore.* valid, and signed by \
                 an authority that the broker trusts?"
            }
            Self::NothingInCommon => {
                "no TLS version or cipher suite in common, or the broker wants a client certificate: check \
                 ssl.enabled.protocols, ssl.cipher.suites and ssl.keystore.*"
            }
            Self::Plaintext => "this port speaks no TLS: check the port and security.protocol",
            Self::SpeaksTls => "set security.protocol to SSL or SASL_SSL, or use the port of a plaintext listener",
            Self::CutOff => {
                "a broker closes at once when its listener speaks no TLS: check the port and security.protocol"
            }
            Self::Other => {
                "check security.protocol (is this a TLS port?), ssl.truststore.* and the host name in the broker's \
                 certificate"
            }
        }
    }
}
