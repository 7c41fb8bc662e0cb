//! A backup that is far behind gets many entries at once. While the replicator applies those of one message, a thread of its
//! own decodes those of the next ones: what an entry says by itself, whatever stands before it.
//!
//! Nothing is judged here. What is odd about an entry, or could not be decoded, the replicator looks at itself in the
//! entry's turn, and says what is wrong. Whoever comes first to a message decodes it: nobody waits for work that has not begun.

use super::received::Decoded;
use bytes::Bytes;
use ccf_ledger::{
    entry::{EntryHeader, HEADER_BYTES},
    secrets::LedgerSecrets,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex, RwLock};
use std::{
    collections::VecDeque,
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Messages that may be decoded before their turn: bounds the memory.
pub(super) const MESSAGES_MAX: usize = 32;

/// Entries of a message that are worth another thread, bytes.
const BYTES_MIN: usize = 4096;

/// The entries of one message.
pub(super) struct Slot {
    entries: Bytes,
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    /// Nobody has looked at it.
    Waiting,
    /// The thread decodes it.
    Begun,
    /// Decoded, or not to be decoded any more.
    Done(VecDeque<Decoded>),
}

/// The thread, and what it was given.
pub(super) struct Ahead {
    slots: Sender<Arc<Slot>>,
}

impl Ahead {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        secrets: Arc<RwLock<LedgerSecrets>>,
        public_only: Arc<AtomicBool>,
    ) -> io::Result<Ahead> {
        let (slots, given) = bounded(MESSAGES_MAX);
        thread::Builder::new().name("decoding".into()).spawn(move || work(&given, &secrets, &public_only))?;
        Ok(Ahead { slots })
    }

    /// Has the entries of a later message decoded; none if they are few, or enough is waiting.
    pub(super) fn offer(&self, entries: &Bytes) -> Option<Arc<Slot>> {
        if entries.len() < BYTES_MIN {
            return None;
        }
        let slot = Slot { entries: entries.clone(), state: Mutex::new(State::Waiting), done: Condvar::new() };
        let slot = Arc::new(slot);
        self.slots.try_send(Arc::clone(&slot)).ok().map(|()| slot)
    }
}

impl Slot {
    /// What was decoded, in order; nothing if the thread has not come to it.
    pub(super) fn take(&self) -> VecDeque<Decoded> {
        let mut state = self.state.lock();
        loop {
            match &mut *state {
                State::Begun => self.done.wait(&mut state),
                State::Done(decoded) => return std::mem::take(decoded),
                State::Waiting => {
                    *state = State::Done(VecDeque::new());
                    return VecDeque::new();
                }
            }
        }
    }

    fn decode(&self, secrets: Option<&LedgerSecrets>) {
        if !self.begin() {
            return;
        }
        // Whoever takes the result waits for it.
        let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode(&self.entries, secrets)));
        *self.state.lock() = State::Done(decoded.unwrap_or_default());
        self.done.notify_one();
    }

    fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let waits = matches!(*state, State::Waiting);
        if waits {
            *state = State::Begun;
        }
        waits
    }
}

fn work(given: &Receiver<Arc<Slot>>, secrets: &RwLock<LedgerSecrets>, public_only: &AtomicBool) {
    for slot in given {
        let secrets = secrets.read();
        slot.decode((!public_only.load(Ordering::Acquire)).then_some(&*secrets));
    }
}

/// All entries but signatures, up to the first that is no entry.
fn decode(mut bytes: &[u8], secrets: Option<&LedgerSecrets>) -> VecDeque<Decoded> {
    let mut all = VecDeque::new();
    while let Some(len) = entry_len(bytes).filter(|len| *len <= bytes.len()) {
        let (entry, rest) = bytes.split_at(len);
        all.extend(Decoded::of(entry, secrets));
        bytes = rest;
    }
    all
}

