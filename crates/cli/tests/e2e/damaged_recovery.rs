//! Recoveries from damaged, foreign and missing files: nothing crashes, what cannot be used is named, and what can be
//! used is.

use crate::{
    messages,
    running::{RunningSandbox, Stopped},
    shell,
};
use ccf_cli::http_client::Protocol;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const MESSAGES: u64 = 60;

/// A service that has ended, and a copy of its files to damage.
struct Past {
    folder: TempDir,
}

impl Past {
    fn new() -> Past {
        let sandbox = start(&[]).unwrap();
        let mut client = sandbox.client("user0", Protocol::Http1);
        for id in 0..MESSAGES {
            let body = format!(r#"{{"id":{id},"msg":"{id} {}"}}"#, "y".repeat(900));
            client.post("/app/log/private", "application/json", body).unwrap();
            if id % 10 == 9 {
                messages::write(&mut client, id, "the last of ten");
            }
        }
        drop(client);
        let (past, stopped) = Past::of(sandbox);
        stopped.must_be_clean();
        past
    }

    /// What a sandbox leaves behind; the last file stays open, as after a power failure.
    fn of(sandbox: RunningSandbox) -> (Past, Stopped) {
        let folders = [sandbox.ledger(), sandbox.snapshots_of(0), sandbox.common("")];
        let stopped = sandbox.stop();
        let past = Past { folder: tempfile::tempdir().unwrap() };
        for (from, to) in folders.iter().zip(["ledger", "snapshots", "common"]) {
            copy_folder(from, &past.path(to));
        }
        (past, stopped)
    }

    fn copy(&self) -> Past {
        let copy = Past { folder: tempfile::tempdir().unwrap() };
        for name in ["ledger", "snapshots", "common"] {
            copy_folder(&self.path(name), &copy.path(name));
        }
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its ledger files in order.
    fn chunks(&self) -> Vec<PathBuf> {
        in_order(&self.path("ledger"), "ledger_")
    }

    fn recover(&self, with_snapshots: bool) -> Result<RunningSandbox, String> {
        let paths =
            ["ledger", "common", "snapshots"].map(|name| self.path(name).to_str().unwrap().to_owned());
        let mut words = vec!["--recover", "--ledger-dir", &paths[0], "--common-dir", &paths[1]];
        if with_snapshots {
            words.extend(["--snapshots-dir", &paths[2]]);
        }
        start(&words)
    }

    /// The recovery fails, without a crash, and says all of `words` about it.
    fn must_fail(&self, what: &str, words: &[&str]) {
        let Err(reason) = self.recover(false) else { panic!("{what}: recovered") };
        assert!(!reason.contains("panicked") && !reason.contains("signal"), "{what}: {reason}");
        for word in words {
            assert!(reason.contains(word), "{what}: no word of {word} in {reason}");
        }
    }

    /// The recovery succeeds and has the last committed message; the log of the node.
    fn must_succeed(&self, what: &str, with_snapshots: bool) -> String {
        let sandbox = self.recover(with_snapshots).unwrap_or_else(|reason| panic!("{what}: {reason}"));
        let mut client = sandbox.client("user0", Protocol::Http1);
        for id in (9..MESSAGES - 10).step_by(10) {
            assert_eq!(messages::read(&mut client, id).as_deref(), Some("the last of ten"), "{what}: {id}");
        }
        fs::read_to_string(sandbox.folder_of(0).join("out")).unwrap()
    }
}

fn start(more: &[&str]) -> Result<RunningSandbox, String> {
    let program = shell::sibling("logging");
    let files =
        ["--ledger-chunk-bytes", "15000", "--snapshot-tx-interval", "15", "--signature-interval", "20ms"];
    let words: Vec<&str> = ["--package", program.to_str().unwrap()]
        .into_iter()
        .chain(files)
        .chain(more.iter().copied())
        .collect();
    RunningSandbox::try_start(&words)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Files of a folder by the first number of their names.
fn in_order(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut files: Vec<(u64, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix(prefix)?.split(['-', '_', '.']).next()?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

#[test]
fn recoveries_from_bad_files_are_explained() {
    let past = Past::new();
    let chunks = past.chunks();
    assert!(chunks.len() >= 5, "{chunks:?}");
    let (third, third_name) = (2, name(&chunks[2]));

    let bad = past.copy();
    flip(&bad.chunks()[third]);
    bad.must_fail("a flipped byte", &[third_name, "transaction"]);

    let bad = past.copy();
    cut(&bad.chunks()[third], 100);
    bad.must_fail("a committed file cut short", &[third_name]);

    let bad = past.copy();
    fs::remove_file(&bad.chunks()[third]).unwrap();
    bad.must_fail("a missing file", &["0.ledger", "transaction"]);

    // The same name, the content of a file of another service.
    let foreign = Past::new();
    let bad = past.copy();
    fs::copy(&foreign.chunks()[third], &bad.chunks()[third]).unwrap();
    bad.must_fail("a file of another service", &[third_name]);

    let bad = past.copy();
    fs::copy(foreign.path("common").join("service_cert.pem"), bad.path("common").join("service_cert.pem"))
        .unwrap();
    bad.must_fail(
        "another service's certificate",
        &["Unable to open service: Previous service identity does not match."],
    );

    let bad = past.copy();
    fs::remove_dir_all(bad.path("ledger")).unwrap();
    fs::write(bad.path("ledger"), "no folder").unwrap();
    bad.must_fail("no folder", &["ledger: Not a directory"]);

    // What is not signed may be lost; the rest is there.
    let bad = past.copy();
    let last = bad.chunks().pop().unwrap();
    assert!(!name(&last).contains("committed"), "{last:?}");
    cut(&last, 10);
    let log = bad.must_succeed("the last file cut short", false);
    assert!(log.contains(name(&last)) && log.contains("cut off"), "{log}");

    let bad = past.copy();
    let snapshots = in_order(&bad.path("snapshots"), "snapshot_");
    let [.., older, newest] = snapshots.as_slice() else { panic!("{snapshots:?}") };
    flip(newest);
    let log = bad.must_succeed("the newest snapshot flipped", true);
    assert!(log.contains(name(newest)) && log.contains("Ignoring corrupt snapshot"), "{log}");
    let startup = |snapshot: &Path| {
        let seqno = name(snapshot).split('_').nth(1).unwrap().to_owned();
        format!("Setting startup snapshot seqno to {seqno}")
    };
    assert!(log.contains(&startup(older)), "{log}");

    for snapshot in &snapshots {
        fs::remove_file(snapshot).unwrap();
    }
    fs::write(newest, "no snapshot at all").unwrap();
    let log = bad.must_succeed("only a bad snapshot", true);
    assert!(log.contains("Ignoring corrupt snapshot") && !log.contains("Setting startup"), "{log}");
}

/// The newest ledger files are lost, but a snapshot is newer: the service goes on behind it, in files whose names tell the truth, and can
/// be recovered again.
#[test]
fn a_recovery_from_a_snapshot_newer_than_the_ledger_files() {
    let past = Past::new();
    for lost in past.chunks().into_iter().skip(2) {
        fs::remove_file(lost).unwrap();
    }
    let (mut past, mut written) = (past, vec![9]);
    for round in 1..=2u64 {
        let sandbox = past.recover(true).unwrap_or_else(|reason| panic!("recovery {round}: {reason}"));
        let log = fs::read_to_string(sandbox.folder_of(0).join("out")).unwrap();
        assert_eq!(log.contains("what is between is missing"), round == 1, "{log}");
        let mut client = sandbox.client("user0", Protocol::Http1);
        messages::write(&mut client, 5000 + round, "behind the gap");
        written.push(5000 + round);
        for id in &written {
            assert!(messages::read(&mut client, *id).is_some(), "recovery {round}: {id}");
        }
        drop(client);
        // The first says that files are missing.
        past = Past::of(sandbox).0;
    }
}
