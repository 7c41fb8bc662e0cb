//! Finding endpoints in the store (applications specification, 1.4, 4.3 and 12).

use crate::service::{Service, body, body_json, message};
use ccf_endpoints::DynamicEndpoints;
use ccf_js::ENDPOINTS;
use serde_json::json;

const SOURCE: &str = "export const f = (request) => ({ body: request.route }); ";

#[test]
fn methods_templates_and_shadowing() {
    let service = Service::with_app(
        SOURCE,
        &[
            ("post", "/only", "f", json!({})),
            ("get", "/x/{a}", "f", json!({})),
            ("get", "/x/{b}-{c}", "f", json!({})),
            ("get", "/commit", "f", json!({})),
            ("Put", "/x/exact", "f", json!({})),
        ],
    );
    assert_eq!(body(&service.get("/app/commit")), "/app/commit");
    assert_eq!(body(&service.get("/app/x/1")), "/app/x/{a}");
    let ambiguous = service.get("/app/x/1-2");
    assert_eq!(ambiguous.status, 500);
    let text = message(&ambiguous);
    assert!(text.starts_with("Exception: Multiple potential matches for path: /x/1-2"), "{text}");
    assert!(text.contains("\n  /x/{a}") && text.contains("\n  /x/{b}-{c}"));
    let refused = service.get("/app/only");
    assert_eq!(
        (refused.status, message(&refused)),
        (405, "Allowed methods for '/only' are: OPTIONS, POST.".to_owned())
    );
    assert_eq!(service.get("/app/none").status, 404);
    assert_eq!(body(&service.put("/app/x/exact")), "/app/x/exact");
}

#[test]
fn bad_rows_harm_nobody_else() {
    let service = Service::with_app(SOURCE, &[("get", "/f", "f", json!({}))]);
    service.write(|tx| {
        let table = tx.raw(ENDPOINTS.name());
        table.put(&b"NOSUCH /a"[..], &b"{}"[..]);
        table.put(&b"GET /{open"[..], &b"{}"[..]);
        table.put(&b"\xff"[..], &b"{}"[..]);
        table.put(&b"GET /broken"[..], &b"{"[..]);
    });
    assert_eq!(body(&service.get("/app/f")), "/app/f");
    let broken = service.get("/app/broken");
    assert_eq!(broken.status, 500);
    assert!(message(&broken).starts_with("Exception: "), "{}", message(&broken));
    assert!(service.lines().iter().any(|l| l.contains("Endpoint 'NOSUCH /a' is ignored")));
}

#[test]
fn operations_are_those_that_are_not_hidden() {
    let service = Service::with_app(
        SOURCE,
        &[
            ("get", "/f", "f", json!({"openapi": {"summary": "s"}})),
            ("get", "/g", "f", json!({"openapi": null})),
            ("get", "/h", "f", json!({"openapi_hidden": true})),
        ],
    );
    let mut operations: Vec<_> = service.app.operations(&service.store.begin()).unwrap();
    operations.sort_by(|a, b| a.full_path.cmp(&b.full_path));
    let got: Vec<_> = operations.iter().map(|o| (o.full_path.as_str(), o.openapi.clone())).collect();
    assert_eq!(got, [("/app/f", json!({"summary": "s"})), ("/app/g", json!({}))]);
    let document = body_json(&service.get("/app/api"));
    assert_eq!(document["paths"]["/app/f"]["get"]["summary"], "s");
    assert!(document["paths"].get("/app/h").is_none());
}

#[test]
fn metrics_show_the_limits_in_force() {
    let service = Service::with_app(SOURCE, &[("get", "/f", "f", json!({}))]);
    service.options(json!({"max_heap_bytes": 7}));
    let metrics = serde_json::to_value(service.app.metrics(&service.store.begin())).unwrap();
    assert_eq!(
        metrics,
        json!({"bytecode_size": 0, "bytecode_used": false, "max_cached_interpreters": 10,
               "max_execution_time": 5000, "max_heap_size": 7, "max_stack_size": 1048576})
    );
}
