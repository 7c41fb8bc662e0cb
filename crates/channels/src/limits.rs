//! Named limits and the reasons for them.

use std::time::Duration;

/// The longest frame, without its length: the reference's default for one message (64 MiB), and some more for the header.
pub const FRAME_BYTES_MAX: u32 = 64 * 1024 * 1024 + 4096;

/// The longest message of a key exchange: a share, a signature, a salt, and a certificate with many names.
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// Forwarded messages that wait for keys (11.4). The next one is refused.
pub const FORWARDED_WAITING_MAX: usize = 10;

/// Time between two initiations of a key exchange while one is pending (section 3).
pub const INITIATION_GAP: Duration = Duration::from_secs(2);

/// Key exchanges of a peer that are remembered, to recognise replays. One of each thousand million messages or of each lost
/// connection; a node lives shorter.
pub const SEEN_INITIATIONS_MAX: usize = 64;

/// The lowest message limit that is honoured: with less, keys would be exchanged without end.
pub const MESSAGE_LIMIT_MIN: u64 = 16;

/// The highest message limit that is honoured: nonces have 56 bits.
pub const MESSAGE_LIMIT_MAX: u64 = 1 << 55;
