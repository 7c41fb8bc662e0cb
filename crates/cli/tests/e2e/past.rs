//! The past over HTTP: receipts in both forms, judged by the PyPI package, past states, ranges and indexes, for a
//! JavaScript application and for a native one.

use crate::{running::RunningSandbox, shell};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ccf_cli::http_client::{HttpClient, Protocol, Reply};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// What takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_past_of_a_javascript_application() {
    let app = shell::root().join("samples/logging-js");
    the_past(&RunningSandbox::start(&["--app", &app.to_string_lossy()]));
}

#[test]
fn the_past_of_a_native_application() {
    let program = shell::sibling("logging");
    let sandbox = RunningSandbox::start(&["--package", &program.to_string_lossy()]);
    the_past(&sandbox);
    let mut user = sandbox.client("user0", Protocol::Http1);
    let strategies = user.get("/node/index/strategies").unwrap().json();
    assert_eq!(strategies[0]["name"], "SeqnosByKey public:records", "{strategies}");
    assert!(strategies[0]["indexed_watermark"].is_string(), "{strategies}");
}

/// Transactions that one bucket of the native application's index spans.
const BUCKET: u64 = 10_000;

/// What is older than a bucket goes to encrypted files, is read back, and is made anew when somebody damages it.
#[test]
fn what_is_old_in_an_index_goes_to_files_and_may_be_damaged() {
    let program = shell::sibling("logging");
    let sandbox = RunningSandbox::start(&["--package", &program.to_string_lossy()]);
    let mut user = sandbox.client("user0", Protocol::Http1);
    let mut record = |text: String| {
        let record = json!({ "id": 3, "msg": text });
        let answer = send(&mut user, "/app/log/public", &record, ("x-ccf-wait-for-commit", "20000"));
        answer.tx_id().unwrap().split_once('.').unwrap().1.parse::<u64>().unwrap()
    };
    let mut expected: Vec<String> = (0..5).map(|number| format!("early {number}")).collect();
    for text in &expected {
        record(text.clone());
    }
    thread::scope(|scope| {
        for writer in 0..4 {
            let mut client = sandbox.client("user0", Protocol::Http1);
            scope.spawn(move || {
                for _ in 0..BUCKET / 4 {
                    let filler = json!({ "id": 100 + writer, "msg": "x" }).to_string();
                    let reply = client.post("/app/log/private", "application/json", filler).unwrap();
                    assert_eq!(reply.status, 200, "{}", reply.text());
                }
            });
        }
    });
    let late = record("late".to_owned());
    assert!(late > BUCKET, "{late}");
    expected.push("late".to_owned());

    // The index is made when it is first asked for; this question needs no file.
    let path = format!("/app/log/public/historical/range?id=3&from_seqno={late}&to_seqno={late}");
    assert_eq!(once_there(&mut user, &path, &[]).json()["entries"][0]["msg"], "late");
    let files = || -> Vec<PathBuf> {
        let folder = std::fs::read_dir(sandbox.node_folder().join(".index")).unwrap();
        folder.flatten().map(|entry| entry.path()).collect()
    };
    assert!(!files().is_empty(), "nothing went to a file");
    let all = |user: &mut HttpClient| {
        let mut found = Vec::new();
        let mut next = Some(format!("/app/log/public/historical/range?id=3&to_seqno={late}"));
        while let Some(path) = next {
            let page = once_there(user, &path, &[]).json();
            let entries = page["entries"].as_array().unwrap();
            found.extend(entries.iter().map(|entry| entry["msg"].as_str().unwrap().to_owned()));
            next = page["@nextLink"].as_str().map(str::to_owned);
        }
        found
    };
    for file in files() {
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    assert_eq!(all(&mut user), expected);
    let log = std::fs::read_to_string(sandbox.node_folder().join("out")).unwrap();
    assert!(log.contains("is lost and will be made anew"), "{log}");
    assert_eq!(all(&mut user), expected);
    let stopped = sandbox.stop();
    assert!(stopped.status.success(), "{}", stopped.complaints);
}

fn the_past(sandbox: &RunningSandbox) {
    let mut user = sandbox.client("user0", Protocol::Http1);
    let folder = sandbox.folder.path();
    let cert = sandbox.common("service_cert.pem");

    // A receipt in the answer itself.
    let record = json!({ "id": 7, "msg": "first of seven" });
    let answer = send(&mut user, "/app/log/private", &record, ("x-ccf-receipt", "cose"));
    assert_eq!(answer.headers["x-ccf-commit-status"], "Committed");
    let cose = STANDARD.decode(answer.headers["x-ccf-receipt"].as_bytes()).unwrap();
    judge(sandbox, &cert, "inline.cose", &cose, None);
    let first = answer.tx_id().unwrap().to_owned();
    let answer = send(&mut user, "/app/log/private", &record, ("x-ccf-receipt", "json"));
    judge(sandbox, &cert, "inline.json", answer.headers["x-ccf-receipt"].as_bytes(), None);

    // With claims.
    let claimed = json!({ "id": 7, "msg": "with claims", "record_claim": true });
    let public = send(&mut user, "/app/log/public", &claimed, ("x-ccf-wait-for-commit", "5000"));
    let public = public.tx_id().unwrap().to_owned();
    let digest = ccf_crypto::hash::sha256(b"with claims").to_string();
    for (path, file) in [("/app/receipt/cose", "claims.cose"), ("/app/receipt", "claims.json")] {
        let receipt = once_there(&mut user, &format!("{path}?transaction_id={public}"), &[]);
        judge(sandbox, &cert, file, &receipt.body, Some(&digest));
    }

    // Every transaction since the beginning, signatures too, of every frontend.
    let commit = user.get("/app/commit").unwrap().json()["transaction_id"].as_str().unwrap().to_owned();
    let last: u64 = commit.split_once('.').unwrap().1.parse().unwrap();
    for seqno in 1..=last {
        let frontend = ["app", "node", "gov"][usize::try_from(seqno % 3).unwrap()];
        let receipt = once_there(&mut user, &format!("/{frontend}/receipt?transaction_id=2.{seqno}"), &[]);
        let file = folder.join("one.json");
        std::fs::write(&file, &receipt.body).unwrap();
        shell::run(&mut verify(&cert, &file, None));
    }

    // What a transaction wrote, with its receipt.
    let header = [("x-ms-ccf-transaction-id", first.as_str())];
    let past = once_there(&mut user, "/app/log/private/historical?id=7", &header);
    assert_eq!(past.json(), json!({ "msg": "first of seven" }));
    assert_eq!(once_there(&mut user, "/app/log/private/historical?id=8", &header).status, 204);
    let past = once_there(&mut user, "/app/log/private/historical_receipt?id=7", &header).json();
    let evidence = past["receipt"]["leaf_components"]["commit_evidence"].as_str().unwrap();
    assert!(evidence.starts_with(&format!("ce:{first}:")), "{past}");
    let header = [("x-ms-ccf-transaction-id", public.as_str())];
    let past = once_there(&mut user, "/app/log/public/historical_receipt?id=7", &header).json();
    assert_eq!(past["receipt"]["leaf_components"]["claims_digest"], Value::Null);

    // A range.
    for at in 0..20 {
        let record = json!({ "id": at % 2, "msg": format!("message {at}") });
        user.post("/app/log/public", "application/json", record.to_string()).unwrap();
    }
    let record = json!({ "id": 1, "msg": "the last" });
    send(&mut user, "/app/log/public", &record, ("x-ccf-wait-for-commit", "5000"));
    let page = once_there(&mut user, "/app/log/public/historical/range?id=1", &[]).json();
    let messages: Vec<&str> =
        page["entries"].as_array().unwrap().iter().map(|entry| entry["msg"].as_str().unwrap()).collect();
    assert_eq!(messages.len(), 11, "{page}");
    assert_eq!((messages[0], messages[10]), ("message 1", "the last"));

    // What was never, and what is not yet.
    for (tx_id, code) in [("99999.1", "TransactionInvalid"), ("99999.999999", "TransactionPendingOrUnknown")]
    {
        let reply = user.get(&format!("/node/receipt?transaction_id={tx_id}")).unwrap();
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (404, &json!(code)));
    }
    let size = user.get("/node/historical_cache").unwrap().json();
    assert!(size["estimated_size"].as_u64().unwrap() > 0, "{size}");
}

