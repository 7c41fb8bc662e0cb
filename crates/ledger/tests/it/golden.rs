//! Real ledgers verify, with the figures of CCF's own tools; damaged ones are refused at the right place.

use ccf_ledger::{
    files::{Block, ChunkName, ChunkPath, ChunkReader},
    verify::{Level, Options, Reason, VerifyError},
};
use ccf_types::{SeqNo, TxId};
use proptest::prelude::*;

use crate::support::{Golden, verify};

type Figures = (u64, u64, TxId);

/// Transactions, signatures and last TxID: committed files only, then with open ones.
const FIGURES: [(&str, Figures, Figures); 4] = [
    ("acme_containing_service", (20, 7, TxId::new(2, 20)), (22, 8, TxId::new(2, 22))),
    ("cose_flipflop_service", (46, 23, TxId::new(2, 46)), (46, 23, TxId::new(2, 46))),
    ("expired_service", (61, 21, TxId::new(4, 61)), (74, 26, TxId::new(4, 74))),
    ("sgx_service", (138, 47, TxId::new(8, 138)), (153, 54, TxId::new(8, 153))),
];

#[test]
fn real_ledgers_verify_fully() {
    for (name, committed, all) in FIGURES {
        let golden = Golden::unpack(name);
        for (uncommitted, expected) in [(false, committed), (true, all)] {
            for level in [Level::Full, Level::Merkle] {
                let verdict = verify(&golden.ledger(), level, uncommitted);
                if let Some(failure) = &verdict.failure {
                    panic!("{name}, {level:?}: {failure}");
                }
                assert_eq!(
                    (verdict.transactions, verdict.signatures, verdict.verified),
                    expected,
                    "{name}, {level:?}"
                );
                assert_eq!(verdict.uncommitted_tail, 0);
            }
            let verdict = verify(&golden.ledger(), Level::Headers, uncommitted);
            assert!(verdict.is_ok());
            assert_eq!((verdict.transactions, verdict.verified), (expected.0, expected.2));
        }
    }
}

/// Every chunk on its own: structure and roots, its first signature taken on trust.
#[test]
fn chunks_verify_alone_up_to_merkle() {
    let golden = Golden::unpack("acme_containing_service");
    let alone = tempfile::tempdir().expect("temporary");
    std::fs::copy(golden.ledger().join("ledger_3-13.committed"), alone.path().join("ledger_3-13.committed"))
        .expect("copied");
    let verdict = verify(alone.path(), Level::Merkle, false);
    assert!(verdict.is_ok(), "{:?}", verdict.failure);
    assert_eq!((verdict.transactions, verdict.signatures, verdict.verified), (11, 4, TxId::new(2, 13)));
    let options = Options { level: Level::Full, uncommitted: false, recovery: false };
    let refused = ccf_ledger::verify::run(&[alone.path().to_owned()], &options, &mut |_| {});
    assert!(matches!(refused, Err(VerifyError::NotFromStart(SeqNo(3)))));
    let empty = tempfile::tempdir().expect("temporary");
    let refused = ccf_ledger::verify::run(&[empty.path().to_owned()], &options, &mut |_| {});
    assert!(matches!(refused, Err(VerifyError::Empty)));
}

/// The identity that signs is the one of its time, and changes with a recovery.
#[test]
fn services_are_reported_in_order() {
    let verdict = verify(&Golden::unpack("sgx_service").ledger(), Level::Full, true);
    let from: Vec<_> = verdict.services.iter().map(|service| service.from.0).collect();
    assert!(from.len() > 1 && from.is_sorted() && from[0] == 1, "{from:?}");
    let progress = std::cell::Cell::new(0);
    let options = Options { level: Level::Full, uncommitted: true, recovery: false };
    let ledger = Golden::unpack("sgx_service");
    let mut total = 0;
    ccf_ledger::verify::run(&[ledger.ledger()], &options, &mut |now| {
        assert!(now.bytes >= progress.replace(now.bytes));
        total = now.bytes_total;
    })
    .expect("a verdict");
    assert!(progress.get() <= total && progress.get() > total * 9 / 10);
}

