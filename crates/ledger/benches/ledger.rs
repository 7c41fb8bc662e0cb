//! What a transaction costs in this crate: building its entry, its place in the tree, a root, a proof; and how fast
//! files are written and verified. Each figure of an entry stands beside its floor: hashing and encrypting the same
//! bytes with nothing around them.

use ccf_crypto::{
    aead::AeadKey,
    cert::{CertificateKind, Issuer, Name, SigningRequest, Validity, self_signed},
    cose::SignatureClaims,
    hash::{HmacKey, sha256},
    key::{Curve, EcKeyPair},
};
use ccf_ledger::{
    entry::{DomainEncoder, Entry, EntryContext, Flags, seal},
    files::LedgerWriter,
    merkle::MerkleTree,
    secrets::{LedgerSecret, LedgerSecrets},
    signature::{SignatureTransaction, Signer, SigningMode},
    tables::{NODE_ENDORSED_CERTIFICATES, NODES_INFO, SERVICE_INFO, UNIT_KEY},
    verify::{Level, Options, run},
};
use ccf_types::{Digest, MapName, SeqNo, TxId};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, path::Path};

const RECORDS: MapName = MapName::from_static("records");
const VALUE: &[u8; 20] = b"twenty bytes of text";

fn secret() -> LedgerSecret {
    LedgerSecret::new(&[7; 32], SeqNo(1), None)
}

fn context(secret: &LedgerSecret, seqno: u64) -> EntryContext<'_> {
    EntryContext { tx_id: TxId::new(2, seqno), flags: Flags::NONE, claims_digest: Digest::ZERO, secret }
}

fn encode(encoder: &mut DomainEncoder, key: u64) {
    encoder.map(&RECORDS, 1, 0);
    encoder.write(&key.to_le_bytes(), VALUE);
}

fn entries(c: &mut Criterion) {
    let mut group = c.benchmark_group("entry, one private write of 20 bytes");
    let secret = secret();
    let mut encoder = DomainEncoder::new();
    let mut seqno = 0;
    group.bench_function("build", |b| {
        b.iter(|| {
            seqno += 1;
            encode(&mut encoder, seqno);
            seal(&mut encoder, &context(&secret, seqno))
        });
    });
    group.bench_function("floor: its hashes, HMAC and AES-GCM alone", |b| {
        encode(&mut encoder, 1);
        let bytes = seal(&mut encoder, &context(&secret, 1)).expect("seals").bytes;
        let (aad, mut private) = (bytes[44..125].to_vec(), bytes[125..].to_vec());
        let (key, hmac) = (AeadKey::new(&[7; 32]), HmacKey::new(&[7; 32]));
        b.iter(|| {
            let tag = key.seal_in_place(&[0; 12], &aad, &mut private);
            let nonce = hmac.sign(b"2.1234567");
            let hashes = [sha256(&bytes), sha256(&bytes[..78]), sha256(&bytes[..96])];
            (tag, nonce, hashes)
        });
    });
    encode(&mut encoder, 1);
    let sealed = seal(&mut encoder, &context(&secret, 1)).expect("seals");
    let secrets = LedgerSecrets::new([secret]).expect("one");
    group.bench_function("parse", |b| {
        b.iter(|| Entry::parse(black_box(&sealed.bytes)).map(|entry| entry.seqno().0 + entry.tx_id().view.0));
    });
    group.bench_function("parse, authenticate, decrypt, walk", |b| {
        b.iter(|| {
            let entry = Entry::parse(black_box(&sealed.bytes)).expect("valid");
            entry.decrypt(&secrets).expect("authentic").records().check()
        });
    });
    group.finish();
}

fn tree_of(len: u64) -> MerkleTree {
    let mut tree = MerkleTree::new();
    for i in 1..len {
        tree.append(sha256(&i.to_le_bytes()));
    }
    tree
}

fn merkle(c: &mut Criterion) {
    let mut group = c.benchmark_group("merkle");
    let leaf = sha256(b"leaf");
    group.bench_function("append", |b| {
        b.iter_batched_ref(
            MerkleTree::new,
            |tree| (0..1000).for_each(|_| tree.append(leaf)),
            BatchSize::SmallInput,
        );
    });
    let tree = tree_of(1_000_000 - 1);
    group.bench_function("root of a million leaves", |b| b.iter(|| black_box(&tree).root()));
    group.bench_function("proof in a million leaves", |b| b.iter(|| black_box(&tree).proof(654_321)));
    let proof = tree.proof(654_321).expect("held");
    group.bench_function("verify a proof of 20 steps", |b| b.iter(|| black_box(&proof).root(&leaf)));
    group.bench_function("serialise 5000 leaves", |b| b.iter(|| tree.to_blob_from(tree.len() - 5000)));
    group.finish();
}

