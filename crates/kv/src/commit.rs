//! What a commit returns.

use crate::{Action, CommitContext, State, WriteSet};
use ccf_types::{SeqNo, TxId};
use std::{any::Any, fmt, sync::Arc};

/// A transaction that succeeded.
#[derive(Debug)]
pub enum Committed {
    /// It used no table: it has no position.
    Nothing,
    /// It only read, and saw the state after this transaction.
    Read(TxId),
    /// It wrote: an entry must now be built and handed to the sequencer, in any order.
    Wrote(Box<Written>),
}

/// A transaction that wrote, and what building its entry needs.
pub struct Written {
    /// Its position.
    pub tx_id: TxId,
    /// Its writes.
    pub write_set: Arc<WriteSet>,
    /// How many rollbacks happened before it: a different count later means that it may be lost.
    pub rollback_count: u64,
    /// The context that applied when it took its position (hooks of this transaction not included).
    pub context: CommitContext,
    /// What local hooks asked for.
    pub actions: Vec<Action>,
}

/// A position taken in advance, for a transaction whose writes are known only later (a signature). It can neither
/// read nor conflict. Dropping it unfilled leaves a hole in the ledger that only a rollback heals.
pub struct Reserved {
    /// The position.
    pub tx_id: TxId,
    /// How many rollbacks had happened.
    pub rollback_count: u64,
    /// The context for building the entry.
    pub context: CommitContext,
    /// The state before it, if it was asked for; filling it makes the state at it.
    pub(crate) state: Option<State>,
}

impl Committed {
    /// The transaction's position: where it wrote, or what it read.
    #[must_use]
    pub fn tx_id(&self) -> Option<TxId> {
        match self {
            Committed::Nothing => None,
            Committed::Read(tx_id) => Some(*tx_id),
            Committed::Wrote(written) => Some(written.tx_id),
        }
    }

    /// The entry to build, if it wrote.
    #[must_use]
    pub fn into_written(self) -> Option<Box<Written>> {
        match self {
            Committed::Wrote(written) => Some(written),
            Committed::Nothing | Committed::Read(_) => None,
        }
    }
}

impl Written {
    /// The context as the type it was made of.
    #[must_use]
    pub fn context<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.context.downcast_ref()
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written")
            .field("tx_id", &self.tx_id)
            .field("write_set", &self.write_set)
            .finish_non_exhaustive()
    }
}

impl Reserved {
    /// The reserved position's number.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.tx_id.seqno
    }

    /// The context as the type it was made of.
    #[must_use]
    pub fn context<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.context.downcast_ref()
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("tx_id", &self.tx_id).finish_non_exhaustive()
    }
}
