//! The endpoints of the application, as its users see them (applications specification, section 14.1).
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may fail as tests do

use ccf_crypto::{
    cert::{Certificate, CertificateKind, Name, Validity, self_signed},
    cose::{MemberRequest, MessageType},
    key::{Curve, EcKeyPair},
};
use ccf_endpoints::{
    Headers, Method, Outcome, Request, Response,
    tables::{MEMBER_CERTS, USER_CERTS, USER_INFO, UserInfo},
    testing::{NOW, TestService},
};
use serde_json::{Value, json};

struct Caller {
    key: EcKeyPair,
    certificate: Certificate,
}

fn caller() -> Caller {
    let key = EcKeyPair::generate(Curve::P384).unwrap();
    let at = |offset| time::OffsetDateTime::from_unix_timestamp(NOW as i64 + offset).unwrap();
    let (name, validity) = (Name::parse("CN=caller").unwrap(), Validity::new(at(-1), at(1)).unwrap());
    let certificate = self_signed(&key, &name, &[], CertificateKind::Ca, &validity).unwrap();
    Caller { key, certificate }
}

struct Log {
    service: TestService,
    user: Caller,
    member: Caller,
}

/// The application with one user, who is the caller, and one member.
fn log() -> Log {
    let (user, member) = (caller(), caller());
    let mut service = TestService::new(logging::endpoints(None).unwrap());
    let tx = service.store.begin();
    tx.wo(&USER_CERTS).put(&user.certificate.user_id(), &user.certificate.to_pem()).unwrap();
    tx.wo(&MEMBER_CERTS).put(&member.certificate.member_id(), &member.certificate.to_pem()).unwrap();
    tx.commit().unwrap();
    service.call_as(Some(user.certificate.der()));
    Log { service, user, member }
}

impl Log {
    fn get(&mut self, target: &str) -> (u16, Value) {
        answer(&self.service.get(target))
    }

    fn post(&mut self, target: &str, body: &Value) -> (u16, Value) {
        answer(&self.service.post(target, &body.to_string()))
    }

    fn delete(&mut self, target: &str) -> (u16, Value) {
        answer(&self.service.send(&Request::simple(Method::Delete, target)))
    }

    fn send(&mut self, method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let headers: Headers = headers.iter().copied().collect();
        self.service.send(&Request::simple(method, target).with_headers(headers).with_body(body.to_owned()))
    }
}

