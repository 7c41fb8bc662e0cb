//! Three recoveries in a row, each from the files that the one before has left, and what stays true over all of them.

use crate::{
    messages,
    past::{judge, once_there},
    running::{RunningSandbox, Stopped},
    shell, verdicts,
};
use ccf_cli::http_client::Protocol;
use ccf_cli::{governance_client::BALLOT_YES, governance_client::GovernanceClient, identity::Identity};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempPath;

const MEMBERS: usize = 3;

/// A step of a live service takes at most so long, also on a busy machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Flags that all services of this file have: the logging application, and files that end soon.
fn flags(more: &[&str]) -> Vec<String> {
    let program = shell::sibling("logging").to_str().unwrap().to_owned();
    let ours =
        ["--signature-interval", "20ms", "--ledger-chunk-bytes", "30000", "--snapshot-tx-interval", "25"];
    let words = ["--package", &program].into_iter().chain(ours);
    words.chain(more.iter().copied()).map(str::to_owned).collect()
}

fn start(more: &[&str]) -> RunningSandbox {
    let flags = flags(more);
    RunningSandbox::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Recovers the service that `before` was; `common` has the keys of its members.
fn recover(before: &Stopped, common: &Path, more: &[&str]) -> RunningSandbox {
    let (ledger, common) = (before.ledger.to_str().unwrap(), common.to_str().unwrap());
    let mut words = vec!["--recover", "--ledger-dir", ledger, "--common-dir", common];
    words.extend(more);
    start(&words)
}

fn decide(sandbox: &RunningSandbox, action: &str, args: &Value) {
    let mut client = sandbox.client("", Protocol::Http1);
    let mut governance = GovernanceClient::new(&mut client);
    let folder = sandbox.common("");
    let members: Vec<Identity> =
        (0..MEMBERS).map(|n| Identity::load_named(&folder, &format!("member{n}")).unwrap()).collect();
    let action = if args.is_null() { json!({"name": action}) } else { json!({"name": action, "args": args}) };
    let mut proposal = governance.propose(&members[0], &json!({"actions": [action]})).unwrap();
    for member in &members {
        if proposal.state == "Open" {
            proposal = governance.vote(member, &proposal.id, BALLOT_YES).unwrap();
        }
    }
    assert_eq!(proposal.state, "Accepted");
}

/// What every recovered service must show: how often it was recovered, who it was before, the nodes of before retired,
/// and the messages of all its lives.
fn must_go_on(sandbox: &RunningSandbox, recoveries: u64, predecessor: &str) {
    let mut client = sandbox.client("user0", Protocol::Http1);
    let network = client.get("/node/network").unwrap().json();
    assert_eq!(network["recovery_count"], recoveries, "{network}");
    assert_eq!(network["service_status"], "Open", "{network}");
    let previous = client.get("/node/service/previous_identity").unwrap().json();
    assert_eq!(previous["previous_service_identity"], predecessor);
    let nodes = client.get("/node/network/nodes").unwrap().json();
    let trusted =
        nodes["nodes"].as_array().unwrap().iter().filter(|node| node["status"] == "Trusted").count();
    assert_eq!(trusted, sandbox.addresses.len(), "{nodes}");
    for node in nodes["nodes"].as_array().unwrap() {
        assert!(node["status"] == "Trusted" || node["status"] == "Retired", "{node}");
    }
    for life in 0..recoveries {
        let message = messages::read(&mut client, life);
        assert_eq!(message.as_deref(), Some(format!("written in life {life}").as_str()));
    }
}

/// What a service has left behind for those that continue it.
struct Life {
    /// The transaction with its message.
    written: String,
    /// The certificate of the service of the time.
    certificate: TempPath,
}

/// The record that every life writes publicly, so that its index spans them all.
const PUBLIC_ID: u64 = 500;

fn write(sandbox: &RunningSandbox, life: u64) -> Life {
    let mut client = sandbox.client("user0", Protocol::Http1);
    let written = messages::send(&mut client, life, &format!("written in life {life}")).unwrap();
    assert!(messages::is_committed(&written), "{}", written.refusal());
    let public = json!({"id": PUBLIC_ID, "msg": format!("life {life}")}).to_string();
    let reply = client.post("/app/log/public", "application/json", public).unwrap();
    assert!(reply.status.is_success(), "{}", reply.refusal());
    // Enough for several ledger files and snapshots.
    for filler in 0..40 {
        messages::write(&mut client, 1000 + filler, &format!("{filler} in life {life}, {}", "x".repeat(900)));
    }
    let certificate = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&certificate, service_certificate(sandbox)).unwrap();
    Life { written: written.tx_id().unwrap().to_owned(), certificate }
}

