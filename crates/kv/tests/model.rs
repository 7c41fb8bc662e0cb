//! All operations of a store, in random order, against a model that keeps every state it ever had.
//!
//! The model is a list of whole states, one per position: a transaction reads the state at its position, a
//! rollback cuts the list, a compaction notes how far hooks must have been called.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that unwraps in vain fails, as it should
#![allow(missing_docs)]

use ccf_kv::{CommitError, Committed, MapWrites, Refusal, Reserved, SmallBytes, State, Store, Tx, WriteSet};
use ccf_types::{MapName, SeqNo, TxId, View};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

const MAPS: [MapName; 3] =
    [MapName::from_static("a"), MapName::from_static("public:ccf.gov.b"), MapName::from_static("public:c")];
const KEYS: u8 = 5;
const TXS: usize = 3;

type Key = Vec<u8>;
type Value = Vec<u8>;

/// The state after one position.
#[derive(Clone, Debug, Default, PartialEq)]
struct ModelState {
    tx_id: TxId,
    maps: BTreeMap<MapName, ModelMap>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ModelMap {
    version: u64,
    records: BTreeMap<Key, (u64, Value)>,
}

type ModelWrites = BTreeMap<MapName, BTreeMap<Key, Option<Value>>>;

impl ModelState {
    fn apply(&mut self, tx_id: TxId, writes: &ModelWrites) -> BTreeSet<MapName> {
        let mut changed = BTreeSet::new();
        self.tx_id = tx_id;
        for (name, writes) in writes.iter().filter(|(_, writes)| !writes.is_empty()) {
            let map = self.maps.entry(name.clone()).or_default();
            for (key, value) in writes {
                let changes = match value {
                    Some(value) => {
                        map.records.insert(key.clone(), (tx_id.seqno.0, value.clone()));
                        true
                    }
                    None => map.records.remove(key).is_some(),
                };
                if changes {
                    map.version = tx_id.seqno.0;
                    changed.insert(name.clone());
                }
            }
        }
        changed
    }
}

fn state_of(state: &State) -> ModelState {
    let maps = state.maps().into_iter().map(|(name, map)| {
        assert_eq!(map.len(), map.iter().count());
        let records = map.iter().map(|r| (r.key.to_vec(), (r.version.0, r.value.to_vec()))).collect();
        (name.clone(), ModelMap { version: map.version().0, records })
    });
    ModelState { tx_id: state.tx_id(), maps: maps.collect() }
}

#[derive(Clone, Debug)]
enum Op {
    Begin(usize),
    Get(usize, usize, u8),
    Version(usize, usize, u8),
    GloballyCommitted(usize, usize, u8),
    Put(usize, usize, u8, Value),
    Remove(usize, usize, u8),
    ForEach(usize, usize),
    Range(usize, usize, u8, u8),
    Size(usize, usize),
    Clear(usize, usize),
    Commit(usize),
    Reserve,
    Fill(u8, Value),
    Apply(u64, Vec<(usize, u8, Option<Value>)>),
    Compact(u64),
    Rollback(u64, bool),
    Keep,
}

fn op() -> impl Strategy<Value = Op> {
    let (tx, map, key) = (0..TXS, 0..MAPS.len(), 0..KEYS);
    let value =
        || prop_oneof![prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 20..26)];
    let at = (tx.clone(), map.clone(), key.clone());
    prop_oneof![
        4 => tx.clone().prop_map(Op::Begin),
        6 => at.clone().prop_map(|(t, m, k)| Op::Get(t, m, k)),
        2 => at.clone().prop_map(|(t, m, k)| Op::Version(t, m, k)),
        2 => at.clone().prop_map(|(t, m, k)| Op::GloballyCommitted(t, m, k)),
        8 => (at.clone(), value()).prop_map(|((t, m, k), v)| Op::Put(t, m, k, v)),
        3 => at.clone().prop_map(|(t, m, k)| Op::Remove(t, m, k)),
        1 => (tx.clone(), map.clone()).prop_map(|(t, m)| Op::ForEach(t, m)),
        1 => (at, key.clone()).prop_map(|((t, m, k), l)| Op::Range(t, m, k, l)),
        1 => (tx.clone(), map.clone()).prop_map(|(t, m)| Op::Size(t, m)),
        1 => (tx.clone(), map.clone()).prop_map(|(t, m)| Op::Clear(t, m)),
        9 => tx.prop_map(Op::Commit),
        1 => Just(Op::Reserve),
        2 => (key.clone(), value()).prop_map(|(k, v)| Op::Fill(k, v)),
        1 => (0..4_u64, prop::collection::vec((map, key, prop::option::of(value())), 0..4))
            .prop_map(|(back, writes)| Op::Apply(back, writes)),
        2 => (0..6_u64).prop_map(Op::Compact),
        1 => (0..6_u64, any::<bool>()).prop_map(|(back, elect)| Op::Rollback(back, elect)),
        1 => Just(Op::Keep),
    ]
}

