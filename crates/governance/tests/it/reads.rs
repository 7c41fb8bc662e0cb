//! The endpoints that show state, and `api-version`.

use crate::service::{Member, Service};
use ccf_crypto::{cert::Certificate, key::Curve};
use ccf_governance::constitution_texts;
use serde_json::{Value, json};

/// A service whose proposals are accepted at once.
fn sandbox() -> Service {
    let text = constitution_texts::join_files(&constitution_texts::SANDBOX);
    let service = Service::with_constitution(vec![Member::new("m", Curve::P384, true)], &text);
    service.activate_all();
    service
}

fn apply(service: &Service, name: &str, args: Value) {
    let answer = service.propose(0, json!([{"name": name, "args": args}]));
    assert_eq!(answer.json["proposalState"], "Accepted", "{name}: {answer:?}");
}

#[test]
fn versions() {
    let service = Service::of_one();
    let both = "2023-06-01-preview, 2024-07-01";
    let missing = format!(
        "The api-version query parameter (?api-version=) is required for all requests. The supported api-versions are: \
         {both}"
    );
    let answer = service.get_exact("/service/info");
    assert_eq!(answer.error(), (400, "MissingApiVersionParameter", missing.as_str()));
    let text = format!("Unsupported api-version 'x'. The supported api-versions are: {both}");
    let answer = service.get_exact("/service/info?api-version=x");
    assert_eq!(answer.error(), (400, "UnsupportedApiVersionValue", text.as_str()));
    for path in ["service/javascript-app", "service/javascript-modules", "service/javascript-modules/%2Fx"] {
        let text = "Unsupported api-version '2023-06-01-preview'. The supported api-versions are: 2024-07-01";
        let answer = service.get_exact(&format!("/{path}?api-version=2023-06-01-preview"));
        assert_eq!(answer.error(), (400, "UnsupportedApiVersionValue", text));
    }
    for path in [
        "members/proposals",
        "service/constitution",
        "service/info",
        "service/join-policy",
        "service/jwk",
        "service/members",
        "service/nodes",
        "service/users",
        "service/transactions/commit",
    ] {
        for version in ["2023-06-01-preview", "2024-07-01"] {
            assert_eq!(service.get_exact(&format!("/{path}?api-version={version}")).status(), 200, "{path}");
        }
        assert_eq!(service.get_exact(&format!("/{path}")).error().1, "MissingApiVersionParameter");
    }
    assert_eq!(
        service.get_exact("/proposals").error(),
        (404, "ResourceNotFound", "Unknown path: /proposals.")
    );
}

#[test]
fn the_service() {
    let service = Service::of_one();
    let answer = service.get("/service/info");
    assert_eq!(
        answer.json,
        json!({
            "certificate": service.service_cert,
            "configuration": {
                "maximumNodeCertificateValidityDays": 365, "maximumServiceCertificateValidityDays": 365,
                "recentCoseProposalsWindowSize": 100, "recoveryThreshold": 1,
            },
            "creationTransactionId": "2.1", "recoveryCount": 0, "serviceData": null, "status": "Opening",
        })
    );
    assert_eq!(answer.tx_id().as_deref(), Some("2.2"));
    let m0 = service.id(0).to_owned();
    let member = json!({
        "certificate": service.member(0).cert, "memberData": null, "memberId": m0,
        "publicEncryptionKey": service.member(0).encryption.unwrap().public_key().to_pem(),
        "recoveryRole": "Participant", "status": "Accepted",
    });
    assert_eq!(service.get("/service/members").json, json!({"value": [member]}));
    assert_eq!(service.get(&format!("/service/members/{m0}")).json, member);
    let none = "0".repeat(64);
    for (path, name) in [("members", "Member m"), ("users", "User u"), ("nodes", "Node n")] {
        let text = format!("{name}[{none}] does not exist.");
        let answer = service.get(&format!("/service/{path}/{none}"));
        assert_eq!(answer.error(), (404, "ResourceNotFound", text.as_str()));
    }
    let nodes = service.get("/service/nodes").json;
    let mut node = nodes["value"][0].clone();
    assert!(Certificate::from_pem(node["certificate"].as_str().unwrap()).is_ok());
    node["certificate"] = Value::Null;
    node["quoteInfo"]["rawQuote"] = Value::Null;
    assert_eq!(
        node,
        json!({
            "certificate": null, "nodeData": null, "nodeId": service.node_id, "retiredCommitted": false,
            "quoteInfo": {
                "details": {"hostData": "00ff", "measurement": "m v1", "reportData": "cmVwb3J0"},
                "format": "Insecure_Virtual", "rawQuote": null,
            },
            "rpcInterfaces": {"main": {"protocol": "HTTP2", "publishedAddress": "127.0.0.1:2"}},
            "status": "Trusted",
        })
    );
    let empty = json!({"caCertBundles": {}, "issuers": {}, "keys": {}});
    assert_eq!(service.get("/service/jwk").json, empty);
    assert_eq!(
        service.get("/service/join-policy").json,
        json!({
            "sgx": {"measurements": []},
            "snp": {"hostData": {}, "measurements": [], "tcbVersions": {}, "uvmEndorsements": {}},
            "virtual": {"hostData": ["00ff"], "measurements": ["m v1"]},
        })
    );
}

