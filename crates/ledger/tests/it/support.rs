//! What the tests share: vectors, golden ledgers, small entries.

use ccf_ledger::{
    entry::{DomainEncoder, EntryContext, Flags, SealedEntry, seal},
    secrets::{LedgerSecret, LedgerSecrets},
    verify::{Level, Options, Verdict},
};
use ccf_types::{Digest, MapName, SeqNo, TxId};
use std::path::{Path, PathBuf};

/// The bytes of a hexadecimal text, whatever its line breaks.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    hex::decode(digits).expect("hex")
}

/// A digest from its hexadecimal text.
pub(crate) fn digest(text: &str) -> Digest {
    text.parse().expect("digest")
}

/// A secret from its hexadecimal text.
pub(crate) fn secret(text: &str, from: u64) -> LedgerSecret {
    LedgerSecret::new(&hex(text).try_into().expect("32 bytes"), SeqNo(from), None)
}

/// The set of this one secret.
pub(crate) fn secrets(text: &str, from: u64) -> LedgerSecrets {
    LedgerSecrets::new([secret(text, from)]).expect("one secret")
}

/// An entry with one private write of `value`.
pub(crate) fn small_entry(secret: &LedgerSecret, seqno: u64, flags: Flags, value: &[u8]) -> SealedEntry {
    let mut encoder = DomainEncoder::new();
    encoder.map(&MapName::from_static("records"), 1, 0);
    encoder.write(b"key", value);
    let tx_id = TxId::new(2, seqno);
    let context = EntryContext { tx_id, flags, claims_digest: Digest::ZERO, secret };
    seal(&mut encoder, &context).expect("small")
}

/// A real ledger, unpacked; deleted on drop.
pub(crate) struct Golden {
    directory: tempfile::TempDir,
    name: &'static str,
}

impl Golden {
    pub(crate) fn unpack(name: &'static str) -> Golden {
        let archive = format!("{}/../../testdata/ledgers/{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::File::open(archive).expect("the archive is in the tree");
        let directory = tempfile::tempdir().expect("a temporary directory");
        tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(directory.path()).expect("unpacks");
        Golden { directory, name }
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.path().join(self.name).join("ledger")
    }

    pub(crate) fn snapshot(&self, name: &str) -> PathBuf {
        self.directory.path().join(self.name).join("snapshots").join(name)
    }
}

/// Verifies a directory.
pub(crate) fn verify(directory: &Path, level: Level, uncommitted: bool) -> Verdict {
    let options = Options { level, uncommitted, recovery: false };
    ccf_ledger::verify::run(&[directory.to_owned()], &options, &mut |_| {}).expect("there are files")
}
