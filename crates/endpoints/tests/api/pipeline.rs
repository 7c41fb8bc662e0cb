//! The pipeline of a request, step by step (applications specification, sections 1.2, 1.4, 2, 10).

use crate::common::{NOW, Service, header, headers, text, tx_id};
use ccf_endpoints::{
    Decision, EndpointDefinition, ErrorCode, ErrorResponse, ForwardingRequired, InterfaceRules, Method,
    OperatorFeature, Origin, Outcome, RedirectionStrategy, Request, RequestEvent, Session, json,
};
use ccf_kv::{Json, TypedMap};
use ccf_types::Digest;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

const RECORDS: TypedMap<String, String, Json, Json> = TypedMap::new("records");

/// Stores `v` under the path parameter and answers with the status and apply flag of the query.
fn put(context: &mut ccf_endpoints::EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let key = context.param("key")?;
    context.tx.wo(&RECORDS).put(&key, &"v".to_owned())?;
    let query = context.request().query();
    if let Some(apply) = query.optional::<bool>("apply")? {
        context.set_apply_writes(apply);
    }
    let status = query.optional::<u16>("status")?.unwrap_or(200);
    if status >= 500 {
        return Err(ErrorResponse::with_status(status, ErrorCode::InternalError, "as asked"));
    }
    context.response.status = status;
    Ok(())
}

fn get(context: &mut ccf_endpoints::EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let value = context.tx.ro(&RECORDS).get(&context.param("key")?)?;
    context.respond_json(&value)
}

fn service() -> Service {
    crate::common::service(|app| {
        app.install(EndpointDefinition::read_write(Method::Put, "/records/{key}", put)).unwrap();
        app.install(EndpointDefinition::read_only(Method::Get, "/records/{key}", get)).unwrap();
        app.install(EndpointDefinition::command(Method::Get, "/nothing", |_| Ok(()))).unwrap();
    })
}

fn request(method: Method, target: &str) -> Request {
    Request::simple(method, target)
}

#[test]
fn unknown_paths_and_methods() {
    let mut service = service();
    for target in ["/app/none", "/none"] {
        let response = service.get(target);
        assert_eq!(response.status, 404);
        assert_eq!(
            text(&response),
            r#"{"error":{"code":"ResourceNotFound","message":"Unknown path: /none."}}"#
        );
        assert_eq!(header(&response, "content-type").as_deref(), Some("application/json"));
        assert_eq!(tx_id(&response), None);
    }
    assert!(text(&service.get("/app")).contains("Unknown path: /app."));
    assert!(text(&service.get("/gov/x")).contains("Unknown path: /x."));

    let response = service.send(&request(Method::Delete, "/app/records/a"));
    assert_eq!(response.status, 405);
    assert_eq!(header(&response, "allow").as_deref(), Some("OPTIONS, GET, PUT"));
    let expected = r#"{"error":{"code":"UnsupportedHttpVerb","message":"Allowed methods for '/records/a' are: OPTIONS, GET, PUT."}}"#;
    assert_eq!(text(&response), expected);

    let response = service.send(&request(Method::Options, "/app/records/a"));
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(header(&response, "allow").as_deref(), Some("OPTIONS, GET, PUT"));
    assert_eq!(service.send(&request(Method::Options, "/app/none")).status, 404);
    // HEAD is not GET.
    assert_eq!(service.send(&request(Method::Head, "/app/records/a")).status, 405);
}

#[test]
fn failed_look_ups_are_reported_but_not_those_of_the_node() {
    let service = service();
    let mut session = crate::common::session(None);
    let event = service.dispatcher.handle(&request(Method::Get, "/app/none"), &mut session, NOW).event;
    assert!(
        matches!(event, Some(RequestEvent::DispatchFailed { ref path, status: 404, .. }) if path == "/none")
    );
    let event = service.dispatcher.handle(&request(Method::Get, "/node/none"), &mut session, NOW).event;
    assert_eq!(event, None);
    let event = service.dispatcher.handle(&request(Method::Get, "/gov/commit"), &mut session, NOW).event;
    let Some(RequestEvent::Completed { full_path, status: 200, attempts: 1, .. }) = event else {
        panic!("{event:?}")
    };
    assert_eq!(full_path.as_ref(), "/gov/commit");
}

#[test]
fn writes_and_the_transaction_header_follow_status_and_override() {
    for status in [200, 202, 404, 500] {
        for apply in [None, Some(true), Some(false)] {
            let mut service = service();
            let suffix = apply.map_or(String::new(), |apply| format!("&apply={apply}"));
            let response =
                service.send(&request(Method::Put, &format!("/app/records/a?status={status}{suffix}")));
            assert_eq!(response.status, status);
            let applied = apply.unwrap_or((200..300).contains(&status));
            assert_eq!(tx_id(&response).as_deref(), applied.then_some("2.1"), "{status} {apply:?}");
            assert_eq!(service.node.records.lock().len(), usize::from(applied));
            assert_eq!(text(&service.get("/app/records/a")), if applied { "\"v\"" } else { "null" });
        }
    }
}

