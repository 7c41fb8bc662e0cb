//! A disk that takes no more bytes: the node says so once and stops, and what it reported as committed is there. If it is
//! only a snapshot that finds no room, the node goes on without it.

use crate::{messages, running::RunningSandbox, shell, verdicts};
use ccf_cli::http_client::Protocol;
use ccf_types::TxId;
use serde_json::Value;
use std::{fs, process::Command};

/// Enough for a sandbox to open and for some hundred requests.
const BLOCKS: u32 = 1200;

#[test]
fn a_full_disk_stops_the_node_and_loses_nothing_committed() {
    let sandbox = RunningSandbox::start_with_small_files(BLOCKS, &[]);
    let mut client = sandbox.client("user0", Protocol::Http1);
    let opened = client.send("PUT", "/app/account/full", None, bytes::Bytes::new()).unwrap();
    assert!(opened.status.is_success(), "{}", opened.refusal());
    let mut committed = TxId::default();
    let mut answered = 0;
    // Until the connection breaks: every answer is asked for at once, so whatever is reported here was promised.
    for _ in 0..100_000 {
        let Ok(paid) = client.post("/app/deposit/full", "application/json", r#"{"value":1}"#) else { break };
        let Ok(commit) = client.get("/node/commit") else { break };
        assert!(paid.status.is_success() || paid.status == 503, "{}", paid.refusal());
        answered += 1;
        committed = commit.json()["transaction_id"].as_str().unwrap().parse().unwrap();
    }
    assert!(answered > 20, "{answered}");

    let stopped = sandbox.wait();
    assert_eq!(stopped.status.code(), Some(1), "{:#?}\n{}", stopped.printed, stopped.complaints);
    let log = fs::read_to_string(stopped.ledger.with_file_name("out")).unwrap();
    let fatal: Vec<&str> = log.lines().filter(|line| line.contains("[fatal]")).collect();
    assert!(
        matches!(fatal.as_slice(), [one] if one.contains("0.ledger") && one.ends_with("Exiting.")),
        "{fatal:#?}"
    );
    assert!(!log.contains("panicked"), "{log}");
    let errors = fs::read_to_string(stopped.ledger.with_file_name("err")).unwrap();
    assert_eq!(errors, "", "a node's standard error stays empty");

    let mut verify = Command::new(shell::ccf());
    let verdict =
        shell::output(verify.args(["ledger", "verify", "--uncommitted", "--json"]).arg(&stopped.ledger));
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    let until: TxId = verdict["until"].as_str().unwrap().parse().unwrap();
    assert!(until.seqno >= committed.seqno, "committed until {committed}, on disk until {until}");
    // At most the last entry is cut off.
    let reason = verdict["reason"].as_str().unwrap_or("incomplete entry");
    assert!(reason.contains("incomplete entry"), "{verdict}");
}

#[test]
fn a_snapshot_that_finds_no_room_is_left_out() {
    let program = shell::sibling("logging");
    let files =
        ["--ledger-chunk-bytes", "30000", "--snapshot-tx-interval", "20", "--signature-interval", "20ms"];
    let args = [&["--package", program.to_str().unwrap()], &files[..]].concat();
    let sandbox = RunningSandbox::start_with_small_files(BLOCKS, &args);
    let mut client = sandbox.client("user0", Protocol::Http1);
    // More than a file can hold, in ledger files that stay small.
    let message = "x".repeat(25_000);
    for id in 0..60 {
        messages::write(&mut client, id, &message);
    }
    assert_eq!(messages::read(&mut client, 0).as_deref(), Some(message.as_str()));
    let snapshots = sandbox.snapshots_of(0);
    let stopped = sandbox.stop();
    assert!(stopped.status.success(), "{:#?}\n{}", stopped.printed, stopped.complaints);
    let log = fs::read_to_string(stopped.ledger.with_file_name("out")).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("was not made")).collect();
    assert!(!told.is_empty() && told.iter().all(|line| line.contains("0.snapshots")), "{told:#?}");
    assert!(!log.contains("panicked") && !log.contains("[fatal]"), "{log}");
    // Those from before are whole, and nothing is left of the others.
    let names: Vec<_> = fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name.to_string_lossy().ends_with(".committed")), "{names:?}");
    assert_eq!(verdicts::snapshots_must_be_accepted(&snapshots), names.len());
    verdicts::must_be_accepted(&stopped);
}
