//! The replicator without its thread: whoever drives it says what time it is and when it takes its turn. For the
//! simulation of whole nodes, and for tests.

use super::{Replicator, SigningError, inbox::Taken};
use ccf_consensus::Replica;
use ccf_types::{Digest, SeqNo, TxId};
use std::time::{Duration, Instant, SystemTime};

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For durations.
    pub clock: Instant,
    /// For what is written down.
    pub wall: SystemTime,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Moment {
        Moment { clock: Instant::now(), wall: SystemTime::now() }
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Moment {
        Moment { clock: self.clock + time, wall: self.wall + time }
    }
}

impl Replicator {
    /// One turn, without waiting: takes what is in the inbox, and does what is due at `now`.
    ///
    /// # Errors
    /// [`SigningError`] if a signature cannot be made: the node must stop.
    pub fn turn(&mut self, now: Moment) -> Result<(), SigningError> {
        let mut taken = Taken::default();
        self.inbox.take(Some(Instant::now()), true, &mut taken);
        self.pass(&mut taken, now)
    }

    /// The replica.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The last entry of the log.
    #[must_use]
    pub fn last(&self) -> TxId {
        self.log.last()
    }

    /// The Merkle root over the entries up to and including `seqno`; none if it is not kept any more, or not yet there.
    #[must_use]
    pub fn root_at(&self, seqno: SeqNo) -> Option<Digest> {
        self.log.tree.root_of(seqno.next().0).ok()
    }
}
