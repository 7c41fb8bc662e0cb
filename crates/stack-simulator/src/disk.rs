//! The disk of one node: real ledger files, written later than asked, and torn when the machine dies.

use crate::files;
use bytes::Bytes;
use ccf_ledger::{
    entry::{Entry, Flags},
    files::{ChunkName, FileError, LedgerReader, LedgerWriter, list_chunks},
};
use ccf_node::replication::{DiskProgress, disk::LedgerSink};
use ccf_simulator::Random;
use ccf_types::{SeqNo, TxId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    path::Path,
    sync::Arc,
};
use tempfile::TempDir;

/// Of the steps of a rewriting so many are done at most before the machine dies: more than most have.
const REWRITE_STEPS_MAX: u64 = 12;

/// What the log asked for and the files do not show yet.
enum Command {
    Append(Vec<(Bytes, bool)>, TxId),
    Truncate(TxId),
    Rewrite(SeqNo, Vec<(Bytes, bool)>, TxId),
    Commit(SeqNo),
    FinishRecovery,
}

/// One entry as the log handed it over.
#[derive(Clone)]
pub(crate) struct LogEntry {
    pub(crate) tx_id: TxId,
    pub(crate) bytes: Bytes,
    pub(crate) committable: bool,
}

/// What happened to a log.
pub(crate) struct Look {
    /// Up to here nothing happened.
    pub(crate) untouched: SeqNo,
    /// The entry there; none if the log is empty to there.
    pub(crate) before: TxId,
    /// Entries behind it whose flags were mended, with those in between.
    pub(crate) mended: Vec<LogEntry>,
    /// Entries behind those.
    pub(crate) new: Vec<LogEntry>,
}

struct State {
    writer: LedgerWriter,
    waiting: VecDeque<Command>,
    /// The entry before the first of `log`.
    base: SeqNo,
    log: Vec<LogEntry>,
    /// Entries of `log` from here on are new since somebody looked.
    seen: usize,
    /// Where chunks ended before an entry that was rolled back: what was complete there stays so.
    ended: BTreeSet<SeqNo>,
    /// So much of the log is as it was when somebody looked.
    untouched: usize,
    progress: Arc<DiskProgress>,
    written: TxId,
}

/// A disk. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    directory: Arc<TempDir>,
}

impl Disk {
    /// An empty one.
    pub(crate) fn create(progress: Arc<DiskProgress>) -> Result<Disk, FileError> {
        let io = |source| FileError::Io { path: "ledger".into(), source };
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.map_err(io)?;
        let writer = LedgerWriter::open(directory.path(), &[], &mut Vec::new())?;
        let state = State::new(writer, TxId::default(), progress);
        Ok(Disk { state: Arc::new(Mutex::new(state)), directory: Arc::new(directory) })
    }

    /// The same directory for a log that begins behind `last`.
    pub(crate) fn reopen(&self, writer: LedgerWriter, last: TxId) -> (Disk, Arc<DiskProgress>) {
        let progress = Arc::new(DiskProgress::default());
        progress.set(last);
        let state = State::new(writer, last, Arc::clone(&progress));
        (Disk { state: Arc::new(Mutex::new(state)), directory: Arc::clone(&self.directory) }, progress)
    }

    pub(crate) fn sink(&self) -> Box<dyn LedgerSink> {
        Box::new(Sink(Arc::clone(&self.state)))
    }

