//! A strict reader and a writer of CBOR (RFC 8949), as much of it as COSE needs.
//!
//! The reader borrows, bounds the nesting, and takes only definite lengths and shortest integers, so that equal
//! keys have equal bytes and a duplicate cannot hide. The writer writes what it is told in the order it is told;
//! deterministic order of keys is the caller's business.

use std::str;

/// Deepest nesting of arrays, maps and tags that is read (crypto 7.2).
pub const DEPTH_MAX: usize = 16;

/// Why bytes are not the CBOR that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// An item runs beyond the end.
    #[error("CBOR is truncated")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes follow the CBOR item")]
    Trailing,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("CBOR is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// An indefinite length.
    #[error("CBOR of indefinite length")]
    Indefinite,
    /// A reserved or needlessly long encoding, or text that is not UTF-8.
    #[error("CBOR item is malformed")]
    Malformed,
    /// A key twice in one map.
    #[error("CBOR map has a key twice")]
    DuplicateKey,
    /// An item of another type than expected, or a number out of range.
    #[error("CBOR item is not {0}")]
    Type(&'static str),
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const OTHER: u8 = 7;

/// One well-formed item, with all that is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a>(&'a [u8]);

impl<'a> Item<'a> {
    /// Checks that `bytes` are exactly one item.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CborError> {
        let mut reader = Reader(bytes);
        let item = reader.item(0)?;
        if reader.0.is_empty() { Ok(item) } else { Err(CborError::Trailing) }
    }

    /// The encoded item.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// An integer that fits 64 bits with a sign.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn integer(&self) -> Result<i64, CborError> {
        const ERROR: CborError = CborError::Type("an integer");
        match self.head()? {
            (UNSIGNED, value, _) => i64::try_from(value).map_err(|_| ERROR),
            (NEGATIVE, value, _) => i64::try_from(value).map(|value| -1 - value).map_err(|_| ERROR),
            _ => Err(ERROR),
        }
    }

    /// An integer that is not negative.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn unsigned(&self) -> Result<u64, CborError> {
        match self.head()? {
            (UNSIGNED, value, _) => Ok(value),
            _ => Err(CborError::Type("an unsigned integer")),
        }
    }

    /// A byte string.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn bytes(&self) -> Result<&'a [u8], CborError> {
        match self.head()? {
            (BYTES, _, content) => Ok(content),
            _ => Err(CborError::Type("a byte string")),
        }
    }

    /// A text string.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn text(&self) -> Result<&'a str, CborError> {
        match self.head()? {
            (TEXT, _, content) => str::from_utf8(content).map_err(|_| CborError::Malformed),
            _ => Err(CborError::Type("a text string")),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn boolean(&self) -> Result<bool, CborError> {
        match self.0 {
            [0xf4] => Ok(false),
            [0xf5] => Ok(true),
            _ => Err(CborError::Type("a boolean")),
        }
    }

    /// Whether this is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == [0xf6]
    }

    /// The number and the content of a tag.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn tagged(&self) -> Result<(u64, Item<'a>), CborError> {
        match self.head()? {
            (TAG, number, content) => Ok((number, Item(content))),
            _ => Err(CborError::Type("a tag")),
        }
    }

    /// The items of an array.
    ///
    /// # Errors
    /// [`CborError::Type`].
    pub fn array(&self) -> Result<Vec<Item<'a>>, CborError> {
        match self.head()? {
            (ARRAY, _, content) => split(content),
            _ => Err(CborError::Type("an array")),
        }
    }

    /// The entries of a map in their order.
    ///
    /// # Errors
    /// [`CborError::Type`], [`CborError::DuplicateKey`].
    pub fn map(&self) -> Result<Map<'a>, CborError> {
        let (MAP, _, content) = self.head()? else { return Err(CborError::Type("a map")) };
        let entries: Vec<_> = split(content)?.chunks_exact(2).map(|entry| (entry[0], entry[1])).collect();
        let mut keys: Vec<_> = entries.iter().map(|(key, _)| key.0).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(CborError::DuplicateKey);
        }
        Ok(Map(entries))
    }

    /// Major type, argument, and what follows the head.
    fn head(&self) -> Result<(u8, u64, &'a [u8]), CborError> {
        let mut reader = Reader(self.0);
        let (major, argument) = reader.head()?;
        Ok((major, argument, reader.0))
    }
}

/// The entries of a map, whose keys are all different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<'a>(Vec<(Item<'a>, Item<'a>)>);