#[test]
fn missing_and_misnamed_files_are_reported() {
    let golden = Golden::unpack("acme_containing_service");
    let path = |name: &str| golden.ledger().join(name);
    std::fs::rename(path("ledger_3-13.committed"), golden.ledger().join("aside")).expect("renamed");
    let failure = verify(&golden.ledger(), Level::Full, false).failure.expect("a gap");
    assert!(matches!(failure.reason, Reason::Gap), "{failure}");
    assert_eq!((failure.seqno, failure.path), (SeqNo(3), path("ledger_14-20.committed")));
    std::fs::rename(golden.ledger().join("aside"), path("ledger_3-14.committed")).expect("renamed");
    let failure = verify(&golden.ledger(), Level::Full, false).failure.expect("a wrong end");
    assert!(matches!(failure.reason, Reason::WrongEnd { named: SeqNo(14), found: SeqNo(13) }), "{failure}");
}

/// An open chunk cut off anywhere: what is whole verifies, and the cut is reported where it is.
#[test]
fn torn_open_chunks_are_reported() {
    let golden = Golden::unpack("acme_containing_service");
    let open = golden.ledger().join("ledger_21");
    let bytes = std::fs::read(&open).expect("readable");
    let first_end = 8
        + 8
        + u64::from_le_bytes([bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15], 0, 0])
            as usize;
    for len in 0..8 {
        std::fs::write(&open, &bytes[..len]).expect("written");
        let verdict = verify(&golden.ledger(), Level::Full, true);
        assert_eq!(verdict.verified, TxId::new(2, 20), "{len} bytes");
        let failure = verdict.failure.expect("cut off");
        assert!(matches!(failure.reason, Reason::CutOff { bytes } if bytes == len as u64), "{failure}");
        assert_eq!((failure.seqno, failure.offset, &failure.path), (SeqNo(21), 0, &open));
    }
    for len in (8..bytes.len()).step_by(7) {
        std::fs::write(&open, &bytes[..len]).expect("written");
        let verdict = verify(&golden.ledger(), Level::Full, true);
        assert_eq!(verdict.verified, TxId::new(2, 20), "{len} bytes");
        let whole = u64::from(len >= first_end);
        assert_eq!(verdict.uncommitted_tail, whole);
        if len == 8 || len == first_end {
            assert!(verdict.is_ok());
            continue;
        }
        let failure = verdict.failure.expect("cut off");
        assert!(matches!(failure.reason, Reason::TornTail), "{failure}");
        let offset = if whole == 1 { first_end } else { 8 };
        assert_eq!((failure.seqno, failure.offset, &failure.path), (SeqNo(21 + whole), offset as u64, &open));
    }
}

