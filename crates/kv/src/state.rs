//! The whole state at one version: immutable, cheap to keep, read without locks.

use crate::{DuplicateMap, Iter, MapWrites, Record, tree::Tree};
use ccf_types::{MapName, SeqNo, TxId, View};
use rustc_hash::FxBuildHasher;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// All maps as of one transaction. Cloning shares everything; keeping one makes the store copy
/// what it changes afterwards, a path of a tree at a time.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) tx_id: TxId,
    /// Changes with every change of the store's current state, also with those that take no new position.
    pub(crate) stamp: u64,
    pub(crate) maps:
        imbl::GenericHashMap<MapName, MapState, FxBuildHasher, imbl::shared_ptr::DefaultSharedPtr>,
}

/// One map as of one transaction.
#[derive(Clone, Debug, Default)]
pub struct MapState {
    pub(crate) tree: Tree,
    /// The last transaction that changed it; none if it was created empty.
    pub(crate) version: SeqNo,
}

/// Builds a [`State`] from records, such as those of a snapshot.
#[derive(Debug)]
pub struct StateBuilder {
    state: State,
}

/// Builds one map of a [`StateBuilder`].
#[derive(Debug)]
pub struct MapBuilder<'a> {
    tree: &'a mut Tree,
}

impl State {
    /// No maps, before the first transaction.
    #[must_use]
    pub fn empty() -> State {
        State { tx_id: TxId::default(), stamp: 0, maps: imbl::GenericHashMap::with_hasher(FxBuildHasher) }
    }

    /// The last transaction included.
    #[must_use]
    pub fn tx_id(&self) -> TxId {
        self.tx_id
    }

    /// A map, if any transaction created it.
    #[must_use]
    pub fn map(&self, name: &MapName) -> Option<&MapState> {
        self.maps.get(name)
    }

    /// All maps, ascending by name: public ones in the order of a snapshot, and likewise private ones.
    #[must_use]
    pub fn maps(&self) -> Vec<(&MapName, &MapState)> {
        let mut maps: Vec<_> = self.maps.iter().collect();
        maps.sort_by_key(|(name, _)| *name);
        maps
    }

    /// This state with the private maps of another one: what recovery does once it has read the private
    /// ledger.
    #[must_use]
    pub fn with_private_maps_of(&self, other: &State) -> State {
        let private = |name: &MapName| name.domain() == ccf_types::Domain::Private;
        let mut joined = self.clone();
        joined.maps.retain(|name, _| !private(name));
        for (name, map) in other.maps.iter().filter(|(name, _)| private(name)) {
            joined.maps.insert(name.clone(), map.clone());
        }
        joined
    }
}

impl MapState {
    /// The last transaction that changed the map.
    #[must_use]
    pub fn version(&self) -> SeqNo {
        self.version
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether it has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.len() == 0
    }

    /// The record of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        self.tree.get(key)
    }

    /// All records, ascending by key.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        self.tree.iter()
    }

    /// The records from the key `from` on, ascending by key.
    #[must_use]
    pub fn iter_from(&self, from: &[u8]) -> Iter<'_> {
        self.tree.iter_from(from)
    }

    /// All records in the order of a snapshot: ascending by a hash of the key (ledger specification 14.1),
    /// equal hashes by key. Takes 48 bytes of memory per key.
    #[must_use]
    pub fn in_snapshot_order(&self) -> Vec<Record<'_>> {
        let mut hashed: Vec<(u32, Record<'_>)> =
            self.iter().map(|record| (snapshot_hash(record.key), record)).collect();
        hashed.sort_by_key(|(hash, _)| *hash);
        hashed.into_iter().map(|(_, record)| record).collect()
    }

    /// The whole map as writes, as hooks see it after a snapshot is installed.
    pub(crate) fn as_writes(&self, name: &MapName) -> MapWrites {
        let mut writes = MapWrites::new(name.clone());
        for record in self {
            writes.put(record.key.into(), record.value.into());
        }
        writes
    }
}

impl<'a> IntoIterator for &'a MapState {
    type Item = Record<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The low 32 bits of SipHash-2-4 with the key of the snapshot format.
fn snapshot_hash(key: &[u8]) -> u32 {
    let mut hasher = SipHasher24::new_with_keys(0x7720_796f_726c_694b, 0x2165_7265_6820_7361);
    hasher.write(key);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl StateBuilder {
    /// A state as of `tx_id`, without maps.
    #[must_use]
    pub fn new(tx_id: TxId) -> StateBuilder {
        StateBuilder { state: State { tx_id, ..State::empty() } }
    }

    /// Adds a map, last changed at `version`.
    ///
    /// # Errors
    /// [`DuplicateMap`] if it was added before.
    pub fn map(&mut self, name: &MapName, version: SeqNo) -> Result<MapBuilder<'_>, DuplicateMap> {
        if self.state.maps.contains_key(name) {
            return Err(DuplicateMap(name.clone()));
        }
        let map = self.state.maps.entry(name.clone()).or_insert(MapState { tree: Tree::default(), version });
        Ok(MapBuilder { tree: &mut map.tree })
    }

    /// Names the last transaction, once its view is known.
    pub fn set_view(&mut self, view: View) {
        self.state.tx_id.view = view;
    }

    /// The state.
    #[must_use]
    pub fn finish(self) -> State {
        self.state
    }
}

impl MapBuilder<'_> {
    /// Adds a record; answers whether its key is new. A key added twice keeps the later record.
    pub fn insert(&mut self, key: &[u8], version: SeqNo, value: &[u8]) -> bool {
        self.tree.put(key, version, &value.into()).is_none()
    }
}
