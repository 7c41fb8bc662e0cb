//! What one transaction did to one map, and a list of these that hands out stable references.

use crate::{MapState, MapWrites, SmallBytes};
use ccf_types::{MapName, SeqNo};
use rustc_hash::FxHashMap;
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
};

/// Everything a transaction knows about one map. All its handles on the map share it.
pub(crate) struct ChangeSet {
    pub(crate) name: MapName,
    /// The map in the transaction's snapshot, once looked at; `None` inside if it does not exist there.
    pub(crate) base: OnceCell<Option<MapState>>,
    pub(crate) changes: RefCell<Changes>,
}

/// The parts that grow.
pub(crate) struct Changes {
    /// Versions of keys read; absent keys have none.
    pub(crate) reads: BTreeMap<SmallBytes, Option<SeqNo>>,
    /// The whole map was read; implies every key.
    pub(crate) iterated: bool,
    pub(crate) writes: MapWrites,
}

impl ChangeSet {
    pub(crate) fn new(name: MapName) -> ChangeSet {
        let writes = MapWrites::new(name.clone());
        let changes = Changes { reads: BTreeMap::new(), iterated: false, writes };
        ChangeSet { name, base: OnceCell::new(), changes: RefCell::new(changes) }
    }

    /// The state of the map may not have changed for the transaction to commit.
    pub(crate) fn depend_on_map(&self) {
        let mut changes = self.changes.borrow_mut();
        changes.iterated = true;
        changes.reads.clear();
    }

    /// The key may not have changed for the transaction to commit.
    pub(crate) fn depend_on_key(&self, key: &[u8], version: Option<SeqNo>) {
        let mut changes = self.changes.borrow_mut();
        if !changes.iterated && !changes.reads.contains_key(key) {
            changes.reads.insert(SmallBytes::copy_from(key), version);
        }
    }
}

/// The change sets of a transaction. Grows without moving its elements, so that handles may borrow them while
/// others are added: the first is inline, then come blocks of doubling size.
#[derive(Default)]
pub(crate) struct ChangeSets {
    first: OnceCell<ChangeSet>,
    blocks: [OnceCell<Box<[OnceCell<ChangeSet>]>>; BLOCKS],
    len: std::cell::Cell<usize>,
    /// Position by name, used once a linear search would be slow.
    index: RefCell<FxHashMap<MapName, usize>>,
}

/// Block `i` holds `BLOCK_FIRST << i` elements: room for more maps than fit in memory.
const BLOCKS: usize = 28;
const BLOCK_FIRST: usize = 4;
const LINEAR_MAX: usize = 8;

impl ChangeSets {
    pub(crate) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ChangeSet> {
        (0..self.len.get()).filter_map(|at| self.cell(at)?.get())
    }

    pub(crate) fn find(&self, name: &MapName) -> Option<&ChangeSet> {
        if self.len.get() <= LINEAR_MAX {
            return self.iter().find(|set| set.name == *name);
        }
        let at = *self.index.borrow().get(name)?;
        self.cell(at)?.get()
    }

    pub(crate) fn find_or_add(&self, name: &MapName) -> &ChangeSet {
        match self.find(name) {
            Some(set) => set,
            None => self.add(name),
        }
    }

    /// The change sets, ascending by name.
    pub(crate) fn into_sorted(mut self) -> Vec<ChangeSet> {
        let mut sets = Vec::with_capacity(self.len.get());
        sets.extend(self.first.take());
        for block in &mut self.blocks {
            let Some(block) = block.take() else { break };
            sets.extend(block.into_iter().filter_map(OnceCell::into_inner));
        }
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        sets
    }

    fn add(&self, name: &MapName) -> &ChangeSet {
        let at = self.len.get();
        self.len.set(at + 1);
        if at >= LINEAR_MAX {
            let mut index = self.index.borrow_mut();
            if index.is_empty() {
                index.extend(self.iter().take(at).enumerate().map(|(i, set)| (set.name.clone(), i)));
            }
            index.insert(name.clone(), at);
        }
        let cell = self.cell(at).expect("28 doubling blocks outnumber any memory");
        cell.get_or_init(|| ChangeSet::new(name.clone()))
    }

    /// The place of an element, made if need be.
    fn cell(&self, at: usize) -> Option<&OnceCell<ChangeSet>> {
        let Some(at) = at.checked_sub(1) else { return Some(&self.first) };
        // Blocks before block b hold BLOCK_FIRST * (2^b - 1) elements.
        let block = (at / BLOCK_FIRST + 1).ilog2() as usize;
        let offset = at - BLOCK_FIRST * ((1 << block) - 1);
        let cells = self
            .blocks
            .get(block)?
            .get_or_init(|| std::iter::repeat_with(OnceCell::new).take(BLOCK_FIRST << block).collect());
        cells.get(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stay_valid_and_names_are_found() {
        let sets = ChangeSets::default();
        let name = |i: usize| MapName::parse(&format!("m{i:05}")).unwrap();
        let first: *const ChangeSet = sets.find_or_add(&name(0));
        for i in 0..1000 {
            assert_eq!(sets.find_or_add(&name(i)).name, name(i));
            assert!(sets.find(&name(i + 1)).is_none());
        }
        assert!(std::ptr::eq(first, sets.find_or_add(&name(0))));
        assert_eq!(sets.find(&name(999)).map(|set| set.name.clone()), Some(name(999)));
        let sorted = sets.into_sorted();
        assert!(sorted.iter().enumerate().all(|(i, set)| set.name == name(i)));
        assert_eq!(sorted.len(), 1000);
    }
}
