//! How fast ledgers are replayed and snapshots written: makes a ledger of private writes of 20 characters, replays it as
//! recovery does (public domain only) and in full, and writes a snapshot of as many keys while another thread commits.
//!
//! ```sh
//! cargo run --release -p ccf-node --example replay -- [TRANSACTIONS]
//! ```
#![allow(clippy::print_stdout, reason = "a measurement to be read")]

#[allow(dead_code, reason = "shared with tests")]
#[path = "../tests/ledger/service.rs"]
mod service;

use ccf_kv::Store;
use ccf_ledger::{entry::Flags, files::SnapshotWriter, snapshot::SnapshotHead};
use ccf_node::replay::{ReplayPlan, ReplayState, replay_into};
use ccf_types::MapName;
use service::TestService;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIGNED_EVERY: u64 = 5000;

/// Commits that take longer are counted.
const SLOW: Duration = Duration::from_millis(1);

fn main() {
    let count: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().expect("temporary");
    let began = Instant::now();
    let mut service = TestService::new(directory.path(), |_| {});
    assert!(service.view_starts().len() == 1);
    let map = MapName::from_static("records");
    for number in 0..count {
        service.put(&map, &number.to_le_bytes(), b"twenty characters ok");
        if number % SIGNED_EVERY == SIGNED_EVERY - 1 || number + 1 == count {
            let (signature, _) = service.sign(Flags::CHUNK_AFTER, false);
            service.commit_up_to(signature.seqno);
        }
    }
    service.writer.flush().expect("flushed");
    println!("made {} transactions in {:.1} s", service.last().seqno, began.elapsed().as_secs_f64());

    let (reader, secrets) = (service.writer.reader(), service.secrets());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for round in 1..=3 {
        for (name, secrets) in [("public", None), ("full", Some(&secrets))] {
            let store = Store::new();
            let plan = ReplayPlan { reader: &reader, secrets, to: None, threads };
            let began = Instant::now();
            let outcome = replay_into(&store, ReplayState::new(5 << 20), &plan, &mut |_| {});
            let seconds = began.elapsed().as_secs_f64();
            assert!(outcome.stopped.is_none() && outcome.state.last == service.last());
            let rate = outcome.state.last.seqno.0 as f64 / seconds;
            println!("round {round}: {name} replay {seconds:.2} s, {rate:.0} transactions a second");
        }
    }
    snapshot(&mut service, count);
}

/// Writes a snapshot while this thread commits, and says how long commits took.
fn snapshot(service: &mut TestService, keys: u64) {
    let map = MapName::from_static("records");
    let target = tempfile::tempdir().expect("temporary");
    let commits = |service: &mut TestService, done: &dyn Fn() -> bool| {
        let (mut longest, mut slow, mut number) = (Duration::ZERO, 0u64, 0u64);
        while !done() {
            let key = number.wrapping_mul(0x9e37_79b9) % keys;
            let began = Instant::now();
            let tx = service.store.begin();
            tx.raw(&map).put(key.to_le_bytes().as_slice(), b"twenty other letters".as_slice());
            let written = tx.commit().expect("no conflict");
            let took = began.elapsed();
            longest = longest.max(took);
            slow += u64::from(took > SLOW);
            let tx_id = written.tx_id().expect("it wrote");
            drop(written);
            number += 1;
            // As the next signature does: what is not committed yet is kept to be undone, and does not grow without bounds.
            if number.is_multiple_of(SIGNED_EVERY) {
                service.store.compact(tx_id.seqno);
            }
        }
        format!("longest {longest:.1?}, {slow} of {number} above {SLOW:?}")
    };
    let until = Instant::now() + Duration::from_secs(1);
    let alone = commits(service, &|| Instant::now() > until);
    let began = Instant::now();
    let state = service.store.state();
    let taken = began.elapsed();
    let head =
        SnapshotHead { seqno: state.tx_id().seqno, leaf: ccf_types::Digest::ZERO, view_history: vec![] };
    let (secret, done) = (std::sync::Arc::clone(&service.secret), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let began = Instant::now();
            let mut writer = SnapshotWriter::create(target.path(), &head, &secret).expect("created");
            state.write_to(&mut writer).expect("written");
            let bytes = writer.finish().expect("finished").bytes();
            done.store(true, Ordering::Release);
            (began.elapsed(), bytes)
        });
        let during = commits(service, &|| done.load(Ordering::Acquire));
        let (took, bytes) = writing.join().expect("written");
        println!(
            "snapshot of {keys} keys: {bytes} bytes in {:.2} s; taking the state {taken:?}; commits alone: {alone}; meanwhile: {during}",
            took.as_secs_f64(),
        );
    });
}
