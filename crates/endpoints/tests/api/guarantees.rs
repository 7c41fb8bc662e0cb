//! What requests and declarations may ask beyond the usual guarantees.

use crate::common::{headers, service};
use ccf_endpoints::{
    CommitNotice, Decision, EndpointDefinition, ErrorCode, ErrorResponse, Method, Outcome, Pending, Request,
    Response, testing::TestService,
};
use ccf_kv::TypedMap;
use ccf_types::{Digest, TxId};
use std::{sync::atomic::Ordering, time::Duration};

const RECORDS: TypedMap<String, String> = TypedMap::new("public:records");

fn guaranteed() -> TestService {
    service(|app| {
        let write = |context: &mut ccf_endpoints::EndpointContext<'_>| {
            context.tx.wo(&RECORDS).put(&"a".to_owned(), &"b".to_owned())?;
            Ok(())
        };
        let read = |context: &mut ccf_endpoints::EndpointContext<'_>| {
            context.tx.ro(&RECORDS).get(&"a".to_owned())?;
            Ok(())
        };
        for definition in [
            EndpointDefinition::read_write(Method::Post, "/write", write),
            EndpointDefinition::read_only(Method::Get, "/read", read),
            EndpointDefinition::read_only(Method::Get, "/absent", |context| {
                context.response.status = 404;
                Ok(())
            }),
            EndpointDefinition::read_only(Method::Get, "/refused", |_| {
                Err(ErrorResponse::new(ErrorCode::ResourceNotFound, "It is not there."))
            }),
            EndpointDefinition::read_write(Method::Post, "/slow", write)
                .wait_for_commit(Duration::from_millis(70)),
            EndpointDefinition::read_only(Method::Get, "/newest", read).linearizable(),
            EndpointDefinition::read_only(Method::Get, "/own", read)
                .forwarding(ccf_endpoints::ForwardingRequired::Never),
        ] {
            app.install(definition).expect("a template");
        }
    })
}

fn ask(service: &mut TestService, method: Method, target: &str, header: Option<(&str, &str)>) -> Outcome {
    let pairs: Vec<(&str, &str)> = header.into_iter().collect();
    service.outcome(&Request::simple(method, target).with_headers(headers(&pairs)))
}

fn decide(pending: Pending, decision: Decision) -> Response {
    let notice = CommitNotice {
        tx_id: pending.tx_id,
        decision,
        write_set_digest: Digest::ZERO,
        commit_evidence: String::new(),
        claims_digest: Digest::ZERO,
        receipt: None,
    };
    pending.finish(&notice).expect("an answer")
}

fn pending(outcome: Outcome) -> Pending {
    match outcome {
        Outcome::Pending(pending) => pending,
        other => panic!("{other:?} does not wait"),
    }
}

fn status_header(response: &Response) -> Option<String> {
    response.headers.get("x-ccf-commit-status").map(ccf_endpoints::HeaderValue::to_text)
}

#[test]
fn a_write_waits_for_its_commit_if_asked_to() {
    let mut service = guaranteed();
    assert!(matches!(ask(&mut service, Method::Post, "/app/write", None), Outcome::Respond(_)));
    let wait = Some(("x-ccf-wait-for-commit", "250"));
    let outcome = pending(ask(&mut service, Method::Post, "/app/write", wait));
    assert_eq!(outcome.patience(), Some(Duration::from_millis(250)));
    let response = decide(outcome, Decision::Committed);
    assert_eq!((response.status, status_header(&response).as_deref()), (200, Some("Committed")));
    let outcome = pending(ask(&mut service, Method::Post, "/app/slow", None));
    assert_eq!(outcome.patience(), Some(Duration::from_millis(70)));
    assert_eq!(decide(outcome, Decision::Invalid).status, 503);
    let late = pending(ask(&mut service, Method::Post, "/app/slow", None)).expire();
    assert_eq!((late.status, status_header(&late).as_deref()), (200, Some("Pending")));
    assert!(
        matches!(ask(&mut service, Method::Get, "/app/read", wait), Outcome::Respond(_)),
        "it wrote nothing"
    );
}

