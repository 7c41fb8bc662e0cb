//! The thread that owns the ledger files. It decides nothing: it appends, renames and truncates as told, and
//! reports how far the ledger has reached the operating system.

use crate::vital::Vital;
use bytes::Bytes;
use ccf_ledger::files::{FileError, LedgerWriter};
use ccf_types::{SeqNo, TxId};
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, sync::Arc, thread::JoinHandle};

/// Batches that may wait for the disk before the replicator waits too.
const BATCHES_MAX: usize = 256;

/// Where the replicator's entries go. Calls are in order and at once; what was written is reported later
/// ([`DiskEvents`], [`DiskProgress`](super::DiskProgress)).
pub trait LedgerSink: Send {
    /// Appends entries in order, each with whether it is a signature; `last` is the last of them.
    fn append(&self, entries: Vec<(Bytes, bool)>, last: TxId);
    /// Drops everything after `to`.
    fn truncate(&self, to: TxId);
    /// Everything after `after`, where a chunk ends, is this, up to `last`, also what is committed: flags were mended.
    fn rewrite(&self, after: SeqNo, entries: Vec<(Bytes, bool)>, last: TxId);
    /// Everything up to `seqno` is committed.
    fn commit(&self, seqno: SeqNo);
    /// Files of a recovery become ordinary ones.
    fn finish_recovery(&self);
    /// Waits until everything is written.
    fn finish(self: Box<Self>);
}

/// One instruction.
enum Command {
    /// These entries come next; the flag says whether one is a signature. With the last of them.
    Append(Vec<(Bytes, bool)>, TxId),
    /// Everything after this is dropped.
    Truncate(TxId),
    /// Everything after this is written again.
    Rewrite(SeqNo, Vec<(Bytes, bool)>, TxId),
    /// Everything up to here is committed: complete files are renamed.
    Commit(SeqNo),
    /// Files of a recovery become ordinary ones.
    FinishRecovery,
}

/// What the disk thread reports, from its own thread.
pub trait DiskEvents: Send + Sync + 'static {
    /// The ledger ends with `last` and is in the operating system's hands; whether a signature is among what is new.
    fn written(&self, last: TxId, committable: bool);
    /// The disk failed: nothing more will be written.
    fn failed(&self, error: FileError);
}

/// Instructions on their way. A plain queue under a lock: a channel that spins before it sleeps costs more than the
/// writing itself.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    commands: VecDeque<Command>,
    /// No more commands will come, or nobody takes them any more.
    closed: bool,
}

impl Queue {
    fn push(&self, command: Command) {
        let mut state = self.state.lock();
        while state.commands.len() >= BATCHES_MAX && !state.closed {
            self.changed.wait(&mut state);
        }
        if !state.closed {
            state.commands.push_back(command);
            self.changed.notify_all();
        }
    }

    /// The next command; `None` once closed and empty.
    fn pop(&self) -> Option<Command> {
        let mut state = self.state.lock();
        loop {
            if let Some(command) = state.commands.pop_front() {
                self.changed.notify_all();
                return Some(command);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

/// The replicator's end of the disk thread.
pub struct Disk {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread on an opened writer.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(writer: LedgerWriter, events: Arc<dyn DiskEvents>) -> std::io::Result<Disk> {
        let queue = Arc::new(Queue::default());
        let commands = Arc::clone(&queue);
        let run = move || {
            let _vital = Vital::new("ledger files");
            run(writer, &commands, &*events);
        };
        let thread = std::thread::Builder::new().name("disk".into()).spawn(run)?;
        Ok(Disk { queue, thread: Some(thread) })
    }
}

impl LedgerSink for Disk {
    /// Waits if the disk is far behind. After a failure, which has been reported, nothing happens.
    fn append(&self, entries: Vec<(Bytes, bool)>, last: TxId) {
        self.queue.push(Command::Append(entries, last));
    }

    fn truncate(&self, to: TxId) {
        self.queue.push(Command::Truncate(to));
    }

    fn rewrite(&self, after: SeqNo, entries: Vec<(Bytes, bool)>, last: TxId) {
        self.queue.push(Command::Rewrite(after, entries, last));
    }

    fn commit(&self, seqno: SeqNo) {
        self.queue.push(Command::Commit(seqno));
    }

    fn finish_recovery(&self) {
        self.queue.push(Command::FinishRecovery);
    }

    fn finish(mut self: Box<Self>) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; stopping goes on.
            let _ = thread.join();
        }
    }
}

fn run(mut writer: LedgerWriter, commands: &Queue, events: &dyn DiskEvents) {
    while let Some(command) = commands.pop() {
        if let Err(error) = perform(&mut writer, command, events) {
            commands.close();
            events.failed(error);
            return;
        }
    }
}

fn perform(writer: &mut LedgerWriter, command: Command, events: &dyn DiskEvents) -> Result<(), FileError> {
    match command {
        Command::Append(entries, last) => {
            for (bytes, committable) in &entries {
                writer.append(bytes, *committable)?;
            }
            writer.flush()?;
            for notice in writer.take_notices() {
                tracing::warn!("Ledger directory: {notice}");
            }
            let committable = entries.iter().any(|(_, committable)| *committable);
            events.written(last, committable);
        }
        Command::Truncate(to) => {
            writer.truncate(to.seqno)?;
            events.written(to, false);
        }
        Command::Rewrite(after, entries, last) => {
            writer.rewrite(after, &entries)?;
            events.written(last, true);
        }
        Command::Commit(seqno) => writer.commit(seqno)?,
        Command::FinishRecovery => writer.finish_recovery()?,
    }
    Ok(())
}
