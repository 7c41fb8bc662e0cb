//! Recovery without members' shares: a killed node's successor unseals the ledger secret; several decide among themselves.

pub(crate) mod lives;

use crate::service::wait_for;
use ccf_crypto::cert::Certificate;
use lives::{Consortium, Node, Plan, free_addresses, location};
use serde_json::{Value, json};

#[test]
fn a_sealed_service_is_recovered_again_and_again_without_shares() {
    let consortium = Consortium::new();
    let addresses = free_addresses(1);
    let plan = Plan { program: "logging", sealing: location("here"), address: &addresses[0] };
    let node = consortium.start("life0", &plan);
    node.write(0, "written in life 0");
    let log = node.log();
    assert!(log.contains("is INSECURE"), "{log}");
    let mut remains = node.kill();
    for life in 1..3 {
        let mut node = consortium.recover(&format!("life{life}"), &remains, &plan);
        consortium.reopen(&mut node).unwrap();
        node.wait_until_open();
        assert_eq!(node.get("/node/network")["recovery_count"], life);
        for before in 0..life {
            node.must_hold(before, &format!("written in life {before}"));
        }
        node.write(life, &format!("written in life {life}"));
        remains = if life == 1 { node.kill() } else { node.stop() };
    }
    remains.must_be_accepted();
}

#[test]
fn what_was_not_sealed_for_this_node_is_not_unsealed() {
    let consortium = Consortium::new();
    let addresses = free_addresses(1);
    let plan =
        |program: &'static str, name| Plan { program, sealing: location(name), address: &addresses[0] };
    let node = consortium.start("sealed", &plan("logging", "here"));
    node.write(0, "private");
    let remains = node.kill();

    let mut stranger = consortium.recover("elsewhere", &remains, &plan("logging", "elsewhere"));
    let log = stranger.wait_for_end();
    let text = "Failed to find sealed recovery data for location (elsewhere) in ledger at ";
    assert!(log.lines().any(|line| line.contains("[fatal]") && line.contains(text)), "{log}");

    // The virtual platform's key is that of the program.
    let mut other = consortium.recover("other_program", &remains, &plan("js_generic", "here"));
    let refusal = consortium.reopen(&mut other).unwrap_err();
    let text = "Unable to open service: Failed to unseal ledger secret for private recovery";
    assert!(refusal.contains(text), "{refusal}");
    assert_eq!(other.get("/node/network")["service_status"], "Recovering");
    drop(other);

    let mut same = consortium.recover("same", &remains, &plan("logging", "here"));
    consortium.reopen(&mut same).unwrap();
    same.wait_until_open();
    same.must_hold(0, "private");
}

/// `sealing_recovery` of one of several nodes that decide.
fn deciding(addresses: &[String], index: usize, failover: &str) -> Value {
    let place = |index: usize| json!({"name": format!("place {index}"), "address": addresses[index]});
    let all: Vec<Value> = (0..addresses.len()).map(place).collect();
    json!({
        "location": place(index),
        "recovery_decision_protocol": {"expected_locations": all, "failover_timeout": failover},
    })
}

/// The same before the disaster.
fn at_place(index: usize) -> Value {
    location(&format!("place {index}"))
}

fn serves(node: &Node) -> bool {
    node.client_as("").get("/app/commit").is_ok_and(|reply| reply.status == 200)
}

/// The identifier of the node as of its latest start.
fn id_of(node: &mut Node) -> Option<String> {
    Some(Certificate::from_pem(&node.file("0.pem")).ok()?.public_key().ok()?.node_id().to_string())
}

