//! Signature transactions of a primary: when one is due, its place, and its way into the log.

use super::{
    Replicator, SigningError,
    policy::{Due, Unsigned},
};
use crate::snapshots::SnapshotPoint;
use ccf_ledger::{entry::Flags, secrets::LedgerSecret};
use ccf_types::{SeqNo, TxId};
use std::{sync::Arc, time::Instant};

impl Replicator {
    pub(super) fn due(&self, now: Instant) -> Due {
        if self.reserved.is_some() || !self.replica.can_replicate() || self.reorder.next() == SeqNo(1) {
            return Due::Idle;
        }
        let count = self.log.last().seqno.0 - self.log.last_signature().0;
        if count > 0 && self.log.chunks.signature_overdue() {
            return Due::Now;
        }
        let requested = self.signature_requested || self.replica.should_sign();
        let awaited = self.status.is_awaited();
        self.policy.due(now, Unsigned { count, requested, awaited, last_signed: self.last_signed })
    }

    pub(super) fn reserve_signature(&mut self) -> Result<(), SigningError> {
        let is_snapshot = self.log.snapshots.wants(self.log.store.version().next());
        match self.log.store.reserve(is_snapshot) {
            Ok(reserved) => self.reserved = Some((reserved, is_snapshot)),
            // Not primary any more: whoever is will sign.
            Err(_) => return Ok(()),
        }
        self.append_ready()
    }

    /// Builds the signature whose position is next and appends it.
    pub(super) fn sign(&mut self) -> Result<(), SigningError> {
        let Some((reserved, is_snapshot)) = self.reserved.take() else {
            return Ok(());
        };
        let tx_id = reserved.tx_id;
        let ends_chunk = is_snapshot || self.log.chunks.ends_chunk(tx_id.seqno);
        let flags = if ends_chunk { Flags::CHUNK_AFTER } else { Flags::NONE };
        let secret = Arc::clone(&reserved.context).downcast::<LedgerSecret>().ok();
        let (entry, state) = self.signer.signature_entry(
            &self.log.store,
            reserved,
            &self.log.tree,
            self.status.committed_seqno(),
            flags,
            self.now.wall,
        )?;
        self.reorder.skip();
        let leaf = entry.leaf;
        self.fresh.push(self.log.append_own(entry, true));
        if let (Some(state), Some(secret)) = (state, secret) {
            let view_history = self.view_history_with(tx_id);
            self.log.snapshots.taken(SnapshotPoint { state, leaf, view_history, secret });
        }
        self.status.signed(tx_id.seqno);
        self.last_signed = self.now.clock;
        self.signature_requested = false;
        Ok(())
    }

    /// Where views start, that of an own transaction included which consensus has not taken yet.
    fn view_history_with(&self, tx_id: TxId) -> Vec<SeqNo> {
        let mut history = self.replica.history().clone();
        let first = self.fresh.first().map_or(tx_id.seqno, |first| first.tx_id.seqno);
        // The log grows at its end, in its newest view.
        let _ = history.update(first, tx_id.view);
        history.starts().to_vec()
    }
}
