//! A ledger and store of one node in memory.
//!
//! An entry on the wire is `u64 size of the payload | u8 committable | u64 view | u64 seqno | payload`, little-endian:
//! the stub entries of scenario files (consensus specification, section 14). What a payload means, a decoder tells.

use ccf_consensus::{EntryFacts, LocalEntry, Log, Nodes, Reconfiguration, Rejected};
use ccf_types::{NodeId, SeqNo, TxId, View};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const HEADER_SIZE: usize = 25;

/// What a payload means to consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    Data,
    /// The set of nodes from now on.
    Reconfiguration(Nodes),
    /// These nodes are removable once this is committed.
    RetiredCommitted(Vec<NodeId>),
}

/// Reads a payload; none if it is malformed.
pub type Decode = fn(&[u8]) -> Option<Payload>;

/// One entry.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// Its view and position.
    pub tx_id: TxId,
    /// Whether it is a signature.
    pub committable: bool,
    /// What its payload means.
    pub payload: Payload,
    /// Its bytes on the wire.
    pub bytes: Arc<[u8]>,
}

impl StoredEntry {
    /// The bytes that the writer gave.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.bytes.get(HEADER_SIZE..).unwrap_or_default()
    }
}

/// What consensus asked of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCall {
    /// An entry was appended.
    Append(TxId),
    /// Store and ledger went back to an entry; the view of later ones.
    Rollback(TxId, View),
    /// Everything up to here is committed.
    Compact(SeqNo),
    /// Later entries are of this view.
    SetView(View),
}

/// The log of one node.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    decode: Decode,
    entries: Vec<StoredEntry>,
    committed: SeqNo,
    on_disk: SeqNo,
    calls: Vec<LogCall>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(decode: Decode) -> MemoryLog {
        MemoryLog {
            decode,
            entries: Vec::new(),
            committed: SeqNo::NONE,
            on_disk: SeqNo::NONE,
            calls: Vec::new(),
        }
    }

    /// All entries; that of `seqno` n stands at n - 1.
    #[must_use]
    pub fn entries(&self) -> &[StoredEntry] {
        &self.entries
    }

    /// The last position.
    #[must_use]
    pub fn last(&self) -> SeqNo {
        SeqNo(self.entries.len() as u64)
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, seqno: SeqNo) -> Option<&StoredEntry> {
        self.entries.get(usize::try_from(seqno.0.checked_sub(1)?).ok()?)
    }

    /// The bytes of the entries after `previous` up to `last`; none if one is not there.
    #[must_use]
    pub fn bytes(&self, previous: SeqNo, last: SeqNo) -> Option<Vec<u8>> {
        let range = usize::try_from(previous.0).ok()?..usize::try_from(last.0).ok()?;
        Some(self.entries.get(range)?.iter().flat_map(|entry| entry.bytes.iter().copied()).collect())
    }

    /// Up to here the disk has what the log has.
    #[must_use]
    pub fn on_disk(&self) -> SeqNo {
        self.on_disk
    }

    /// The disk has written everything up to an entry; of no consequence if that was dropped meanwhile.
    pub fn written(&mut self, last: TxId) {
        if self.get(last.seqno).is_some_and(|entry| entry.tx_id == last) {
            self.on_disk = self.on_disk.max(last.seqno);
        }
    }

    /// Adds an entry written here. None if the payload is malformed.
    pub fn write(&mut self, tx_id: TxId, committable: bool, data: &[u8]) -> Option<LocalEntry> {
        let mut bytes = Vec::with_capacity(HEADER_SIZE + data.len());
        bytes.extend_from_slice(&(data.len() as u64).to_le_bytes());
        bytes.push(u8::from(committable));
        bytes.extend_from_slice(&tx_id.view.0.to_le_bytes());
        bytes.extend_from_slice(&tx_id.seqno.0.to_le_bytes());
        bytes.extend_from_slice(data);
        let facts = self.append(&bytes)?;
        Some(LocalEntry { tx_id, facts, size: u32::try_from(data.len()).unwrap_or(u32::MAX) })
    }

    /// Removes the last entry, which consensus refused.
    pub fn unwrite(&mut self) {
        self.entries.pop();
    }

    /// What was asked since the last call.
    pub fn take_calls(&mut self) -> Vec<LogCall> {
        std::mem::take(&mut self.calls)
    }

    /// The nodes that committed entries call removable.
    #[must_use]
    pub fn removable(&self, up_to: SeqNo) -> Vec<NodeId> {
        self.removed_in(SeqNo::NONE, up_to)
    }

    /// The sets of nodes of the log, by position.
    #[must_use]
    pub fn reconfigurations(&self) -> BTreeMap<SeqNo, Nodes> {
        let of = |entry: &StoredEntry| match &entry.payload {
            Payload::Reconfiguration(nodes) => Some((entry.tx_id.seqno, nodes.clone())),
            _ => None,
        };
        self.entries.iter().filter_map(of).collect()
    }

    fn removed_in(&self, after: SeqNo, up_to: SeqNo) -> Vec<NodeId> {
        let range = |entry: &&StoredEntry| entry.tx_id.seqno > after && entry.tx_id.seqno <= up_to;
        let removed = |entry: &StoredEntry| match &entry.payload {
            Payload::RetiredCommitted(ids) => ids.clone(),
            _ => Vec::new(),
        };
        let start = usize::try_from(after.0).unwrap_or(usize::MAX);
        self.entries.get(start..).unwrap_or_default().iter().filter(range).flat_map(removed).collect()
    }

    fn append(&mut self, bytes: &[u8]) -> Option<EntryFacts> {
        let (tx_id, committable) = header(bytes)?;
        let payload = (self.decode)(bytes.get(HEADER_SIZE..)?)?;
        let reconfiguration = match &payload {
            Payload::Reconfiguration(nodes) => Some(Reconfiguration::Whole(nodes.clone())),
            _ => None,
        };
        self.entries.push(StoredEntry { tx_id, committable, payload, bytes: bytes.into() });
        self.calls.push(LogCall::Append(tx_id));
        Some(EntryFacts { committable, reconfiguration })
    }
}

