//! Judging the files of one node: they hold its log, to the last bit, and chunks end where the flags of entries say.

use crate::disk::LogEntry;
use ccf_ledger::{
    entry::{Entry, Flags},
    files::{Block, ChunkPath, ChunkReader, FIRST_ENTRY_AT, FileError, list_chunks},
    verify::{self, Level, Options},
};
use ccf_types::SeqNo;
use std::{collections::BTreeSet, path::Path};

/// Whether the directory holds exactly `log`, whose entries up to `committed` are in files with final names where their chunk is
/// complete.
///
/// Chunks may also have ended at `ended`, before entries that were rolled back.
///
/// # Errors
/// What differs.
pub(crate) fn check(
    directory: &Path,
    log: &[LogEntry],
    committed: SeqNo,
    ended: &BTreeSet<SeqNo>,
) -> Result<(), String> {
    let flags = |seqno: SeqNo| {
        let at = usize::try_from(seqno.0.checked_sub(1)?).ok()?;
        Entry::parse(&log.get(at)?.bytes).ok().map(|entry| entry.flags())
    };
    let ends_at = |seqno: SeqNo| {
        let has = |seqno, flag| flags(seqno).is_some_and(|flags| flags.contains(flag));
        has(seqno, Flags::CHUNK_AFTER) || has(seqno.next(), Flags::CHUNK_BEFORE)
    };
    let mut last = SeqNo::NONE;
    for chunk in list_chunks(directory).map_err(|e| e.to_string())? {
        let name = chunk.name;
        if name.start != last.next() {
            return Err(format!("{name} stands behind {last}"));
        }
        let mut reader = ChunkReader::open(&chunk).map_err(|e| e.to_string())?;
        let mut block = Block::default();
        while reader.next_block(&mut block).map_err(|e| e.to_string())? {
            for (seqno, _, bytes) in block.entries() {
                if seqno > name.start && ends_at(last) {
                    return Err(format!("{name} goes on behind the end of a chunk at {last}"));
                }
                let known = usize::try_from(seqno.0 - 1).ok().and_then(|at| log.get(at));
                if known.is_none_or(|known| known.bytes != bytes) {
                    return Err(format!("{name} has another entry {seqno} than the log"));
                }
                last = seqno;
            }
        }
        if reader.is_complete() != ends_at(last) && !(reader.is_complete() && ended.contains(&last)) {
            return Err(format!("{name} ends at {last}; complete: {}", reader.is_complete()));
        }
        if name.committed != (reader.is_complete() && last <= committed) {
            return Err(format!("{name} has the wrong name: committed is {committed}"));
        }
    }
    if last.0 != log.len() as u64 {
        return Err(format!("the files end with {last}, the log with {}", log.len()));
    }
    if log.is_empty() {
        return Ok(());
    }
    let options = Options { level: Level::Merkle, uncommitted: true, recovery: true };
    let verdict = verify::run(&[directory.to_owned()], &options, &mut |_| {}).map_err(|e| e.to_string())?;
    verdict.failure.map_or(Ok(()), |failure| Err(format!("the verifier: {failure:?}")))
}

/// The sizes of what a file of `size` bytes consists of: what stands before the entries, they, and what stands behind.
pub(crate) fn parts(file: &ChunkPath, size: u64) -> Result<Vec<u64>, FileError> {
    let mut reader = ChunkReader::open(file)?;
    let mut block = Block::default();
    let mut parts = vec![FIRST_ENTRY_AT];
    while reader.next_block(&mut block)? {
        parts.extend(block.entries().map(|(_, _, bytes)| bytes.len() as u64));
    }
    parts.push(size.saturating_sub(parts.iter().sum()));
    Ok(parts)
}