/// The past of all lives: what they wrote, its receipts, and a range over all of them.
fn the_past_is_there(sandbox: &RunningSandbox, lives: &[Life]) {
    let mut client = sandbox.client("user0", Protocol::Http1);
    let certificate = sandbox.common("service_cert.pem");
    for (number, life) in lives.iter().enumerate() {
        let id = life.written.as_str();
        let header = [("x-ms-ccf-transaction-id", id)];
        let past = once_there(&mut client, &format!("/app/log/private/historical?id={number}"), &header);
        assert_eq!(past.json(), json!({"msg": format!("written in life {number}")}));
        let receipt = once_there(&mut client, &format!("/node/receipt?transaction_id={id}"), &[]);
        // It carries what leads from the service of today to the one that signed.
        judge(sandbox, &certificate, &format!("life{number}.json"), &receipt.body, None);
        let receipt = once_there(&mut client, &format!("/node/receipt/cose?transaction_id={id}"), &[]);
        judge(sandbox, &life.certificate, &format!("life{number}.cose"), &receipt.body, None);
    }
    let mut found = Vec::new();
    let mut next = Some(format!("/app/log/public/historical/range?id={PUBLIC_ID}"));
    while let Some(path) = next {
        let page = once_there(&mut client, &path, &[]).json();
        let entries = page["entries"].as_array().unwrap();
        found.extend(entries.iter().map(|entry| entry["msg"].as_str().unwrap().to_owned()));
        next = page["@nextLink"].as_str().map(str::to_owned);
    }
    let expected: Vec<String> = (0..lives.len()).map(|life| format!("life {life}")).collect();
    assert_eq!(found, expected);
}

/// A recovery ends with a snapshot of the service that it has opened.
fn has_snapshot_of_its_own(sandbox: &RunningSandbox) {
    let mut client = sandbox.client("", Protocol::Http1);
    let network = client.get("/node/network").unwrap().json();
    let created = network["current_service_create_txid"].as_str().unwrap().to_owned();
    let created: u64 = created.split_once('.').unwrap().1.parse().unwrap();
    let deadline = Instant::now() + STEP_TIMEOUT;
    let folder = sandbox.snapshots_of(0);
    let is_there = || {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).any(|name| {
            let seqno = name.split('_').nth(1).and_then(|seqno| seqno.parse().ok());
            name.ends_with(".committed") && seqno.is_some_and(|seqno: u64| seqno > created)
        })
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "no snapshot after {created} in {}", folder.display());
        thread::sleep(Duration::from_millis(50));
    }
}

fn service_certificate(sandbox: &RunningSandbox) -> String {
    fs::read_to_string(sandbox.common("service_cert.pem")).unwrap()
}

/// Stops a service: all judges must accept its ledgers and snapshots.
fn stop_and_judge(sandbox: RunningSandbox) -> (Stopped, Vec<PathBuf>) {
    let count = sandbox.addresses.len();
    let ledgers: Vec<PathBuf> = (0..count).map(|index| sandbox.ledger_of(index)).collect();
    let snapshots: Vec<PathBuf> = (0..count).map(|index| sandbox.snapshots_of(index)).collect();
    let stopped = sandbox.stop();
    stopped.must_be_clean();
    verdicts::must_be_accepted(&stopped);
    for ledger in &ledgers {
        verdicts::secrets_must_be_linked(ledger);
    }
    (stopped, snapshots)
}

