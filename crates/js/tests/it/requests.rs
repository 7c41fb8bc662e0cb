//! Requests, callers and answers (applications specification, 5.4 to 5.6, and checks 3 to 5 of its section 17).

use crate::service::{Service, body, body_json, header, message};
use ccf_endpoints::{Method, Request};
use ccf_kv::TypedMap;
use serde_json::json;

const ECHO: &str = "export function echo(request) { return { body: JSON.stringify(request) }; }";

#[test]
fn the_request_object_lists_everything_in_order() {
    let service = Service::with_app(ECHO, &[("get", "/echo/{foo}", "echo", json!({}))]);
    let response = service.get_with_headers(
        "/app/echo/bar?a=42&b=hello%20world",
        &[("X-Two", "2"), ("Host", "here:8000"), ("x-two", "3")],
    );
    assert_eq!(
        body(&response),
        r#"{"headers":{"host":"here:8000","x-two":"2"},"query":"a=42&b=hello world","path":"/app/echo/bar","method":"GET","hostname":"here:8000","route":"/app/echo/{foo}","url":"/app/echo/bar?a=42&b=hello world","params":{"foo":"bar"},"body":{},"caller":null}"#
    );
    assert_eq!(header(&response, "content-type").as_deref(), Some("text/plain"));
    let bare = body_json(&service.get("/echo/a%2Fb"));
    assert_eq!(bare["hostname"], json!(null));
    assert_eq!(bare["params"]["foo"], "a%2Fb");
    assert_eq!((&bare["path"], &bare["url"]), (&json!("/echo/a%2Fb"), &json!("/echo/a%2Fb")));
}

#[test]
fn headers_and_caller_are_plain_properties_once_looked_at() {
    let service = Service::with_function(
        "export function f(request) {
           const seen = { ...request };
           request.headers = 1; request.caller = 2;
           return { body: [seen.headers.a, request.headers, request.caller, Object.keys(request).length] }; }",
    );
    let response = service.get_with_headers("/app/f", &[("a", "x")]);
    assert_eq!(body_json(&response), json!(["x", 1, 2, 10]));
}

#[test]
fn bodies_of_requests() {
    let source = "export function f({ body }) {
        let parsed; try { parsed = body.json(); } catch (e) { parsed = e.name; }
        let counted; try { body.text(1); } catch (e) { counted = String(e); }
        return { body: [body.text(), parsed, body.arrayBuffer().byteLength, counted] }; }";
    let service = Service::with_app(source, &[("post", "/f", "f", json!({}))]);
    let counted = "TypeError: Passed 1 arguments, but expected none";
    assert_eq!(body_json(&service.post("/app/f", "[1]")), json!(["[1]", [1], 3, counted]));
    assert_eq!(body_json(&service.post("/app/f", "")), json!(["", "SyntaxError", 0, counted]));
    let request = Request::simple(Method::Post, "/app/f").with_body(vec![b'a', 0xff]);
    assert_eq!(body_json(&service.send(&request)), json!(["a\u{fffd}", "SyntaxError", 2, counted]));
}

