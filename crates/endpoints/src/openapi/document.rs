//! Assembling the document.

use super::{Components, operation_id};
use crate::{
    endpoint::EndpointDefinition,
    registry::{DispatchError, Registry},
};
use ccf_kv::Tx;
use serde_json::{Map, Value, json};

/// Title, description and version of a frontend's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiInfo {
    /// Title.
    pub title: String,
    /// A sentence about it.
    pub description: String,
    /// Version of the API, not of the software.
    pub version: String,
}

impl Default for ApiInfo {
    fn default() -> Self {
        ApiInfo {
            title: "Empty title".to_owned(),
            description: "Empty description".to_owned(),
            version: "0.0.1".to_owned(),
        }
    }
}

/// Two different schemas under one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Found conflicting schemas named {0}")]
pub struct SchemaConflict(pub String);

impl From<SchemaConflict> for DispatchError {
    fn from(error: SchemaConflict) -> Self {
        DispatchError(error.to_string())
    }
}

/// The document of a frontend, endpoints in the store included.
///
/// # Errors
/// [`DispatchError`] if two schemas share a name, or the endpoints in the store cannot be read.
pub fn document(registry: &Registry, tx: &Tx) -> Result<Value, DispatchError> {
    let mut components = Components::new();
    let mut security = Map::new();
    let mut paths = Map::new();
    let mut endpoints: Vec<_> = registry.endpoints().filter(|e| !e.docs.hidden).collect();
    endpoints.sort_by(|a, b| (&a.full_path, a.method).cmp(&(&b.full_path, b.method)));
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut components, &mut security)?;
        let item = member(&mut paths, &endpoint.full_path);
        if let Some(parameters) = path_parameters(endpoint) {
            item.insert("parameters".to_owned(), parameters);
        }
        item.insert(endpoint.method.lower_case(), operation);
    }
    if let Some(dynamic) = registry.dynamic() {
        for operation in dynamic.operations(tx)? {
            let openapi = match operation.openapi {
                Value::Object(object) => object,
                _ => Map::new(),
            };
            let target = member(member(&mut paths, &operation.full_path), &operation.method.lower_case());
            for (key, value) in openapi {
                target.entry(key).or_insert(value);
            }
        }
    }
    let info = registry.info();
    let mut all = json!({
        "responses": {"default": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CCFError"}}},
            "description": "An error occurred",
        }},
        "schemas": Value::Null,
        "x-ccf-forwarding": {
            "always": {
                "description": "Requests always go to the primary: a backup forwards them or redirects the client.",
                "value": "always",
            },
            "never": {"description": "Requests are answered by the node that receives them.", "value": "never"},
            "sometimes": {
                "description": "Requests are answered by the node that receives them, unless an earlier request of the session was forwarded.",
                "value": "sometimes",
            },
        },
    });
    let mut schemas = components.into_schemas();
    schemas.insert("CCFError".to_owned(), error_schema());
    all["schemas"] = Value::Object(schemas);
    if !security.is_empty() {
        all["securitySchemes"] = Value::Object(security);
    }
    Ok(json!({
        "components": all,
        "info": {"description": info.description, "title": info.title, "version": info.version},
        "openapi": "3.0.0",
        "paths": paths,
        "servers": [],
    }))
}

fn member<'a>(object: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let entry = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    match entry {
        Value::Object(inner) => inner,
        _ => unreachable!("made an object just above"),
    }
}

fn error_schema() -> Value {
    json!({
        "properties": {"error": {
            "properties": {
                "code": {"description": "Kind of the error, for programs.", "type": "string"},
                "message": {"description": "What went wrong, for people.", "type": "string"},
            },
            "type": "object",
        }},
        "type": "object",
    })
}

fn path_parameters(endpoint: &EndpointDefinition) -> Option<Value> {
    let template = endpoint.template.as_ref().ok()?;
    let parameters: Vec<_> = template
        .names()
        .map(|name| json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}}))
        .collect();
    (!parameters.is_empty()).then_some(Value::Array(parameters))
}

fn operation(
    endpoint: &EndpointDefinition,
    components: &mut Components,
    security_schemes: &mut Map<String, Value>,
) -> Result<Value, SchemaConflict> {
    let docs = &endpoint.docs;
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), operation_id(endpoint.method, &endpoint.full_path).into());
    operation.insert("responses".to_owned(), responses(endpoint, components)?);
    if let Some(input) = docs.input {
        let (schema, is_string) = components.reference(input)?;
        let content_type = if is_string { "text/plain" } else { "application/json" };
        let body = json!({
            "content": {content_type: {"schema": schema}},
            "description": "Auto-generated request body schema",
        });
        operation.insert("requestBody".to_owned(), body);
    }
    let mut parameters = Vec::new();
    for parameter in &docs.query {
        let (schema, _) = components.reference(parameter.schema)?;
        let (name, required) = (&parameter.name, parameter.required);
        parameters.push(json!({"in": "query", "name": name, "required": required, "schema": schema}));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), Value::Array(parameters));
    }
    let mut security = Vec::new();
    for (name, scheme) in endpoint.authn.iter().filter_map(|policy| policy.security_scheme()) {
        if name.is_empty() {
            security.push(json!({}));
        } else {
            security.push(json!({name: []}));
            security_schemes.insert(name.to_owned(), scheme);
        }
    }
    if !security.is_empty() {
        operation.insert("security".to_owned(), Value::Array(security));
    }
    let forwarding = format!("#/components/x-ccf-forwarding/{}", endpoint.forwarding.as_str());
    operation.insert("x-ccf-forwarding".to_owned(), json!({"$ref": forwarding}));
    if let Some(summary) = &docs.summary {
        operation.insert("summary".to_owned(), summary.as_str().into());
    }
    if let Some(description) = &docs.description {
        operation.insert("description".to_owned(), description.as_str().into());
    }
    if docs.deprecated {
        operation.insert("deprecated".to_owned(), true.into());
    }
    Ok(Value::Object(operation))
}

fn responses(endpoint: &EndpointDefinition, components: &mut Components) -> Result<Value, SchemaConflict> {
    let (status, content_type, schema) = endpoint.docs.output.unwrap_or((200, "application/json", None));
    let mut success = json!({"description": "Default response description"});
    if let Some(schema) = schema {
        let (schema, is_string) = components.reference(schema)?;
        let content_type =
            if is_string && content_type == "application/json" { "text/plain" } else { content_type };
        success["content"] = json!({content_type: {"schema": schema}});
    }
    let mut responses = Map::new();
    responses.insert(status.to_string(), success);
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/default"}));
    Ok(Value::Object(responses))
}
