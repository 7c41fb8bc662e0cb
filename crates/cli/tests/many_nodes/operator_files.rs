//! Files for operators and peers (node specification, section 13.6): chunks and snapshots over HTTPS, whole and in parts,
//! on the node that has them or by way of it; copies of what is committed in the chunk in progress; snapshots that
//! backups copy.

use crate::{
    clients,
    member_node::{MemberNode, Tuning},
    service::{Service, copy_files, wait_for},
    verdicts,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ccf_cli::http_client::{HttpClient, Reply};
use ccf_crypto::hash::{HashAlgorithm, sha256};
use ccf_ledger::files::{ChunkName, list_chunks, list_snapshots};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

type Headers<'a> = [(&'static str, &'a str)];

fn send(client: &mut HttpClient, method: &str, path: &str, headers: &Headers<'_>) -> Reply {
    client.send_with(method, path, headers, Bytes::new()).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn message(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

/// Path of a redirection that must lead to `node`.
fn led_to(node: &MemberNode, reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.refusal());
    let location = header(reply, "location");
    let path = location.strip_prefix(&format!("https://{}", node.address));
    path.unwrap_or_else(|| panic!("{location} is not on {}", node.address)).to_owned()
}

fn write_until(service: &Service, what: &str, is_there: impl Fn() -> bool) {
    let mut client = service.client("user0", service.primary());
    let mut number = 0;
    wait_for(what, || {
        for _ in 0..20 {
            let reply = clients::write(&mut client, &format!("file-{}", number % 50), number);
            assert_eq!(reply.ok_or("no answer")?.status, 200);
            number += 1;
        }
        if is_there() { Ok(()) } else { Err(format!("after {number} writes it is not")) }
    });
}

fn committed_chunks(node: &MemberNode) -> usize {
    list_chunks(&node.ledger()).unwrap().iter().filter(|chunk| chunk.name.committed).count()
}

/// Name and content of every committed snapshot.
fn snapshots(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let committed = list_snapshots(folder).unwrap().into_iter().filter(|path| path.name.committed);
    committed.map(|path| (path.name.to_string(), fs::read(&path.path).unwrap())).collect()
}

fn tuning() -> Tuning {
    // No election is wanted here, however busy the machine.
    Tuning { election_timeout: Duration::from_secs(10), snapshot_tx_interval: 60, ..Tuning::default() }
}

#[test]
fn files_are_served_by_the_node_that_has_them() {
    let mut service = Service::open(2, tuning());
    let primary = service.primary();
    let backup = 1 - primary;
    write_until(&service, "chunks and a snapshot", || {
        committed_chunks(&service.nodes[backup]) >= 3
            && !snapshots(&service.nodes[primary].snapshots()).is_empty()
    });

    for index in [primary, backup] {
        let node = &service.nodes[index];
        let mut client = service.client("", index);
        let found = send(&mut client, "GET", "/node/ledger_chunk?since=3", &[]);
        let path = led_to(node, &found, 308);
        let name = path.strip_prefix("/node/ledger_chunk/").unwrap();
        let parsed = ChunkName::parse(name).filter(|it| it.committed && it.start.0 <= 3);
        assert!(parsed.and_then(|it| it.end).is_some_and(|end| end.0 >= 3), "{name}");
        let file = fs::read(node.ledger().join(name)).unwrap();
        file_in_all_ways(&mut client, &path, &file, ("x-ms-ccf-ledger-chunk-name", name));
        chunks_that_are_not_there(&mut client);
    }
    snapshots_come_from_the_primary(&service, primary, backup);

    // An interface without the features knows nothing of this.
    let caller = service.caller("", Duration::from_secs(10));
    let mut closed = caller.client(&service.nodes[primary].redirecting);
    for path in ["/node/snapshot", "/node/ledger_chunk?since=1", "/node/ledger_chunk/ledger_1-2.committed"] {
        let reply = send(&mut closed, "GET", path, &[]);
        assert_eq!((reply.status.as_u16(), reply.body.len()), (404, 0), "{path}");
    }
    a_joiner_from_a_snapshot_leads_on(&mut service, primary);
    service.stop();
    service.logs_must_be_clean();
}

/// A file whole, in parts, by its digests, and with headers that are refused.
fn file_in_all_ways(client: &mut HttpClient, path: &str, file: &[u8], name: (&str, &str)) {
    let total = file.len();
    let tag = |bytes: &[u8]| format!("\"sha-256=:{}:\"", STANDARD.encode(sha256(bytes)));
    let whole = send(client, "GET", path, &[]);
    assert_eq!(whole.status, 200, "{}", whole.refusal());
    assert!(whole.body == file, "{path} differs from the file");
    let head = send(client, "HEAD", path, &[]);
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for reply in [&whole, &head] {
        assert_eq!(header(reply, "content-type"), "application/octet-stream");
        assert_eq!(header(reply, "content-length"), total.to_string());
        assert_eq!(header(reply, "accept-ranges"), "bytes");
        assert_eq!(header(reply, "etag"), tag(file));
        assert_eq!(header(reply, name.0), name.1);
        assert_eq!(header(reply, "content-range"), "");
    }
    for (range, start, end) in [
        ("bytes=0-99", 0, 99),
        ("bytes=100-100", 100, 100),
        ("bytes=0-4194303", 0, total - 1),
        ("bytes=500-", 500, total - 1),
        ("bytes=-7", total - 7, total - 1),
        ("bytes=-99999999", 0, total - 1),
    ] {
        for method in ["GET", "HEAD"] {
            let part = send(client, method, path, &[("range", range), ("want-repr-digest", "sha-512=9")]);
            assert_eq!(part.status, 206, "{range}: {}", part.refusal());
            let bytes = &file[start..=end];
            assert!(method == "HEAD" && part.body.is_empty() || part.body == bytes, "{method} {range}");
            assert_eq!(header(&part, "content-range"), format!("bytes {start}-{end}/{total}"));
            assert_eq!(header(&part, "content-length"), bytes.len().to_string());
            assert_eq!(header(&part, "etag"), tag(bytes));
            let digest = STANDARD.encode(HashAlgorithm::Sha512.digest(file).as_ref());
            assert_eq!(header(&part, "repr-digest"), format!("sha-512=:{digest}:"));
        }
    }
    for (range, expected) in [
        ("lines=0-9", "Only 'bytes' is supported as a Range header unit".to_owned()),
        ("bytes=0-1,5-6", "Multiple ranges are not supported".to_owned()),
        ("bytes=5", "Invalid format, cannot parse range in bytes=5".to_owned()),
        ("bytes=a-5", "Unable to parse start of range value a in bytes=a-5".to_owned()),
        ("bytes=9-5", "Invalid range: Start (9) and end (5) out of order".to_owned()),
        ("bytes=-", "Invalid range: Must contain range-start or range-end".to_owned()),
        ("bytes=99999999-", format!("Start of range 99999999 is larger than total file size {total}")),
    ] {
        let reply = send(client, "GET", path, &[("range", range)]);
        assert_eq!(reply.status, 400, "{range}");
        assert_eq!(reply.json()["error"]["code"], "InvalidHeaderValue", "{range}");
        assert_eq!(message(&reply), expected);
    }
    let known = tag(file);
    for tags in ["*", known.as_str()] {
        let reply = send(client, "GET", path, &[("if-none-match", tags)]);
        assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0), "{tags}");
    }
    let reply = send(client, "GET", path, &[("if-none-match", "\"sha-256=:AAAA:\"")]);
    assert_eq!(reply.status, 200);
    assert_eq!(send(client, "GET", path, &[("if-none-match", "nonsense")]).status, 400);
}

