//! Where workers, peers and the disk put what the replication thread takes.
//!
//! Workers push without waking anybody; after a burst of requests they call [`Inbox::burst_done`] once. That wakes the
//! replicator only if nothing is due at a known moment or much has gathered: while a signature is due at a known moment
//! anyway, entries may wait for it, and the replicator handles them in one go. Messages of peers wake it at once. The
//! replicator sleeps only after it has said so, so no wake-up is lost.

use super::{FinishedEntry, status_board::StatusBoard};
use bytes::Bytes;
use ccf_consensus::Status;
use ccf_kv::Store;
use ccf_types::{Digest, NodeId, SeqNo};
use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    future::Future,
    time::{Duration, Instant},
};

/// Entries from which the replicator is woken before its deadline, so that its work and the disk's are spread.
const GATHERED_MAX: usize = 4096;

/// While a signature is due at a known moment, messages of peers bring entries along only so often. Otherwise every
/// acknowledgement sets off the next message with the few entries that have come meanwhile: each costs all nodes a handful of
/// switches between threads, and nobody can commit anything before the signature.
const HANDED_ON_EVERY: Duration = Duration::from_millis(3);

/// Bytes of messages of peers that may wait. What comes beyond is dropped, as if the network had lost it.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How long a request waits for the root at an entry that other workers are still finishing.
const ROOT_PATIENCE: Duration = Duration::from_secs(1);

/// The queue between workers and the replicator. Bounded by back-pressure: a primary refuses new transactions
/// while too many are uncommitted.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
    pub(super) board: StatusBoard,
}

#[derive(Default)]
struct State {
    entries: Vec<FinishedEntry>,
    root_queries: Vec<RootQuery>,
    chunk_requests: Vec<SeqNo>,
    messages: Vec<PeerMessage>,
    message_bytes: usize,
    messages_dropped: u64,
    nominate_successor: bool,
    sign: bool,
    finish_recovery: bool,
    adoption: Option<Adoption>,
    woken: bool,
    /// Messages have come, and nothing else that wakes.
    messages_only: bool,
    /// When entries were last taken.
    handed_on: Option<Instant>,
    stopped: bool,
    sleep: Sleep,
}

/// A consensus message of a peer, authenticated, with the entries that came with it, which are not.
#[derive(Debug)]
pub struct PeerMessage {
    /// The sender.
    pub from: NodeId,
    /// The bytes of the message.
    pub message: Vec<u8>,
    /// The entries, back to back.
    pub entries: Bytes,
}

/// Whether the replicator sleeps.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    UntilWoken,
    /// It will look by itself at a known moment, and entries may wait for that.
    UntilDeadline,
}

/// Somebody wants the Merkle root over all entries up to and including `seqno`.
pub(super) struct RootQuery {
    pub(super) seqno: SeqNo,
    answer: Sender<Option<Digest>>,
}

impl RootQuery {
    /// Answers; nobody may be waiting any more.
    pub(super) fn answer(self, root: Option<Digest>) {
        let _ = self.answer.send(root);
    }
}

/// What the replicator takes out of the inbox at once.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) entries: Vec<FinishedEntry>,
    pub(super) root_queries: Vec<RootQuery>,
    pub(super) chunk_requests: Vec<SeqNo>,
    pub(super) messages: Vec<PeerMessage>,
    pub(super) nominate_successor: bool,
    pub(super) sign: bool,
    pub(super) finish_recovery: bool,
    pub(super) adoption: Option<Adoption>,
}

/// The private state, read up to a committed entry, for the replicator to make its own.
pub struct Adoption {
    /// The private state as of `last`.
    pub private: Store,
    /// The last entry in it.
    pub last: SeqNo,
    /// Called on the replicator's thread when the private state is part of the node's, or with why it is not.
    pub done: Box<dyn FnOnce(Result<(), String>) + Send>,
}

impl Inbox {
    /// The private ledger was read: its state becomes part of the node's.
    pub fn adopt(&self, adoption: Adoption) {
        let mut state = self.state.lock();
        state.adoption = Some(adoption);
        self.notify(&mut state);
    }

    /// The recovered service is open for good: chunks marked as those of a recovery become ordinary ones.
    pub fn finish_recovery(&self) {
        let mut state = self.state.lock();
        state.finish_recovery = true;
        self.notify(&mut state);
    }

    /// A message of a peer.
    pub fn receive(&self, message: PeerMessage) {
        let mut state = self.state.lock();
        let bytes = message.message.len() + message.entries.len();
        if state.message_bytes + bytes > MESSAGE_BYTES_MAX {
            state.messages_dropped += 1;
            return;
        }
        state.message_bytes += bytes;
        state.messages.push(message);
        let messages_only = state.messages_only || !state.woken;
        self.notify(&mut state);
        state.messages_only = messages_only;
    }