/// The size of the entry that `bytes` begin with.
pub(super) fn entry_len(bytes: &[u8]) -> Option<usize> {
    let header = EntryHeader::parse(bytes.first_chunk::<HEADER_BYTES>()?).ok()?;
    usize::try_from(header.entry_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::{
        super::hostile::{empty_log, sealed, secret},
        *,
    };
    use ccf_consensus::Log;
    use ccf_ledger::tables::UNIT_KEY;
    use ccf_types::{Digest, MapName, TxId};

    fn slot(state: State) -> Arc<Slot> {
        Arc::new(Slot {
            entries: Bytes::from_static(&[0; 100]),
            state: Mutex::new(state),
            done: Condvar::new(),
        })
    }

    #[test]
    fn nobody_waits_for_what_has_not_begun_and_it_is_not_begun_later() {
        let slot = slot(State::Waiting);
        assert!(slot.take().is_empty());
        assert!(!slot.begin());
    }

    #[test]
    fn what_has_begun_is_waited_for() {
        let slot = slot(State::Waiting);
        assert!(slot.begin());
        let taker = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.take().len()
        });
        *slot.state.lock() = State::Done(VecDeque::new());
        slot.done.notify_one();
        assert_eq!(taker.join().unwrap(), 0);
    }

    const PRIVATE: MapName = MapName::from_static("records");

    /// Entries 1 to 9 of a view as a message has them, and where each ends.
    fn message() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let ends = (1..10).map(|seqno| {
            bytes.extend(sealed(&PRIVATE, &[seqno], TxId::new(2, seqno.into())));
            bytes.len()
        });
        let ends = ends.collect();
        (bytes, ends)
    }

    /// What a log makes of a message of which `decoded` is known; the entries it took, the tree and the value then.
    fn applied(
        bytes: &[u8],
        ends: &[usize],
        decoded: VecDeque<Decoded>,
    ) -> (u64, Option<Digest>, Option<Vec<u8>>) {
        let (mut log, parts) = empty_log(false);
        log.expect(decoded);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for ((start, end), seqno) in starts.zip(ends).zip(1..) {
            if log.apply(TxId::new(2, seqno), &bytes[start..*end]).is_err() {
                break;
            }
        }
        let last = log.last().seqno.0;
        let value =
            parts.store.state().map(&PRIVATE).and_then(|map| map.get(&UNIT_KEY).map(|r| r.value.to_vec()));
        (last, log.tree.root_of(last + 1).ok(), value)
    }

    fn secrets() -> LedgerSecrets {
        let mut secrets = LedgerSecrets::default();
        secrets.add(Arc::new(secret())).unwrap();
        secrets
    }

    #[test]
    fn a_log_is_the_same_whether_entries_were_decoded_before_or_not() {
        let (bytes, ends) = message();
        let decoded = decode(&bytes, Some(&secrets()));
        assert_eq!(decoded.len(), 9);
        let (last, root, value) = applied(&bytes, &ends, decoded);
        assert_eq!((last, value.as_deref()), (9, Some(&[9][..])));
        let plain = applied(&bytes, &ends, VecDeque::new());
        assert_eq!((last, root, value), plain);
        // Read without secrets, or without the first ones: the log reads the rest itself.
        assert_eq!(applied(&bytes, &ends, decode(&bytes, None)), plain);
        let some = decode(&bytes, Some(&secrets())).into_iter().skip(3).collect();
        assert_eq!(applied(&bytes, &ends, some), plain);
        // Of the same bytes at another place nothing is known.
        let other = bytes.clone();
        assert_eq!(applied(&bytes, &ends, decode(&other, Some(&secrets()))), plain);
    }

    #[test]
    fn what_is_refused_is_refused_as_well_when_it_was_decoded_before() {
        let (good, ends) = message();
        for at in ends[3]..ends[4] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let decoded = decode(&bytes, Some(&secrets()));
            let (with, without) = (applied(&bytes, &ends, decoded), applied(&bytes, &ends, VecDeque::new()));
            assert_eq!(with, without, "byte {at}");
            assert_eq!(with.0, 4, "byte {at}");
        }
        // An entry in the place of another one.
        let mut bytes = good.clone();
        bytes.copy_within(ends[4]..ends[5], ends[3]);
        assert_eq!(applied(&bytes, &ends, decode(&bytes, Some(&secrets()))).0, 4);
    }

    #[test]
    fn garbage_decodes_to_nothing() {
        for garbage in [&[][..], &[0; 7], &[0; 8], &[0; 64], &[255; 64]] {
            assert!(decode(garbage, None).is_empty());
        }
    }
}
