//! Chunk files: the bytes of the specification, crashes at every byte, and every operation against a model.

use ccf_ledger::{
    entry::Flags,
    files::{
        Block, ChunkName, ChunkPath, ChunkReader, EntryRange, FileError, LedgerReader, LedgerWriter, Notice,
        list_chunks, list_chunks_of_any_state, require_fresh,
    },
    secrets::LedgerSecret,
};
use ccf_types::SeqNo;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Golden, hex, secret, small_entry};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// An entry, and whether it is a signature.
type Item = (Vec<u8>, bool);

fn entry(secret: &LedgerSecret, seqno: u64, flags: Flags, salt: u8) -> Item {
    let value = vec![salt; usize::from(salt) % 40];
    (small_entry(secret, seqno, flags, &value).bytes, flags.contains(Flags::CHUNK_AFTER))
}

fn open(directory: &Path) -> LedgerWriter {
    LedgerWriter::open(directory, &[], &mut Vec::new()).expect("opens")
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("readable")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

/// Name and bytes of every file.
fn image(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    names(directory)
        .into_iter()
        .map(|name| (name.clone(), fs::read(directory.join(name)).expect("readable")))
        .collect()
}

fn read_all(directory: &Path) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut block = Block::default();
    for chunk in list_chunks_of_any_state(directory).expect("listed") {
        let mut reader = ChunkReader::open(&chunk).expect("opens");
        while reader.next_block(&mut block).expect("well formed") {
            entries.extend(block.entries().map(|(_, _, bytes)| bytes.to_vec()));
        }
    }
    entries
}

fn append_all(writer: &mut LedgerWriter, items: &[Item]) {
    for (bytes, committable) in items {
        writer.append(bytes, *committable).expect("appends");
    }
}

/// V15: real chunk files, their tables and flags.
#[test]
fn v15_real_chunks_read_as_specified() {
    let golden = Golden::unpack("acme_containing_service");
    let bytes = fs::read(golden.ledger().join("ledger_3-13.committed")).expect("there");
    assert_eq!(bytes.len(), 23932);
    assert_eq!(hex::encode(&bytes[..8]), "505d000000000000");
    let table = [8u32, 6208, 8248, 14452, 16488, 16843, 18915, 19976, 20331, 21392, 21747];
    let path = golden.ledger().join("ledger_3-13.committed");
    let name = ChunkName::committed(SeqNo(3), SeqNo(13), false);
    let mut reader = ChunkReader::open(&ChunkPath { name, path }).expect("opens");
    assert!(reader.is_complete());
    let mut block = Block::default();
    assert!(reader.next_block(&mut block).expect("well formed"));
    let offsets: Vec<_> =
        block.entries().map(|(_, offset, _)| u32::try_from(offset).expect("small")).collect();
    assert_eq!(offsets, table);
    reader.check_table(&offsets).expect("its own table");
    assert!(reader.check_table(&offsets[1..]).is_err());
    assert!(!reader.next_block(&mut block).expect("the end"));
    assert_eq!(bytes[21747..21749], hex("0101"));
}

/// Real entries, written again, give the files they came from, to the byte.
#[test]
fn rewriting_a_real_ledger_reproduces_its_files() {
    let golden = Golden::unpack("acme_containing_service");
    let target = tempfile::tempdir().expect("temporary");
    let mut writer = open(target.path());
    let committed = SeqNo(20);
    for bytes in read_all(&golden.ledger()) {
        let flags = bytes[1];
        writer.append(&bytes, flags == 1).expect("appends");
    }
    writer.flush().expect("flushes");
    writer.commit(committed).expect("commits");
    assert_eq!((writer.last(), writer.committed()), (SeqNo(22), committed));
    assert_eq!(image(target.path()), image(&golden.ledger()));
}