#[test]
fn transactions() {
    let service = Service::of_one();
    let answer = service.get("/service/transactions/commit");
    assert_eq!(answer.json, json!({"status": "Committed", "transactionId": "2.2"}));
    assert_eq!(answer.tx_id(), None);
    for (id, status) in [("2.1", "Committed"), ("1.1", "Invalid"), ("2.999", "Unknown")] {
        let answer = service.get(&format!("/service/transactions/{id}"));
        assert_eq!(answer.json, json!({"status": status, "transactionId": id}));
    }
    for id in ["2", "a.b", "0.1", "1.0", "-1.1"] {
        let text = format!(
            "The value '{id}' passed as parameter 'transactionId' could not be converted to a valid Transaction ID."
        );
        let answer = service.get(&format!("/service/transactions/{id}"));
        assert_eq!(answer.error(), (400, "InvalidQueryParameterValue", text.as_str()));
    }
}

#[test]
fn users() {
    let service = sandbox();
    let user = Member::new("user", Curve::P256, false);
    apply(&service, "set_user", json!({"cert": user.cert, "user_data": {"isAdmin": true}}));
    let shown =
        json!({"certificate": user.cert, "userData": {"user_data": {"isAdmin": true}}, "userId": user.id});
    assert_eq!(service.get("/service/users").json, json!({"value": [shown]}));
    apply(&service, "set_user_data", json!({"user_id": user.id}));
    let shown = json!({"certificate": user.cert, "userData": null, "userId": user.id});
    assert_eq!(service.get(&format!("/service/users/{}", user.id)).json, shown);
    apply(&service, "remove_user", json!({"user_id": user.id}));
    assert_eq!(service.get("/service/users").json, json!({"value": []}));
    apply(&service, "remove_user", json!({"user_id": user.id}));
}

