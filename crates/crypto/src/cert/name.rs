//! Distinguished names.

use std::collections::BTreeMap;

use crate::der::{self, DerReader, DerWriter};

/// The text is not a subject such as `CN=CCF Node,O=Example`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// A part without `=`.
    #[error("subject part {0:?} has no '='")]
    NoValue(String),
    /// An attribute whose short name is not known.
    #[error("unknown subject attribute {0:?}")]
    UnknownAttribute(String),
    /// Nothing before or after the `=`, or more than the attribute may hold.
    #[error("subject attribute {0:?} is empty or too long")]
    Length(String),
}

/// A distinguished name, kept as its DER so that an issuer's name is byte for byte the subject of its
/// certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Vec<u8>);

/// Bytes of one attribute value, the upper bound of X.520 for the longest of them.
const VALUE_BYTES_MAX: usize = 256;

/// Short names, which texts use, then long ones, which are read too.
const ATTRIBUTES: [(&str, &[u8]); 19] = [
    ("CN", &[0x55, 0x04, 0x03]),
    ("SN", &[0x55, 0x04, 0x04]),
    ("serialNumber", &[0x55, 0x04, 0x05]),
    ("C", &[0x55, 0x04, 0x06]),
    ("L", &[0x55, 0x04, 0x07]),
    ("ST", &[0x55, 0x04, 0x08]),
    ("street", &[0x55, 0x04, 0x09]),
    ("O", &[0x55, 0x04, 0x0a]),
    ("OU", &[0x55, 0x04, 0x0b]),
    ("title", &[0x55, 0x04, 0x0c]),
    ("GN", &[0x55, 0x04, 0x2a]),
    ("emailAddress", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19]),
    ("commonName", &[0x55, 0x04, 0x03]),
    ("countryName", &[0x55, 0x04, 0x06]),
    ("localityName", &[0x55, 0x04, 0x07]),
    ("stateOrProvinceName", &[0x55, 0x04, 0x08]),
    ("organizationName", &[0x55, 0x04, 0x0a]),
    ("organizationalUnitName", &[0x55, 0x04, 0x0b]),
];

impl Name {
    /// Reads `CN=...,O=...` (crypto 2): split at commas and at the first `=`, nothing trimmed; the first of a
    /// repeated attribute counts; the attributes come out sorted by their names.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn parse(text: &str) -> Result<Name, InvalidName> {
        let mut parts = BTreeMap::new();
        for part in text.split(',') {
            let (attribute, value) =
                part.split_once('=').ok_or_else(|| InvalidName::NoValue(part.to_owned()))?;
            let (_, oid) = ATTRIBUTES
                .iter()
                .find(|(name, _)| *name == attribute)
                .ok_or_else(|| InvalidName::UnknownAttribute(attribute.to_owned()))?;
            if value.is_empty() || value.len() > VALUE_BYTES_MAX {
                return Err(InvalidName::Length(attribute.to_owned()));
            }
            parts.entry(attribute).or_insert((oid, value));
        }
        let mut writer = DerWriter::with_capacity(text.len() + 32);
        writer.nested(der::SEQUENCE, |w| {
            for (oid, value) in parts.values() {
                w.nested(der::SET, |w| {
                    w.nested(der::SEQUENCE, |w| {
                        w.element(der::OID, oid);
                        w.element(der::UTF8_STRING, value.as_bytes());
                    });
                });
            }
        });
        Ok(Name(writer.finish_public()))
    }

    /// A name that is DER already, such as the subject of a certificate.
    pub(crate) fn from_der(der: &[u8]) -> Name {
        Name(der.to_vec())
    }

    /// The DER of the whole name.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Name {
    /// `CN=...,O=...` in the order of the name; attributes without a short name and values that are not text are
    /// shown as `?`. For people, not for parsing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(mut parts) = DerReader::only(&self.0, der::SEQUENCE) else { return f.write_str("?") };
        let mut separator = "";
        while let Ok(mut set) = parts.nested(der::SET) {
            while let Ok(mut pair) = set.nested(der::SEQUENCE) {
                let oid = pair.expect(der::OID).unwrap_or_default();
                let attribute =
                    ATTRIBUTES.iter().find(|(_, known)| *known == oid).map_or("?", |(name, _)| name);
                let value = pair.any().map(|element| element.content).unwrap_or_default();
                write!(f, "{separator}{attribute}={}", std::str::from_utf8(value).unwrap_or("?"))?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_sorted_and_keep_the_first_of_a_kind() {
        let name = Name::parse("O=Example,CN=a=b,CN=second,C=CH").unwrap();
        assert_eq!(name.to_string(), "C=CH,CN=a=b,O=Example");
        assert_eq!(
            hex::encode(Name::parse("CN=CCF Node").unwrap().as_der()),
            "30133111300f06035504030c08434346204e6f6465"
        );
    }

    #[test]
    fn bad_subjects_are_refused() {
        assert_eq!(Name::parse(""), Err(InvalidName::NoValue(String::new())));
        assert_eq!(Name::parse("CN=x, O=y"), Err(InvalidName::UnknownAttribute(" O".to_owned())));
        assert_eq!(Name::parse("CN="), Err(InvalidName::Length("CN".to_owned())));
        assert!(Name::parse(&format!("CN={}", "x".repeat(257))).is_err());
    }
}