fn chunks_that_are_not_there(client: &mut HttpClient) {
    for name in [
        "ledger_1-99999.committed",
        "ledger_1",
        "..%2f0.config.json",
        "%2e%2e",
        "snapshot_1_2.committed",
        "ledger_1-2.committed_prefix",
    ] {
        let reply = send(client, "GET", &format!("/node/ledger_chunk/{name}"), &[]);
        assert_eq!(reply.status, 404, "{name}: {}", reply.refusal());
    }
    let reply = send(client, "GET", "/node/ledger_chunk/ledger_1-99999.committed", &[]);
    assert_eq!(message(&reply), "This node does not have a ledger chunk named ledger_1-99999.committed");
    for (query, expected) in
        [("", "Missing required query parameter 'since'"), ("?since=x", ""), ("?since=-1", "")]
    {
        let reply = send(client, "GET", &format!("/node/ledger_chunk{query}"), &[]);
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.json()["error"]["code"], "InvalidQueryParameterValue");
        assert!(message(&reply).contains(expected), "{}", message(&reply));
    }
}

fn snapshots_come_from_the_primary(service: &Service, primary: usize, backup: usize) {
    let node = &service.nodes[primary];
    let mut client = service.client("", backup);
    let reply = send(&mut client, "GET", "/node/snapshot?since=5", &[]);
    assert_eq!(led_to(node, &reply, 308), "/node/snapshot?since=5");
    assert_eq!(message(&reply), "Node is not primary; redirecting for preferable snapshot");
    let reply = send(&mut client, "GET", "/node/ledger_chunk?since=1000000", &[]);
    assert_eq!(led_to(node, &reply, 308), "/node/ledger_chunk?since=1000000");

    let mut client = service.client("", primary);
    let reply = send(&mut client, "GET", "/node/ledger_chunk?since=1000000", &[]);
    assert_eq!(reply.status, 404);
    assert_eq!(message(&reply), "This node has no ledger chunk including index 1000000");
    let path = led_to(node, &send(&mut client, "GET", "/node/snapshot", &[]), 308);
    let name = path.strip_prefix("/node/snapshot/").unwrap();
    let file = fs::read(node.snapshots().join(name)).unwrap();
    file_in_all_ways(&mut client, &path, &file, ("x-ms-ccf-snapshot-name", name));
    let seqno: u64 = name.split('_').nth(1).unwrap().parse().unwrap();
    let reply = send(&mut client, "GET", &format!("/node/snapshot?since={seqno}"), &[]);
    led_to(node, &reply, 308);
    let reply = send(&mut client, "GET", "/node/snapshot?since=1000000", &[]);
    assert_eq!(reply.status, 404);
    assert_eq!(message(&reply), "This node has no committed snapshots since 1000000");
    assert_eq!(send(&mut client, "GET", "/node/snapshot?since=", &[]).status, 400);
    let reply = send(&mut client, "GET", "/node/snapshot/snapshot_1_2.committed", &[]);
    assert_eq!(message(&reply), "This node does not have a snapshot named snapshot_1_2.committed");
}

