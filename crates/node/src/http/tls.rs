//! TLS of the interfaces (cryptography specification, section 5).
//!
//! Versions 1.2 and 1.3, the specified suites and groups, no resumption, a client certificate asked for and
//! never judged. Each interface presents the certificate of its authority, which can change while the node
//! runs: sessions keep the one they began with.

mod certificates;
mod client;
mod engine;
mod p521;
mod provider;

pub(crate) use certificates::{Configurations, InterfaceTls, PeerCertificates};
pub use certificates::{TlsIdentity, TlsIdentityError};
pub(crate) use engine::{Output, Progress, TlsEngine, TlsError};
pub(crate) use provider::provider;
