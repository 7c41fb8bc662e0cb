//! Reading a ledger from a point on as fast as the machine can: files are read ahead, entries are parsed, decrypted
//! and hashed on all cores, and arrive in order on the thread that called.
//!
//! ```text
//! reader thread ── blocks, in turn ──> workers ── decoded blocks ──> caller, in the same turn
//! ```
//! Queues between them are short, so memory is bounded by a few blocks per worker. Nothing here judges more than an
//! entry by itself: it is well formed, says that it is where it stands, and authenticates if secrets are given. Order of
//! views, the tree and signatures are the caller's.

use ccf_types::{Digest, SeqNo, TxId};
use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use crate::{
    entry::{Entry, EntryError, Flags, PrivateDomain},
    files::{EntryRange, FileError, LedgerReader},
    limits::{REPLAY_BLOCK_BYTES, REPLAY_BLOCKS_MAX},
    secrets::LedgerSecrets,
};

/// What to read, and how.
#[derive(Clone, Debug)]
pub struct ReplayOptions<'a> {
    /// The first entry.
    pub from: SeqNo,
    /// The last entry; the end of the ledger if none.
    pub to: Option<SeqNo>,
    /// With these every entry is authenticated and its private domain decrypted; without, only the public domain is
    /// read.
    pub secrets: Option<&'a LedgerSecrets>,
    /// Threads that decode; at least one is used.
    pub threads: usize,
}

/// One entry, decoded.
#[derive(Debug)]
pub struct Replayed<'a, T> {
    /// View and seqno.
    pub tx_id: TxId,
    /// Chunk flags.
    pub flags: Flags,
    /// Its leaf in the Merkle tree.
    pub leaf: Digest,
    /// The digest of the entry, of which the leaf is made.
    pub write_set_digest: Digest,
    /// The whole entry.
    pub bytes: &'a [u8],
    /// What the decoder made of it.
    pub value: T,
}

/// Why a replay went no further.
#[derive(Debug)]
pub enum ReplayEnd<D, E> {
    /// Everything asked for was there, or the ledger ends here.
    Complete,
    /// A file cannot be read. Its name is in the error.
    File(FileError),
    /// An entry is malformed, misplaced, or does not authenticate.
    Entry(SeqNo, EntryError),
    /// The decoder refused an entry.
    Decoder(SeqNo, D),
    /// The caller refused an entry.
    Stopped(SeqNo, E),
}

/// A run of entries on its way.
struct Decoded<T, D> {
    range: EntryRange,
    entries: Vec<(TxId, Flags, [Digest; 2], T)>,
    /// What is wrong with the entry after the last good one.
    failure: Option<ReplayEnd<D, std::convert::Infallible>>,
}

type Turn<T> = (SyncSender<T>, Receiver<T>);