/// A transaction and what the model knows of it.
struct Running {
    tx: Tx,
    /// The state that it reads and the committed one, once fixed.
    reads_at: Option<(ModelState, ModelState)>,
    /// At its first handle.
    voids: u64,
    view: u64,
    /// Maps looked up in its view of the store.
    looked: BTreeSet<usize>,
    reads: BTreeSet<(usize, Key)>,
    iterated: BTreeSet<usize>,
    touched: BTreeSet<usize>,
    writes: ModelWrites,
}

struct Harness {
    store: Store,
    /// States by position.
    history: Vec<ModelState>,
    committed: u64,
    rollbacks: u64,
    /// How often everything read before became void: by a rollback, or by a late write.
    voids: u64,
    view: u64,
    running: Vec<Option<Running>>,
    reserved: Option<Reserved>,
    kept: Vec<(State, ModelState)>,
    expected_global: Vec<(MapName, u64)>,
    writes: BTreeMap<u64, ModelWrites>,
    changes: BTreeMap<u64, BTreeSet<MapName>>,
    global: Arc<Mutex<Vec<(MapName, u64)>>>,
    local: Arc<Mutex<Vec<(MapName, u64)>>>,
    expected_local: Vec<(MapName, u64)>,
}

impl Harness {
    fn new() -> Harness {
        let store = Store::new();
        store.set_primary(View(2));
        let (global, local) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        for name in MAPS {
            let (calls, map) = (global.clone(), name.clone());
            store.on_global(
                &name,
                Arc::new(move |seqno, _| calls.lock().unwrap().push((map.clone(), seqno.0))),
            );
            let (calls, map) = (local.clone(), name.clone());
            store.on_local(
                &name,
                Arc::new(move |context, _| {
                    calls.lock().unwrap().push((map.clone(), context.tx_id().seqno.0));
                }),
            );
        }
        Harness {
            store,
            history: vec![ModelState::default()],
            committed: 0,
            rollbacks: 0,
            voids: 0,
            view: 2,
            running: (0..TXS).map(|_| None).collect(),
            reserved: None,
            kept: Vec::new(),
            expected_global: Vec::new(),
            writes: BTreeMap::new(),
            changes: BTreeMap::new(),
            global,
            local,
            expected_local: Vec::new(),
        }
    }

    fn now(&self) -> &ModelState {
        self.history.last().unwrap()
    }

