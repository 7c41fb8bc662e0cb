//! The samples that people copy.

use crate::service::{Service, body, body_json};
use ccf_js::Bundle;
use serde_json::json;
use std::path::PathBuf;

fn sample(name: &str) -> Bundle {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(name);
    Bundle::read(&folder).unwrap()
}

#[test]
fn the_bank_moves_money() {
    let mut service = Service::new();
    service.install(&sample("bank"));
    let (alice, alice_id) = service.add_user("alice", json!(null));
    let (bob, bob_id) = service.add_user("bob", json!(null));
    assert_eq!(service.get("/app/balance/current").status, 401);

    service.call_as(&bob);
    assert_eq!(service.put("/app/account/savings").status, 204);
    service.call_as(&alice);
    assert_eq!(service.put("/app/account/current").status, 204);
    assert_eq!(service.put("/app/account/current").status, 204);
    assert_eq!(body(&service.post("/app/deposit/current", r#"{"value":100}"#)), r#"{"balance":100}"#);
    let transfer = |service: &Service, value: &str| {
        service.post(
            "/app/transfer/current",
            &format!(r#"{{"value":{value},"to_user":"{bob_id}","to_account":"savings"}}"#),
        )
    };
    let claim = format!("{alice_id} sent 40 to {bob_id}");
    assert_eq!(body_json(&transfer(&service, "40")), json!({"balance": 60, "claim": claim}));
    assert_eq!(body_json(&transfer(&service, "61"))["error"]["code"], "BalanceTooLow");
    for bad in ["0", "-1", "1.5", "\"abc\"", "1e300", "null"] {
        assert_eq!(transfer(&service, bad).status, 400, "{bad}");
    }
    assert_eq!(service.post("/app/deposit/current", "nonsense").status, 400);
    assert_eq!(service.post("/app/deposit/other", r#"{"value":1}"#).status, 404);
    assert_eq!(body(&service.get("/app/balance/current")), r#"{"balance":60}"#);
    let statement = body_json(&service.get("/app/statement/current"));
    assert_eq!(
        statement["movements"],
        json!([{"change": -40, "party": bob_id, "balance": 60}, {"change": 100, "party": "deposit", "balance": 100}])
    );
    service.call_as(&bob);
    assert_eq!(body(&service.get("/app/balance/savings")), r#"{"balance":40}"#);
    assert_eq!(service.get("/app/balance/current").status, 404, "accounts belong to their owner");
}

#[test]
fn money_is_neither_lost_nor_made() {
    let mut service = Service::new();
    service.install(&sample("bank"));
    let (alice, id) = service.add_user("alice", json!(null));
    service.call_as(&alice);
    for account in ["a", "b", "c"] {
        service.put(&format!("/app/account/{account}"));
        service.post(&format!("/app/deposit/{account}"), r#"{"value":100}"#);
    }
    let service = &service;
    let id = &id;
    std::thread::scope(|threads| {
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")] {
            threads.spawn(move || {
                for i in 1..20 {
                    let body = format!(r#"{{"value":{i},"to_user":"{id}","to_account":"{to}"}}"#);
                    let status = service.post(&format!("/app/transfer/{from}"), &body).status;
                    assert!([200, 400].contains(&status), "{status}");
                }
            });
        }
    });
    let total: i64 = ["a", "b", "c"]
        .iter()
        .map(|a| body_json(&service.get(&format!("/app/balance/{a}")))["balance"].as_i64().unwrap())
        .sum();
    assert_eq!(total, 300);
}

#[test]
fn the_standard_workload() {
    let mut service = Service::new();
    service.install(&sample("logging-js"));
    let (user, _) = service.add_user("user", json!({"isAdmin": true}));
    assert_eq!(service.get("/app/log/private?id=1").status, 401);
    service.call_as(&user);
    for domain in ["private", "public"] {
        let record = format!("/app/log/{domain}");
        assert_eq!(body(&service.post(&record, r#"{"id":42,"msg":"hello"}"#)), "true");
        let response = service.get(&format!("{record}?id=42"));
        assert_eq!(body(&response), r#"{"msg":"hello"}"#);
        assert_eq!(service.get(&format!("{record}?id=43")).status, 404);
        assert_eq!(service.get(&record).status, 500, "a missing id throws");
        assert_eq!(body(&service.get(&format!("{record}/count"))), "1");
        let delete =
            ccf_endpoints::Request::simple(ccf_endpoints::Method::Delete, &format!("{record}?id=42"));
        assert_eq!(body(&service.send(&delete)), "true");
        assert_eq!(service.send(&delete).status, 404);
        service.post(&record, r#"{"id":1,"msg":"a"}"#);
        let delete = ccf_endpoints::Request::simple(ccf_endpoints::Method::Delete, &format!("{record}/all"));
        assert_eq!(body(&service.send(&delete)), "true");
        assert_eq!(body(&service.get(&format!("{record}/count"))), "0");
    }
}
