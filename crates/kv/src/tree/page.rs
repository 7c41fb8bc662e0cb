//! A sorted run of records in one piece of memory.
//!
//! Searching compares eight bytes of each key as one number, its *head*, taken after the prefix that all keys of
//! the page share; only keys with equal heads are compared in full. Short records lie one after the other in one
//! buffer, unordered, with garbage in between that is dropped when the buffer would grow; long ones are shared with
//! the write set that brought them.

use super::{Previous, Record};
use crate::SmallBytes;
use ccf_types::SeqNo;
use std::ops::Range;

/// Up to `N` records, ascending by key.
#[repr(C)] // in the order in which a search touches the fields
pub(super) struct Page<const N: usize> {
    len: u16,
    /// How many bytes of `prefix` are used.
    skip: u16,
    /// Bytes of `bytes` that belong to no record.
    garbage: u32,
    /// All keys begin so. It may be shorter than what they really share.
    prefix: [u8; PREFIX_MAX],
    heads: [u64; N],
    slots: [Slot; N],
    bytes: Vec<u8>,
    long: Vec<Long>,
}

/// Where a record is.
#[derive(Clone, Copy, Default)]
struct Slot {
    version: u64,
    /// Offset in `bytes`, where key and value follow each other, or index in `long`.
    at: u32,
    key_len: u16,
    /// [`LONG`] if the record is in `long`.
    value_len: u16,
}

#[derive(Clone)]
struct Long {
    key: SmallBytes,
    value: SmallBytes,
}

const PREFIX_MAX: usize = 24;
const HEAD_BYTES: usize = 8;
/// Records up to this size are copied into the page.
const SHORT_BYTES_MAX: usize = 512;
const LONG: u16 = u16::MAX;
/// Room for more records in a fresh buffer: at least this many bytes.
const SLACK_BYTES_MIN: usize = 64;

const _: () = assert!(size_of::<Slot>() == 16 && SHORT_BYTES_MAX < LONG as usize);

impl<const N: usize> Page<N> {
    pub(super) fn new() -> Self {
        Self {
            len: 0,
            skip: 0,
            garbage: 0,
            prefix: [0; PREFIX_MAX],
            heads: [0; N],
            slots: [Slot::default(); N],
            bytes: Vec::new(),
            long: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == N
    }

    pub(super) fn record(&self, at: usize) -> Record<'_> {
        let slot = &self.slots[at];
        let version = SeqNo(slot.version);
        if slot.value_len == LONG {
            let long = &self.long[slot.at as usize];
            return Record { key: &long.key, version, value: &long.value };
        }
        let (key, value) = self.bytes[slot.range()].split_at(usize::from(slot.key_len));
        Record { key, version, value }
    }

    /// The position of a key, or where it would have to be inserted.
    #[inline]
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let prefix = &self.prefix[..usize::from(self.skip)];
        if !prefix.is_empty() && !key.starts_with(prefix) {
            return Err(if key < prefix { 0 } else { self.len() });
        }
        let heads = &self.heads[..self.len()];
        let head = head(key, prefix.len());
        let mut low = heads.partition_point(|&other| other < head);
        let mut high = low;
        // Heads rarely repeat; if they do, often many times.
        if heads.get(low) == Some(&head) {
            high = if heads.get(low + 1) == Some(&head) {
                low + heads[low..].partition_point(|&other| other == head)
            } else {
                low + 1
            };
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.record(middle).key.cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Adds a record at the position that [`search`](Self::search) answered. The page must not be full.
    pub(super) fn insert(&mut self, at: usize, key: &[u8], version: SeqNo, value: &SmallBytes) {
        self.insert_sharing(at, key, version, value, || value.clone());
    }

    /// As [`insert`](Self::insert); `share` makes the value that a long record keeps.
    fn insert_sharing(
        &mut self,
        at: usize,
        key: &[u8],
        version: SeqNo,
        value: &[u8],
        share: impl FnOnce() -> SmallBytes,
    ) {
        let len = self.len();
        self.fit_prefix(key);
        let slot = self.store(key, version, value, share);
        self.heads.copy_within(at..len, at + 1);
        self.slots.copy_within(at..len, at + 1);
        self.heads[at] = head(key, usize::from(self.skip));
        self.slots[at] = slot;
        self.len += 1;
    }

    /// Gives a record another version and value.
    pub(super) fn replace(&mut self, at: usize, version: SeqNo, value: &SmallBytes) -> Previous {
        let Record { version: old_version, value: old_value, .. } = self.record(at);
        let previous = Previous { version: old_version, value: self.share(at, old_value) };
        let slot = self.slots[at];
        if slot.value_len == LONG {
            // Once long it stays apart: it may well become long again.
            self.long[slot.at as usize].value = value.clone();
            self.slots[at].version = version.0;
        } else if value.len() <= usize::from(slot.value_len) {
            let start = slot.at as usize + usize::from(slot.key_len);
            self.bytes[start..start + value.len()].copy_from_slice(value);
            self.garbage += u32::from(slot.value_len) - value.len() as u32;
            self.slots[at] = Slot { version: version.0, value_len: value.len() as u16, ..slot };
        } else {
            let key = SmallBytes::copy_from(&self.bytes[slot.range()][..usize::from(slot.key_len)]);
            // The old bytes first become garbage, so that making room may drop them.
            self.garbage += u32::from(slot.key_len) + u32::from(slot.value_len);
            self.slots[at] = Slot { key_len: 0, value_len: 0, ..slot };
            self.slots[at] = self.store(&key, version, value, || value.clone());
        }
        previous
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, at: usize) -> Previous {
        let Record { version, value, .. } = self.record(at);
        let previous = Previous { version, value: self.share(at, value) };
        let slot = self.slots[at];
        if slot.value_len == LONG {
            self.long.swap_remove(slot.at as usize);
            let (moved, live) = (self.long.len() as u32, self.len());
            for other in &mut self.slots[..live] {
                if other.value_len == LONG && other.at == moved {
                    other.at = slot.at;
                }
            }
        } else {
            self.garbage += u32::from(slot.key_len) + u32::from(slot.value_len);
        }
        let len = self.len();
        self.heads.copy_within(at + 1..len, at);
        self.slots.copy_within(at + 1..len, at);
        self.len -= 1;
        previous
    }

    /// A page of some of the records.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let mut part = Self::new();
        part.extend(self, range);
        part
    }

