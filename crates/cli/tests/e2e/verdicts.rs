//! What the judges say about a ledger on disk.

use crate::{running::Stopped, shell};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The PyPI package's reader and our verifier must both accept the ledger, fully, and agree on how far it reaches.
pub(crate) fn must_be_accepted(stopped: &Stopped) {
    let ours = shell::run(
        Command::new(shell::ccf())
            .args(["ledger", "verify", "--uncommitted", "--json", "--service-cert"])
            .arg(stopped.service_certificate())
            .arg(&stopped.ledger),
    );
    let ours: serde_json::Value = serde_json::from_str(&ours).unwrap();
    assert_eq!(ours["verified"], true, "{ours}");
    assert!(ours["signatures"].as_u64().unwrap() >= 2, "{ours}");

    let theirs = shell::run(
        Command::new(shell::python_tool("read_ledger.py"))
            .args(["--verification-level", "FULL", "--uncommitted", "-q"])
            .arg(&stopped.ledger),
    );
    let last = theirs.trim().lines().last().unwrap().to_owned();
    let until = ours["until"].as_str().unwrap();
    let expected = format!(
        "Verified FULL - {} transactions, {} signatures, until {until}",
        ours["transactions"], ours["signatures"]
    );
    assert!(last.contains(&expected), "theirs: {last}\nours:   {expected}");
}

/// The PyPI package must find that every ledger secret leads to the one before.
pub(crate) fn secrets_must_be_linked(ledger: &Path) {
    let mut command = Command::new(shell::python_tool("verify_ledger_secrets_chain.py"));
    shell::run(command.arg("--uncommitted").arg(ledger));
}

/// The PyPI package must accept every committed snapshot of a folder; how many there are.
pub(crate) fn snapshots_must_be_accepted(folder: &Path) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let committed: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "committed")).collect();
    for snapshot in &committed {
        shell::run(Command::new(shell::python_tool("read_ledger.py")).args(["-s", "-q"]).arg(snapshot));
    }
    committed.len()
}
