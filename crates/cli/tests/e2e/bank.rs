//! The main job: a sandbox with the bank, used as its text on the screen invites to, then audited.

use crate::{
    running::{RunningSandbox, is_running},
    shell, verdicts,
};
use ccf_cli::http_client::Protocol;
use serde_json::json;
use std::{process::Command, thread};

#[test]
fn the_bank_serves_the_printed_lines_and_leaves_a_ledger_that_auditors_accept() {
    let sandbox = RunningSandbox::start(&["--users", "2"]);
    let pid = sandbox.node_pid();
    let lines = sandbox.curl_lines();
    assert!(lines.len() >= 8, "{lines:#?}");
    let answers: Vec<(String, u16)> =
        lines.iter().map(|line| shell::curl(line, sandbox.folder.path())).collect();
    for (line, (body, status)) in lines.iter().zip(&answers) {
        assert!((200..300).contains(status), "{line}\n{status} {body}");
    }
    let balances: Vec<u64> = answers
        .iter()
        .filter_map(|(body, _)| serde_json::from_str::<serde_json::Value>(body).ok()?["balance"].as_u64())
        .collect();
    assert_eq!(balances, [100, 60, 60, 40]);

    transfers_in_parallel_keep_the_sum(&sandbox);
    errors_are_the_banks_own(&sandbox);

    let stopped = sandbox.stop();
    stopped.must_be_clean();
    assert!(!is_running(pid), "the node outlived its sandbox");
    verdicts::must_be_accepted(&stopped);

    // The auditor sees governance in clear, and of the bank nothing but encrypted bytes.
    let text =
        shell::run(Command::new(shell::ccf()).args(["ledger", "read", "--uncommitted"]).arg(&stopped.ledger));
    assert!(
        text.contains("public:ccf.gov.proposals_info") && text.contains("public:ccf.gov.endpoints"),
        "{text}"
    );
    assert!(!text.contains("bank.accounts"), "{text}");
    let table = Command::new(shell::ccf())
        .args(["ledger", "read", "--uncommitted", "--json", "--table", "ccf.gov.service.info"])
        .arg(&stopped.ledger)
        .output()
        .unwrap();
    let last = String::from_utf8(table.stdout).unwrap().lines().last().unwrap().to_owned();
    assert!(last.contains(r#"\"status\":\"Open\""#), "{last}");
}

/// Many transfers between the same two accounts at once: whatever order they take, no money appears or vanishes.
fn transfers_in_parallel_keep_the_sum(sandbox: &RunningSandbox) {
    let user = |name: &str| {
        let text = std::fs::read_to_string(sandbox.common(&format!("{name}_cert.pem"))).unwrap();
        ccf_crypto::cert::Certificate::from_pem(&text).unwrap().user_id().to_string()
    };
    let ids = [user("user0"), user("user1")];
    for who in ["user0", "user1"] {
        let mut client = sandbox.client(who, Protocol::Http1);
        let opened = client.send("PUT", "/app/account/joint", None, bytes::Bytes::new()).unwrap();
        assert!(opened.status.is_success(), "{}", opened.refusal());
        let paid = client.post("/app/deposit/joint", "application/json", r#"{"value":1000}"#).unwrap();
        assert_eq!(paid.json()["balance"], 1000, "{}", paid.refusal());
    }
    thread::scope(|scope| {
        for worker in 0..4usize {
            let (from, to) = (worker % 2, 1 - worker % 2);
            let body = json!({"value": 1 + worker, "to_user": ids[to], "to_account": "joint"}).to_string();
            let mut client = sandbox.client(&format!("user{from}"), Protocol::Http1);
            scope.spawn(move || {
                for _ in 0..50 {
                    let reply = client.post("/app/transfer/joint", "application/json", body.clone()).unwrap();
                    assert!(reply.status.is_success(), "{}", reply.refusal());
                }
            });
        }
    });
    let balance = |who: &str| {
        let reply = sandbox.client(who, Protocol::Http1).get("/app/balance/joint").unwrap();
        reply.json()["balance"].as_u64().unwrap()
    };
    // user0 sends 1 and 3 fifty times each, user1 2 and 4.
    assert_eq!((balance("user0"), balance("user1")), (1000 + 50 * (6 - 4), 1000 - 50 * (6 - 4)));
}

fn errors_are_the_banks_own(sandbox: &RunningSandbox) {
    let mut user = sandbox.client("user0", Protocol::Http1);
    let mut post = |body: &str| {
        let reply = user.post("/app/transfer/current", "application/json", body.to_owned()).unwrap();
        (reply.status.as_u16(), reply.text())
    };
    let to = |value: &str| format!(r#"{{"value":{value},"to_user":"x","to_account":"y"}}"#);
    for value in ["0", "-1", "1.5", "\"5\"", "null"] {
        assert_eq!(post(&to(value)).0, 400, "{value}");
    }
    assert_eq!(post("{ broken").0, 400);
    assert_eq!(post(&to("5")).0, 404, "unknown user");
    assert_eq!(sandbox.client("", Protocol::Http1).get("/app/balance/current").unwrap().status, 401);
    assert_eq!(sandbox.client("member0", Protocol::Http1).get("/app/balance/current").unwrap().status, 401);
}

/// When its terminal goes away the sandbox stops its node, and says how to verify the ledger.
#[test]
fn a_hangup_stops_the_nodes_too() {
    let sandbox = RunningSandbox::start(&[]);
    let node = sandbox.node_pid();
    let stopped = sandbox.stop_by("HUP");
    stopped.must_be_clean();
    assert!(!is_running(node));
    let advice = stopped.printed.iter().find_map(|line| line.split_once("Verify the ledger: "));
    let (_, command) = advice.unwrap();
    let verdict = shell::output(Command::new("sh").args(["-c", command]).current_dir(stopped.folder.path()));
    assert!(verdict.status.success(), "{command}: {}", shell::told(&verdict));
}

#[test]
fn http2_works_from_start_to_stop() {
    let sandbox = RunningSandbox::start(&["--http2"]);
    let reply = sandbox.client("user0", Protocol::Http2).get("/app/commit").unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.tx_id().is_some());
    let (body, status) = shell::curl(&sandbox.curl_lines()[0], sandbox.folder.path());
    assert!((200..300).contains(&status), "{status} {body}");
    let stopped = sandbox.stop();
    stopped.must_be_clean();
    verdicts::must_be_accepted(&stopped);
}
