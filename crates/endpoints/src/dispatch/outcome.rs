//! What becomes of a request.

use super::TxStatus;
use crate::{
    context::GlobalCommitCallback,
    endpoint::Frontend,
    http::{Method, Response},
};
use ccf_ledger::receipt::TransactionReceipt;
use ccf_types::{Digest, TxId};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The result of dispatching a request.
#[derive(Debug)]
pub struct Handled {
    /// What to do with the request.
    pub outcome: Outcome,
    /// What to log about it.
    pub event: Option<RequestEvent>,
}

/// What the transport does next.
#[derive(Debug)]
pub enum Outcome {
    /// Send the response.
    Respond(Response),
    /// Send the response, then close the connection.
    RespondAndClose(Response),
    /// Send the request to the primary and its answer to the client. When that fails: 503 `InternalError`,
    /// or 504 after the interface's forwarding timeout (node specification, section 14.3) and this: how long the request asks
    /// the primary to wait for a commit before it answers.
    Forward(Duration),
    /// Keep the response until the transaction is Committed or Invalid; meanwhile the session processes no
    /// further request.
    Pending(Pending),
    /// The response is still being made, on another thread; meanwhile the session processes no further request.
    Later(Later),
}

/// A response that something else than a commit holds up, as [`EndpointContext::respond_later`] was given it.
///
/// [`EndpointContext::respond_later`]: crate::EndpointContext::respond_later
pub struct Later(pub(crate) Pin<Box<dyn Future<Output = Response> + Send>>);

impl Future for Later {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

/// Makes of a response what is sent when nothing was decided in time.
pub(crate) type Expire = fn(&mut Response);

/// A response held back until the fate of its transaction is known.
pub struct Pending {
    /// The transaction to wait for.
    pub tx_id: TxId,
    /// The claims digest of the transaction.
    pub claims_digest: Digest,
    /// Whether the response is made with the receipt of the transaction.
    pub wants_receipt: bool,
    pub(crate) response: Response,
    pub(crate) callback: GlobalCommitCallback,
    /// How long to wait at most, and what becomes of the response then.
    pub(crate) patience: Option<(Duration, Expire)>,
}

/// The fate of a transaction, given to a held-back response.
#[derive(Clone, Debug)]
pub struct CommitNotice {
    /// The transaction.
    pub tx_id: TxId,
    /// Whether it is in the ledger for good.
    pub decision: Decision,
    /// Digest of its write set.
    pub write_set_digest: Digest,
    /// Its commit evidence.
    pub commit_evidence: String,
    /// Its claims digest.
    pub claims_digest: Digest,
    /// The proof that it is in the ledger, if it is committed and the response wants a receipt.
    pub receipt: Option<TransactionReceipt>,
}

/// The final status of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// In the ledger for ever.
    Committed,
    /// Rolled back.
    Invalid,
}

impl From<Decision> for TxStatus {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Committed => TxStatus::Committed,
            Decision::Invalid => TxStatus::Invalid,
        }
    }
}

impl Pending {
    /// How long to wait at most; none is for as long as it takes.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.patience.map(|(patience, _)| patience)
    }

    /// The response to send when nothing was decided in time.
    #[must_use]
    pub fn expire(self) -> Response {
        let mut response = self.response;
        if let Some((_, expired)) = self.patience {
            expired(&mut response);
        }
        response
    }

    /// The response to send now.
    ///
    /// # Errors
    /// What the callback reported: log it and close the session without an answer.
    pub fn finish(self, notice: &CommitNotice) -> Result<Response, String> {
        let mut response = self.response;
        (self.callback)(&mut response, notice)?;
        Ok(response)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("tx_id", &self.tx_id).finish_non_exhaustive()
    }
}

/// Something worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// A request of the governance frontend was executed: `RequestCompletedEvent: <verb> <template
    /// without /gov> <status> <n>ms <k> attempt(s)`.
    Completed {
        /// Request method.
        method: Method,
        /// Path template with the frontend's prefix.
        full_path: Arc<str>,
        /// Status of the answer.
        status: u16,
        /// Executions.
        attempts: u32,
    },
    /// No endpoint was found: `DispatchFailedEvent: <method> <status>`.
    DispatchFailed {
        /// The frontend asked.
        frontend: Frontend,
        /// The path asked for, below the frontend's prefix.
        path: String,
        /// Status of the answer.
        status: u16,
    },
}
