//! Reused interpreters (applications specification, 5.8).

use crate::service::{Service, body, body_json};
use serde_json::json;

const COUNTER: &str = "let n = 0; const t = ccf.kv.t, rpc = ccf.rpc; let stash;
  export function f(request) {
    stash ??= request.body;
    const k = ccf.strToBuf('k'); t.has(k); rpc.setApplyWrites(false);
    return { body: [++n, stash.text()] }; }";

fn reuse(key: &str, mode: &str) -> serde_json::Value {
    json!({"interpreter_reuse": {"key": key}, "mode": mode})
}

fn count(service: &Service, path: &str) -> u64 {
    body_json(&service.post(path, "b"))[0].as_u64().unwrap()
}

fn service() -> Service {
    Service::with_app(
        COUNTER,
        &[
            ("post", "/a", "f", reuse("a", "readwrite")),
            ("post", "/a2", "f", reuse("a", "readwrite")),
            ("post", "/ro", "f", reuse("a", "readonly")),
            ("post", "/b", "f", reuse("b", "readwrite")),
            ("post", "/c", "f", reuse("c", "readwrite")),
            ("post", "/none", "f", json!({})),
        ],
    )
}

#[test]
fn state_lasts_per_key_and_mode() {
    let service = service();
    assert_eq!((count(&service, "/app/a"), count(&service, "/app/a2")), (1, 2));
    assert_eq!(count(&service, "/app/ro"), 1);
    assert_eq!(count(&service, "/app/b"), 1);
    assert_eq!((count(&service, "/app/none"), count(&service, "/app/none")), (1, 1));
    assert_eq!(count(&service, "/app/a"), 3);
}

#[test]
fn stashed_bodies_read_the_request_in_progress() {
    let service = service();
    assert_eq!(body(&service.post("/app/a", "one")), r#"[1,"one"]"#);
    assert_eq!(body(&service.post("/app/a", "two")), r#"[2,"two"]"#);
}

#[test]
fn the_cache_is_bounded() {
    let service = service();
    service.options(json!({"max_cached_interpreters": 2}));
    for _ in 0..2 {
        for path in ["/app/a", "/app/b", "/app/c"] {
            assert_eq!(count(&service, path), 1, "{path}");
        }
    }
    service.options(json!({"max_cached_interpreters": 3}));
    let round = || ["/app/a", "/app/b", "/app/c"].map(|path| count(&service, path));
    let before = round();
    assert_eq!(round(), before.map(|n| n + 1));
}

#[test]
fn a_deployment_drops_it() {
    let service = service();
    assert_eq!((count(&service, "/app/a"), count(&service, "/app/a")), (1, 2));
    service.deploy(&[("m.js", COUNTER)], &[("post", "/a", "f", reuse("a", "readwrite"))]);
    assert_eq!(count(&service, "/app/a"), 1);
}

#[test]
fn overlapping_requests_of_one_key_do_not_wait() {
    let service = Service::with_app(
        "export function f() { const end = Date.now() + 20; while (Date.now() < end); return {}; }",
        &[("post", "/f", "f", reuse("k", "readonly"))],
    );
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| assert_eq!(service.post("/app/f", "").status, 200));
        }
    });
}