impl Log for MemoryLog {
    fn entry_len(&self, bytes: &[u8]) -> Option<usize> {
        let size = usize::try_from(number(bytes, 0)?).ok()?.checked_add(HEADER_SIZE)?;
        (size <= bytes.len()).then_some(size)
    }

    fn apply(&mut self, expected: TxId, entry: &[u8]) -> Result<EntryFacts, Rejected> {
        let tx_id = header(entry).map(|(tx_id, _)| tx_id);
        if tx_id != Some(expected) || expected.seqno != self.last().next() {
            return Err(Rejected);
        }
        self.append(entry).ok_or(Rejected)
    }

    fn rollback(&mut self, to: TxId, next_view: View) {
        assert!(to.seqno >= self.committed, "committed entries stay");
        assert!(
            to.seqno == SeqNo::NONE || self.get(to.seqno).is_some_and(|entry| entry.tx_id == to),
            "{to} is there"
        );
        self.entries.truncate(usize::try_from(to.seqno.0).expect("it was found"));
        self.on_disk = self.on_disk.min(to.seqno);
        self.calls.push(LogCall::Rollback(to, next_view));
    }

    fn compact(&mut self, to: SeqNo) -> Vec<NodeId> {
        assert!(to > self.committed && to <= self.last(), "commits go on and stay within the log");
        assert!(self.get(to).is_some_and(|entry| entry.committable), "only signatures are committed");
        let removed = self.removed_in(self.committed, to);
        self.committed = to;
        self.calls.push(LogCall::Compact(to));
        removed
    }

    fn last_fitting(&self, first: SeqNo, last: SeqNo, bytes: u64) -> SeqNo {
        let (mut at, mut size) = (first, 0);
        while at <= last {
            size += self.get(at).map_or(0, |entry| entry.bytes.len() as u64);
            if size > bytes {
                return at.previous().max(first);
            }
            at = at.next();
        }
        last
    }

    fn set_view(&mut self, view: View) {
        self.calls.push(LogCall::SetView(view));
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

fn header(bytes: &[u8]) -> Option<(TxId, bool)> {
    let committable = match bytes.get(8)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some((TxId { view: View(number(bytes, 9)?), seqno: SeqNo(number(bytes, 17)?) }, committable))
}
