//! Governance: the built-in tables, the transaction that creates a service, members and their proposals under a
//! constitution, and the `/gov` endpoints.
//!
//! | To | Use |
//! |---|---|
//! | read or write a framework table | [`tables`] |
//! | create a service | [`genesis`] |
//! | serve `/gov` | [`Governance`]; the node implements [`NodeGovernance`] |
//! | open, rekey, share | [`service`] |
//! | take nodes in, let them go | [`join`], [`retirement`] |
//! | recover a service from its ledger | [`recovery`] |
//! | recover it without members | [`sealing`] |
//! | agree which of several recovering nodes opens it | [`decision`] |
//! | be told which certificates end soon | [`expiry`] |
//! | get our constitutions | [`constitution_texts`] |
//!
//! Does no I/O and knows no clock: what needs the node goes through that one trait.
#![forbid(unsafe_code)]

mod api;
mod constitution;
pub mod decision;
mod effects;
pub mod expiry;
pub mod genesis;
pub mod identity;
pub mod join;
mod jwt;
mod node;
mod proposals;
pub mod recovery;
pub mod retirement;
pub mod sealing;
pub mod service;
pub mod tables;

pub use api::{ApiVersion, Governance};
pub use constitution::texts as constitution_texts;
pub use identity::{InvalidIdentity, encryption_key, member_id};
pub use node::{NodeGovernance, NodePhase};
pub use proposals::proposal_id;
