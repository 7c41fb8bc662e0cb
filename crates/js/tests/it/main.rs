//! The crate's public face: applications through the dispatcher, governance scripts, bundles.

#![allow(clippy::unwrap_used, clippy::panic)] // a failing test panics

mod access;
mod bundles;
mod conversions;
mod endless;
mod endpoints;
mod governance;
mod kv;
mod limits;
mod modules;
mod npm;
mod requests;
mod reuse;
mod samples;
mod service;
