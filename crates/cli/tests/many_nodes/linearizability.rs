//! Reads that ask to be linearizable and writes that were reported as committed, while primaries are killed, nodes
//! paused and links cut.
//!
//! Goal: whatever happens to the nodes, what clients were told could have been told by one register. Method: clients
//! note everything with times of one clock; a checker searches for an order that explains it. `CCF_SEED` repeats a
//! schedule, `CCF_SECONDS` lengthens it (`cargo xtask linearizability`).

use crate::{
    clients::{Arena, Record},
    faults::Faults,
    history::Histories,
    member_node::{MemberNode, Tuning},
    random::Random,
    service::{Service, wait_for},
    verdicts,
};
use std::{
    env, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const CLIENTS: usize = 5;

/// A client gives up an answer after this: an operation more whose fate is unknown.
const CLIENT_PATIENCE: Duration = Duration::from_secs(4);

/// How long faults go on unless told otherwise.
const SECONDS: u64 = 40;

#[test]
fn histories_stay_linearizable_whatever_happens_to_nodes_and_links() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let now = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let seed = number("CCF_SEED").unwrap_or_else(now);
    let time = Duration::from_secs(number("CCF_SECONDS").unwrap_or(SECONDS));
    println!("seed {seed}: CCF_SEED={seed} repeats this schedule");
    let mut random = Random::new(seed);
    let mut service = Service::open(3, Tuning::default());
    let arena = Arena::new(service.caller("user0", CLIENT_PATIENCE));
    let running = |service: &Service| -> Vec<String> {
        service.nodes.iter().filter(|node| node.is_running()).map(|node| node.address.clone()).collect()
    };
    arena.set_addresses(running(&service));
    let seeds: Vec<Random> = (0..CLIENTS).map(|_| random.fork()).collect();
    let mut faults = Faults::new(random);
    let records: Vec<Record> = thread::scope(|scope| {
        let clients: Vec<_> = seeds
            .into_iter()
            .enumerate()
            .map(|(client, random)| {
                scope.spawn({
                    let arena = &arena;
                    move || arena.play(client, random)
                })
            })
            .collect();
        // Clients end even if this thread fails, or the scope would wait for them for ever.
        let _ending = Ending(&arena);
        let end = Instant::now() + time;
        while Instant::now() < end {
            faults.next(&mut service, |service| arena.set_addresses(running(service)));
            service.nodes.iter_mut().for_each(MemberNode::must_run);
        }
        arena.end();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    judge(&mut service, &arena, records, faults.done());
}

/// Ends the clients when it goes out of scope.
struct Ending<'a>(&'a Arena);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn judge(service: &mut Service, arena: &Arena, records: Vec<Record>, faults: usize) {
    let mut histories = Histories::default();
    let mut committed = Vec::new();
    let (mut answered, mut unanswered, mut lost) = (0, 0, 0);
    for record in records {
        histories.extend(record.histories);
        committed.extend(record.committed);
        answered += record.answered;
        unanswered += record.unanswered;
        lost += record.lost;
    }
    println!(
        "{faults} faults, {} operations: {answered} answered, {unanswered} not, {lost} said to be lost; {} writes committed",
        arena.operations(),
        committed.len()
    );
    assert!(answered > 200 && !committed.is_empty(), "the service hardly served");
    let primary = service.primary();
    arena.read_all(&service.nodes[primary].address, &mut histories);
    histories.must_be_linearizable();
    for node in service.nodes.iter().filter(|node| node.is_running()) {
        let mut client = service.client("", node.index);
        // Each was reported as committed once; no node may ever say otherwise.
        for id in &committed {
            wait_for("a node to know what is committed", || {
                let reply = client.get(&format!("/app/tx?transaction_id={id}")).map_err(|e| e.to_string())?;
                let status = reply.json()["status"].as_str().unwrap_or_default().to_owned();
                assert_ne!(status, "Invalid", "node {}: {id} was reported as committed", node.index);
                if status == "Committed" { Ok(()) } else { Err(format!("{id} is {status}")) }
            });
        }
    }
    let ends: Vec<usize> =
        service.nodes.iter().filter(|node| node.is_running()).map(|node| node.index).collect();
    let commits: Vec<_> = ends.iter().map(|index| service.commit_of(*index)).collect();
    service.stop();
    service.logs_must_be_clean();
    for index in &ends {
        verdicts::must_be_accepted(&service.nodes[*index].ledger(), &[], &service.certificate_file());
    }
    let nodes: Vec<_> = ends.iter().map(|index| &service.nodes[*index]).zip(commits).collect();
    verdicts::must_be_identical(&nodes);
}
