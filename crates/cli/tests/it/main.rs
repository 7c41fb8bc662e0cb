//! Tests of the command line's library, in one binary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod audit_tools;
mod auditor;
mod bench;
mod fuzz_corpus;
mod test_server;
