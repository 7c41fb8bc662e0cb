//! The HTTP server over loopback sockets, with real TLS.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that unwraps in vain fails, as it should

mod http1;
mod http2;
mod http2_attacks;
mod lifecycle;
mod long_bodies;
mod support;
mod tls;
