//! Governance through its endpoints: real signed messages, a real constitution, the store and the dispatcher; and
//! the tables against the ledgers of real services.
#![allow(clippy::unwrap_used, clippy::panic)] // tests fail by panicking
#![allow(clippy::needless_pass_by_value)] // json! makes values

mod decision;
mod golden;
mod hostile;
mod join;
mod lifecycle;
mod proposals;
mod reads;
mod recovery;
mod sealing;
mod service;