#[test]
fn a_linearizable_read_is_confirmed_or_refused() {
    let mut service = guaranteed();
    let header = Some(("x-ccf-consistency", "linearizable"));
    for (target, header) in [("/app/read", header), ("/app/newest", None)] {
        assert_eq!(
            decide(pending(ask(&mut service, Method::Get, target, header)), Decision::Committed).status,
            200
        );
        assert_eq!(
            decide(pending(ask(&mut service, Method::Get, target, header)), Decision::Invalid).status,
            503
        );
        assert_eq!(pending(ask(&mut service, Method::Get, target, header)).expire().status, 503);
    }
    service.node.primary.store(false, Ordering::Relaxed);
    assert!(matches!(ask(&mut service, Method::Get, "/app/newest", None), Outcome::Forward(Duration::ZERO)));
    let wait = Some(("x-ccf-wait-for-commit", "250"));
    let forwarded = ask(&mut service, Method::Post, "/app/write", wait);
    assert!(
        matches!(forwarded, Outcome::Forward(time) if time == Duration::from_millis(250)),
        "{forwarded:?}"
    );
    service.session = ccf_endpoints::testing::session(None);
    assert!(matches!(ask(&mut service, Method::Get, "/app/read", None), Outcome::Respond(_)));
}

/// That something is absent was read too: a primary that was deposed may not know that it is there by now.
#[test]
fn a_linearizable_read_of_nothing_is_confirmed_or_refused() {
    let mut service = guaranteed();
    let header = Some(("x-ccf-consistency", "linearizable"));
    for target in ["/app/absent", "/app/refused"] {
        let mut ask = || pending(ask(&mut service, Method::Get, target, header));
        assert_eq!(decide(ask(), Decision::Committed).status, 404, "{target}");
        assert_eq!(decide(ask(), Decision::Invalid).status, 503, "{target}");
        assert_eq!(ask().expire().status, 503, "{target}");
    }
}

/// What was read in one view is not confirmed by the next one, which may have lost it.
#[test]
fn a_linearizable_read_is_not_confirmed_in_another_view() {
    let mut service = guaranteed();
    let header = Some(("x-ccf-consistency", "linearizable"));
    *service.node.committed.lock() = TxId::new(4, 10);
    for target in ["/app/read", "/app/absent"] {
        match ask(&mut service, Method::Get, target, header) {
            Outcome::Respond(response) => assert_eq!(response.status, 503, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let mut service = guaranteed();
    for (name, value) in [
        ("x-ccf-wait-for-commit", "0"),
        ("x-ccf-wait-for-commit", "60001"),
        ("x-ccf-wait-for-commit", "soon"),
        ("x-ccf-wait-for-commit", ""),
        ("x-ccf-consistency", "strong"),
    ] {
        match ask(&mut service, Method::Post, "/app/write", Some((name, value))) {
            Outcome::Respond(response) => {
                assert_eq!(response.status, 400, "{name}: {value}");
                assert!(String::from_utf8_lossy(&response.body).contains("InvalidHeaderValue"));
            }
            other => panic!("{name}: {value}: {other:?}"),
        }
    }
}

#[test]
fn what_every_node_answers_itself_is_not_linearizable_on_a_backup() {
    let mut service = guaranteed();
    service.node.primary.store(false, Ordering::Relaxed);
    let header = Some(("x-ccf-consistency", "linearizable"));
    assert!(
        matches!(ask(&mut service, Method::Get, "/app/own", None), Outcome::Respond(it) if it.status == 200)
    );
    match ask(&mut service, Method::Get, "/app/own", header) {
        Outcome::Respond(response) => assert_eq!(response.status, 501),
        other => panic!("{other:?}"),
    }
}
