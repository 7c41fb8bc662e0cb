//! Authentication by certificate and its refusals (applications specification, section 3).

use crate::common::{Service, certificate, header, headers, key, session, text};
use ccf_endpoints::{
    EndpointDefinition, Method, Request,
    authn::{AllOf, AnyCert, AuthnPolicy, JwtAbsent, MemberCert, NoAuth, UserCert, UserCoseSign1},
    tables::{MEMBER_CERTS, USER_CERTS},
};
use std::sync::Arc;

fn policies(list: &[&str]) -> Vec<Arc<dyn AuthnPolicy>> {
    let one = |name: &&str| -> Arc<dyn AuthnPolicy> {
        match *name {
            "user_cert" => Arc::new(UserCert),
            "member_cert" => Arc::new(MemberCert),
            "any_cert" => Arc::new(AnyCert),
            "jwt" => Arc::new(JwtAbsent),
            "no_auth" => Arc::new(NoAuth),
            "user_cose_sign1" => Arc::new(UserCoseSign1::default()),
            "all" => Arc::new(AllOf::new(policies(&["user_cert", "any_cert"])).unwrap()),
            "all_jwt" => Arc::new(AllOf::new(policies(&["user_cert", "jwt"])).unwrap()),
            other => panic!("{other}"),
        }
    };
    list.iter().map(one).collect()
}

/// `/who/{a}-{b}` answers with the caller under the policies a, b.
fn service() -> Service {
    crate::common::service(|app| {
        for list in [
            &["user_cert"][..],
            &["member_cert"],
            &["any_cert"],
            &["all"],
            &["all_jwt"],
            &["no_auth", "any_cert"],
            &["jwt"],
            &["jwt", "user_cert"],
            &["user_cert", "jwt"],
            &["user_cose_sign1"],
            &[],
        ] {
            let path = format!("/who/{}", list.join("-"));
            let who = EndpointDefinition::read_only(Method::Post, &path, |context| {
                let caller = format!("{:?}", context.caller());
                context.response.set_body("text/plain", caller);
                Ok(())
            });
            app.install(who.authn(policies(list))).unwrap();
        }
    })
}

fn auth_error(details: &[(&str, &str)]) -> String {
    let details: Vec<_> = details
        .iter()
        .map(|(policy, message)| {
            serde_json::json!({"auth_policy": policy, "code": "InvalidAuthenticationInfo", "message": message})
        })
        .collect();
    let error = serde_json::json!({"error": {"code": "InvalidAuthenticationInfo", "details": details,
        "message": "Invalid authentication credentials."}});
    error.to_string()
}

#[test]
fn refusals_of_the_transcript() {
    let mut service = service();
    let stranger = certificate(&key(), -1, 1);
    for (list, with_certificate, details, challenge) in [
        ("user_cert", false, &[("user_cert", "No caller user certificate")][..], None),
        ("user_cert", true, &[("user_cert", "Could not find matching user certificate")], None),
        ("member_cert", false, &[("member_cert", "No caller member certificate")], None),
        ("member_cert", true, &[("member_cert", "Could not find matching member certificate")], None),
        ("any_cert", false, &[("any_cert", "No caller certificate")], None),
        ("all", false, &[("any_cert+user_cert", "any_cert:No caller certificate")], None),
        ("jwt", false, &[("jwt", "Missing authorization header")], Some("Bearer")),
        (
            "jwt-user_cert",
            false,
            &[("jwt", "Missing authorization header"), ("user_cert", "No caller user certificate")],
            None,
        ),
        (
            "user_cert-jwt",
            false,
            &[("user_cert", "No caller user certificate"), ("jwt", "Missing authorization header")],
            Some("Bearer"),
        ),
        ("all_jwt", true, &[("jwt+user_cert", "jwt:Missing authorization header")], Some("Bearer")),
        ("user_cose_sign1", false, &[("user_cose_sign1", "Missing content-type header")], Some("COSE-SIGN1")),
    ] {
        service.session = session(with_certificate.then_some(&stranger));
        let response = service.post(&format!("/app/who/{list}"), "");
        assert_eq!((response.status, text(&response)), (401, auth_error(details)), "{list}");
        let found = header(&response, "www-authenticate");
        match (challenge, found.as_deref()) {
            (None, None) => {}
            (Some("Bearer"), Some(found)) => {
                assert_eq!(found, "Bearer realm=\"JWT bearer token access\", error=\"invalid_token\"");
            }
            (Some(_), Some(found)) => assert_eq!(found, "COSE-SIGN1 realm=\"Signed request access\""),
            other => panic!("{list}: {other:?}"),
        }
    }
}

