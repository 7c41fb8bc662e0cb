//! A joiner that finds files of another service on its disk, or of the service before its recovery: it says so, sets aside what is
//! not of the service, and joins.

use crate::{
    messages,
    sealing::lives::{Consortium, Node, Plan, Remains, free_addresses, location},
    service::wait_for,
};

const MESSAGES: u64 = 50;

/// Enough for several ledger files, and a snapshot.
fn fill(node: &Node, life: &str) {
    for id in 0..MESSAGES {
        node.write(id, &text(id, life));
    }
    wait_for("a snapshot", || {
        let names = node.files("0.snapshots");
        if names.iter().any(|name| name.ends_with(".committed")) { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

fn text(id: u64, life: &str) -> String {
    format!("{id} in {life} {}", "x".repeat(800))
}

fn snapshots(remains: &Remains) -> Vec<String> {
    let names = remains.files("0.snapshots");
    names.into_iter().filter(|name| name.ends_with(".committed")).collect()
}

#[test]
fn files_of_another_service_and_of_an_earlier_life_are_no_hindrance() {
    let consortium = Consortium::with_snapshots(20);
    let addresses = free_addresses(3);
    let plan =
        |index: usize| Plan { program: "logging", sealing: location("here"), address: &addresses[index] };
    let other = consortium.start("other", &plan(0));
    fill(&other, "another service");
    let other = other.stop();
    let first = consortium.start("life0", &plan(0));
    fill(&first, "life 0");
    let earlier = first.kill();
    let mut node = consortium.recover("life1", &earlier, &plan(0));
    consortium.reopen(&mut node).unwrap();
    node.wait_until_open();
    fill(&node, "life 1");

    let given = [("of_another", &other), ("of_life0", &earlier)];
    let joiners: Vec<Node> = (1..)
        .zip(given)
        .map(|(index, (name, given))| {
            assert!(!snapshots(given).is_empty(), "{name}");
            consortium.give(name, given);
            consortium.join(name, &node, &plan(index))
        })
        .collect();
    // All run on: without its joiners the service has no majority.
    for ((name, given), joiner) in given.iter().zip(&joiners) {
        wait_for("what the service has", || {
            for id in [0, MESSAGES - 1] {
                if messages::read(&mut joiner.client_as("user0"), id) != Some(text(id, "life 1")) {
                    return Err(format!("{name} does not hold {id}"));
                }
            }
            Ok(())
        });
        let log = joiner.log();
        assert!(!log.contains("[fatal]") && !log.contains("panicked"), "{log}");
        let files = joiner.files("0.snapshots");
        for foreign in snapshots(given) {
            assert!(!files.contains(&foreign), "{name}: {foreign} is offered to others: {files:?}");
            assert!(
                files.contains(&format!("{foreign}.ignored")),
                "{name}: {foreign} is not kept: {files:?}"
            );
            let said = log.lines().any(|line| line.contains(&foreign) && line.contains("set aside as"));
            assert!(said, "{name}: not a word of {foreign}: {log}");
        }
    }
    let log = joiners[0].log();
    assert!(log.contains("was set aside: it has entries that the service does not have"), "{log}");
    assert!(joiners[0].files("0.ledger").iter().any(|file| file.ends_with(".ignored")));
    for joiner in joiners {
        joiner.stop().must_be_accepted();
    }
}