/// A node that began from a snapshot sends others on for what is older; and whoever asks it to join with less than it
/// began with fetches a snapshot first.
fn a_joiner_from_a_snapshot_leads_on(service: &mut Service, primary: usize) {
    let late = service.join(primary, Some(primary));
    service.trust(late);
    let mut client = service.client("", late);
    let reply = send(&mut client, "GET", "/node/ledger_chunk?since=1", &[]);
    assert_eq!(reply.status, 308, "{}", reply.refusal());
    assert_eq!(message(&reply), "Node does not have ledger chunk; redirecting to next node");
    let mut ids: Vec<_> = service.nodes.iter().map(|node| (node.id.clone(), node.index)).collect();
    ids.sort();
    let at = ids.iter().position(|(_, index)| *index == late).unwrap();
    let next = ids[(at + 1) % ids.len()].1;
    assert_eq!(led_to(&service.nodes[next], &reply, 308), "/node/ledger_chunk?since=1");

    let later = service.join(late, None);
    service.trust(later);
    let log = service.nodes[later].log();
    assert!(log.contains("StartupSeqnoIsOld") && log.contains("Fetching snapshot from"), "{log}");
    let primarys = snapshots(&service.nodes[primary].snapshots());
    let fetched = snapshots(&service.nodes[later].snapshots());
    assert!(!fetched.is_empty() && fetched.iter().all(|(name, bytes)| primarys.get(name) == Some(bytes)));
}

