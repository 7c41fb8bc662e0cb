//! The pieces of a snapshot's frame, as bytes.

use ccf_types::{Digest, SeqNo};

/// What a snapshot says before its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The signature whose state it holds.
    pub seqno: SeqNo,
    /// The leaf of that entry.
    pub leaf: Digest,
    /// The first seqno of view 1, 2, ...; an empty view repeats the start of the next.
    pub view_history: Vec<SeqNo>,
}

impl SnapshotHead {
    /// Writes the fixed fields of the public domain.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, number: u64| out.extend_from_slice(&number.to_le_bytes());
        out.push(super::TYPE);
        number(out, self.seqno.0);
        number(out, 0);
        number(out, 32);
        out.extend_from_slice(self.leaf.as_ref());
        number(out, 8 * self.view_history.len() as u64);
        for start in &self.view_history {
            number(out, start.0);
        }
    }
}

/// Bytes that one entry of a map takes.
#[must_use]
pub fn entry_bytes(key: usize, value: usize) -> u64 {
    let padded = |len: usize| (len + padding(len).len()) as u64;
    8 + padded(key) + 8 + 8 + padded(value)
}

/// The zeros after a field of this length. (The version before a value does not change what is missing to a multiple
/// of eight.)
pub(crate) fn padding(len: usize) -> &'static [u8] {
    &[0; 7][..len.next_multiple_of(8) - len]
}
