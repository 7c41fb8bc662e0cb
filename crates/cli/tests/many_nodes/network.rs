//! Three nodes that do nothing but work: writes through every node, what each tells about the network and about
//! transactions, forwarding and redirections.

use crate::{
    clients::{self, is_absent},
    member_node::Tuning,
    service::{Service, wait_for},
    verdicts,
};
use ccf_cli::http_client::HttpClient;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_node_serves_writes_and_tells_the_same() {
    // No election is wanted here, however busy the machine.
    let tuning = Tuning { election_timeout: Duration::from_secs(10), ..Tuning::default() };
    let mut service = Service::open(3, tuning);
    let primary = service.primary();
    let mut written = Vec::new();
    for index in 0..3 {
        let mut client = service.client("user0", index);
        let register = format!("by-{index}");
        let reply = clients::read(&mut client, &register, false).unwrap();
        assert!(is_absent(&reply), "{}", reply.refusal());
        let reply = clients::write(&mut client, &register, index as u64).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.refusal());
        assert_eq!(reply.headers["x-ccf-commit-status"], "Committed");
        written.push(reply.tx_id().unwrap().to_owned());
        // A session that was forwarded once reads where it wrote.
        let reply = clients::read(&mut client, &register, false).unwrap();
        assert_eq!(reply.json()["value"], index);
        // Another session reads, asked for linearizable, what was written through any node.
        let mut other = service.client("user0", (index + 1) % 3);
        let reply = clients::read(&mut other, &register, true).unwrap();
        assert_eq!(reply.json()["value"], index, "{}", reply.refusal());
        // And anyhow in the end.
        let mut local = service.client("user0", (index + 2) % 3);
        wait_for("a backup to apply a write", || {
            let reply = clients::read(&mut local, &register, false).ok_or("no answer")?;
            if reply.json()["value"] == index { Ok(()) } else { Err(reply.refusal()) }
        });
    }
    transactions_have_the_same_status_everywhere(&service, &written);
    every_node_describes_the_network(&service, primary);
    redirections_name_the_primary(&service, primary);

    let commits: Vec<_> = (0..3).map(|index| service.commit_of(index)).collect();
    service.stop();
    service.logs_must_be_clean();
    for node in &service.nodes {
        verdicts::must_be_accepted(&node.ledger(), &[], &service.certificate_file());
    }
    let nodes: Vec<_> = service.nodes.iter().zip(commits).collect();
    verdicts::must_be_identical(&nodes);
}

fn status(client: &mut HttpClient, id: &str) -> String {
    let reply = client.get(&format!("/app/tx?transaction_id={id}")).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.refusal());
    assert_eq!(reply.json()["transaction_id"], id);
    reply.json()["status"].as_str().unwrap().to_owned()
}

fn transactions_have_the_same_status_everywhere(service: &Service, written: &[String]) {
    for index in 0..3 {
        let mut client = service.client("", index);
        for id in written {
            wait_for("a transaction to be committed on every node", || match status(&mut client, id) {
                status if status == "Committed" => Ok(()),
                status => Err(status),
            });
            let (view, seqno) = id.split_once('.').unwrap();
            let view: u64 = view.parse().unwrap();
            assert_eq!(status(&mut client, &format!("{}.{seqno}", view - 1)), "Invalid");
            assert_eq!(status(&mut client, &format!("{}.{seqno}", view + 1)), "Invalid");
        }
        assert_eq!(status(&mut client, "1000.1000000"), "Unknown");
        let malformed = client.get("/app/tx?transaction_id=2-5").unwrap();
        assert_eq!(malformed.status, 400, "{}", malformed.refusal());
    }
}

fn every_node_describes_the_network(service: &Service, primary: usize) {
    let ids: Vec<&str> = service.nodes.iter().map(|node| node.id.as_str()).collect();
    for index in 0..3 {
        let mut client = service.client("", index);
        let network = client.get("/node/network").unwrap().json();
        assert_eq!(network["service_status"], "Open", "{network}");
        assert_eq!(network["primary_id"], ids[primary], "{network}");
        assert!(network["current_view"].as_u64().unwrap() >= 2, "{network}");

        let nodes = client.get("/node/network/nodes").unwrap().json();
        let nodes = nodes["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 3);
        for node in nodes {
            assert!(ids.contains(&node["node_id"].as_str().unwrap()), "{node}");
            assert_eq!(node["status"], "Trusted");
            assert_eq!(node["primary"], node["node_id"] == ids[primary]);
        }
        let own = client.get("/node/network/nodes/self").unwrap().json();
        assert_eq!(own["node_id"], ids[index]);
        let named = client.get("/node/network/nodes/primary").unwrap().json();
        assert_eq!(named["node_id"], ids[primary]);

        let consensus = client.get("/node/consensus").unwrap().json();
        let details = &consensus["details"];
        let expected = if index == primary { "Leader" } else { "Follower" };
        assert_eq!(details["leadership_state"], expected, "{consensus}");
        assert_eq!(details["membership_state"], "Active");
        assert_eq!(details["primary_id"], ids[primary]);
        assert_eq!(details["current_view"], network["current_view"]);
        let newest = details["configs"].as_array().unwrap().last().unwrap();
        assert_eq!(newest["nodes"].as_object().unwrap().len(), 3, "{consensus}");
        let (is_primary, is_backup) = if index == primary { (200, 404) } else { (404, 200) };
        assert_eq!(client.get("/node/primary").unwrap().status, is_primary);
        assert_eq!(client.get("/node/backup").unwrap().status, is_backup);
        let removable = client.get("/node/network/removable_nodes").unwrap().json();
        assert_eq!(removable["nodes"].as_array().map(Vec::len), Some(0));
    }
}

fn redirections_name_the_primary(service: &Service, primary: usize) {
    let caller = service.caller("user0", PATIENCE);
    for index in 0..3 {
        let mut client = caller.client(&service.nodes[index].redirecting);
        let reply = clients::write(&mut client, "redirected", 7).unwrap();
        if index == primary {
            assert_eq!(reply.status, 200, "{}", reply.refusal());
            continue;
        }
        assert_eq!(reply.status, 307, "{}", reply.refusal());
        assert!(reply.tx_id().is_none());
        let location = reply.headers["location"].to_str().unwrap();
        let expected = format!("https://{}/app/register/redirected", service.nodes[primary].redirecting);
        assert_eq!(location, expected);
        let mut followed = caller.client(&service.nodes[primary].redirecting);
        let reply = clients::write(&mut followed, "redirected", 8).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.refusal());
        // Reads stay where they are, unless they are to be linearizable.
        assert_eq!(clients::read(&mut client, "by-0", false).unwrap().status, 200);
        assert_eq!(clients::read(&mut client, "by-0", true).unwrap().status, 307);
    }
}
