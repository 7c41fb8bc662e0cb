//! Services that CCF itself has written are recovered by our node, with the keys of their members, down to their
//! private state.

use crate::{messages, running::RunningSandbox, shell, verdicts};
use ccf_cli::{
    governance_client::{BALLOT_YES, GovernanceClient},
    http_client::Protocol,
    identity::Identity,
};
use ccf_crypto::key::Curve;
use flate2::read::GzDecoder;
use serde_json::json;
use std::{fs::File, path::Path};
use time::OffsetDateTime;

/// Each service, how often it has been recovered afterwards, and how many private messages it holds. In the first and
/// the last nothing private was ever written.
const SERVICES: [(&str, u64, u64); 4] = [
    ("acme_containing_service", 1, 0),
    ("cose_flipflop_service", 1, 1),
    ("expired_service", 2, 3),
    ("sgx_service", 4, 0),
];

/// The last of the numbers that the messages of [`SERVICES`] are looked for under.
const NUMBER_MAX: u64 = 3;

#[test]
fn services_written_by_ccf_are_recovered() {
    let program = shell::sibling("logging");
    for (name, recoveries, private) in SERVICES {
        let folder = tempfile::tempdir().unwrap();
        let archive = shell::root().join(format!("testdata/ledgers/{name}.tar.gz"));
        tar::Archive::new(GzDecoder::new(File::open(archive).unwrap())).unpack(folder.path()).unwrap();
        let folder = folder.path().join(name);
        let (ledger, common) = (folder.join("ledger"), folder.join("common"));
        let sandbox = RunningSandbox::start(&[
            "--package",
            program.to_str().unwrap(),
            "--recover",
            "--ledger-dir",
            ledger.to_str().unwrap(),
            "--common-dir",
            common.to_str().unwrap(),
        ]);
        let mut client = sandbox.client("", Protocol::Http1);
        let network = client.get("/node/network").unwrap().json();
        assert_eq!(network["service_status"], "Open", "{name}: {network}");
        assert_eq!(network["recovery_count"], recoveries, "{name}: {network}");

        // The certificates of its users have expired long since.
        add_user(&sandbox, &common);
        let mut client = sandbox.client("newcomer", Protocol::Http1);
        let count = client.get("/app/log/private/count").unwrap();
        assert_eq!(count.text(), private.to_string(), "{name}");
        if name == "expired_service" {
            for id in 1..=NUMBER_MAX {
                let message = messages::read(&mut client, id);
                assert_eq!(message, Some(format!("Private message at idx {id} [0]")));
            }
        }
        messages::write(&mut client, 1, "written by another implementation");
        assert_eq!(messages::read(&mut client, 1).as_deref(), Some("written by another implementation"));

        let stopped = sandbox.stop();
        assert!(stopped.status.success(), "{name}: {:#?}\n{}", stopped.printed, stopped.complaints);
        verdicts::must_be_accepted(&stopped);
        verdicts::secrets_must_be_linked(&stopped.ledger);
    }
}

fn add_user(sandbox: &RunningSandbox, common: &Path) {
    let user = Identity::generate("newcomer", Curve::P384, false, OffsetDateTime::now_utc(), 10).unwrap();
    user.write(&sandbox.common(""), "newcomer").unwrap();
    let mut client = sandbox.client("", Protocol::Http1);
    let mut governance = GovernanceClient::new(&mut client);
    let actions = json!({"actions": [{"name": "set_user", "args": {"cert": user.certificate.to_pem()}}]});
    let member = |n: usize| Identity::load_named(common, &format!("member{n}")).unwrap();
    let mut proposal = governance.propose(&member(0), &actions).unwrap();
    for n in 0.. {
        if proposal.state == "Accepted" {
            break;
        }
        proposal = governance.vote(&member(n), &proposal.id, BALLOT_YES).unwrap();
    }
}
