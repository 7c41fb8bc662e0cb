//! Services of several nodes, end to end: real processes, real sockets, real signals.
//!
//! Unlike the programs that people run, these nodes have quick timers and reach each other through [`links`], where a
//! test can cut, hold and heal what connects them. Nothing here asserts how long something takes: waits end when what
//! they wait for is there, or fail after a time that is generous on a busy machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "seeds, schedules and counts; shown when a test fails")]

mod backpressure;
mod clients;
mod expiry;
mod faults;
mod foreign_files;
mod forks;
mod forwarding;
mod garbage;
mod history;
mod linearizability;
mod links;
mod member_node;
#[path = "../e2e/messages.rs"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod messages;
mod network;
mod on_demand;
mod operator_files;
mod past;
mod random;
mod registers;
mod replacement;
#[path = "../e2e/running.rs"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod running;
mod sandbox;
mod sealing;
mod service;
#[path = "../e2e/shell.rs"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod shell;
mod stale_reads;
mod stop_notice;
mod verdicts;
