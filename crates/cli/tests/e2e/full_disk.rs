//! A disk that takes no more bytes: the node says so once and stops, and what it reported as committed is there.

use crate::{running::RunningSandbox, shell};
use ccf_cli::http_client::Protocol;
use ccf_types::TxId;
use serde_json::Value;
use std::{fs, process::Command};

/// Enough for a sandbox to open and for some hundred requests.
const BLOCKS: u32 = 1200;

#[test]
fn a_full_disk_stops_the_node_and_loses_nothing_committed() {
    let sandbox = RunningSandbox::start_with_small_files(BLOCKS);
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
