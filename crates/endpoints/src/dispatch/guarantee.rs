//! What a request may ask beyond the usual guarantees: that its answer waits for the commit of what it wrote, or that
//! what it reads is the newest state of the whole service.
//!
//! Usually a write is answered when it is in the primary's log, and a read with what the answering node knows, which on
//! a backup or on a primary that was deposed without knowing may be old. Either can be asked for by the endpoint's
//! declaration or with a header:
//!
//! | header | value |
//! |---|---|
//! | `x-ccf-wait-for-commit` | milliseconds to wait at most, 1 to 60000 |
//! | `x-ccf-consistency` | `linearizable` |
//! | `x-ccf-receipt` | `json` or `cose`: the answer to a write waits for the commit and carries the receipt |
//!
//! A linearizable read is executed on the primary and answered once a signature that was appended after the read is
//! committed: by then a majority has confirmed that no other primary had taken over.

use super::{Decision, outcome::Pending};
use crate::{
    endpoint::EndpointDefinition,
    error::{ErrorCode, ErrorResponse},
    http::{Request, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_ledger::receipt::TransactionReceipt;
use ccf_types::{Digest, TxId};
use std::time::Duration;

/// Asks that the answer waits for the commit, for at most so many milliseconds.
pub const WAIT_FOR_COMMIT_HEADER: &str = "x-ccf-wait-for-commit";

/// Asks for more consistency than usual.
pub const CONSISTENCY_HEADER: &str = "x-ccf-consistency";

/// Asks that the answer to a write carries the receipt of its transaction, in a header of the same name: `json` for
/// compact JSON, `cose` for COSE in base64. Implies waiting for the commit. Absent from answers whose commit did not come
/// in time.
pub const RECEIPT_HEADER: &str = "x-ccf-receipt";

/// In answers that waited: `Committed`, or `Pending` if the commit did not come in time.
pub const COMMIT_STATUS_HEADER: &str = "x-ccf-commit-status";

/// The longest time an answer may wait, milliseconds: sessions are not held for ever.
pub const WAIT_MS_MAX: u64 = 60_000;

/// How long a linearizable answer waits when nothing else is said.
const WAIT_USUAL: Duration = Duration::from_secs(5);

/// What one request wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guarantee {
    pub(super) linearizable: bool,
    pub(super) wait_for_commit: Option<Duration>,
    pub(super) receipt: Option<ReceiptForm>,
}

/// How a receipt comes in the header of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiptForm {
    /// As compact JSON.
    Json,
    /// COSE in base64.
    Cose,
}

impl Guarantee {
    /// What the declaration of the endpoint and the headers of the request ask for.
    ///
    /// # Errors
    /// 400 `InvalidHeaderValue`.
    pub(super) fn of(request: &Request, endpoint: &EndpointDefinition) -> Result<Guarantee, ErrorResponse> {
        let mut wanted = Guarantee {
            linearizable: endpoint.linearizable,
            wait_for_commit: endpoint.wait_for_commit,
            receipt: None,
        };
        for (name, value) in request.headers().iter() {
            if !name.starts_with("x-ccf-") {
                continue;
            }
            let text = || String::from_utf8_lossy(value);
            match name {
                WAIT_FOR_COMMIT_HEADER => {
                    let millis = text().parse().ok().filter(|millis| (1..=WAIT_MS_MAX).contains(millis));
                    let millis = millis.ok_or_else(|| {
                        invalid(format!(
                            "{WAIT_FOR_COMMIT_HEADER} must be a number of milliseconds from 1 to {WAIT_MS_MAX}, not '{}'.",
                            text()
                        ))
                    })?;
                    wanted.wait_for_commit = Some(Duration::from_millis(millis));
                }
                CONSISTENCY_HEADER if value == b"linearizable" => wanted.linearizable = true,
                CONSISTENCY_HEADER => {
                    return Err(invalid(format!(
                        "{CONSISTENCY_HEADER} must be 'linearizable', not '{}'.",
                        text()
                    )));
                }
                RECEIPT_HEADER if value == b"json" => wanted.receipt = Some(ReceiptForm::Json),
                RECEIPT_HEADER if value == b"cose" => wanted.receipt = Some(ReceiptForm::Cose),
                RECEIPT_HEADER => {
                    return Err(invalid(format!(
                        "{RECEIPT_HEADER} must be 'json' or 'cose', not '{}'.",
                        text()
                    )));
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// How long an answer to a request that wrote waits for the commit; none if it does not.
    pub(super) fn wait_after_write(self) -> Option<Duration> {
        let wanted = self.linearizable || self.receipt.is_some();
        self.wait_for_commit.or(wanted.then_some(WAIT_USUAL))
    }

    /// How long an answer to a request that only read waits for its confirmation; none if it does not.
    pub(super) fn wait_after_read(self) -> Option<Duration> {
        self.linearizable.then(|| self.wait_for_commit.unwrap_or(WAIT_USUAL))
    }
}

impl ReceiptForm {
    fn text(self, receipt: &TransactionReceipt) -> Option<String> {
        match self {
            ReceiptForm::Json => serde_json::to_string(&receipt.json()?).ok(),
            ReceiptForm::Cose => Some(STANDARD.encode(receipt.cose()?)),
        }
    }
}

fn invalid(message: String) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::InvalidHeaderValue, message)
}

/// A response that waits until `tx_id`, which its request wrote, is committed.
pub(super) fn committed(
    tx_id: TxId,
    claims_digest: Digest,
    response: Response,
    patience: Duration,
    receipt: Option<ReceiptForm>,
) -> Pending {
    let callback = Box::new(move |response: &mut Response, notice: &super::CommitNotice| {
        match notice.decision {
            Decision::Committed => {
                response.headers.set(COMMIT_STATUS_HEADER, "Committed");
                if let Some(text) = receipt.and_then(|form| form.text(notice.receipt.as_ref()?)) {
                    response.headers.set(RECEIPT_HEADER, text);
                }
            }
            Decision::Invalid => {
                *response = lost("The transaction was rolled back: another primary took over.");
            }
        }
        Ok(())
    });
    let expired = |response: &mut Response| {
        response.headers.set(COMMIT_STATUS_HEADER, "Pending");
    };
    Pending {
        tx_id,
        claims_digest,
        wants_receipt: receipt.is_some(),
        response,
        callback,
        patience: Some((patience, expired)),
    }
}

/// A response that waits until `barrier`, which was appended after its request read, is committed.
pub(super) fn confirmed(barrier: TxId, response: Response, patience: Duration) -> Pending {
    let callback = Box::new(|response: &mut Response, notice: &super::CommitNotice| {
        if notice.decision == Decision::Invalid {
            *response = lost("What was read could not be confirmed: another primary took over.");
        }
        Ok(())
    });
    let expired = |response: &mut Response| {
        *response = lost("What was read could not be confirmed in time by a majority of the nodes.");
    };
    Pending {
        tx_id: barrier,
        claims_digest: Digest::ZERO,
        wants_receipt: false,
        response,
        callback,
        patience: Some((patience, expired)),
    }
}

fn lost(message: &str) -> Response {
    ErrorResponse::new(ErrorCode::TransactionReplicationFailed, message).into_response()
}
