//! The commit path under a model checker: every run is one schedule of the threads.
//! `cargo test -p ccf-kv --features shuttle --test shuttle`
#![allow(clippy::unwrap_used, clippy::panic)] // a test that unwraps in vain fails, as it should
#![allow(missing_docs)]

use ccf_kv::{CommitError, Committed, Refusal, Store, TypedMap};
use ccf_types::{MapName, SeqNo, TxId, View};
use shuttle::{check_pct, check_random, sync::Mutex, thread};
use std::sync::Arc;

const COUNTERS: TypedMap<u64, u64> = TypedMap::new("counters");
const MAP: MapName = MapName::from_static("counters");

/// Runs a model under two strategies.
fn check(model: impl Fn() + Send + Sync + Clone + 'static) {
    check_random(model.clone(), 1_500);
    check_pct(model, 1_500, 3);
}

fn increment(store: &Store, key: u64) -> Result<u64, CommitError> {
    let tx = store.begin();
    let counters = tx.rw(&COUNTERS);
    let before = counters.get(&key).unwrap().unwrap_or(0);
    counters.put(&key, &(before + 1)).unwrap();
    tx.commit().map(|committed| committed.tx_id().unwrap().seqno.0)
}

#[test]
fn no_increment_is_lost() {
    check(|| {
        let store = Store::new();
        store.set_primary(View(2));
        let threads: Vec<_> = (0..3_u64)
            .map(|thread| {
                let store = store.clone();
                thread::spawn(move || {
                    (0..2).filter_map(|i| increment(&store, (thread + i) % 2).ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut seqnos: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        seqnos.sort_unstable();
        assert!(seqnos.iter().copied().eq(1..=store.version().0), "each position is taken once");
        let total: u64 = store.begin().ro(&COUNTERS).entries().unwrap().iter().map(|(_, count)| count).sum();
        assert_eq!(total, seqnos.len() as u64);
    });
}

#[test]
fn an_election_keeps_exactly_what_it_reports() {
    check(|| {
        let store = Store::new();
        store.set_primary(View(2));
        increment(&store, 0).unwrap();
        let worker = {
            let store = store.clone();
            thread::spawn(move || (0..2).map(|_| increment(&store, 0)).collect::<Vec<_>>())
        };
        store.rollback(TxId::new(2, 1), View(3)).unwrap();
        let results = worker.join().unwrap();
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            let refused = CommitError::NotReplicated(Refusal::ViewChanged);
            assert!(*error == CommitError::Conflict || *error == refused, "{error}");
        }
        // Whatever survived is counted, whatever is counted has a position, without holes.
        let state = store.state();
        let count: u64 =
            serde_json::from_slice(state.map(&MAP).unwrap().get(&[0; 8]).unwrap().value).unwrap();
        assert_eq!(count, store.version().0);
        assert_eq!(state.tx_id().view.0, if count > 1 { 3 } else { 2 });
    });
}

#[test]
fn hooks_see_every_version_once_and_in_order() {
    check(|| {
        let store = Store::new();
        store.set_primary(View(2));
        let calls: Arc<Mutex<Vec<SeqNo>>> = Arc::default();
        let seen = calls.clone();
        store.on_global(&MAP, Arc::new(move |seqno, _| seen.lock().unwrap().push(seqno)));
        let worker = {
            let store = store.clone();
            thread::spawn(move || (0..3).filter_map(|key| increment(&store, key).ok()).count())
        };
        let reserved = store.reserve(false).unwrap();
        let tx = store.begin();
        tx.wo(&COUNTERS).put(&9, &1).unwrap();
        assert!(matches!(store.fill(reserved, tx), Ok((written, None)) if written.write_set.len() == 1));
        store.compact(store.version());
        worker.join().unwrap();
        store.compact(store.version());
        let calls = calls.lock().unwrap();
        assert!(calls.iter().copied().eq((1..=store.version().0).map(SeqNo)), "{calls:?}");
    });
}

#[test]
fn a_reader_sees_one_state() {
    check(|| {
        let store = Store::new();
        store.set_primary(View(2));
        let writer = {
            let store = store.clone();
            thread::spawn(move || {
                for i in 1..4 {
                    let tx = store.begin();
                    let counters = tx.wo(&COUNTERS);
                    counters.put(&0, &i).unwrap();
                    counters.put(&1, &i).unwrap();
                    tx.commit().unwrap();
                }
            })
        };
        let tx = store.begin();
        let counters = tx.ro(&COUNTERS);
        let first = counters.get(&0).unwrap();
        thread::yield_now();
        assert_eq!(counters.get(&1).unwrap(), first);
        assert_eq!(tx.read_tx_id().seqno.0, first.unwrap_or(0));
        if let Ok(committed) = tx.commit() {
            assert!(matches!(committed, Committed::Read(_)));
        }
        writer.join().unwrap();
    });
}
