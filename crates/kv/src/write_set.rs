//! What one transaction writes, in the order of a ledger entry.

use crate::{DuplicateMap, SmallBytes};
use ccf_ledger::entry::DomainEncoder;
use ccf_types::MapName;
use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

/// The writes of one transaction: maps ascending by name, keys ascending by bytes. Immutable once committed and
/// shared between entry building, hooks and the store's memory of uncommitted transactions.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    maps: Vec<MapWrites>,
}

/// What one transaction writes to one map.
#[derive(Clone, Debug)]
pub struct MapWrites {
    name: MapName,
    writes: BTreeMap<SmallBytes, Option<SmallBytes>>,
    removes: usize,
}

impl WriteSet {
    /// A write set of maps in any order. Maps without writes are left out.
    ///
    /// # Errors
    /// [`DuplicateMap`] if a name stands twice.
    pub fn new(mut maps: Vec<MapWrites>) -> Result<WriteSet, DuplicateMap> {
        maps.retain(|map| !map.is_empty());
        maps.sort_by(|a, b| a.name.cmp(&b.name));
        match maps.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(DuplicateMap(pair[0].name.clone())),
            None => Ok(WriteSet { maps }),
        }
    }

    /// Maps ascending by name, each with writes.
    pub(crate) fn from_sorted(maps: Vec<MapWrites>) -> WriteSet {
        WriteSet { maps }
    }

    /// The maps written, ascending by name; each has at least one write or remove.
    #[must_use]
    pub fn maps(&self) -> &[MapWrites] {
        &self.maps
    }

    /// The writes on one map.
    #[must_use]
    pub fn map(&self, name: &MapName) -> Option<&MapWrites> {
        let at = self.maps.binary_search_by(|map| map.name.cmp(name)).ok()?;
        self.maps.get(at)
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// Number of writes and removes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.maps.iter().map(MapWrites::len).sum()
    }

    /// Adds every record to `encoder`.
    pub fn encode(&self, encoder: &mut DomainEncoder) {
        for map in &self.maps {
            map.encode(encoder);
        }
    }
}

impl MapWrites {
    /// No writes on this map yet.
    #[must_use]
    pub fn new(name: MapName) -> MapWrites {
        MapWrites { name, writes: BTreeMap::new(), removes: 0 }
    }

    /// Records a value for a key; it replaces what was recorded for the key before.
    pub fn put(&mut self, key: SmallBytes, value: SmallBytes) {
        if let Some(None) = self.writes.insert(key, Some(value)) {
            self.removes -= 1;
        }
    }

    /// Records the removal of a key; it replaces what was recorded for the key before.
    pub fn remove(&mut self, key: SmallBytes) {
        if !matches!(self.writes.insert(key, None), Some(None)) {
            self.removes += 1;
        }
    }

    /// The map's name.
    #[must_use]
    pub fn name(&self) -> &MapName {
        &self.name
    }

    /// What is recorded for a key: `None` nothing, `Some(None)` its removal.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&SmallBytes>> {
        if self.writes.is_empty() { None } else { self.writes.get(key).map(Option::as_ref) }
    }

    /// Writes and removes (`None`), ascending by key.
    #[must_use]
    pub fn iter(&self) -> MapWritesIter<'_> {
        MapWritesIter(self.writes.iter())
    }

    pub(crate) fn iter_from(&self, from: &[u8]) -> impl Iterator<Item = (&SmallBytes, Option<&SmallBytes>)> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        self.writes.range::<[u8], _>(bounds).map(|(key, value)| (key, value.as_ref()))
    }

    /// Number of writes and removes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(crate) fn encode(&self, encoder: &mut DomainEncoder) {
        encoder.map(&self.name, self.writes.len() - self.removes, self.removes);
        for (key, value) in self {
            if let Some(value) = value {
                encoder.write(key, value);
            }
        }
        if self.removes > 0 {
            for (key, _) in self.iter().filter(|(_, value)| value.is_none()) {
                encoder.remove(key);
            }
        }
    }
}

/// Iterates over the writes on a map; a removed key has no value.
#[derive(Clone, Debug)]
pub struct MapWritesIter<'a>(btree_map::Iter<'a, SmallBytes, Option<SmallBytes>>);

impl<'a> Iterator for MapWritesIter<'a> {
    type Item = (&'a SmallBytes, Option<&'a SmallBytes>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, value.as_ref()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for MapWritesIter<'_> {}

impl<'a> IntoIterator for &'a MapWrites {
    type Item = (&'a SmallBytes, Option<&'a SmallBytes>);
    type IntoIter = MapWritesIter<'a>;

    fn into_iter(self) -> MapWritesIter<'a> {
        self.iter()
    }
}
