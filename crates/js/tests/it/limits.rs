//! Limits end the script and leave the process, and the interpreter, healthy (applications specification, 5.7).

use crate::service::{Service, body, body_json, message};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOURCE: &str = "
  export function spin() { for (;;) {} }
  export function catching() { for (;;) { try { for (;;) {} } catch { } finally { continue; } } }
  export function recurse() { const f = (n) => f(n + 1) + 1; return f(0); }
  export function bomb() { const a = []; for (;;) a.push(new ArrayBuffer(1 << 20)); }
  export function strings() { let s = 'x'; for (;;) s = s + s.toUpperCase(); }
  export function objects() { const a = []; for (;;) a.push({ a: [1, 2, 3], b: 'x' + a.length }); }
  export function digests() { const b = new ArrayBuffer(1 << 23); for (;;) ccf.crypto.digest('SHA-256', b); }
  export function caught() { const b = new ArrayBuffer(1 << 23);
    for (;;) { try { for (;;) ccf.crypto.digest('SHA-256', b); } catch { } } }
  export function small() { let a = null; for (;;) a = [a]; }
  export function regex() { return /^(a+)+$/.test('a'.repeat(40) + 'b'); }
  export function json() { let a = []; for (let i = 0; i < 100000; i++) a = [a]; return { body: a }; }
  export function getter() { return { get body() { for (;;) {} } }; }
  export function toText() { const e = new Error('x'); e.toString = () => { for (;;) {} }; throw e; }
  export function sort() { return [3, 1, 2].sort(() => { for (;;) {} }); }
  export function fine() { return { body: 'fine' }; }";

const FUNCTIONS: [&str; 15] = [
    "digests", "caught", "small", "spin", "catching", "recurse", "bomb", "strings", "objects", "regex",
    "json", "getter", "toText", "sort", "fine",
];

fn service(more: &Value) -> Service {
    let endpoints: Vec<(&str, String, &str, Value)> =
        FUNCTIONS.iter().map(|f| ("get", format!("/{f}"), *f, more.clone())).collect();
    let endpoints: Vec<(&str, &str, &str, Value)> =
        endpoints.iter().map(|(m, p, f, v)| (*m, p.as_str(), *f, v.clone())).collect();
    let service = Service::with_app(SOURCE, &endpoints);
    service.options(
        json!({"max_execution_time_ms": 200, "max_heap_bytes": 30_000_000, "return_exception_details": true}),
    );
    service
}

fn check(service: &Service, function: &str, expected: &str) {
    let started = Instant::now();
    let response = service.get(&format!("/app/{function}"));
    assert_eq!(response.status, 500, "{function}: {}", body(&response));
    let details = body_json(&response)["error"]["details"][0]["message"].clone();
    assert_eq!(details, expected, "{function}");
    assert!(started.elapsed() < Duration::from_secs(10), "{function}");
    assert_eq!(body(&service.get("/app/fine")), "fine", "after {function}");
}

#[test]
fn loops_recursion_and_bombs() {
    for more in [json!({}), json!({"interpreter_reuse": {"key": "k"}})] {
        let service = service(&more);
        for function in ["spin", "catching", "getter", "sort", "digests", "caught"] {
            check(&service, function, "InternalError: interrupted");
            let response = service.get(&format!("/app/{function}"));
            assert_eq!(message(&response), "Operation took too long to complete.", "{function}");
        }
        check(&service, "recurse", "InternalError: stack overflow");
        for function in ["regex", "json", "toText"] {
            assert_eq!(service.get(&format!("/app/{function}")).status, 500, "{function}");
            assert_eq!(body(&service.get("/app/fine")), "fine", "after {function}");
        }
    }
}

#[test]
fn whatever_fills_the_heap_is_out_of_memory() {
    for more in [json!({}), json!({"interpreter_reuse": {"key": "k"}})] {
        let service = service(&more);
        // Many limits, so that memory ends at many places, also where the engine makes its error.
        for heap in (0..12).map(|n| 1_200_000 + n * 48_391) {
            service.options(json!({
                "max_execution_time_ms": 20_000,
                "max_heap_bytes": heap,
                "return_exception_details": true,
            }));
            for function in ["bomb", "strings", "objects", "small"] {
                check(&service, function, "InternalError: out of memory");
            }
        }
    }
}

#[test]
fn null_is_what_a_script_may_throw() {
    let service = Service::with_app("export function f() { throw null; }", &[("get", "/f", "f", json!({}))]);
    service.options(json!({"return_exception_details": true}));
    let response = service.get("/app/f");
    assert_eq!(body_json(&response)["error"]["details"][0]["message"], "null");
}

/// Memory that ends while modules are loaded, at every place: the engine once crashed.
#[test]
fn heaps_too_small_for_the_application_are_refused() {
    let service = service(&json!({}));
    for heap in (0..200_000).step_by(1_009) {
        service.options(json!({"max_heap_bytes": heap}));
        let status = service.get("/app/fine").status;
        assert!(status == 500 || status == 200, "{heap}: {status}");
    }
    service.options(json!({}));
    assert_eq!(body(&service.get("/app/fine")), "fine");
}

#[test]
fn tiny_limits_fail_and_can_be_lifted() {
    let service = service(&json!({}));
    for limits in
        [json!({"max_heap_bytes": 100}), json!({"max_heap_bytes": 0}), json!({"max_stack_bytes": 100})]
    {
        service.options(limits.clone());
        assert_eq!(service.get("/app/fine").status, 500, "{limits}");
    }
    service.options(json!({"max_execution_time_ms": 0}));
    assert_eq!(service.get("/app/spin").status, 500);
    service.options(json!({}));
    assert_eq!(body(&service.get("/app/fine")), "fine");
}

#[test]
fn a_timeout_is_not_remembered() {
    let source = "export function f(request) { if (request.query) { for (;;) {} } throw new Error('mine'); }";
    let service =
        Service::with_app(source, &[("get", "/f", "f", json!({"interpreter_reuse": {"key": "k"}}))]);
    service.options(json!({"max_execution_time_ms": 50}));
    assert_eq!(message(&service.get("/app/f?x")), "Operation took too long to complete.");
    assert_eq!(message(&service.get("/app/f")), "Exception thrown while executing.");
}

#[test]
fn top_levels_have_the_same_limits() {
    let service = Service::with_app("for (;;) {} export function f() {}", &[("get", "/f", "f", json!({}))]);
    service.options(json!({"max_execution_time_ms": 50}));
    for _ in 0..2 {
        let response = service.get("/app/f");
        assert_eq!(
            (response.status, message(&response)),
            (500, "Operation took too long to complete.".to_owned())
        );
    }
}

#[test]
fn long_conversions_of_requests_are_bounded_too() {
    let service = Service::with_app(
        "export function f({ body }) { return { body: body.text().length }; }",
        &[("post", "/f", "f", json!({}))],
    );
    service.options(json!({"max_heap_bytes": 2_000_000}));
    assert_eq!(service.post("/app/f", &"x".repeat(10_000_000)).status, 500);
    assert_eq!(body(&service.post("/app/f", "xyz")), "3");
}
