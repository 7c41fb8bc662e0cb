//! Requests that a backup hands to the primary ([`Forwarder`]), and those that this node executes for others
//! ([`ForwardedWork`]) (node specification, section 14.3; consensus specification, section 12).
//!
//! On the way there and back messages that are ready together travel together: sessions of one turn of a worker are written
//! with one call, the primary executes what arrived together and answers with one call (short requests of a native application on the
//! thread that received them, others on threads of their own), and the backup wakes each of its workers once for all answers
//! of a burst.

mod callers;
mod forwarder;
mod prompt;
mod queue;
mod work;

pub(crate) use forwarder::{Destination, Forwarder};
pub(crate) use work::ForwardedWork;

use std::time::Duration;

/// How long the primary may take unless the interface says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
