//! `ccf.kv` (applications specification, 6.2).

use crate::service::{Service, body, body_json, eval, message};
use serde_json::json;

#[test]
fn handles_do_what_maps_do() {
    let result = eval(
        "const b = ccf.strToBuf, s = ccf.bufToStr, m = ccf.kv['t'];
         const log = [];
         log.push(m.has(b('a')), m.get(b('a')), m.size);
         log.push(m.set(b('a'), b('1')) === m);
         m.set(b('b'), b('2')).set(b(''), b(''));
         log.push(m.size, s(m.get(b('a'))), s(m.get(b(''))), m.has(b('')));
         const seen = [];
         log.push(m.forEach((v, k, h) => { seen.push([s(k), s(v), h === m]); m.delete(k); m.set(b('new'), b('x')); }));
         log.push(seen, m.size, m.delete(b('nothing')), m.getVersionOfPreviousWrite(b('new')));
         m.clear(); log.push(m.size, ccf.kv.t === ccf.kv.t, 'anything' in ccf.kv, Object.keys(ccf.kv).length);
         return log.map((x) => x === undefined ? 'undefined' : x);",
    );
    assert_eq!(
        result,
        json!([
            false,
            "undefined",
            0,
            true,
            3,
            "1",
            "",
            true,
            "undefined",
            [["", "", true], ["a", "1", true], ["b", "2", true]],
            1,
            "undefined",
            "undefined",
            0,
            false,
            true,
            0
        ])
    );
}

#[test]
fn wrong_arguments() {
    let error = |call: &str| eval(&format!("const b = ccf.strToBuf('x'), m = ccf.kv.t; return {call};"));
    for call in ["m.get('x')", "m.has(new Uint8Array(1))", "m.delete(1)", "m.getVersionOfPreviousWrite({})"] {
        assert_eq!(error(call), "TypeError: Argument must be an ArrayBuffer", "{call}");
    }
    for call in ["m.set('x', b)", "m.set(b, new Uint8Array(1))"] {
        assert_eq!(error(call), "TypeError: Arguments must be ArrayBuffers", "{call}");
    }
    assert_eq!(error("m.get()"), "TypeError: Passed 0 arguments, but expected 1");
    assert_eq!(error("m.set(b)"), "TypeError: Passed 1 arguments, but expected 2");
    assert_eq!(error("m.get.call({}, b)"), "TypeError: this is not a map of ccf.kv");
    assert_eq!(eval("ccf.kv.x = 1;"), "TypeError: proxy: cannot set property");
    assert_eq!(
        eval("return m_is(new SharedArrayBuffer(2)); function m_is(b) { return ccf.kv.t.has(b); }"),
        false
    );
    assert_eq!(eval("throw null; ccf.kv.t.forEach(x => { throw 1; });"), "null");
    assert_eq!(
        eval(
            "const b = ccf.strToBuf('k'); ccf.kv.t.set(b, b); ccf.kv.t.forEach(() => { throw new Error('out'); });"
        ),
        "Error: out"
    );
}

#[test]
fn reserved_names_fail_the_request() {
    let service =
        Service::with_function("export function f() { try { ccf.kv['public:ccf.x']; } catch {} return {}; }");
    let response = service.get("/app/f");
    assert_eq!(response.status, 500);
    assert_eq!(message(&response), "Map name 'public:ccf.x' includes disallowed reserved prefix 'ccf.'");
    assert_eq!(service.get("/app/f").status, 500, "the interpreter is still good");
}

/// Names are what applications make of what users send: they have an end.
#[test]
fn long_names_fail_the_request() {
    let service = Service::with_function(
        "export function f(request) {
           ccf.kv['n'.repeat(Number(request.query))].set(ccf.strToBuf('k'), ccf.strToBuf('v'));
           return { body: 'done' }; }",
    );
    assert_eq!(body(&service.get("/app/f?1024")), "done");
    let response = service.get("/app/f?1025");
    assert_eq!(response.status, 500);
    assert_eq!(message(&response), "a map name of 1025 bytes is longer than the 1024 allowed");
}

#[test]
fn conflicting_requests_are_executed_again() {
    let source = "export function add() {
        const t = ccf.kv['public:t'], k = ccf.strToBuf('n');
        const n = t.has(k) ? ccf.bufToJsonCompatible(t.get(k)) : 0;
        t.set(k, ccf.jsonCompatibleToBuf(n + 1));
        return { body: n + 1 }; }";
    let service = Service::with_app(source, &[("post", "/add", "add", json!({}))]);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(service.post("/app/add", "").status, 200);
                }
            });
        }
    });
    assert_eq!(body(&service.post("/app/add", "")), "201");
}

#[test]
fn versions_are_those_of_the_snapshot() {
    let source = "export function set() { ccf.kv.t.set(ccf.strToBuf('k'), ccf.strToBuf('v')); return {}; }
      export function version() {
        const t = ccf.kv.t, k = ccf.strToBuf('k'); t.set(k, k);
        return { body: t.getVersionOfPreviousWrite(k) }; }";
    let service =
        Service::with_app(source, &[("post", "/s", "set", json!({})), ("get", "/v", "version", json!({}))]);
    let set = service.post("/app/s", "");
    let seqno = crate::service::header(&set, "x-ms-ccf-transaction-id").unwrap();
    let seqno: u64 = seqno.split_once('.').unwrap().1.parse().unwrap();
    assert_eq!(body_json(&service.get("/app/v")), json!(seqno));
}
