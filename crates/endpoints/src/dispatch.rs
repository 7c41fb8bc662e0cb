//! The way of a request from the parsed bytes to the answer (applications specification, section 1.2).

mod guarantee;
mod node_view;
mod outcome;
mod pipeline;
mod tx_status;

pub use guarantee::{
    COMMIT_STATUS_HEADER, CONSISTENCY_HEADER, RECEIPT_HEADER, WAIT_FOR_COMMIT_HEADER, WAIT_MS_MAX,
};
pub use node_view::{CommitRecord, NodeView, NotReplicated, Role};
pub use outcome::{CommitNotice, Decision, Handled, Later, Outcome, Pending, RequestEvent};
pub use pipeline::{COMMIT_ATTEMPTS_MAX, Dispatcher, TX_ID_HEADER};
pub use tx_status::{TxStatus, tx_status};
