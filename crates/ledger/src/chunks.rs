//! Where chunks end (section 11): decided by the primary, carried in entry flags, remembered by every node.

use ccf_types::SeqNo;
use std::collections::VecDeque;

use crate::{entry::Flags, limits::CHUNK_FILE_BYTES_MAX};

/// Sizes of the entries since the last chunk end that cannot be rolled back, chunk ends, and requests for one.
///
/// The owner calls [`append`](Self::append) for every entry in order, its own and received ones;
/// [`ends_chunk`](Self::ends_chunk) before it builds a signature entry; [`rollback`](Self::rollback) and
/// [`compact`](Self::compact) with the store.
#[derive(Clone, Debug)]
pub struct ChunkAccounting {
    chunk_bytes: u64,
    /// The chunk end before everything kept here.
    base: SeqNo,
    /// Bytes of the entries `base + 1 ..= base + 1 + i`, for each `i`.
    totals: VecDeque<u64>,
    /// Bytes of forgotten entries, which the totals still include.
    forgotten: u64,
    /// Chunk ends after `base`, ascending.
    ends: VecDeque<SeqNo>,
    /// Transactions that asked for a chunk end, ascending, not before `base`.
    requests: VecDeque<SeqNo>,
}

impl ChunkAccounting {
    /// Begins after `last`, the end of a chunk (0, or the seqno of the snapshot a node starts from).
    /// `chunk_bytes` is `ledger.chunk_size`.
    #[must_use]
    pub fn new(chunk_bytes: u64, last: SeqNo) -> Self {
        Self {
            chunk_bytes,
            base: last,
            totals: VecDeque::new(),
            forgotten: 0,
            ends: VecDeque::new(),
            requests: VecDeque::new(),
        }
    }

    /// Counts the next entry of `entry_bytes` bytes, header included.
    ///
    /// # Panics
    /// If `seqno` is not the next one: an entry would be missing from the ledger.
    pub fn append(&mut self, seqno: SeqNo, entry_bytes: u64, flags: Flags) {
        assert_eq!(seqno, self.last().next(), "entries are counted in order");
        if flags.contains(Flags::CHUNK_BEFORE) {
            self.note_end(seqno.previous());
        }
        let total = self.totals.back().copied().unwrap_or(self.forgotten) + entry_bytes;
        self.totals.push_back(total);
        if flags.contains(Flags::CHUNK_AFTER) {
            self.note_end(seqno);
        }
    }

    /// The transaction at `seqno` wants the chunk to end with the next signature.
    pub fn request(&mut self, seqno: SeqNo) {
        let at = self.requests.partition_point(|other| *other < seqno);
        if self.requests.get(at) != Some(&seqno) && seqno > self.base {
            self.requests.insert(at, seqno);
        }
    }

    /// Whether the signature about to be written at `seqno` ends its chunk, by size or by request. A due or
    /// requested snapshot ends it too; that is for the caller to add.
    #[must_use]
    pub fn ends_chunk(&self, seqno: SeqNo) -> bool {
        let end = self.last_end_before(seqno);
        let forced = self.requests.iter().rev().find(|request| **request <= seqno);
        self.bytes_between(end, seqno.previous()) >= self.chunk_bytes
            || forced.is_some_and(|request| *request > end)
    }

    /// Whether the open chunk has grown so large without a signature that one must come now, lest the file
    /// outgrow its table (section 21, 17).
    #[must_use]
    pub fn signature_overdue(&self) -> bool {
        let end = self.last_end_before(self.last().next());
        self.bytes_between(end, self.last()) >= CHUNK_FILE_BYTES_MAX / 2
    }

    /// Forgets entries, ends and requests after `seqno`.
    pub fn rollback(&mut self, seqno: SeqNo) {
        let kept = seqno.0.saturating_sub(self.base.0);
        self.totals.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.ends.truncate(self.ends.partition_point(|end| *end <= seqno));
        self.requests.truncate(self.requests.partition_point(|request| *request <= seqno));
    }

    /// `seqno` is committed: forgets what lies before the last chunk end below it.
    pub fn compact(&mut self, seqno: SeqNo) {
        let settled = self.ends.partition_point(|end| *end < seqno);
        let Some(base) = settled.checked_sub(1).map(|at| self.ends[at]) else {
            return;
        };
        let dropped = usize::try_from(base.0 - self.base.0).unwrap_or(usize::MAX).min(self.totals.len());
        if let Some(total) = self.totals.drain(..dropped).next_back() {
            self.forgotten = total;
        }
        self.ends.drain(..settled);
        let satisfied = self.requests.partition_point(|request| *request <= base);
        self.requests.drain(..satisfied);
        self.base = base;
    }

    /// The last entry counted.
    #[must_use]
    pub fn last(&self) -> SeqNo {
        SeqNo(self.base.0 + self.totals.len() as u64)
    }

    fn note_end(&mut self, seqno: SeqNo) {
        if seqno > self.ends.back().copied().unwrap_or(self.base) {
            self.ends.push_back(seqno);
        }
    }

    /// The last chunk end before `seqno`.
    #[must_use]
    pub fn end_before(&self, seqno: SeqNo) -> SeqNo {
        self.last_end_before(seqno)
    }