/// Flags of the last signature (6) and of the entry behind it (7) turn out to be others, whatever is committed: the
/// files become those of a node that never saw the wrong ones.
#[test]
fn files_are_mended_when_flags_turn_out_to_be_wrong() {
    let secret = secret(KEY, 1);
    let items = |of_signature: Flags, behind: Flags| -> Vec<Item> {
        let flags = |seqno| match seqno {
            3 | 9 => Flags::CHUNK_AFTER,
            6 => of_signature,
            7 => behind,
            _ => Flags::NONE,
        };
        (1..=9).map(|n| (entry(&secret, n, flags(n), 20 + n as u8).0, n % 3 == 0)).collect()
    };
    let all: Vec<Vec<Item>> = [Flags::NONE, Flags::CHUNK_AFTER]
        .into_iter()
        .flat_map(|one| [Flags::NONE, Flags::CHUNK_BEFORE].map(|other| items(one, other)))
        .collect();
    for (wrong, right) in all.iter().flat_map(|wrong| all.iter().map(move |right| (wrong, right))) {
        for committed in [0, 3, 6] {
            let [first, second] = [(); 2].map(|()| tempfile::tempdir().expect("temporary"));
            let [mut mended, mut expected] = [&first, &second].map(|directory| open(directory.path()));
            for (writer, items) in [(&mut mended, wrong), (&mut expected, right)] {
                append_all(writer, &items[..8]);
                writer.flush().expect("flushes");
                writer.commit(SeqNo(committed)).expect("commits");
            }
            mended.rewrite(SeqNo(3), &right[3..8]).expect("mends");
            assert_eq!((mended.last(), mended.committed()), (SeqNo(8), SeqNo(committed)));
            assert_eq!(image(first.path()), image(second.path()));
            for writer in [&mut mended, &mut expected] {
                append_all(writer, &right[8..]);
                writer.commit(SeqNo(9)).expect("commits");
            }
            assert_eq!(image(first.path()), image(second.path()));
            let read =
                mended.reader().read_range(SeqNo(1), SeqNo(9), usize::MAX).expect("read").expect("there");
            assert_eq!(read.bytes.clone(), right.iter().flat_map(|item| item.0.clone()).collect::<Vec<_>>());
        }
    }
}

/// A process that dies anywhere in the mending, and again anywhere in what the next one does about it: the ledger holds every entry, in
/// its old or its new form, what was committed is committed, and it can be mended again.
#[test]
fn a_crash_in_the_middle_of_mending_loses_nothing() {
    let secret = secret(KEY, 1);
    let items = |ends: &[u64], begins: &[u64]| -> Vec<Item> {
        let flags = |seqno| match () {
            () if ends.contains(&seqno) => Flags::CHUNK_AFTER,
            () if begins.contains(&seqno) => Flags::CHUNK_BEFORE,
            () => Flags::NONE,
        };
        (1..=8).map(|n| (entry(&secret, n, flags(n), 20 + n as u8).0, n % 3 == 0)).collect()
    };
    let shapes = [
        items(&[3], &[]),
        items(&[3, 6], &[]),
        items(&[3], &[6, 7]),
        items(&[3], &[7]),
        // The file goes on where the mending begins.
        items(&[], &[]),
    ];
    let interrupted = || FileError::Gone(SeqNo(99));
    let after_steps = |mut left: usize| {
        move || {
            left = left.checked_sub(1).ok_or_else(interrupted)?;
            Ok(())
        }
    };
    let mut crashes = 0;
    for (wrong, right) in shapes.iter().flat_map(|wrong| shapes.iter().map(move |right| (wrong, right))) {
        for committed in [0, 6] {
            for steps in 0.. {
                let directory = tempfile::tempdir().expect("temporary");
                let mut writer = open(directory.path());
                append_all(&mut writer, wrong);
                writer.flush().expect("flushes");
                writer.commit(SeqNo(committed)).expect("commits");
                let ended =
                    writer.rewrite_interruptibly(SeqNo(3), &right[3..8], &mut after_steps(steps)).is_ok();
                drop(writer);
                crashes += usize::from(!ended);
                let whole = |directory: &Path| {
                    let found = read_all(directory);
                    assert_eq!(found.len(), 8, "{steps} {:?}", names(directory));
                    for (index, found) in found.iter().enumerate() {
                        assert!([wrong, right].iter().any(|items| items[index].0 == *found), "{index}");
                    }
                    found
                };
                // Also before anybody opens it.
                whole(directory.path());
                let mut writer = open(directory.path());
                let found = whole(directory.path());
                assert_eq!(writer.last(), SeqNo(8));
                if ended {
                    assert!(found.iter().skip(3).eq(right[3..].iter().map(|item| &item.0)));
                }
                let read = writer.reader().read_range(SeqNo(1), SeqNo(8), usize::MAX).expect("read");
                assert_eq!(read.expect("there").bytes.clone(), found.concat());
                // Once more, and to the end.
                writer.rewrite(SeqNo(3), &right[3..8]).expect("mends");
                assert!(whole(directory.path())[3..].iter().eq(right[3..].iter().map(|item| &item.0)));
                let only_files = fs::read_dir(directory.path()).expect("readable").flatten();
                assert!(only_files.map(|entry| entry.path()).all(|path| path.is_file()));
                if ended {
                    break;
                }
            }
        }
    }
    assert!(crashes > 250, "{crashes}");
}

