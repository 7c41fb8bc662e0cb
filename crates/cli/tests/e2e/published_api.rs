//! The OpenAPI documents of a running node against the published lists (node specification 13.10, governance 3.2,
//! applications specification 12 and 14.1): every operation with its forwarding, status, schema and parameters, and every
//! component schema by name.
//!
//! The lists stand beside this file, one line each, in any order. A line `not yet: METHOD PATH` names an operation that
//! is published and not there; when it comes, the test fails until the line is replaced by what the operation is.

use crate::{running::RunningSandbox, shell};
use ccf_cli::http_client::Protocol;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const NOT_YET: &str = "not yet: ";

/// The name a schema is referenced by, or the schema itself.
fn reference(schema: &Value) -> String {
    match schema["$ref"].as_str() {
        Some(path) => path.rsplit('/').next().unwrap().to_owned(),
        None => schema.to_string(),
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// `GET /tx sometimes 200 GetTxStatus__Out transaction_id!:TransactionId`
fn operation(method: &str, path: &str, operation: &Value) -> String {
    let (status, response) = object(&operation["responses"]).iter().find(|(k, _)| *k != "default").unwrap();
    let schema = match response["content"].as_object().and_then(|content| content.iter().next()) {
        None => "-".to_owned(),
        Some((kind, content)) if kind == "application/json" => reference(&content["schema"]),
        Some((kind, content)) => format!("{}({kind})", reference(&content["schema"])),
    };
    let forwarding = reference(&operation["x-ccf-forwarding"]);
    let mut line = format!("{} {path} {forwarding} {status} {schema}", method.to_uppercase());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let mark = if parameter["required"] == true { "!" } else { "" };
        line +=
            &format!(" {}{mark}:{}", parameter["name"].as_str().unwrap(), reference(&parameter["schema"]));
    }
    if let Some((_, body)) = operation["requestBody"]["content"].as_object().and_then(|c| c.iter().next()) {
        line += &format!(" body:{}", reference(&body["schema"]));
    }
    line
}

/// `GetTxStatus__Out { transaction_id TransactionId, status TxStatus }`: required members in the order of the document.
fn component(name: &str, schema: &Value) -> String {
    let joined = |list: Vec<String>, by: &str| list.join(by);
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        return format!("{name} = {}", joined(words, " | "));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect();
        let mut members: Vec<String> =
            required.iter().map(|member| format!("{member} {}", reference(&properties[*member]))).collect();
        for (member, schema) in properties.iter().filter(|(member, _)| !required.contains(&member.as_str())) {
            members.push(format!("{member}? {}", reference(schema)));
        }
        return format!("{name} {{ {} }}", joined(members, ", "));
    }
    if schema["type"] == "array" {
        return format!("{name} = [ {} ]", reference(&schema["items"]));
    }
    if schema["additionalProperties"].is_object() {
        return format!("{name} = {{ {} }}", reference(&schema["additionalProperties"]));
    }
    format!("{name} = {schema}")
}

fn lines(document: &Value, prefix: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (path, item) in object(&document["paths"]) {
        let path = path.strip_prefix(prefix).unwrap();
        for (method, value) in object(item).iter().filter(|(key, _)| *key != "parameters") {
            lines.insert(operation(method, path, value));
        }
    }
    for (name, schema) in object(&document["components"]["schemas"]) {
        // Its texts are free; that every operation refers to it is checked elsewhere.
        if name != "CCFError" {
            lines.insert(component(name, schema));
        }
    }
    lines
}

fn check(document: &Value, prefix: &str, list: &str) {
    let there = lines(document, prefix);
    let published = || list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for absent in published().filter_map(|line| line.strip_prefix(NOT_YET)) {
        let start = format!("{absent} ");
        let come = there.iter().find(|line| line.starts_with(&start));
        assert!(come.is_none(), "{prefix}: \"{absent}\" is there now: list it as {come:?} in published_api");
    }
    let expected: BTreeSet<String> =
        published().filter(|line| !line.starts_with(NOT_YET)).map(str::to_owned).collect();
    let missing: Vec<_> = expected.difference(&there).collect();
    let unpublished: Vec<_> = there.difference(&expected).collect();
    assert!(
        missing.is_empty() && unpublished.is_empty(),
        "{prefix}\npublished, but not here: {missing:#?}\nhere, but not published: {unpublished:#?}"
    );
}

#[test]
fn the_documents_are_those_published() {
    let program = shell::sibling("logging");
    let sandbox = RunningSandbox::start(&["--package", program.to_str().unwrap()]);
    let mut client = sandbox.client("user0", Protocol::Http1);
    for (prefix, list) in [
        ("/node", include_str!("published_api/node.txt")),
        ("/gov", include_str!("published_api/gov.txt")),
        ("/app", include_str!("published_api/logging.txt")),
    ] {
        let answer = client.get(&format!("{prefix}/api")).unwrap();
        check(&serde_json::from_slice(&answer.body).unwrap(), prefix, list);
    }
    sandbox.stop().must_be_clean();
}