#[test]
fn a_service_is_recovered_three_times() {
    let members = MEMBERS.to_string();
    let first = start(&["--members", &members]);
    let mut lives = vec![write(&first, 0)];
    let (first_identity, first_common) = (service_certificate(&first), first.common(""));
    let (first, _) = stop_and_judge(first);

    // From the ledger alone, all members needed.
    let second = recover(&first, &first_common, &[]);
    must_go_on(&second, 1, &first_identity);
    has_snapshot_of_its_own(&second);
    lives.push(write(&second, 1));
    the_past_is_there(&second, &lives);
    let (second_identity, second_common) = (service_certificate(&second), second.common(""));
    let (second, snapshots) = stop_and_judge(second);

    // From a snapshot.
    let seconds_snapshots = snapshots[0].to_str().unwrap();
    assert!(verdicts::snapshots_must_be_accepted(&snapshots[0]) > 0, "no snapshot in {seconds_snapshots}");
    let third = recover(&second, &second_common, &["--snapshots-dir", seconds_snapshots]);
    let log = fs::read_to_string(third.folder_of(0).join("out")).unwrap();
    assert!(log.contains("Setting startup snapshot seqno to"), "{log}");
    must_go_on(&third, 2, &second_identity);
    has_snapshot_of_its_own(&third);
    decide(&third, "set_recovery_threshold", &json!({"recovery_threshold": 2}));
    decide(&third, "trigger_ledger_rekey", &Value::Null);
    lives.push(write(&third, 2));
    the_past_is_there(&third, &lives);
    let (third_identity, third_common) = (service_certificate(&third), third.common(""));
    let (third, _) = stop_and_judge(third);

    // From a snapshot that the service before the last one has signed. Two of three members, one of them with the PyPI package's script: the keys of two members are out of our reach.
    let apart = tempfile::tempdir().unwrap();
    let key = |member: usize| format!("member{member}_enc_privk.pem");
    for member in 1..MEMBERS {
        fs::rename(third_common.join(key(member)), apart.path().join(key(member))).unwrap();
    }
    let (ledger, common) = (third.ledger.to_str().unwrap(), third_common.to_str().unwrap());
    let more = ["--recover", "--ledger-dir", ledger, "--common-dir", common];
    let flags = flags(&[&more[..], &["--snapshots-dir", seconds_snapshots]].concat());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let fourth = RunningSandbox::launch(Command::new(shell::ccf()), &flags).unwrap();
    hand_in_share_with_foreign_script(&fourth, 1, &apart.path().join(key(1)));
    let fourth = fourth.ready().unwrap();
    let log = fs::read_to_string(fourth.folder_of(0).join("out")).unwrap();
    assert!(log.contains("Setting startup snapshot seqno to"), "{log}");
    must_go_on(&fourth, 3, &third_identity);
    has_snapshot_of_its_own(&fourth);
    lives.push(write(&fourth, 3));
    the_past_is_there(&fourth, &lives);
    let (_fourth, snapshots) = stop_and_judge(fourth);
    assert!(verdicts::snapshots_must_be_accepted(&snapshots[0]) > 0);
}

#[test]
fn three_nodes_recover_a_service_from_a_snapshot() {
    let first = start(&[]);
    write(&first, 0);
    // So much that a snapshot does not come in one part.
    let mut client = first.client("user0", Protocol::Http1);
    for id in 2000..2006 {
        messages::write(&mut client, id, &"z".repeat(900_000));
    }
    drop(client);
    let (identity, common) = (service_certificate(&first), first.common(""));
    let (first, snapshots) = stop_and_judge(first);
    let snapshots = snapshots[0].to_str().unwrap();
    let others = ["--node", "local://127.0.0.1:0", "--node", "local://127.0.0.1:0"];
    let more: Vec<&str> = ["--snapshots-dir", snapshots].into_iter().chain(others).collect();
    let second = recover(&first, &common, &more);
    must_go_on(&second, 1, &identity);
    for index in 1..3 {
        // While the service did not know its private state, which snapshots are of.
        let log = fs::read_to_string(second.folder_of(index).join("out")).unwrap();
        assert!(log.contains("Fetching snapshot from") && log.contains(": public only"), "{log}");
        let mut client = second.client_of(&second.addresses[index], "user0", Protocol::Http1);
        assert_eq!(messages::read(&mut client, 2005).map(|message| message.len()), Some(900_000));
    }
    has_snapshot_of_its_own(&second);
    stop_and_judge(second);
}