fn answer(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

fn error(answer: &(u16, Value)) -> (u16, &str, &str) {
    let member = |name: &str| answer.1["error"][name].as_str().unwrap();
    (answer.0, member("code"), member("message"))
}

#[test]
fn record_get_delete_count() {
    for base in ["/app/log/private", "/app/log/public"] {
        let mut log = log();
        assert_eq!(log.post(base, &json!({"id": 42, "msg": "hello"})), (200, json!(true)));
        let message = (200, json!({"msg": "hello"}));
        assert_eq!(log.get(&format!("{base}?id=42")), message);
        assert_eq!(log.get(&format!("{base}/backup?id=42")), message);
        let missing = log.get(&format!("{base}?id=43"));
        assert_eq!(error(&missing), (404, "ResourceNotFound", "No such record: 43."));
        let bad = log.get(&format!("{base}?id=x"));
        let expected = (400, "InvalidQueryParameterValue", "Unable to parse value 'x' in parameter 'id'");
        assert_eq!(error(&bad), expected);
        let missing = log.get(base);
        assert_eq!(error(&missing), (400, "InvalidQueryParameterValue", "Missing query parameter 'id'"));

        log.post(base, &json!({"id": 43, "msg": "again"}));
        // Scopes are tables of their own.
        log.post(&format!("{base}?scope=x"), &json!({"id": 42, "msg": "scoped"}));
        assert_eq!(log.get(&format!("{base}?id=42&scope=x")), (200, json!({"msg": "scoped"})));
        assert_eq!(log.get(&format!("{base}/count")), (200, json!(2)));
        assert_eq!(log.get(&format!("{base}/count?scope=x")), (200, json!(1)));

        assert_eq!(log.delete(&format!("{base}?id=42")), (200, json!(true)));
        assert_eq!(log.delete(&format!("{base}?id=42")), (200, json!(false)));
        assert_eq!(log.delete(&format!("{base}/all")), (200, json!(true)));
        assert_eq!(log.get(&format!("{base}/count")), (200, json!(0)));

        let empty = log.post(base, &json!({"id": 42, "msg": ""}));
        assert_eq!(error(&empty), (400, "InvalidInput", "Cannot record an empty log message."));
        for bad in [json!({}), json!({"id": -1, "msg": "x"}), json!({"id": 1}), json!([])] {
            assert_eq!(error(&log.post(base, &bad)).1, "InvalidInput");
        }
        log.service.call_as(None);
        assert_eq!(log.get(&format!("{base}?id=42")).0, 401);
    }
}

#[test]
fn private_messages_of_all_kinds_of_callers() {
    let mut log = log();
    let record = json!({"id": 1, "msg": "x"});
    let stored = |log: &mut Log| log.get("/app/log/private?id=1").1["msg"].as_str().map(str::to_owned);
    assert_eq!(log.post("/app/log/private/prefix_cert", &record).0, 200);
    let expected = format!("{}: x", log.user.certificate.user_id());
    assert_eq!(stored(&mut log), Some(expected));

    let refused = log.post("/app/log/private/admin_only", &record);
    assert_eq!(error(&refused), (403, "AuthorizationFailed", "Only admins may access this endpoint."));
    let tx = log.service.store.begin();
    let info = UserInfo { user_data: json!({"isAdmin": true}) };
    tx.wo(&USER_INFO).put(&log.user.certificate.user_id(), &info).unwrap();
    tx.commit().unwrap();
    assert_eq!(log.post("/app/log/private/admin_only", &record).0, 200);

    log.service.call_as(None);
    assert_eq!(log.post("/app/log/private/anonymous", &record), (200, json!(true)));
    let response = log.send(Method::Post, "/app/log/private/anonymous/v2", &[], &record.to_string());
    let (status, body) = answer(&response);
    assert_eq!((status, &body["success"]), (200, &json!(true)));
    assert!(body["tx_id"].as_str().unwrap().starts_with("2."));
    let tx_id = response.headers.get("x-ms-ccf-transaction-id").unwrap().to_text();
    assert_eq!(Some(tx_id.as_str()), body["tx_id"].as_str());
    let failed = log.post("/app/log/private/anonymous/v2?fail=true", &json!({"id": 1, "msg": "kept"}));
    assert_eq!(failed.0, 500);
    let user = log.user.certificate.der().to_vec();
    log.service.call_as(Some(&user));
    assert_eq!(stored(&mut log).as_deref(), Some("Anonymous: kept"));

    let raw = |log: &mut Log, kind| {
        log.send(Method::Post, "/app/log/private/raw_text/1", &[("content-type", kind)], "raw")
    };
    let response = raw(&mut log, "application/json");
    assert_eq!(error(&answer(&response)).1, "InvalidHeaderValue");
    assert_eq!(response.status, 415);
    let response = raw(&mut log, "text/plain");
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(stored(&mut log).as_deref(), Some("raw"));
}

#[test]
fn entity_tags() {
    let mut log = log();
    let tag = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let (right, wrong) = (format!("\"{tag}\""), "\"00\"".to_owned());
    let body = json!({"id": 1, "msg": "hello", "record_claim": true}).to_string();
    let path = "/app/log/public?id=1";
    // Nothing there yet: every precondition of a POST holds.
    let response = log.send(Method::Post, "/app/log/public", &[("if-match", &wrong)], &body);
    assert_eq!((response.status, response.headers.get("etag").unwrap().to_text().as_str()), (200, tag));
    assert_eq!(log.service.node.records.lock()[0].claims_digest.to_string(), tag);

    for (method, header, value, status) in [
        (Method::Get, "if-match", &right, 200),
        (Method::Get, "if-match", &wrong, 412),
        (Method::Get, "if-none-match", &right, 304),
        (Method::Get, "if-none-match", &wrong, 200),
        (Method::Get, "if-none-match", &"*".to_owned(), 304),
        (Method::Get, "if-match", &"rubbish".to_owned(), 400),
        (Method::Post, "if-match", &wrong, 412),
        (Method::Post, "if-none-match", &right, 412),
        (Method::Post, "if-match", &right, 200),
        (Method::Post, "if-none-match", &wrong, 200),
        (Method::Delete, "if-match", &wrong, 412),
        (Method::Delete, "if-none-match", &right, 304),
        (Method::Delete, "if-match", &right, 200),
        (Method::Delete, "if-match", &right, 200),
    ] {
        let response = log.send(method, path, &[(header, value)], &body);
        assert_eq!(response.status, status, "{method} {header} {value}");
        if status == 412 {
            let expected = (412, "PreconditionFailed", "Resource has changed.");
            assert_eq!(error(&answer(&response)), expected);
        }
    }
    let both = [("if-match", right.as_str()), ("if-none-match", right.as_str())];
    assert_eq!(log.send(Method::Post, "/app/log/public", &both, &body).status, 400);
}

#[test]
fn answers_that_wait() {
    let mut log = log();
    let record = json!({"id": 5, "msg": "x"});
    let body = record.to_string();
    let mut pending = |target: &str| {
        let request = Request::simple(Method::Post, target).with_body(body.clone());
        matches!(log.service.outcome(&request), Outcome::Pending(_))
    };
    assert!(pending("/app/log/blocking/private"));
    assert!(pending("/app/log/private/optional_commit?wait_for_commit=true"));
    assert!(!pending("/app/log/private/optional_commit?wait_for_commit=1"));
    assert!(!pending("/app/log/private/optional_commit"));
    assert_eq!(log.post("/app/log/blocking/private", &record), (200, json!(true)));
    assert_eq!(log.get("/app/log/blocking/private?id=5"), (200, json!({"msg": "x"})));
    assert_eq!(log.get("/app/log/blocking/private?id=6").0, 404);
}

#[test]
fn callers_are_told_who_they_are() {
    let mut log = log();
    let prefix = |log: &mut Log, who: Option<&[u8]>| {
        log.service.call_as(who);
        text(&log.service.post("/app/multi_auth", ""))
    };
    let (user, member) = (log.user.certificate.der().to_vec(), log.member.certificate.der().to_vec());
    let stranger = caller();
    assert!(prefix(&mut log, Some(&user)).starts_with("User TLS cert"));
    assert!(prefix(&mut log, Some(&member)).starts_with("Member TLS cert"));
    assert!(prefix(&mut log, Some(stranger.certificate.der())).starts_with("Any TLS cert"));
    assert!(prefix(&mut log, None).starts_with("Unauthenticated"));

    let custom = |log: &mut Log, headers: &[(&str, &str)]| {
        answer(&log.send(Method::Get, "/app/custom_auth", headers, ""))
    };
    let (name, age) = (("x-custom-auth-name", "Alice"), ("x-custom-auth-age", "42"));
    let good = json!({"age": 42, "description": "Your name is Alice and you are 42", "name": "Alice"});
    assert_eq!(custom(&mut log, &[name, age]), (200, good));
    for refused in
        [&[][..], &[name], &[name, ("x-custom-auth-age", "12")], &[("x-custom-auth-name", ""), age]]
    {
        assert_eq!(custom(&mut log, refused).0, 401);
    }
    assert_eq!(custom(&mut log, &[("x-custom-auth-explode", "boom")]).0, 500);
}

#[test]
fn what_came_is_what_is_answered() {
    let mut log = log();
    assert_eq!(text(&log.service.get("/app/log/request_query?a=1%262&b=x+y")), "a=1&2&b=x y");
    let id = log.member.certificate.member_id().to_string();
    let signed = MemberRequest::sign(&log.member.key, &id, MessageType::Ack, NOW, None, b"content").unwrap();
    let headers: Headers = [("content-type", "application/cose")].into_iter().collect();
    let request = Request::simple(Method::Post, "/app/log/cose_signed_content").with_headers(headers);
    let response = log.service.send(&request.with_body(signed));
    assert_eq!((response.status, text(&response).as_str()), (200, "content"));
}

#[test]
fn the_document_is_made() {
    let mut log = log();
    let (status, document) = log.get("/app/api");
    assert_eq!((status, &document["info"]["title"]), (200, &json!("CCF Sample Logging App")));
    let operation = &document["paths"]["/app/log/private/raw_text/{id}"]["post"]["operationId"];
    assert_eq!(operation, "PostAppLogPrivateRawTextId");
    assert!(document["components"]["schemas"].get("LoggingRecord__In").is_some());
}