/// Reads entries and gives them to `apply`, in order, on this thread. `decode` runs on other threads: it gets the entry,
/// and its private domain if there are secrets. Returns the last entry applied (the one before `from` if none) and why
/// it was the last.
pub fn replay<T, D, E>(
    reader: &LedgerReader,
    options: &ReplayOptions<'_>,
    decode: &(dyn Fn(&Entry<'_>, Option<&PrivateDomain>) -> Result<T, D> + Sync),
    apply: &mut dyn FnMut(Replayed<'_, T>) -> Result<(), E>,
) -> (SeqNo, ReplayEnd<D, E>)
where
    T: Send,
    D: Send,
{
    let workers = options.threads.max(1);
    let mut last = options.from.previous();
    let end = thread::scope(|scope| {
        let mut to_workers = Vec::with_capacity(workers);
        let mut from_workers = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (blocks, waiting): Turn<Result<EntryRange, FileError>> = sync_channel(REPLAY_BLOCKS_MAX);
            let (done, decoded): Turn<Decoded<T, D>> = sync_channel(REPLAY_BLOCKS_MAX);
            to_workers.push(blocks);
            from_workers.push(decoded);
            scope.spawn(move || work(&waiting, &done, options.secrets, decode));
        }
        scope.spawn(move || read(reader, options, &to_workers));
        for decoded in from_workers.iter().cycle() {
            // The reader and then its workers hang up at the end of the ledger.
            let Ok(Decoded { range, entries, failure }) = decoded.recv() else { return ReplayEnd::Complete };
            for ((tx_id, flags, [leaf, write_set_digest], value), (seqno, bytes)) in
                entries.into_iter().zip(range.entries())
            {
                if let Err(refused) = apply(Replayed { tx_id, flags, leaf, write_set_digest, bytes, value }) {
                    return ReplayEnd::Stopped(seqno, refused);
                }
                last = seqno;
            }
            match failure {
                None => {}
                Some(ReplayEnd::File(error)) => return ReplayEnd::File(error),
                Some(ReplayEnd::Entry(seqno, error)) => return ReplayEnd::Entry(seqno, error),
                Some(ReplayEnd::Decoder(seqno, error)) => return ReplayEnd::Decoder(seqno, error),
                Some(ReplayEnd::Complete) => return ReplayEnd::Complete,
                Some(ReplayEnd::Stopped(_, never)) => match never {},
            }
        }
        // Returning drops the receivers, with which workers and the reader end.
        ReplayEnd::Complete
    });
    (last, end)
}

/// The reader's thread: gives blocks to the workers in turn until the ledger ends or somebody hangs up.
fn read(
    reader: &LedgerReader,
    options: &ReplayOptions<'_>,
    workers: &[SyncSender<Result<EntryRange, FileError>>],
) {
    let to = options.to.unwrap_or(SeqNo(crate::limits::SEQNO_MAX));
    let mut next = options.from;
    for worker in workers.iter().cycle() {
        if next > to {
            return;
        }
        let block = match reader.read_range(next, to, REPLAY_BLOCK_BYTES) {
            // One entry may be larger than a block.
            Ok(None) => reader.read_range(next, next, usize::MAX),
            other => other,
        };
        let message = match block {
            Ok(None) => return,
            Ok(Some(range)) => {
                next = range.to().next();
                Ok(range)
            }
            Err(error) => Err(error),
        };
        let failed = message.is_err();
        if worker.send(message).is_err() || failed {
            return;
        }
    }
}

/// A worker's thread.
fn work<T, D>(
    blocks: &Receiver<Result<EntryRange, FileError>>,
    done: &SyncSender<Decoded<T, D>>,
    secrets: Option<&LedgerSecrets>,
    decode: &(dyn Fn(&Entry<'_>, Option<&PrivateDomain>) -> Result<T, D> + Sync),
) {
    for block in blocks {
        let decoded = match block {
            Err(error) => {
                let range = EntryRange { from: SeqNo::NONE, bytes: Vec::new(), ends: Vec::new() };
                Decoded { range, entries: Vec::new(), failure: Some(ReplayEnd::File(error)) }
            }
            Ok(range) => {
                let mut entries = Vec::with_capacity(range.ends.len());
                let mut failure = None;
                for (seqno, bytes) in range.entries() {
                    match decode_one(seqno, bytes, secrets, decode) {
                        Ok(entry) => entries.push(entry),
                        Err(wrong) => {
                            failure = Some(wrong);
                            break;
                        }
                    }
                }
                Decoded { range, entries, failure }
            }
        };
        if done.send(decoded).is_err() {
            return;
        }
    }
}

fn decode_one<T, D>(
    seqno: SeqNo,
    bytes: &[u8],
    secrets: Option<&LedgerSecrets>,
    decode: &(dyn Fn(&Entry<'_>, Option<&PrivateDomain>) -> Result<T, D> + Sync),
) -> Result<(TxId, Flags, [Digest; 2], T), ReplayEnd<D, std::convert::Infallible>> {
    let malformed = |error| ReplayEnd::Entry(seqno, error);
    let entry = Entry::parse(bytes).map_err(malformed)?;
    if entry.seqno() != seqno {
        return Err(malformed(EntryError::TxId(entry.tx_id())));
    }
    let private = secrets.map(|secrets| entry.decrypt(secrets)).transpose().map_err(malformed)?;
    let value = decode(&entry, private.as_ref()).map_err(|error| ReplayEnd::Decoder(seqno, error))?;
    let write_set_digest = entry.write_set_digest();
    let leaf = entry.leaf_with(&write_set_digest);
    Ok((entry.tx_id(), entry.flags(), [leaf, write_set_digest], value))
}
