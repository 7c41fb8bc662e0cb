//! Named limits and the reasons for them.

/// The highest view that is believed: view histories are vectors with one number per view. An election every two
/// seconds for a year reaches it.
pub const VIEW_MAX: u64 = 1 << 24;

/// The bytes of entries aimed at in one message.
pub const APPEND_ENTRIES_BYTES: u64 = 20_000;

/// The most entries in one message.
pub const APPEND_ENTRIES_MAX: u64 = 2_000;

/// The most entries in one message by CCF's own rule, for scenario files.
pub(crate) const APPEND_ENTRIES_REFERENCE: u64 = 10_000;

/// The entries of a message before any size is known.
pub const APPEND_ENTRIES_FIRST: u64 = 20;

/// Messages with entries that one peer may leave unanswered: a peer that is far behind is brought up at the pace of
/// its answers instead of being sent the whole ledger at once (quirk Q10).
pub const IN_FLIGHT_MESSAGES_MAX: usize = 64;

/// A peer that misses this many entries is not following but catching up: how long one message takes does not matter to it,
/// how much work each one makes does.
pub const CATCH_UP_ENTRIES: u64 = 10_000;

/// Messages to a peer that catches up are so many times larger: 260 KB, which makes 17 MB in flight.
pub const CATCH_UP_FACTOR: u64 = 13;
