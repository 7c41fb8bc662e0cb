//! Calls on writes: local hooks in the commit, global hooks once a write is committed (specification 4.9).

use crate::MapWrites;
use ccf_types::{MapName, SeqNo, TxId};
use rustc_hash::FxHashMap;
use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

/// What building the entry of a transaction needs besides its writes, such as the ledger secret of the moment.
/// The store keeps one value, hands it to each commit, lets local hooks replace it for the next one, and
/// restores it on rollback. What it is only its users know.
pub type CommitContext = Arc<dyn Any + Send + Sync>;

/// Something a local hook wants done when the entry is appended, such as a new configuration for consensus.
pub type Action = Box<dyn Any + Send>;

/// Called under the commit lock, in the order of map names, when writes on a map are applied; they may
/// still be rolled back. Must be short and must not touch the store.
pub type LocalHook = Arc<dyn Fn(&mut HookContext<'_>, &MapWrites) + Send + Sync>;

/// Called by `compact`, without any lock, once per map and version that changed the map, ascending.
pub type GlobalHook = Arc<dyn Fn(SeqNo, &MapWrites) + Send + Sync>;

/// What a local hook sees and may change.
pub struct HookContext<'a> {
    pub(crate) tx_id: TxId,
    pub(crate) context: &'a mut CommitContext,
    pub(crate) actions: &'a mut Vec<Action>,
}

impl HookContext<'_> {
    /// The transaction that writes.
    #[must_use]
    pub fn tx_id(&self) -> TxId {
        self.tx_id
    }

    /// The context of the next transaction, as far as earlier hooks of this one have determined it.
    #[must_use]
    pub fn context(&self) -> &CommitContext {
        self.context
    }

    /// Determines the context from the next transaction on. This transaction's own entry is built with
    /// the context before it.
    pub fn set_context(&mut self, context: CommitContext) {
        *self.context = context;
    }

    /// Asks for something to be done when the entry is appended.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}

impl fmt::Debug for HookContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookContext").field("tx_id", &self.tx_id).finish_non_exhaustive()
    }
}

/// The hooks of a store.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) local: FxHashMap<MapName, Vec<LocalHook>>,
    pub(crate) global: BTreeMap<MapName, Vec<GlobalHook>>,
}
