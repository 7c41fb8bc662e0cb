//! Tests of the public interface: one binary, a module per subject.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may fail as tests do

mod authentication;
mod builtin;
mod common;
mod guarantees;
mod openapi;
mod pipeline;
mod properties;
mod signed_requests;
