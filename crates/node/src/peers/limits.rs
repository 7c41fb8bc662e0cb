//! Named limits of the transport and the reasons for them.

use std::time::Duration;

/// Bytes that wait for one connection. The 64 messages of 260 KB that consensus keeps in flight to a peer that catches up fit; a message that is longer
/// than all this passes alone.
pub(super) const OUTBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Connections that others opened. Nodes of a service have one or two each.
pub(super) const INCOMING_MAX: usize = 256;

/// Peers without an address: nodes of this service that spoke first. Each proved its identity.
pub(super) const UNREGISTERED_MAX: usize = 64;

/// A connection on which nothing was authenticated yet may make us keep so many bytes of an unfinished frame freely,
pub(super) const UNPROVEN_FREE_BYTES: usize = 64 * 1024;

/// and all such connections together so many more.
pub(super) const UNPROVEN_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How long a connection may stay without an authenticated frame.
pub(super) const UNPROVEN_TIME_MAX: Duration = Duration::from_secs(10);

/// Key exchange messages of one connection that are judged at once; each costs two signature verifications.
pub(super) const HANDSHAKES_BURST: u32 = 64;

/// Time until one more is judged.
pub(super) const HANDSHAKE_REFILL: Duration = Duration::from_millis(250);

/// Key exchange messages of one address that are judged at once, over all its connections that have proved nothing yet. Nodes prove
/// themselves with the first.
pub(super) const STRANGER_HANDSHAKES_BURST: u32 = 64;

/// Time until one more is judged: a hundredth of the thread's time for each address that attacks.
pub(super) const STRANGER_REFILL: Duration = Duration::from_millis(100);

/// Addresses that are remembered for that.
pub(super) const STRANGERS_MAX: usize = 1024;

/// Pause after the first failed attempt to connect, doubled by each further one,
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// up to this: consensus sends a heartbeat every 100 ms, so attempts without pause would be frequent but not endless.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Read buffers are allocated in pieces of this size.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// With less room than this a new piece is taken.
pub(super) const READ_BYTES_MIN: usize = 8 * 1024;

/// Reads from one connection before others get their turn.
pub(super) const READS_IN_A_ROW: usize = 8;

/// Bytes that may be gathered before they are written although nobody asked for it: about what a socket's buffer takes.
pub(super) const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Slices given to one write call.
pub(super) const SLICES_MAX: usize = 64;

/// TCP keep-alive begins after this much silence (consensus 10).
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Key exchange messages kept until this node has an identity: one of each of a few peers.
pub(super) const EARLY_FRAMES_MAX: usize = 16;

/// Longest of them: two certificates, a key share and a signature need less.
pub(super) const EARLY_FRAME_BYTES_MAX: usize = 8 * 1024;

/// Stack of the transport's thread: short requests of a native application are executed in its events, with as much as on a worker.
pub(super) const STACK_BYTES: usize = 4 << 20;
