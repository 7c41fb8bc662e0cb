//! Ledger files as an attacker or a bad disk leaves them: every file cut, flipped, exchanged for another one of the same
//! ledger or for that of another service which even has the same ledger secret. Opening, replaying, recovering and
//! reading the past never panic, never give what the service has not signed, and name the file.

use crate::{
    historical::fetcher,
    replay::{Flat, flatten, replay, service},
    service::TestService,
};
use ccf_kv::Store;
use ccf_ledger::files::{ChunkPath, LedgerReader, LedgerWriter, list_chunks};
use ccf_types::SeqNo;
use std::{fs, path::Path};

/// What is done to the bytes of a file.
fn harms(good: &[u8], others: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let mut harms: Vec<(String, Vec<u8>)> = Vec::new();
    let len = good.len();
    for at in (0..8).step_by(2).chain((8..len).step_by(len / 4)).chain(len - 5..len) {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        harms.push((format!("byte {at} flipped"), bad));
    }
    for cut in [0, 7, 8, 60, len / 2, len - 4, len - 1] {
        harms.push((format!("cut to {cut}"), good[..cut].to_vec()));
    }
    let mut longer = good.to_vec();
    longer.extend([0; 13]);
    harms.push(("longer".to_owned(), longer));
    for (number, other) in others.iter().enumerate().filter(|(_, other)| other.as_slice() != good) {
        harms.push((format!("exchanged for {number}"), other.clone()));
    }
    harms
}

fn committed(directory: &Path) -> Vec<ChunkPath> {
    let chunks = list_chunks(directory).expect("listed");
    chunks.into_iter().filter(|chunk| chunk.name.committed).collect()
}

/// Nothing vouches yet for what the last signature itself wrote.
fn vouched(store: &Store) -> Flat {
    let mut maps = flatten(&store.state(), true);
    maps.retain(|map| !map.0.starts_with("public:ccf.internal."));
    maps
}

#[test]
fn bad_files_are_named_and_nothing_unsigned_is_given_out() {
    let (folder, foreign_folder) =
        (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let original = service(folder.path());
    // The same shape, other keys; test services share their ledger secret.
    drop(service(foreign_folder.path()).writer);
    let secrets = original.secrets();
    let chunks = committed(folder.path());
    let files: Vec<Vec<u8>> = chunks.iter().map(|chunk| fs::read(&chunk.path).expect("read")).collect();
    let foreign = committed(foreign_folder.path()).into_iter().map(|it| fs::read(it.path).expect("read"));
    let foreign: Vec<Vec<u8>> = foreign.collect();
    let others: Vec<Vec<u8>> = files.iter().chain(&foreign).cloned().collect();
    let signed: SeqNo = chunks.iter().filter_map(|chunk| chunk.name.end).max().expect("chunks");
    let reference: Vec<Flat> = (0..=signed.0)
        .map(|to| vouched(&replay(&LedgerReader::new(folder.path(), &[]), Some(&secrets), Some(to)).0))
        .collect();

    let (mut named, mut unnoticed) = (0, Vec::new());
    for (chunk, good) in chunks.iter().zip(&files) {
        let name = chunk.name.to_string();
        for (harm, bad) in harms(good, &others) {
            let what = format!("{name} {harm}");
            let directory = copy_of(folder.path());
            fs::write(directory.path().join(&name), &bad).expect("written");
            let opened = LedgerWriter::open(directory.path(), &[], &mut Vec::new());
            let Ok(mut writer) = opened.inspect_err(|error| {
                assert!(error.to_string().contains(&name), "{what}: {error}");
            }) else {
                named += 1;
                continue;
            };
            nothing_foreign_is_fetched(&original, &writer, signed, &what);
            let (store, outcome) = replay(&writer.reader(), Some(&secrets), None);
            let last = outcome.state.last.seqno;
            let expected = reference.get(usize::try_from(last.0).expect("small"));
            // What replaces the beginning is the beginning of another service, and right as such.
            let other_service = chunk.name.start == SeqNo(1) && foreign.contains(&bad);
            assert!(other_service || Some(&vouched(&store)) == expected, "{what}: the state at {last}");
            if last >= signed {
                unnoticed.push(harm);
                continue;
            }
            // Committed files are never cut to go on without them.
            let error = writer.recover(last).expect_err(&what).to_string();
            let told = outcome.stopped.map(|stopped| stopped.to_string()).unwrap_or_default();
            let is_named = error.contains(&name) || told.contains(&name);
            assert!(is_named || other_service && error.contains(".committed"), "{what}: {error}; {told}");
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
    // Only flips can be without effect: in what only says where entries are, of a file that is read from its beginning.
    assert!(unnoticed.iter().all(|harm| harm.contains("flipped")), "{unnoticed:?}");
}

/// Whatever can be fetched has a receipt that holds for the original service.
fn nothing_foreign_is_fetched(original: &TestService, writer: &LedgerWriter, signed: SeqNo, what: &str) {
    let fetcher = fetcher(original, writer.reader(), original.secrets(), &[1, 1]);
    let mut from = 1;
    while from <= signed.0 {
        let to = (from + 4).min(signed.0);
        // What was given before an error counts too.
        let _ = fetcher.fetch(SeqNo(from), SeqNo(to), &mut |(state, _)| {
            let receipt = state.receipt().json().expect("signed");
            receipt.verify(&original.certificate, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        });
        from = to + 1;
    }
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("folder");
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    copy
}
