//! Costs of the store: committing, reading, and its map alone, at two sizes. Run with
//! `cargo bench -p ccf-kv`; figures stand in `BENCHMARKS.md`.
#![allow(missing_docs, clippy::unwrap_used)]

use ccf_kv::{Committed, Json, State, StateBuilder, Store, Tx, TypedMap};
use ccf_types::{SeqNo, TxId, View};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, thread};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: TypedMap<u64, String, ccf_kv::Raw, Json> = TypedMap::new("records");
const MESSAGE: &str = "a message of 20 char";

/// The usual sizes, and how often one state is compacted.
const SIZES: [u64; 2] = [1_000, 1_000_000];
const COMPACT_EVERY: u64 = 1_000;

fn filled(keys: u64) -> State {
    let mut state = StateBuilder::new(TxId::new(2, 1));
    let mut map = state.map(RECORDS.name(), SeqNo(1)).unwrap();
    let value = serde_json::to_vec(MESSAGE).unwrap();
    for i in 0..keys {
        map.insert(&scatter(i).to_le_bytes(), SeqNo(1), &value);
    }
    state.finish()
}

/// A bijection, so that keys come in no order.
fn scatter(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn store(keys: u64) -> Store {
    let store = Store::new();
    store.install(filled(keys));
    store.set_primary(View::FIRST);
    store
}

struct Keys(u64, u64);

impl Keys {
    fn next(&mut self) -> u64 {
        self.0 = (self.0 * 7_919 + 17) % self.1;
        scatter(self.0)
    }
}

fn finish(store: &Store, tx: Tx) {
    let committed = tx.commit().unwrap();
    if let Committed::Wrote(written) = black_box(committed)
        && written.tx_id.seqno.0 % COMPACT_EVERY == 0
    {
        store.compact(written.tx_id.seqno);
    }
}

fn transactions(c: &mut Criterion) {
    for size in SIZES {
        let mut group = c.benchmark_group(format!("tx/{size}"));
        group.throughput(Throughput::Elements(1));
        let store = store(size);
        let message = MESSAGE.to_owned();
        let mut keys = Keys(1, size);
        group.bench_function("blind write", |b| {
            b.iter(|| {
                let tx = store.begin();
                tx.wo(&RECORDS).put(&keys.next(), &message).unwrap();
                finish(&store, tx);
            });
        });
        group.bench_function("read", |b| {
            b.iter(|| {
                let tx = store.begin();
                black_box(tx.ro(&RECORDS).raw().get_with(&keys.next().to_le_bytes(), |v| v.map(<[u8]>::len)));
                finish(&store, tx);
            });
        });
        group.bench_function("read and write", |b| {
            b.iter(|| {
                let tx = store.begin();
                let records = tx.rw(&RECORDS);
                let key = keys.next();
                black_box(records.has(&key).unwrap());
                records.put(&key, &message).unwrap();
                finish(&store, tx);
            });
        });
        group.bench_function("blind write beside a reader", |b| {
            b.iter(|| {
                let state = store.state();
                let tx = store.begin();
                tx.wo(&RECORDS).put(&keys.next(), &message).unwrap();
                finish(&store, tx);
                black_box(state);
            });
        });
        group.bench_function("blind write beside a writing thread", |b| {
            let stop = std::sync::atomic::AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut keys = Keys(5, size);
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let tx = store.begin();
                        tx.wo(&RECORDS).put(&keys.next(), &MESSAGE.to_owned()).unwrap();
                        black_box(tx.commit().unwrap());
                    }
                });
                b.iter(|| {
                    let tx = store.begin();
                    tx.wo(&RECORDS).put(&keys.next(), &message).unwrap();
                    finish(&store, tx);
                });
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        });
        group.finish();
    }
}

fn maps(c: &mut Criterion) {
    for size in SIZES {
        let mut group = c.benchmark_group(format!("map/{size}"));
        group.throughput(Throughput::Elements(1));
        let state = filled(size);
        let map = state.map(RECORDS.name()).unwrap();
        let mut keys = Keys(1, size);
        group.bench_function("get", |b| b.iter(|| black_box(map.get(&keys.next().to_le_bytes()))));
        group.sample_size(10);
        group.throughput(Throughput::Elements(size));
        group.bench_function("insert all", |b| {
            b.iter_batched(|| (), |()| filled(size), BatchSize::PerIteration);
        });
        group.bench_function("iterate all", |b| {
            b.iter(|| map.iter().map(|record| record.value.len()).sum::<usize>());
        });
        group.finish();
    }
}

criterion_group!(benches, transactions, maps);
criterion_main!(benches);
