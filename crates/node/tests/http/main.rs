//! The HTTP server over loopback sockets, with real TLS.

mod http1;
mod http2;
mod lifecycle;
mod support;
mod tls;
