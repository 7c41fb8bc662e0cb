//! Disaster recovery, as transactions (node specification, section 11; ledger specification, sections 7 and 16.1).
//!
//! | When | Call |
//! |---|---|
//! | the public ledger is being replayed | [`SecretLinks::observe`] |
//! | it is replayed | [`last_signature`], [`create_recovered_service`] |
//! | the members open the service | [`crate::service::open`], through their proposal |
//! | members send their shares | the `/gov` endpoint, which calls [`submit_share`] |
//! | that transaction arrives, on any node | [`secrets_for_node`] |
//! | or the node unseals the secret when the service is opened | [`crate::sealing`] |
//! | the private ledger is replayed | [`close`], on the primary |

mod create;
mod last_signature;
mod links;
mod restore;
mod shares;

pub use create::{RecoveredService, RecoveryGenesisError, create_recovered_service};
pub use last_signature::{LastSignature, UnreadableSignature, last_signature};
pub use links::{SecretChainError, SecretLinks};
pub(crate) use restore::publish;
pub use restore::{SecretsForNode, UnusableSecrets, close, secrets_for_node};
pub use shares::{SubmitError, Submitted, submit_share};
