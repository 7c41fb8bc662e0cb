//! The newest entries in memory, for peers: what most messages carry. Older ones are read from the ledger files.

use bytes::{Bytes, BytesMut};
use ccf_ledger::files::{EntryRange, FileError, LedgerReader};
use ccf_types::SeqNo;
use std::{cell::RefCell, collections::VecDeque};

/// Bytes of entries kept although the disk has them, so that a peer a little behind costs no reading.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// The newest entries of the log.
pub(super) struct Tail {
    /// The entry before the first one kept.
    before: SeqNo,
    entries: VecDeque<Bytes>,
    bytes: usize,
    reader: LedgerReader,
    /// The last range read out of files: it is asked for twice, once to learn where a message ends and once to send it.
    recent: RefCell<Option<EntryRange>>,
}

/// Entries of one message.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    /// The first and the last entry; the last is before the first if there is none.
    pub(super) first: SeqNo,
    pub(super) last: SeqNo,
    /// Their bytes, back to back.
    pub(super) bytes: Bytes,
}

impl Tail {
    /// The tail of a log that ends with `last`.
    pub(super) fn new(last: SeqNo, reader: LedgerReader) -> Tail {
        Tail { before: last, entries: VecDeque::new(), bytes: 0, reader, recent: RefCell::new(None) }
    }

    /// The next entry.
    pub(super) fn push(&mut self, entry: Bytes) {
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    /// Drops everything after `seqno`.
    pub(super) fn truncate(&mut self, seqno: SeqNo) {
        while self.last() > seqno {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= entry.len(),
                None => self.before = seqno,
            }
        }
        *self.recent.get_mut() = None;
    }

    /// The files hold everything up to `on_disk`: forgets what is there and more than is worth keeping. Without peers
    /// nothing is.
    pub(super) fn forget(&mut self, on_disk: SeqNo, has_peers: bool) {
        let limit = if has_peers { KEPT_BYTES_MAX } else { 0 };
        while self.bytes > limit && self.before < on_disk {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.len();
            self.before = self.before.next();
        }
    }

    fn last(&self) -> SeqNo {
        SeqNo(self.before.0 + self.entries.len() as u64)
    }

    fn at(&self, seqno: SeqNo) -> Option<&Bytes> {
        let offset = seqno.0.checked_sub(self.before.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The last of `first ..= last` that makes a message of about `bytes` with all before it; at least `first`.
    pub(super) fn last_fitting(&self, first: SeqNo, last: SeqNo, bytes: u64) -> SeqNo {
        if first <= self.before {
            let budget = usize::try_from(bytes).unwrap_or(usize::MAX);
            let range = self.read(first, last.min(self.before), budget).ok().flatten();
            return range.map_or(first, |end| end.max(first));
        }
        let mut sum = 0;
        let mut fitting = first;
        let mut at = first;
        while at <= last {
            sum += self.at(at).map_or(0, |entry| entry.len() as u64);
            if sum > bytes {
                break;
            }
            fitting = at;
            at = at.next();
        }
        fitting
    }

    /// Reads a range into the memory of recent ones, at least its first entry; the last entry read.
    fn read(&self, first: SeqNo, last: SeqNo, bytes: usize) -> Result<Option<SeqNo>, FileError> {
        let mut recent = self.recent.borrow_mut();
        let known = recent.as_ref().filter(|range| range.from == first && range.to() <= last);
        if let Some(range) = known {
            return Ok(Some(range.to()));
        }
        let mut range = self.reader.read_range(first, last, bytes)?;
        if range.is_none() {
            // One entry larger than a message goes alone.
            range = self.reader.read_range(first, first, usize::MAX)?;
        }
        let end = range.as_ref().map(EntryRange::to);
        *recent = range;
        Ok(end)
    }

    /// The bytes of `first ..= last`; none if some entry is neither here nor in the files.
    ///
    /// # Errors
    /// [`FileError`] if a file cannot be read.
    pub(super) fn payload(&self, first: SeqNo, last: SeqNo) -> Result<Option<Payload>, FileError> {
        let mut bytes = BytesMut::new();
        let mut next = first;
        if first <= self.before {
            let end = last.min(self.before);
            if self.read(first, end, usize::MAX)? != Some(end) {
                // The range remembered ends before: read again as much as is wanted.
                *self.recent.borrow_mut() = None;
                if self.read(first, end, usize::MAX)? != Some(end) {
                    return Ok(None);
                }
            }
            if let Some(range) = &*self.recent.borrow() {
                bytes.extend_from_slice(&range.bytes);
            }
            next = end.next();
        }
        if next == last && bytes.is_empty() {
            return Ok(self.at(next).map(|entry| Payload { first, last, bytes: entry.clone() }));
        }
        while next <= last {
            let Some(entry) = self.at(next) else { return Ok(None) };
            bytes.extend_from_slice(entry);
            next = next.next();
        }
        Ok(Some(Payload { first, last, bytes: bytes.freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(before: u64, count: u64) -> Tail {
        let directory = tempfile::tempdir().expect("directory");
        let mut tail = Tail::new(SeqNo(before), LedgerReader::new(directory.path(), &[]));
        for at in 1..=count {
            tail.push(Bytes::from(vec![u8::try_from(before + at).expect("small"); 10]));
        }
        tail
    }

    #[test]
    fn ranges_are_whole_or_absent() {
        let mut tail = tail(4, 5);
        let bytes = |tail: &Tail, first, last| {
            tail.payload(SeqNo(first), SeqNo(last)).expect("no files").map(|payload| payload.bytes.len())
        };
        assert_eq!(bytes(&tail, 5, 9), Some(50));
        assert_eq!(bytes(&tail, 9, 9), Some(10));
        assert_eq!(bytes(&tail, 9, 8), Some(0));
        assert_eq!(bytes(&tail, 5, 10), None);
        assert_eq!(bytes(&tail, 4, 5), None, "not in memory, and there are no files");
        tail.truncate(SeqNo(6));
        assert_eq!(bytes(&tail, 5, 6), Some(20));
        assert_eq!(bytes(&tail, 7, 7), None);
        tail.forget(SeqNo(5), false);
        assert_eq!((tail.before, tail.bytes), (SeqNo(5), 10));
    }

    #[test]
    fn messages_end_where_they_are_full() {
        let tail = tail(0, 9);
        assert_eq!(tail.last_fitting(SeqNo(1), SeqNo(9), 35), SeqNo(3));
        assert_eq!(tail.last_fitting(SeqNo(1), SeqNo(2), 35), SeqNo(2));
        assert_eq!(tail.last_fitting(SeqNo(4), SeqNo(9), 5), SeqNo(4), "an entry too large goes alone");
    }
}
