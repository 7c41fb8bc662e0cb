//! The thread that owns the ledger files. It decides nothing: it appends, renames and truncates as told, and
//! reports how far the ledger has reached the operating system.

use ccf_ledger::files::{FileError, LedgerWriter};
use ccf_types::SeqNo;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{sync::Arc, thread::JoinHandle};

/// Batches that may wait for the disk before the sequencer waits too.
const BATCHES_MAX: usize = 256;

/// One instruction.
enum Command {
    /// These entries come next; the flag says whether one is a signature.
    Append(Vec<(Vec<u8>, bool)>),
    /// Everything up to here is committed: complete files are renamed.
    Commit(SeqNo),
}

/// What the disk thread reports, from its own thread.
pub trait DiskEvents: Send + Sync + 'static {
    /// The ledger up to `seqno` is in the operating system's hands.
    fn written(&self, seqno: SeqNo);
    /// The disk failed: nothing more will be written.
    fn failed(&self, error: FileError);
}

/// The sequencer's end of the disk thread.
pub struct Disk {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread on an opened writer.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(writer: LedgerWriter, events: Arc<dyn DiskEvents>) -> std::io::Result<Disk> {
        let (commands, receiver) = bounded(BATCHES_MAX);
        let run = move || run(writer, &receiver, &*events);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(run)?;
        Ok(Disk { commands: Some(commands), thread: Some(thread) })
    }

    /// Appends entries in order. Waits if the disk is far behind.
    pub fn append(&self, entries: Vec<(Vec<u8>, bool)>) {
        self.send(Command::Append(entries));
    }

    /// Everything up to `seqno` is committed.
    pub fn commit(&self, seqno: SeqNo) {
        self.send(Command::Commit(seqno));
    }

    fn send(&self, command: Command) {
        // After a failure the thread is gone and has reported; the node is stopping.
        let _ = self.commands.as_ref().map(|commands| commands.send(command));
    }

    /// Waits until everything is written.
    pub fn finish(mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; stopping goes on.
            let _ = thread.join();
        }
    }
}

fn run(mut writer: LedgerWriter, commands: &Receiver<Command>, events: &dyn DiskEvents) {
    while let Ok(command) = commands.recv() {
        if let Err(error) = perform(&mut writer, command, events) {
            events.failed(error);
            return;
        }
    }
}

fn perform(writer: &mut LedgerWriter, command: Command, events: &dyn DiskEvents) -> Result<(), FileError> {
    match command {
        Command::Append(entries) => {
            let mut last = SeqNo::NONE;
            for (bytes, committable) in &entries {
                last = writer.append(bytes, *committable)?;
            }
            writer.flush()?;
            events.written(last);
        }
        Command::Commit(seqno) => writer.commit(seqno)?,
    }
    Ok(())
}
