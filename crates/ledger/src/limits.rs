//! Named bounds of this crate, each with its reason.

/// Largest whole entry the reader accepts: offline verifiers refuse more (section 5.1).
pub const ENTRY_BYTES_MAX: u64 = 1 << 30;

/// Largest entry the encoder builds. The specification's default for `ledger.max_transaction_size` is 32 MB;
/// this is the hard ceiling above any configuration, the largest message C++ nodes can carry (64 MB).
pub const SEALED_ENTRY_BYTES_MAX: usize = 64 << 20;

/// Default of `ledger.chunk_size` (section 18).
pub const CHUNK_BYTES_DEFAULT: u64 = 5 << 20;

/// Largest chunk file: offsets in its table are 32-bit (quirk 17 of section 21).
pub const CHUNK_FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// Views above this do not fit the IV of an entry (section 6).
pub const VIEW_MAX: u64 = (1 << 31) - 1;

/// Sequence numbers above this are never used (section 1).
pub const SEQNO_MAX: u64 = (1 << 63) - 1;

/// The writer passes its buffer to the operating system when it holds this much, even inside a batch.
pub const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Whole entries are read from files in blocks of about this size (one larger entry makes a larger block).
pub const READ_BLOCK_BYTES: usize = 1 << 20;

/// Recently used committed files kept open by a range reader (section 13.7).
pub const OPEN_FILES_MAX: usize = 5;

/// A table of offsets longer than this is not believed: no chunk of 4 GiB holds more entries of the
/// smallest size (44 bytes).
pub const CHUNK_ENTRIES_MAX: u64 = CHUNK_FILE_BYTES_MAX / 44;

/// Node rows the verifier remembers; services have had a few hundred.
pub const NODES_MAX: usize = 100_000;

/// Signature checks waiting for the verifier's helper thread.
pub const PENDING_CHECKS_MAX: usize = 256;

/// Blocks of entries waiting between the verifier's threads.
pub const PENDING_BLOCKS_MAX: usize = 4;

/// Leaves the verifier keeps behind the newest signature, to compare tree blobs without rehashing them.
pub const VERIFIER_LEAVES_KEPT: u64 = 1 << 16;

/// Leaves collected before the first signature of a ledger that begins in the middle.
pub const UNROOTED_LEAVES_MAX: u64 = 1 << 22;

/// Entries are replayed in blocks of about this size: some thousand small ones, so that handing a block from thread to
/// thread costs nothing, and the block stays in a core's cache while it is decoded.
pub const REPLAY_BLOCK_BYTES: usize = 256 << 10;

/// Blocks waiting for each thread of a replay: enough that none waits for another that is late for a moment.
pub const REPLAY_BLOCKS_MAX: usize = 4;

/// Snapshots are written, hashed and encrypted in blocks of about this size; their digests, 40 bytes for each block,
/// are what writing takes of memory beside one block.
pub const SNAPSHOT_BLOCK_BYTES: usize = 1 << 20;

/// Largest snapshot: its size is written in 48 bits (section 14.1).
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 48;

/// Longest receipt of a snapshot. Those in COSE have some hundred bytes, those in JSON some thousand.
pub const SNAPSHOT_RECEIPT_BYTES_MAX: u64 = 1 << 20;