    fn version(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    /// Runs `f` on a running transaction whose view is fixed first, as a reading handle does.
    fn on(
        &mut self,
        tx: usize,
        map: usize,
        reading: bool,
        f: impl FnOnce(&mut Running, &ModelMap, &ModelState),
    ) {
        let (now, committed) = (self.now().clone(), self.history[self.committed as usize].clone());
        let Some(running) = &mut self.running[tx] else { return };
        if running.reads_at.is_none() && running.touched.is_empty() {
            (running.voids, running.view) = (self.voids, self.view);
        }
        running.touched.insert(map);
        if reading {
            running.reads_at.get_or_insert((now, committed));
            running.looked.insert(map);
        }
        let (seen, committed) = running.reads_at.clone().unwrap_or_default();
        let base = seen.maps.get(&MAPS[map]).cloned().unwrap_or_default();
        f(running, &base, &committed);
    }

    /// The model's opinion on whether a transaction may commit.
    fn conflicts(&self, running: &Running) -> bool {
        let writes = running.writes.values().any(|writes| !writes.is_empty());
        let Some((seen, _)) = &running.reads_at else { return writes && running.voids != self.voids };
        let now = self.now();
        // A map that was missing and was looked at may not have appeared.
        let appeared =
            |map: &usize| !seen.maps.contains_key(&MAPS[*map]) && now.maps.contains_key(&MAPS[*map]);
        if running.looked.iter().any(appeared) {
            return true;
        }
        if !writes {
            return false;
        }
        let version = |state: &ModelState, map: usize| state.maps.get(&MAPS[map]).map(|map| map.version);
        let record = |state: &ModelState, map: usize, key: &Key| {
            state.maps.get(&MAPS[map]).and_then(|map| map.records.get(key).map(|(version, _)| *version))
        };
        running.voids != self.voids
            || running.iterated.iter().any(|map| version(seen, *map) != version(now, *map))
            || running.reads.iter().any(|(map, key)| record(seen, *map, key) != record(now, *map, key))
    }

    fn push(&mut self, tx_id: TxId, writes: &ModelWrites) {
        self.replay(tx_id, writes);
        for name in writes.iter().filter(|(_, writes)| !writes.is_empty()).map(|(name, _)| name) {
            self.expected_local.push((name.clone(), tx_id.seqno.0));
        }
    }

    /// As [`push`](Self::push), without hooks.
    fn replay(&mut self, tx_id: TxId, writes: &ModelWrites) {
        let mut state = self.now().clone();
        let changed = state.apply(tx_id, writes);
        self.history.push(state);
        self.writes.insert(tx_id.seqno.0, writes.clone());
        self.changes.insert(tx_id.seqno.0, changed);
    }

    /// Whether a rollback to a position would leave a reserved one unfilled: consensus, which has not seen that
    /// one, never does this.
    fn leaves_hole(&self, to: u64) -> bool {
        to < self.version() && self.reserved.as_ref().is_some_and(|reserved| reserved.tx_id.seqno.0 <= to)
    }

    fn cut(&mut self, to: u64) {
        if to < self.version() {
            self.history.truncate(to as usize + 1);
            self.changes.retain(|seqno, _| *seqno <= to);
            self.rollbacks += 1;
            self.voids += 1;
            if self.reserved.as_ref().is_some_and(|reserved| reserved.tx_id.seqno.0 > to) {
                let reserved = self.reserved.take().unwrap();
                let refused = self.store.fill(reserved, self.store.begin());
                assert!(matches!(refused, Err(CommitError::NotReplicated(_))));
            }
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Begin(tx) => {
                self.running[tx] = Some(Running {
                    tx: self.store.begin(),
                    reads_at: None,
                    voids: 0,
                    view: 0,
                    looked: BTreeSet::new(),
                    reads: BTreeSet::new(),
                    iterated: BTreeSet::new(),
                    touched: BTreeSet::new(),
                    writes: ModelWrites::new(),
                });
            }
            Op::Get(tx, map, key) => {
                let key = vec![key];
                let Some(running) = &self.running[tx] else { return };
                let own = running.writes.get(&MAPS[map]).and_then(|own| own.get(&key)).cloned();
                self.on(tx, map, own.is_none(), |running, base, _| {
                    let handle = running.tx.raw(&MAPS[map]);
                    let expected = own.unwrap_or_else(|| {
                        running.reads.insert((map, key.clone()));
                        base.records.get(&key).map(|(_, value)| value.clone())
                    });
                    assert_eq!(handle.get(&key).map(|value| value.to_vec()), expected);
                    assert_eq!(handle.has(&key), expected.is_some());
                });
            }
            Op::Version(tx, map, key) => self.on(tx, map, true, |running, base, _| {
                let key = vec![key];
                let version = running.tx.raw(&MAPS[map]).version_of_previous_write(&key);
                assert_eq!(version.map(|v| v.0), base.records.get(&key).map(|(version, _)| *version));
                running.reads.insert((map, key));
            }),
            Op::GloballyCommitted(tx, map, key) => {
                let committed_now = self.committed;
                self.on(tx, map, true, |running, _, committed| {
                    let key = vec![key];
                    let value = running.tx.raw(&MAPS[map]).get_globally_committed(&key);
                    let expected = committed.maps.get(&MAPS[map]).and_then(|map| map.records.get(&key));
                    if committed.tx_id.seqno.0 == committed_now {
                        let expected = expected.map(|(_, value)| value.clone());
                        assert_eq!(value.map(|value| value.to_vec()), expected);
                    }
                });
            }
            Op::Put(tx, map, key, value) => self.on(tx, map, false, |running, _, _| {
                running.tx.raw(&MAPS[map]).put([key].as_slice(), value.as_slice());
                running.writes.entry(MAPS[map].clone()).or_default().insert(vec![key], Some(value));
            }),
            Op::Remove(tx, map, key) => self.on(tx, map, false, |running, _, _| {
                running.tx.raw(&MAPS[map]).remove([key].as_slice());
                running.writes.entry(MAPS[map].clone()).or_default().insert(vec![key], None);
            }),
            Op::ForEach(tx, map) => self.range(tx, map, None, None),
            Op::Range(tx, map, from, to) => self.range(tx, map, Some(from), Some(to)),
            Op::Size(tx, map) => self.on(tx, map, true, |running, base, _| {
                running.iterated.insert(map);
                let visible = merged(base, running.writes.get(&MAPS[map]));
                assert_eq!(running.tx.raw(&MAPS[map]).size(), visible.len());
            }),
            Op::Clear(tx, map) => self.on(tx, map, true, |running, base, _| {
                running.iterated.insert(map);
                let visible = merged(base, running.writes.get(&MAPS[map]));
                running.tx.raw(&MAPS[map]).clear();
                let own = running.writes.entry(MAPS[map].clone()).or_default();
                own.extend(visible.into_keys().map(|key| (key, None)));
            }),
            Op::Commit(tx) => {
                let Some(mut running) = self.running[tx].take() else { return };
                running.writes.retain(|_, writes| !writes.is_empty());
                let late = !running.writes.is_empty() && running.view != self.view;
                let conflicts = self.conflicts(&running);
                let (next, view, now) = (self.version() + 1, self.view, self.now().tx_id);
                match running.tx.commit() {
                    Err(CommitError::NotReplicated(refusal)) => {
                        assert!(refusal == Refusal::ViewChanged && late);
                    }
                    Err(error) => assert!(error == CommitError::Conflict && conflicts),
                    Ok(_) if late => panic!("a change of view was not seen"),
                    Ok(_) if conflicts => panic!("a conflict was not seen"),
                    Ok(Committed::Nothing) => assert!(running.touched.is_empty()),
                    Ok(Committed::Read(tx_id)) => {
                        assert_eq!(tx_id, running.reads_at.map_or(now, |(state, _)| state.tx_id));
                        assert!(running.writes.values().all(BTreeMap::is_empty));
                    }
                    Ok(Committed::Wrote(written)) => {
                        assert_eq!(written.tx_id, TxId::new(view, next));
                        assert_eq!(written.rollback_count, self.rollbacks);
                        assert_eq!(writes_of(&written.write_set), running.writes);
                        self.push(written.tx_id, &running.writes);
                    }
                }
            }
            Op::Reserve if self.reserved.is_none() => {
                let reserved = self.store.reserve(true).unwrap();
                assert_eq!(reserved.tx_id, TxId::new(self.view, self.version() + 1));
                self.push(reserved.tx_id, &ModelWrites::new());
                self.reserved = Some(reserved);
            }
            Op::Reserve => {}
            Op::Fill(key, value) => {
                let Some(reserved) = self.reserved.take() else { return };
                let seqno = reserved.tx_id.seqno.0;
                let tx = self.store.begin();
                tx.raw(&MAPS[0]).put([key].as_slice(), value.as_slice());
                let (written, kept) = self.store.fill(reserved, tx).unwrap();
                // As if it had been written in its place.
                let writes =
                    ModelWrites::from([(MAPS[0].clone(), BTreeMap::from([(vec![key], Some(value))]))]);
                assert_eq!(writes_of(&written.write_set), writes);
                // Later writes on the map, be they removals of nothing, are done again on top of it.
                let touches =
                    |seqno: u64| self.writes[&seqno].get(&MAPS[0]).is_some_and(|writes| !writes.is_empty());
                if (seqno + 1..=self.version()).any(touches) {
                    self.voids += 1;
                }
                let later = self.history.split_off(seqno as usize);
                self.replay(later[0].tx_id, &writes);
                self.expected_local.push((MAPS[0].clone(), seqno));
                assert_eq!(&state_of(&kept.unwrap()), self.now());
                for state in &later[1..] {
                    let writes = self.writes[&state.tx_id.seqno.0].clone();
                    self.replay(state.tx_id, &writes);
                }
            }
            Op::Apply(back, writes) => {
                let seqno = (self.version() + 1).saturating_sub(back);
                if self.leaves_hole(seqno.saturating_sub(1)) {
                    return;
                }
                let mut model = ModelWrites::new();
                let mut maps: BTreeMap<usize, MapWrites> = BTreeMap::new();
                for (map, key, value) in writes {
                    let writes = maps.entry(map).or_insert_with(|| MapWrites::new(MAPS[map].clone()));
                    match &value {
                        Some(value) => writes.put([key].as_slice().into(), value.as_slice().into()),
                        None => writes.remove([key].as_slice().into()),
                    }
                    model.entry(MAPS[map].clone()).or_default().insert(vec![key], value);
                }
                let write_set = WriteSet::new(maps.into_values().rev().collect()).unwrap();
                let tx_id = TxId::new(self.view, seqno);
                let result = self.store.apply(tx_id, write_set.clone());
                if seqno <= self.committed {
                    assert!(result.is_err());
                    return;
                }
                assert_eq!(writes_of(&result.unwrap().write_set), model);
                self.cut(seqno - 1);
                self.push(tx_id, &model);
                assert!(self.store.apply(TxId::new(2, seqno + 2), write_set).is_err());
            }
            Op::Compact(back) => {
                let mut to = self.version().saturating_sub(back);
                if let Some(reserved) = &self.reserved {
                    to = to.min(reserved.tx_id.seqno.0 - 1);
                }
                self.store.compact(SeqNo(to));
                let from = self.committed;
                self.committed = to.max(from);
                for name in MAPS.iter().collect::<BTreeSet<_>>() {
                    for (seqno, changed) in self.changes.range(from + 1..self.committed + 1) {
                        if changed.contains(name) {
                            self.expected_global.push((name.clone(), *seqno));
                        }
                    }
                }
                self.store.compact(SeqNo(self.version() + 5)); // not reached: ignored
            }
            Op::Rollback(back, elect) => {
                let Some(to) = self.version().checked_sub(back) else { return };
                if self.leaves_hole(to) {
                    return;
                }
                let target = self.history[to as usize].tx_id;
                let view = self.view + u64::from(elect);
                let result = self.store.rollback(target, View(view));
                assert_eq!(result.is_err(), to < self.committed);
                if result.is_ok() {
                    self.view = view;
                    self.cut(to);
                }
            }
            Op::Keep => self.kept.push((self.store.state(), self.now().clone())),
        }
        assert_eq!(&state_of(&self.store.state()), self.now());
        assert_eq!(self.store.tx_id(), self.now().tx_id);
        assert_eq!((self.store.version().0, self.store.committed().0), (self.version(), self.committed));
        assert_eq!(*self.global.lock().unwrap(), self.expected_global);
        assert_eq!(*self.local.lock().unwrap(), self.expected_local);
    }

    fn range(&mut self, tx: usize, map: usize, from: Option<u8>, to: Option<u8>) {
        let empty = matches!((from, to), (Some(from), Some(to)) if to <= from);
        self.on(tx, map, !empty, |running, base, _| {
            let bounds = (from.map(|key| vec![key]), to.map(|key| vec![key]));
            let mut expected = merged(base, running.writes.get(&MAPS[map]));
            expected.retain(|key, _| bounds.0.as_ref().is_none_or(|from| from <= key));
            expected.retain(|key, _| bounds.1.as_ref().is_none_or(|to| key < to));
            if empty {
                expected.clear();
            } else {
                running.iterated.insert(map);
            }
            let handle = running.tx.raw(&MAPS[map]);
            let mut visited = Vec::new();
            handle.range::<()>(bounds.0.as_deref(), bounds.1.as_deref(), |key, value| {
                visited.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            });
            assert_eq!(visited, Vec::from_iter(expected));
        });
    }

    fn finish(self) {
        for (state, model) in &self.kept {
            assert_eq!(&state_of(state), model);
        }
    }
}

fn merged(base: &ModelMap, own: Option<&BTreeMap<Key, Option<Value>>>) -> BTreeMap<Key, Value> {
    let mut all: BTreeMap<Key, Value> =
        base.records.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect();
    for (key, value) in own.into_iter().flatten() {
        match value {
            Some(value) => drop(all.insert(key.clone(), value.clone())),
            None => drop(all.remove(key)),
        }
    }
    all
}

fn writes_of(write_set: &WriteSet) -> ModelWrites {
    let bytes = |bytes: &SmallBytes| bytes.to_vec();
    let maps = write_set.maps().iter().map(|map| {
        (map.name().clone(), map.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect())
    });
    maps.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_store_behaves_as_its_model(operations in prop::collection::vec(op(), 0..120)) {
        let mut harness = Harness::new();
        for operation in operations {
            harness.run(operation);
        }
        harness.finish();
    }
}

/// Found by the property above: the removal does not change the map, and still comes after what fills the position.
#[test]
fn a_removal_of_nothing_wins_over_a_position_filled_late_before_it() {
    let mut harness = Harness::new();
    for operation in [Op::Begin(0), Op::Remove(0, 0, 4), Op::Reserve, Op::Commit(0), Op::Fill(4, vec![])] {
        harness.run(operation);
    }
    harness.finish();
}
