//! A small writer and reader of DER (X.690), for the structures that this crate makes and takes apart itself:
//! certificates, requests, keys and ECDSA signatures.
//!
//! The writer keeps one buffer and moves it when a length becomes known, so that with enough capacity no copy of
//! a private key is left behind in freed memory. The reader is strict: definite, minimal lengths only.

use zeroize::Zeroizing;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Constructed, context-specific tag `[number]`.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Primitive, context-specific tag `[number]`.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// The bytes are not DER of the expected structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed DER")]
pub(crate) struct DerError;

/// Appends DER to one buffer.
pub(crate) struct DerWriter(Zeroizing<Vec<u8>>);

impl DerWriter {
    /// An empty buffer; give enough capacity for the whole if the content is secret.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        DerWriter(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    /// One element whose content `write` appends.
    pub(crate) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.0.push(tag);
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - start - 1;
        if length < 0x80 {
            self.0[start] = length as u8;
            return;
        }
        let bytes = length.to_be_bytes();
        let skipped = length.leading_zeros() as usize / 8;
        self.0[start] = 0x80 | (bytes.len() - skipped) as u8;
        let end = start + 1;
        self.0.splice(end..end, bytes[skipped..].iter().copied());
    }

    /// One element with the given content.
    pub(crate) fn element(&mut self, tag: u8, content: &[u8]) {
        self.nested(tag, |w| w.raw(content));
    }

    /// Bytes that are DER already.
    pub(crate) fn raw(&mut self, der: &[u8]) {
        self.0.extend_from_slice(der);
    }

    /// An unsigned big-endian integer of any length, made minimal.
    pub(crate) fn unsigned(&mut self, big_endian: &[u8]) {
        let first = big_endian.iter().position(|&byte| byte != 0).unwrap_or(big_endian.len());
        let digits = &big_endian[first..];
        self.nested(INTEGER, |w| {
            if digits.first().is_none_or(|&byte| byte >= 0x80) {
                w.raw(&[0]);
            }
            w.raw(digits);
        });
    }

    /// A bit string of whole bytes.
    pub(crate) fn bit_string(&mut self, bytes: &[u8]) {
        self.nested(BIT_STRING, |w| {
            w.raw(&[0]);
            w.raw(bytes);
        });
    }

    /// An object identifier, then nothing, in a sequence: an AlgorithmIdentifier without parameters.
    pub(crate) fn algorithm(&mut self, oid: &[u8]) {
        self.nested(SEQUENCE, |w| w.element(OID, oid));
    }

    /// What was written.
    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// What was written, when it is public.
    pub(crate) fn finish_public(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

/// Reads DER from the front of a slice.
#[derive(Clone)]
pub(crate) struct DerReader<'a>(&'a [u8]);

/// One element: its tag, its content, and the whole with its header.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) raw: &'a [u8],
}

impl<'a> DerReader<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Self {
        DerReader(der)
    }

    /// A reader of the one element with `tag` that fills `der`.
    pub(crate) fn only(der: &'a [u8], tag: u8) -> Result<Self, DerError> {
        let mut reader = DerReader(der);
        let inner = reader.nested(tag)?;
        reader.end()?;
        Ok(inner)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), DerError> {
        if self.0.is_empty() { Ok(()) } else { Err(DerError) }
    }

    /// The next element, whatever its tag.
    pub(crate) fn any(&mut self) -> Result<Element<'a>, DerError> {
        let (&tag, rest) = self.0.split_first().ok_or(DerError)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError);
        }
        let (&first, rest) = rest.split_first().ok_or(DerError)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || rest.len() < count || rest[0] == 0 {
                return Err(DerError);
            }
            let length = rest[..count].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            if length < 0x80 {
                return Err(DerError);
            }
            (length, &rest[count..])
        };
        let (content, after) = rest.split_at_checked(length).ok_or(DerError)?;
        let raw = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Ok(Element { tag, content, raw })
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which must have `tag`.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        let element = self.any()?;
        if element.tag == tag { Ok(element.content) } else { Err(DerError) }
    }

    /// A reader of the content of the next element, which must have `tag`.
    pub(crate) fn nested(&mut self, tag: u8) -> Result<DerReader<'a>, DerError> {
        self.expect(tag).map(DerReader)
    }

    /// A non-negative integer, as minimal big-endian bytes (empty for zero).
    pub(crate) fn unsigned(&mut self) -> Result<&'a [u8], DerError> {
        let content = self.expect(INTEGER)?;
        match content {
            [] => Err(DerError),
            [0, next, ..] if *next < 0x80 => Err(DerError),
            [0, rest @ ..] => Ok(rest),
            [first, ..] if *first >= 0x80 => Err(DerError),
            _ => Ok(content),
        }
    }

    /// A bit string of whole bytes.
    pub(crate) fn bit_string(&mut self) -> Result<&'a [u8], DerError> {
        match self.expect(BIT_STRING)? {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(DerError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What the writer writes the reader reads, at all sizes of length fields.
        #[test]
        fn elements_round_trip(length in prop_oneof![0usize..300, 65_000usize..66_000], number in any::<u64>()) {
            let mut writer = DerWriter::with_capacity(0);
            writer.nested(SEQUENCE, |w| {
                w.element(OCTET_STRING, &vec![7; length]);
                w.unsigned(&number.to_be_bytes());
            });
            let der = writer.finish_public();
            let mut reader = DerReader::only(&der, SEQUENCE).unwrap();
            prop_assert_eq!(reader.expect(OCTET_STRING).unwrap().len(), length);
            let digits = reader.unsigned().unwrap();
            prop_assert_eq!(digits.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte)), number);
            prop_assert!(reader.is_empty());
        }

        /// Arbitrary bytes never panic the reader.
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = DerReader::new(&bytes);
            while let Ok(element) = reader.any() {
                prop_assert!(element.raw.len() >= 2);
            }
        }
    }

    #[test]
    fn lax_encodings_are_refused() {
        for hex in ["0480", "048100", "04820001ff", "0484ffffffff", "1f0100", "04", "0402aa"] {
            assert!(DerReader::new(&hex::decode(hex).unwrap()).any().is_err(), "{hex}");
        }
        for hex in ["0200", "02020001", "0201ff"] {
            assert!(DerReader::new(&hex::decode(hex).unwrap()).unsigned().is_err(), "{hex}");
        }
    }
}
