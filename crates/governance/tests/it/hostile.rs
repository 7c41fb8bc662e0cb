//! Whatever bytes a request carries, it is answered, and nothing panics.

use crate::service::{Service, VERSION};
use ccf_crypto::cose::MessageType;
use proptest::prelude::*;
use serde_json::json;
use std::sync::{
    LazyLock,
    atomic::{AtomicBool, Ordering},
};

static PANICKED: AtomicBool = AtomicBool::new(false);

/// The dispatcher answers 500 to a panicking handler, so panics are noticed by a hook.
static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let service = Service::of_one();
    service.activate_all();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let ours = info.location().is_some_and(|at| at.file().contains("src/"));
        PANICKED.fetch_or(ours, Ordering::Relaxed);
        default(info);
    }));
    service
});

fn no_panic() -> Result<(), TestCaseError> {
    prop_assert!(!PANICKED.load(Ordering::Relaxed));
    Ok(())
}

/// Texts that look like proposals, and texts that do not.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let names = prop_oneof![
        Just("set_member"),
        Just("set_user"),
        Just("remove_member"),
        Just("set_constitution"),
        Just("set_js_app"),
        Just("set_jwt_issuer"),
        Just("transition_service_to_open"),
        Just("set_snp_minimum_tcb_version_hex"),
        Just("toString"),
    ];
    let args = prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("x")),
        "[a-z_]{1,12}".prop_map(|name| json!({name: {"keys": [1], "modules": [null]}})),
        "\\PC{0,40}"
            .prop_map(|text| json!({"cert": text, "constitution": text, "issuer": text, "member_id": text})),
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        (names, args).prop_map(|(name, args)| {
            json!({"actions": [{"name": name, "args": args}]}).to_string().into_bytes()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_that_are_no_messages(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let service = &*SERVICE;
        for path in ["/members/proposals:create".to_owned(), format!("/members/state-digests/{}:ack", service.id(0))] {
            let status = service.post(&path, body.clone()).status();
            prop_assert!(status == 500 || status == 401, "{status}");
        }
        no_panic()?;
    }

    #[test]
    fn damaged_messages(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let service = &*SERVICE;
        let mut body = service.member(0).sign(MessageType::Proposal, 1, None, br#"{"actions":[]}"#);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let status = service.post("/members/proposals:create", body).status();
        prop_assert!(status == 500 || status == 401, "{status} at {at}");
        no_panic()?;
    }

    #[test]
    fn signed_nonsense(payload in payload(), at in 0..20_000_000_000_u64) {
        let service = &*SERVICE;
        let member = service.member(0);
        let body = member.sign(MessageType::Proposal, at, None, &payload);
        let answer = service.post("/members/proposals:create", body);
        if let Some(id) = answer.json["proposalId"].as_str() {
            let body = member.sign(MessageType::Withdrawal, at, Some(id), &payload);
            prop_assert_eq!(service.post(&format!("/members/proposals/{id}:withdraw"), body).status(), 200);
        } else {
            prop_assert!(answer.json["error"]["code"].is_string());
        }
        let ack = service.ack_with(0, &payload);
        prop_assert_eq!(ack.error().1, "InvalidInput");
        no_panic()?;
    }

    #[test]
    fn ballots(source in "\\PC{0,80}") {
        let service = &*SERVICE;
        let id = service.proposed(0, json!([]));
        let status = service.vote(0, &id, &source).status();
        prop_assert!(status == 200 || status == 500);
        prop_assert_eq!(service.withdraw(0, &id).status(), 200);
        no_panic()?;
    }

    #[test]
    fn paths_and_queries(segment in "[!-~]{1,70}", query in "[!-~]{0,40}") {
        let service = &*SERVICE;
        let segment = segment.replace('?', "");
        for path in ["members/proposals", "service/members", "service/javascript-modules", "service/transactions"] {
            let target = format!("/{path}/{segment}?{VERSION}&{query}");
            let _ = service.get_exact(&target);
            let _ = service.get_exact(&format!("/{path}?{query}"));
        }
        no_panic()?;
    }
}
