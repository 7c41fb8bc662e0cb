//! The OpenAPI document (applications specification, section 12).

use crate::common::Service;
use ccf_endpoints::{
    EndpointDefinition, Method,
    authn::{JwtAbsent, NoAuth, UserCert},
    json,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LoggingRecord::In")]
struct Input {
    id: u64,
    msg: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

fn service() -> Service {
    crate::common::service(|app| {
        let record =
            EndpointDefinition::read_write(Method::Post, "/log/{id}/x:{verb}", json(|_, _: Input| Ok(true)));
        let record = record.input::<Input>().output::<bool>().query::<u64>("seqno", false).summary("Record");
        app.install(record.authn([
            Arc::new(JwtAbsent) as Arc<dyn ccf_endpoints::AuthnPolicy>,
            Arc::new(UserCert),
            Arc::new(NoAuth),
        ]))
        .unwrap();
        app.install(EndpointDefinition::command(Method::Get, "/secret", |_| Ok(())).hidden()).unwrap();
    })
}

fn document(service: &mut Service, path: &str) -> Value {
    serde_json::from_slice(&service.get(path).body).unwrap()
}

/// Every reference leads somewhere.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            object.values().for_each(|inner| check_references(document, inner));
        }
        Value::Array(list) => list.iter().for_each(|inner| check_references(document, inner)),
        _ => {}
    }
}

#[test]
fn documents_of_all_frontends_are_valid() {
    let mut service = service();
    for path in ["/app/api", "/gov/api", "/node/api"] {
        let document = document(&mut service, path);
        let parsed: openapiv3::OpenAPI = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(parsed.openapi, "3.0.0");
        assert!(parsed.paths.paths.len() >= 5);
        check_references(&document, &document);
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values().filter_map(Value::as_object) {
                assert!(operation.contains_key("responses") && operation.contains_key("operationId"));
            }
        }
    }
}

#[test]
fn an_operation_is_as_declared() {
    let document = document(&mut service(), "/app/api");
    let expected = json!({
        "operationId": "PostAppLogIdXVerb",
        "parameters": [
            {"in": "query", "name": "seqno", "required": false, "schema": {"$ref": "#/components/schemas/uint64"}}
        ],
        "requestBody": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LoggingRecord__In"}}},
            "description": "Auto-generated request body schema",
        },
        "responses": {
            "200": {
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/boolean"}}},
                "description": "Default response description",
            },
            "default": {"$ref": "#/components/responses/default"},
        },
        "security": [{"jwt": []}, {}],
        "summary": "Record",
        "x-ccf-forwarding": {"$ref": "#/components/x-ccf-forwarding/always"},
    });
    assert_eq!(document["paths"]["/app/log/{id}/x:{verb}"]["post"], expected);
    let parameter =
        |name| json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}});
    let parameters = &document["paths"]["/app/log/{id}/x:{verb}"]["parameters"];
    assert_eq!(parameters, &json!([parameter("id"), parameter("verb")]));
    assert_eq!(document["paths"].get("/app/secret"), None);
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let record = json!({
        "properties": {"id": reference("uint64"), "msg": reference("string"), "tags": reference("string_array")},
        "required": ["id", "msg"],
        "type": "object",
    });
    assert_eq!(schema("LoggingRecord__In"), record);
    assert_eq!(schema("uint64"), json!({"maximum": u64::MAX, "minimum": 0, "type": "integer"}));
    let scheme = json!({"bearerFormat": "JWT", "scheme": "bearer", "type": "http"});
    assert_eq!(document["components"]["securitySchemes"], json!({"jwt": scheme}));
    assert_eq!(document["info"]["title"], "Empty title");
    assert_eq!(document["servers"], json!([]));
}

#[test]
fn built_in_endpoints_are_as_published() {
    let document = document(&mut service(), "/node/api");
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let commit = json!({
        "properties": {"transaction_id": reference("TransactionId"), "view_history": reference("TransactionId_array")},
        "required": ["transaction_id"],
        "type": "object",
    });
    assert_eq!(schema("GetCommit__Out"), commit);
    assert_eq!(schema("GetTxStatus__Out")["required"], json!(["transaction_id", "status"]));
    let words = json!({"enum": ["Unknown", "Pending", "Committed", "Invalid"], "type": "string"});
    assert_eq!(schema("TxStatus"), words);
    assert_eq!(schema("TransactionId"), json!({"pattern": "^[0-9]+\\.[0-9]+$", "type": "string"}));
    assert_eq!(schema("json"), json!({}));
    assert_eq!(schema("Cose"), json!({"format": "binary", "type": "string"}));
    let commit = &document["paths"]["/node/commit"]["get"];
    assert_eq!(commit["operationId"], "GetNodeCommit");
    assert_eq!(commit["x-ccf-forwarding"]["$ref"], "#/components/x-ccf-forwarding/sometimes");
    assert_eq!(commit.get("security"), None);
    let cose = &document["paths"]["/node/receipt/cose"]["get"]["responses"]["200"]["content"];
    assert_eq!(cose, &json!({"application/cose": {"schema": reference("Cose")}}));
}
