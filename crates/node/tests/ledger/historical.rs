//! Past transactions out of ledger files: all of them proved, none that is not what was committed.

use crate::service::TestService;
use ccf_endpoints::{Role, historical::HistoricalState};
use ccf_governance::tables::{
    self,
    base64::Base64,
    secrets::{HistoricalSecret, PreviousSecret},
};
use ccf_ledger::{
    entry::Flags,
    files::LedgerReader,
    receipt::{CoseReceipt, Receipt},
    secrets::{LedgerSecret, LedgerSecrets},
};
use ccf_node::{
    historical::{FetchError, FetchParts, Fetcher},
    replication::status::{ReplicationStatus, Term},
};
use ccf_types::{MapName, SeqNo, View};
use parking_lot::RwLock;
use std::sync::Arc;

const RECORDS: MapName = MapName::from_static("records");

/// Writes so many transactions and signs them.
fn write(service: &mut TestService, count: u64, flags: Flags) -> SeqNo {
    for at in 0..count {
        service.put(&RECORDS, b"key", format!("value {at}").as_bytes());
    }
    let (signature, _) = service.sign(flags, false);
    service.commit_up_to(signature.seqno);
    signature.seqno
}

pub(crate) fn fetcher(
    service: &TestService,
    reader: LedgerReader,
    secrets: LedgerSecrets,
    starts: &[u64],
) -> Fetcher {
    let starts: Vec<SeqNo> = starts.iter().copied().map(SeqNo).collect();
    let view = View(starts.len() as u64);
    let status = ReplicationStatus::new(Term::new(view, Role::Primary, None, &starts));
    status.commit(service.last().seqno);
    Fetcher::new(FetchParts {
        reader,
        secrets: Arc::new(RwLock::new(secrets)),
        status: Arc::new(status),
        store: service.store.clone(),
        service_key: Box::new(|| None),
        threads: 2,
    })
}

pub(crate) fn fetch(fetcher: &Fetcher, from: u64, to: u64) -> Result<Vec<Arc<HistoricalState>>, FetchError> {
    let mut states = Vec::new();
    fetcher.fetch(SeqNo(from), SeqNo(to), &mut |(state, _)| states.push(state))?;
    Ok(states)
}

#[test]
fn every_transaction_has_receipts_that_hold() {
    let folder = tempfile::tempdir().expect("folder");
    let mut service = TestService::new(folder.path(), |_| {});
    for count in [3, 1, 70, 0, 5] {
        write(&mut service, count, Flags::CHUNK_AFTER);
    }
    let last = service.last().seqno.0;
    let fetcher = fetcher(&service, service.writer.reader(), service.secrets(), &[1, 1]);
    let all = fetch(&fetcher, 1, last).expect("all are there");
    assert_eq!(all.len() as u64, last);
    let key = service.certificate.public_key().expect("key");
    for (state, seqno) in all.iter().zip(1..) {
        assert_eq!(state.tx_id().seqno.0, seqno);
        let receipt = state.receipt();
        let json = receipt.json().expect("the node has signed");
        json.verify(&service.certificate, None).expect("holds");
        let text = serde_json::to_string(&json).expect("JSON");
        assert_eq!(serde_json::from_str::<Receipt>(&text).expect("reads"), json);
        match (receipt.cose(), receipt.is_signature()) {
            (Some(cose), false) => {
                let cose = CoseReceipt::decode(&cose).expect("decodes");
                cose.verify(key).expect("holds");
                assert_eq!(cose.components().tx_id(), Some(state.tx_id()));
            }
            (None, true) => assert!(json.proof.steps.is_empty()),
            other => panic!("{other:?}"),
        }
        let one = fetch(&fetcher, seqno, seqno).expect("is there");
        assert_eq!(one.first().expect("one").receipt().json(), Some(json), "alone as in a range");
    }
    let tx = all[1].tx();
    assert_eq!(tx.raw(&RECORDS).get(b"key").expect("written").as_ref(), b"value 0");
    assert!(tx.raw(tables::SERVICE_INFO.name()).get(&[0; 8]).is_none(), "only what this one wrote");
    assert!(matches!(fetch(&fetcher, last, last + 1), Err(FetchError::Missing(_))));
}

#[test]
fn secrets_of_earlier_times_are_found_by_walking_back() {
    let folder = tempfile::tempdir().expect("folder");
    let mut service = TestService::new(folder.path(), |_| {});
    write(&mut service, 5, Flags::CHUNK_AFTER);
    let mut oldest = Arc::clone(&service.secret);
    for generation in 1..=3_u8 {
        let stored_at = service.last().seqno.next();
        let next = LedgerSecret::new(&[10 + generation; 32], stored_at.next(), Some(stored_at));
        let next = Arc::new(next);
        let link = HistoricalSecret {
            next_version: Some(stored_at.next()),
            previous_ledger_secret: Some(PreviousSecret {
                encrypted_data: Base64(next.key().seal_blob(&[], oldest.danger_raw()).expect("sealed")),
                previous_secret_stored_version: oldest.previous_stored_at(),
                version: oldest.from(),
            }),
        };
        let written =
            service.commit(|_, tx| tx.rw(&tables::HISTORICAL_LEDGER_SECRET).put(&link).expect("put"));
        assert_eq!(written.seqno, stored_at);
        service.store.set_context(Arc::clone(&next));
        service.secret = Arc::clone(&next);
        oldest = next;
        write(&mut service, 5, Flags::CHUNK_AFTER);
    }
    let newest = LedgerSecret::new(oldest.danger_raw(), oldest.from(), oldest.previous_stored_at());
    let fetcher =
        fetcher(&service, service.writer.reader(), LedgerSecrets::new([newest]).expect("one"), &[1, 1]);
    let all = fetch(&fetcher, 1, service.last().seqno.0).expect("every secret is found");
    for state in &all {
        state.receipt().json().expect("signed").verify(&service.certificate, None).expect("holds");
    }
}

#[test]
fn what_is_not_what_was_committed_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mut service = TestService::new(folder.path(), |_| {});
    let first = write(&mut service, 20, Flags::CHUNK_AFTER);
    write(&mut service, 3, Flags::CHUNK_AFTER);
    // Consensus knows other views.
    let other = fetcher(&service, service.writer.reader(), service.secrets(), &[1, 1, 10]);
    assert!(matches!(fetch(&other, 9, 12), Err(FetchError::Fork(_))));

    let file = std::fs::read_dir(folder.path())
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.to_string_lossy().contains(&format!("ledger_1-{first}")))
        .expect("the first chunk");
    let whole = std::fs::read(&file).expect("file");
    for at in (8..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        std::fs::write(&file, &flipped).expect("file");
        let fetcher = fetcher(&service, service.writer.reader(), service.secrets(), &[1, 1]);
        // Whatever is given out is what was committed.
        if let Ok(states) = fetch(&fetcher, 1, first.0) {
            for state in states {
                let json = state.receipt().json().expect("signed");
                json.verify(&service.certificate, None).expect("holds");
            }
            assert!(at >= whole.len() - 8 * 30, "byte {at} may be altered unnoticed");
        }
    }
}
