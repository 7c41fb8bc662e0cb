//! Identifiers of nodes, members and users.
//!
//! A node is named by the hex SHA-256 of its public key, a member or user by the hex SHA-256 of its DER
//! certificate (crypto specification, section 1.2). The three never mix, hence three types.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of 64 lower-case hex digits")]
pub struct InvalidId;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier of a digest.
            #[must_use]
            pub fn from_digest(digest: &[u8; 32]) -> Self {
                Self(hex::encode(digest).into())
            }

            /// Any text as an identifier, unchecked: for identifiers read from tables, where the
            /// writer decided what is valid, and for tests.
            #[must_use]
            pub fn from_text(text: &str) -> Self {
                Self(text.into())
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if text.len() == 64 && text.bytes().all(lower_hex) { Ok(Self(text.into())) } else { Err(InvalidId) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
    };
}

identifier! {
    /// Hex SHA-256 of a node's public key (DER SubjectPublicKeyInfo).
    NodeId
}
identifier! {
    /// Hex SHA-256 of a member's DER certificate.
    MemberId
}
identifier! {
    /// Hex SHA-256 of a user's DER certificate.
    UserId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_hex_of_the_right_length_is_an_identifier() {
        let text = "0a".repeat(32);
        assert_eq!(text.parse::<NodeId>().map(|id| id.to_string()), Ok(text));
        assert!("0A".repeat(32).parse::<MemberId>().is_err());
        assert!("0a".repeat(33).parse::<UserId>().is_err());
    }
}
