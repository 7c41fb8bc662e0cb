//! Feeding the checker from files, on three threads.
//!
//! reader: blocks of entries from the files, parsed as far as headers, hashed to leaves; caller: order, records,
//! tree, tables; helper: signatures. Bounded channels between them. Whatever fails first in the ledger is what is
//! reported, though it may be noticed last: signature checks run behind.

use ccf_types::{Digest, SeqNo, TxId};
use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{
    Failure, LedgerChecker, Level, Options, Progress, Reason, Verdict, VerifyError,
    checker::{Judged, SignatureCheck},
};
use crate::{
    entry::{Entry, EntryError},
    files::{Block, ChunkPath, ChunkReader, FIRST_ENTRY_AT, FileError, list_chunks_of_any_state},
    limits::{PENDING_BLOCKS_MAX, PENDING_CHECKS_MAX},
};

/// Verifies the ledger in these directories, which together hold one sequence of chunk files.
///
/// # Errors
/// [`VerifyError`] if there is nothing to judge. What is wrong with the ledger itself is in the [`Verdict`].
pub fn run(
    directories: &[PathBuf],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict, VerifyError> {
    let (chunks, covered) = select(directories, options)?;
    let first = chunks.first().ok_or(VerifyError::Empty)?.name.start;
    if options.level == Level::Full && first != SeqNo(1) {
        return Err(VerifyError::NotFromStart(first));
    }
    let bytes_total = chunks.iter().map(ChunkPath::file_bytes).sum();

    let mut checker = LedgerChecker::new(options.level, first);
    let (block_tx, block_rx) = sync_channel(PENDING_BLOCKS_MAX);
    let (check_tx, check_rx) = sync_channel(PENDING_CHECKS_MAX);
    let (mut failure, signed) = thread::scope(|scope| {
        let (chunks, level) = (&chunks, options.level);
        scope.spawn(move || read(chunks, level, &block_tx));
        let helper = scope.spawn(move || verify_signatures(&check_rx));
        let failure = judge(&mut checker, chunks, block_rx, &check_tx, bytes_total, progress);
        drop(check_tx);
        (failure, helper.join().expect("the helper thread does not panic"))
    });
    if signed.failure.is_some() {
        failure = signed.failure.map(|(at, reason)| at.failure(&chunks, reason.into()));
    }

    let last = checker.last();
    let (verified, transactions) = match options.level {
        Level::Headers => (last, (last.seqno.0 + 1).saturating_sub(first.0)),
        _ => (signed.last, (signed.last.seqno.0 + 1).saturating_sub(first.0)),
    };
    Ok(Verdict {
        level: options.level,
        verified,
        transactions,
        signatures: signed.count,
        uncommitted_tail: last.seqno.0.saturating_sub(verified.seqno.0.max(first.0 - 1)),
        services: checker.into_services(),
        covered,
        failure,
    })
}

/// The files to read, in order, and those whose entries others hold.
fn select(directories: &[PathBuf], options: &Options) -> Result<(Vec<ChunkPath>, Vec<PathBuf>), FileError> {
    let mut all = Vec::new();
    for directory in directories {
        all.extend(list_chunks_of_any_state(directory)?);
    }
    all.retain(|chunk| {
        (options.uncommitted || chunk.name.committed) && (options.recovery || !chunk.name.recovery)
    });
    // At one start the committed file comes first, then the one that ends later.
    all.sort_by_key(|chunk| (chunk.name.start, !chunk.name.committed, std::cmp::Reverse(chunk.name.end)));
    let mut covered = SeqNo::NONE;
    let mut last_start = SeqNo::NONE;
    let mut left_out = Vec::new();
    all.retain(|chunk| {
        let double = chunk.name.start == last_start || chunk.name.end.is_some_and(|end| end <= covered);
        last_start = chunk.name.start;
        covered = chunk.name.end.unwrap_or(covered).max(covered);
        if double {
            left_out.push(chunk.path.clone());
        }
        !double
    });
    Ok((all, left_out))
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Number of the file.
    chunk: usize,
    offset: u64,
    seqno: SeqNo,
}

impl Place {
    /// Refuses the ledger for what was noticed here. The place of the failure may be an earlier one.
    fn failure(self, chunks: &[ChunkPath], reason: Reason) -> Failure {
        let (from, until) = match reason {
            Reason::Altered { entry, .. } => (entry, None),
            Reason::OtherTree { from, to, .. } => (from, Some(to)),
            _ => (self.seqno, None),
        };
        let place = if from < self.seqno { Place::find(from, chunks) } else { None };
        let Place { chunk, offset, seqno } = place.unwrap_or(self);
        let path = chunks.get(chunk).map(|chunk| chunk.path.clone()).unwrap_or_default();
        Failure { path, offset, seqno, until, reason }
    }

    /// Where an entry stands that was read before.
    fn find(seqno: SeqNo, chunks: &[ChunkPath]) -> Option<Place> {
        let (chunk, path) = chunks.iter().enumerate().rfind(|(_, chunk)| chunk.name.start <= seqno)?;
        let (mut reader, mut block) = (ChunkReader::open(path).ok()?, Block::default());
        while reader.next_seqno() <= seqno && reader.next_block(&mut block).ok()? {}
        let (_, offset, _) = block.entries().find(|(found, ..)| *found == seqno)?;
        Some(Place { chunk, offset, seqno })
    }
}

/// What the reader sends.
enum Read {
    /// Entries, with the leaf of each.
    Block { chunk: usize, block: Block, leaves: Vec<Result<Digest, EntryError>> },
    /// All entries of a file were sent.
    End { chunk: usize, next: SeqNo, offset: u64 },
    /// The file goes no further.
    Failed { place: Place, reason: Reason },
}

/// The reader's thread. Ends when the caller has hung up.
fn read(chunks: &[ChunkPath], level: Level, out: &SyncSender<Read>) {
    for (chunk, path) in chunks.iter().enumerate() {
        let is_last = chunk + 1 == chunks.len();
        let sent = match ChunkReader::open(path) {
            Ok(reader) if reader.file_bytes() < FIRST_ENTRY_AT => {
                let place = Place { chunk, offset: 0, seqno: path.name.start };
                let reason = Reason::CutOff { bytes: reader.file_bytes() };
                let _ = out.send(Read::Failed { place, reason });
                false
            }
            Ok(reader) => read_chunk(reader, chunk, is_last, level, out),
            Err(error) => {
                let place = Place { chunk, offset: 0, seqno: path.name.start };
                let _ = out.send(Read::Failed { place, reason: Reason::File(error) });
                false
            }
        };
        if !sent {
            return;
        }
    }
}

fn read_chunk(
    mut reader: ChunkReader,
    chunk: usize,
    is_last: bool,
    level: Level,
    out: &SyncSender<Read>,
) -> bool {
    let mut offsets = Vec::new();
    loop {
        let mut block = Block::default();
        let message = match reader.next_block(&mut block) {
            Ok(true) => {
                let mut leaves = Vec::with_capacity(block.ends.len());
                for (_, offset, bytes) in block.entries() {
                    offsets.push(u32::try_from(offset).unwrap_or(u32::MAX));
                    leaves.push(match level {
                        Level::Headers => Ok(Digest::ZERO),
                        _ => Entry::parse(bytes).map(|entry| entry.leaf()),
                    });
                }
                Read::Block { chunk, block, leaves }
            }
            Ok(false) => match reader.check_table(&offsets) {
                Ok(()) => {
                    let end = Read::End { chunk, next: reader.next_seqno(), offset: reader.offset() };
                    return out.send(end).is_ok();
                }
                Err(error) => failed(chunk, &reader, error),
            },
            Err(FileError::Entry { source, .. }) => {
                let cut_off = matches!(source, EntryError::Truncated { .. } | EntryError::Size { .. });
                let torn = is_last && !reader.is_complete() && cut_off;
                offsets.push(u32::try_from(reader.offset()).unwrap_or(u32::MAX));
                match reader.other_length(&offsets) {
                    Some((index, table)) => {
                        let seqno = SeqNo(reader.chunk().name.start.0 + index as u64);
                        let place = Place { chunk, offset: offsets[index].into(), seqno };
                        Read::Failed {
                            place,
                            reason: Reason::Length { found: offsets[index + 1].into(), table },
                        }
                    }
                    None if torn => failed_with(chunk, &reader, Reason::TornTail),
                    None => failed_with(chunk, &reader, Reason::Entry(source)),
                }
            }
            Err(error) => failed(chunk, &reader, error),
        };
        let goes_on = matches!(message, Read::Block { .. });
        if out.send(message).is_err() || !goes_on {
            return false;
        }
    }
}

fn failed(chunk: usize, reader: &ChunkReader, error: FileError) -> Read {
    match error {
        FileError::Table { offset, reason, .. } => {
            let place = Place { chunk, offset, seqno: reader.next_seqno() };
            Read::Failed { place, reason: Reason::Table(reason) }
        }
        error => failed_with(chunk, reader, Reason::File(error)),
    }
}

fn failed_with(chunk: usize, reader: &ChunkReader, reason: Reason) -> Read {
    Read::Failed { place: Place { chunk, offset: reader.offset(), seqno: reader.next_seqno() }, reason }
}

/// The caller's part: everything that depends on order. Takes the receiver, so that the reader ends with it.
fn judge(
    checker: &mut LedgerChecker,
    chunks: &[ChunkPath],
    blocks: Receiver<Read>,
    checks: &SyncSender<(Place, TxId, Option<Box<SignatureCheck>>)>,
    bytes_total: u64,
    progress: &mut dyn FnMut(Progress),
) -> Option<Failure> {
    let mut bytes_before = 0;
    for message in blocks {
        match message {
            Read::Block { chunk, block, leaves } => {
                for ((seqno, offset, bytes), leaf) in block.entries().zip(leaves) {
                    let place = Place { chunk, offset, seqno };
                    let expected = checker.last().seqno.next();
                    if seqno != expected {
                        let reason = if seqno > expected {
                            Reason::Gap
                        } else {
                            Reason::WrongPlace { found: TxId { seqno, ..checker.last() } }
                        };
                        return Some(Place { seqno: expected, ..place }.failure(chunks, reason));
                    }
                    let judged = leaf
                        .and_then(|leaf| Ok((Entry::parse(bytes)?, leaf)))
                        .map_err(Reason::Entry)
                        .and_then(|(entry, leaf)| checker.entry(&entry, leaf));
                    match judged {
                        Ok(Judged::Transaction) => {}
                        // If the helper has hung up it has found something wrong before.
                        Ok(Judged::Signature(check)) => checks.send((place, checker.last(), check)).ok()?,
                        Err(reason) => return Some(place.failure(chunks, reason)),
                    }
                }
                let bytes = bytes_before + block.offset + block.bytes.len() as u64;
                progress(Progress { seqno: checker.last().seqno, bytes, bytes_total });
            }
            Read::End { chunk, next, offset } => {
                bytes_before += chunks[chunk].file_bytes();
                let found = next.previous();
                if let Some(named) = chunks[chunk].name.end
                    && named != found
                {
                    let place = Place { chunk, offset, seqno: next };
                    return Some(place.failure(chunks, Reason::WrongEnd { named, found }));
                }
            }
            Read::Failed { place, reason } => return Some(place.failure(chunks, reason)),
        }
    }
    None
}

/// What the helper found.
#[derive(Debug, Default)]
struct Signed {
    last: TxId,
    count: u64,
    failure: Option<(Place, crate::signature::SignatureError)>,
}

/// The helper's thread.
fn verify_signatures(checks: &Receiver<(Place, TxId, Option<Box<SignatureCheck>>)>) -> Signed {
    let mut signed = Signed::default();
    for (place, tx_id, check) in checks {
        if let Some(Err(error)) = check.map(|check| check.run()) {
            signed.failure = Some((place, error));
            return signed;
        }
        signed.last = tx_id;
        signed.count += 1;
    }
    signed
}
