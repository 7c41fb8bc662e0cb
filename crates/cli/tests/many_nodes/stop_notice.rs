//! A primary that is told that it will be stopped hands over: nobody waits until its silence is noticed.

use crate::{
    clients,
    member_node::{MemberNode, Tuning},
    service::{Service, wait_for},
};
use std::time::Duration;

/// Nothing in this test takes so long: whoever leads was asked to.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(600);

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_primary_that_is_to_be_stopped_hands_over() {
    let tuning =
        Tuning { election_timeout: ELECTION_TIMEOUT, ignore_first_sigterm: true, ..Tuning::default() };
    let mut service = Service::open(3, tuning);
    let caller = service.caller("user0", PATIENCE);
    let old = service.primary();
    clients::write_committed(&caller, &service.nodes[old].address, "x", 1);
    let ready = |node: &MemberNode| node.anonymous().get("/node/ready/app").unwrap().status.as_u16();
    assert_eq!(ready(&service.nodes[old]), 204);

    notify(&service.nodes[old]);
    assert_eq!(ready(&service.nodes[old]), 503);
    let new = wait_for("another primary", || {
        let new = service.primary();
        if new == old { Err("the old one still leads".to_owned()) } else { Ok(new) }
    });
    assert_eq!(ready(&service.nodes[new]), 204);
    // The old one still serves, by way of the new one, until it is stopped.
    clients::write_committed(&caller, &service.nodes[old].address, "x", 2);
    service.nodes[old].stop();
    for (value, node) in (3..).zip(service.nodes.iter().filter(|node| node.is_running())) {
        clients::write_committed(&caller, &node.address, "x", value);
        let reply = clients::read(&mut caller.client(&node.address), "x", true).unwrap();
        assert_eq!(reply.json()["value"], value, "{}", reply.refusal());
    }

    service.nodes.iter().filter(|node| node.is_running()).for_each(notify);
    service.stop();
    service.logs_must_be_clean();
}

/// The first SIGTERM. A second one would be lost before this one is taken.
fn notify(node: &MemberNode) {
    node.give_notice();
    wait_for("a node to take notice", || {
        let state = node.anonymous().get("/node/state").map_err(|e| e.to_string())?.json();
        if state["stop_notice"] == true { Ok(()) } else { Err(state.to_string()) }
    });
}
