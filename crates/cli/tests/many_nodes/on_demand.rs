//! What operators and members ask a running service for: snapshots, and certificates of a new validity.

use crate::{
    clients,
    member_node::Tuning,
    service::{Service, wait_for},
    shell,
};
use bytes::Bytes;
use ccf_crypto::cert::Certificate;
use ccf_ledger::files::list_snapshots;
use serde_json::json;
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};
use time::{OffsetDateTime, macros::format_description};

/// The newest snapshot of a node.
fn newest(service: &Service, index: usize) -> u64 {
    let snapshots = list_snapshots(&service.nodes[index].snapshots()).unwrap();
    snapshots.iter().filter(|it| it.name.committed).map(|it| it.name.seqno.0).max().unwrap_or(0)
}

/// A snapshot that is newer than `before`; nothing but signatures is written meanwhile.
fn wait_for_snapshot(service: &Service, index: usize, what: &str, before: u64) -> u64 {
    wait_for(what, || {
        let newest = newest(service, index);
        if newest > before { Ok(newest) } else { Err(format!("the newest is {newest}")) }
    })
}

#[test]
fn snapshots_are_taken_when_they_are_asked_for() {
    let tuning = Tuning { election_timeout: Duration::from_secs(10), ..Tuning::default() };
    let mut service = Service::open(2, tuning);
    let primary = service.primary();
    let opened = wait_for_snapshot(&service, primary, "the snapshot of the opening", 0);

    let mut user = service.client("user0", primary);
    assert_eq!(clients::write(&mut user, "x", 1).unwrap().status, 200);
    let path = "/node/snapshot:create";
    let asked = service.client("", primary).send("POST", path, None, Bytes::new()).unwrap();
    assert_eq!((asked.status.as_u16(), asked.body.len()), (204, 0), "{}", asked.refusal());
    let asked_for = wait_for_snapshot(&service, primary, "the snapshot of an operator", opened);

    // Not by a backup, nor where operators have no say.
    let refused = service.client("", 1 - primary).send("POST", path, None, Bytes::new()).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "TransactionReplicationFailed");
    let caller = service.caller("", Duration::from_secs(10));
    let mut closed = caller.client(&service.nodes[primary].redirecting);
    let absent = closed.send("POST", path, None, Bytes::new()).unwrap();
    assert_eq!((absent.status.as_u16(), absent.body.len()), (404, 0));

    // By the members.
    let action = json!({"name": "trigger_snapshot", "args": {}});
    let folder = service.nodes[primary].snapshots();
    service.achieve("a snapshot of the members", &[action], |_| {
        Some(list_snapshots(&folder).ok()?.iter().any(|it| it.name.committed && it.name.seqno.0 > asked_for))
    });
    service.stop();
    service.logs_must_be_clean();
}

#[test]
fn snapshots_are_taken_as_time_goes_by() {
    let interval = Some(Duration::from_millis(700));
    let long = Duration::from_secs(10);
    let tuning = Tuning { election_timeout: long, snapshot_time_interval: interval, ..Tuning::default() };
    let mut service = Service::open(1, tuning);
    let mut newest = wait_for_snapshot(&service, 0, "the first snapshot", 0);
    for round in 0..3 {
        // More than its own evidence must have happened.
        let mut user = service.client("user0", 0);
        for value in 0..5 {
            assert_eq!(clients::write(&mut user, "x", value).unwrap().status, 200);
        }
        newest = wait_for_snapshot(&service, 0, &format!("snapshot {round} of an idle service"), newest);
    }
    service.stop();
    service.logs_must_be_clean();
}

/// The certificate that a node shows to its clients.
fn shown(address: &str) -> Option<Certificate> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address]).stdin(Stdio::null());
    let told = String::from_utf8(shell::output(&mut command).stdout).ok()?;
    let begin = told.find("-----BEGIN CERTIFICATE-----")?;
    Certificate::from_pem(told.get(begin..)?.split_inclusive("-----END CERTIFICATE-----").next()?).ok()
}

#[test]
fn certificates_are_renewed_while_the_service_runs() {
    let tuning = Tuning { election_timeout: Duration::from_secs(10), ..Tuning::default() };
    let mut service = Service::open(2, tuning);
    let before = fs::read_to_string(service.certificate_file()).unwrap();
    let before = Certificate::from_pem(&before).unwrap();
    let format = format_description!("[year][month][day][hour][minute][second]Z");
    let from = (OffsetDateTime::now_utc() - time::Duration::MINUTE).format(format).unwrap();
    let validity = json!({"valid_from": from, "validity_period_days": 17});
    let ends = |certificate: &Certificate| {
        (certificate.validity().not_after() - OffsetDateTime::now_utc()).whole_days()
    };
    assert!(ends(&before) < 10);

    let of_service = json!({"name": "set_service_certificate_validity", "args": validity});
    service.achieve("a new certificate of the service", &[of_service], |client| {
        let network = client.get("/node/network").ok()?.json();
        let now = Certificate::from_pem(network["service_certificate"].as_str()?).ok()?;
        assert_eq!(now.spki_der(), before.spki_der(), "the key stays");
        Some(ends(&now) >= 15)
    });
    let mut all = validity.clone();
    all["node_id"] = service.nodes[1].id.as_str().into();
    let of_one = json!({"name": "set_node_certificate_validity", "args": all});
    let addresses: Vec<String> = service.nodes.iter().map(|node| node.address.clone()).collect();
    let key = shown(&addresses[1]).unwrap().spki_der().to_vec();
    service.achieve("a new certificate of a node", &[of_one], |_| {
        let now = shown(&addresses[1])?;
        assert_eq!(now.spki_der(), key, "the key stays");
        Some(ends(&now) >= 15)
    });
    assert!(ends(&shown(&addresses[0]).unwrap()) < 10, "the other node's stays");
    let of_all = json!({"name": "set_all_nodes_certificate_validity", "args": validity});
    service.achieve("new certificates of all nodes", &[of_all], |_| Some(ends(&shown(&addresses[0])?) >= 15));

    // Clients and nodes go on, those who know the old certificate and those who know the new one.
    let primary = service.primary();
    let network = service.client("", primary).get("/node/network").unwrap().json();
    for index in 0..2 {
        let mut user = service.client("user0", index);
        assert_eq!(clients::write(&mut user, "x", index as u64).unwrap().status, 200);
    }
    fs::write(service.certificate_file(), network["service_certificate"].as_str().unwrap()).unwrap();
    for index in 0..2 {
        let mut user = service.client("user0", index);
        assert_eq!(clients::write(&mut user, "x", index as u64).unwrap().status, 200);
    }
    service.stop();
    service.logs_must_be_clean();
}