/// Offsets and bytes of all entries of a committed chunk.
fn entries_of(path: &std::path::Path) -> Vec<(u64, SeqNo, usize)> {
    let name =
        ChunkName::parse(path.file_name().and_then(|name| name.to_str()).expect("text")).expect("a chunk");
    let mut reader = ChunkReader::open(&ChunkPath { name, path: path.to_owned() }).expect("opens");
    let (mut entries, mut block) = (Vec::new(), Block::default());
    while reader.next_block(&mut block).expect("well formed") {
        entries.extend(block.entries().map(|(seqno, offset, bytes)| (offset, seqno, bytes.len())));
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// One flipped bit anywhere in the committed files is noticed. A bad frame or signature is reported at the entry
    /// itself; a view that became a higher one at the entry behind it, where it falls again; another change at the next signature at the latest, whose root no longer fits. Only the last signature
    /// entry has none after it: of its bytes those which it does not sign itself may change.
    #[test]
    fn a_flipped_bit_is_reported(file in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        let golden = flipped();
        let files = ["ledger_1-2.committed", "ledger_3-13.committed", "ledger_14-20.committed"];
        let path = golden.ledger().join(files[file.index(files.len())]);
        let original = std::fs::read(&path).expect("readable");
        let mut bytes = original.clone();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let entries = entries_of(&path);
        std::fs::write(&path, &bytes).expect("written");
        let verdict = verify(&golden.ledger(), Level::Full, false);
        std::fs::write(&path, &original).expect("written");

        let at = (bit / 8) as u64;
        let hit = entries.iter().find(|(offset, _, len)| at >= *offset && at < offset + *len as u64);
        let Some(failure) = verdict.failure else {
            prop_assert_eq!(hit.map(|(_, seqno, _)| *seqno), Some(SeqNo(20)), "byte {} of {}", at, path.display());
            return Ok(());
        };
        let Some((offset, seqno, _)) = hit else {
            // The table, or where it begins: no entry is blamed for it.
            prop_assert_eq!(&failure.path, &path);
            prop_assert!(matches!(failure.reason, Reason::Table(_) | Reason::WrongEnd { .. }), "{}", failure);
            return Ok(());
        };
        // The place is that of the entry itself, or the first that can be the one if no more can be said.
        prop_assert!(verdict.verified.seqno <= *seqno);
        if let Some(until) = failure.until {
            prop_assert!(failure.seqno <= *seqno && *seqno <= until, "{} is not {}", failure, seqno);
            prop_assert!(matches!(failure.reason, Reason::OtherTree { .. }), "{}", failure);
        } else if let Reason::ViewFalls { .. } = failure.reason {
            prop_assert!([*seqno, seqno.next()].contains(&failure.seqno), "{} is not {}", failure, seqno);
        } else {
            prop_assert_eq!(&failure.path, &path);
            prop_assert_eq!((failure.seqno, failure.offset), (*seqno, *offset), "{}", failure);
        }
    }
}

/// A committed file cut anywhere: the entries before the cut are sound, and the first that is not there is named.
#[test]
fn cut_committed_chunks_are_reported_where_they_end() {
    let golden = Golden::unpack("acme_containing_service");
    let path = golden.ledger().join("ledger_3-13.committed");
    let bytes = std::fs::read(&path).expect("readable");
    let entries = entries_of(&path);
    let table_at = entries.last().map(|(offset, _, len)| offset + *len as u64).expect("entries");
    for len in (0..bytes.len()).filter(|len| *len < 20 || len % 53 == 0 || *len + 60 > bytes.len()) {
        std::fs::write(&path, &bytes[..len]).expect("written");
        let verdict = verify(&golden.ledger(), Level::Full, false);
        let failure = verdict.failure.expect("cut off");
        assert_eq!(failure.path, path);
        let missing = entries.iter().find(|(offset, _, size)| offset + *size as u64 > len as u64);
        match missing {
            _ if len < 8 => {
                assert!(matches!(failure.reason, Reason::CutOff { .. }), "{failure}");
                assert_eq!((failure.seqno, failure.offset), (SeqNo(3), 0));
            }
            Some((offset, seqno, _)) => {
                assert!(matches!(failure.reason, Reason::Entry(_)), "{len}: {failure}");
                assert_eq!((failure.seqno, failure.offset), (*seqno, *offset), "{len}: {failure}");
                let sound = verdict.verified.seqno.0 + verdict.uncommitted_tail;
                assert_eq!(sound, seqno.0 - 1, "{len}");
            }
            None => {
                assert!(matches!(failure.reason, Reason::Table(_)), "{len}: {failure}");
                assert_eq!((failure.seqno, failure.offset), (SeqNo(14), table_at), "{len}: {failure}");
                assert_eq!(verdict.verified.seqno, SeqNo(13));
            }
        }
    }
    // The beginning of the table, damaged: all entries are there.
    for said in [0, 7, table_at - 4, table_at + 4, u64::MAX] {
        let damaged = [&said.to_le_bytes(), &bytes[8..]].concat();
        std::fs::write(&path, damaged).expect("written");
        let verdict = verify(&golden.ledger(), Level::Full, false);
        let failure = verdict.failure.expect("no table");
        assert!(matches!(failure.reason, Reason::Table(_)), "{said}: {failure}");
        assert_eq!((failure.offset, verdict.verified.seqno), (0, SeqNo(13)), "{said}");
    }
}

/// An altered tag is seen by the tree of the next signature only, which tells which entry it was.
#[test]
fn an_altered_entry_is_named() {
    let golden = Golden::unpack("acme_containing_service");
    let path = golden.ledger().join("ledger_3-13.committed");
    let bytes = std::fs::read(&path).expect("readable");
    let (offset, seqno, _) = entries_of(&path)[7];
    let mut altered = bytes.clone();
    altered[usize::try_from(offset).expect("small") + 8] ^= 1;
    std::fs::write(&path, altered).expect("written");
    for level in [Level::Merkle, Level::Full] {
        let failure = verify(&golden.ledger(), level, false).failure.expect("altered");
        assert!(matches!(failure.reason, Reason::Altered { .. }), "{failure}");
        assert_eq!((failure.offset, failure.seqno, failure.until), (offset, seqno, None));
    }
}

/// One unpacked ledger for all cases of the property above, which puts back what it changes.
fn flipped() -> &'static Golden {
    static GOLDEN: std::sync::OnceLock<Golden> = std::sync::OnceLock::new();
    GOLDEN.get_or_init(|| Golden::unpack("acme_containing_service"))
}