    fn last_end_before(&self, seqno: SeqNo) -> SeqNo {
        self.ends.iter().rev().find(|end| **end < seqno).copied().unwrap_or(self.base)
    }

    /// Bytes of the entries `after + 1 ..= up_to`.
    fn bytes_between(&self, after: SeqNo, up_to: SeqNo) -> u64 {
        let total = |seqno: SeqNo| match seqno.0.saturating_sub(self.base.0) {
            0 => self.forgotten,
            count => {
                let at = usize::try_from(count - 1).unwrap_or(usize::MAX);
                self.totals.get(at).or(self.totals.back()).copied().unwrap_or(self.forgotten)
            }
        };
        total(up_to).saturating_sub(total(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// V15: entries of the first chunks of a real ledger with a chunk size of 20 KB.
    #[test]
    fn chunk_rule_of_the_specification() {
        let mut chunks = ChunkAccounting::new(20480, SeqNo(2));
        let offsets = [8u64, 6208, 8248, 14452, 16488, 16843, 18915, 19976, 20331, 21392, 21747, 23888];
        for (seqno, pair) in (3..).zip(offsets.windows(2)) {
            match seqno {
                8 | 10 => assert!(!chunks.ends_chunk(SeqNo(seqno)), "{seqno}"),
                13 => assert!(chunks.ends_chunk(SeqNo(seqno))),
                _ => {}
            }
            let flags = if seqno == 13 { Flags::CHUNK_AFTER } else { Flags::NONE };
            chunks.append(SeqNo(seqno), pair[1] - pair[0], flags);
        }
        assert!(!chunks.ends_chunk(SeqNo(14)));
    }

    #[test]
    fn a_request_cuts_at_the_next_signature_only() {
        let mut chunks = ChunkAccounting::new(1 << 20, SeqNo(0));
        for seqno in 1..=4 {
            chunks.append(SeqNo(seqno), 100, Flags::NONE);
        }
        chunks.request(SeqNo(4));
        assert!(chunks.ends_chunk(SeqNo(5)));
        chunks.append(SeqNo(5), 100, Flags::CHUNK_AFTER);
        assert!(!chunks.ends_chunk(SeqNo(6)));
        chunks.rollback(SeqNo(4));
        assert!(chunks.ends_chunk(SeqNo(5)), "the end was rolled back, the request was not");
        chunks.rollback(SeqNo(3));
        assert!(!chunks.ends_chunk(SeqNo(4)), "the request was rolled back");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Entry(u64),
        Signature(u64),
        Recovery(u64),
        Request,
        Rollback(prop::sample::Index),
        Compact(prop::sample::Index),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (44u64..400).prop_map(Op::Entry),
            2 => (44u64..400).prop_map(Op::Signature),
            1 => (44u64..400).prop_map(Op::Recovery),
            1 => Just(Op::Request),
            1 => any::<prop::sample::Index>().prop_map(Op::Rollback),
            1 => any::<prop::sample::Index>().prop_map(Op::Compact),
        ]
    }

    proptest! {
        /// Against a model that keeps everything and applies the rule by its words.
        #[test]
        fn decisions_equal_those_of_a_model(ops in prop::collection::vec(op(), 0..80)) {
            const CHUNK: u64 = 1000;
            let mut chunks = ChunkAccounting::new(CHUNK, SeqNo(0));
            let (mut sizes, mut ends, mut requests) = (Vec::<u64>::new(), vec![0u64], Vec::<u64>::new());
            let mut committed = 0u64;
            for op in ops {
                let next = sizes.len() as u64 + 1;
                match op {
                    Op::Entry(size) => {
                        sizes.push(size);
                        chunks.append(SeqNo(next), size, Flags::NONE);
                    }
                    Op::Recovery(size) => {
                        sizes.push(size);
                        ends.push(next - 1);
                        chunks.append(SeqNo(next), size, Flags::CHUNK_BEFORE);
                    }
                    Op::Signature(size) => {
                        let end = *ends.iter().filter(|end| **end < next).max().expect("zero");
                        let open: u64 = sizes[end as usize..].iter().sum();
                        let forced = requests.iter().any(|r| !ends.iter().any(|end| end >= r));
                        let expected = open >= CHUNK || forced;
                        prop_assert_eq!(chunks.ends_chunk(SeqNo(next)), expected);
                        sizes.push(size);
                        if expected {
                            ends.push(next);
                        }
                        chunks.append(SeqNo(next), size, if expected { Flags::CHUNK_AFTER } else { Flags::NONE });
                    }
                    Op::Request => {
                        requests.push(sizes.len() as u64 );
                        chunks.request(SeqNo(sizes.len() as u64));
                        if sizes.is_empty() {
                            requests.clear();
                        }
                    }
                    Op::Rollback(at) => {
                        let to = committed + at.index((next - committed) as usize) as u64;
                        sizes.truncate(to as usize);
                        ends.retain(|end| *end <= to);
                        requests.retain(|r| *r <= to);
                        chunks.rollback(SeqNo(to));
                    }
                    Op::Compact(at) => {
                        committed += at.index((next - committed) as usize) as u64;
                        chunks.compact(SeqNo(committed));
                    }
                }
                prop_assert_eq!(chunks.last(), SeqNo(sizes.len() as u64));
            }
        }
    }
}
