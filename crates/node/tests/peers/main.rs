//! Several networks of peers in one process, over real sockets.

#![allow(clippy::unwrap_used)] // a failing test panics

mod hostile;
mod messages;
mod support;