/// Kill at every byte of an append or of a completion: what is there afterwards is all whole entries, or the complete
/// file, and never an error.
#[test]
fn a_crash_at_any_byte_is_survived() {
    let secret = secret(KEY, 1);
    let items: Vec<_> = (1..=3)
        .map(|n| entry(&secret, n, if n == 3 { Flags::CHUNK_AFTER } else { Flags::NONE }, 20 + n as u8))
        .collect();
    let whole = tempfile::tempdir().expect("temporary");
    append_all(&mut open(whole.path()), &items);
    let complete = fs::read(whole.path().join("ledger_1")).expect("there");
    let table_at = complete.len() - 12;
    let mut states: Vec<Vec<u8>> = (0..=complete.len())
        .map(|len| {
            // Entries and table are written with T = 0.
            let mut bytes = complete[..len].to_vec();
            bytes.iter_mut().take(8).for_each(|byte| *byte = 0);
            bytes
        })
        .collect();
    for written in 0..8 {
        let mut bytes = complete.clone();
        bytes[written..8].fill(0);
        states.push(bytes);
    }
    for state in &states {
        let directory = tempfile::tempdir().expect("temporary");
        fs::write(directory.path().join("ledger_1"), state).expect("written");
        let mut writer = open(directory.path());
        let ends = [0, 8 + items[0].0.len(), 8 + items[0].0.len() + items[1].0.len(), table_at];
        let expected = ends.iter().filter(|end| **end > 8 && **end <= state.len()).count();
        assert_eq!(writer.last(), SeqNo(expected as u64), "{} bytes", state.len());
        // Going on from there gives the same file again.
        append_all(&mut writer, &items[expected..]);
        if expected < 3 {
            assert_eq!(image(directory.path())["ledger_1"], complete);
        }
    }
    let directory = tempfile::tempdir().expect("temporary");
    fs::write(directory.path().join("ledger_1"), &complete).expect("written");
    let mut writer = open(directory.path());
    writer.commit(SeqNo(3)).expect("commits");
    assert_eq!(names(directory.path()), ["ledger_1-3.committed"]);
}

#[test]
fn opening_sets_aside_what_must_not_be_read() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let path = |name: &str| directory.path().join(name);
    let mut writer = open(directory.path());
    append_all(&mut writer, &[entry(&secret, 1, Flags::NONE, 1), entry(&secret, 2, Flags::CHUNK_AFTER, 2)]);
    writer.commit(SeqNo(2)).expect("commits");
    append_all(&mut writer, &[entry(&secret, 3, Flags::NONE, 3)]);
    writer.flush().expect("flushes");
    drop(writer);
    fs::copy(path("ledger_3"), path("ledger_3.recovery")).expect("copied");
    fs::copy(path("ledger_1-2.committed"), path("ledger_1-2")).expect("copied");
    fs::write(path("ledger_4-x"), b"?").expect("written");
    fs::write(path("ledger_4"), [0; 8]).expect("written");
    fs::write(path("notes.txt"), b"mine").expect("written");
    fs::write(path("ledger_1-2.committed_prefix"), b"mine").expect("written");
    let mut notices = Vec::new();
    let writer = LedgerWriter::open(directory.path(), &[], &mut notices).expect("opens");
    assert_eq!((writer.last(), writer.committed()), (SeqNo(3), SeqNo(2)));
    assert_eq!(
        names(directory.path()),
        [
            "ledger_1-2.committed",
            "ledger_1-2.committed_prefix",
            "ledger_1-2.ignored",
            "ledger_3",
            "ledger_3.recovery.ignored",
            "ledger_4-x.ignored",
            "notes.txt"
        ]
    );
    assert_eq!(notices.len(), 4);
    assert!(notices.contains(&Notice::DeletedEmpty(path("ledger_4"))));
}

#[test]
fn read_only_directories_count_and_must_exist() {
    let secret = secret(KEY, 1);
    let (old, new) = (tempfile::tempdir().expect("temporary"), tempfile::tempdir().expect("temporary"));
    let items = [entry(&secret, 1, Flags::NONE, 1), entry(&secret, 2, Flags::CHUNK_AFTER, 2)];
    let mut writer = open(old.path());
    append_all(&mut writer, &items);
    writer.commit(SeqNo(2)).expect("commits");
    let read_only = [old.path().to_owned()];
    let mut writer = LedgerWriter::open(new.path(), &read_only, &mut Vec::new()).expect("opens");
    assert_eq!((writer.last(), writer.committed()), (SeqNo(2), SeqNo(2)));
    let third = entry(&secret, 3, Flags::NONE, 3);
    append_all(&mut writer, std::slice::from_ref(&third));
    let range = read(&mut writer, SeqNo(1), SeqNo(9), 1 << 20).expect("reads").expect("there");
    let all: Vec<_> = items.iter().chain([&third]).map(|item| item.0.as_slice()).collect();
    assert_eq!(range.entries().map(|(_, bytes)| bytes).collect::<Vec<_>>(), all);
    assert_eq!((range.from, range.to()), (SeqNo(1), SeqNo(3)));

    let missing = [PathBuf::from("/nonexistent/ledger")];
    assert!(matches!(LedgerWriter::open(new.path(), &missing, &mut Vec::new()), Err(FileError::Io { .. })));
    let empty = tempfile::tempdir().expect("temporary");
    require_fresh(empty.path(), &[]).expect("empty");
    require_fresh(&empty.path().join("absent"), &[empty.path().to_owned()]).expect("absent");
    assert!(matches!(require_fresh(new.path(), &[]), Err(FileError::NotEmpty(_))));
    assert!(matches!(require_fresh(empty.path(), &read_only), Err(FileError::NotEmpty(_))));
}