#[test]
fn reads_report_what_they_saw_and_commands_nothing() {
    let mut service = service();
    assert_eq!(tx_id(&service.get("/app/records/a")).as_deref(), Some("0.0"));
    service.send(&request(Method::Put, "/app/records/a"));
    assert_eq!(tx_id(&service.get("/app/records/a")).as_deref(), Some("2.1"));
    assert_eq!(tx_id(&service.get("/app/nothing")), None);
}

#[test]
fn a_closed_or_busy_service_refuses() {
    let mut service = service();
    service.node.open.store(false, Ordering::Relaxed);
    let response = service.get("/app/nothing");
    assert_eq!(response.status, 404);
    assert_eq!(text(&response), r#"{"error":{"code":"FrontendNotOpen","message":"Frontend is not open."}}"#);
    assert_eq!(service.get("/node/commit").status, 200);

    service.node.busy.store(true, Ordering::Relaxed);
    assert!(text(&service.get("/app/nothing")).contains("TooManyPendingTransactions"));
    assert_eq!(service.get("/node/commit").status, 200);
    // A backup does not order transactions, so it does not push back either.
    service.node.primary.store(false, Ordering::Relaxed);
    assert!(text(&service.get("/app/nothing")).contains("FrontendNotOpen"));
}

#[test]
fn interfaces_filter_by_full_template() {
    let mut service = crate::common::service(|app| {
        app.install(EndpointDefinition::command(Method::Get, "/x/{id}", |_| Ok(()))).unwrap();
        let feature = EndpointDefinition::command(Method::Get, "/f", |_| Ok(()));
        app.install(feature.operator_feature(OperatorFeature::SnapshotRead)).unwrap();
    });
    let rules = InterfaceRules::restricted("main", &["/app/x/.*", "/app/f"]).unwrap();
    service.session = Session::new(1, Arc::new(rules), None);
    assert_eq!(service.get("/app/x/1").status, 200);
    let response = service.get("/app/commit");
    assert_eq!((response.status, response.body.len()), (503, 0));
    let response = service.get("/app/f");
    assert_eq!((response.status, response.body.len()), (404, 0));
    let mut rules = InterfaceRules::open("main");
    rules.operator_features.push(OperatorFeature::SnapshotRead);
    service.session = Session::new(1, Arc::new(rules), None);
    assert_eq!(service.get("/app/f").status, 200);
    // Forwarded requests were filtered where they arrived.
    service.session = Session::internal(1, Origin::Forwarded, None);
    assert_eq!(service.get("/app/f").status, 200);
}

#[test]
fn backups_forward_writes_and_then_reads() {
    let mut service = service();
    service.node.primary.store(false, Ordering::Relaxed);
    let (read, write) = (request(Method::Get, "/app/records/a"), request(Method::Put, "/app/records/a"));
    assert!(matches!(service.outcome(&read), Outcome::Respond(_)));
    assert!(matches!(service.outcome(&write), Outcome::Forward(_)));
    assert!(matches!(service.outcome(&read), Outcome::Forward(_)));

    service.session = crate::common::session(None).over_http2();
    let response = service.send(&write);
    assert_eq!(response.status, 501);
    assert!(text(&response).contains("Request cannot be forwarded to primary on HTTP/2 interface."));

    service.session = Session::internal(1, Origin::Forwarded, None);
    let response = service.send(&write);
    assert_eq!((response.status, text(&response).contains("RequestAlreadyForwarded")), (503, true));
}

#[test]
fn interfaces_with_redirections_redirect() {
    let redirecting = || {
        let rules = InterfaceRules { redirects: true, ..InterfaceRules::open("main") };
        Session::new(1, Arc::new(rules), None)
    };
    let mut service = crate::common::service(|app| {
        app.install(EndpointDefinition::read_write(Method::Put, "/w", |_| Ok(()))).unwrap();
        let backup = EndpointDefinition::read_only(Method::Get, "/b", |_| Ok(()));
        app.install(backup.redirection(RedirectionStrategy::ToBackup)).unwrap();
    });
    service.session = redirecting();
    assert_eq!(service.send(&request(Method::Put, "/app/w")).status, 200);
    assert!(text(&service.get("/app/b")).contains("BackupNotFound"));
    *service.node.redirect.lock() = Some("example:8000".to_owned());
    let response = service.get("/app/b?x=%20");
    assert_eq!((response.status, response.body.len()), (307, 0));
    assert_eq!(header(&response, "location").as_deref(), Some("https://backup.example:8000/app/b?x=%20"));
    service.node.primary.store(false, Ordering::Relaxed);
    assert_eq!(service.get("/app/b").status, 200);
    let response = service.send(&request(Method::Put, "/app/w"));
    assert_eq!(header(&response, "location").as_deref(), Some("https://primary.example:8000/app/w"));
}

#[test]
fn a_write_that_cannot_be_replicated_is_refused() {
    let mut service = service();
    service.node.refuse.store(true, Ordering::Relaxed);
    let response = service.send(&request(Method::Put, "/app/records/a"));
    assert_eq!((response.status, tx_id(&response)), (503, None));
    assert!(text(&response).contains("TransactionReplicationFailed"));
    // Never forwarded, executed on a backup: the store refuses.
    let mut service = crate::common::service(|app| {
        let local = EndpointDefinition::read_write(Method::Put, "/records/{key}", put);
        app.install(local.forwarding(ForwardingRequired::Never)).unwrap();
    });
    service.node.primary.store(false, Ordering::Relaxed);
    service.store.set_backup();
    assert!(
        text(&service.send(&request(Method::Put, "/app/records/a"))).contains("TransactionReplicationFailed")
    );
}

/// Executions conflict with a transaction committed between read and commit, the first `conflicts` times.
fn conflicting(conflicts: u32) -> (Service, Arc<AtomicU32>) {
    let executions = Arc::new(AtomicU32::new(0));
    let counter = executions.clone();
    let mut service = crate::common::service(|_| {});
    let store = service.store.clone();
    let mut app = ccf_endpoints::Registry::new(ccf_endpoints::Frontend::App);
    let endpoint = EndpointDefinition::read_write(Method::Post, "/race", move |context| {
        let records = context.tx.rw(&RECORDS);
        let value = records.get(&"k".to_owned())?.unwrap_or_default();
        records.put(&"k".to_owned(), &format!("{value}+"))?;
        if counter.fetch_add(1, Ordering::Relaxed) < conflicts {
            let other = store.begin();
            other.wo(&RECORDS).put(&"k".to_owned(), &"other".to_owned())?;
            other.commit().map_err(|e| ErrorResponse::internal(e.to_string()))?;
        }
        context.set_claims_digest(Digest([1; 32]));
        Ok(())
    });
    app.install(endpoint).unwrap();
    let registry = |frontend| ccf_endpoints::Registry::new(frontend);
    service.dispatcher = ccf_endpoints::Dispatcher::new(
        service.store.clone(),
        service.node.clone(),
        app,
        registry(ccf_endpoints::Frontend::Gov),
        registry(ccf_endpoints::Frontend::Node),
    );
    (service, executions)
}

#[test]
fn conflicts_are_retried() {
    let (mut service, executions) = conflicting(3);
    let response = service.post("/app/race", "");
    assert_eq!((response.status, tx_id(&response).as_deref()), (200, Some("2.4")));
    assert_eq!(executions.load(Ordering::Relaxed), 4);
    let records = service.node.records.lock();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].claims_digest, Digest([1; 32]));

    let (mut service, executions) = conflicting(u32::MAX);
    let response = service.post("/app/race", "");
    assert_eq!(response.status, 503);
    assert_eq!(header(&response, "retry-after").as_deref(), Some("3"));
    assert!(text(&response).contains("TransactionCommitAttemptsExceedLimit"));
    assert_eq!(executions.load(Ordering::Relaxed), 30);
}

