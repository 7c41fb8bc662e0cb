//! The tables and the identity of proposals, against ledgers written by real services.

use ccf_crypto::cose::Sign1;
use ccf_governance::{
    proposal_id,
    tables::{
        base64::Base64,
        jwt::{JwtIssuer, JwtKey},
        member::{Ack, MemberInfo, UserInfo},
        node::NodeInfo,
        policy::{CodeStatus, TcbPolicy, UvmFeeds},
        proposal::ProposalInfo,
        secrets::{EncryptedSecrets, HistoricalSecret, RecoveryShares},
        service::{NodeSignature, ServiceConfig, ServiceInfo, SnapshotEvidence},
    },
};
use ccf_ledger::{
    entry::{Entry, Record},
    files::{Block, ChunkPath, ChunkReader, list_chunks},
    merkle::MerkleTree,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// Members of old rows that are read and never written again.
const LEGACY: &[&str] = &[
    "nodehost",
    "nodeport",
    "rpchost",
    "rpcport",
    "pubhost",
    "pubport",
    "cert",
    "acme",
    "acme_configuration",
];

/// Members that we make of the legacy ones.
const DERIVED: &[&str] = &["node_to_node_interface", "rpc_interfaces", "encryption_pub_key"];

/// What our type makes of a value: nothing it keeps may differ, nothing it drops may matter.
fn check<T: DeserializeOwned + Serialize>(table: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let typed: T = serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{table}: {e}: {text}"));
    let ours = serde_json::to_vec(&typed).unwrap();
    let sorted: Value = serde_json::from_slice(&ours).unwrap();
    assert_eq!(serde_json::to_vec(&sorted).unwrap(), ours, "members of {table} are not in order");
    compare(table, &sorted, &serde_json::from_slice(bytes).unwrap());
}

fn compare(path: &str, ours: &Value, theirs: &Value) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in ours {
                if DERIVED.contains(&name.as_str()) && !theirs.contains_key(name) {
                    continue;
                }
                compare(&format!("{path}.{name}"), value, theirs.get(name).unwrap_or(&Value::Null));
            }
            for (name, value) in theirs {
                let kept = ours.contains_key(name) || value.is_null() || LEGACY.contains(&name.as_str());
                // A false that we leave out is the default.
                assert!(
                    kept || value == false || path.contains("jwt.issuers"),
                    "{path}.{name} is lost: {value}"
                );
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            ours.iter().zip(theirs).for_each(|(ours, theirs)| compare(path, ours, theirs));
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

fn check_value(table: &str, value: &[u8]) {
    let name = table.strip_prefix("public:ccf.").unwrap_or_default();
    match name {
        "gov.members.info" => check::<MemberInfo>(table, value),
        "gov.members.acks" => check::<Ack>(table, value),
        "gov.users.info" => check::<UserInfo>(table, value),
        "gov.nodes.info" => check::<NodeInfo>(table, value),
        "gov.nodes.code_ids" | "gov.nodes.virtual.measurements" | "gov.nodes.snp.measurements" => {
            check::<CodeStatus>(table, value);
        }
        "gov.nodes.snp.uvm_endorsements" => check::<UvmFeeds>(table, value),
        "gov.nodes.snp.tcb_versions" => check::<TcbPolicy>(table, value),
        "gov.service.info" => check::<ServiceInfo>(table, value),
        "gov.service.config" => check::<ServiceConfig>(table, value),
        "gov.proposals_info" => check::<ProposalInfo>(table, value),
        "gov.cose_history" | "internal.cose_signatures" | "internal.encrypted_submitted_shares" => {
            check::<Base64>(table, value);
        }
        "gov.jwt.issuers" => check::<JwtIssuer>(table, value),
        "gov.jwt.public_signing_keys_metadata_v2" => check::<Vec<JwtKey>>(table, value),
        "internal.signatures" => check::<NodeSignature>(table, value),
        "internal.recovery_shares" => check::<RecoveryShares>(table, value),
        "internal.historical_encrypted_ledger_secret" => check::<HistoricalSecret>(table, value),
        "internal.encrypted_ledger_secrets" => check::<EncryptedSecrets>(table, value),
        "internal.snapshot_evidence" => check::<SnapshotEvidence>(table, value),
        "internal.previous_service_identity_endorsement" => {
            check::<ccf_crypto::cose::EndorsementRecord>(table, value);
        }
        "gov.constitution" | "gov.service.previous_service_identity" | "gov.cose_recent_proposals" => {
            check::<String>(table, value);
        }
        _ => {}
    }
}

/// A golden ledger's files, in a folder of its name below this one.
pub(crate) fn unpack(name: &str) -> tempfile::TempDir {
    let archive = format!("{}/../../testdata/ledgers/{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::open(archive).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(directory.path()).unwrap();
    directory
}

/// Its chunks, in order.
pub(crate) fn chunks(directory: &Path, name: &str) -> Vec<ChunkPath> {
    let mut chunks = list_chunks(&directory.join(name).join("ledger")).unwrap();
    chunks.sort_by_key(|chunk| chunk.name.start);
    chunks
}

/// Values and proposals of one ledger: how many of each were checked.
fn check_ledger(name: &str) -> (usize, usize) {
    let directory = unpack(name);
    let chunks = chunks(directory.path(), name);

    let (mut values, mut proposals) = (0, 0);
    let mut tree = MerkleTree::new();
    for chunk in &chunks {
        let mut reader = ChunkReader::open(chunk).unwrap();
        let mut block = Block::default();
        while reader.next_block(&mut block).unwrap() {
            for (_, _, bytes) in block.entries() {
                let entry = Entry::parse(bytes).unwrap();
                let (checked, made) = check_entry(&entry, &tree);
                values += checked;
                proposals += made;
                tree.append(entry.leaf());
            }
        }
    }
    (values, proposals)
}

fn check_entry(entry: &Entry<'_>, tree: &MerkleTree) -> (usize, usize) {
    let mut table = String::new();
    let mut values = 0;
    let mut written: BTreeMap<(String, Vec<u8>), Vec<u8>> = BTreeMap::new();
    for record in entry.public_records() {
        match record.unwrap() {
            Record::Map { name, .. } => table = name.to_owned(),
            Record::Write { key, value } => {
                check_value(&table, value);
                values += 1;
                if table.starts_with("public:ccf.gov.cose_history") || table == "public:ccf.gov.proposals" {
                    written.insert((table.clone(), key.to_vec()), value.to_vec());
                }
            }
            Record::Remove { .. } => {}
        }
    }
    let mut proposals = 0;
    for ((name, _), value) in &written {
        if name != "public:ccf.gov.cose_history" {
            continue;
        }
        let envelope: Base64 = serde_json::from_slice(value).unwrap();
        let message = Sign1::decode(&envelope.0).unwrap();
        let kind = message.header().get_text("ccf.gov.msg.type").map(|item| item.text().unwrap().to_owned());
        if kind.as_deref() == Some("proposal") {
            let id = proposal_id(&tree.root(), message.signature());
            let stored = written.get(&("public:ccf.gov.proposals".to_owned(), id.into_bytes()));
            assert_eq!(stored.map(Vec::as_slice), message.payload(), "at {}", entry.tx_id());
            proposals += 1;
        }
    }
    (values, proposals)
}

#[test]
fn values_and_proposals_of_real_services() {
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/ledgers").exists());
    for name in ["acme_containing_service", "cose_flipflop_service", "expired_service", "sgx_service"] {
        let (values, proposals) = check_ledger(name);
        assert!(values > 50 && proposals > 0, "{name}: {values} values, {proposals} proposals");
    }
}