#[test]
fn misuse_is_refused_and_stops_the_writer() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    let (bytes, _) = entry(&secret, 1, Flags::CHUNK_AFTER, 1);
    assert!(matches!(writer.append(&bytes, false), Err(FileError::ChunkEnd(SeqNo(1)))));
    assert!(matches!(writer.append(&bytes, true), Err(FileError::Poisoned)));
    let mut writer = open(directory.path());
    assert!(matches!(writer.append(&bytes[1..], true), Err(FileError::BadEntry { .. })));
    let mut writer = open(directory.path());
    fs::write(directory.path().join("ledger_1"), b"").expect("written");
    assert!(matches!(writer.append(&bytes, true), Err(FileError::Exists(_))));
    fs::remove_dir_all(directory.path()).expect("removed");
    assert!(matches!(writer.flush(), Err(FileError::Poisoned)));
}

/// A recovered service: flag `before`, names with `.recovery`, which vanish when the service opens.
#[test]
fn recovery_files_get_their_names_when_the_service_opens() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    append_all(&mut writer, &[entry(&secret, 1, Flags::CHUNK_AFTER, 1), entry(&secret, 2, Flags::NONE, 2)]);
    append_all(&mut writer, &[entry(&secret, 3, Flags::NONE, 3)]);
    writer.truncate(SeqNo(2)).expect("truncates");
    writer.begin_recovery(SeqNo(2));
    append_all(
        &mut writer,
        &[entry(&secret, 3, Flags::CHUNK_BEFORE, 4), entry(&secret, 4, Flags::CHUNK_AFTER, 5)],
    );
    assert_eq!(names(directory.path()), ["ledger_1", "ledger_2", "ledger_3.recovery"]);
    writer.commit(SeqNo(4)).expect("commits");
    append_all(&mut writer, &[entry(&secret, 5, Flags::NONE, 6)]);
    assert_eq!(
        names(directory.path()),
        [
            "ledger_1-1.committed",
            "ledger_2-2.committed",
            "ledger_3-4.committed.recovery",
            "ledger_5.recovery"
        ]
    );
    let range = read(&mut writer, SeqNo(1), SeqNo(5), 1 << 20).expect("reads").expect("there");
    assert_eq!(range.to(), SeqNo(5));
    writer.finish_recovery().expect("renames");
    assert_eq!(
        names(directory.path()),
        ["ledger_1-1.committed", "ledger_2-2.committed", "ledger_3-4.committed", "ledger_5"]
    );
    append_all(&mut writer, &[entry(&secret, 6, Flags::CHUNK_AFTER, 7)]);
    writer.commit(SeqNo(6)).expect("commits");
    assert!(names(directory.path()).contains(&"ledger_5-6.committed".to_owned()));
    assert_eq!(read_all(directory.path()).len(), 6);
}

/// Twelve entries in chunks of three, the last two not signed.
fn chunks_of_three(secret: &LedgerSecret) -> Vec<Item> {
    (1..=11)
        .map(|n| entry(secret, n, if n % 3 == 0 { Flags::CHUNK_AFTER } else { Flags::NONE }, n as u8))
        .collect()
}

#[test]
fn replay_of_the_same_entries_changes_nothing() {
    let secret = secret(KEY, 1);
    let items = chunks_of_three(&secret);
    for from in [0, 3, 6] {
        let directory = tempfile::tempdir().expect("temporary");
        let mut writer = open(directory.path());
        append_all(&mut writer, &items);
        writer.commit(SeqNo(9)).expect("commits");
        writer.flush().expect("flushes");
        let before = image(directory.path());
        drop(writer);
        let mut writer = open(directory.path());
        writer.init(SeqNo(from), None).expect("begins");
        assert_eq!((writer.last(), writer.committed()), (SeqNo(from), SeqNo(from)));
        append_all(&mut writer, &items[from as usize..]);
        writer.flush().expect("flushes");
        writer.commit(SeqNo(9)).expect("commits");
        assert_eq!(image(directory.path()), before, "from {from}");
    }
}

