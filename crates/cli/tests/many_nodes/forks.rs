//! Another history of the same service: what a primary that was cut off has signed, and nobody has committed. A node that
//! finds it on its disk takes what the service has instead, keeps the other aside, and serves none of it.

use crate::{
    clients,
    member_node::{EARLIER, Tuning},
    service::{Service, copy_files, wait_for},
    verdicts,
};
use bytes::Bytes;
use ccf_cli::http_client::HttpClient;
use ccf_crypto::hash::sha256;
use ccf_ledger::{
    entry::Entry,
    files::{Block, ChunkReader, list_chunks},
};
use ccf_types::TxId;
use serde_json::json;
use std::{fs, path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(20);

/// A write whose answer does not wait for the commit.
fn write_and_hope(client: &mut HttpClient, register: &str, value: u64) -> Option<TxId> {
    let (path, body) = (format!("/app/register/{register}"), json!({"value": value}).to_string());
    let reply = client.send_with("PUT", &path, &[("content-type", "application/json")], body.into()).ok()?;
    (reply.status == 200).then(|| reply.tx_id().unwrap().parse().unwrap())
}

/// The last entry of a folder, of whatever history.
fn last_entry(ledger: &Path) -> Option<TxId> {
    let mut last = None;
    let mut block = Block::default();
    for chunk in list_chunks(ledger).ok()? {
        let mut reader = ChunkReader::open(&chunk).ok()?;
        while reader.next_block(&mut block).ok()? {
            for (_, _, bytes) in block.entries() {
                last = Entry::parse(bytes).ok().map(|entry| entry.tx_id());
            }
        }
    }
    last
}

/// All bytes of the files of a folder that were set aside.
fn set_aside(ledger: &Path) -> Vec<u8> {
    let files = fs::read_dir(ledger).unwrap().flatten().map(|entry| entry.path());
    let aside = files.filter(|path| path.extension().is_some_and(|it| it == "ignored"));
    aside.flat_map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn a_fork_on_disk_is_set_aside_and_never_served() {
    let tuning = Tuning { election_timeout: Duration::from_secs(5), ..Tuning::default() };
    let mut service = Service::open(3, tuning);
    let old = service.primary();
    let caller = service.caller("user0", PATIENCE);
    clients::write_committed(&caller, &service.nodes[old].address, "before", 1);
    let others: Vec<usize> = (0..3).filter(|index| *index != old).collect();
    for other in &others {
        service.links.cut(&service.nodes[old].id, &service.nodes[*other].id);
    }
    // It goes on for an election timeout.
    let mut session = caller.client(&service.nodes[old].address);
    let lost: Vec<TxId> = (0..40).filter_map(|value| write_and_hope(&mut session, "lost", value)).collect();
    let newest = *lost.last().expect("a primary does not notice at once that it is cut off");
    wait_for("the lost writes to be on disk, with a signature behind them", || {
        let last = last_entry(&service.nodes[old].ledger());
        if last.is_some_and(|last| last.seqno > newest.seqno) { Ok(()) } else { Err(format!("{last:?}")) }
    });
    service.nodes[old].kill();
    let fork = service.nodes[old].ledger();
    for value in 0..60 {
        clients::write_committed(&caller, &service.nodes[others[0]].address, "after", value);
    }
    let primary = service.primary();

    // As the ledger of a node that begins again, and as files that an operator gives to one.
    let index = service.nodes.len();
    copy_files(&fork, &service.folder(index).join(format!("{index}.ledger")));
    let again = service.join(primary, None);
    service.trust(again);
    let index = service.nodes.len();
    let given = service.folder(index).join(EARLIER);
    fs::create_dir_all(&given).unwrap();
    for chunk in list_chunks(&fork).unwrap() {
        // An open file under the name of one that is committed.
        let end = last_entry(&fork).unwrap().seqno;
        let name = match chunk.name.end {
            Some(_) => chunk.name.to_string(),
            None => format!("ledger_{}-{end}.committed", chunk.name.start),
        };
        fs::copy(&chunk.path, given.join(name)).unwrap();
    }
    let beside = service.join(primary, None);
    service.trust(beside);

    let register = "/app/register/after/past".to_owned();
    let mut user = service.client("user0", primary);
    let there = clients::write(&mut user, "after", 1000).unwrap().tx_id().unwrap().to_owned();
    for joiner in [again, beside] {
        let mut client = service.client("user0", joiner);
        let get = |client: &mut HttpClient, path: &str, id: &str| {
            client.send_with("GET", path, &[("x-ms-ccf-transaction-id", id)], Bytes::new()).unwrap()
        };
        wait_for("what the service has", || {
            let reply = get(&mut client, &register, &there);
            if reply.status == 200 { Ok(()) } else { Err(reply.refusal()) }
        });
        for id in &lost {
            let status = client.get(&format!("/node/tx?transaction_id={id}")).unwrap();
            assert_eq!(status.json()["status"], "Invalid", "{id} on node {joiner}");
        }
        for _ in 0..5 {
            for id in [lost[0], newest] {
                let id = id.to_string();
                for path in
                    ["/app/register/lost/past".to_owned(), format!("/node/receipt?transaction_id={id}")]
                {
                    let reply = get(&mut client, &path, &id);
                    assert_ne!(reply.status, 200, "{path} on node {joiner}: {}", reply.text());
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let absent = clients::read(&mut client, "lost", false).unwrap();
        assert!(clients::is_absent(&absent), "{}", absent.text());
        // What took the place of the lost writes is there, signed by the service.
        let range = format!("/app/registers/past?from={}&to={}", lost[0].seqno, newest.seqno);
        let past = wait_for("the range of the lost writes", || {
            let reply = get(&mut client, &range, &there);
            if reply.status == 200 { Ok(reply.json()) } else { Err(reply.refusal()) }
        });
        assert!(!past.to_string().contains("\"lost\""), "{past}");
    }

    let kept = set_aside(&service.nodes[again].ledger());
    let lost_file = list_chunks(&fork).unwrap().pop().unwrap();
    let lost_bytes = fs::read(&lost_file.path).unwrap();
    assert!(kept.windows(lost_bytes.len()).any(|part| part == lost_bytes), "the fork was not kept");
    let log = service.nodes[again].log();
    assert!(log.contains("was set aside: it has entries that the service does not have"), "{log}");
    let given_before: Vec<_> =
        list_chunks(&fork).unwrap().iter().map(|it| fs::read(&it.path).unwrap()).collect();
    let given_now: Vec<_> =
        list_chunks(&given).unwrap().iter().map(|it| fs::read(&it.path).unwrap()).collect();
    let digests = |files: &[Vec<u8>]| files.iter().map(|bytes| sha256(bytes)).collect::<Vec<_>>();
    assert_eq!(digests(&given_now), digests(&given_before), "read-only folders stay as they are");

    let running = [primary, again, beside];
    let commits: Vec<_> = running.map(|index| service.commit_of(index)).into();
    service.stop();
    let nodes: Vec<_> =
        running.iter().zip(commits).map(|(index, commit)| (&service.nodes[*index], commit)).collect();
    verdicts::must_be_identical(&nodes);
    verdicts::must_be_accepted(&service.nodes[again].ledger(), &[], &service.certificate_file());
    service.logs_must_be_clean();
}