fn status_of(id: &str, at: &Node) -> String {
    let reply = at.client_as("").get(&format!("/node/network/nodes/{id}"));
    reply.map(|reply| reply.json()["status"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn three_nodes_decide_which_one_opens_and_the_others_join_it() {
    let consortium = Consortium::new();
    let addresses = free_addresses(3);
    let plan = |index: usize, sealing| Plan { program: "logging", sealing, address: &addresses[index] };
    let first = consortium.start("first", &plan(0, at_place(0)));
    let second = consortium.join("second", &first, &plan(1, at_place(1)));
    let third = consortium.join("third", &first, &plan(2, at_place(2)));
    first.write(0, "before the disaster");
    let remains = [first.kill(), second.kill(), third.kill()];

    // Nobody proposes or votes until the service is open.
    let mut nodes: Vec<Node> = (0..3)
        .map(|index| {
            let sealing = deciding(&addresses, index, "120s");
            consortium.recover(&format!("again{index}"), &remains[index], &plan(index, sealing))
        })
        .collect();
    let open = wait_for("one of the nodes to serve", || {
        nodes.iter_mut().try_for_each(Node::must_run)?;
        nodes.iter().position(serves).ok_or_else(|| "none does".to_owned())
    });
    assert!(nodes[open].log().contains("most locations chose this node"), "{}", nodes[open].log());
    nodes[open].must_hold(0, "before the disaster");
    assert_eq!(nodes[open].get("/node/network")["recovery_count"], 1);
    nodes[open].write(1, "after it");
    let others: Vec<usize> = (0..3).filter(|index| *index != open).collect();
    for &other in &others {
        let id = wait_for("another node to ask to join", || {
            nodes[other].must_run()?;
            let id = id_of(&mut nodes[other]).ok_or("no certificate yet")?;
            match status_of(&id, &nodes[open]).as_str() {
                "Pending" => Ok(id),
                status => Err(format!("it is {status:?}")),
            }
        });
        consortium.trust(&nodes[open], &id);
    }
    for &other in &others {
        nodes[other].wait_until_open();
        nodes[other].must_hold(0, "before the disaster");
        nodes[other].must_hold(1, "after it");
        assert_eq!(nodes[other].log().matches("opens its service").count(), 0);
        let all = nodes[other].get("/node/network/nodes");
        let trusted =
            all["nodes"].as_array().unwrap().iter().filter(|node| node["status"] == "Trusted").count();
        assert_eq!(trusted, 3, "{all}");
    }
    nodes[open].write(2, "with all of them");
    nodes[others[0]].must_hold(2, "with all of them");
    for node in nodes {
        node.stop().must_be_accepted();
    }
}

#[test]
fn a_node_that_is_left_alone_opens_after_its_timeouts_and_says_so() {
    let consortium = Consortium::new();
    let addresses = free_addresses(3);
    let plan = |sealing| Plan { program: "logging", sealing, address: &addresses[1] };
    let node = consortium.start("before", &plan(at_place(1)));
    node.write(0, "before the disaster");
    let remains = node.kill();
    let mut node = consortium.recover("after", &remains, &plan(deciding(&addresses, 1, "700ms")));
    node.wait_until_open();
    assert!(node.log().contains("opens its service without a majority"), "{}", node.log());
    node.must_hold(0, "before the disaster");
    // Strangers are not listened to, and a node of another kind takes no part.
    let put = |node: &Node, path: &str, body: &Value| {
        let path = format!("/node/recovery_decision_protocol/{path}");
        let reply =
            node.client_as("user0").send("PUT", &path, Some("application/json"), body.to_string().into());
        reply.unwrap()
    };
    let quote = json!({"endorsements": "", "format": "Insecure_Virtual", "quote": ""});
    let info = json!({
        "location": {"name": "place 2", "address": "127.0.0.1:1"}, "quote_info": quote, "service_cert_der": "",
    });
    let refused = put(&node, "vote", &json!({"info": info}));
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (401, &json!("InvalidQuote")));
    assert_eq!(put(&node, "vote", &json!({})).status, 400);
    assert_eq!(put(&node, "timeout", &json!({})).status, 401);
    node.stop().must_be_accepted();
    let alone = consortium.start("alone", &plan(at_place(1)));
    let refused = put(&alone, "gossip", &json!({"info": info, "txid": "2.3"}));
    let expected =
        json!({"code": "InvalidNodeState", "message": "This node cannot do recovery-decision-protocol"});
    assert_eq!((refused.status.as_u16(), refused.json()["error"].clone()), (400, expected));
}
