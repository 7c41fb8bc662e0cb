//! Bounds that are not configurable, each with its reason.

use std::time::Duration;

/// Headers in one request head beyond `max_headers_count` and `max_header_size` could still add up to
/// many megabytes per session: the whole head, target included, is held to this, or to four times
/// `max_header_size` where that is larger.
pub(crate) const HEAD_BYTES_MIN_BOUND: usize = 1 << 20;

/// A chunk-size line with its extensions; nobody needs more.
pub(crate) const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// Bytes of an unparsable request quoted in its answer.
pub(crate) const FRAGMENT_BYTES_MAX: usize = 16 << 10;

/// Requests of one session executed before its answers are sent and other sessions get their turn.
pub(crate) const BURST_REQUESTS_MAX: usize = 256;

/// Bytes of answers gathered before they are sent.
pub(crate) const BURST_ANSWER_BYTES_MAX: usize = 256 << 10;

/// Pieces in which long bodies are sent; all that a session holds of one.
pub(crate) const LONG_BODY_PIECE_BYTES: usize = 256 << 10;

/// One read from a socket. Several TLS records of the largest size fit.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Unprocessed TLS bytes kept between reads: more than a largest record or handshake message.
pub(crate) const TLS_LEFTOVER_BYTES_MAX: usize = 72 << 10;

/// A buffer of a waiting session larger than this is given back.
pub(crate) const IDLE_BUFFER_BYTES_MAX: usize = 8 << 10;

/// A TLS handshake takes two round trips and a few milliseconds of computing.
pub(crate) const HANDSHAKE_SECONDS_MAX: u32 = 20;

/// From its first byte, a request may take this long...
pub(crate) const REQUEST_SECONDS_BASE: u32 = 60;

/// ...and one second more for each of these, received: slower senders hold a session for nothing.
pub(crate) const REQUEST_BYTES_PER_SECOND_MIN: usize = 4 << 10;

/// After a refusal, what the client had already sent is read and dropped for this long, so that closing the
/// socket does not destroy the answer on its way.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The most bytes dropped while lingering.
pub(crate) const LINGER_BYTES_MAX: usize = 16 << 20;

/// Length of the kernel's queue of connections not yet accepted (node specification, section 14.5).
pub(crate) const LISTEN_BACKLOG: i32 = 128;

/// Idle time before the kernel probes a connection (node specification, section 14.5).
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// HTTP/2: headers held per request before they are counted against the configured limits, or four times `max_header_size` where
/// that is larger. A session may have a hundred requests at once.
pub(crate) const H2_HEADER_LIST_BYTES_MIN_BOUND: u32 = 128 << 10;

/// HTTP/2: a body up to this needs no place among the long ones of its session.
pub(crate) const H2_SHORT_BODY_BYTES: usize = 64 << 10;

/// HTTP/2: longer bodies that one session may be sending at once; others wait, held back by flow control. Without it the streams of
/// one session could make a node hold `max_body_size` a hundred times.
pub(crate) const H2_LONG_BODIES_MAX: usize = 8;

/// HTTP/2: streams that clients opened and took back before they were looked at, until the session ends (CVE-2023-44487).
pub(crate) const H2_RESET_STREAMS_MAX: usize = 20;

/// HTTP/2: answers waiting for a slow client, bytes per stream.
pub(crate) const H2_SEND_BUFFER_BYTES_MAX: usize = 1 << 20;

/// HTTP/2: the least that all streams of a session together may have under way.
pub(crate) const H2_CONNECTION_WINDOW_MIN: u32 = 1 << 20;