#[test]
fn a_session_that_sees_another_view_ends() {
    let mut service = service();
    service.send(&request(Method::Put, "/app/records/a"));
    service.node.view.store(3, Ordering::Relaxed);
    let Outcome::RespondAndClose(response) = service.outcome(&request(Method::Put, "/app/records/b")) else {
        panic!("the session must close")
    };
    assert_eq!(response.status, 500);
    let message = "Potential loss of session consistency on session 7. Started in view 2, now in view 3. Closing session.";
    assert!(text(&response).contains(message));
    assert_eq!(service.node.records.lock().len(), 1);
    // Errors before the execution do not care.
    assert_eq!(service.get("/app/none").status, 404);
}

#[test]
fn dispatch_errors_close_the_connection() {
    let mut service = crate::common::service(|app| {
        for path in ["/amb/{z}", "/amb/{x}-{y}"] {
            app.install(EndpointDefinition::command(Method::Get, path, |_| Ok(()))).unwrap();
        }
    });
    let Outcome::RespondAndClose(response) = service.outcome(&request(Method::Get, "/app/amb/1-2")) else {
        panic!("the connection must close")
    };
    let expected = "{\"error\":{\"code\":\"InternalError\",\"message\":\"Exception: Multiple potential matches for path: /amb/1-2\\n  /amb/{z}\\n  /amb/{x}-{y}\"}}";
    assert_eq!(text(&response), expected);
}

