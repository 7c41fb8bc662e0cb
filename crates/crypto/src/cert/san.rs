//! Subject alternative names.

use std::net::IpAddr;

use crate::der::{self, DerWriter};

/// The text names neither an IP address nor a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid subject alternative name {0:?}: expected iPAddress:<address> or dNSName:<name>")]
pub struct InvalidSan(pub String);

/// One subject alternative name, of the kinds that CCF makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// `iPAddress:<v>`.
    Ip(IpAddr),
    /// `dNSName:<v>`.
    Dns(String),
}

impl SubjectAltName {
    /// Reads `iPAddress:<v>` or `dNSName:<v>` of the configuration (crypto 2).
    ///
    /// # Errors
    /// [`InvalidSan`] for any other prefix or a bad value.
    pub fn parse(text: &str) -> Result<Self, InvalidSan> {
        let invalid = || InvalidSan(text.to_owned());
        if let Some(address) = text.strip_prefix("iPAddress:") {
            address.parse().map(SubjectAltName::Ip).map_err(|_| invalid())
        } else if let Some(name) = text.strip_prefix("dNSName:") {
            dns(name).ok_or_else(invalid)
        } else {
            Err(invalid())
        }
    }

    /// The name of an interface without configured names, from the host part of its published address: an
    /// address if what follows the last `.` and then the last `:` is all digits (crypto 2).
    ///
    /// # Errors
    /// [`InvalidSan`] for an empty last part (a trailing dot) or a bad address.
    pub fn from_host(host: &str) -> Result<Self, InvalidSan> {
        let invalid = || InvalidSan(host.to_owned());
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Ok(SubjectAltName::Ip(address));
        }
        let last = host.rsplit(['.', ':']).next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        dns(host).ok_or_else(invalid)
    }

    /// The value of the extension with these names.
    pub(crate) fn extension_value(names: &[SubjectAltName]) -> Vec<u8> {
        let mut writer = DerWriter::with_capacity(64);
        writer.nested(der::SEQUENCE, |w| {
            for name in names {
                match name {
                    SubjectAltName::Ip(IpAddr::V4(ip)) => w.element(der::context_primitive(7), &ip.octets()),
                    SubjectAltName::Ip(IpAddr::V6(ip)) => w.element(der::context_primitive(7), &ip.octets()),
                    SubjectAltName::Dns(name) => w.element(der::context_primitive(2), name.as_bytes()),
                }
            }
        });
        writer.finish_public()
    }
}

/// A host name fit for an IA5String; 253 is the longest that DNS allows.
fn dns(name: &str) -> Option<SubjectAltName> {
    let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| SubjectAltName::Dns(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        let ip = |text: &str| SubjectAltName::Ip(text.parse().unwrap());
        let dns = |text: &str| SubjectAltName::Dns(text.to_owned());
        for (host, expected) in [
            ("127.0.0.1", Some(ip("127.0.0.1"))),
            ("::1", Some(ip("::1"))),
            ("[fe80::2]", Some(ip("fe80::2"))),
            ("localhost", Some(dns("localhost"))),
            ("node-1.example.com", Some(dns("node-1.example.com"))),
            ("example.com.", None),
            ("1.2.3", None),
            ("", None),
        ] {
            assert_eq!(SubjectAltName::from_host(host).ok(), expected, "{host}");
        }
        assert_eq!(SubjectAltName::parse("iPAddress:10.0.0.1"), Ok(ip("10.0.0.1")));
        assert_eq!(SubjectAltName::parse("dNSName:a.b"), Ok(dns("a.b")));
        assert!(SubjectAltName::parse("iPAddress:a.b").is_err());
        assert!(SubjectAltName::parse("email:a@b").is_err());
    }
}
