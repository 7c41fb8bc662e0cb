//! The beginning of a chunk file as a chunk: byte for byte what a file with these entries alone would be.

use ccf_ledger::{
    entry::Flags,
    files::{ChunkPrefix, LedgerReader, LedgerWriter},
    secrets::LedgerSecret,
};
use ccf_types::SeqNo;
use std::{fs, path::Path};

use crate::support::{secret, small_entry};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn entry(secret: &LedgerSecret, seqno: u64, flags: Flags) -> Vec<u8> {
    let value = vec![7; usize::try_from(seqno * 13 % 40).expect("small")];
    small_entry(secret, seqno, flags, &value).bytes
}

fn open(directory: &Path) -> LedgerWriter {
    LedgerWriter::open(directory, &[], &mut Vec::new()).expect("opens")
}

/// A chunk file by the specification (section 12.2).
fn chunk_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut table) = (Vec::<u8>::new(), Vec::<u8>::new());
    for entry in entries {
        table.extend(u32::try_from(8 + body.len()).expect("small").to_le_bytes());
        body.extend(entry);
    }
    let mut chunk = (8 + body.len() as u64).to_le_bytes().to_vec();
    chunk.extend(body);
    chunk.extend(table);
    chunk
}

fn whole(prefix: &ChunkPrefix) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(prefix.bytes()).expect("small")];
    prefix.read_exact_at(&mut bytes, 0).expect("read");
    bytes
}

#[test]
fn every_prefix_and_every_part_of_one() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    let entries: Vec<_> = (1..=3).map(|seqno| entry(&secret, seqno, Flags::NONE)).collect();
    for bytes in &entries {
        writer.append(bytes, false).expect("appends");
    }
    writer.flush().expect("flushes");
    let reader = writer.reader();
    let prefix = |from, to| reader.prefix(SeqNo(from), SeqNo(to)).expect("looked up");
    for to in 1..=3 {
        let prefix = prefix(1, to).expect("there");
        let expected = chunk_of(&entries[..usize::try_from(to).expect("small")]);
        assert_eq!(prefix.bytes(), expected.len() as u64);
        assert_eq!(whole(&prefix), expected);
        for at in 0..=expected.len() {
            for end in at..=expected.len() {
                let mut part = vec![0; end - at];
                prefix.read_exact_at(&mut part, at as u64).expect("read");
                assert_eq!(part, expected[at..end], "{at}..{end}");
            }
        }
        assert!(prefix.read_exact_at(&mut [0; 2], prefix.bytes() - 1).is_err());
        assert!(prefix.read_exact_at(&mut [0; 2], u64::MAX).is_err());
    }
    for (from, to) in [(1, 4), (2, 3), (2, 1), (1, 0), (0, 2), (1, u64::MAX), (9, 10)] {
        assert!(prefix(from, to).is_none(), "{from}..{to}");
    }
}

/// What was begun to be sent goes on when its file is completed, renamed and even deleted; and a complete file has prefixes too.
#[test]
fn a_prefix_outlives_the_name_of_its_file() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    let mut entries: Vec<_> = (1..=2).map(|seqno| entry(&secret, seqno, Flags::NONE)).collect();
    for bytes in &entries {
        writer.append(bytes, false).expect("appends");
    }
    writer.flush().expect("flushes");
    let begun = writer.reader().prefix(SeqNo(1), SeqNo(2)).expect("looked up").expect("there");
    entries.push(entry(&secret, 3, Flags::CHUNK_AFTER));
    writer.append(&entries[2], true).expect("appends");
    writer.commit(SeqNo(3)).expect("commits");
    let committed = directory.path().join("ledger_1-3.committed");
    for reader in [writer.reader(), LedgerReader::new(directory.path(), &[])] {
        for to in 1..=3 {
            let prefix = reader.prefix(SeqNo(1), SeqNo(to)).expect("looked up").expect("there");
            assert_eq!(whole(&prefix), chunk_of(&entries[..usize::try_from(to).expect("small")]));
            assert_eq!(prefix.path(), committed);
        }
        assert!(reader.prefix(SeqNo(1), SeqNo(4)).expect("looked up").is_none());
        assert!(reader.prefix(SeqNo(2), SeqNo(3)).expect("looked up").is_none());
    }
    fs::remove_file(&committed).expect("deleted");
    assert_eq!(whole(&begun), chunk_of(&entries[..2]));
}
