//! How fast past transactions come out of ledger files: a cold range, and the receipt of a recent transaction.
//!
//! Writes a ledger of small private writes, then fetches ranges of it as a historical query does: decrypted, hashed, and
//! proved by verified signatures.
//!
//! `cargo run --release -p ccf-node --example historical_range -- [transactions] [signature every] [threads]`
#![allow(clippy::print_stdout, clippy::unwrap_used)] // it prints its figures, and has nobody to answer to

#[path = "../tests/ledger/service.rs"]
#[allow(dead_code, unreachable_pub)]
mod service;

use ccf_endpoints::Role;
use ccf_ledger::entry::Flags;
use ccf_node::{
    historical::{FetchParts, Fetcher},
    replication::status::{ReplicationStatus, Term},
};
use ccf_types::{MapName, SeqNo, View};
use parking_lot::RwLock;
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: u64| args.get(at).map_or(default, |a| a.parse().expect("a number"));
    let (count, every, threads) = (number(1, 200_000), number(2, 5000), number(3, 2));
    let folder = tempfile::tempdir().unwrap();
    let mut service = service::TestService::new(folder.path(), |_| {});
    let records = MapName::from_static("records");
    for at in 1..=count {
        service.put(&records, &(at % 1000).to_le_bytes(), b"twenty characters...");
        if at % every == 0 {
            let (signature, _) = service.sign(Flags::CHUNK_AFTER, false);
            service.commit_up_to(signature.seqno);
        }
    }
    let (signature, _) = service.sign(Flags::CHUNK_AFTER, false);
    service.commit_up_to(signature.seqno);
    let last = service.last().seqno.0;

    let status = ReplicationStatus::new(Term::new(View::FIRST, Role::Primary, None, &[SeqNo(1), SeqNo(1)]));
    status.commit(SeqNo(last));
    let fetcher = Fetcher::new(FetchParts {
        reader: service.writer.reader(),
        secrets: Arc::new(RwLock::new(service.secrets())),
        status: Arc::new(status),
        store: service.store.clone(),
        service_key: Box::new(|| None),
        threads: usize::try_from(threads).unwrap(),
    });
    for page in [10_000, last] {
        let mut best = Duration::MAX;
        let mut fetched = 0;
        let began = Instant::now();
        let mut from = 1;
        while from <= last {
            let to = (from + page - 1).min(last);
            let began = Instant::now();
            let mut states = Vec::new();
            fetcher.fetch(SeqNo(from), SeqNo(to), &mut |state| states.push(state)).unwrap();
            if to - from + 1 == page {
                best = best.min(began.elapsed());
            }
            fetched += states.len();
            from = to + 1;
        }
        let took = began.elapsed();
        println!(
            "pages of {page}: {fetched} transactions in {took:?}, {:.0} per second (best page {:.0})",
            fetched as f64 / took.as_secs_f64(),
            page as f64 / best.as_secs_f64(),
        );
    }
    let mut states = Vec::new();
    fetcher.fetch(SeqNo(last - 2000), SeqNo(last - 1), &mut |(state, _)| states.push(state)).unwrap();
    let began = Instant::now();
    for state in &states {
        black_box(serde_json::to_vec(&state.receipt().json().unwrap()).unwrap());
    }
    println!("receipt in JSON: {:?}", began.elapsed() / u32::try_from(states.len()).unwrap());
    let began = Instant::now();
    for state in &states {
        black_box(state.receipt().cose());
    }
    println!("receipt in COSE: {:?}", began.elapsed() / u32::try_from(states.len()).unwrap());
}
