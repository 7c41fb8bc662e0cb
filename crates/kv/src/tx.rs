//! One transaction: a fixed view of the store, what it read, what it writes.

use crate::{
    CommitError, Committed, RawHandle, SmallBytes, State, Store,
    change_set::{ChangeSet, ChangeSets},
    store::{Epoch, Snapshot},
    table::{TypedMap, TypedSet, TypedValue},
};
use ccf_ledger::entry::DomainEncoder;
use ccf_types::{MapName, TxId, View};
use std::{cell::OnceCell, fmt};

/// A transaction. Owned, without lifetime: it may move between threads and into a script's host state.
///
/// Its view of the store is taken when its first reading handle is made ([`ro`](Self::ro), [`rw`](Self::rw)) or, with
/// [`wo`](Self::wo) and [`raw`](Self::raw), when something is first read; from then on everything is read as of that
/// moment. A transaction that only writes blindly takes no view: it never conflicts and costs least.
///
/// All handles on a map share their state; several may live at once. Dropping the transaction forgets it.
pub struct Tx {
    pub(crate) store: Option<Store>,
    pub(crate) sets: ChangeSets,
    /// When its first handle was made, in terms of elections and rollbacks.
    pub(crate) epoch: OnceCell<Epoch>,
    pub(crate) snapshot: OnceCell<Snapshot>,
}

/// A declared table, by which a transaction makes handles.
pub trait Table {
    /// A handle that reads.
    type Reader<'tx>;
    /// A handle that reads and writes.
    type Handle<'tx>;

    /// The table's name.
    fn name(&self) -> &MapName;
    /// Wraps an untyped handle.
    fn reader(raw: RawHandle<'_>) -> Self::Reader<'_>;
    /// Wraps an untyped handle.
    fn handle(raw: RawHandle<'_>) -> Self::Handle<'_>;
}

impl Tx {
    pub(crate) fn new(store: Store) -> Tx {
        Tx {
            store: Some(store),
            sets: ChangeSets::default(),
            epoch: OnceCell::new(),
            snapshot: OnceCell::new(),
        }
    }

    /// A transaction on a fixed state, such as a historical one: it reads, and commits only if it wrote nothing.
    #[must_use]
    pub fn on_state(state: State) -> Tx {
        let committed = state.tx_id.seqno;
        let snapshot = Snapshot { view: state.tx_id.view, epoch: Epoch::default(), committed, state };
        Tx { store: None, sets: ChangeSets::default(), epoch: OnceCell::new(), snapshot: snapshot.into() }
    }

    /// A handle that reads a table.
    pub fn ro<T: Table>(&self, table: &T) -> T::Reader<'_> {
        T::reader(self.raw_reading(table.name()))
    }

    /// A handle that reads and writes a table.
    pub fn rw<T: Table>(&self, table: &T) -> T::Handle<'_> {
        T::handle(self.raw_reading(table.name()))
    }

