//! Snapshots as a primary makes them, and as nodes start from them.

use crate::service::TestService;
use ccf_kv::{Store, Tx};
use ccf_ledger::{
    entry::Flags,
    evidence::CommitEvidence,
    files::{SnapshotPath, list_snapshots},
    receipt::CoseReceipt,
    snapshot::{Snapshot, SnapshotReceipt, SnapshotTrust},
};
use ccf_node::{
    replay::{ReplayPlan, ReplayState, replay_into},
    snapshots::{
        OtherSigner, SnapshotHost, SnapshotLimits, SnapshotPoint, SnapshotSettings, Snapshots, Submitted,
        ValidSnapshots, choose_startup_snapshot, view_history,
    },
};
use ccf_types::{Digest, MapName, SeqNo};
use parking_lot::Mutex;
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Transactions that the thread of snapshots wants committed wait here until the test commits them.
#[derive(Default)]
struct Host {
    wanted: Mutex<Option<(Tx, Digest, std::sync::mpsc::Sender<Option<Submitted>>)>>,
}

impl SnapshotHost for Host {
    fn submit(&self, tx: Tx, claims: Digest) -> Option<Submitted> {
        let (answer, answered) = std::sync::mpsc::channel();
        *self.wanted.lock() = Some((tx, claims, answer));
        answered.recv().ok().flatten()
    }
}

struct Node {
    service: TestService,
    snapshots: Arc<Snapshots>,
    host: Arc<Host>,
    _directories: (tempfile::TempDir, tempfile::TempDir),
    snapshot_directory: std::path::PathBuf,
    ledger: std::path::PathBuf,
}

fn start(tx_count: u64) -> Node {
    let directories = (tempfile::tempdir().expect("temporary"), tempfile::tempdir().expect("temporary"));
    let snapshot_directory = directories.1.path().to_owned();
    let host = Arc::new(Host::default());
    let mut started = None;
    let service = TestService::new(directories.0.path(), |store: &Store| {
        let limits = SnapshotLimits { tx_count, min_tx_count: 2, time_interval: None };
        let settings = SnapshotSettings { directory: snapshot_directory.clone(), limits };
        let snapshots = Snapshots::start(settings, SeqNo::NONE, store, Arc::clone(&host) as _);
        started = Some(snapshots.expect("started"));
    });
    let snapshots = started.expect("prepared");
    let ledger = directories.0.path().to_owned();
    Node { service, snapshots, host, _directories: directories, snapshot_directory, ledger }
}

impl Node {
    /// Signs as a primary does, and commits.
    fn sign(&mut self) -> SeqNo {
        let next = self.service.last().seqno.next();
        let wanted = self.snapshots.wants(next);
        let flags = if wanted { Flags::CHUNK_AFTER } else { Flags::NONE };
        let (tx_id, kept) = self.service.sign(flags, wanted);
        assert_eq!(kept.is_some(), wanted);
        if let Some((state, leaf)) = kept {
            let view_history = view_history(&self.service.view_starts(), tx_id);
            let secret = Arc::clone(&self.service.secret);
            self.snapshots.taken(SnapshotPoint { state, leaf, view_history, secret });
        }
        self.service.commit_up_to(tx_id.seqno);
        tx_id.seqno
    }

    /// Commits the evidence that the thread asks for.
    fn commit_evidence(&mut self) -> SeqNo {
        let (tx, claims, answer) = until(|| self.host.wanted.lock().take());
        let written = tx.commit().expect("no conflict").into_written().expect("it wrote");
        let sealed = self.service.append(&written, claims, Flags::NONE, false);
        let commit_evidence = CommitEvidence::new(&self.service.secret, sealed.tx_id).as_str().to_owned();
        let write_set_digest = sealed.write_set_digest;
        let tx_id = sealed.tx_id;
        answer.send(Some(Submitted { tx_id, write_set_digest, commit_evidence })).expect("it waits");
        tx_id.seqno
    }

    fn files(&self) -> Vec<SnapshotPath> {
        list_snapshots(&self.snapshot_directory).expect("listed")
    }
}

