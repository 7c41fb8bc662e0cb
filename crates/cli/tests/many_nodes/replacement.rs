//! All nodes of a service are replaced, one after the other, while clients write: members vote a new node in, retire an
//! old one, its process is stopped, and the service forgets it.
//!
//! Nothing that was reported as committed may be lost, and every node that ever took part must leave a ledger that
//! auditors accept and that is the same bytes as everybody's.

use crate::{
    member_node::Tuning,
    random::Random,
    service::{Caller, Service, wait_for},
    verdicts,
};
use ccf_types::TxId;
use serde_json::json;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const WRITERS: usize = 2;

/// Between two writes of one writer.
const PAUSE: Duration = Duration::from_millis(10);

/// So many writes are answered by each set of nodes before the next one of them is replaced.
const WRITES_PER_STEP: usize = 150;

const PATIENCE: Duration = Duration::from_secs(10);

/// A write that was answered, and not contradicted since.
struct Written {
    register: String,
    value: u64,
    tx_id: TxId,
    /// Order of questions and answers among all writers.
    asked: Duration,
    answered: Duration,
    committed: bool,
}

#[test]
fn all_nodes_are_replaced_under_load_and_nothing_committed_is_lost() {
    let tuning = Tuning { snapshot_tx_interval: 200, ..Tuning::default() };
    let mut service = Service::open(3, tuning);
    let caller = service.caller("user0", PATIENCE);
    let addresses = Mutex::new(service.nodes.iter().map(|node| node.address.clone()).collect::<Vec<_>>());
    let (is_over, began) = (AtomicBool::new(false), std::time::Instant::now());
    let answers = AtomicUsize::new(0);
    let mut commits = Vec::new();
    let written: Vec<Written> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (addresses, is_over, answers, caller) = (&addresses, &is_over, &answers, caller.clone());
                scope.spawn(move || write(writer, &caller, addresses, is_over, answers, began))
            })
            .collect();
        let _ending = Ending(&is_over);
        for old in 0..3 {
            let until = answers.load(Ordering::Relaxed) + WRITES_PER_STEP;
            wait_for("writes", || match answers.load(Ordering::Relaxed) {
                enough if enough >= until => Ok(()),
                count => Err(format!("{count} of {until} were answered")),
            });
            // The last one begins from a snapshot of the primary, the others from the first entry.
            let primary = service.primary();
            let snapshots_of = (old == 2).then_some(primary);
            if old == 2 {
                wait_for("a snapshot", || has_snapshot(&service, primary));
            }
            let joiner = service.join(primary, snapshots_of);
            service.trust(joiner);
            let staying = service.nodes.iter().filter(|node| node.is_running() && node.index != old);
            *addresses.lock().unwrap() = staying.map(|node| node.address.clone()).collect();
            service.retire(old);
            commits.push((old, service.commit_of(old)));
            service.nodes[old].stop();
            service.forget(old);
            println!("{:>6.1} s: node {old} is replaced by node {joiner}", began.elapsed().as_secs_f64());
        }
        is_over.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(service.nodes[..3].iter().all(|node| !node.is_running()));
    judge_writes(&service, &caller, &written);

    commits.extend((3..6).map(|index| (index, service.commit_of(index))));
    service.stop();
    service.logs_must_be_clean();
    for node in &service.nodes {
        // What came before a snapshot is in the ledgers of those who were there.
        let earlier = if node.index == 5 { earlier_chunks(&service) } else { Vec::new() };
        verdicts::must_be_accepted(&node.ledger(), &earlier, &service.certificate_file());
    }
    let nodes: Vec<_> = commits.iter().map(|(index, commit)| (&service.nodes[*index], *commit)).collect();
    verdicts::must_be_identical(&nodes);
    let started = verdicts::entries(&service.nodes[5].ledger()).keys().next().copied().unwrap();
    assert!(started.0 > 1, "the last node began from a snapshot");
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each write goes to a register of its own, through any node; every one is followed up until its fate is known.
fn write(
    writer: usize,
    caller: &Caller,
    addresses: &Mutex<Vec<String>>,
    is_over: &AtomicBool,
    answers: &AtomicUsize,
    began: std::time::Instant,
) -> Vec<Written> {
    let mut random = Random::new(writer as u64);
    let mut written = Vec::new();
    let mut value = 0;
    let mut session = None;
    while !is_over.load(Ordering::Relaxed) {
        value += 1;
        let address = random.pick(&addresses.lock().unwrap()).clone();
        if random.below(20) == 0 {
            session = None;
        }
        let client = session.get_or_insert_with(|| caller.client(&address));
        let register = format!("{writer}-{value}");
        let asked = began.elapsed();
        let body = json!({"value": value}).to_string();
        let reply =
            client.send("PUT", &format!("/app/register/{register}"), Some("application/json"), body.into());
        let tx_id = match &reply {
            Ok(reply) if reply.status == 200 => reply.tx_id().and_then(|id| id.parse::<TxId>().ok()),
            _ => None,
        };
        match tx_id {
            Some(tx_id) => {
                let answered = began.elapsed();
                written.push(Written { register, value, tx_id, asked, answered, committed: false });
                answers.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            None => {
                session = None;
                thread::sleep(Duration::from_millis(100));
            }
        }
        // The one before last has had time to be committed.
        if let Some(earlier) = written.len().checked_sub(20).and_then(|at| written.get_mut(at))
            && let Some(client) = &mut session
            && let Ok(reply) = client.get(&format!("/app/tx?transaction_id={}", earlier.tx_id))
        {
            earlier.committed = reply.json()["status"] == "Committed";
        }
    }
    written
}

fn judge_writes(service: &Service, caller: &Caller, written: &[Written]) {
    let reported = written.iter().filter(|write| write.committed).count();
    println!("{} writes answered, {reported} of them reported as committed meanwhile", written.len());
    assert!(reported > 20, "the service hardly served");
    let mut clients: Vec<_> = service
        .nodes
        .iter()
        .filter(|node| node.is_running())
        .map(|node| caller.client(&node.address))
        .collect();
    assert_eq!(clients.len(), 3);
    let mut survived: Vec<&Written> = Vec::new();
    for (turn, write) in written.iter().enumerate() {
        // All nodes hold the same: asking them in turn is enough.
        let client = &mut clients[turn % 3];
        let path = format!("/app/tx?transaction_id={}", write.tx_id);
        let status = wait_for("the fate of a transaction", || {
            let reply = client.get(&path).map_err(|e| e.to_string())?;
            match reply.json()["status"].as_str() {
                Some(status @ ("Committed" | "Invalid")) => Ok(status.to_owned()),
                other => Err(format!("{} is {other:?}", write.tx_id)),
            }
        });
        assert!(!write.committed || status == "Committed", "{} was committed", write.tx_id);
        let reply = client.get(&format!("/app/register/{}", write.register)).unwrap();
        let expected = if status == "Committed" { json!(write.value) } else { json!(null) };
        assert_eq!(reply.json()["value"], expected, "{} {status}: {}", write.tx_id, reply.refusal());
        if status == "Committed" {
            survived.push(write);
        }
    }
    // Committed transactions are ordered as real time orders them.
    survived.sort_by_key(|write| write.tx_id);
    let mut latest_asked = Duration::ZERO;
    for write in &survived {
        assert!(
            write.answered >= latest_asked,
            "{} was answered before an earlier transaction was asked for",
            write.tx_id
        );
        latest_asked = latest_asked.max(write.asked);
    }
}

fn has_snapshot(service: &Service, index: usize) -> Result<(), String> {
    let folder = service.nodes[index].snapshots();
    let names = std::fs::read_dir(&folder).map_err(|e| e.to_string())?;
    let found = names.flatten().any(|name| name.file_name().to_string_lossy().ends_with(".committed"));
    if found { Ok(()) } else { Err(format!("none in {}", folder.display())) }
}

/// Committed chunks of an old node, in a folder of their own, that end before the newest node's first entry.
fn earlier_chunks(service: &Service) -> Vec<std::path::PathBuf> {
    let first = verdicts::entries(&service.nodes[5].ledger()).keys().next().copied().unwrap();
    let folder = service.nodes[5].folder.join("earlier");
    std::fs::create_dir_all(&folder).unwrap();
    for chunk in ccf_ledger::files::list_chunks(&service.nodes[4].ledger()).unwrap() {
        if chunk.name.end.is_some_and(|end| end < first) {
            std::fs::copy(&chunk.path, folder.join(chunk.path.file_name().unwrap())).unwrap();
        }
    }
    vec![folder]
}
