//! The endpoints of every frontend (applications specification, section 11).

use crate::common::{header, text, tx_id};
use ccf_endpoints::{TxStatus, tx_status};
use ccf_types::{TxId, View};

fn message(response: &ccf_endpoints::Response) -> (u16, String, String) {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let member = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (response.status, member("code"), member("message"))
}

#[test]
fn commit() {
    let mut service = crate::common::service(|_| {});
    let plain = r#"{"transaction_id":"2.10"}"#;
    let full = r#"{"transaction_id":"2.10","view_history":["1.1","2.2"]}"#;
    let second = r#"{"transaction_id":"2.10","view_history":["2.2"]}"#;
    for (query, body) in [
        ("", plain),
        ("?view_history=false", plain),
        ("?view_history=true", full),
        ("?view_history_since=2", second),
        ("?view_history_since=rubbish", plain),
        ("?view_history_since=2&view_history=true", full),
        ("?view_history_since=2&view_history=false", plain),
    ] {
        for prefix in ["/app", "/gov", "/node", ""] {
            let response = service.get(&format!("{prefix}/commit{query}"));
            assert_eq!((response.status, text(&response).as_str()), (200, body), "{query}");
            assert_eq!(tx_id(&response), None);
        }
    }
    let range = "Invalid value for view_history_since, must be in range [1, current_term]";
    for (query, status, expected) in [
        ("view_history_since=0", 400, range),
        ("view_history_since=3", 404, range),
        ("view_history=yes", 400, "Invalid value for view_history"),
        ("view_history=", 400, "Invalid value for view_history"),
    ] {
        let (found, code, text) = message(&service.get(&format!("/app/commit?{query}")));
        assert_eq!((found, code.as_str()), (status, "InvalidQueryParameterValue"));
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn tx() {
    let mut service = crate::common::service(|_| {});
    for (id, status) in [
        ("2.5", "Committed"),
        ("1.1", "Committed"),
        ("2.1", "Invalid"),
        ("1.5", "Invalid"),
        ("2.15", "Pending"),
        ("2.50", "Unknown"),
        ("3.50", "Unknown"),
        ("1.50", "Invalid"),
    ] {
        let response = service.get(&format!("/app/tx?transaction_id={id}"));
        assert_eq!(text(&response), format!(r#"{{"status":"{status}","transaction_id":"{id}"}}"#));
    }
    for bad in ["a.b", "-1.-1", "0.0", "1.0", "0.1", "2.0", "", "2"] {
        let (status, _, text) = message(&service.get(&format!("/app/tx?transaction_id={bad}")));
        let expected = format!(
            "The value '{bad}' passed as query parameter 'transaction_id' could not be converted to a valid Transaction ID."
        );
        assert_eq!((status, text), (400, expected));
    }
    let (status, code, text) = message(&service.get("/app/tx"));
    assert_eq!((status, code.as_str()), (400, "InvalidQueryParameterValue"));
    assert_eq!(text, "Missing query parameter 'transaction_id'");
}

#[test]
fn receipts_of_what_is_not_committed_are_refused() {
    let mut service = crate::common::service(|_| {});
    for path in ["/app/receipt", "/node/receipt/cose"] {
        let mut ask = |query: &str| service.get(&format!("{path}{query}"));
        assert_eq!(message(&ask("")).1, "TransactionInvalid");
        assert_eq!(message(&ask("?transaction_id=x")).2, "Could not extract Transaction Id");
        let pending = ask("?transaction_id=2.15");
        assert_eq!(header(&pending, "cache-control").as_deref(), Some("no-cache"));
        let expected = "Only committed transactions can be queried. Transaction 2.15 is Pending";
        assert_eq!(message(&pending), (404, "TransactionPendingOrUnknown".into(), expected.into()));
        assert_eq!(message(&ask("?transaction_id=1.5")).1, "TransactionInvalid");
        // This node serves no past.
        let (status, code, text) = message(&ask("?transaction_id=2.5"));
        assert_eq!((status, code.as_str()), (500, "TransactionPendingOrUnknown"));
        assert_eq!(text, "Node is not fully configured");
    }
}

/// The table of section 11.2 against its text, exhaustively over small numbers.
#[test]
fn transaction_status_function() {
    for target_view in 1..4 {
        for target in 1..4 {
            for committed_view in 1..4 {
                for committed in 0..4 {
                    for local in [None, Some(1), Some(2), Some(3)] {
                        let found = tx_status(
                            TxId::new(target_view, target),
                            local.map(View),
                            TxId::new(committed_view, committed),
                        );
                        let same = local == Some(target_view);
                        let expected = match (committed >= target, same) {
                            (true, true) => TxStatus::Committed,
                            (true, false) => TxStatus::Invalid,
                            (false, true) => TxStatus::Pending,
                            (false, false) if committed_view > target_view => TxStatus::Invalid,
                            (false, false) => TxStatus::Unknown,
                        };
                        assert_eq!(found, expected);
                    }
                }
            }
        }
    }
}
