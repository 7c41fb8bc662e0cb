//! The uncommitted tail of the log: write sets, and how to undo them.

use crate::{CommitContext, MapWrites, SmallBytes, State, WriteSet, tree::Previous};
use ccf_types::{MapName, SeqNo};
use std::sync::Arc;

/// Positions of the log's buffer made in advance, so that it does not grow under the lock when commit is prompt.
pub(crate) const LOG_CAPACITY: usize = 1024;

/// One uncommitted position.
#[derive(Debug)]
pub(crate) enum LogEntry {
    /// Taken, its writes not known yet.
    Reserved,
    /// Part of the current state.
    Applied(Applied),
}

/// An applied write set and what it replaced.
pub(crate) struct Applied {
    pub(crate) write_set: Arc<WriteSet>,
    /// One per map of the write set, in its order.
    maps: Vec<Replaced>,
    /// One per write of the write set, in its order.
    records: Vec<Option<Previous>>,
    /// The context before, if a hook replaced it.
    pub(crate) context_before: Option<CommitContext>,
}

#[derive(Debug)]
struct Replaced {
    /// The version of the map before; none if it did not exist.
    version: Option<SeqNo>,
    /// Whether the map was changed: removing absent keys does not.
    changed: bool,
}

impl Applied {
    /// An entry about to be applied. Allocates what applying it needs.
    pub(crate) fn prepare(write_set: WriteSet) -> Applied {
        let maps = Vec::with_capacity(write_set.maps().len());
        let records = Vec::with_capacity(write_set.len());
        Applied { write_set: Arc::new(write_set), maps, records, context_before: None }
    }

    /// Writes into `state` at `seqno`, noting what is replaced.
    pub(crate) fn apply(&mut self, state: &mut State, seqno: SeqNo) {
        self.maps.clear();
        self.records.clear();
        for writes in self.write_set.maps() {
            let existing = state.maps.get_mut(writes.name());
            let version = existing.as_ref().map(|map| map.version);
            let map = match existing {
                Some(map) => map,
                None => state.maps.entry(writes.name().clone()).or_default(),
            };
            let mut changed = false;
            for (key, value) in writes {
                let replaced = match value {
                    Some(value) => map.tree.put(key, seqno, value),
                    None => map.tree.remove(key),
                };
                changed |= value.is_some() || replaced.is_some();
                self.records.push(replaced);
            }
            if changed {
                map.version = seqno;
            }
            self.maps.push(Replaced { version, changed });
        }
    }

    /// Restores in `state` what applying the entry replaced; everything after it has been undone.
    pub(crate) fn undo(&self, state: &mut State) {
        let mut records = self.records.iter();
        for (writes, replaced) in self.write_set.maps().iter().zip(&self.maps) {
            let undone = records.by_ref().take(writes.len());
            let (Some(version), Some(map)) = (replaced.version, state.maps.get_mut(writes.name())) else {
                undone.for_each(drop);
                state.maps.remove(writes.name());
                continue;
            };
            map.version = version;
            for ((key, _), previous) in writes.iter().zip(undone) {
                match previous {
                    Some(previous) => drop(map.tree.put(key, previous.version, &previous.value)),
                    None => drop(map.tree.remove(key)),
                }
            }
        }
    }

    /// The writes on a map, if they changed it.
    pub(crate) fn changes_to(&self, name: &MapName) -> Option<&MapWrites> {
        let mut maps = self.write_set.maps().iter().zip(&self.maps);
        maps.find(|(writes, replaced)| replaced.changed && writes.name() == name).map(|(writes, _)| writes)
    }

    /// What a key of a map was before this entry, if it wrote the key.
    pub(crate) fn before(&self, name: &MapName, key: &[u8]) -> Option<Option<&SmallBytes>> {
        let keys = self.write_set.maps().iter().flat_map(|map| map.iter().map(|(key, _)| (map.name(), key)));
        let mut found =
            keys.zip(&self.records).filter(|((map, written), _)| *map == name && written.as_slice() == key);
        found.next().map(|(_, previous)| previous.as_ref().map(|previous| &previous.value))
    }
}

impl std::fmt::Debug for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applied").field("write_set", &self.write_set).finish_non_exhaustive()
    }
}