#[test]
fn replay_that_diverges_continues_with_the_new_entries() {
    let secret = secret(KEY, 1);
    let items = chunks_of_three(&secret);
    for at in 1..=11u64 {
        let directory = tempfile::tempdir().expect("temporary");
        let mut writer = open(directory.path());
        append_all(&mut writer, &items);
        writer.commit(SeqNo(9)).expect("commits");
        drop(writer);
        let before = read_all(directory.path());
        let mut other = items.clone();
        for n in at..=11 {
            let flags = if n % 3 == 0 { Flags::CHUNK_AFTER } else { Flags::NONE };
            other[n as usize - 1] = entry(&secret, n, flags, 100 + n as u8);
        }
        let mut writer = open(directory.path());
        writer.init(SeqNo(0), None).expect("begins");
        append_all(&mut writer, &other[..at as usize]);
        writer.flush().expect("flushes");
        let kept = read_all(directory.path());
        assert_eq!(
            kept,
            other[..at as usize].iter().map(|item| item.0.clone()).collect::<Vec<_>>(),
            "at {at}"
        );
        append_all(&mut writer, &other[at as usize..]);
        writer.flush().expect("flushes");
        writer.commit(SeqNo(9)).expect("commits");
        let fresh = tempfile::tempdir().expect("temporary");
        let mut expected = open(fresh.path());
        append_all(&mut expected, &other);
        expected.flush().expect("flushes");
        expected.commit(SeqNo(9)).expect("commits");
        // The other history may be somebody's only copy: nothing of it is deleted.
        let (mut now, mut aside) = (image(directory.path()), BTreeMap::new());
        now.retain(|name, bytes| match name.strip_suffix(".ignored") {
            Some(name) => aside.insert(name.to_owned(), bytes.clone()).is_some(),
            None => true,
        });
        assert_eq!(now, image(fresh.path()), "at {at}");
        let kept = tempfile::tempdir().expect("temporary");
        for (name, bytes) in aside {
            fs::write(kept.path().join(name), bytes).expect("written");
        }
        let kept = read_all(kept.path());
        let different = (before.len() + 1).saturating_sub(at as usize);
        assert!(before.ends_with(&kept) && kept.len() >= different, "at {at}: {}", kept.len());
        let told = writer.take_notices();
        assert!(told.iter().all(|it| matches!(it, Notice::SetAside { .. })), "{told:?}");
        assert_eq!(told.is_empty(), different == 0, "at {at}");
        assert!(writer.take_notices().is_empty());
    }
}

/// Files of a fork that go over the snapshot a node begins with would stand beside what is written next.
#[test]
fn a_committed_file_over_the_beginning_is_set_aside() {
    let secret = secret(KEY, 1);
    let items = chunks_of_three(&secret);
    let fork: Vec<Item> = (1..=10)
        .map(|n| entry(&secret, n, if n % 5 == 0 { Flags::CHUNK_AFTER } else { Flags::NONE }, 50 + n as u8))
        .collect();
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    append_all(&mut writer, &fork);
    writer.commit(SeqNo(10)).expect("commits");
    let before = image(directory.path());
    assert_eq!(names(directory.path()), ["ledger_1-5.committed", "ledger_6-10.committed"]);
    drop(writer);
    let mut writer = open(directory.path());
    writer.init(SeqNo(9), None).expect("begins");
    let told = writer.take_notices();
    assert!(
        matches!(told.as_slice(), [Notice::SetAside { path, .. }] if path.ends_with("ledger_6-10.committed.ignored"))
    );
    append_all(&mut writer, &items[9..]);
    writer.flush().expect("flushes");
    let range = read(&mut writer, SeqNo(10), SeqNo(11), 1 << 20).expect("reads").expect("there");
    assert_eq!(
        range.entries().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>(),
        [&items[9].0[..], &items[10].0[..]]
    );
    let kept = fs::read(directory.path().join("ledger_6-10.committed.ignored")).expect("kept");
    assert_eq!(Some(&kept), before.get("ledger_6-10.committed"));
}

/// What was set aside before is not overwritten by what is set aside now.
#[test]
fn files_are_set_aside_under_names_of_their_own() {
    let directory = tempfile::tempdir().expect("temporary");
    for content in ["one", "two", "three"] {
        fs::write(directory.path().join("ledger_5.recovery"), content).expect("written");
        drop(open(directory.path()));
    }
    let contents: Vec<Vec<u8>> = image(directory.path()).into_values().collect();
    assert_eq!(contents.len(), 3);
    for content in ["one", "two", "three"] {
        assert!(contents.contains(&content.as_bytes().to_vec()), "{content}");
    }
}

/// A joiner with a snapshot beyond what its disk holds: the gap stays, nothing on disk is reused.
#[test]
fn a_snapshot_beyond_the_ledger_leaves_a_gap() {
    let secret = secret(KEY, 1);
    let items = chunks_of_three(&secret);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    append_all(&mut writer, &items[..5]);
    writer.flush().expect("flushes");
    drop(writer);
    let mut writer = open(directory.path());
    writer.init(SeqNo(9), None).expect("begins");
    append_all(&mut writer, &items[9..]);
    writer.flush().expect("flushes");
    assert_eq!(names(directory.path()), ["ledger_1", "ledger_10", "ledger_4"]);
    let range = read(&mut writer, SeqNo(10), SeqNo(11), 1 << 20).expect("reads").expect("there");
    assert_eq!(range.to(), SeqNo(11));
}

