//! Past transactions: what they wrote and the proof that they are in the ledger (applications specification, section 8).
//!
//! Reading the past takes time: the node fetches entries from its ledger files in the background, checks them, and
//! keeps them for a while. So the first call with a set of transactions usually finds nothing, and the caller comes again
//! with the same arguments: over HTTP the answer is 202 with `retry-after` until then.
//!
//! | To | Use |
//! |---|---|
//! | answer about the transaction that a request names | [`historical`], [`historical_in`] |
//! | read a range or a set of transactions | [`HistoricalQueries::states`] of [`EndpointContext::historical`](crate::EndpointContext::historical) |
//! | give a receipt | [`HistoricalState::receipt`] |

mod adapter;
mod service;
mod state;
mod wanted;

pub use adapter::{
    HISTORICAL_RETRY_SECONDS, TX_ID_PARAMETER, TxIdFrom, historical, historical_in, named_state,
    not_available,
};
pub(crate) use adapter::{built_in_cose_receipt, built_in_receipt, queries};
pub use ccf_crypto::cose::{CoseError, UnprotectedValue, set_unprotected_header};
pub use ccf_ledger::receipt::{Receipt, TransactionReceipt};
pub use service::{NotOurReceipt, cose_signatures_config, trusted_keys, verify_own_receipt};
pub use state::{Endorsements, HistoricalState, receipt_json};
pub use wanted::{HANDLE_STATES_MAX, InvalidWanted, SeqNos};

use ccf_crypto::cose::ServiceKeys;
use ccf_types::TxId;
use std::{sync::Arc, time::Duration};

/// By which a caller finds its request again. All applications of a node share one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateHandle(pub u64);

/// States in ascending order of their seqnos.
pub type HistoricalStates = Arc<Vec<Arc<HistoricalState>>>;

/// How long a request is kept after it was last asked for, if the caller does not say.
pub const STATES_EXPIRY: Duration = Duration::from_secs(1800);

/// Why a request for past states can never be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoricalError {
    /// The set of transactions.
    #[error(transparent)]
    Wanted(#[from] InvalidWanted),
    /// What the ledger holds there is not what a service has signed.
    #[error("{0}")]
    Refused(String),
}

/// The past, as a node serves it to endpoints. Calls return at once.
pub trait HistoricalQueries: Send + Sync {
    /// All of the wanted states, once they are there; each proved by a signature of the service. None while they are
    /// fetched: call again. A handle used with another set before fetches only the difference. The request is kept until
    /// `expiry` after the last call, or until memory is short.
    ///
    /// # Errors
    /// [`HistoricalError`].
    fn states(
        &self,
        handle: StateHandle,
        wanted: &SeqNos,
        expiry: Duration,
    ) -> Result<Option<HistoricalStates>, HistoricalError>;

    /// Forgets the states of a handle; whether there were any.
    fn drop_states(&self, handle: StateHandle) -> bool;

    /// The receipt of a committed transaction, if it needs no file: of the recent ones, and of those that are cached.
    fn receipt(&self, tx_id: TxId) -> Option<TransactionReceipt>;

    /// The keys with which the service has signed, now and before recoveries; none while they are not known yet.
    fn service_keys(&self) -> Option<Arc<ServiceKeys>>;
}
