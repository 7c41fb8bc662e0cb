//! One function per parser of foreign bytes, for the fuzz targets in `fuzz/` and for the replay of their corpora in ordinary
//! tests. Each must return, whatever the bytes, without panicking; what was read must survive what is done with it next.

use crate::{bench::wire, sandbox::examples};
use ccf_crypto::{
    cbor::Item,
    cert::{Certificate, SigningRequest},
    cose::{LedgerSignature, MemberRequest, Sign1, UserRequest},
    key::{KeyPair, PublicKey},
    pem,
};
use ccf_endpoints::{PathTemplate, Query, decode_query};
use ccf_ledger::{
    entry::{Entry, Record},
    files::{ChunkName, SnapshotName},
    merkle::TreeBlob,
    signature::{NodeSignature, ServiceSignature},
    snapshot::Snapshot,
};
use ccf_types::{MapName, TxId};
use std::path::Path;

/// A fuzz target: its name, which is that of its file and of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("cbor", cbor),
    ("certificate", certificate),
    ("configuration", configuration),
    ("cose", cose),
    ("http1", http1),
    ("http_target", http_target),
    ("join_request", join_request),
    ("js_bundle", js_bundle),
    ("keys", keys),
    ("ledger_entry", ledger_entry),
    ("ledger_names", ledger_names),
    ("ledger_signature", ledger_signature),
    ("ledger_snapshot", ledger_snapshot),
    ("merkle_tree", merkle_tree),
    ("peer_channel", peer_channel),
    ("peer_entries", ccf_node::replication::hostile::entries),
    ("peer_forwarded", peer_forwarded),
    ("peer_frames", peer_frames),
    ("peer_handshake", peer_handshake),
    ("peer_messages", ccf_node::replication::hostile::messages),
    ("response_head", response_head),
    ("sandbox_examples", sandbox_examples),
];

/// CBOR of any shape.
pub fn cbor(data: &[u8]) {
    fn walk(item: &Item<'_>) {
        if let Ok(items) = item.array() {
            items.iter().for_each(walk);
        } else if let Ok(map) = item.map() {
            map.entries().iter().for_each(|(key, value)| {
                walk(key);
                walk(value);
            });
        } else if let Ok((_, inner)) = item.tagged() {
            walk(&inner);
        } else {
            let _ = (item.integer(), item.bytes().is_ok(), item.text().is_ok(), item.boolean().is_ok());
        }
    }
    if let Ok(item) = Item::parse(data) {
        walk(&item);
    }
}

/// Certificates and signing requests, DER and PEM.
pub fn certificate(data: &[u8]) {
    let inspect = |certificate: &Certificate| {
        let again = Certificate::from_pem(&certificate.to_pem());
        assert!(again.is_ok_and(|again| again.der() == certificate.der()));
        let _ = (certificate.subject(), certificate.issuer(), certificate.validity(), certificate.path_len());
        let _ = (certificate.is_ca(), certificate.extended_key_usages(), certificate.extensions().count());
        if let Ok(key) = certificate.public_key() {
            let _ = certificate.verify_signed_by(key);
        }
    };
    if let Ok(certificate) = Certificate::from_der(data) {
        inspect(&certificate);
    }
    let _ = SigningRequest::from_der(data);
    if let Ok(text) = std::str::from_utf8(data) {
        Certificate::bundle_from_pem(text).iter().flatten().for_each(inspect);
        let _ = SigningRequest::from_pem(text);
    }
}

/// A node's configuration file.
pub fn configuration(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = ccf_node::config::Config::parse("fuzz.json", text);
    }
}

/// COSE messages: signed requests of members and users, ledger signatures.
pub fn cose(data: &[u8]) {
    let _ = Sign1::decode(data).map(|message| message.attached_payload().map(<[u8]>::len));
    let _ = MemberRequest::decode(data);
    let _ = UserRequest::decode(data);
    let _ = LedgerSignature::decode(data);
}

/// A stream of HTTP/1.1 requests; however it is cut, the same requests come out.
pub fn http1(data: &[u8]) {
    ccf_node::http::fuzzing::decoder_target(data);
}

