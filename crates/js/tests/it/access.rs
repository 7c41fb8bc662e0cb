//! The permissions of the four contexts, tried out with every kind of table and both kinds of method.

use crate::service::{Service, body_json};
use ccf_js::{Console, GovernanceError, GovernanceScripts};
use serde_json::{Value, json};

const TABLES: [&str; 6] =
    ["t", "public:t", "public:ccf.gov.t", "public:ccf.internal.t", "ccf.gov.t", "ccf.internal.t"];

/// JavaScript that answers, for each table, the read and write methods that work.
const TRY: &str = "const k = ccf.strToBuf('k');
  const works = (f) => { try { f(); return true; } catch (e) { if (!(e instanceof TypeError)) throw e; return false; } };
  const result = tables.map((name) => {
    const m = ccf.kv[name];
    const reads = [() => m.has(k), () => m.get(k), () => m.size, () => m.forEach(() => {}),
                   () => m.getVersionOfPreviousWrite(k)].map(works);
    const writes = [() => m.set(k, k), () => m.delete(k), () => m.clear()].map(works);
    const all = (l) => l.every((x) => x) ? true : l.some((x) => x) ? 'mixed' : false;
    return (all(reads) ? 'r' : '') + (all(writes) ? 'w' : '') + ([all(reads), all(writes)].includes('mixed') ? '!' : ''); });";

fn tables() -> String {
    format!("const tables = {};", json!(TABLES))
}

fn application(mode: &str) -> Value {
    let source =
        format!("export function f() {{ {} {TRY} return {{ body: result, statusCode: 200 }}; }}", tables());
    let service = Service::with_app(&source, &[("get", "/f", "f", json!({"mode": mode}))]);
    body_json(&service.get("/app/f"))
}

/// The constitution reports by throwing.
fn governance(function: &str) -> Value {
    let source = format!(
        "export function validate(input) {{ {0} {TRY} throw new Error(JSON.stringify(result)); }}
         export function resolve(a, b, c, d) {{ {0} {TRY} return JSON.stringify(result); }}
         export function apply(a, b) {{ {0} {TRY} throw new Error(JSON.stringify(result)); }}
         export function vote(a, b) {{ {0} {TRY} throw new Error(JSON.stringify(result)); }}",
        tables()
    );
    let service = Service::new();
    let scripts = GovernanceScripts::new(Console::silent());
    let tx = service.store.begin();
    let thrown = |result: Result<(), GovernanceError>| match result {
        Err(GovernanceError::Thrown(error)) => error.message.trim_start_matches("Error: ").to_owned(),
        other => panic!("{other:?}"),
    };
    let text = match function {
        "validate" => thrown(scripts.validate(&tx, &source, "{}").map(|_| ())),
        "resolve" => scripts.resolve(&tx, &source, "{}", "p", &[], "id").unwrap(),
        "apply" => thrown(scripts.apply(&tx, &crate::governance::NoHost, &source, "{}", "id")),
        _ => {
            let ballot = ccf_js::Ballot {
                source: &source,
                member_id: "m",
                proposal_id: "id",
                proposal: "{}",
                proposer_id: "p",
            };
            thrown(scripts.vote(&tx, &ballot).map(|_| ()))
        }
    };
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_context_and_table() {
    assert_eq!(application("readwrite"), json!(["rw", "rw", "r", "r", "", ""]));
    assert_eq!(application("readonly"), json!(["r", "r", "r", "r", "", ""]));
    assert_eq!(governance("apply"), json!(["", "w", "rw", "r", "", ""]));
    for function in ["validate", "resolve", "vote"] {
        assert_eq!(governance(function), json!(["", "", "r", "r", "", ""]), "{function}");
    }
}

#[test]
fn refusals_say_why() {
    let service = Service::with_app(
        "export function f() { try { ccf.kv.t.set(ccf.strToBuf('k'), ccf.strToBuf('k')); }
           catch (e) { return { body: [String(e)] }; } }",
        &[("get", "/f", "f", json!({"mode": "readonly"}))],
    );
    assert_eq!(
        body_json(&service.get("/app/f")),
        json!([
            "TypeError: Cannot call \"set\" on table named t. This table is read-only in current (read-only application) \
                execution context. See https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html for more \
                detail."
        ])
    );
}
