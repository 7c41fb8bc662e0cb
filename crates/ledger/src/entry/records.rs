//! Map records of one domain (section 5.3), read in a single pass.
//!
//! ```text
//! lp(name) | u64 read version | u64 read count | u64 W, W x (lp(key) lp(value)) | u64 R, R x lp(key)
//! ```
//! `lp` is a `u64` length followed by that many bytes. Versions and reads are zero in everything but ledgers of
//! the 1.x era, where read records (`lp(key) u64`) may stand; they are skipped.

use ccf_types::Domain;
use std::collections::HashSet;

use super::EntryError;

/// One step through a domain. A map's writes and removes follow its [`Record::Map`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The next map begins.
    Map {
        /// Its name, valid for the domain.
        name: &'a str,
        /// How many writes follow. Bounded by the bytes left, so it may size a collection.
        writes: usize,
    },
    /// A key gets a value.
    Write {
        /// The key.
        key: &'a [u8],
        /// The new value.
        value: &'a [u8],
    },
    /// A key is removed.
    Remove {
        /// The key.
        key: &'a [u8],
    },
}

/// Iterates over the records of a domain; ends after the first error. Every byte must belong to a record.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    domain: Domain,
    state: State,
    last_name: Option<&'a str>,
    /// Filled from the first map on that is out of order: only then can a name repeat.
    seen: Option<HashSet<&'a str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Map,
    Writes(u64),
    Removes(u64),
    Ended,
}

/// The shortest write is two empty byte strings, the shortest remove one.
const WRITE_BYTES_MIN: u64 = 16;
const REMOVE_BYTES_MIN: u64 = 8;
const READ_BYTES_MIN: u64 = 16;

impl<'a> Records<'a> {
    /// The records in `bytes`, which are a whole domain without the fixed fields of the public one.
    #[must_use]
    pub fn new(bytes: &'a [u8], domain: Domain) -> Self {
        Self { bytes, at: 0, domain, state: State::Map, last_name: None, seen: None }
    }

    /// Reads the whole domain, and only says whether it is well formed.
    ///
    /// # Errors
    /// The first [`EntryError`] met.
    pub fn check(self) -> Result<(), EntryError> {
        for record in self {
            record?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Record<'a>>, EntryError> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::Map if self.at == self.bytes.len() => return Ok(None),
                State::Map => return self.map().map(Some),
                State::Writes(0) => {
                    let removes = self.count(REMOVE_BYTES_MIN)?;
                    self.state = State::Removes(removes);
                }
                State::Writes(left) => {
                    self.state = State::Writes(left - 1);
                    let (key, value) = (self.lp()?, self.lp()?);
                    return Ok(Some(Record::Write { key, value }));
                }
                State::Removes(0) => self.state = State::Map,
                State::Removes(left) => {
                    self.state = State::Removes(left - 1);
                    return Ok(Some(Record::Remove { key: self.lp()? }));
                }
            }
        }
    }

    fn map(&mut self) -> Result<Record<'a>, EntryError> {
        let start = self.at;
        let name = self.lp()?;
        let name = self.admit(name, start)?;
        let _read_version = self.u64()?;
        for _ in 0..self.count(READ_BYTES_MIN)? {
            self.lp()?;
            self.u64()?;
        }
        let writes = self.count(WRITE_BYTES_MIN)?;
        self.state = State::Writes(writes);
        Ok(Record::Map { name, writes: usize::try_from(writes).map_err(|_| EntryError::Record(self.at))? })
    }

    /// Checks the name of the map whose record begins at `start`.
    fn admit(&mut self, name: &'a [u8], start: usize) -> Result<&'a str, EntryError> {
        let invalid =
            || EntryError::MapName(String::from_utf8_lossy(name).chars().take(NAME_SHOWN).collect());
        let name = std::str::from_utf8(name).map_err(|_| invalid())?;
        let domain = if name.starts_with("public:") { Domain::Public } else { Domain::Private };
        if domain != self.domain {
            return Err(EntryError::WrongDomain(name.to_owned()));
        }
        if self.seen.is_none() && self.last_name.is_some_and(|last| name <= last) {
            self.seen = Some(self.names_before(start)?);
        }
        if let Some(seen) = &mut self.seen
            && !seen.insert(name)
        {
            return Err(EntryError::DuplicateMap(name.to_owned()));
        }
        self.last_name = Some(name);
        Ok(name)
    }

    fn names_before(&self, end: usize) -> Result<HashSet<&'a str>, EntryError> {
        let mut names = HashSet::new();
        for record in Records::new(&self.bytes[..end], self.domain) {
            if let Record::Map { name, .. } = record? {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn u64(&mut self) -> Result<u64, EntryError> {
        let (number, _) = self.rest().split_first_chunk::<8>().ok_or(EntryError::Record(self.at))?;
        self.at += 8;
        Ok(u64::from_le_bytes(*number))
    }

    /// A count of items of at least `bytes_min` each, all of which must fit what is left.
    fn count(&mut self, bytes_min: u64) -> Result<u64, EntryError> {
        let at = self.at;
        let count = self.u64()?;
        if count > self.rest().len() as u64 / bytes_min { Err(EntryError::Record(at)) } else { Ok(count) }
    }

    fn lp(&mut self) -> Result<&'a [u8], EntryError> {
        let at = self.at;
        let len = self.u64()?;
        let bytes =
            usize::try_from(len).ok().and_then(|len| self.rest().get(..len)).ok_or(EntryError::Record(at))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.step();
        if result.is_err() {
            self.state = State::Ended;
        }
        result.transpose()
    }
}

/// Characters of a bad name that an error message repeats.
const NAME_SHOWN: usize = 64;