    /// A handle for writing a table: it fixes the transaction's view of the store only if it is read from
    /// after all.
    pub fn wo<T: Table>(&self, table: &T) -> T::Handle<'_> {
        T::handle(self.raw(table.name()))
    }

    /// An untyped handle on any map. Like [`wo`](Self::wo), it fixes the view when it first reads.
    pub fn raw(&self, name: &MapName) -> RawHandle<'_> {
        self.epoch();
        RawHandle { tx: self, set: self.sets.find_or_add(name) }
    }

    /// Fixes the transaction's view of the store, if that has not happened, and says which it is: the last
    /// transaction that this one sees.
    pub fn read_tx_id(&self) -> TxId {
        self.snapshot().state.tx_id
    }

    /// The view in which its writes will be ordered, unless it changes before.
    pub fn commit_view(&self) -> View {
        self.snapshot().view
    }

    /// The state that the transaction sees, without its own writes; fixes it as [`read_tx_id`](Self::read_tx_id)
    /// does. Reading from it records no dependency.
    pub fn state(&self) -> &State {
        &self.snapshot().state
    }

    /// Whether it has written anything.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        self.sets.iter().any(|set| !set.changes.borrow().writes.is_empty())
    }

    /// The most bytes that the records of the entry can take: names, keys, values and their lengths.
    #[must_use]
    pub fn written_bytes(&self) -> usize {
        let record = |(key, value): (&SmallBytes, Option<&SmallBytes>)| {
            16 + key.len() + value.map_or(0, |value| value.len())
        };
        self.sets
            .iter()
            .map(|set| {
                64 + set.name.as_str().len() + set.changes.borrow().writes.iter().map(record).sum::<usize>()
            })
            .sum()
    }

    /// Adds all writes so far to `encoder`: records do not depend on the position, so an entry may be
    /// prepared, and its size checked, before [`commit`](Self::commit).
    pub fn encode(&self, encoder: &mut DomainEncoder) {
        let mut written: Vec<&ChangeSet> =
            self.sets.iter().filter(|set| !set.changes.borrow().writes.is_empty()).collect();
        written.sort_by(|a, b| a.name.cmp(&b.name));
        for set in written {
            set.changes.borrow().writes.encode(encoder);
        }
    }

    /// Commits (ledger specification 4.4). Several threads may commit at once; all but a few hundred
    /// nanoseconds of it runs in parallel.
    ///
    /// # Errors
    /// See [`CommitError`]; the store is then unchanged.
    pub fn commit(self) -> Result<Committed, CommitError> {
        match self.store.clone() {
            Some(store) => store.commit(self),
            None if self.has_writes() => Err(CommitError::ReadOnly),
            None => Ok(Committed::Read(self.read_tx_id())),
        }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.snapshot.get_or_init(|| match &self.store {
            Some(store) => store.snapshot(),
            None => unreachable!("a transaction without a store is made with its state"),
        })
    }

    fn raw_reading(&self, name: &MapName) -> RawHandle<'_> {
        self.snapshot();
        let raw = self.raw(name);
        raw.base();
        raw
    }

    fn epoch(&self) -> Epoch {
        *self.epoch.get_or_init(|| match (self.snapshot.get(), &self.store) {
            (Some(snapshot), _) => snapshot.epoch,
            (None, Some(store)) => store.epoch(),
            (None, None) => Epoch::default(),
        })
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = self.snapshot.get().map(|snapshot| snapshot.state.tx_id);
        f.debug_struct("Tx").field("read_tx_id", &read).finish_non_exhaustive()
    }
}

impl<K, V, KC, VC> Table for TypedMap<K, V, KC, VC> {
    type Reader<'tx> = crate::MapReader<'tx, K, V, KC, VC>;
    type Handle<'tx> = crate::MapHandle<'tx, K, V, KC, VC>;

    fn name(&self) -> &MapName {
        self.name()
    }

    fn reader(raw: RawHandle<'_>) -> Self::Reader<'_> {
        crate::MapReader::new(raw)
    }

    fn handle(raw: RawHandle<'_>) -> Self::Handle<'_> {
        crate::MapHandle::new(raw)
    }
}

impl<V, VC> Table for TypedValue<V, VC> {
    type Reader<'tx> = crate::ValueReader<'tx, V, VC>;
    type Handle<'tx> = crate::ValueHandle<'tx, V, VC>;

    fn name(&self) -> &MapName {
        self.name()
    }

    fn reader(raw: RawHandle<'_>) -> Self::Reader<'_> {
        crate::ValueReader::new(raw)
    }

    fn handle(raw: RawHandle<'_>) -> Self::Handle<'_> {
        crate::ValueHandle::new(raw)
    }
}

impl<K, KC> Table for TypedSet<K, KC> {
    type Reader<'tx> = crate::SetReader<'tx, K, KC>;
    type Handle<'tx> = crate::SetHandle<'tx, K, KC>;

    fn name(&self) -> &MapName {
        self.name()
    }

    fn reader(raw: RawHandle<'_>) -> Self::Reader<'_> {
        crate::SetReader::new(raw)
    }

    fn handle(raw: RawHandle<'_>) -> Self::Handle<'_> {
        crate::SetHandle::new(raw)
    }
}
