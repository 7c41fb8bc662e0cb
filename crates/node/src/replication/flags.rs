//! Mending the flags of entries that somebody changed between two nodes.
//!
//! Entries travel as they are in the ledger. Their contents are authenticated by their own encryption, the flags of their headers only
//! by the Merkle tree, that is by the next signature. [`check_flags`](super::received::check_flags) leaves two places where a wrong
//! flag gets into a backup's log: the last signature, and the entry behind it. They may be acknowledged by then, and the
//! signature may even be committed, so the primary will never send them again. But there are only a few possibilities: when a
//! signature does not fit, the one that it does fit is looked for, and the log is written again with it. What the primary signed
//! counts.

use super::{log::NodeLog, received::Refused};
use bytes::Bytes;
use ccf_ledger::{
    entry::{Entry, Flags},
    receipt::EntryDigests,
    signature::SignatureValues,
};
use ccf_types::{Digest, SeqNo, TxId};

/// All flags that a signature may have.
const OF_SIGNATURE: [Flags; 4] =
    [Flags::NONE, Flags::CHUNK_AFTER, Flags::CHUNK_BEFORE, Flags::CHUNK_AFTER.with(Flags::CHUNK_BEFORE)];

/// All flags that the entry behind one may have.
const BEHIND_SIGNATURE: [Flags; 2] = [Flags::NONE, Flags::CHUNK_BEFORE];

/// Where the flags stand in an entry.
const FLAGS_AT: usize = 1;

/// An entry with other flags.
#[derive(Clone)]
struct Variant {
    seqno: SeqNo,
    bytes: Bytes,
    digests: EntryDigests,
}

impl NodeLog {
    /// Looks for flags with which the signature `bytes` at `expected` fits; if there are some, the log has them now.
    ///
    /// # Errors
    /// `refused` if there are none.
    pub(super) fn mend_flags(
        &mut self,
        expected: TxId,
        bytes: &[u8],
        refused: Refused,
    ) -> Result<(), Refused> {
        let Some(changed) = self.fitting_flags(expected, bytes) else { return Err(refused) };
        let places: Vec<SeqNo> = changed.iter().map(|variant| variant.seqno).collect();
        if self.write_again(&changed).is_none() {
            return Err(refused);
        }
        tracing::warn!("Flags of entries {places:?} had been changed on their way and are mended");
        Ok(())
    }

    /// The entries to change.
    fn fitting_flags(&mut self, expected: TxId, bytes: &[u8]) -> Option<Vec<Variant>> {
        let entry = Entry::parse(bytes).ok()?;
        SignatureValues::of(&entry).ok().flatten()?;
        let (signature, last) = (self.last_signature(), self.last().seqno);
        let of_signature = self.variants(signature, &OF_SIGNATURE);
        let behind = self.variants(signature.next(), &BEHIND_SIGNATURE);
        // None: as it is.
        let choices = |variants: Vec<Variant>| -> Vec<Option<Variant>> {
            std::iter::once(None).chain(variants.into_iter().map(Some)).collect()
        };
        // What came before this node's log is known to be right.
        let first = if of_signature.is_empty() { signature.next() } else { signature };
        let mut before = self.tree.clone();
        before.retract(first.previous().0).ok()?;
        let leaves = (first.0..=last.0).map(|at| self.tree.leaf(at)).collect::<Option<Vec<Digest>>>()?;
        let behind = choices(behind);
        for one in choices(of_signature) {
            for other in &behind {
                let changed: Vec<&Variant> = one.iter().chain(other).collect();
                let mut tree = before.clone();
                for (offset, leaf) in leaves.iter().enumerate() {
                    let seqno = SeqNo(first.0 + offset as u64);
                    let instead = changed.iter().find(|variant| variant.seqno == seqno);
                    tree.append(instead.map_or(*leaf, |variant| variant.digests.leaf()));
                }
                if !changed.is_empty() && self.holds_over(expected, &entry, &tree) {
                    return Some(changed.into_iter().cloned().collect());
                }
            }
        }
        None
    }

    /// The entry with all flags it may have but those it has.
    fn variants(&self, seqno: SeqNo, flags: &[Flags]) -> Vec<Variant> {
        let present =
            if seqno > SeqNo::NONE && seqno <= self.last().seqno { self.entry(seqno) } else { None };
        let Some(present) = present else { return Vec::new() };
        let with = |flags: &Flags| {
            let mut bytes = present.to_vec();
            let byte = bytes.get_mut(FLAGS_AT)?;
            if *byte == flags.bits() {
                return None;
            }
            *byte = flags.bits();
            let digests = EntryDigests::of(&Entry::parse(&bytes).ok()?);
            Some(Variant { seqno, bytes: bytes.into(), digests })
        };
        flags.iter().filter_map(with).collect()
    }

    /// Replaces entries in everything that holds them. None, and nothing done, if the chunk they are in cannot be read.
    fn write_again(&mut self, changed: &[Variant]) -> Option<()> {
        let last = self.last();
        let signature = self.last_signature();
        let first = if self.entry(signature).is_some() { signature } else { signature.next() };
        // Chunk ends that the flags of earlier entries say are covered by the last signature; others are what is in doubt,
        // also one just before `first`, which its own flag may have made.
        let after = self.chunks.end_before(first.previous());
        self.flush();
        let mut entries = self.entries(after.next(), last.seqno)?;
        let index = |seqno: SeqNo| usize::try_from(seqno.0.checked_sub(after.0 + 1)?).ok();
        for variant in changed {
            *entries.get_mut(index(variant.seqno)?)? = variant.bytes.clone();
        }
        let mut parsed = Vec::with_capacity(entries.len());
        for bytes in &entries {
            let entry = Entry::parse(bytes).ok()?;
            parsed.push((entry.flags(), entry.leaf(), SignatureValues::of(&entry).ok()?.is_some()));
        }
        let from = index(first)?;
        self.tree.retract(first.previous().0).ok()?;
        let recounted = from.saturating_sub(1);
        self.chunks.rollback(SeqNo(after.0 + recounted as u64));
        for (offset, (bytes, (flags, leaf, _))) in entries.iter().zip(&parsed).enumerate().skip(recounted) {
            if offset >= from {
                self.tree.append(*leaf);
            }
            self.chunks.append(SeqNo(after.0 + 1 + offset as u64), bytes.len() as u64, *flags);
        }
        self.replace_noted(changed.iter().map(|it| (it.seqno, &it.bytes, it.digests.write_set)));
        self.replace_tail(first, entries.get(from..)?);
        let committable = parsed.into_iter().map(|(_, _, committable)| committable);
        self.disk.rewrite(after, entries.into_iter().zip(committable).collect(), last);
        Some(())
    }
}