#[test]
fn headers_of_tokens_and_signatures() {
    let mut service = service();
    for (value, reason) in [
        ("Bearer", "Authorization header only contains one field"),
        ("Basic x", "Authorization header does not have Bearer scheme"),
        ("Bearer x", "This node does not support JWT authentication yet"),
    ] {
        let request =
            Request::simple(Method::Post, "/app/who/jwt").with_headers(headers(&[("authorization", value)]));
        assert_eq!(text(&service.send(&request)), auth_error(&[("jwt", reason)]));
    }
    let request = Request::simple(Method::Post, "/app/who/user_cose_sign1")
        .with_headers(headers(&[("content-type", "application/json")]));
    let reason = "Content type is not set to application/cose";
    assert_eq!(text(&service.send(&request)), auth_error(&[("user_cose_sign1", reason)]));
}

#[test]
fn known_callers() {
    let mut service = service();
    let (user, member) = (certificate(&key(), -1, 1), certificate(&key(), -20, -10));
    let tx = service.store.begin();
    tx.wo(&USER_CERTS).put(&user.user_id(), &user.to_pem()).unwrap();
    tx.wo(&MEMBER_CERTS).put(&member.member_id(), &member.to_pem()).unwrap();
    tx.commit().unwrap();
    let id = user.user_id();
    for (list, caller, expected) in [
        ("user_cert", Some(&user), format!("Some(user_cert({id}))")),
        ("jwt-user_cert", Some(&user), format!("Some(user_cert({id}))")),
        ("any_cert", Some(&user), "Some(any_cert)".to_owned()),
        ("all", Some(&user), format!("Some(any_cert+user_cert({id}))")),
        // The member's certificate has expired, which nobody looks at.
        ("member_cert", Some(&member), format!("Some(member_cert({}))", member.member_id())),
        ("no_auth-any_cert", None, "Some(no_auth)".to_owned()),
        ("", None, "None".to_owned()),
    ] {
        for _ in 0..2 {
            service.session = session(caller);
            let response = service.post(&format!("/app/who/{list}"), "");
            assert_eq!((response.status, text(&response)), (200, expected.clone()), "{list}");
        }
    }
    // What authentication reads is part of the transaction.
    service.session = session(Some(&user));
    assert_eq!(crate::common::tx_id(&service.post("/app/who/user_cert", "")).as_deref(), Some("2.1"));
}

#[test]
fn validity_of_certificates() {
    let mut service = service();
    let tx = service.store.begin();
    let early = certificate(&key(), 10, 20);
    let late = certificate(&key(), -20, -10);
    let exact = [certificate(&key(), 0, 5), certificate(&key(), -5, 0)];
    for user in [&early, &late, &exact[0], &exact[1]] {
        tx.wo(&USER_CERTS).put(&user.user_id(), &user.to_pem()).unwrap();
    }
    tx.commit().unwrap();
    let now = crate::common::NOW;
    let reasons = [
        (
            &early,
            format!("Current time {now} is before certificate's Not Before validity period {}", now + 10),
        ),
        (&late, format!("Current time {now} is after certificate's Not After validity period {}", now - 10)),
    ];
    for (user, reason) in &reasons {
        service.session = session(Some(user));
        for policy in ["user_cert", "any_cert"] {
            let response = service.post(&format!("/app/who/{policy}"), "");
            assert_eq!(text(&response), auth_error(&[(policy, reason)]));
        }
    }
    for user in &exact {
        service.session = session(Some(user));
        assert_eq!(service.post("/app/who/user_cert", "").status, 200);
    }
}
