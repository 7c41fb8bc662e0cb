//! The latest signature in the public state: where a recovered or joined ledger stands (ledger specification, section
//! 10.1).

use crate::tables;
use ccf_crypto::cose::{CoseError, LedgerSignature, SignatureClaims};
use ccf_kv::{KvError, Tx};
use ccf_types::TxId;

/// The latest signature transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSignature {
    /// Its position.
    pub tx_id: TxId,
    /// Issuer and subject of the latest signature by the service, which a recovered service takes over; none in ledgers
    /// before release 6.
    pub claims: Option<SignatureClaims>,
    /// The node did not sign it: a node that writes both signatures refuses to recover such a ledger.
    pub is_cose_only: bool,
}

/// The signatures in the store cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableSignature {
    /// The service's.
    #[error("the latest signature of the service: {0}")]
    Cose(#[from] CoseError),
    /// The node's.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// The latest signature in the state that `tx` reads; `None` if there is none.
///
/// # Errors
/// [`UnreadableSignature`].
pub fn last_signature(tx: &Tx) -> Result<Option<LastSignature>, UnreadableSignature> {
    let by_node = tx.ro(&tables::SIGNATURES).get()?;
    let by_node = by_node.map(|signature| TxId { view: signature.view, seqno: signature.seqno });
    let Some(cose) = tx.ro(&tables::COSE_SIGNATURES).get()? else {
        return Ok(by_node.map(|tx_id| LastSignature { tx_id, claims: None, is_cose_only: false }));
    };
    let header = LedgerSignature::decode(&cose.0)?.header;
    let claims = Some(header.claims);
    Ok(Some(match by_node {
        Some(tx_id) if tx_id.seqno >= header.tx_id.seqno => {
            LastSignature { tx_id, claims, is_cose_only: false }
        }
        _ => LastSignature { tx_id: header.tx_id, claims, is_cose_only: true },
    }))
}
