//! `GET /gov/api`: with an `api-version` the Swagger 2.0 document of that version, without one the OpenAPI document of
//! the endpoints that have no version (governance 3.2).
//!
//! The document is made from the registry, so that it cannot differ from what is served.

use super::ApiVersion;
use ccf_endpoints::{
    EndpointContext, EndpointDefinition, ErrorResponse, Frontend, Method, Mode, Registry, json_answer,
    openapi,
};
use serde_json::{Map, Value, json};

/// Path below `/gov` at which the endpoints begin that were added with [`ApiVersion::V20240701`].
const SINCE_20240701: &str = "/service/javascript-";
/// Paths below `/gov` that have versions at all.
const VERSIONED: [&str; 3] = ["/members/", "/recovery/", "/service/"];

pub(super) fn endpoints() -> Vec<EndpointDefinition> {
    let api = EndpointDefinition::read_only(Method::Get, "/api", json_answer(api));
    vec![
        api.output::<openapi::AnyJson>()
            .summary("OpenAPI schema")
            .description("The description of these endpoints."),
    ]
}

fn api(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    if context.request().query().get("api-version").is_none() {
        let document = openapi::document(context.registry(), &context.tx);
        return document.map_err(|error| ErrorResponse::internal(error.to_string()));
    }
    let version = ApiVersion::of_request(context, ApiVersion::Preview20230601)?;
    Ok(document(context.registry(), version))
}

fn document(registry: &Registry, version: ApiVersion) -> Value {
    let mut paths = Map::new();
    for endpoint in registry.endpoints() {
        let full_path = endpoint.full_path().as_ref();
        let path = full_path.strip_prefix(Frontend::Gov.prefix()).unwrap_or(full_path);
        let versioned = VERSIONED.iter().any(|prefix| path.starts_with(prefix));
        let offered = version >= ApiVersion::V20240701 || !path.starts_with(SINCE_20240701);
        if versioned && offered {
            let operations = paths.entry(full_path).or_insert_with(|| json!({}));
            operations[endpoint.method().as_str().to_lowercase()] = operation(endpoint, full_path);
        }
    }
    let title = match version {
        ApiVersion::Preview20230601 => "Managed CCF Governance",
        ApiVersion::V20240701 => "CCF Governance",
    };
    json!({
        "swagger": "2.0",
        "info": {"title": title, "version": version.as_str()},
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": paths,
        "definitions": {"Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "details": {"type": "array", "items": {"type": "object"}},
                },
            }},
        }},
    })
}

fn operation(endpoint: &EndpointDefinition, path: &str) -> Value {
    let mut parameters =
        vec![json!({"name": "api-version", "in": "query", "required": true, "type": "string"})];
    for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        parameters.push(json!({"name": name, "in": "path", "required": true, "type": "string"}));
    }
    let mut operation = json!({
        "operationId": openapi::operation_id(endpoint.method(), path),
        "responses": {
            "200": {"description": "Done.", "schema": {"type": "object"}},
            "default": {"description": "Refused or failed.", "schema": {"$ref": "#/definitions/Error"}},
        },
    });
    if endpoint.mode() == Mode::ReadWrite {
        operation["consumes"] = json!(["application/cose"]);
        let body = json!({"name": "body", "in": "body", "required": true, "schema": {
            "type": "string", "format": "binary", "description": "A COSE Sign1 message of a member.",
        }});
        parameters.push(body);
    }
    operation["parameters"] = Value::Array(parameters);
    operation
}