#[test]
fn a_panic_is_an_answer() {
    let mut service = crate::common::service(|app| {
        app.install(EndpointDefinition::command(Method::Get, "/panic", |_| panic!("on purpose"))).unwrap();
    });
    assert_eq!(service.get("/app/panic").status, 500);
    assert_eq!(service.get("/app/commit").status, 200);
}

#[test]
fn callbacks_after_local_and_global_commit() {
    let mut service = crate::common::service(|app| {
        let local = EndpointDefinition::read_write(Method::Post, "/local", |context| {
            context.tx.wo(&RECORDS).put(&"a".to_owned(), &"b".to_owned())?;
            let fail = context.request().query().get("fail") == Some("true");
            context.on_local_commit(move |response, tx_id| {
                if fail {
                    return Err(ErrorResponse::internal("callback failed"));
                }
                response.set_body("text/plain", format!("committed {tx_id}"));
                Ok(())
            });
            Ok(())
        });
        app.install(local).unwrap();
        let global = EndpointDefinition::read_write(Method::Post, "/global", |context| {
            context.tx.wo(&RECORDS).put(&"a".to_owned(), &"b".to_owned())?;
            context.respond_after_commit(|response, notice| match notice.decision {
                Decision::Committed => {
                    response.set_body("text/plain", "for good");
                    Ok(())
                }
                Decision::Invalid => Err("lost".to_owned()),
            });
            Ok(())
        });
        app.install(global).unwrap();
    });
    let response = service.post("/app/local", "");
    assert_eq!((text(&response).as_str(), tx_id(&response)), ("committed 2.1", None));
    let response = service.post("/app/local?fail=true", "");
    assert_eq!((response.status, tx_id(&response).as_deref()), (500, Some("2.2")));
    assert!(text(&response).contains("callback failed"));

    for decision in [Decision::Committed, Decision::Invalid] {
        let Outcome::Pending(pending) = service.outcome(&request(Method::Post, "/app/global")) else {
            panic!("the response must wait")
        };
        let notice = ccf_endpoints::CommitNotice {
            tx_id: pending.tx_id,
            decision,
            write_set_digest: Digest::ZERO,
            commit_evidence: String::new(),
            claims_digest: Digest::ZERO,
            receipt: None,
        };
        let tx = pending.tx_id.to_string();
        match (decision, pending.finish(&notice)) {
            (Decision::Committed, Ok(response)) => {
                assert_eq!((text(&response).as_str(), tx_id(&response)), ("for good", Some(tx)));
            }
            (Decision::Invalid, Err(error)) => assert_eq!(error, "lost"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn json_endpoints() {
    #[derive(serde::Deserialize)]
    struct Input {
        #[serde(default)]
        n: Option<u64>,
    }
    let mut service = crate::common::service(|app| {
        let echo = |path| {
            let handler = json(|_, input: Input| Ok(input.n));
            [
                EndpointDefinition::command(Method::Post, path, handler),
                EndpointDefinition::command(
                    Method::Get,
                    path,
                    json(|_, input: Input| Ok(input.n.unwrap_or(1))),
                ),
            ]
        };
        for definition in echo("/json") {
            app.install(definition).unwrap();
        }
    });
    let response = service.post("/app/json", r#"{"n":5}"#);
    assert_eq!((response.status, text(&response).as_str()), (200, "5"));
    assert_eq!(header(&response, "content-type").as_deref(), Some("application/json"));
    // A null result has no body.
    let response = service.post("/app/json", "");
    assert_eq!((response.status, response.body.len(), header(&response, "content-type")), (204, 0, None));
    // The body of a GET is ignored.
    let response = service.send(&request(Method::Get, "/app/json").with_body("rubbish"));
    assert_eq!((response.status, text(&response).as_str()), (200, "1"));
    for (body, prefix) in
        [("{", "EOF while"), (r#"{"n":"x"}"#, "At #/n: invalid type"), ("nope", "expected ident")]
    {
        let response = service.post("/app/json", body);
        let found: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(found["error"]["code"], "InvalidInput");
        assert!(found["error"]["message"].as_str().unwrap().starts_with(prefix), "{found}");
        assert_eq!(response.status, 400);
    }
    for (accept, status) in [("text/html", 406), ("nonsense", 400), ("application/*", 200)] {
        let request = request(Method::Get, "/app/json").with_headers(headers(&[("Accept", accept)]));
        assert_eq!(service.send(&request).status, status);
    }
}
