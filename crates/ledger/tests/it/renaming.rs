//! Files get their final names while somebody reads.

use ccf_ledger::{entry::Flags, files::LedgerWriter};
use ccf_types::SeqNo;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::support::{secret, small_entry};

/// More than a reader keeps open, so that it opens them anew.
const CHUNKS: u64 = 400;

/// A node that reads its private ledger while the recovered service opens: the ledger never seems to end before it does.
#[test]
fn a_reader_finds_every_entry_while_files_get_their_final_names() {
    let secret = secret(&"00".repeat(32), 1);
    for _ in 0..2 {
        let directory = tempfile::tempdir().expect("temporary");
        let mut writer = LedgerWriter::open(directory.path(), &[], &mut Vec::new()).expect("opens");
        writer.begin_recovery(SeqNo::NONE);
        for seqno in 1..=CHUNKS {
            let entry = small_entry(&secret, seqno, Flags::CHUNK_AFTER, b"value").bytes;
            writer.append(&entry, true).expect("appends");
        }
        writer.flush().expect("flushes");
        writer.commit(SeqNo(CHUNKS)).expect("commits");
        let (reader, renamed) = (writer.reader(), AtomicBool::new(false));
        thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        while !renamed.load(Ordering::Relaxed) {
                            for seqno in (1..=CHUNKS).map(SeqNo) {
                                let range = reader.read_range(seqno, seqno, 1 << 20).expect("reads");
                                assert!(range.is_some(), "{seqno} is missing");
                            }
                        }
                    })
                })
                .collect();
            thread::yield_now();
            writer.finish_recovery().expect("renames");
            renamed.store(true, Ordering::Relaxed);
            readers.into_iter().for_each(|reader| reader.join().expect("found all"));
        });
    }
}
