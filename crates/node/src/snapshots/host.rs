//! The node as snapshots need it.

use super::{SnapshotHost, Submitted};
use crate::node_view::RunningNode;
use ccf_kv::Tx;
use ccf_ledger::{evidence::CommitEvidence, secrets::LedgerSecret};
use ccf_types::Digest;

impl SnapshotHost for RunningNode {
    fn submit(&self, tx: Tx, claims: Digest) -> Option<Submitted> {
        let written = tx.commit().ok()?.into_written()?;
        let tx_id = written.tx_id;
        let secret: &LedgerSecret = written.context()?;
        let commit_evidence = CommitEvidence::new(secret, tx_id).as_str().to_owned();
        self.enqueue(*written, claims);
        let (write_set_digest, _) = self.evidence_of(tx_id);
        self.inbox.burst_done();
        Some(Submitted { tx_id, write_set_digest, commit_evidence })
    }
}
