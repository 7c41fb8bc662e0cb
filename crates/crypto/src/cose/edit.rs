//! Replacing the unprotected header of a message, to attach a proof or a receipt (crypto 10.1).

use super::{CoseError, SIGN1_TAG, Sign1};
use crate::cbor::Writer;

/// What the new unprotected header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnprotectedValue<'a> {
    /// Nothing.
    Empty,
    /// `{key: [value]}`.
    List {
        /// Label.
        key: i64,
        /// The one byte string in the array.
        value: &'a [u8],
    },
    /// `{key: {subkey: [value]}}`.
    NestedList {
        /// Label.
        key: i64,
        /// Label within.
        subkey: i64,
        /// The one byte string in the array.
        value: &'a [u8],
    },
}

/// The same message with another unprotected header; what was signed stays byte for byte.
///
/// # Errors
/// [`CoseError`] if `message` is not a tagged COSE_Sign1.
pub fn set_unprotected_header(message: &[u8], value: UnprotectedValue<'_>) -> Result<Vec<u8>, CoseError> {
    let message = Sign1::decode(message)?;
    let mut writer = Writer::new();
    writer.tag(SIGN1_TAG).array(4).bytes(message.protected_bytes());
    match value {
        UnprotectedValue::Empty => writer.map(0),
        UnprotectedValue::List { key, value } => writer.map(1).integer(key).array(1).bytes(value),
        UnprotectedValue::NestedList { key, subkey, value } => {
            writer.map(1).integer(key).map(1).integer(subkey).array(1).bytes(value)
        }
    };
    match message.payload() {
        Some(payload) => writer.bytes(payload),
        None => writer.null(),
    };
    writer.bytes(message.signature());
    Ok(writer.finish())
}