#[test]
fn a_javascript_application_has_its_past_after_a_rekey_and_a_recovery() {
    let (app, members) = (shell::root().join("samples/logging-js"), MEMBERS.to_string());
    let app =
        ["--app", app.to_str().unwrap(), "--signature-interval", "20ms", "--ledger-chunk-bytes", "30000"];
    let first = RunningSandbox::start(&[&app[..], &["--members", &members]].concat());
    let mut written: Vec<(String, String)> = Vec::new();
    let mut write = |sandbox: &RunningSandbox, what: &str| {
        let mut client = sandbox.client("user0", Protocol::Http1);
        for number in 0..5 {
            let message = format!("{number} {what}");
            for filler in 0..10 {
                messages::write(&mut client, 100 + filler, &"x".repeat(500));
            }
            let reply = messages::send(&mut client, 3, &message).unwrap();
            assert!(messages::is_committed(&reply), "{}", reply.refusal());
            written.push((reply.tx_id().unwrap().to_owned(), message));
        }
    };
    write(&first, "under the first secret");
    decide(&first, "trigger_ledger_rekey", &Value::Null);
    write(&first, "after a rekey");
    let common = first.common("");
    let (first, _) = stop_and_judge(first);
    let first_certificate = first.service_certificate();
    let (ledger, common) = (first.ledger.to_str().unwrap(), common.to_str().unwrap());
    let more = ["--recover", "--ledger-dir", ledger, "--common-dir", common];
    let second = RunningSandbox::start(&[&app[..], &more].concat());
    write(&second, "after a recovery");
    decide(&second, "trigger_ledger_rekey", &Value::Null);
    write(&second, "after a recovery and a rekey");

    let mut client = second.client("user0", Protocol::Http1);
    let certificate = second.common("service_cert.pem");
    for (at, (id, message)) in written.iter().enumerate() {
        let header = [("x-ms-ccf-transaction-id", id.as_str())];
        let past = once_there(&mut client, "/app/log/private/historical_receipt?id=3", &header).json();
        assert_eq!(past["msg"], message.as_str(), "{past}");
        // One of each time. What leads from the service of today to that of the time, scripts are not given.
        if at % 5 == 2 {
            let certificate: &Path = if at < 10 { &first_certificate } else { &certificate };
            judge(&second, certificate, "javascript.json", past["receipt"].to_string().as_bytes(), None);
        }
    }
    let mut found = Vec::new();
    let mut next = Some("/app/log/private/historical/range?id=3".to_owned());
    while let Some(path) = next {
        let page = once_there(&mut client, &path, &[]).json();
        let entries = page["entries"].as_array().unwrap();
        found.extend(entries.iter().map(|entry| entry["msg"].as_str().unwrap().to_owned()));
        next = page["@nextLink"].as_str().map(str::to_owned);
    }
    let expected: Vec<String> = written.into_iter().map(|(_, message)| message).collect();
    assert_eq!(found, expected);
    stop_and_judge(second);
}

/// Waits until the service takes shares, and runs the PyPI package's script as its documentation says.
fn hand_in_share_with_foreign_script(sandbox: &RunningSandbox, member: usize, encryption_key: &Path) {
    let deadline = Instant::now() + STEP_TIMEOUT;
    let address = loop {
        let addresses = fs::read_to_string(sandbox.node_folder().join("0.rpc_addresses")).unwrap_or_default();
        let addresses: Value = serde_json::from_str(&addresses).unwrap_or_default();
        if let Some(address) = addresses["primary_rpc_interface"].as_str()
            && takes_shares(sandbox, address)
        {
            break address.to_owned();
        }
        assert!(Instant::now() < deadline, "the service takes no shares: {addresses}");
        thread::sleep(Duration::from_millis(50));
    };
    let bin = shell::python_tool("");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let answer = shell::run(
        Command::new("bash")
            .arg(shell::python_tool("submit_recovery_share.sh"))
            .arg(format!("https://{address}"))
            .arg("--member-enc-privk")
            .arg(encryption_key)
            .arg("--member-id-privk")
            .arg(sandbox.common(&format!("member{member}_privk.pem")))
            .arg("--member-id-cert")
            .arg(sandbox.common(&format!("member{member}_cert.pem")))
            .arg("--cacert")
            .arg(sandbox.common("service_cert.pem"))
            .env("PATH", path),
    );
    assert!(answer.contains(" 200 ") && answer.contains("/2 "), "{answer}");
}

fn takes_shares(sandbox: &RunningSandbox, address: &str) -> bool {
    // The addresses are there before the certificate of the service.
    let certificate = fs::read_to_string(sandbox.common("service_cert.pem")).unwrap_or_default();
    if !certificate.contains("END CERTIFICATE") {
        return false;
    }
    let mut client = sandbox.client_of(address, "", Protocol::Http1);
    let network = client.get("/node/network").map(|reply| reply.json());
    network.is_ok_and(|network| network["service_status"] == "WaitingForRecoveryShares")
}
