//! The past on a node that began from a snapshot: what came before is not there, and says so; once the operator gives the
//! node the files it is there, proved as anywhere else, one by one and in ranges.

use crate::{
    clients,
    member_node::{EARLIER, Tuning},
    service::{Service, copy_files, wait_for},
    shell,
};
use bytes::Bytes;
use ccf_cli::http_client::{HttpClient, Reply};
use ccf_ledger::files::list_snapshots;
use ccf_types::TxId;
use serde_json::{Value, json};
use std::{fs, process::Command, time::Duration};

const VALUES: u64 = 30;

fn ask(client: &mut HttpClient, path: &str, id: TxId) -> Reply {
    let id = id.to_string();
    client.send_with("GET", path, &[("x-ms-ccf-transaction-id", &id)], Bytes::new()).unwrap()
}

fn write(client: &mut HttpClient, name: &str, value: u64) -> TxId {
    let reply = clients::write(client, name, value).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.refusal());
    reply.tx_id().unwrap().parse().unwrap()
}

#[test]
fn a_node_from_a_snapshot_has_the_past_once_it_has_the_files() {
    // No election is wanted here, however busy the machine.
    let tuning =
        Tuning { election_timeout: Duration::from_secs(10), snapshot_tx_interval: 50, ..Tuning::default() };
    let mut service = Service::open(2, tuning);
    let primary = service.primary();
    let mut user = service.client("user0", primary);
    let early: Vec<TxId> = (0..VALUES).map(|value| write(&mut user, "early", value)).collect();
    let [first, .., last] = early[..] else { panic!("{early:?}") };
    // A snapshot after all of them.
    wait_for("a later snapshot", || {
        write(&mut user, "filler", 1);
        let snapshots = list_snapshots(&service.nodes[primary].snapshots()).map_err(|e| e.to_string())?;
        let newest = snapshots.iter().filter(|it| it.name.committed).map(|it| it.name.seqno).max();
        if newest.is_some_and(|seqno| seqno > last.seqno) { Ok(()) } else { Err(format!("{newest:?}")) }
    });
    let joiner = service.join(primary, Some(primary));
    service.trust(joiner);
    let late = write(&mut user, "late", 7);
    let mut client = service.client("user0", joiner);
    let there = |client: &mut HttpClient, path: &str, id: TxId| {
        wait_for("the past", || {
            let reply = ask(client, path, id);
            if reply.status == 200 { Ok(reply.json()) } else { Err(reply.refusal()) }
        })
    };

    // What came after the snapshot is there.
    assert_eq!(there(&mut client, "/app/register/late/past", late)["value"], 7);
    // What came before is not, however often one asks; nor is it invented.
    let range = format!("/app/registers/past?from={}&to={}", first.seqno, last.seqno);
    for _ in 0..10 {
        for path in ["/app/register/early/past", &range, &format!("/node/receipt?transaction_id={first}")] {
            let reply = ask(&mut client, path, first);
            assert_eq!(reply.status, 202, "{path}: {}", reply.refusal());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // A file that is not of this ledger at that place changes nothing, and does no harm.
    let given = service.nodes[joiner].folder.join(EARLIER);
    let name = |end: u64| format!("ledger_1-{end}.committed");
    fs::write(given.join(name(first.seqno.0)), b"not a ledger file").unwrap();
    assert_eq!(ask(&mut client, "/app/register/early/past", first).status, 202);
    fs::remove_file(given.join(name(first.seqno.0))).unwrap();

    // The files of the primary.
    copy_files(&service.nodes[primary].ledger(), &given);
    for (value, id) in early.iter().enumerate() {
        let past = there(&mut client, "/app/register/early/past", *id);
        assert_eq!(
            (&past["value"], &past["transactionId"]),
            (&json!(value), &json!(id.to_string())),
            "{past}"
        );
    }
    let past = there(&mut client, &range, first);
    assert_eq!(past["transactions"], last.seqno.0 - first.seqno.0 + 1);
    let written: Vec<&Value> =
        past["written"].as_array().unwrap().iter().filter(|it| it["name"] == "early").collect();
    assert_eq!(written.len() as u64, VALUES, "{past}");
    assert!(written.iter().enumerate().all(|(at, it)| it["value"] == at), "{past}");
    // And proved.
    let receipt = there(&mut client, &format!("/node/receipt?transaction_id={first}"), first);
    let file = service.nodes[joiner].folder.join("receipt.json");
    fs::write(&file, receipt.to_string()).unwrap();
    let told = shell::run(
        Command::new(shell::ccf())
            .args(["receipt", "verify", "--service-cert"])
            .arg(service.certificate_file())
            .arg(&file),
    );
    assert!(told.contains("receipt holds"), "{told}");
    service.stop();
    service.logs_must_be_clean();
}
