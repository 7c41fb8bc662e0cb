//! Untyped access to a map within a transaction: the operations of the ledger specification, section 4.3.

use crate::{MapState, MapWrites, Record, SmallBytes, Tx, change_set::ChangeSet};
use ccf_types::{MapName, SeqNo};
use std::ops::ControlFlow;

/// A map as one transaction sees it: its own writes over its view of the store.
///
/// What each operation makes the commit depend on:
///
/// | operation | dependency |
/// |---|---|
/// | `get`, `has` | none on a key the transaction wrote itself, else the key |
/// | `version_of_previous_write` | the key, always |
/// | `get_globally_committed` | none |
/// | `put`, `remove` | none |
/// | `for_each`, `size`, `clear`, `range` | the whole map |
#[derive(Clone, Copy)]
pub struct RawHandle<'tx> {
    pub(crate) tx: &'tx Tx,
    pub(crate) set: &'tx ChangeSet,
}

impl<'tx> RawHandle<'tx> {
    /// The map's name.
    #[must_use]
    pub fn name(&self) -> &'tx MapName {
        &self.set.name
    }

    /// The value of a key. Values of up to 22 bytes are copied without allocation.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<SmallBytes> {
        match self.own(key) {
            Some(own) => own,
            None => self.read(key).map(|record| SmallBytes::copy_from(record.value)),
        }
    }

    /// Looks at the value of a key without copying it.
    pub fn get_with<R>(&self, key: &[u8], look: impl FnOnce(Option<&[u8]>) -> R) -> R {
        match self.own(key) {
            Some(own) => look(own.as_deref()),
            None => look(self.read(key).map(|record| record.value)),
        }
    }

    /// Whether the key has a value.
    #[must_use]
    pub fn has(&self, key: &[u8]) -> bool {
        self.get_with(key, |value| value.is_some())
    }

    /// The transaction that last wrote the key, this one's writes not counted; none if the key is absent.
    #[must_use]
    pub fn version_of_previous_write(&self, key: &[u8]) -> Option<SeqNo> {
        self.read(key).map(|record| record.version)
    }

    /// The key's value as of the last committed transaction, own writes ignored: as it was when the transaction took
    /// its view, or newer if commit has moved on since and the key's history is gone.
    #[must_use]
    pub fn get_globally_committed(&self, key: &[u8]) -> Option<SmallBytes> {
        let snapshot = self.tx.snapshot();
        let record = self.base().and_then(|map| map.get(key));
        let unchanged = self.base().is_none_or(|map| map.version <= snapshot.committed);
        match record {
            Some(record) if record.version <= snapshot.committed => Some(record.value.into()),
            None if unchanged => None,
            _ => self.tx.store.as_ref()?.committed_value(&self.set.name, key),
        }
    }

    /// Gives the key a value.
    pub fn put(&self, key: impl Into<SmallBytes>, value: impl Into<SmallBytes>) {
        self.set.changes.borrow_mut().writes.put(key.into(), value.into());
    }

    /// Removes the key, whether or not it exists.
    pub fn remove(&self, key: impl Into<SmallBytes>) {
        self.set.changes.borrow_mut().writes.remove(key.into());
    }

    /// Calls `visit` with every key and value, ascending by key, until it breaks; answers what it broke with. Writes
    /// that `visit` makes are not visited.
    pub fn for_each<B>(&self, visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>) -> Option<B> {
        self.visit(&[], None, visit)
    }

    /// As [`for_each`](Self::for_each), for keys with `from <= key < to`; a missing bound does not bound. With
    /// `to <= from` nothing is visited and nothing depended on.
    pub fn range<B>(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> Option<B> {
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return None;
        }
        self.visit(from.unwrap_or_default(), to, visit)
    }

    /// Number of keys.
    #[must_use]
    pub fn size(&self) -> usize {
        self.set.depend_on_map();
        let base = self.base();
        let mut size = base.map_or(0, MapState::len);
        for (key, value) in &self.set.changes.borrow().writes {
            match (base.is_some_and(|map| map.get(key).is_some()), value.is_some()) {
                (false, true) => size += 1,
                (true, false) => size -= 1,
                _ => {}
            }
        }
        size
    }

    /// Removes every key, own writes included.
    pub fn clear(&self) {
        let mut keys = Vec::new();
        self.for_each::<()>(|key, _| {
            keys.push(SmallBytes::copy_from(key));
            ControlFlow::Continue(())
        });
        let mut changes = self.set.changes.borrow_mut();
        for key in keys {
            changes.writes.remove(key);
        }
    }

    /// What this transaction wrote for the key: `None` nothing, `Some(None)` its removal.
    fn own(&self, key: &[u8]) -> Option<Option<SmallBytes>> {
        self.set.changes.borrow().writes.get(key).map(Option::<&SmallBytes>::cloned)
    }

    fn read(&self, key: &[u8]) -> Option<Record<'tx>> {
        let record = self.base().and_then(|map| map.get(key));
        self.set.depend_on_key(key, record.map(|record| record.version));
        record
    }

    /// The map in the transaction's view of the store.
    pub(crate) fn base(&self) -> Option<&'tx MapState> {
        self.set.base.get_or_init(|| self.tx.snapshot().state.map(&self.set.name).cloned()).as_ref()
    }

    /// Merges the snapshot with a copy of the own writes, both ascending.
    fn visit<B>(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> Option<B> {
        self.set.depend_on_map();
        let own = self.own_from(from);
        let mut own = own.iter().peekable();
        let below = |key: &[u8]| to.is_none_or(|to| key < to);
        let base = self.base().map(|map| map.iter_from(from)).into_iter().flatten();
        for record in base.take_while(|record| below(record.key)) {
            let mut replaced = false;
            while let Some((key, value)) = own.next_if(|(key, _)| key.as_slice() <= record.key) {
                replaced = key.as_slice() == record.key;
                if let Some(value) = value
                    && let ControlFlow::Break(result) = visit(key, value)
                {
                    return Some(result);
                }
            }
            if !replaced && let ControlFlow::Break(result) = visit(record.key, record.value) {
                return Some(result);
            }
        }
        for (key, value) in own.take_while(|(key, _)| below(key)) {
            if let Some(value) = value
                && let ControlFlow::Break(result) = visit(key, value)
            {
                return Some(result);
            }
        }
        None
    }

    fn own_from(&self, from: &[u8]) -> Vec<(SmallBytes, Option<SmallBytes>)> {
        let changes = self.set.changes.borrow();
        let writes: &MapWrites = &changes.writes;
        writes.iter_from(from).map(|(key, value)| (key.clone(), value.cloned())).collect()
    }
}

impl std::fmt::Debug for RawHandle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RawHandle").field(&self.set.name).finish()
    }
}