/// Sends a record with one more header; it must be accepted.
fn send(user: &mut HttpClient, path: &str, record: &Value, header: (&'static str, &str)) -> Reply {
    let headers = [("content-type", "application/json"), header];
    let reply = user.send_with("POST", path, &headers, record.to_string().into()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// Asks until the past is there.
pub(crate) fn once_there(user: &mut HttpClient, path: &str, headers: &[(&'static str, &str)]) -> Reply {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = user.send_with("GET", path, headers, bytes::Bytes::new()).unwrap();
        if reply.status != 202 {
            assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text());
            return reply;
        }
        assert!(reply.headers.contains_key("retry-after"));
        assert!(Instant::now() < deadline, "{path}: {}", reply.text());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The PyPI package, verifiers that know nothing of it, and our own tool must accept a receipt, and ours must refuse
/// another service's and other claims. `cert` is that of the service which signed, or, for a receipt in JSON, of one that
/// continues it.
pub(crate) fn judge(sandbox: &RunningSandbox, cert: &Path, name: &str, receipt: &[u8], claims: Option<&str>) {
    let file = sandbox.folder.path().join(name);
    std::fs::write(&file, receipt).unwrap();
    let judge = |python: PathBuf, script: &str| {
        let script = shell::root().join("crates/cli/tests/e2e").join(script);
        let told = shell::run(Command::new(python).arg(script).arg(cert).arg(&file).args(claims));
        assert_eq!(told.trim(), "accepted");
    };
    judge(shell::python_tool("python"), "judge_receipt.py");
    if !receipt.starts_with(b"{") {
        judge(shell::cose_python(), "judge_cose.py");
    }
    let told = shell::run(&mut verify(cert, &file, claims));
    assert!(told.contains("receipt holds") && told.contains("Not proved"), "{told}");
    let other = "0".repeat(63) + "1";
    let refused = shell::output(&mut verify(cert, &file, Some(&other)));
    assert_eq!(refused.status.code(), Some(1), "{}", shell::told(&refused));
    let stranger = sandbox.common("user0_cert.pem");
    let refused = shell::output(&mut verify(&stranger, &file, None));
    assert_eq!(refused.status.code(), Some(1), "{}", shell::told(&refused));
}

fn verify(cert: &Path, file: &Path, claims: Option<&str>) -> Command {
    let mut command = Command::new(shell::ccf());
    command.args(["receipt", "verify", "--service-cert"]).arg(cert).arg(file);
    if let Some(digest) = claims {
        command.args(["--claims-digest", digest]);
    }
    command
}