    /// A page of these records, then a key without value if one is given, then the records of `right`.
    pub(super) fn joined(&self, between: Option<&[u8]>, right: &Self) -> Self {
        let mut joined = self.part(0..self.len());
        if let Some(key) = between {
            joined.insert(joined.len(), key, SeqNo::NONE, &SmallBytes::EMPTY);
        }
        joined.extend(right, 0..right.len());
        joined
    }

    /// Bytes set aside for short records.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends records of a page whose keys are all greater.
    fn extend(&mut self, from: &Self, range: Range<usize>) {
        let Some(last) = range.clone().last() else { return };
        if self.len == 0 {
            self.set_prefix(from.record(range.start).key, from.record(last).key);
        }
        let bytes = from.slots[range.clone()].iter().map(Slot::bytes).sum();
        self.make_room(bytes);
        for at in range {
            let record = from.record(at);
            let share = || from.share(at, record.value);
            self.insert_sharing(self.len(), record.key, record.version, record.value, share);
        }
    }

    /// The value of a record as a value of its own; long ones are shared.
    fn share(&self, at: usize, value: &[u8]) -> SmallBytes {
        let slot = &self.slots[at];
        if slot.value_len == LONG {
            self.long[slot.at as usize].value.clone()
        } else {
            SmallBytes::copy_from(value)
        }
    }

    fn store(
        &mut self,
        key: &[u8],
        version: SeqNo,
        value: &[u8],
        share: impl FnOnce() -> SmallBytes,
    ) -> Slot {
        let bytes = key.len() + value.len();
        if bytes > SHORT_BYTES_MAX {
            self.long.push(Long { key: SmallBytes::copy_from(key), value: share() });
            let at = self.long.len() as u32 - 1;
            return Slot { version: version.0, at, key_len: 0, value_len: LONG };
        }
        self.make_room(bytes);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Slot { version: version.0, at, key_len: key.len() as u16, value_len: value.len() as u16 }
    }

    /// Makes room for `more` bytes in the buffer, by dropping garbage if there is much of it.
    fn make_room(&mut self, more: usize) {
        let used = self.bytes.len();
        if used + more <= self.bytes.capacity() {
            return;
        }
        if self.garbage as usize * 4 >= used {
            self.bytes = self.packed(more);
            self.garbage = 0;
        } else {
            self.bytes.reserve_exact(more + slack(used));
        }
    }

    /// A fresh buffer without garbage; moves the slots to it.
    fn packed(&mut self, more: usize) -> Vec<u8> {
        let live = self.bytes.len() - self.garbage as usize;
        let mut bytes = Vec::with_capacity(live + more + slack(live));
        let len = self.len();
        for slot in self.slots[..len].iter_mut().filter(|slot| slot.value_len != LONG) {
            let at = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[slot.range()]);
            slot.at = at;
        }
        bytes
    }

    /// Shortens the shared prefix so that `key` has it too.
    fn fit_prefix(&mut self, key: &[u8]) {
        let prefix = &self.prefix[..usize::from(self.skip)];
        if key.starts_with(prefix) {
            return;
        }
        self.skip = common_prefix(prefix, key) as u16;
        for at in 0..self.len() {
            self.heads[at] = head(self.record(at).key, usize::from(self.skip));
        }
    }

    /// Notes what the first and the last key to come share.
    fn set_prefix(&mut self, first: &[u8], last: &[u8]) {
        let shared = common_prefix(first, last).min(PREFIX_MAX);
        self.prefix[..shared].copy_from_slice(&first[..shared]);
        self.skip = shared as u16;
    }
}

impl<const N: usize> Clone for Page<N> {
    /// Somebody is about to write to the copy: it gets some room.
    fn clone(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.capacity().max(self.bytes.len() + SLACK_BYTES_MIN));
        bytes.extend_from_slice(&self.bytes);
        Self { bytes, long: self.long.clone(), ..*self }
    }
}

impl Slot {
    fn range(&self) -> Range<usize> {
        let start = self.at as usize;
        start..start + self.bytes()
    }

    /// Bytes in the buffer.
    fn bytes(&self) -> usize {
        if self.value_len == LONG { 0 } else { usize::from(self.key_len) + usize::from(self.value_len) }
    }
}

/// Length of what two byte strings share at their beginnings.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Eight bytes of a key as a number that orders as they do; missing ones count as zero.
#[inline]
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk::<HEAD_BYTES>() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; HEAD_BYTES];
            head[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(head)
        }
    }
}

/// How much a buffer of `used` bytes grows.
fn slack(used: usize) -> usize {
    (used / 4).max(SLACK_BYTES_MIN)
}
