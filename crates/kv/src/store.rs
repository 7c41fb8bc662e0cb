//! The store: the current state, the uncommitted tail of the log behind it, and how both change.
//!
//! One lock guards the current state. Under it a commit checks what the transaction read, takes the next
//! position, and writes into the state in place; trees are copied, a path at a time, only where somebody still
//! looks at an older state. What a write replaced is noted beside it, so that any uncommitted suffix can be undone.

mod current;
mod dependencies;
mod log;

use crate::{
    ApplyError, CommitContext, CommitError, Committed, GlobalHook, LocalHook, Reserved, RollbackError,
    SmallBytes, State, Tx, WriteSet, Written,
    hooks::Hooks,
    sync::{AtomicU64, Mutex},
};
use arc_swap::ArcSwap;
use ccf_types::{MapName, SeqNo, TxId, View};
use current::Current;
use dependencies::Dependencies;
use log::{Applied, LOG_CAPACITY, LogEntry};
use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::Ordering},
};

/// The key-value store. Clones are the same store; any thread may use it.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    current: Mutex<Current>,
    hooks: ArcSwap<Hooks>,
    /// Copies of fields of `current` for those who need only one of them.
    version: AtomicU64,
    committed: AtomicU64,
    epoch: AtomicU64,
}

/// Counts elections, demotions and rollbacks: two transactions of one epoch are of one view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

/// What a transaction sees.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    /// In which its writes would be ordered.
    pub(crate) view: View,
    pub(crate) epoch: Epoch,
    /// The last committed transaction.
    pub(crate) committed: SeqNo,
}

impl Store {
    /// An empty store of a node that is not primary.
    #[must_use]
    pub fn new() -> Store {
        Store(Arc::new(Shared {
            current: Mutex::new(Current::new()),
            hooks: ArcSwap::default(),
            version: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }))
    }

    /// A new transaction. Costs nothing until it makes its first handle.
    #[must_use]
    pub fn begin(&self) -> Tx {
        Tx::new(self.clone())
    }

    /// Allows commits, ordered in `view`, from now on; transactions begun before are refused.
    pub fn set_primary(&self, view: View) {
        self.change(|current| current.set_primary(Some(view)));
    }

    /// Refuses commits from now on: the node is not primary, or is retiring.
    pub fn set_backup(&self) {
        self.change(|current| current.set_primary(None));
    }

    /// Whether commits are allowed, and in which view.
    #[must_use]
    pub fn primary_view(&self) -> Option<View> {
        self.0.current.lock().primary_view()
    }

    /// The last transaction: the view it was ordered in, and its position.
    #[must_use]
    pub fn tx_id(&self) -> TxId {
        self.0.current.lock().state.tx_id
    }

    /// Position of the last transaction, without taking the lock.
    #[must_use]
    pub fn version(&self) -> SeqNo {
        SeqNo(self.0.version.load(Ordering::Acquire))
    }

    /// Position of the last committed transaction, as told to [`compact`](Self::compact); takes no lock.
    #[must_use]
    pub fn committed(&self) -> SeqNo {
        SeqNo(self.0.committed.load(Ordering::Acquire))
    }

    /// How many transactions are not committed yet. Their writes are kept in memory: whoever accepts requests
    /// must stop at a limit (`consensus.max_uncommitted_tx_count`).
    #[must_use]
    pub fn uncommitted(&self) -> u64 {
        self.version().0.saturating_sub(self.committed().0)
    }

    /// How many times transactions were rolled back.
    #[must_use]
    pub fn rollback_count(&self) -> u64 {
        self.0.current.lock().rollback_count
    }