impl<'a> Map<'a> {
    /// The value under an integer key.
    #[must_use]
    pub fn get(&self, key: i64) -> Option<Item<'a>> {
        self.0.iter().find(|(found, _)| found.integer() == Ok(key)).map(|(_, value)| *value)
    }

    /// The value under a text key.
    #[must_use]
    pub fn get_text(&self, key: &str) -> Option<Item<'a>> {
        self.0.iter().find(|(found, _)| found.text() == Ok(key)).map(|(_, value)| *value)
    }

    /// All entries, in the order of the bytes.
    #[must_use]
    pub fn entries(&self) -> &[(Item<'a>, Item<'a>)] {
        &self.0
    }
}

/// The items that fill `content`, known to be well-formed.
fn split(content: &[u8]) -> Result<Vec<Item<'_>>, CborError> {
    let mut reader = Reader(content);
    let mut items = Vec::new();
    while !reader.0.is_empty() {
        items.push(reader.item(0)?);
    }
    Ok(items)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next item, at `depth` levels below the outermost.
    fn item(&mut self, depth: usize) -> Result<Item<'a>, CborError> {
        let start = self.0;
        let (major, argument) = self.head()?;
        match major {
            BYTES => {
                self.take(argument)?;
            }
            TEXT => {
                str::from_utf8(self.take(argument)?).map_err(|_| CborError::Malformed)?;
            }
            ARRAY | MAP | TAG => {
                if depth == DEPTH_MAX {
                    return Err(CborError::TooDeep);
                }
                let count = match major {
                    ARRAY => argument,
                    MAP => argument.checked_mul(2).ok_or(CborError::Truncated)?,
                    _ => 1,
                };
                // Each item takes a byte at least, so a huge count ends soon.
                for _ in 0..count {
                    self.item(depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(Item(&start[..start.len() - self.0.len()]))
    }

    /// Major type and argument. For floats and simple values the argument is not looked at.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let length = match info {
            0..24 => return Ok((major, u64::from(info))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err(CborError::Indefinite),
            _ => return Err(CborError::Malformed),
        };
        let argument = self.take(length)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let least = match length {
            1 if major == OTHER => 32,
            1 => 24,
            _ if major == OTHER => 0,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        if argument < least { Err(CborError::Malformed) } else { Ok((major, argument)) }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let length = usize::try_from(length).map_err(|_| CborError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CborError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Appends CBOR to a buffer, integers and lengths in their shortest form.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(UNSIGNED, value),
            Err(_) => self.head(NEGATIVE, (-1 - value).unsigned_abs()),
        }
    }

    /// An integer that is not negative.
    pub fn unsigned(&mut self, value: u64) -> &mut Self {
        self.head(UNSIGNED, value)
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(BYTES, value.len() as u64).raw(value)
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(TEXT, value.len() as u64).raw(value.as_bytes())
    }

    /// The head of an array; its items must follow.
    pub fn array(&mut self, items: u64) -> &mut Self {
        self.head(ARRAY, items)
    }

    /// The head of a map; its keys and values must follow.
    pub fn map(&mut self, entries: u64) -> &mut Self {
        self.head(MAP, entries)
    }

    /// A tag; its content must follow.
    pub fn tag(&mut self, number: u64) -> &mut Self {
        self.head(TAG, number)
    }

    /// A boolean.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.raw(if value { &[0xf5] } else { &[0xf4] })
    }

    /// Null.
    pub fn null(&mut self) -> &mut Self {
        self.raw(&[0xf6])
    }

    /// Bytes that are CBOR already.
    pub fn raw(&mut self, cbor: &[u8]) -> &mut Self {
        self.0.extend_from_slice(cbor);
        self
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let (head, length) = encode_head(major, argument);
        self.raw(&head[..length])
    }
}

/// The head of a byte string of so many bytes, for hashing a structure without building it.
pub(crate) fn bytes_head(length: usize) -> ([u8; 9], usize) {
    encode_head(BYTES, length as u64)
}

fn encode_head(major: u8, argument: u64) -> ([u8; 9], usize) {
    let mut head = [0; 9];
    head[1..].copy_from_slice(&argument.to_be_bytes());
    let (info, length) = match argument {
        0..24 => (argument as u8, 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    head.copy_within(9 - length.., 1);
    head[0] = major << 5 | info;
    (head, length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::Value;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
            ".{0,30}".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Bool),
            any::<f64>().prop_map(Value::Float),
            Just(Value::Null),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec(inner.clone(), 0..6).prop_map(|values| Value::Map(
                    values
                        .into_iter()
                        .enumerate()
                        .map(|(key, value)| (Value::from(key as u64), value))
                        .collect()
                )),
                (100u64..1000, inner).prop_map(|(tag, value)| Value::Tag(tag, Box::new(value))),
            ]
        })
    }

    /// Writes with our writer what the other library holds.
    fn write(writer: &mut Writer, value: &Value) {
        match value {
            Value::Integer(number) => _ = writer.integer(i64::try_from(i128::from(*number)).unwrap()),
            Value::Bytes(bytes) => _ = writer.bytes(bytes),
            Value::Text(text) => _ = writer.text(text),
            Value::Bool(value) => _ = writer.boolean(*value),
            Value::Null => _ = writer.null(),
            Value::Array(items) => {
                writer.array(items.len() as u64);
                items.iter().for_each(|item| write(writer, item));
            }
            Value::Map(entries) => {
                writer.map(entries.len() as u64);
                for (key, value) in entries {
                    write(writer, key);
                    write(writer, value);
                }
            }
            Value::Tag(number, content) => {
                writer.tag(*number);
                write(writer, content);
            }
            other => {
                let mut bytes = Vec::new();
                ciborium::into_writer(other, &mut bytes).unwrap();
                writer.raw(&bytes);
            }
        }
    }

    /// Reads with our reader and compares with what the other library holds.
    fn compare(item: Item<'_>, value: &Value) {
        match value {
            Value::Integer(number) => assert_eq!(i128::from(item.integer().unwrap()), i128::from(*number)),
            Value::Bytes(bytes) => assert_eq!(item.bytes().unwrap(), bytes),
            Value::Text(text) => assert_eq!(item.text().unwrap(), text),
            Value::Bool(value) => assert_eq!(item.boolean().unwrap(), *value),
            Value::Null => assert!(item.is_null()),
            Value::Array(items) => {
                let found = item.array().unwrap();
                assert_eq!(found.len(), items.len());
                found.into_iter().zip(items).for_each(|(found, item)| compare(found, item));
            }
            Value::Map(entries) => {
                let map = item.map().unwrap();
                assert_eq!(map.entries().len(), entries.len());
                for ((key, value), (known_key, known_value)) in map.entries().iter().zip(entries) {
                    compare(*key, known_key);
                    compare(*value, known_value);
                }
            }
            Value::Tag(number, content) => {
                let (found, inner) = item.tagged().unwrap();
                assert_eq!(found, *number);
                compare(inner, content);
            }
            _ => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// An independent library reads what we write and the other way round.
        #[test]
        fn agrees_with_ciborium(value in value()) {
            let mut theirs = Vec::new();
            ciborium::into_writer(&value, &mut theirs).unwrap();
            let mut ours = Writer::new();
            write(&mut ours, &value);
            prop_assert_eq!(ours.finish(), theirs.clone());
            compare(Item::parse(&theirs).unwrap(), &value);
            for length in 0..theirs.len() {
                prop_assert!(Item::parse(&theirs[..length]).is_err());
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(item) = Item::parse(&bytes) {
                let _ = (item.map(), item.array(), item.tagged(), item.text(), item.integer());
            }
        }
    }

    #[test]
    fn odd_encodings_are_refused() {
        for (hex, error) in [
            ("", CborError::Truncated),
            ("0000", CborError::Trailing),
            ("1817", CborError::Malformed),
            ("190017", CborError::Malformed),
            ("5f4100ff", CborError::Indefinite),
            ("9fff", CborError::Indefinite),
            ("1c", CborError::Malformed),
            ("f818", CborError::Malformed),
            ("61ff", CborError::Malformed),
            ("9bffffffffffffffff00", CborError::Truncated),
            ("bbffffffffffffffff00", CborError::Truncated),
            ("5bffffffffffffffff00", CborError::Truncated),
        ] {
            assert_eq!(Item::parse(&hex::decode(hex).unwrap()), Err(error), "{hex}");
        }
        let twice = hex::decode("a2010101 02".replace(' ', "")).unwrap();
        assert_eq!(Item::parse(&twice).unwrap().map(), Err(CborError::DuplicateKey));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = vec![0x81; DEPTH_MAX];
        bytes.push(0);
        assert!(Item::parse(&bytes).is_ok());
        bytes.insert(0, 0xc6);
        assert_eq!(Item::parse(&bytes), Err(CborError::TooDeep));
        assert_eq!(Item::parse(&vec![0x81; 1_000_000]), Err(CborError::TooDeep));
    }
}