/// Waits for something that another thread does soon.
fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(Instant::now() < patience, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const RECORDS: MapName = MapName::from_static("records");
const PUBLIC: MapName = MapName::from_static("public:records");

/// A node with one snapshot, and transactions after it.
fn with_snapshot() -> (Node, SnapshotPath) {
    let mut node = start(10);
    for number in 0..12u8 {
        node.service.put(&RECORDS, &[number], &[number; 30]);
        node.service.put(&PUBLIC, &[number % 5], b"value");
    }
    let at = node.sign();
    let evidence = node.commit_evidence();
    assert!(node.files().is_empty(), "not before its evidence is committed");
    node.service.put(&RECORDS, b"after", b"1");
    node.sign();
    let file = until(|| node.files().pop());
    assert_eq!((file.name.seqno, file.name.evidence), (at, evidence));
    assert_eq!(node.files().len(), 1);
    node.service.put(&RECORDS, b"after", b"2");
    node.sign();
    node.service.writer.flush().expect("flushed");
    (node, file)
}

#[test]
fn a_snapshot_is_made_with_its_receipt() {
    let (node, file) = with_snapshot();
    let snapshot = Snapshot::read(fs::File::open(&file.path).expect("there")).expect("valid");
    let SnapshotReceipt::Cose(receipt) = snapshot.receipt().expect("there") else { panic!("a COSE receipt") };
    let receipt = CoseReceipt::decode(receipt).expect("valid");
    assert_eq!(receipt.claims_digest(), snapshot.digest());
    assert_eq!(receipt.components().tx_id().map(|tx_id| tx_id.seqno), Some(file.name.evidence));
    receipt.verify(node.service.certificate.public_key().expect("key")).expect("signed by the service");
    let leftovers = fs::read_dir(&node.snapshot_directory).expect("listed").count();
    assert_eq!(leftovers, 1);
    node.snapshots.stop();
}

/// Section 22, check 28.
#[test]
fn a_snapshot_and_what_follows_it_is_the_whole() {
    let (node, file) = with_snapshot();
    let trust = SnapshotTrust::Service(&node.service.certificate);
    let chosen =
        choose_startup_snapshot(&node.snapshot_directory, None, trust, &mut stranger).expect("listed");
    let chosen = chosen.expect("there is one");
    assert_eq!(chosen.path(), file.path);
    let (secrets, reader) = (node.service.secrets(), node.service.writer.reader());
    let plan = ReplayPlan { reader: &reader, secrets: Some(&secrets), to: None, threads: 2 };
    let whole = Store::new();
    let expected = replay_into(&whole, ReplayState::new(5 << 20), &plan, &mut |_| {});

    let store = Store::new();
    let installed = chosen.install(&store, Some(&secrets)).expect("installed");
    assert_eq!(installed.last.seqno, file.name.seqno);
    assert_eq!(store.tx_id(), installed.last);
    let chunks = ccf_ledger::chunks::ChunkAccounting::new(5 << 20, installed.last.seqno);
    let state = ReplayState {
        tree: installed.tree,
        chunks,
        last: installed.last,
        view_history: installed.view_history,
    };
    let outcome = replay_into(&store, state, &plan, &mut |_| {});
    assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
    assert_eq!(outcome.state.last, expected.state.last);
    assert_eq!(outcome.state.tree.root(), expected.state.tree.root());
    assert_eq!(outcome.state.view_history, expected.state.view_history);
    let flat = |store: &Store| {
        let state = store.state();
        let maps = state.maps().into_iter().map(|(name, map)| {
            let records =
                map.iter().map(|r| (r.key.to_vec(), r.version, r.value.to_vec())).collect::<Vec<_>>();
            (name.clone(), map.version(), records)
        });
        maps.collect::<Vec<_>>()
    };
    assert_eq!(flat(&store), flat(&whole));
    // Public maps alone, as a recovery begins.
    let public = Store::new();
    chosen.install(&public, None).expect("installed");
    assert!(public.state().map(&RECORDS).is_none() && public.state().map(&PUBLIC).is_some());
    node.snapshots.stop();
}

/// Section 22, check 29: every flipped bit of the frame or the receipt, every cut.
#[test]
fn a_damaged_snapshot_is_set_aside_and_the_next_older_one_used() {
    let (node, file) = with_snapshot();
    let bytes = fs::read(&file.path).expect("there");
    let trust = SnapshotTrust::Service(&node.service.certificate);
    let directory = tempfile::tempdir().expect("temporary");
    let newer = directory.path().join("snapshot_900_901.committed");
    fs::copy(&file.path, directory.path().join(file.name.to_string())).expect("copied");
    let choose = || {
        let chosen = choose_startup_snapshot(directory.path(), None, trust, &mut stranger).expect("listed");
        chosen.map(|chosen| chosen.seqno())
    };
    // A whole file under another name is none of that seqno.
    fs::write(&newer, &bytes).expect("written");
    assert_eq!(choose(), Some(file.name.seqno));
    assert!(directory.path().join("snapshot_900_901.committed.ignored").exists());
    let same = directory.path().join(file.name.to_string());
    let ignored = directory.path().join(format!("{}.ignored", file.name));
    for at in (0..bytes.len()).step_by(97).chain(bytes.len() - 40..bytes.len()) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&same, &bad).expect("written");
        assert_eq!(choose(), None, "byte {at}");
        assert!(ignored.exists() && !same.exists());
    }
    for len in [1, 43, 44, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&same, &bytes[..len]).expect("written");
        assert_eq!(choose(), None, "{len} bytes");
    }
    fs::write(&same, b"").expect("written");
    assert_eq!(choose(), None);
    assert!(same.exists(), "an empty file is only passed over");
    fs::write(&same, &bytes).expect("written");
    assert_eq!(choose(), Some(file.name.seqno));
    // Another service's.
    let other = start(10);
    let trust = SnapshotTrust::Service(&other.service.certificate);
    let chosen =
        choose_startup_snapshot(Path::new("/nonexistent"), Some(directory.path()), trust, &mut stranger);
    assert!(chosen.expect("listed").is_none());
    assert!(same.exists(), "nothing is renamed in a read-only directory");
    node.snapshots.stop();
    other.snapshots.stop();
}

