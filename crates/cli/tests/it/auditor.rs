//! What `ccf ledger verify` tells an auditor about a ledger that is not as it should be: a real ledger of CCF, damaged in
//! one way each.

use flate2::read::GzDecoder;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A ledger of CCF, unpacked.
pub(crate) struct Ledger {
    _unpacked: TempDir,
    pub(crate) folder: PathBuf,
}

/// A real ledger: three committed chunks and `ledger_21`, which is open.
fn ledger() -> Ledger {
    golden("acme_containing_service")
}

pub(crate) fn golden(name: &str) -> Ledger {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/ledgers/{name}.tar.gz"));
    let unpacked = tempfile::tempdir().unwrap();
    tar::Archive::new(GzDecoder::new(fs::File::open(archive).unwrap())).unpack(unpacked.path()).unwrap();
    let folder = unpacked.path().join(name).join("ledger");
    Ledger { _unpacked: unpacked, folder }
}

/// Exit code, and all that was said.
fn verify(path: &Path, more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ccf"))
        .args(["ledger", "verify"])
        .args(more)
        .arg(path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

#[track_caller]
fn says(told: &(i32, String), code: i32, parts: &[&str]) {
    assert_eq!(told.0, code, "{}", told.1);
    for part in parts {
        assert!(told.1.contains(part), "{part:?} is not in:\n{}", told.1);
    }
}

#[test]
fn a_sound_ledger() {
    let ledger = ledger();
    says(&verify(&ledger.folder, &["--uncommitted"]), 0, &["The ledger holds", "22 transactions"]);
    says(&verify(&ledger.folder, &[]), 0, &["20 transactions", "Not looked at (--uncommitted", "ledger_21"]);
}

#[test]
fn an_open_chunk_without_even_its_first_bytes() {
    let ledger = ledger();
    for len in [0, 7] {
        fs::write(ledger.folder.join("ledger_21"), vec![0; len]).unwrap();
        let bytes = format!("only {len} bytes");
        says(&verify(&ledger.folder, &["--uncommitted"]), 1, &["REFUSED", "ledger_21", &bytes, "until 2.20"]);
        says(&verify(&ledger.folder, &[]), 0, &[]);
    }
}

#[test]
fn a_change_that_only_the_next_signature_shows() {
    let ledger = ledger();
    let path = ledger.folder.join("ledger_1-2.committed");
    let mut bytes = fs::read(&path).unwrap();
    // A letter in a certificate of the first transaction.
    let at = bytes.windows(5).position(|window| window == b"BEGIN").unwrap();
    bytes[at] = b'b';
    fs::write(&path, bytes).unwrap();
    let told = verify(&ledger.folder, &["--level", "merkle"]);
    says(&told, 1, &["offset 8, transaction 1: the entry is not what the signature at 2 signs"]);

    let ledger = self::ledger();
    let path = ledger.folder.join("ledger_3-13.committed");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"BEGIN").unwrap();
    bytes[at] = b'b';
    fs::write(&path, bytes).unwrap();
    says(
        &verify(&ledger.folder, &["--level", "merkle"]),
        1,
        &["offset 8, transaction 3: the entry is not what the signature at"],
    );
}

#[test]
fn a_committed_file_that_was_cut_off() {
    let ledger = ledger();
    let path = ledger.folder.join("ledger_3-13.committed");
    let bytes = fs::read(&path).unwrap();
    // The entries 3 to 6 are whole.
    fs::write(&path, &bytes[..16_500]).unwrap();
    let place = "ledger_3-13.committed, offset 16488, transaction 7: ";
    says(&verify(&ledger.folder, &[]), 1, &["REFUSED", place, "but 4 bytes", "until 2.6"]);
    let told = verify(&ledger.folder, &["--json"]);
    says(&told, 1, &[r#""offset":16488"#, r#""seqno":7"#, r#""until":null"#]);
    let output = Command::new(env!("CARGO_BIN_EXE_ccf"))
        .args(["ledger", "read"])
        .arg(&ledger.folder)
        .output()
        .unwrap();
    let [shown, complaint] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("\n2.6  ") && !shown.contains("\n2.7  "), "{shown}");
    assert!(complaint.contains(place), "{complaint}");

    fs::write(&path, "").unwrap();
    says(&verify(&ledger.folder, &[]), 1, &["offset 0, transaction 3: ", "only 0 bytes", "until 2.2"]);
}

/// Files that the verdict does not speak of are named.
#[test]
fn files_that_are_not_judged() {
    let ledger = ledger();
    let shorter = ledger.folder.join("ledger_3-12.committed");
    fs::copy(ledger.folder.join("ledger_3-13.committed"), &shorter).unwrap();
    let link = ledger.folder.join("ledger_200-300.committed");
    std::os::unix::fs::symlink("nowhere", link).unwrap();
    let told = verify(&ledger.folder, &[]);
    says(&told, 0, &["Not judged, because other files hold", "ledger_3-12.committed"]);
    says(&told, 0, &["Ignored, no ledger files: ", "ledger_200-300.committed"]);
    says(&verify(&ledger.folder, &["--json"]), 0, &[r#""covered_by_others":["#, "ledger_3-12.committed"]);
}

#[test]
fn a_file_instead_of_its_folder() {
    let ledger = ledger();
    let told = verify(&ledger.folder.join("ledger_1-2.committed"), &[]);
    says(&told, 2, &["is a file", "name its folder", ledger.folder.to_str().unwrap()]);
    says(&verify(&ledger.folder.join("nowhere"), &[]), 2, &["nowhere"]);
}

#[test]
fn an_empty_folder_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let name = empty.path().to_str().unwrap();
    says(&verify(empty.path(), &[]), 2, &["no ledger files", name]);
    let run = |args: &[&str]| {
        let told = Command::new(env!("CARGO_BIN_EXE_ccf")).arg("ledger").args(args).output().unwrap();
        (told.status.code().unwrap(), String::from_utf8(told.stderr).unwrap())
    };
    let ledger = ledger();
    let folder = ledger.folder.to_str().unwrap();
    says(&run(&["diff", folder, name]), 2, &["no ledger files in", name]);
    let told = run(&["export", folder, "--from", "20", "--to", "10"]);
    assert_ne!(told.0, 0);
    assert!(told.1.contains("--from 20 is after --to 10"), "{}", told.1);
    says(&run(&["export", folder, "--from", "1000"]), 0, &["no transaction from 1000 on"]);
}

#[test]
fn the_first_chunk_is_missing() {
    let ledger = ledger();
    fs::remove_file(ledger.folder.join("ledger_1-2.committed")).unwrap();
    says(&verify(&ledger.folder, &[]), 1, &["REFUSED", "no file holds the transactions 1 to 2"]);
    let told = verify(&ledger.folder, &["--json"]);
    says(&told, 1, &["\"verified\":false"]);
    says(&verify(&ledger.folder, &["--level", "merkle"]), 0, &["It begins with transaction 3"]);
}

#[test]
fn other_files_are_named() {
    let ledger = ledger();
    for name in ["notes.txt", "ledger_14-20.committed.ignored"] {
        fs::write(ledger.folder.join(name), "?").unwrap();
    }
    says(&verify(&ledger.folder, &[]), 0, &["Ignored, no ledger files: ", "notes.txt", "committed.ignored"]);
    says(&verify(&ledger.folder, &["--json"]), 0, &["notes.txt", "\"not_looked_at\":["]);
}

#[test]
fn the_ledger_of_another_service() {
    let ledger = ledger();
    let keys = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_ccf"))
        .args(["keys", "--name", "other", "--output"])
        .arg(keys.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    // A member's identifier is the fingerprint of the certificate.
    let made = String::from_utf8(made.stdout).unwrap();
    let given = made.lines().find_map(|line| line.strip_prefix("identifier")).unwrap().trim();
    let certificate = keys.path().join("other_cert.pem");
    let certificate = certificate.to_str().unwrap();
    let told = verify(&ledger.folder, &["--service-cert", certificate]);
    let found = told.1.rsplit("certificate ").next().unwrap().split_whitespace().next().unwrap();
    assert_ne!(found, given);
    says(
        &told,
        1,
        &["REFUSED: it is the ledger of another service", &format!("{found}, the one given {given}")],
    );
    says(&verify(&ledger.folder, &["--service-cert", "nowhere.pem"]), 2, &["nowhere.pem"]);
}