fn read(
    writer: &mut LedgerWriter,
    from: SeqNo,
    to: SeqNo,
    bytes_max: usize,
) -> Result<Option<EntryRange>, FileError> {
    writer.flush()?;
    writer.reader().read_range(from, to, bytes_max)
}

/// What reads have in view while entries arrive that are on disk already: not what was not compared yet.
#[test]
fn readers_see_only_what_a_replay_has_reached() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let items: Vec<_> = (1..=6).map(|seqno| entry(&secret, seqno, Flags::NONE, 1)).collect();
    let mut writer = open(directory.path());
    append_all(&mut writer, &items);
    writer.flush().expect("flushes");
    let reader = writer.reader();
    let last = |reader: &LedgerReader| {
        reader.read_range(SeqNo(1), SeqNo(99), usize::MAX).expect("reads").map_or(0, |range| range.to().0)
    };
    assert_eq!(last(&reader), 6);
    writer.init(SeqNo::NONE, None).expect("begins");
    assert_eq!(last(&reader), 0);
    append_all(&mut writer, &items[..3]);
    assert_eq!(last(&reader), 3);
    let other = entry(&secret, 4, Flags::NONE, 9);
    append_all(&mut writer, std::slice::from_ref(&other));
    writer.flush().expect("flushes");
    assert_eq!(last(&reader), 4);
    let range = reader.read_range(SeqNo(4), SeqNo(4), usize::MAX).expect("reads").expect("there");
    assert_eq!(range.bytes, other.0);
}

/// Chunks that appear in or vanish from a read-only directory while the node runs.
#[test]
fn read_only_directories_are_looked_at_again_when_they_change() {
    let secret = secret(KEY, 1);
    let (copies, main) = (tempfile::tempdir().expect("temporary"), tempfile::tempdir().expect("temporary"));
    let made = tempfile::tempdir().expect("temporary");
    let mut writer = open(made.path());
    for seqno in 1..=2 {
        append_all(&mut writer, &[entry(&secret, seqno, Flags::CHUNK_AFTER, 1)]);
        writer.commit(SeqNo(seqno)).expect("commits");
    }
    let reader = LedgerReader::new(main.path(), &[copies.path().to_owned()]);
    let has = |seqno| reader.read_range(SeqNo(seqno), SeqNo(seqno), usize::MAX).expect("reads").is_some();
    let copy = |name: &str| fs::copy(made.path().join(name), copies.path().join(name)).expect("copied");
    assert!(!has(1));
    copy("ledger_1-1.committed");
    std::thread::sleep(std::time::Duration::from_millis(20)); // the clock of file times
    assert!(has(1) && !has(2));
    copy("ledger_2-2.committed");
    assert!(has(2));
    fs::remove_file(copies.path().join("ledger_2-2.committed")).expect("deleted");
    assert!(has(2), "an open file can still be read");
}

/// A file whose middle was altered, or which is another's: what is whole stays, the rest is kept aside and told.
#[test]
fn what_is_no_entry_of_its_place_is_kept_aside() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let items: Vec<_> = (1..=4).map(|seqno| entry(&secret, seqno, Flags::NONE, 1)).collect();
    append_all(&mut open(directory.path()), &items);
    let path = directory.path().join("ledger_1");
    let good: Vec<u8> = std::iter::once([0; 8].as_slice())
        .chain(items.iter().map(|item| item.0.as_slice()))
        .flatten()
        .copied()
        .collect();
    let third = 8 + items[0].0.len() + items[1].0.len();
    // The version, the flags, the size beyond anything, the seqno of the third entry.
    for at in [third, third + 1, third + 7, third + 24] {
        let mut bad = good.clone();
        bad[at] ^= 0xf0;
        fs::write(&path, &bad).expect("written");
        let mut notices = Vec::new();
        let writer = LedgerWriter::open(directory.path(), &[], &mut notices).expect("opens");
        assert_eq!(writer.last(), SeqNo(2), "{at}");
        drop(writer);
        let kept = directory.path().join(format!("ledger_1.{third}.ignored"));
        assert_eq!(fs::read(&kept).expect("kept"), bad[third..]);
        let [Notice::Cut { after, offset, kept: Some(told), .. }] = notices.as_slice() else {
            panic!("{notices:?}")
        };
        assert_eq!((*after, *offset, told), (SeqNo(2), third as u64, &kept));
        assert!(notices[0].to_string().contains(&format!("offset {third}")));
        fs::remove_file(kept).expect("deleted");
    }
    // A torn write is only cut.
    fs::write(&path, &good[..good.len() - 5]).expect("written");
    let mut notices = Vec::new();
    let writer = LedgerWriter::open(directory.path(), &[], &mut notices).expect("opens");
    assert_eq!(writer.last(), SeqNo(3));
    assert!(matches!(notices.as_slice(), [Notice::Cut { kept: None, .. }]), "{notices:?}");
}

