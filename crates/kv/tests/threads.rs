//! Real threads commit random transactions at once; what each of them read and wrote is checked against one serial
//! execution in the order of positions.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that unwraps in vain fails, as it should
#![allow(missing_docs)]

use ccf_kv::{CommitError, Committed, SmallBytes, State, Store};
use ccf_types::{MapName, SeqNo, View};
use proptest::{prelude::*, test_runner::TestRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

const MAPS: [MapName; 2] = [MapName::from_static("a"), MapName::from_static("public:b")];

type Content = BTreeMap<(usize, u8), Vec<u8>>;

/// What a transaction saw and did.
#[derive(Debug)]
struct Trace {
    /// Position of the state it read.
    read_at: u64,
    /// Its own position, if it wrote.
    seqno: Option<u64>,
    reads: Vec<((usize, u8), Option<Vec<u8>>)>,
    /// Whole maps read.
    scans: Vec<(usize, BTreeMap<u8, Vec<u8>>)>,
    writes: BTreeMap<(usize, u8), Option<Vec<u8>>>,
}

fn content(state: &State) -> Content {
    let mut content = Content::new();
    for (at, name) in MAPS.iter().enumerate() {
        for record in state.map(name).into_iter().flatten() {
            content.insert((at, record.key[0]), record.value.to_vec());
        }
    }
    content
}

fn transaction(store: &Store, rng: &mut TestRng, serial: u64) -> Option<Trace> {
    let tx = store.begin();
    let mut trace =
        Trace { read_at: 0, seqno: None, reads: Vec::new(), scans: Vec::new(), writes: BTreeMap::new() };
    let mut read = false;
    for step in 0..1 + rng.next_u32() % 4 {
        let choice = rng.next_u32();
        let (map, key) = ((choice >> 8) as usize % MAPS.len(), (choice >> 16) as u8 % 12);
        let handle = tx.raw(&MAPS[map]);
        match choice % 16 {
            0 => {
                let mut scan = BTreeMap::new();
                handle.for_each::<()>(|key, value| {
                    scan.insert(key[0], value.to_vec());
                    ControlFlow::Continue(())
                });
                if trace.writes.keys().all(|(written, _)| *written != map) {
                    trace.scans.push((map, scan));
                }
                read = true;
            }
            1..7 => {
                let value = handle.get(&[key]).map(|value| value.to_vec());
                match trace.writes.get(&(map, key)) {
                    Some(own) => assert_eq!(&value, own),
                    None => {
                        trace.reads.push(((map, key), value));
                        read = true;
                    }
                }
            }
            7..9 => {
                handle.remove([key].as_slice());
                trace.writes.insert((map, key), None);
            }
            _ => {
                let value = format!("{serial}.{step}").into_bytes();
                handle.put([key].as_slice(), SmallBytes::copy_from(&value));
                trace.writes.insert((map, key), Some(value));
            }
        }
        if choice >> 28 == 0 {
            thread::yield_now();
        }
    }
    if read {
        trace.read_at = tx.read_tx_id().seqno.0;
    }
    match tx.commit() {
        Ok(Committed::Wrote(written)) => trace.seqno = Some(written.tx_id.seqno.0),
        Ok(_) => {}
        Err(CommitError::Conflict) => return None,
        Err(error) => panic!("{error}"),
    }
    Some(trace)
}

/// Threads run transactions while others keep states and compact; afterwards one thread replays them all.
fn run(threads: u64, transactions: u64, seed: u64) {
    let store = Store::new();
    store.set_primary(View(2));
    let kept: Mutex<Vec<State>> = Mutex::default();
    let done = AtomicBool::new(false);
    let conflicts = AtomicU64::new(0);
    let globals: Arc<Mutex<Vec<u64>>> = Arc::default();
    let calls = globals.clone();
    store.on_global(&MAPS[0], Arc::new(move |seqno, _| calls.lock().unwrap().push(seqno.0)));
    let traces: Vec<Trace> = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                kept.lock().unwrap().push(store.state());
                store.compact(store.version());
                thread::yield_now();
            }
        });
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (store, conflicts) = (&store, &conflicts);
                scope.spawn(move || {
                    let seed: Vec<u8> = [seed, thread, 0, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
                    let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
                    let mut traces = Vec::new();
                    for i in 0..transactions {
                        match transaction(store, &mut rng, thread * transactions + i) {
                            Some(trace) => traces.push(trace),
                            None => drop(conflicts.fetch_add(1, Ordering::Relaxed)),
                        }
                    }
                    traces
                })
            })
            .collect();
        let traces = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        traces
    });
    let states = replay(&traces);
    assert_eq!(content(&store.state()), states[states.len() - 1]);
    assert_eq!(states.len() as u64, store.version().0 + 1);
    for state in kept.into_inner().unwrap() {
        assert_eq!(content(&state), states[state.tx_id().seqno.0 as usize]);
    }
    store.compact(store.version());
    let globals = globals.lock().unwrap();
    assert!(globals.is_sorted() && globals.iter().collect::<BTreeSet<_>>().len() == globals.len());
    assert!(conflicts.load(Ordering::Relaxed) < threads * transactions);
}