    /// The current state, for as long as it is kept.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.current.lock().state.clone()
    }

    /// The context that the next transaction's entry is built with.
    #[must_use]
    pub fn context(&self) -> CommitContext {
        self.0.current.lock().context.clone()
    }

    /// Sets the context from the next transaction on. A rollback does not undo this, only what hooks set.
    pub fn set_context<T: Any + Send + Sync>(&self, context: Arc<T>) {
        self.0.current.lock().context = context;
    }

    /// Adds a hook that runs within each commit that writes to `map`, and for each applied entry that does.
    /// Add hooks before the store is used.
    #[expect(clippy::needless_pass_by_value, reason = "the store keeps it")]
    pub fn on_local(&self, map: &MapName, hook: LocalHook) {
        self.0.hooks.rcu(|hooks| {
            let mut hooks = Hooks::clone(hooks);
            hooks.local.entry(map.clone()).or_default().push(hook.clone());
            hooks
        });
    }

    /// Adds a hook that runs in [`compact`](Self::compact) for each committed version that changed `map`. Add hooks
    /// before the store is used.
    #[expect(clippy::needless_pass_by_value, reason = "the store keeps it")]
    pub fn on_global(&self, map: &MapName, hook: GlobalHook) {
        self.0.hooks.rcu(|hooks| {
            let mut hooks = Hooks::clone(hooks);
            hooks.global.entry(map.clone()).or_default().push(hook.clone());
            hooks
        });
    }

    /// Takes the next position for a transaction whose writes come later with [`fill`](Self::fill). With `keep_state`
    /// the state at that position will be available then, whatever is committed meanwhile.
    ///
    /// # Errors
    /// [`CommitError::NotReplicated`] if the node is not primary.
    pub fn reserve(&self, keep_state: bool) -> Result<Reserved, CommitError> {
        self.change(|current| current.reserve(keep_state))
    }

    /// Gives a reserved position its writes: those of `tx`, whose reads are not checked. Answers also the state at the
    /// position if it was to be kept. Local hooks that run here should not set the context: transactions after
    /// the position may have been built without it.
    ///
    /// # Errors
    /// [`CommitError::NotReplicated`] if the position was rolled back.
    pub fn fill(&self, reserved: Reserved, tx: Tx) -> Result<(Box<Written>, Option<State>), CommitError> {
        let (write_set, dependencies) = dependencies::split(tx.sets);
        drop((dependencies, tx.snapshot));
        let entry = Applied::prepare(write_set);
        let hooks = self.0.hooks.load();
        self.change(|current| current.fill(reserved, entry, &hooks))
    }

    /// Applies a received entry at its position, without any check for conflicts; uncommitted transactions from that
    /// position on are rolled back first (ledger specification 4.10).
    ///
    /// # Errors
    /// [`ApplyError`] if the entry does not fit to the state; nothing is changed.
    pub fn apply(&self, tx_id: TxId, write_set: WriteSet) -> Result<Box<Written>, ApplyError> {
        let entry = Applied::prepare(write_set);
        let hooks = self.0.hooks.load();
        self.change(|current| current.apply(tx_id, entry, &hooks))
    }

    /// Notes that everything up to `seqno` is committed: its writes are forgotten, and global hooks run, maps by
    /// name, versions ascending. Only one thread may call this. A position not reached yet is ignored.
    pub fn compact(&self, seqno: SeqNo) {
        let spare = VecDeque::with_capacity(LOG_CAPACITY);
        let before = self.committed();
        let (entries, installed) = self.change(|current| current.compact(seqno, spare));
        let hooks = self.0.hooks.load();
        for (name, hooks) in &hooks.global {
            if let Some(map) = installed.as_ref().and_then(|state| state.map(name)) {
                let writes = map.as_writes(name);
                hooks.iter().for_each(|hook| hook(map.version, &writes));
            }
            for (at, entry) in (before.0 + 1..).zip(&entries) {
                if let LogEntry::Applied(applied) = entry
                    && let Some(writes) = applied.changes_to(name)
                {
                    hooks.iter().for_each(|hook| hook(SeqNo(at), writes));
                }
            }
        }
    }

    /// Undoes everything after `target`. `next_view` is the view of what will be written next. Contexts set by
    /// hooks of what is undone are restored.
    ///
    /// # Errors
    /// [`RollbackError::Committed`] if that would undo a committed transaction: the node must stop.
    pub fn rollback(&self, target: TxId, next_view: View) -> Result<(), RollbackError> {
        let dropped = self.change(|current| current.rollback(target, next_view))?;
        drop(dropped); // outside the lock
        Ok(())
    }

    /// Replaces everything by `state`, which is committed. Local hooks run once per hooked map with the whole map as
    /// writes; global hooks likewise at the next [`compact`](Self::compact). Answers the actions of local hooks.
    pub fn install(&self, state: State) -> Vec<crate::Action> {
        let hooks = self.0.hooks.load();
        let (actions, replaced) = self.change(|current| current.install(state, &hooks));
        drop(replaced);
        actions
    }

    /// Replaces all private maps by those of `other`, which knows them as of this store's last position: the end of a
    /// recovery. No uncommitted transaction may have written to a private map.
    pub fn adopt_private(&self, other: &State) {
        let replaced = self.change(|current| current.adopt_private(other));
        drop(replaced); // outside the lock
    }

    pub(crate) fn commit(&self, tx: Tx) -> Result<Committed, CommitError> {
        let Tx { sets, epoch, snapshot, .. } = tx;
        let read = snapshot.get().map(|snapshot| snapshot.state.tx_id);
        if sets.is_empty() {
            return Ok(read.map_or(Committed::Nothing, Committed::Read));
        }
        let stamp = snapshot.get().map(|snapshot| snapshot.state.stamp);
        let (write_set, dependencies) = dependencies::split(sets);
        // Nobody may look at the old state while it is changed in place: from here on only what was read counts.
        drop(snapshot);
        if write_set.is_empty() {
            return self.commit_reads(read, &dependencies);
        }
        let epoch = epoch.into_inner().unwrap_or_default();
        let entry = Applied::prepare(write_set);
        let hooks = self.0.hooks.load();
        self.change(|current| current.commit(epoch, stamp, &dependencies, entry, &hooks))
            .map(Committed::Wrote)
    }

    /// Reads alone conflict only if a map that they missed exists by now (4.4.4).
    fn commit_reads(
        &self,
        read: Option<TxId>,
        dependencies: &[Dependencies],
    ) -> Result<Committed, CommitError> {
        if dependencies.iter().any(|map| map.tentative) {
            let current = self.0.current.lock();
            if dependencies.iter().any(|map| map.tentative && current.state.maps.contains_key(&map.name)) {
                return Err(CommitError::Conflict);
            }
        }
        Ok(Committed::Read(read.unwrap_or_else(|| self.tx_id())))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.0.current.lock().snapshot()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.0.epoch.load(Ordering::Acquire))
    }

    /// A key's value at the last committed transaction.
    pub(crate) fn committed_value(&self, map: &MapName, key: &[u8]) -> Option<SmallBytes> {
        self.0.current.lock().committed_value(map, key)
    }

    /// Changes the current state under the lock and publishes the numbers that are read without it.
    fn change<R>(&self, change: impl FnOnce(&mut Current) -> R) -> R {
        let mut current = self.0.current.lock();
        let result = change(&mut current);
        self.0.version.store(current.state.tx_id.seqno.0, Ordering::Release);
        self.0.committed.store(current.committed.0, Ordering::Release);
        self.0.epoch.store(current.epoch.0, Ordering::Release);
        result
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("version", &self.version())
            .field("committed", &self.committed())
            .finish()
    }
}
