//! Which snapshots on disk hold, so that others may go. A name proves nothing: whoever can write to the directory gives a
//! file any name, also that of a newer snapshot.

use ccf_crypto::cert::Certificate;
use ccf_ledger::{
    files::{FileError, SnapshotPath, list_snapshots},
    snapshot::{
        Snapshot, SnapshotError, SnapshotSource, SnapshotTrust, SnapshotVerifyError, verify_snapshot,
    },
};
use ccf_types::SeqNo;
use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// The snapshots of one directory that were read, and whether they hold.
#[derive(Debug, Default)]
pub struct ValidSnapshots {
    judged: HashMap<PathBuf, (Version, bool)>,
}

/// What a file was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds: of the last change of content or name.
    changed: (i64, i64),
}

/// A file whose reading ends when the node stops.
struct Stoppable<'a> {
    file: &'a File,
    stop: &'a AtomicBool,
}

/// Why a file does not count.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Verify(#[from] SnapshotVerifyError),
    #[error("it is of transaction {0}, not of the one in its name")]
    OtherSeqNo(SeqNo),
}

impl ValidSnapshots {
    /// The newest snapshots of `directory` that `service` has signed and that are not beyond `committed`; at most
    /// `enough`, newest first. Each file is read once, and again when it has changed; fewer come back once `stop` is set.
    ///
    /// # Errors
    /// [`FileError::Io`] if the directory cannot be read.
    pub fn newest(
        &mut self,
        directory: &Path,
        committed: SeqNo,
        service: &Certificate,
        enough: usize,
        stop: &AtomicBool,
    ) -> Result<Vec<SnapshotPath>, FileError> {
        let listed = list_snapshots(directory)?;
        self.judged.retain(|path, _| listed.iter().any(|snapshot| snapshot.path == *path));
        let mut newest = Vec::new();
        // What is beyond the commit may be of this service once that is reached.
        for snapshot in listed.into_iter().filter(|it| it.bytes > 0 && it.name.seqno <= committed) {
            if newest.len() >= enough || stop.load(Ordering::Acquire) {
                break;
            }
            if self.holds(&snapshot, service, stop) {
                newest.push(snapshot);
            }
        }
        Ok(newest)
    }

    fn holds(&mut self, snapshot: &SnapshotPath, service: &Certificate, stop: &AtomicBool) -> bool {
        let opened = File::open(&snapshot.path).and_then(|file| Ok((Version::of(&file)?, file)));
        // It may have been deleted meanwhile.
        let Ok((version, file)) = opened else { return false };
        if let Some((judged, holds)) = self.judged.get(&snapshot.path)
            && *judged == version
        {
            return *holds;
        }
        let judged = judge(&Stoppable { file: &file, stop }, snapshot.name.seqno, service);
        if stop.load(Ordering::Acquire) {
            return false;
        }
        if let Err(reason) = &judged {
            let shown = snapshot.path.display();
            tracing::warn!("{shown} does not count as a snapshot of this service: {reason}");
        }
        self.judged.insert(snapshot.path.clone(), (version, judged.is_ok()));
        judged.is_ok()
    }
}

fn judge(file: &Stoppable<'_>, seqno: SeqNo, service: &Certificate) -> Result<(), Unusable> {
    let snapshot = Snapshot::read(file)?;
    if snapshot.seqno() != seqno {
        return Err(Unusable::OtherSeqNo(snapshot.seqno()));
    }
    Ok(verify_snapshot(&snapshot, SnapshotTrust::Service(service))?)
}

impl Version {
    fn of(file: &File) -> io::Result<Version> {
        let metadata = file.metadata()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Version { inode: metadata.ino(), bytes: metadata.len(), changed })
    }
}

impl SnapshotSource for &Stoppable<'_> {
    fn bytes(&self) -> io::Result<u64> {
        SnapshotSource::bytes(self.file)
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if self.stop.load(Ordering::Acquire) {
            return Err(io::Error::other("the node stops"));
        }
        SnapshotSource::read_exact_at(self.file, buffer, at)
    }
}