/// Executes the transactions one after the other; answers the state after each position.
fn replay(traces: &[Trace]) -> Vec<Content> {
    let mut writers: Vec<&Trace> = traces.iter().filter(|trace| trace.seqno.is_some()).collect();
    writers.sort_by_key(|trace| trace.seqno);
    let mut states = vec![Content::new()];
    for (at, trace) in (1..).zip(writers) {
        assert_eq!(trace.seqno, Some(at), "positions have no holes and no repetitions");
        // Serialisable: its reads hold not only where it read, but also right before its position.
        check(trace, &states[at as usize - 1]);
        let mut state = states[at as usize - 1].clone();
        for (key, value) in &trace.writes {
            match value {
                Some(value) => drop(state.insert(*key, value.clone())),
                None => drop(state.remove(key)),
            }
        }
        states.push(state);
    }
    for trace in traces {
        check(trace, &states[trace.read_at as usize]);
    }
    states
}

fn check(trace: &Trace, state: &Content) {
    for (key, value) in &trace.reads {
        assert_eq!(state.get(key), value.as_ref(), "{trace:?}");
    }
    for (map, scan) in &trace.scans {
        let expected =
            state.range((*map, 0)..=(*map, u8::MAX)).map(|((_, key), value)| (*key, value.clone()));
        assert_eq!(*scan, expected.collect());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn concurrent_transactions_are_serialisable(seed in any::<u64>(), threads in 2..5_u64) {
        run(threads, 3_000, seed);
    }
}

/// Signatures take their position first and are filled late, while others commit.
#[test]
fn reserved_positions_are_filled_late() {
    let store = Store::new();
    store.set_primary(View(2));
    let signature = MapName::from_static("public:ccf.internal.tree");
    thread::scope(|scope| {
        for thread in 0..2_u8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..2_000_u16 {
                    let tx = store.begin();
                    tx.raw(&MAPS[0]).put([thread, (i % 7) as u8].as_slice(), i.to_le_bytes().as_slice());
                    tx.commit().unwrap();
                }
            });
        }
        for _ in 0..200 {
            let reserved = store.reserve(true).unwrap();
            let seqno = reserved.seqno();
            thread::yield_now();
            let tx = store.begin();
            tx.raw(&signature).put([0; 8].as_slice(), seqno.0.to_le_bytes().as_slice());
            let (written, state) = store.fill(reserved, tx).unwrap();
            let state = state.unwrap();
            assert_eq!((written.tx_id.seqno, state.tx_id().seqno), (seqno, seqno));
            let newest =
                state.maps().iter().flat_map(|(_, map)| map.iter()).map(|record| record.version).max();
            assert_eq!(newest, Some(seqno));
            store.compact(seqno);
        }
    });
    assert_eq!(store.version(), SeqNo(4_200));
    let tree = store.state().map(&signature).unwrap().get(&[0; 8]).unwrap().value.to_vec();
    let last = u64::from_le_bytes(tree.try_into().unwrap());
    assert_eq!(store.state().map(&signature).unwrap().version(), SeqNo(last));
}
