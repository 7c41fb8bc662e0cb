//! stand-in
use crate::SmallBytes;
use ccf_types::SeqNo;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A record of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The transaction that last wrote it.
    pub version: SeqNo,
    /// The value.
    pub value: &'a [u8],
}

/// What a write replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) version: SeqNo,
    pub(crate) value: SmallBytes,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tree(BTreeMap<SmallBytes, (SeqNo, SmallBytes)>);

impl Tree {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    pub(crate) fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        self.0.get_key_value(key).map(|(key, (version, value))| Record { key, version: *version, value })
    }
    pub(crate) fn put(&mut self, key: &SmallBytes, version: SeqNo, value: &SmallBytes) -> Option<Previous> {
        self.0
            .insert(key.clone(), (version, value.clone()))
            .map(|(version, value)| Previous { version, value })
    }
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Previous> {
        self.0.remove(key).map(|(version, value)| Previous { version, value })
    }
    pub(crate) fn iter(&self) -> Iter<'_> {
        self.iter_from(&[])
    }
    pub(crate) fn iter_from(&self, from: &[u8]) -> Iter<'_> {
        Iter(self.0.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)))
    }
}

/// Iterates over the records of a map, ascending by key.
#[derive(Clone, Debug)]
pub struct Iter<'a>(std::collections::btree_map::Range<'a, SmallBytes, (SeqNo, SmallBytes)>);

impl<'a> Iterator for Iter<'a> {
    type Item = Record<'a>;
    fn next(&mut self) -> Option<Record<'a>> {
        self.0.next().map(|(key, (version, value))| Record { key, version: *version, value })
    }
}