/// The chunk's last entry is committed before the next one says that it was the last.
#[test]
fn a_file_that_ends_after_its_commit_gets_its_name_at_once() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    append_all(&mut writer, &[entry(&secret, 1, Flags::NONE, 1), entry(&secret, 2, Flags::NONE, 2)]);
    writer.commit(SeqNo(2)).expect("commits");
    assert_eq!(names(directory.path()), ["ledger_1"]);
    append_all(&mut writer, &[entry(&secret, 3, Flags::CHUNK_BEFORE, 3)]);
    assert_eq!(names(directory.path()), ["ledger_1-2.committed", "ledger_3"]);
    // Not yet committed: it waits.
    append_all(&mut writer, &[entry(&secret, 4, Flags::CHUNK_BEFORE, 4)]);
    assert_eq!(names(directory.path()), ["ledger_1-2.committed", "ledger_3", "ledger_4"]);
    writer.flush().expect("flushes");
    assert_eq!(read_all(directory.path()).len(), 4);
}

/// A recovery never touches committed files: one that is corrupt is named.
#[test]
fn recovery_stops_at_a_corrupt_committed_file() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    for seqno in 1..=3 {
        append_all(&mut writer, &[entry(&secret, seqno, Flags::CHUNK_AFTER, 1)]);
        writer.commit(SeqNo(seqno)).expect("commits");
    }
    append_all(&mut writer, &[entry(&secret, 4, Flags::NONE, 1)]);
    let refused = writer.recover(SeqNo(1)).expect_err("committed");
    assert!(refused.to_string().contains("ledger_2-2.committed"), "{refused}");
    writer.recover(SeqNo(3)).expect("recovers");
    append_all(&mut writer, &[entry(&secret, 4, Flags::CHUNK_BEFORE, 9)]);
    assert!(names(directory.path()).contains(&"ledger_4.recovery".to_owned()));

    // A committed file whose entries are another's.
    fs::copy(directory.path().join("ledger_2-2.committed"), directory.path().join("ledger_3-3.committed"))
        .expect("copied");
    let reader = LedgerReader::new(directory.path(), &[]);
    let before =
        reader.read_range(SeqNo(1), SeqNo(3), usize::MAX).expect("the files before it").expect("there");
    assert_eq!(before.to(), SeqNo(2));
    let result = reader.read_range(SeqNo(3), SeqNo(3), usize::MAX);
    assert!(matches!(result, Err(FileError::Misplaced { seqno: SeqNo(3), .. })), "{result:?}");
}

/// The state of a snapshot goes on although the newest files are missing (section 13.5): no file on disk is written to, and the names
/// of new ones tell what they hold.
#[test]
fn recovery_from_a_snapshot_beyond_the_files_leaves_a_gap() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    append_all(&mut writer, &[entry(&secret, 1, Flags::NONE, 1), entry(&secret, 2, Flags::CHUNK_AFTER, 2)]);
    writer.commit(SeqNo(2)).expect("commits");
    append_all(&mut writer, &[entry(&secret, 3, Flags::NONE, 3)]);
    writer.flush().expect("flushed");
    drop(writer);

    let mut writer = open(directory.path());
    let reader = writer.reader();
    writer.recover(SeqNo(20)).expect("recovers");
    assert_eq!(writer.last(), SeqNo(20));
    let added = [entry(&secret, 21, Flags::CHUNK_BEFORE, 4), entry(&secret, 22, Flags::CHUNK_AFTER, 5)];
    append_all(&mut writer, &added);
    writer.flush().expect("flushed");
    assert!(reader.read_range(SeqNo(4), SeqNo(20), usize::MAX).expect("read").is_none());
    let range = reader.read_range(SeqNo(21), SeqNo(22), usize::MAX).expect("read").expect("there");
    assert_eq!((range.from, range.to()), (SeqNo(21), SeqNo(22)));
    assert!(
        names(directory.path()).contains(&"ledger_21.recovery".to_owned()),
        "{:?}",
        names(directory.path())
    );
    writer.finish_recovery().expect("finished");
    writer.commit(SeqNo(22)).expect("commits");
    let expected = ["ledger_1-2.committed", "ledger_21-22.committed", "ledger_3-3.committed"];
    assert_eq!(names(directory.path()), expected);

    let reader = LedgerReader::new(directory.path(), &[]);
    let range = reader.read_range(SeqNo(21), SeqNo(22), usize::MAX).expect("read").expect("there");
    assert_eq!((range.from, range.to()), (SeqNo(21), SeqNo(22)));
}

