//! Requests on their way to a primary that will not answer: whoever asked is told at once, not after the whole
//! timeout.

use crate::{
    clients,
    member_node::Tuning,
    service::{Caller, Service, wait_for},
};
use ccf_cli::http_client::Reply;
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// Far beyond anything this test waits for: no answer in it comes from a timeout.
const FORWARDING_TIMEOUT: Duration = Duration::from_secs(600);

/// Until a request that was sent has surely reached the node that it was forwarded to.
const UNDER_WAY: Duration = Duration::from_millis(500);

#[test]
fn a_request_that_the_primary_will_not_answer_is_answered_at_once() {
    let tuning = Tuning {
        election_timeout: Duration::from_secs(8),
        forwarding_timeout: FORWARDING_TIMEOUT,
        ..Tuning::default()
    };
    let mut service = Service::open(3, tuning);
    let primary = service.primary();
    let backup = (primary + 1) % 3;
    let (primary_id, backup_id) = (service.nodes[primary].id.clone(), service.nodes[backup].id.clone());
    let caller = service.caller("user0", Duration::from_secs(60));
    let address = service.nodes[backup].address.clone();
    let unanswered = |until: &str| {
        format!("Request was forwarded to node {primary_id}, but no response was received {until}")
    };
    clients::write_committed(&caller, &address, "a", 1);

    // The connection breaks; the view stays.
    service.nodes[primary].pause();
    let answer = write(&caller, &address, 2);
    service.links.cut(&primary_id, &backup_id);
    assert_eq!(text_of_504(&answer), unanswered("before the connection to it was lost"));

    // The connection stays; another primary is elected.
    service.links.heal();
    let answer = write(&caller, &address, 3);
    assert_eq!(text_of_504(&answer), unanswered("before another view began"));
    wait_for("a write after the election", || {
        let reply = clients::write(&mut caller.client(&address), "a", 4).ok_or("no answer")?;
        if reply.status == 200 { Ok(()) } else { Err(reply.refusal()) }
    });

    service.nodes[primary].resume();
    service.stop();
    service.logs_must_be_clean();
}

/// A request that waits for its commit is answered in its time, also through a backup that usually waits less.
#[test]
fn a_forwarded_write_waits_for_its_commit_as_long_as_it_asks() {
    let tuning = Tuning {
        election_timeout: Duration::from_secs(60),
        forwarding_timeout: Duration::from_secs(1),
        ..Tuning::default()
    };
    let mut service = Service::open(4, tuning);
    let caller = service.caller("user0", Duration::from_secs(30));
    let address = service.nodes[1].address.clone();
    clients::write_committed(&caller, &address, "a", 1);
    let write = |milliseconds: &str| {
        let headers = [("x-ccf-wait-for-commit", milliseconds)];
        clients::write_with(&mut caller.client(&address), "a", 2, &headers).unwrap()
    };
    let reply = write("20000");
    assert_eq!(reply.status, 200, "{}", reply.refusal());
    assert_eq!(reply.headers["x-ccf-commit-status"], "Committed");

    // The primary and the backup that is asked are two of four: nothing is committed.
    service.nodes[2].pause();
    service.nodes[3].pause();
    let reply = write("3000");
    assert_eq!(reply.status, 200, "{}", reply.refusal());
    assert_eq!(reply.headers["x-ccf-commit-status"], "Pending");

    service.nodes[2].resume();
    service.nodes[3].resume();
    service.stop();
    service.logs_must_be_clean();
}

/// Sends a write through a node whose primary is paused; it has no answer when this returns.
fn write(caller: &Caller, address: &str, value: u64) -> Receiver<Option<Reply>> {
    let (tell, told) = channel();
    let mut client = caller.client(address);
    thread::spawn(move || {
        let _ = tell.send(clients::write(&mut client, "a", value));
    });
    match told.recv_timeout(UNDER_WAY) {
        Err(RecvTimeoutError::Timeout) => told,
        other => panic!("a paused primary answered: {other:?}"),
    }
}

fn text_of_504(answer: &Receiver<Option<Reply>>) -> String {
    let reply = answer.recv().unwrap().unwrap();
    assert_eq!(reply.status, 504, "{}", reply.refusal());
    assert_eq!(reply.headers["content-type"], "text/plain");
    String::from_utf8(reply.body.to_vec()).unwrap()
}
