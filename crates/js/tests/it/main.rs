//! The crate's public face: applications through the dispatcher, governance scripts, bundles.

mod access;
mod bundles;
mod conversions;
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