/// A table whose offsets were altered never yields bytes that are no entries.
#[test]
fn an_altered_table_is_refused() {
    let secret = secret(KEY, 1);
    let directory = tempfile::tempdir().expect("temporary");
    let mut writer = open(directory.path());
    let items = [
        entry(&secret, 1, Flags::NONE, 1),
        entry(&secret, 2, Flags::NONE, 2),
        entry(&secret, 3, Flags::CHUNK_AFTER, 3),
    ];
    append_all(&mut writer, &items);
    writer.commit(SeqNo(3)).expect("commits");
    let path = directory.path().join("ledger_1-3.committed");
    let good = fs::read(&path).expect("read");
    let table = good.len() - 12;
    for at in table..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).expect("written");
        let result = LedgerReader::new(directory.path(), &[]).read_range(SeqNo(1), SeqNo(3), usize::MAX);
        assert!(result.is_err(), "{at}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append { salt: u8, signature: bool, cut: bool },
    Flush,
    Truncate(prop::sample::Index),
    Commit(prop::sample::Index),
    Reopen,
    Read(prop::sample::Index, prop::sample::Index, u16),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(salt, signature, cut)| Op::Append { salt, signature, cut }),
        1 => Just(Op::Flush),
        2 => index().prop_map(Op::Truncate),
        2 => index().prop_map(Op::Commit),
        1 => Just(Op::Reopen),
        2 => (index(), index(), 0u16..2000).prop_map(|(from, to, max)| Op::Read(from, to, max)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Against a vector of entries.
    #[test]
    fn equals_a_vector_of_entries(ops in prop::collection::vec(op(), 0..60)) {
        let secret = secret(KEY, 1);
        let directory = tempfile::tempdir().expect("temporary");
        let mut writer = open(directory.path());
        let mut reader = writer.reader();
        let mut model: Vec<Item> = Vec::new();
        let mut committed = 0usize;
        for op in ops {
            match op {
                Op::Append { salt, signature, cut } => {
                    let flags = if signature && cut { Flags::CHUNK_AFTER } else { Flags::NONE };
                    let (bytes, _) = entry(&secret, model.len() as u64 + 1, flags, salt);
                    model.push((bytes, signature));
                    let (bytes, committable) = model.last().expect("just pushed");
                    prop_assert_eq!(writer.append(bytes, *committable).expect("appends"), SeqNo(model.len() as u64));
                }
                Op::Flush => writer.flush().expect("flushes"),
                Op::Truncate(at) => {
                    let at = committed + at.index(model.len() - committed + 1);
                    writer.truncate(SeqNo(at as u64)).expect("truncates");
                    // With nothing in the ledger a truncation only says where it begins.
                    if !model.is_empty() {
                        model.truncate(at);
                    }
                }
                Op::Commit(at) => {
                    let signed: Vec<_> = (committed + 1..=model.len()).filter(|n| model[n - 1].1).collect();
                    if !signed.is_empty() {
                        committed = signed[at.index(signed.len())];
                        writer.commit(SeqNo(committed as u64)).expect("commits");
                    }
                }
                Op::Reopen => {
                    writer.flush().expect("flushes");
                    writer = open(directory.path());
                    reader = writer.reader();
                    // Only whole committed files are remembered as committed.
                    prop_assert!(writer.committed().0 <= committed as u64);
                    committed = usize::try_from(writer.committed().0).expect("small");
                }
                Op::Read(from, to, max) => {
                    let from = 1 + from.index(model.len() + 1);
                    let to = from + to.index(10);
                    let mut size = 0;
                    let fits: Vec<_> = model
                        .iter()
                        .skip(from - 1)
                        .take(to - from + 1)
                        .take_while(|item| { size += item.0.len(); size <= usize::from(max) })
                        .map(|item| item.0.clone())
                        .collect();
                    writer.flush().expect("flushes");
                    let range: Vec<Vec<u8>> = reader
                        .read_range(SeqNo(from as u64), SeqNo(to as u64), max.into())
                        .expect("reads")
                        .map(|range| range.entries().map(|(_, bytes)| bytes.to_vec()).collect())
                        .unwrap_or_default();
                    prop_assert_eq!(range, fits);
                }
            }
            prop_assert_eq!(writer.last(), SeqNo(model.len() as u64));
            prop_assert_eq!(writer.committed(), SeqNo(committed as u64));
        }
        writer.flush().expect("flushes");
        let expected: Vec<_> = model.iter().map(|item| item.0.clone()).collect();
        prop_assert_eq!(read_all(directory.path()), expected);
        let mut ends = 0;
        for chunk in list_chunks(directory.path()).expect("listed") {
            if let Some(end) = chunk.name.end {
                ends = ends.max(end.0);
            }
            prop_assert!(chunk.name.committed || chunk.name.end.is_none());
        }
        prop_assert!(ends <= committed as u64);
        let reader = LedgerReader::new(directory.path(), &[]);
        let range = reader.read_range(SeqNo(1), SeqNo(1000), usize::MAX).expect("reads");
        prop_assert_eq!(range.map_or(0, |range| range.to().0), ends);
    }
}
