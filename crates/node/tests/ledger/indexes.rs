//! An index whose old buckets are in files, fed from a real ledger, against a list of who wrote what.

use crate::{
    historical::{fetch, fetcher},
    service::TestService,
};
use ccf_endpoints::{
    historical::HistoricalState,
    indexing::{Buckets, LargeFile, LargeFiles, SeqnosByKeyBucketed, Strategy},
};
use ccf_ledger::entry::Flags;
use ccf_types::{MapName, SeqNo};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

const RECORDS: MapName = MapName::from_static("records");

const BUCKETS: Buckets = Buckets { seqnos_per_bucket: 8, max_buckets: 4 };

type OnStore = Box<dyn Fn() + Send>;

/// Files that are read at the second call, and can be lost.
#[derive(Default)]
struct Files {
    content: Mutex<BTreeMap<String, Vec<u8>>>,
    asked: Mutex<HashSet<String>>,
    /// Called once, at the next store.
    on_store: Mutex<Option<OnStore>>,
}

impl LargeFiles for Files {
    fn store(&self, name: &str, content: &[u8]) {
        self.content.lock().insert(name.to_owned(), content.to_vec());
        let on_store = self.on_store.lock().take();
        if let Some(on_store) = on_store {
            on_store();
        }
    }

    fn fetch(&self, name: &str) -> LargeFile {
        if self.asked.lock().insert(name.to_owned()) {
            return LargeFile::Loading;
        }
        let content = self.content.lock().get(name).cloned();
        content.map_or(LargeFile::Lost, |content| LargeFile::Ready(Arc::new(content)))
    }
}

/// Transactions that write some of a few keys, in a ledger, and who wrote what.
fn past() -> (Vec<Arc<HistoricalState>>, BTreeMap<u8, Vec<SeqNo>>) {
    let folder = tempfile::tempdir().expect("folder");
    let mut service = TestService::new(folder.path(), |_| {});
    let mut written: BTreeMap<u8, Vec<SeqNo>> = BTreeMap::new();
    for number in 0..90u64 {
        // Key 0 often, key 3 in the beginning and at the end only.
        let key = match number {
            0 | 1 | 88 => 3,
            _ if number % 7 == 0 => 1,
            _ if number % 23 == 0 => 2,
            _ => 0,
        };
        let at = service.put(&RECORDS, &[key], &number.to_le_bytes());
        written.entry(key).or_default().push(at.seqno);
        if number % 10 == 9 {
            let (signature, _) = service.sign(Flags::CHUNK_AFTER, false);
            service.commit_up_to(signature.seqno);
        }
    }
    let fetcher = fetcher(&service, service.writer.reader(), service.secrets(), &[1, 1]);
    let states = fetch(&fetcher, 1, service.last().seqno.0).expect("all of it");
    (states, written)
}

/// Shows it what it wants, as far as there is.
fn feed(index: &SeqnosByKeyBucketed, states: &[Arc<HistoricalState>]) {
    for state in states {
        if index.next_requested() == Some(state.tx_id().seqno) {
            index.handle_committed(state);
        }
    }
}

fn ask(index: &SeqnosByKeyBucketed, key: u8, from: SeqNo, to: SeqNo) -> Option<Vec<SeqNo>> {
    // As many times as there are buckets in a range.
    (0..8).find_map(|_| index.seqnos(&[key], from, to).expect("a range"))
}

fn must_answer(index: &SeqnosByKeyBucketed, written: &BTreeMap<u8, Vec<SeqNo>>, last: SeqNo) {
    for key in 0..5 {
        for from in (1..=last.0).step_by(3).map(SeqNo) {
            for length in [0, 1, 7, 8, 9, 24] {
                let to = SeqNo((from.0 + length).min(last.0));
                let all = written.get(&key).cloned().unwrap_or_default();
                let expected: Vec<SeqNo> = all.into_iter().filter(|at| (from..=to).contains(at)).collect();
                assert_eq!(ask(index, key, from, to), Some(expected), "key {key} from {from} to {to}");
            }
        }
    }
}

#[test]
fn buckets_in_files_are_found_again_and_lost_ones_made_anew() {
    let (states, written) = past();
    let last = states.last().expect("some").tx_id().seqno;
    let files = Arc::new(Files::default());
    let index = SeqnosByKeyBucketed::new(RECORDS, BUCKETS, Arc::clone(&files) as _);
    feed(&index, &states);
    assert!(files.content.lock().len() >= 12, "{:?}", files.content.lock().keys());
    must_answer(&index, &written, last);
    assert!(index.seqnos(&[0], SeqNo(1), SeqNo(26)).is_err(), "longer than the buckets in memory");

    // Each file in turn: no wrong answer, and the whole once the transactions were shown again.
    let names: Vec<String> = files.content.lock().keys().cloned().collect();
    for name in names.iter().step_by(4) {
        let index = SeqnosByKeyBucketed::new(RECORDS, BUCKETS, Arc::clone(&files) as _);
        feed(&index, &states);
        let content = files.content.lock().remove(name).expect("there");
        for bad in [None, Some(content[..content.len() - 1].to_vec())] {
            if let Some(bad) = bad {
                files.content.lock().insert(name.clone(), bad);
            }
            let lost = (1..last.0 - 16).step_by(8).flat_map(|from| (0..4).map(move |key| (key, from)));
            let answers =
                lost.map(|(key, from)| (key, from, ask(&index, key, SeqNo(from), SeqNo(from + 16))));
            for (key, from, answer) in answers {
                let range = SeqNo(from)..=SeqNo(from + 16);
                let all = written.get(&key).cloned().unwrap_or_default();
                let expected: Vec<SeqNo> = all.into_iter().filter(|at| range.contains(at)).collect();
                assert!(answer.is_none_or(|answer| answer == expected), "{name}: key {key} from {from}");
            }
            assert_eq!(index.next_requested(), Some(SeqNo(1)), "{name} is not missed");
            feed(&index, &states);
            must_answer(&index, &written, last);
        }
    }
}

/// A query finds a file lost at the moment when the thread that feeds the index writes another one.
#[test]
fn an_index_that_begins_anew_while_it_is_fed_forgets_nothing() {
    let (states, written) = past();
    let last = states.last().expect("some").tx_id().seqno;
    let files = Arc::new(Files::default());
    let index = Arc::new(SeqnosByKeyBucketed::new(RECORDS, BUCKETS, Arc::clone(&files) as _));
    let (half, rest) = states.split_at(states.len() / 2);
    feed(&index, half);
    let asking = Arc::clone(&index);
    let losing = Arc::clone(&files);
    *files.on_store.lock() = Some(Box::new(move || {
        losing.content.lock().clear();
        assert_eq!(ask(&asking, 0, SeqNo(1), SeqNo(20)), None);
    }));
    feed(&index, rest);
    assert!(files.on_store.lock().is_none(), "nothing was stored");
    assert!(index.next_requested().is_some_and(|next| next <= SeqNo(2)), "{:?}", index.next_requested());
    feed(&index, &states);
    must_answer(&index, &written, last);
    // And one that comes after the index has begun anew is not taken for the next.
    let index = SeqnosByKeyBucketed::new(RECORDS, BUCKETS, files as _);
    index.handle_committed(&states[40]);
    assert_eq!(index.next_requested(), Some(SeqNo(1)));
}