#[test]
fn callers() {
    let source = "export function f(request) { return { body: request.caller }; }";
    let policy = |names: serde_json::Value| json!({"authn_policies": names});
    let mut service = Service::with_app(
        source,
        &[
            ("get", "/user", "f", policy(json!(["user_cert", "no_auth"]))),
            ("get", "/member", "f", policy(json!(["member_cert"]))),
            ("get", "/any", "f", policy(json!(["any_cert"]))),
            ("get", "/both", "f", policy(json!([{"all_of": ["user_cert", "any_cert"]}]))),
            ("get", "/unknown", "f", policy(json!(["nosuch"]))),
        ],
    );
    assert_eq!(body(&service.get("/app/user")), r#"{"policy":"no_auth"}"#);
    assert_eq!(service.get("/app/any").status, 401);
    let unknown = service.get("/app/unknown");
    assert_eq!(
        (unknown.status, message(&unknown)),
        (500, "Exception: Unknown auth policy: nosuch".to_owned())
    );

    let (certificate, id) = service.add_user("alice", json!({"role": "x"}));
    service.call_as(&certificate);
    let user = body(&service.get("/app/user"));
    assert!(user.starts_with(&format!(
        r#"{{"policy":"user_cert","id":"{id}","data":{{"role":"x"}},"cert":"-----BEGIN"#
    )));
    let any = body_json(&service.get("/app/any"));
    assert_eq!(any["policy"], "any_cert");
    assert_eq!(any["cert"], body_json(&service.get("/app/user"))["cert"]);
    let both = body_json(&service.get("/app/both"));
    assert_eq!(both["policy"], json!(["any_cert", "user_cert"]));
    assert_eq!(both["user_cert"]["id"], json!(id));

    let (certificate, id) = service.add_member("mary", json!(null));
    service.call_as(&certificate);
    let member = body_json(&service.get("/app/member"));
    assert_eq!(
        (&member["policy"], &member["id"], &member["data"]),
        (&json!("member_cert"), &json!(id), &json!(null))
    );
}

/// Status, content type and body of `return <result>`.
fn answer(result: &str) -> (u16, Option<String>, Vec<u8>) {
    let service = Service::with_function(&format!("export function f() {{ return {result}; }}"));
    let response = service.get("/app/f");
    (response.status, header(&response, "content-type"), response.body.to_vec())
}

#[test]
fn bodies_of_answers() {
    let check = |result: &str, content_type: Option<&str>, body: &[u8]| {
        assert_eq!(answer(result), (200, content_type.map(str::to_owned), body.to_vec()), "{result}");
    };
    check("{}", None, b"");
    check("{ body: undefined }", None, b"");
    check("{ body: 'a\\u00e9\\u0000b' }", Some("text/plain"), "a\u{e9}\0b".as_bytes());
    check("{ body: '\\ud800x' }", Some("text/plain"), "\u{fffd}x".as_bytes());
    check("{ body: new ArrayBuffer(3) }", Some("application/octet-stream"), &[0, 0, 0]);
    check("{ body: new Uint8Array([1, 2, 3, 4]).subarray(1, 3) }", Some("application/octet-stream"), &[2, 3]);
    check("{ body: new Uint16Array([1]) }", Some("application/octet-stream"), &[1, 0]);
    check("{ body: null }", Some("application/json"), b"null");
    check("{ body: true }", Some("application/json"), b"true");
    check("{ body: 1.5 }", Some("application/json"), b"1.5");
    check("{ body: { b: 1, a: [] } }", Some("application/json"), br#"{"b":1,"a":[]}"#);
    check("{ body: () => 1 }", Some("application/json"), b"undefined");
    check("{ body: 'x', headers: { 'Content-Type': 'text/html' } }", Some("text/html"), b"x");
    check("(async () => ({ body: 'never' }))()", None, b"");
    for result in ["undefined", "null", "1", "'x'", "true"] {
        let (status, _, body) = answer(result);
        assert_eq!(status, 500, "{result}");
        assert!(
            String::from_utf8(body)
                .unwrap()
                .contains("Invalid endpoint function return value (not an object).")
        );
    }
    for result in ["{ body: 1n }", "(() => { const a = {}; a.a = a; return { body: a }; })()"] {
        let (status, _, body) = answer(result);
        assert_eq!(status, 500, "{result}");
        assert!(String::from_utf8(body).unwrap().contains("(error during JSON conversion of body)."));
    }
}

#[test]
fn headers_and_status_of_answers() {
    let service = Service::with_function(
        "export function f() { return { headers: { 'X-A': 1, 'x-b': 'c\\r\\nd', 'bad name': 'x' }, statusCode: 400 / 2 + 1 }; }",
    );
    let response = service.get("/app/f");
    assert_eq!(response.status, 201);
    assert_eq!(header(&response, "x-a").as_deref(), Some("1"));
    assert_eq!(header(&response, "x-b").as_deref(), Some("c  d"));
    for (status, expected) in
        [("undefined", 200), ("null", 200), ("404", 404), ("299", 500), ("1000", 500), ("-1", 500)]
    {
        assert_eq!(answer(&format!("{{ statusCode: {status} }}")).0, expected, "{status}");
    }
    for status in ["'200'", "200.5", "-0", "2 ** 40", "NaN", "{}", "200n"] {
        let (got, _, body) = answer(&format!("{{ statusCode: {status} }}"));
        assert_eq!(got, 500, "{status}");
        assert!(String::from_utf8(body).unwrap().contains("(status code type)."), "{status}");
    }
}

#[test]
fn writes_are_applied_with_2xx_unless_decided_otherwise() {
    let source = "export function f(request) {
        const [status, apply] = request.query.split('&');
        ccf.kv['public:t'].set(ccf.strToBuf(request.query), ccf.strToBuf('x'));
        if (apply !== 'unset') ccf.rpc.setApplyWrites(apply === 'true');
        return { statusCode: Number(status) }; }";
    let service = Service::with_app(source, &[("post", "/f", "f", json!({}))]);
    const TABLE: TypedMap<String, String, ccf_kv::Raw, ccf_kv::Raw> = TypedMap::new("public:t");
    for status in [200, 202, 404, 500] {
        for apply in ["unset", "true", "false"] {
            let key = format!("{status}&{apply}");
            let response = service.post(&format!("/app/f?{key}"), "");
            assert_eq!(response.status, status);
            let expected = match apply {
                "unset" => status < 300,
                apply => apply == "true",
            };
            let stored = service.store.begin().ro(&TABLE).has(&key).unwrap();
            assert_eq!(stored, expected, "{key}");
            assert_eq!(header(&response, "x-ms-ccf-transaction-id").is_some(), expected, "{key}");
        }
    }
}

#[test]
fn exceptions_have_details_only_when_asked_for() {
    let source = "function nested(n) {\n  throw new Error(`test error: ${n}`);\n}\nexport function f() {\n  nested(42);\n}\n\
                  export function g() {\n  throw { a: 1 };\n}";
    let service = Service::with_app(source, &[("get", "/f", "f", json!({})), ("get", "/g", "g", json!({}))]);
    let response = service.get("/app/f");
    assert_eq!(
        body(&response),
        r#"{"error":{"code":"InternalError","message":"Exception thrown while executing."}}"#
    );
    service.options(json!({"return_exception_details": true, "log_exception_details": true}));
    let response = body_json(&service.get("/app/f"));
    assert_eq!(
        response["error"]["details"],
        json!([{"code": "JSException", "message": "Error: test error: 42",
                "trace": "    at nested (/m.js:2)\n    at f (/m.js:5)\n"}])
    );
    let response = body_json(&service.get("/app/g"));
    assert_eq!(response["error"]["details"], json!([{"code": "JSException", "message": "{\"a\":1}"}]));
    assert!(service.lines().iter().any(|l| l.starts_with("Fail Js Error: test error: 42:     at nested")));
    assert!(service.lines().iter().any(|l| l == "Fail Js {\"a\":1}: <no trace>"));
}

#[test]
fn console_and_metrics_lines() {
    let source = "export function f() {
        console.log('a', 1, { b: 2 }, undefined, [3]); console.info(new Error('e')); console.warn('w'); console.error('f');
        return { body: String(console.debug) }; }
      export function quiet() { return { body: ccf.enableMetricsLogging(false) }; }";
    let service =
        Service::with_app(source, &[("get", "/f/{x}", "f", json!({})), ("get", "/q", "quiet", json!({}))]);
    assert_eq!(body(&service.get("/app/f/1")), "undefined");
    let lines = service.lines();
    assert_eq!(
        lines[..4],
        [
            "Info App a 1 {\"b\":2} undefined [3]".to_owned(),
            "Info App Error: e".to_owned(),
            "Fail App w".to_owned(),
            "Fatal App f".to_owned(),
        ]
    );
    assert!(lines[4].starts_with(
        "Info Js JS execution complete: Method=GET, Path=/app/f/{x}, Status=200, ExecMilliseconds="
    ));
    for _ in 0..2 {
        assert_eq!(body(&service.get("/app/q")), "true");
    }
    assert_eq!(service.lines().len(), 5);
}