/// Whoever can write to the directory gives a file the name of a newer snapshot: that must not make others go.
#[test]
fn only_what_holds_counts_as_a_newer_snapshot() {
    let (node, file) = with_snapshot();
    let directory = tempfile::tempdir().expect("temporary");
    let path = |name: &str| directory.path().join(name);
    let own = file.name.to_string();
    fs::copy(&file.path, path(&own)).expect("copied");
    fs::write(path("snapshot_999999999_999999999.committed"), b"rubbish").expect("written");
    fs::write(path("snapshot_40_41.committed"), b"rubbish").expect("written");
    // A whole one with the name of another, and one of another service.
    fs::copy(&file.path, path("snapshot_30_31.committed")).expect("copied");
    let (other, foreign) = with_snapshot();
    fs::copy(&foreign.path, path("snapshot_50_51.committed")).expect("copied");
    let mut valid = ValidSnapshots::default();
    let (service, stop) = (&node.service.certificate, AtomicBool::new(false));
    let mut newest = |committed, enough| {
        let found = valid.newest(directory.path(), SeqNo(committed), service, enough, &stop);
        found.expect("listed").into_iter().map(|found| found.name.to_string()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(newest(100, 1), std::slice::from_ref(&own));
        assert_eq!(newest(1_000_000_000, 5), std::slice::from_ref(&own));
        assert!(newest(file.name.seqno.0 - 1, 1).is_empty(), "it is not committed");
    }
    // A file that changes is read again.
    fs::write(path(&own), b"rubbish").expect("written");
    assert!(newest(100, 1).is_empty());
    fs::copy(&file.path, path(&own)).expect("copied");
    assert_eq!(newest(100, 1), [own]);
    stop.store(true, Ordering::Release);
    assert!(newest(100, 1).is_empty(), "the node stops");
    node.snapshots.stop();
    other.snapshots.stop();
}

/// However large the state.
#[test]
fn a_stop_does_not_wait_for_a_snapshot_that_is_being_written() {
    let mut node = start(1000);
    let value = vec![7; 4 << 10];
    for _ in 0..50 {
        node.service.commit(|service, tx| {
            let first = service.last().seqno.0 * 1000;
            for key in first..first + 200 {
                tx.raw(&RECORDS).put(key.to_le_bytes().as_slice(), value.as_slice());
            }
        });
    }
    node.snapshots.request(node.service.last().seqno);
    node.sign();
    // It is being written.
    until(|| fs::read_dir(&node.snapshot_directory).expect("listed").next().map(drop));
    let began = Instant::now();
    node.snapshots.stop();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(node.host.wanted.lock().is_none(), "it was finished before the stop");
    until(|| fs::read_dir(&node.snapshot_directory).expect("listed").next().is_none().then_some(()));
}

#[test]
fn evidence_that_is_rolled_back_makes_no_snapshot() {
    let mut node = start(1000);
    node.service.put(&RECORDS, b"k", b"v");
    node.snapshots.request(node.service.last().seqno);
    let at = node.sign();
    // The evidence gets its position in the ledger, and is then rolled back.
    let tree = node.service.tree.clone();
    let (tx, _, answer) = until(|| node.host.wanted.lock().take());
    let evidence = tx.commit().expect("no conflict").into_written().expect("it wrote").tx_id;
    let submitted =
        Submitted { tx_id: evidence, write_set_digest: Digest::ZERO, commit_evidence: String::new() };
    answer.send(Some(submitted)).expect("it waits");
    node.service
        .store
        .rollback(ccf_types::TxId { seqno: at, ..evidence }, evidence.view)
        .expect("rolled back");
    node.service.tree = tree;
    node.snapshots.rollback(at);
    node.service.put(&RECORDS, b"k", b"w");
    node.sign();
    // The next one is not in its way.
    node.snapshots.request(node.service.last().seqno);
    node.service.put(&RECORDS, b"k", b"x");
    let second = node.sign();
    node.commit_evidence();
    node.sign();
    let file = until(|| node.files().pop());
    assert_eq!(file.name.seqno, second);
    assert_eq!(node.files().len(), 1);
    node.snapshots.stop();
}

#[test]
fn requests_through_the_store_and_the_switch() {
    let mut node = start(1000);
    node.service.commit(|_, tx| {
        tx.rw(&ccf_governance::tables::SNAPSHOT_CREATE).put(&()).expect("put");
    });
    let next = node.service.last().seqno.next();
    assert!(node.snapshots.wants(next));
    node.snapshots.set_enabled(false);
    node.sign();
    assert!(!node.snapshots.wants(node.service.last().seqno.next()), "it was decided all the same");
    std::thread::sleep(Duration::from_millis(30));
    assert!(node.host.wanted.lock().is_none() && node.files().is_empty());
    node.snapshots.stop();
}

/// The reader of the reference accepts ledger and snapshot. It is there once `cargo xtask test` has prepared it.
#[test]
fn the_reference_reads_our_snapshots() {
    let program = std::env::current_exe().expect("a path");
    let target = program.ancestors().nth(3).expect("target");
    let reader = target.join("test-tools/venv/bin/read_ledger.py");
    if !reader.exists() {
        eprintln!("not run: `cargo xtask prepare` installs {}", reader.display());
        return;
    }
    let (node, file) = with_snapshot();
    let read = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new(&reader).args(arguments).output().expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        let text = format!("{}{errors}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{text}");
        text
    };
    let snapshot = read(&["-s".as_ref(), file.path.as_os_str()]);
    assert!(snapshot.contains("public:ccf.gov.service.info"), "{snapshot}");
    let full = ["--verification-level", "FULL", "--uncommitted", "-q"].map(AsRef::as_ref);
    let ledger = read(&[full.as_slice(), &[node.ledger.as_os_str()]].concat());
    let last = node.service.last();
    assert!(ledger.contains(&format!("until {last}")), "{ledger}");
    node.snapshots.stop();
}

/// Nothing is known of other services.
fn stranger(_: &SnapshotPath) -> OtherSigner {
    OtherSigner::Stranger
}