    /// Messages of peers that were dropped because too many waited.
    #[must_use]
    pub fn messages_dropped(&self) -> u64 {
        self.state.lock().messages_dropped
    }

    /// What consensus knows at this moment, or a moment ago if the replicator is stuck; none if the node does not take part in a
    /// network (yet).
    pub fn consensus_status(&self) -> impl Future<Output = Option<Status>> + Send + use<> {
        let asked = self.board.ask();
        self.wake();
        asked
    }

    /// This node is to stop soon: if it is primary, another one should stand for election.
    pub fn nominate_successor(&self) {
        let mut state = self.state.lock();
        state.nominate_successor = true;
        self.notify(&mut state);
    }

    /// Asks for a signature as soon as the policy allows, even if nothing is unsigned.
    pub fn request_signature(&self) {
        let mut state = self.state.lock();
        state.sign = true;
        self.notify(&mut state);
    }

    fn notify(&self, state: &mut State) {
        state.woken = true;
        state.messages_only = false;
        if state.sleep != Sleep::Awake {
            self.changed.notify_one();
        }
    }

    /// The Merkle root over all entries up to and including `seqno`; waits a moment until they are appended. `None`
    /// if that takes too long, or so much has been committed since that the root is no longer kept.
    #[must_use]
    pub fn root_at(&self, seqno: SeqNo) -> Option<Digest> {
        let (answer, root) = bounded(1);
        self.state.lock().root_queries.push(RootQuery { seqno, answer });
        self.wake();
        root.recv_timeout(ROOT_PATIENCE).ok().flatten()
    }

    /// The transaction at `seqno` wants the ledger chunk to end with the next signature.
    pub fn request_chunk(&self, seqno: SeqNo) {
        self.state.lock().chunk_requests.push(seqno);
    }

    /// Adds an entry; the order does not matter.
    pub fn push(&self, entry: FinishedEntry) {
        self.state.lock().entries.push(entry);
    }

    /// A worker has finished a burst of requests.
    pub fn burst_done(&self) {
        let mut state = self.state.lock();
        let gathered = state.entries.len();
        if state.sleep == Sleep::UntilWoken && gathered > 0 || gathered >= GATHERED_MAX {
            self.notify(&mut state);
        }
    }

    /// Lets the replicator look at the queue if it sleeps.
    pub fn wake(&self) {
        self.notify(&mut self.state.lock());
    }

    /// Whether the replicator was asked to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Asks the replicator to finish what is there and end.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake();
    }

    /// Sleeps until woken or `deadline`, then moves everything into `taken`. With `gather` entries may wait for the
    /// deadline, and for a while also when messages come. Returns whether a stop was asked for.
    pub(super) fn take(&self, deadline: Option<Instant>, gather: bool, taken: &mut Taken) -> bool {
        let mut state = self.state.lock();
        // What came while the replicator was at work it takes at once, unless it is to gather until a deadline.
        let ready = |state: &State| state.woken || state.stopped || (!gather && !state.entries.is_empty());
        while !ready(&state) {
            state.sleep = if gather { Sleep::UntilDeadline } else { Sleep::UntilWoken };
            let timed_out = match deadline {
                Some(deadline) => self.changed.wait_until(&mut state, deadline).timed_out(),
                None => {
                    self.changed.wait(&mut state);
                    false
                }
            };
            state.sleep = Sleep::Awake;
            if timed_out {
                break;
            }
        }
        let now = Instant::now();
        let may_wait = gather && state.messages_only && !state.stopped && deadline.is_none_or(|at| now < at);
        if !may_wait || state.handed_on.is_none_or(|last| now >= last + HANDED_ON_EVERY) {
            std::mem::swap(&mut state.entries, &mut taken.entries);
            state.handed_on = Some(now);
        }
        state.woken = false;
        state.messages_only = false;
        taken.root_queries.append(&mut state.root_queries);
        taken.chunk_requests.append(&mut state.chunk_requests);
        taken.messages.append(&mut state.messages);
        taken.nominate_successor |= std::mem::take(&mut state.nominate_successor);
        taken.sign |= std::mem::take(&mut state.sign);
        taken.finish_recovery |= std::mem::take(&mut state.finish_recovery);
        taken.adoption = state.adoption.take();
        state.message_bytes = 0;
        state.stopped
    }
}

impl Inbox {
    /// Sleeps until woken or `deadline`, whether or not a stop was asked for.
    pub fn sleep(&self, deadline: Instant) {
        let mut state = self.state.lock();
        while !state.woken {
            state.sleep = Sleep::UntilDeadline;
            let timed_out = self.changed.wait_until(&mut state, deadline).timed_out();
            state.sleep = Sleep::Awake;
            if timed_out {
                break;
            }
        }
        state.woken = false;
    }
}

/// Entries that wait for a predecessor, by position.
pub(super) struct Reorder {
    next: SeqNo,
    waiting: VecDeque<Option<FinishedEntry>>,
}

