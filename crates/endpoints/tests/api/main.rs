//! Tests of the public interface: one binary, a module per subject.

mod authentication;
mod builtin;
mod common;
mod openapi;
mod pipeline;
mod properties;
mod signed_requests;
