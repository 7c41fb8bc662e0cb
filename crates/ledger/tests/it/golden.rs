//! Real ledgers verify, with the figures of CCF's own tools; damaged ones are refused at the right place.

use ccf_ledger::verify::Level;
use ccf_types::TxId;

use crate::support::{Golden, verify};

/// Transactions, signatures and last TxID: committed files only, then with open ones.
const FIGURES: [(&str, (u64, u64, TxId), (u64, u64, TxId)); 4] = [
    ("acme_containing_service", (20, 7, TxId::new(2, 20)), (22, 8, TxId::new(2, 22))),
    ("cose_flipflop_service", (46, 23, TxId::new(2, 46)), (46, 23, TxId::new(2, 46))),
    ("expired_service", (61, 21, TxId::new(4, 61)), (74, 26, TxId::new(4, 74))),
    ("sgx_service", (138, 47, TxId::new(8, 138)), (153, 54, TxId::new(8, 153))),
];

#[test]
fn real_ledgers_verify_fully() {
    for (name, committed, all) in FIGURES {
        let golden = Golden::unpack(name);
        for (uncommitted, expected) in [(false, committed), (true, all)] {
            for level in [Level::Full, Level::Merkle] {
                let verdict = verify(&golden.ledger(), level, uncommitted);
                if let Some(failure) = &verdict.failure {
                    panic!("{name}, {level:?}: {failure}");
                }
                assert_eq!(
                    (verdict.transactions, verdict.signatures, verdict.verified),
                    expected,
                    "{name}, {level:?}"
                );
                assert_eq!(verdict.uncommitted_tail, 0);
            }
            let verdict = verify(&golden.ledger(), Level::Headers, uncommitted);
            assert!(verdict.is_ok());
            assert_eq!((verdict.transactions, verdict.verified), (expected.0, expected.2));
        }
    }
}
