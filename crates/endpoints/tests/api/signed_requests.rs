//! Requests signed with COSE Sign1 (applications specification, section 3.4; governance specification,
//! section 5).

use crate::common::{Service, certificate, header, headers, key, text};
use ccf_crypto::{
    cbor::Writer,
    cert::Certificate,
    cose::{MemberRequest, MessageType, Payload, UserRequest, algorithm_of, sign1},
    key::EcKeyPair,
};
use ccf_endpoints::{
    Caller, EndpointDefinition, Method, Request, Response,
    authn::{AuthnPolicy, MemberCoseSign1, UserCoseSign1},
    tables::{MEMBER_CERTS, MEMBER_INFO, MemberInfo, MemberStatus, USER_CERTS},
};
use serde_json::Value;
use std::sync::Arc;

struct Signer {
    key: EcKeyPair,
    certificate: Certificate,
}

fn signer() -> Signer {
    let key = key();
    // Expired: signatures do not care.
    let certificate = certificate(&key, -20, -10);
    Signer { key, certificate }
}

fn service(user: &Signer, member: &Signer, status: MemberStatus) -> Service {
    let service = crate::common::service(|app| {
        for (path, policy) in [
            ("/user", Arc::new(UserCoseSign1::default()) as Arc<dyn AuthnPolicy>),
            ("/typed", Arc::new(UserCoseSign1::typed("order"))),
            ("/member", Arc::new(MemberCoseSign1::typed("ack"))),
            ("/active", Arc::new(MemberCoseSign1::typed("ack").active())),
        ] {
            let endpoint = EndpointDefinition::read_write(Method::Post, path, |context| {
                let (id, content, envelope) = match context.caller() {
                    Some(Caller::UserCose(cose)) => (cose.user_id.to_string(), &cose.content, &cose.envelope),
                    Some(Caller::MemberCose(cose)) => {
                        (cose.member_id.to_string(), &cose.content, &cose.envelope)
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(envelope, context.request().body_bytes());
                let answer = format!("{id} {}", String::from_utf8_lossy(content));
                context.response.set_body("text/plain", answer);
                Ok(())
            });
            app.install(endpoint.authn([policy])).unwrap();
        }
    });
    let tx = service.store.begin();
    tx.wo(&USER_CERTS).put(&user.certificate.user_id(), &user.certificate.to_pem()).unwrap();
    tx.wo(&MEMBER_CERTS).put(&member.certificate.member_id(), &member.certificate.to_pem()).unwrap();
    let info = MemberInfo { member_data: Value::Null, recovery_role: None, status };
    tx.wo(&MEMBER_INFO).put(&member.certificate.member_id(), &info).unwrap();
    tx.commit().unwrap();
    service
}

fn post(service: &mut Service, path: &str, body: Vec<u8>) -> Response {
    let request = Request::simple(Method::Post, path).with_body(body);
    service.send(&request.with_headers(headers(&[("content-type", "application/cose")])))
}

fn reason(response: &Response) -> String {
    assert_eq!(response.status, 401, "{}", text(response));
    let challenge = header(response, "www-authenticate");
    assert_eq!(challenge.as_deref(), Some("COSE-SIGN1 realm=\"Signed request access\""));
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    let detail = &body["error"]["details"][0];
    format!("{}: {}", detail["auth_policy"].as_str().unwrap(), detail["message"].as_str().unwrap())
}

#[test]
fn users() {
    let (user, member) = (signer(), signer());
    let mut service = service(&user, &member, MemberStatus::Active);
    let id = user.certificate.user_id().to_string();
    let sign =
        |msg_type, created_at| UserRequest::sign(&user.key, &id, msg_type, created_at, b"pay").unwrap();

    for (path, body) in [("/app/user", sign(None, None)), ("/app/typed", sign(Some("order"), Some(0)))] {
        let response = post(&mut service, path, body);
        assert_eq!((response.status, text(&response)), (200, format!("{id} pay")));
    }
    let response = post(&mut service, "/app/typed", sign(Some("x"), None));
    assert_eq!(reason(&response), "typed_user_cose_sign1: Unexpected message type: x, expected: order");
    let response = post(&mut service, "/app/typed", sign(None, None));
    assert_eq!(reason(&response), "typed_user_cose_sign1: Unexpected message type: none, expected: order");

    let unknown =
        UserRequest::sign(&member.key, &member.certificate.user_id().to_string(), None, None, b"").unwrap();
    assert_eq!(
        reason(&post(&mut service, "/app/user", unknown)),
        "user_cose_sign1: Signer is not a known user"
    );
    let forged = UserRequest::sign(&member.key, &id, None, None, b"pay").unwrap();
    assert_eq!(
        reason(&post(&mut service, "/app/user", forged)),
        "user_cose_sign1: Failed to validate COSE Sign1"
    );
}

#[test]
fn members() {
    let (user, member) = (signer(), signer());
    let id = member.certificate.member_id().to_string();
    let sign = |kind| MemberRequest::sign(&member.key, &id, kind, 5, None, b"{}").unwrap();
    let mut service = service(&user, &member, MemberStatus::Accepted);
    let response = post(&mut service, "/app/member", sign(MessageType::Ack));
    assert_eq!((response.status, text(&response)), (200, format!("{id} {{}}")));
    let response = post(&mut service, "/app/active", sign(MessageType::Ack));
    assert_eq!(reason(&response), "active_member_cose_sign1: Signer is not an ACTIVE member");
    let response = post(&mut service, "/app/member", sign(MessageType::Ballot));
    let expected =
        "member_cose_sign1: Found ccf.gov.msg.type set to ballot, expected ccf.gov.msg.type to be ack";
    assert_eq!(reason(&response), expected);
    // A user's request has no creation time for members.
    let of_user = UserRequest::sign(&user.key, &id, None, None, b"").unwrap();
    let response = post(&mut service, "/app/member", of_user);
    assert_eq!(response.status, 500);

    let mut service = self::service(&user, &member, MemberStatus::Active);
    assert_eq!(post(&mut service, "/app/active", sign(MessageType::Ack)).status, 200);
}

/// A message that is understood, from somebody unknown or with an algorithm that nobody has.
#[test]
fn what_names_nobody() {
    let (user, member) = (signer(), signer());
    let mut service = service(&user, &member, MemberStatus::Active);
    let request = |alg: i64, kid: &[u8], created_at: u64| {
        let mut header = Writer::new();
        header.map(4).integer(1).integer(alg).integer(4).bytes(kid);
        header.text("ccf.gov.msg.type").text("ack").text("ccf.gov.msg.created_at").unsigned(created_at);
        sign1(&member.key, &header.finish(), Payload::Attached(b"{}")).unwrap()
    };
    let id = member.certificate.member_id().to_string();
    let alg = algorithm_of(member.key.curve());
    let refused = post(&mut service, "/app/member", request(alg, &[0xff; 32], 5));
    assert_eq!(reason(&refused), "member_cose_sign1: Signer is not a known member");
    let refused = post(&mut service, "/app/member", request(-8, id.as_bytes(), 5));
    assert_eq!(reason(&refused), "member_cose_sign1: Unsupported algorithm: -8");
    assert_eq!(post(&mut service, "/app/member", request(alg, id.as_bytes(), (1 << 63) - 1)).status, 200);
    assert_eq!(post(&mut service, "/app/member", request(alg, id.as_bytes(), 1 << 63)).status, 500);
}

#[test]
fn what_is_no_message() {
    let (user, member) = (signer(), signer());
    let mut service = service(&user, &member, MemberStatus::Active);
    let id = user.certificate.user_id().to_string();
    let good = UserRequest::sign(&user.key, &id, None, None, b"pay").unwrap();
    let mut bodies = vec![b"xx".to_vec(), b"{}".to_vec(), Vec::new(), [&good[..], b"x"].concat()];
    bodies.extend((1..good.len()).step_by(7).map(|n| good[..n].to_vec()));
    for body in bodies {
        let response = post(&mut service, "/app/user", body);
        assert_eq!(response.status, 500);
        assert!(text(&response).contains("Parse COSE CBOR: "), "{}", text(&response));
    }
    // No flipped bit is accepted.
    for at in 0..good.len() {
        let mut body = good.clone();
        body[at] ^= 1;
        let status = post(&mut service, "/app/user", body).status;
        assert!(status == 401 || status == 500, "byte {at}: {status}");
    }
}