/// Query strings and path templates.
pub fn http_target(data: &[u8]) {
    let decoded = decode_query(data);
    let query = Query::new(&decoded);
    for (name, _) in query.iter() {
        if let Ok(name) = std::str::from_utf8(name) {
            let _ = query.get(name);
        }
    }
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    if let (Some(Ok(template)), Some(path)) = (parts.next().map(std::str::from_utf8), parts.next())
        && let Ok(template) = PathTemplate::parse(template)
    {
        let _ = template.captures(path);
    }
}

/// The body of a node's request to join.
pub fn join_request(data: &[u8]) {
    ccf_governance::join::hostile::join_request(data);
}

/// An application's bundle.
pub fn js_bundle(data: &[u8]) {
    if let Ok(bundle) = ccf_js::Bundle::parse(data) {
        let again = ccf_js::Bundle::parse(bundle.to_json().to_string().as_bytes());
        assert!(again.is_ok_and(|again| again == bundle));
    }
}

/// Public and private keys, PEM and DER.
pub fn keys(data: &[u8]) {
    let _ = PublicKey::from_spki_der(data);
    let _ = KeyPair::from_pkcs8_der(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = pem::decode_all(text);
        let _ = PublicKey::from_pem(text);
        let _ = KeyPair::from_pem(text);
    }
}

/// One ledger entry.
pub fn ledger_entry(data: &[u8]) {
    let Ok(entry) = Entry::parse(data) else { return };
    let _ = (entry.tx_id(), entry.flags(), entry.leaf(), entry.claims_digest());
    for record in entry.public_records() {
        match record {
            Ok(Record::Map { name, .. }) => {
                let _ = MapName::of_ledger(name);
            }
            Ok(Record::Write { key, value }) => assert!(key.len() + value.len() <= data.len()),
            Ok(Record::Remove { key }) => assert!(key.len() <= data.len()),
            Err(_) => return,
        }
    }
}

/// Names of ledger files, transaction identifiers.
pub fn ledger_names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(name) = ChunkName::parse(text) {
        assert_eq!(ChunkName::parse(&name.to_string()), Some(name));
    }
    let _ = SnapshotName::parse(text);
    if let Ok(tx_id) = text.parse::<TxId>() {
        assert_eq!(tx_id.to_string().parse(), Ok(tx_id));
    }
}

/// The two signatures of a signature transaction, as stored in their tables.
pub fn ledger_signature(data: &[u8]) {
    let _ = NodeSignature::from_json(data);
    let _ = ServiceSignature::from_json(data).map(|signature| signature.decode().is_ok());
}

/// A snapshot file.
pub fn ledger_snapshot(data: &[u8]) {
    let _ = Snapshot::read(data);
}

/// The Merkle tree of a signature transaction.
pub fn merkle_tree(data: &[u8]) {
    let _ = TreeBlob::parse(data);
}

/// What may happen to the frames between two nodes: each byte sends, delivers, loses, replays or waits.
pub fn peer_channel(data: &[u8]) {
    ccf_node::peers::fuzzing::channel(data);
}

/// A forwarded request or answer.
pub fn peer_forwarded(data: &[u8]) {
    ccf_node::peers::fuzzing::forwarded(data);
}

/// A stream from another node; however it is cut, the same frames come out.
pub fn peer_frames(data: &[u8]) {
    ccf_node::peers::fuzzing::frames(data);
}

/// A message of the key exchange between nodes.
pub fn peer_handshake(data: &[u8]) {
    ccf_node::peers::fuzzing::handshake(data);
}

/// A response, as the load generator reads it.
pub fn response_head(data: &[u8]) {
    if let Ok(Some(scanned)) = wire::scan(data) {
        assert!(scanned.head_bytes <= data.len());
        let _ = wire::header(&data[..scanned.head_bytes], b"x-ms-ccf-transaction-id");
    }
}

/// An application's examples.
pub fn sandbox_examples(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let people = ["aa".to_owned()];
    let surroundings = examples::Surroundings {
        address: "127.0.0.1:1",
        common: Path::new("common"),
        members: &people,
        users: &people,
    };
    let _ = examples::curl_lines(text, &surroundings);
}
