//! What must not have changed for a transaction to commit.

use crate::{
    MapWrites, SmallBytes, State, WriteSet,
    change_set::{ChangeSet, ChangeSets},
};
use ccf_types::{MapName, SeqNo};
use std::collections::BTreeMap;

/// A transaction's dependencies on one map.
#[derive(Debug)]
pub(crate) struct Dependencies {
    pub(crate) name: MapName,
    /// The map did not exist, and still must not.
    pub(crate) tentative: bool,
    /// The whole map was read, at this version of it.
    iterated: Option<SeqNo>,
    /// Keys read, with the version found.
    reads: BTreeMap<SmallBytes, Option<SeqNo>>,
}

/// Parts what a transaction wrote from what it depends on, and lets go of its snapshot.
pub(crate) fn split(sets: ChangeSets) -> (WriteSet, Vec<Dependencies>) {
    let mut maps: Vec<MapWrites> = Vec::new();
    let mut dependencies = Vec::new();
    for ChangeSet { name, base, changes } in sets.into_sorted() {
        let changes = changes.into_inner();
        if let Some(base) = base.into_inner() {
            let version = base.as_ref().map_or(SeqNo::NONE, |map| map.version);
            let iterated = changes.iterated.then_some(version);
            if base.is_none() || iterated.is_some() || !changes.reads.is_empty() {
                dependencies.push(Dependencies {
                    name,
                    tentative: base.is_none(),
                    iterated,
                    reads: changes.reads,
                });
            }
        }
        if !changes.writes.is_empty() {
            maps.push(changes.writes);
        }
    }
    (WriteSet::from_sorted(maps), dependencies)
}

impl Dependencies {
    /// Whether they still hold (ledger specification 4.4, steps 3 and 4).
    pub(crate) fn hold(&self, state: &State) -> bool {
        match state.maps.get(&self.name) {
            None => self.tentative,
            Some(_) if self.tentative => false,
            Some(map) => {
                self.iterated.is_none_or(|version| version == map.version)
                    && self
                        .reads
                        .iter()
                        .all(|(key, version)| map.get(key).map(|record| record.version) == *version)
            }
        }
    }
}