#[test]
fn the_javascript_application() {
    let service = sandbox();
    let source = "export function f(request) { return {} }";
    let app = json!({"bundle": {
        "modules": [{"name": "a.js", "module": source}],
        "metadata": {"endpoints": {"/x/{y}": {"get": {
            "js_module": "a.js", "js_function": "f", "mode": "readonly", "forwarding_required": "sometimes",
            "authn_policies": ["user_cert", {"all_of": ["a", "b"]}], "extra": 1,
        }}}},
    }});
    apply(&service, "set_js_app", app);
    assert_eq!(service.get("/service/javascript-modules").json, json!({"value": [{"moduleName": "/a.js"}]}));
    let module = service.get("/service/javascript-modules/%2Fa.js");
    assert_eq!(module.header("content-type").as_deref(), Some("text/javascript"));
    assert_eq!(module.response.body, source);
    let answer = service.get("/service/javascript-modules/a.js");
    assert_eq!(answer.error(), (404, "ResourceNotFound", "Module a.js does not exist."));
    let policies = json!(["user_cert", {"all_of": ["a", "b"]}]);
    assert_eq!(
        service.get("/service/javascript-app").json,
        json!({"endpoints": {"/x/{y}": {"GET": {
            "jsModule": "/a.js", "jsFunction": "f", "forwardingRequired": "sometimes", "authnPolicies": policies,
            "redirectionStrategy": "to_primary", "mode": "readonly", "openApi": null,
        }}}})
    );
    assert_eq!(
        service.get("/service/javascript-app?case=original").json,
        json!({"endpoints": {"/x/{y}": {"GET": {
            "js_module": "/a.js", "js_function": "f", "mode": "readonly", "forwarding_required": "sometimes",
            "authn_policies": policies, "extra": 1,
        }}}})
    );
    let text = "Accepted values for the 'case' query parameter are: original";
    let answer = service.get("/service/javascript-app?case=x");
    assert_eq!(answer.error(), (400, "InvalidQueryParameterValue", text));
    let flush = service.stored("public:ccf.gov.interpreter.flush", &[0; 8]);
    assert_eq!(flush.as_deref(), Some("true"));
    let stored = service.stored("public:ccf.gov.endpoints", b"GET /x/{y}").unwrap();
    // In the order of the proposal, with members that nobody knows.
    assert!(
        stored.starts_with(r#"{"authn_policies":["user_cert",{"all_of":["a","b"]}],"extra":1,"#),
        "{stored}"
    );
    assert!(stored.contains(r#""js_module":"/a.js""#), "{stored}");
    apply(&service, "remove_js_app", Value::Null);
    assert_eq!(service.get("/service/javascript-app").json, json!({"endpoints": {}}));

    let broken = json!({"bundle": {
        "modules": [{"name": "a.js", "module": "export function"}], "metadata": {"endpoints": {}},
    }});
    let answer = service.propose(0, json!([{"name": "set_js_app", "args": broken}]));
    assert_eq!(answer.status(), 500, "{answer:?}");
    let missing =
        json!({"bundle": {"modules": [], "metadata": {"endpoints": {"/x": {"get": {"js_module": "x"}}}}}});
    let answer = service.propose(0, json!([{"name": "set_js_app", "args": missing}]));
    assert!(answer.error().2.contains("module 'x' not found in bundle"));

    let properties = json!({"js_module": "a.js", "js_function": "f", "mode": "readonly",
        "forwarding_required": "never", "authn_policies": []});
    for (path, method, expected) in [
        ("/x{", "get", "is not a valid path"),
        ("/{a}{b}", "get", "is not a valid path"),
        ("/{a}/{a}", "get", "is not a valid path"),
        ("/x", "bad verb", "is not an HTTP method"),
    ] {
        let bundle = json!({"bundle": {
            "modules": [{"name": "a.js", "module": "export function f() {}"}],
            "metadata": {"endpoints": {path: {method: properties}}},
        }});
        let answer = service.propose(0, json!([{"name": "set_js_app", "args": bundle}]));
        assert!(answer.error().2.contains(expected), "{path} {method}: {answer:?}");
    }
}

#[test]
fn certificates_are_renewed() {
    let service = sandbox();
    let dates = json!({"valid_from": "2026-06-01 00:00:00", "validity_period_days": 10});
    apply(&service, "set_service_certificate_validity", dates.clone());
    let renewed = service.get("/service/info").json["certificate"].as_str().unwrap().to_owned();
    let (old, new) =
        (Certificate::from_pem(&service.service_cert).unwrap(), Certificate::from_pem(&renewed).unwrap());
    assert_eq!(old.spki_der(), new.spki_der());
    assert_ne!(old.validity(), new.validity());
    apply(&service, "set_all_nodes_certificate_validity", dates);
    let node = service.get(&format!("/service/nodes/{}", service.node_id)).json;
    let node = Certificate::from_pem(node["certificate"].as_str().unwrap()).unwrap();
    assert_eq!(node.validity(), new.validity());
    node.verify_signed_by(new.public_key().unwrap()).unwrap();
    let long = json!({"valid_from": "2026-06-01 00:00:00", "validity_period_days": 366});
    let answer = service.propose(0, json!([{"name": "set_service_certificate_validity", "args": long}]));
    assert_eq!(answer.status(), 500);
}

#[test]
fn nodes_and_join_policy() {
    let service = sandbox();
    let node = service.node_id.clone();
    apply(&service, "set_node_data", json!({"node_id": node, "node_data": {"a": 1}}));
    assert_eq!(service.get(&format!("/service/nodes/{node}")).json["nodeData"], json!({"a": 1}));
    let hex96 = "ab".repeat(48);
    apply(&service, "add_snp_measurement", json!({"measurement": hex96}));
    let empty_policy_digest = "ab".repeat(32);
    apply(&service, "add_snp_host_data", json!({"host_data": empty_policy_digest, "security_policy": ""}));
    apply(&service, "add_snp_uvm_endorsement", json!({"did": "did:x", "feed": "f", "svn": "1"}));
    apply(&service, "add_snp_uvm_endorsement", json!({"did": "did:x", "feed": "g", "svn": "2"}));
    let tcb = json!({"cpuid": "00a00f11", "tcb_version": "d315000000000004"});
    apply(&service, "set_snp_minimum_tcb_version_hex", tcb);
    apply(&service, "add_virtual_measurement", json!({"measurement": "m v2"}));
    assert_eq!(
        service.get("/service/join-policy").json["snp"],
        json!({
            "hostData": {empty_policy_digest: ""}, "measurements": [hex96],
            "tcbVersions": {"00a00f11": {
                "hexstring": "d315000000000004", "microcode": 211, "snp": 21, "tee": 0, "boot_loader": 4,
            }},
            "uvmEndorsements": {"did:x": {"f": {"svn": "1"}, "g": {"svn": "2"}}},
        })
    );
    apply(&service, "remove_snp_uvm_endorsement", json!({"did": "did:x", "feed": "f"}));
    apply(&service, "remove_snp_uvm_endorsement", json!({"did": "did:x", "feed": "g"}));
    apply(&service, "remove_virtual_measurement", json!({"measurement": "m v2"}));
    let policy = service.get("/service/join-policy").json;
    assert_eq!(policy["snp"]["uvmEndorsements"], json!({}));
    assert_eq!(policy["virtual"]["measurements"], json!(["m v1"]));
    let other = json!({"host_data": "ab".repeat(32), "security_policy": "x"});
    let answer = service.propose(0, json!([{"name": "add_snp_host_data", "args": other}]));
    assert_eq!(answer.error().1, "ProposalFailedToValidate");
}

#[test]
fn jwt_issuers_and_keys() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let service = sandbox();
    let key = service.member(0).encryption.unwrap().public_key().clone();
    let (n, e) = key.rsa_parts().unwrap();
    let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
    let jwk =
        |kid: &str, issuer: Option<&str>| json!({"kid": kid, "kty": "RSA", "n": n, "e": e, "issuer": issuer});
    let shown = |issuer: &str, constraint: Option<&str>| json!({"publicKey": key.to_pem(), "issuer": issuer, "constraint": constraint});
    let (one, two) = ("https://one.example.com", "https://two.example.com/x");
    let keys = json!({"keys": [jwk("k1", Some("https://example.com")), jwk("k2", None)]});
    apply(&service, "set_jwt_issuer", json!({"issuer": one, "auto_refresh": false, "jwks": keys}));
    apply(&service, "set_jwt_issuer", json!({"issuer": two}));
    apply(
        &service,
        "set_jwt_public_signing_keys",
        json!({"issuer": two, "jwks": {"keys": [jwk("k2", None)]}}),
    );
    let answer = service.get("/service/jwk").json;
    assert_eq!(answer["issuers"], json!({one: {"autoRefresh": false}, two: {"autoRefresh": false}}));
    assert_eq!(answer["keys"]["k1"], json!([shown(one, Some("https://example.com"))]));
    assert_eq!(answer["keys"]["k2"], json!([shown(one, None), shown(two, None)]));
    apply(&service, "remove_jwt_issuer", json!({"issuer": one}));
    assert_eq!(service.get("/service/jwk").json["keys"], json!({"k2": [shown(two, None)]}));
    let bad = json!({"issuer": two, "jwks": {"keys": [jwk("k", Some("https://another.com"))]}});
    let answer = service.propose(0, json!([{"name": "set_jwt_public_signing_keys", "args": bad}]));
    assert_eq!(answer.status(), 500);
}

#[test]
fn the_description_of_the_api() {
    let service = Service::of_one();
    let answer = service.get("/api").json;
    assert_eq!(answer["info"], json!({"title": "CCF Governance", "version": "2024-07-01"}));
    assert_eq!(answer["paths"].as_object().unwrap().len(), 27);
    assert!(answer["paths"]["/gov/members/proposals:create"]["post"].is_object());
    assert!(answer["paths"].get("/gov/commit").is_none());
    let preview = service.get_exact("/api?api-version=2023-06-01-preview").json;
    assert_eq!(preview["info"]["title"], "Managed CCF Governance");
    assert_eq!(preview["paths"].as_object().unwrap().len(), 24);
    assert_eq!(service.get_exact("/api?api-version=x").error().1, "UnsupportedApiVersionValue");
    let unversioned = service.get_exact("/api").json;
    assert!(unversioned["paths"]["/gov/commit"].is_object());
    assert!(unversioned["paths"].get("/gov/members/proposals").is_none());
}
