//! Proposals and ballots: every answer and every effect on the tables.

use crate::service::{Member, NO, Service, VERSION, YES};
use ccf_crypto::{cose::MessageType, key::Curve};
use ccf_governance::constitution_texts::{self, ACTIONS, APPLY, VALIDATE, join};
use serde_json::{Value, json};

fn active(service: Service) -> Service {
    service.activate_all();
    service
}

#[test]
fn one_member_decides_alone() {
    let service = active(Service::of_one());
    let m0 = service.id(0).to_owned();
    let created = service.propose(
        0,
        json!([{"name": "set_js_runtime_options", "args": {
            "max_heap_bytes": 1, "max_stack_bytes": 2, "max_execution_time_ms": 3,
        }}]),
    );
    let id = created.json["proposalId"].as_str().unwrap().to_owned();
    let expected = json!({
        "ballotCount": 0, "ballotSubmitters": [], "proposalId": id, "proposalState": "Open", "proposerId": m0,
    });
    assert_eq!((created.status(), &created.json), (200, &expected));
    assert_eq!(created.tx_id(), Some(format!("2.{}", service.last_seqno())));
    let stored = |table: &str, key: &str| service.stored(&format!("public:ccf.gov.{table}"), key.as_bytes());
    assert_eq!(
        stored("proposals_info", &id),
        Some(format!(r#"{{"ballots":{{}},"proposer_id":"{m0}","state":"Open"}}"#))
    );
    assert!(stored("cose_history", &m0).unwrap().starts_with("\"0oR"));

    let accepted = service.vote(0, &id, YES);
    let expected = json!({
        "ballotCount": 1, "ballotSubmitters": [m0], "finalVotes": {&m0: true}, "proposalId": id,
        "proposalState": "Accepted", "proposerId": m0, "voteFailures": {},
    });
    assert_eq!((accepted.status(), &accepted.json), (200, &expected));
    assert_eq!(
        stored("proposals_info", &id),
        Some(format!(
            r#"{{"ballots":{{"{m0}":"{YES}"}},"final_votes":{{"{m0}":true}},"proposer_id":"{m0}","state":"Accepted","vote_failures":{{}}}}"#
        ))
    );
    assert_eq!(
        service.stored("public:ccf.gov.js_runtime_options", &[0; 8]).as_deref(),
        Some(r#"{"max_execution_time_ms":3,"max_heap_bytes":1,"max_stack_bytes":2}"#)
    );
    assert_eq!(service.get(&format!("/members/proposals/{id}")).json, expected);
    assert_eq!(service.get("/members/proposals").json, json!({"value": [expected]}));
    let ballot = service.get(&format!("/members/proposals/{id}/ballots/{m0}"));
    assert_eq!(ballot.header("content-type").as_deref(), Some("text/javascript"));
    assert_eq!(ballot.response.body, YES);

    let text = format!("Proposal {id} is currently in state accepted and cannot be withdrawn.");
    assert_eq!(service.withdraw(0, &id).error(), (400, "ProposalNotOpen", text.as_str()));
    let text =
        format!("Proposal {id} is currently in state accepted - only open proposals can receive votes");
    assert_eq!(service.vote(0, &id, NO).error(), (400, "ProposalNotOpen", text.as_str()));
}

#[test]
fn a_majority_of_three() {
    let service = active(Service::of_three());
    let user = Member::new("user", Curve::P384, false);
    // What follows the certificate is kept, and does not count.
    let cert = user.cert.clone() + "-----BEGIN X-----\nAAAA\n-----END X-----\n";
    let id = service.proposed(1, json!([{"name": "set_user", "args": {"cert": cert}}]));
    assert_eq!(service.vote(0, &id, NO).json["proposalState"], "Open");
    assert_eq!(service.vote(1, &id, YES).json["proposalState"], "Open");
    let done = service.vote(2, &id, YES);
    assert_eq!(done.json["proposalState"], "Accepted");
    let votes = json!({service.id(0): false, service.id(1): true, service.id(2): true});
    assert_eq!(done.json["finalVotes"], votes);
    let mut submitters = [service.id(0), service.id(1), service.id(2)];
    submitters.sort_unstable();
    assert_eq!(done.json["ballotSubmitters"], json!(submitters));
    let stored = service.stored("public:ccf.gov.users.certs", user.id.as_str().as_bytes());
    assert_eq!(stored, Some(cert));
    // The removal of absent user data is part of the write set, as in real ledgers.
    let written = service.node.log.lock().unwrap().tables[&service.last_seqno()].clone();
    assert!(written.contains(&"public:ccf.gov.users.info".to_owned()));
}

#[test]
fn refused_proposals() {
    let service = active(Service::of_one());
    let answer = service.propose_text(0, "{ not valid json");
    assert_eq!(answer.status(), 500);
    assert!(answer.error().2.starts_with("Failed to execute validation: SyntaxError:"), "{answer:?}");
    let answer =
        service.propose(0, json!([{"name": "no_such"}, {"name": "remove_user", "args": {"user_id": "00"}}]));
    let text = "Proposal failed to validate: no_such: no such action, remove_user at position 1 failed \
                validation: Error: user_id must contain exactly 64 characters\n";
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (400, "ProposalFailedToValidate"));
    assert!(message.starts_with(text), "{message}");
    for text in ["[]", "{}", "null", r#"{"actions":1}"#] {
        assert_eq!(service.propose_text(0, text).status(), 500, "{text}");
    }
    assert_eq!(service.propose(0, json!([])).status(), 200);

    let hex = |n: usize| "a".repeat(n);
    for (name, args) in [
        ("remove_user", json!({"user_id": hex(63)})),
        ("remove_user", json!({"user_id": hex(65)})),
        ("remove_user", json!({"user_id": "g".repeat(64)})),
        ("remove_user", json!({})),
        ("remove_user", Value::Null),
        ("set_user", json!({"cert": "x"})),
        ("set_user", json!({"cert": service.member(0).cert, "user_data": 1})),
        ("set_member", json!({"cert": service.member(0).cert, "recovery_role": "Owner"})),
        ("set_member", json!({"cert": service.member(0).cert, "encryption_pub_key": "x"})),
        ("set_member", json!({"cert": ""})),
        ("set_recovery_threshold", json!({"recovery_threshold": 0})),
        ("set_recovery_threshold", json!({"recovery_threshold": 255})),
        ("set_recovery_threshold", json!({"recovery_threshold": 1.5})),
        ("set_recovery_threshold", json!({"recovery_threshold": null})),
        ("set_service_configuration", json!({"recovery_threshold": null})),
        ("set_service_configuration", json!({"other": 1})),
        ("set_js_runtime_options", json!({"max_heap_bytes": 1})),
        ("set_constitution", json!({"constitution": 1})),
        ("set_constitution", json!({"constitution": ""})),
        ("set_constitution", json!({"constitution": "export function"})),
        ("transition_service_to_open", json!({"next_service_identity": null})),
        (
            "transition_service_to_open",
            json!({"next_service_identity": service.service_cert, "previous_service_identity": null}),
        ),
        ("set_js_app", json!({"bundle": {"modules": []}})),
        ("add_snp_measurement", json!({"measurement": "XY"})),
        ("trigger_ledger_rekey", json!({})),
        ("set_jwt_issuer", json!({"issuer": "x", "auto_refresh": true, "ca_cert_bundle_name": "b"})),
        ("set_jwt_issuer", json!({"issuer": "x", "jwks": {"keys": [{"kid": "k"}]}})),
    ] {
        let answer = service.propose(0, json!([{"name": name, "args": args}]));
        assert_eq!(answer.error().1, "ProposalFailedToValidate", "{name} {args} {answer:?}");
    }
    let text = service.propose(0, json!([{"name": "set_constitution", "args": {"constitution": 1}}]));
    assert!(text.error().2.contains("constitution must be of type string"));
    let constitution =
        "export function validate(a){} export function resolve(a){} export function apply(a,b){}";
    let text =
        service.propose(0, json!([{"name": "set_constitution", "args": {"constitution": constitution}}]));
    let expected = "Proposal failed to validate: set_constitution at position 0 failed validation: TypeError: proposed \
                    constitution exports function resolve with 1 arg, expected between 3 and 4 args (proposal, \
                    proposerId, votes[, proposalId])";
    assert!(text.error().2.starts_with(expected), "{text:?}");
    // Nothing of all this left a trace.
    assert_eq!(service.get("/members/proposals").json["value"].as_array().unwrap().len(), 1);
}

#[test]
fn refused_and_failing_ballots() {
    let service = active(Service::of_three());
    let id = service.proposed(0, json!([]));
    let (m0, m1, other) = (service.id(0), service.id(1), "0".repeat(64));
    let module = format!("public:ccf.gov.proposals_info[{id}].ballots[m[{m0}]]");
    let text = format!("Failed to compile {module}");
    assert_eq!(service.vote(0, &id, "return true").error(), (500, "InternalError", text.as_str()));
    let text = format!("Failed to find export 'vote' in module '{module}'");
    assert_eq!(
        service.vote(0, &id, "export function vot () {}").error(),
        (500, "InternalError", text.as_str())
    );

    let throwing = "export function vote (a, b) { throw new Error('boom') }";
    let answer = service.vote(0, &id, throwing);
    assert_eq!((answer.status(), &answer.json["proposalState"]), (200, &json!("Open")));
    let seqno = service.last_seqno();
    assert_eq!(service.vote(0, &id, throwing).status(), 200);
    assert_eq!(service.last_seqno(), seqno);
    let text = format!("Different ballot already submitted by m[{m0}] for {id}.");
    assert_eq!(service.vote(0, &id, YES).error(), (400, "VoteAlreadyExists", text.as_str()));

    let path = |member: &str| format!("/members/proposals/{id}/ballots/{member}:submit");
    let ballot = |signed_for: Option<&str>, payload: &[u8]| {
        service.member(1).sign(MessageType::Ballot, service.now(), signed_for, payload)
    };
    let good = json!({"ballot": YES}).to_string();
    let answer = service.post(&path(m0), ballot(Some(&id), good.as_bytes()));
    assert_eq!(answer.error(), (400, "InvalidResourceName", "Authenticated member id does not match URL"));
    for signed_for in [None, Some(other.as_str())] {
        let answer = service.post(&path(m1), ballot(signed_for, good.as_bytes()));
        let text = "Authenticated proposal id does not match URL";
        assert_eq!(answer.error(), (400, "InvalidResourceName", text));
    }
    // Neither is a list that begins with a ballot a ballot.
    let list = json!([YES]).to_string();
    for payload in ["", "{}", r#"{"ballot":1}"#, "[]", "\"x\"", &list] {
        let answer = service.post(&path(m1), ballot(Some(&id), payload.as_bytes()));
        assert_eq!(answer.error().1, "InvalidInput", "{payload}");
    }
    let text = format!("Could not find proposal {other}.");
    assert_eq!(service.vote(1, &other, YES).error(), (404, "ProposalNotFound", text.as_str()));
    let text = format!("Member m[{m1}] has not voted for proposal {id}.");
    let answer = service.get(&format!("/members/proposals/{id}/ballots/{m1}"));
    assert_eq!(answer.error(), (404, "VoteNotFound", text.as_str()));

    service.vote(1, &id, YES);
    let done = service.vote(2, &id, YES);
    assert_eq!(done.json["voteFailures"][m0]["reason"], "Error: boom");
    assert!(done.json["voteFailures"][m0]["trace"].as_str().unwrap().contains("at vote"));
    assert_eq!(done.json["finalVotes"], json!({m1: true, service.id(2): true}));
}

#[test]
fn any_value_is_a_vote() {
    let service = active(Service::of_three());
    for (value, counts) in [
        ("1", true),
        ("'x'", true),
        ("({})", true),
        ("Promise.resolve(false)", true),
        ("0", false),
        ("''", false),
        ("null", false),
        ("undefined", false),
    ] {
        let id = service.proposed(0, json!([]));
        let ballot = format!("export function vote () {{ return {value} }}");
        service.vote(0, &id, &ballot);
        let state = service.vote(1, &id, YES).json["proposalState"].clone();
        assert_eq!(state, if counts { "Accepted" } else { "Open" }, "{value}");
    }
}

#[test]
fn withdrawal() {
    let service = active(Service::of_three());
    let id = service.proposed(0, json!([]));
    let (m0, m1) = (service.id(0).to_owned(), service.id(1).to_owned());
    let text = format!("Proposal {id} can only be withdrawn by proposer m[{m0}], not caller m[{m1}].");
    assert_eq!(service.withdraw(1, &id).error(), (403, "AuthorizationFailed", text.as_str()));
    let answer = service.withdraw(0, &id);
    let expected = json!({
        "ballotCount": 0, "ballotSubmitters": [], "proposalId": id, "proposalState": "Withdrawn", "proposerId": m0,
    });
    assert_eq!((answer.status(), answer.json), (200, expected));
    let seqno = service.last_seqno();
    assert_eq!(service.withdraw(0, &id).status(), 200);
    let unknown = service.withdraw(0, &"0".repeat(64));
    assert_eq!((unknown.status(), unknown.response.body.len()), (204, 0));
    assert_eq!(unknown.tx_id(), Some(format!("2.{seqno}")));
    assert_eq!(service.last_seqno(), seqno);
    assert_eq!(service.vote(1, &id, YES).error().1, "ProposalNotOpen");
}

#[test]
fn decided_proposals_are_forgotten_and_dropped_ones_stay_a_while() {
    let service = active(Service::of_one());
    let state = |id: &str| service.get(&format!("/members/proposals/{id}")).json["proposalState"].clone();
    let (a, b, c) =
        (service.proposed(0, json!([])), service.proposed(0, json!([])), service.proposed(0, json!([])));
    service.vote(0, &a, YES);
    service.vote(0, &b, YES);
    assert_eq!((state(&a), state(&b), state(&c)), (Value::Null, json!("Accepted"), json!("Open")));
    let constitution = constitution_texts::join_files(&constitution_texts::DEFAULT);
    service.accept(json!([{"name": "set_constitution", "args": {"constitution": constitution}}]));
    assert_eq!((state(&b), state(&c)), (Value::Null, json!("Dropped")));
    assert_eq!(service.vote(0, &c, YES).error().1, "ProposalNotOpen");
    service.accept(json!([]));
    assert_eq!(state(&c), Value::Null);
    assert_eq!(service.get("/service/constitution").response.body, constitution);
}

#[test]
fn replays_and_old_messages() {
    let service = active(Service::of_one());
    let member = service.member(0);
    let payload = br#"{"actions":[]}"#;
    let create = |body: Vec<u8>| service.post("/members/proposals:create", body);
    let body = member.sign(MessageType::Proposal, 1000, None, payload);
    let first = create(body.clone());
    let text = format!(
        "Proposal submission replay, already exists as proposal {}",
        first.json["proposalId"].as_str().unwrap()
    );
    assert_eq!(create(body).error(), (400, "ProposalReplay", text.as_str()));
    let answer = create(member.sign(MessageType::Proposal, 999, None, payload));
    let text = "Proposal created too long ago, created_at must be greater than 1000";
    assert_eq!(answer.error(), (400, "ProposalCreatedTooLongAgo", text));
    let answer = create(member.sign(MessageType::Proposal, 100_000_000_000, None, payload));
    assert_eq!(answer.error(), (400, "InvalidCreatedAt", "Header parameter created_at value is too large"));
    // The same text signed again is another proposal.
    let again = create(member.sign(MessageType::Proposal, 1000, None, payload));
    assert_ne!(again.json["proposalId"], first.json["proposalId"]);
}

#[test]
fn identifiers_in_paths() {
    let service = active(Service::of_one());
    let text = "'00' is not a valid hex-encoded proposal ID";
    assert_eq!(service.get("/members/proposals/00").error(), (400, "InvalidResourceName", text));
    let upper = "A".repeat(64);
    assert_eq!(service.get(&format!("/members/proposals/{upper}")).error().1, "ProposalNotFound");
    assert_eq!(service.get("/service/members/zz").error().1, "InvalidResourceName");
    let answer = service.get_exact(&format!("/members/proposals:create?{VERSION}"));
    assert_eq!((answer.status(), answer.header("allow").as_deref()), (405, Some("OPTIONS, POST")));
}

/// The default actions with a resolve of one's own.
fn with_resolve(resolve: &str) -> Service {
    let text = join([ACTIONS.1, VALIDATE.1, resolve, APPLY.1]);
    active(Service::with_constitution(vec![Member::new("m", Curve::P384, true)], &text))
}

#[test]
fn constitutions_that_misbehave() {
    let service =
        with_resolve("export function resolve(p, id, votes) { throw new Error('Resolve message') }");
    let answer = service.propose(0, json!([]));
    assert!(
        answer.error().2.starts_with("Failed to resolve(): Error: Resolve message\nTrace:     at resolve"),
        "{answer:?}"
    );
    let service = with_resolve("export function resolve(p, id, votes) { return 'Maybe' }");
    let answer = service.propose(0, json!([]));
    assert!(answer.error().2.starts_with("Failed to resolve(): ") && answer.error().2.contains("Maybe"));
    let service = with_resolve("export function resolve(p, id, votes) { return 'Rejected' }");
    let answer = service.propose(0, json!([]));
    assert_eq!(answer.json["proposalState"], "Rejected");
    assert_eq!((&answer.json["finalVotes"], &answer.json["voteFailures"]), (&json!({}), &json!({})));
    let service = with_resolve(
        "export function resolve(p, id, votes, pid) {
           const stored = ccf.bufToStr(ccf.kv['public:ccf.gov.proposals'].get(ccf.strToBuf(pid)));
           return stored === p && votes.length === 0 && ccf.node === undefined ? 'Accepted' : 'Open';
         }",
    );
    assert_eq!(service.propose(0, json!([])).json["proposalState"], "Accepted");
    let service = with_resolve(
        "export function resolve(p, id, votes) { ccf.kv['public:ccf.gov.users.info'].clear(); return 'Open' }",
    );
    assert!(service.propose(0, json!([])).error().2.contains("read-only governance"));
    for text in ["export function validate() { return 1 }", "export const validate = 1", "syntax error"] {
        let service = active(Service::with_constitution(vec![Member::new("m", Curve::P384, true)], text));
        assert_eq!(service.propose(0, json!([])).status(), 500, "{text}");
    }
}

#[test]
fn what_fails_leaves_nothing() {
    let actions = "actions.set('boom', new Action(() => {}, () => { throw new Error('Error message') }));";
    let text = join([ACTIONS.1, actions, VALIDATE.1, constitution_texts::SANDBOX_RESOLVE.1, APPLY.1]);
    let service = active(Service::with_constitution(vec![Member::new("m", Curve::P384, true)], &text));
    let user = Member::new("user", Curve::P384, false);
    let answer = service.propose(
        0,
        json!([
            {"name": "set_user", "args": {"cert": user.cert}},
            {"name": "boom"},
        ]),
    );
    assert!(answer.error().2.starts_with("Failed to apply(): Error: Error message\nTrace: "), "{answer:?}");
    assert_eq!(answer.tx_id(), None);
    assert_eq!(service.get("/members/proposals").json, json!({"value": []}));
    assert_eq!(service.get("/service/users").json, json!({"value": []}));
    assert!(service.stored("public:ccf.gov.cose_history", service.id(0).as_bytes()).is_none());
}

#[test]
fn the_sandbox_accepts_at_once() {
    let text = constitution_texts::join_files(&constitution_texts::SANDBOX);
    let service = active(Service::with_constitution(vec![Member::new("m", Curve::P384, true)], &text));
    let answer = service.propose(0, json!([{"name": "trigger_snapshot"}, {"name": "trigger_ledger_chunk"}]));
    assert_eq!(answer.json["proposalState"], "Accepted");
    let written = service.node.log.lock().unwrap();
    let tx_id = ccf_types::TxId::new(2, service.last_seqno().0);
    assert_eq!((&written.chunks, &written.snapshots), (&vec![tx_id], &vec![tx_id]));
    assert_eq!(answer.tx_id(), Some(tx_id.to_string()));
}