/// A ledger that verifies at level full, with a signature after every `interval` private writes.
fn write_ledger(directory: &Path, transactions: u64, interval: u64) -> u64 {
    let node_key = EcKeyPair::generate(Curve::P384).expect("a key");
    let service_key = EcKeyPair::generate(Curve::P384).expect("a key");
    let validity = Validity::from_days(time::OffsetDateTime::UNIX_EPOCH, 365).expect("a year");
    let name = Name::parse("CN=CCF").expect("a name");
    let service =
        self_signed(&service_key, &name, &[], CertificateKind::Ca, &validity).expect("a certificate");
    let request = SigningRequest::create(&node_key, &name, &[]).expect("a request");
    let issuer = Issuer::new(&service, &service_key).expect("its key");
    let node = issuer.endorse(&request, CertificateKind::Leaf, &validity).expect("a certificate");
    let (node_pem, service_pem) = (node.to_pem(), service.to_pem());
    let node_id = node_key.public_key().node_id();
    let claims = SignatureClaims::default();
    let signer = Signer {
        node_id: &node_id,
        node_certificate: &node_pem,
        node_key: &node_key,
        service_key: &service_key,
        claims: &claims,
    };
    let secret = secret();
    let mut writer = LedgerWriter::open(directory, &[], &mut Vec::new()).expect("opens");
    let mut encoder = DomainEncoder::new();
    let mut tree = MerkleTree::new();
    let mut bytes = 0;
    let mut append = |encoder: &mut DomainEncoder, tree: &mut MerkleTree, flags| {
        let seqno = tree.len();
        let sealed = seal(encoder, &EntryContext { flags, ..context(&secret, seqno) }).expect("seals");
        bytes += sealed.bytes.len() as u64;
        tree.append(sealed.leaf);
        writer
            .append(&sealed.bytes, flags != Flags::NONE || seqno.is_multiple_of(interval))
            .expect("appends");
    };
    encoder.map(&NODE_ENDORSED_CERTIFICATES, 1, 0);
    encoder.write(node_id.as_ref(), node_pem.as_bytes());
    encoder.map(&NODES_INFO, 1, 0);
    encoder.write(node_id.as_ref(), br#"{"status":"Trusted"}"#);
    encoder.map(&SERVICE_INFO, 1, 0);
    let info = serde_json::json!({ "cert": service_pem, "status": "Open" });
    encoder.write(&UNIT_KEY, info.to_string().as_bytes());
    append(&mut encoder, &mut tree, Flags::NONE);
    let mut since_cut = 0;
    while tree.len() < transactions {
        let seqno = tree.len();
        since_cut += 1;
        if seqno.is_multiple_of(interval) {
            let blob = tree.to_blob();
            let signed = SignatureTransaction::sign(
                &signer,
                SigningMode::Dual,
                TxId::new(2, seqno),
                &tree.root(),
                blob,
                0,
            );
            signed.expect("signs").encode(&mut encoder);
            let cut = since_cut * 240 > 5 << 20;
            append(&mut encoder, &mut tree, if cut { Flags::CHUNK_AFTER } else { Flags::NONE });
            since_cut = if cut { 0 } else { since_cut };
            tree.flush(seqno);
        } else {
            encode(&mut encoder, seqno);
            append(&mut encoder, &mut tree, Flags::NONE);
        }
    }
    writer.flush().expect("flushes");
    bytes
}

fn files(c: &mut Criterion) {
    let mut group = c.benchmark_group("files");
    group.sample_size(10);
    let directory = tempfile::tempdir().expect("temporary");
    let bytes = write_ledger(directory.path(), 200_000, 1000);
    group.throughput(Throughput::Bytes(bytes));
    for level in [Level::Headers, Level::Merkle, Level::Full] {
        group.bench_function(format!("verify 200,000 small entries, {level:?}"), |b| {
            b.iter(|| {
                let options = Options { level, uncommitted: true, recovery: false };
                let verdict = run(&[directory.path().to_owned()], &options, &mut |_| {}).expect("a verdict");
                assert!(verdict.is_ok(), "{:?}", verdict.failure);
            });
        });
    }
    let secret = secret();
    let mut encoder = DomainEncoder::new();
    encode(&mut encoder, 1);
    let entry = seal(&mut encoder, &context(&secret, 1)).expect("seals").bytes;
    group.throughput(Throughput::Elements(100));
    group.bench_function("append a batch of 100 and flush", |b| {
        let directory = tempfile::tempdir().expect("temporary");
        let mut writer = LedgerWriter::open(directory.path(), &[], &mut Vec::new()).expect("opens");
        b.iter(|| {
            for _ in 0..100 {
                writer.append(&entry, false).expect("appends");
            }
            writer.flush()
        });
    });
    group.finish();
}

criterion_group!(benches, entries, merkle, files);
criterion_main!(benches);
