//! Every built-in table, declared once: name, key, value (governance specification, section 12).
//!
//! The modules below hold the value types; their JSON is that of the ledger: members in byte order, optional
//! members absent when not given, bytes as base64.

pub mod base64;
pub mod jwt;
pub mod member;
pub mod node;
pub mod policy;
pub mod proposal;
pub mod secrets;
pub mod service;