#[test]
fn what_is_committed_can_be_downloaded_before_its_chunk_is_complete() {
    let mut service = Service::open(2, tuning());
    let primary = service.primary();
    write_until(&service, "chunks", || committed_chunks(&service.nodes[primary]) >= 2);
    for index in [primary, 1 - primary] {
        let node = &service.nodes[index];
        let mut client = service.client("", index);
        let mut user = service.client("user0", primary);
        // The commit may be the end of a chunk that is complete.
        let (path, prefix) = wait_for("a prefix", || {
            clients::write(&mut user, "one-more", 1).ok_or("no answer")?;
            let committed = service.commit_of(index).seqno;
            let path = format!("/node/ledger_chunk?since={committed}&include_committed_prefix=true");
            let reply = send(&mut client, "GET", &path, &[]);
            assert_eq!(header(&reply, "cache-control"), "no-store");
            let path = led_to(node, &reply, 307);
            let prefix = send(&mut client, "GET", &path, &[]);
            if path.contains("committed_prefix") && prefix.status == 200 {
                Ok((path, prefix))
            } else {
                Err(path)
            }
        });
        let name = path.rsplit('/').next().unwrap();
        file_in_all_ways(&mut client, &path, &prefix.body, ("x-ms-ccf-ledger-chunk-name", name));
        // With the files before it, it is a whole ledger.
        let folder = tempfile::tempdir().unwrap();
        let first: u64 = name["ledger_".len()..].split('-').next().unwrap().parse().unwrap();
        copy_files(&node.ledger(), folder.path());
        for chunk in list_chunks(folder.path()).unwrap() {
            if chunk.name.start.0 >= first {
                fs::remove_file(chunk.path).unwrap();
            }
        }
        let chunk = name.replace(".committed_prefix", ".committed");
        fs::write(folder.path().join(chunk), &prefix.body).unwrap();
        verdicts::must_be_accepted(folder.path(), &[], &service.certificate_file());

        // Chunks that are complete are found as ever, for a while only.
        let reply = send(&mut client, "GET", "/node/ledger_chunk?since=1&include_committed_prefix=true", &[]);
        assert!(led_to(node, &reply, 307).starts_with("/node/ledger_chunk/ledger_1-"));
        for (name, status) in [
            ("ledger_1-999999.committed_prefix", 404),
            ("ledger_2-3.committed_prefix", 404),
            ("ledger_0-3.committed_prefix", 400),
            ("ledger_3-2.committed_prefix", 400),
            ("ledger_01-2.committed_prefix", 400),
            ("x", 400),
        ] {
            let reply = send(&mut client, "GET", &format!("/node/ledger_chunk/committed_prefix/{name}"), &[]);
            assert_eq!(reply.status, status, "{name}: {}", reply.refusal());
            let expected = match status {
                400 => format!("{name} is not a valid committed ledger prefix name"),
                _ => format!("This node cannot provide committed ledger prefix {name}"),
            };
            assert_eq!(message(&reply), expected);
        }
    }
    service.stop();
    service.logs_must_be_clean();
}

#[test]
fn backups_copy_the_snapshots_of_the_primary() {
    let mut service = Service::open(3, Tuning { backup_fetch: true, ..tuning() });
    let primary = service.primary();
    let folder = |index: usize| service.nodes[index].snapshots();
    write_until(&service, "snapshots", || snapshots(&folder(primary)).len() >= 2);
    let newest = snapshots(&folder(primary)).into_iter().next_back().unwrap();
    for index in (0..3).filter(|index| *index != primary) {
        wait_for("a backup to have a snapshot of the primary", || {
            let own = snapshots(&folder(index));
            let primarys = snapshots(&folder(primary));
            assert!(own.iter().all(|(name, bytes)| primarys.get(name) == Some(bytes)), "another snapshot");
            let seqno = |name: &str| name.split('_').nth(1).unwrap().parse::<u64>().unwrap();
            let is_there = own.keys().any(|name| seqno(name) >= seqno(&newest.0));
            if is_there { Ok(()) } else { Err(format!("{:?}", own.keys())) }
        });
    }
    service.stop();
    service.logs_must_be_clean();
}
