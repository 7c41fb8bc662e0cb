//! What happened on the way of messages, counted.

use crate::refusals::Refusals;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Numbers since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCounters {
    /// Frames that were accepted.
    pub frames_accepted: u64,
    /// Frames that no correct peer sends: malformed, of unknown kind, with wrong certificates or signatures.
    pub frames_refused: u64,
    /// The same, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Frames that could not be opened or came in the wrong order: before keys, under old keys, a second time.
    pub frames_dropped: u64,
    /// Frames before this node had an identity.
    pub frames_before_identity: u64,
    /// Messages that were not sent because too much waited.
    pub messages_lost: u64,
    /// Connections ended because of what came over them.
    pub connections_refused: u64,
    /// Connections that could not be made.
    pub dials_failed: u64,
}

/// The counters while they count.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames_accepted: Counter,
    pub(super) refusals: Refusals,
    pub(super) frames_dropped: Counter,
    pub(super) frames_before_identity: Counter,
    pub(super) messages_lost: Counter,
    pub(super) connections_refused: Counter,
    pub(super) dials_failed: Counter,
}

/// One counter.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn read(&self) -> PeerCounters {
        let refusals = self.refusals.counts();
        PeerCounters {
            frames_accepted: self.frames_accepted.get(),
            frames_refused: refusals.values().sum(),
            refusals,
            frames_dropped: self.frames_dropped.get(),
            frames_before_identity: self.frames_before_identity.get(),
            messages_lost: self.messages_lost.get(),
            connections_refused: self.connections_refused.get(),
            dials_failed: self.dials_failed.get(),
        }
    }
}