    pub(crate) fn reader(&self) -> LedgerReader {
        self.state.lock().writer.reader()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How far it has written.
    pub(crate) fn written(&self) -> TxId {
        self.state.lock().written
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Whether entries with other flags are what it writes next.
    pub(crate) fn is_mending(&self) -> bool {
        matches!(self.state.lock().waiting.front(), Some(Command::Rewrite(..)))
    }

    /// What happened to the log since the last look.
    pub(crate) fn look(&self) -> Look {
        let mut state = self.state.lock();
        let (seen, untouched) = (state.seen, state.untouched);
        let at = |index: usize| state.log.get(index).map(|entry| entry.tx_id).unwrap_or_default();
        let look = Look {
            untouched: SeqNo(state.base.0 + untouched as u64),
            before: untouched.checked_sub(1).map(at).unwrap_or_default(),
            mended: state.log.get(untouched..seen).unwrap_or_default().to_vec(),
            new: state.log.get(seen..).unwrap_or_default().to_vec(),
        };
        state.seen = state.log.len();
        state.untouched = state.log.len();
        look
    }

    /// The entry at a position of the log.
    pub(crate) fn entry(&self, seqno: SeqNo) -> Option<LogEntry> {
        let state = self.state.lock();
        let at = seqno.0.checked_sub(state.base.0 + 1)?;
        state.log.get(usize::try_from(at).ok()?).cloned()
    }

    /// Does the next thing it was asked for.
    pub(crate) fn work(&self) -> Result<(), FileError> {
        let state = &mut *self.state.lock();
        match state.waiting.pop_front() {
            None => {}
            Some(Command::Append(entries, last)) => {
                for (bytes, committable) in &entries {
                    state.writer.append(bytes, *committable)?;
                }
                state.writer.flush()?;
                state.reached(last);
            }
            Some(Command::Truncate(to)) => {
                state.writer.truncate(to.seqno)?;
                state.reached(to);
            }
            Some(Command::Rewrite(after, entries, last)) => {
                state.writer.rewrite(after, &entries)?;
                state.reached(last);
            }
            Some(Command::Commit(seqno)) => state.writer.commit(seqno)?,
            Some(Command::FinishRecovery) => state.writer.finish_recovery()?,
        }
        Ok(())
    }

    /// The files of complete chunks.
    pub(crate) fn complete_chunks(&self) -> Result<Vec<ChunkName>, FileError> {
        let chunks = list_chunks(self.directory.path())?.into_iter();
        Ok(chunks.map(|chunk| chunk.name).filter(|name| name.end.is_some()).collect())
    }

    /// Once all that was asked for is done, the files are the log. Nothing is said before that, and of a recovered service.
    pub(crate) fn check_files(&self) -> Result<(), String> {
        let state = self.state.lock();
        if !state.waiting.is_empty() || state.base > SeqNo::NONE {
            return Ok(());
        }
        files::check(self.directory.path(), &state.log, state.writer.committed(), &state.ended)
    }

    /// The machine dies. Of what was being written any part may be there; with `power_cut` also some of what had been
    /// written to the last file may be gone.
    pub(crate) fn tear(&self, random: &mut Random, power_cut: bool) -> Result<(), FileError> {
        let state = &mut *self.state.lock();
        let mut cut = 0;
        let next = state.waiting.drain(..).next();
        if let Some(Command::Append(entries, _)) = &next {
            for (bytes, committable) in entries {
                state.writer.append(bytes, *committable)?;
            }
            state.writer.flush()?;
            let sizes: Vec<u64> = entries.iter().map(|(bytes, _)| bytes.len() as u64).collect();
            cut = lost(&sizes, random.next());
        } else if let Some(Command::Rewrite(after, entries, _)) = &next {
            let mut steps = random.up_to(REWRITE_STEPS_MAX);
            let died = || FileError::Gone(*after);
            let mut step = || {
                steps = steps.checked_sub(1).ok_or_else(died)?;
                Ok(())
            };
            // Whether it came to its end does not matter to anybody any more.
            let _ = state.writer.rewrite_interruptibly(*after, entries, &mut step);
        }
        let last = list_chunks(self.directory.path())?
            .into_iter()
            .filter(|chunk| !chunk.name.committed)
            .max_by_key(|chunk| chunk.name.start);
        let Some(last) = last else { return Ok(()) };
        let io = |source| FileError::Io { path: last.path.clone(), source };
        let size = fs::metadata(&last.path).map_err(io)?.len();
        if power_cut {
            cut = lost(&files::parts(&last, size)?, random.next());
        }
        let file = fs::OpenOptions::new().write(true).open(&last.path).map_err(io)?;
        file.set_len(size.saturating_sub(cut)).map_err(io)
    }
}

/// How many bytes are lost of parts of these sizes: some whole ones, and a share of the one before. What that is depends on the
/// number alone, not on the sizes, which differ by a few bytes from process to process as the keys and signatures do.
fn lost(parts: &[u64], number: u64) -> u64 {
    let (shares, whole) = (number % 4, number / 4 % (parts.len() as u64 + 1));
    let mut from_last = parts.iter().rev();
    let gone: u64 = from_last.by_ref().take(usize::try_from(whole).unwrap_or_default()).sum();
    gone + from_last.next().map_or(0, |part| part * shares / 4)
}

impl LogEntry {
    /// An entry of a ledger file.
    pub(crate) fn read(bytes: &[u8]) -> LogEntry {
        LogEntry::of(&(Bytes::copy_from_slice(bytes), false))
    }

    fn of((bytes, committable): &(Bytes, bool)) -> LogEntry {
        let tx_id = Entry::parse(bytes).map(|entry| entry.tx_id()).unwrap_or_default();
        LogEntry { tx_id, bytes: bytes.clone(), committable: *committable }
    }
}

impl State {
    fn new(writer: LedgerWriter, last: TxId, progress: Arc<DiskProgress>) -> State {
        State {
            writer,
            waiting: VecDeque::new(),
            base: last.seqno,
            log: Vec::new(),
            seen: 0,
            untouched: 0,
            ended: BTreeSet::new(),
            progress,
            written: last,
        }
    }

    /// Whether the log has an entry there that says that a chunk begins with it.
    fn begins_chunk(&self, index: usize) -> bool {
        let entry = self.log.get(index).and_then(|entry| Entry::parse(&entry.bytes).ok());
        entry.is_some_and(|entry| entry.flags().contains(Flags::CHUNK_BEFORE))
    }

    fn reached(&mut self, last: TxId) {
        self.written = last;
        self.progress.set(last);
    }
}

struct Sink(Arc<Mutex<State>>);

impl LedgerSink for Sink {
    fn append(&self, entries: Vec<(Bytes, bool)>, last: TxId) {
        let mut state = self.0.lock();
        state.log.extend(entries.iter().map(LogEntry::of));
        state.waiting.push_back(Command::Append(entries, last));
    }

    fn truncate(&self, to: TxId) {
        let mut state = self.0.lock();
        let kept = usize::try_from(to.seqno.0.saturating_sub(state.base.0)).unwrap_or(usize::MAX);
        if state.begins_chunk(kept) {
            state.ended.insert(to.seqno);
        }
        state.log.truncate(kept);
        state.seen = state.seen.min(kept);
        state.untouched = state.untouched.min(kept);
        state.waiting.push_back(Command::Truncate(to));
    }

    fn rewrite(&self, after: SeqNo, entries: Vec<(Bytes, bool)>, last: TxId) {
        let mut state = self.0.lock();
        let from = usize::try_from(after.0.saturating_sub(state.base.0)).unwrap_or(usize::MAX);
        let same =
            state.log.iter().skip(from).zip(&entries).take_while(|(known, (new, _))| known.bytes == *new);
        let same = from + same.count();
        if state.begins_chunk(from) {
            // The end of that chunk is older than what is remembered of chunks: nothing before it is written again.
            state.ended.insert(after);
        }
        state.log.truncate(from);
        state.log.extend(entries.iter().map(LogEntry::of));
        state.untouched = state.untouched.min(same);
        state.waiting.push_back(Command::Rewrite(after, entries, last));
    }

    fn commit(&self, seqno: SeqNo) {
        self.0.lock().waiting.push_back(Command::Commit(seqno));
    }

    fn finish_recovery(&self) {
        self.0.lock().waiting.push_back(Command::FinishRecovery);
    }

    fn finish(self: Box<Self>) {}
}