impl Reorder {
    /// Expects `next` first.
    pub(super) fn new(next: SeqNo) -> Reorder {
        Reorder { next, waiting: VecDeque::new() }
    }

    /// The position that must come next.
    pub(super) fn next(&self) -> SeqNo {
        self.next
    }

    /// Puts an entry in its place.
    ///
    /// # Panics
    /// If its position was taken before: two entries would claim one place in the ledger.
    pub(super) fn insert(&mut self, entry: FinishedEntry) {
        let offset = entry.tx_id.seqno.0.checked_sub(self.next.0).expect("a position is used once");
        let offset = usize::try_from(offset).expect("waiting entries fit memory");
        if self.waiting.len() <= offset {
            self.waiting.resize_with(offset + 1, || None);
        }
        assert!(self.waiting[offset].is_none(), "two entries at {}", entry.tx_id);
        self.waiting[offset] = Some(entry);
    }

    /// The entry at the next position, if it is there.
    pub(super) fn pop(&mut self) -> Option<FinishedEntry> {
        let entry = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next = self.next.next();
        Some(entry)
    }

    /// The next position is filled by the replicator itself.
    pub(super) fn skip(&mut self) {
        if let Some(slot) = self.waiting.pop_front() {
            assert!(slot.is_none(), "two entries at {}", self.next);
        }
        self.next = self.next.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_ledger::entry::Flags;
    use ccf_types::{Digest, TxId};
    use std::sync::Arc;

    fn entry(seqno: u64) -> FinishedEntry {
        FinishedEntry {
            tx_id: TxId::new(2, seqno),
            bytes: Bytes::new(),
            leaf: Digest::ZERO,
            write_set_digest: Digest::ZERO,
            claims_digest: Digest::ZERO,
            reconfiguration: None,
            flags: Flags::NONE,
        }
    }

    #[test]
    fn entries_leave_in_order_whatever_order_they_came_in() {
        let mut reorder = Reorder::new(SeqNo(1));
        let mut out = Vec::new();
        for seqno in [3, 1, 5, 2] {
            reorder.insert(entry(seqno));
            while let Some(entry) = reorder.pop() {
                out.push(entry.tx_id.seqno.0);
            }
        }
        assert_eq!(out, [1, 2, 3]);
        reorder.skip();
        assert_eq!(reorder.pop().map(|e| e.tx_id.seqno.0), Some(5));
        assert_eq!(reorder.next(), SeqNo(6));
    }

    #[test]
    fn messages_bring_entries_along_only_now_and_then() {
        let inbox = Inbox::default();
        let message =
            || PeerMessage { from: NodeId::from_text("7"), message: vec![1], entries: Bytes::new() };
        let later = Some(Instant::now() + Duration::from_secs(60));
        let take = |deadline, gather| {
            let mut taken = Taken::default();
            inbox.take(deadline, gather, &mut taken);
            (taken.messages.len(), taken.entries.len())
        };
        inbox.push(entry(1));
        inbox.receive(message());
        assert_eq!(take(later, true), (1, 1), "none were taken before");
        inbox.push(entry(2));
        inbox.receive(message());
        inbox.state.lock().handed_on = later;
        assert_eq!(take(later, true), (1, 0), "the signature has time");
        inbox.receive(message());
        assert_eq!(take(Some(Instant::now()), true), (1, 1), "it is due");
        inbox.push(entry(3));
        inbox.receive(message());
        inbox.state.lock().handed_on = later;
        assert_eq!(take(later, false), (1, 1), "nothing is due at a known moment");
        for wake_first in [true, false] {
            inbox.push(entry(4));
            inbox.state.lock().handed_on = later;
            if wake_first {
                inbox.wake();
                inbox.receive(message());
            } else {
                inbox.receive(message());
                inbox.wake();
            }
            assert_eq!(take(later, true), (1, 1), "somebody else asks");
        }
        inbox.push(entry(5));
        inbox.receive(message());
        inbox.state.lock().handed_on = Some(Instant::now() - HANDED_ON_EVERY);
        assert_eq!(take(later, true), (1, 1), "it is time again");
    }

    #[test]
    fn a_sleeping_taker_is_woken_by_entries_and_by_stop() {
        let inbox = Arc::new(Inbox::default());
        let taker = std::thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || {
                let mut all = Vec::new();
                loop {
                    let mut taken = Taken::default();
                    let stopped = inbox.take(None, false, &mut taken);
                    all.extend(taken.entries.into_iter().map(|e| e.tx_id.seqno.0));
                    if stopped {
                        return all;
                    }
                }
            }
        });
        for seqno in 1..=100 {
            inbox.push(entry(seqno));
            inbox.wake();
        }
        inbox.stop();
        assert_eq!(taker.join().expect("taker"), (1..=100).collect::<Vec<_>>());
    }
}
