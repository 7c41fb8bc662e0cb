//! The pieces of a snapshot's frame, as bytes.

use ccf_types::{Digest, SeqNo};

use super::{SnapshotError, SnapshotSource, window::Window};

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
    /// Reads the fixed fields of the public domain.
    pub(super) fn read<S: SnapshotSource>(window: &mut Window<'_, S>) -> Result<Self, SnapshotError> {
        let bad = SnapshotError::Header;
        let fixed = window.peek(1 + 8 + 8)?.ok_or(bad("no seqno"))?;
        let ([kind], numbers) = fixed.split_first_chunk().ok_or(bad("no type"))?;
        if *kind != super::TYPE {
            return Err(bad("not the type of a snapshot"));
        }
        let seqno = numbers.first_chunk().map(|seqno| SeqNo(u64::from_le_bytes(*seqno)));
        let seqno = seqno.ok_or(bad("no seqno"))?;
        window.take(1 + 8 + 8);
        let leaf = lp(window)?.and_then(|leaf| leaf.try_into().ok()).map(Digest);
        let leaf = leaf.ok_or(bad("no leaf of 32 bytes"))?;
        let (views, odd) = lp(window)?.ok_or(bad("no view history"))?.as_chunks::<8>();
        let view_history: Vec<SeqNo> = views.iter().map(|view| SeqNo(u64::from_le_bytes(*view))).collect();
        if !odd.is_empty() || !view_history.is_sorted() {
            return Err(bad("malformed view history"));
        }
        Ok(Self { seqno, leaf, view_history })
    }

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

/// Takes a field that its length stands before; none if the domain ends within.
fn lp<'a, S: SnapshotSource>(window: &'a mut Window<'_, S>) -> Result<Option<&'a [u8]>, SnapshotError> {
    let Some(bytes) = window.peek_u64()?.and_then(|bytes| bytes.checked_add(8)) else { return Ok(None) };
    let Some(seen) = window.peek(bytes)? else { return Ok(None) };
    let bytes = seen.len();
    Ok(window.take(bytes).get(8..))
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
