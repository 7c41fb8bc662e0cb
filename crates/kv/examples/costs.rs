//! Memory per key and processor time per operation of a store, printed: `cargo run --release -p ccf-kv --example costs`.
//!
//! Times are those of the measuring thread alone, as the system accounts for them, so that a busy machine disturbs
//! them little; of several rounds the best counts. The last line is a floor: one random access to as much memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use ccf_kv::{Committed, Json, Raw, SmallBytes, State, StateBuilder, Store, TypedMap};
use ccf_types::{SeqNo, TxId, View};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: TypedMap<u64, String, Raw, Json> = TypedMap::new("records");
const MESSAGE: &str = "a message of 20 char";
const COMPACT_EVERY: u64 = 1_000;

fn scatter(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Nanoseconds of processor time of this thread.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn measure(what: &str, mut operation: impl FnMut(u64)) {
    const ROUNDS: u64 = 15;
    const EACH: u64 = 20_000;
    let mut rounds: Vec<u64> = (0..ROUNDS)
        .map(|round| {
            let start = cpu();
            (round * EACH..(round + 1) * EACH).for_each(&mut operation);
            cpu() - start
        })
        .collect();
    rounds.sort_unstable();
    println!("  {what:40} best {:>5} ns, median {:>5} ns", rounds[0] / EACH, rounds[rounds.len() / 2] / EACH);
}

fn filled(keys: u64, key: fn(u64) -> u64) -> State {
    let mut state = StateBuilder::new(TxId::new(2, 1));
    let mut map = state.map(RECORDS.name(), SeqNo(1)).unwrap();
    let value = serde_json::to_vec(MESSAGE).unwrap();
    for i in 0..keys {
        map.insert(&key(i).to_le_bytes(), SeqNo(1), &value);
    }
    state.finish()
}

fn main() {
    // Both are kept to the end, so that the second does not fill the memory of the first.
    let mut kept = Vec::new();
    for (order, key) in [("scattered", scatter as fn(u64) -> u64), ("ascending", |i| i)] {
        let before = resident();
        let start = cpu();
        let state = filled(1_000_000, key);
        let nanos = (cpu() - start) / 1_000_000;
        println!(
            "1000000 {order} keys: {} bytes each, {nanos} ns to insert",
            resident().saturating_sub(before) / 1_000_000
        );
        kept.push(state);
    }
    let start = cpu();
    drop(kept);
    println!("  both dropped in {} us", (cpu() - start) / 1_000);
    for size in [1_000_u64, 1_000_000] {
        println!("{size} keys of 8 bytes, values of 22:");
        let store = Store::new();
        store.install(filled(size, scatter));
        store.compact(SeqNo(1));
        store.set_primary(View::FIRST);
        let key = |i: u64| scatter(i * 7_919 % size);
        let message = MESSAGE.to_owned();
        let commit = |tx: ccf_kv::Tx| {
            if let Committed::Wrote(written) = tx.commit().unwrap()
                && written.tx_id.seqno.0 % COMPACT_EVERY == 0
            {
                store.compact(written.tx_id.seqno);
            }
        };
        measure("blind write", |i| {
            let tx = store.begin();
            tx.raw(RECORDS.name()).put(key(i).to_le_bytes().as_slice(), SmallBytes::copy_from(&[7; 22]));
            commit(tx);
        });
        measure("blind write, typed", |i| {
            let tx = store.begin();
            tx.wo(&RECORDS).put(&key(i), &message).unwrap();
            commit(tx);
        });
        measure("read", |i| {
            let tx = store.begin();
            let raw = tx.ro(&RECORDS).raw();
            black_box(raw.get_with(&key(i).to_le_bytes(), |value| value.map(<[u8]>::len)));
            commit(tx);
        });
        measure("read and write", |i| {
            let tx = store.begin();
            let records = tx.rw(&RECORDS);
            black_box(records.has(&key(i)).unwrap());
            records.put(&key(i), &message).unwrap();
            commit(tx);
        });
        measure("blind write, the state before is kept", |i| {
            let state = store.state();
            let tx = store.begin();
            tx.wo(&RECORDS).put(&key(i), &message).unwrap();
            commit(tx);
            drop(state);
        });
        let state = store.state();
        let map = state.map(RECORDS.name()).unwrap();
        measure("get from the map alone", |i| {
            black_box(map.get(&key(i).to_le_bytes()));
        });
        let floor = vec![1_u64; usize::try_from(size * 10).unwrap()];
        measure("floor: one random access", |i| {
            black_box(floor[usize::try_from(key(i) % (size * 10)).unwrap()]);
        });
    }
}
