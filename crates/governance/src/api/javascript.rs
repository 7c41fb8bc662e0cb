//! `/service/javascript-app` and its modules (governance 4.5, 15 to 17).

use super::{ApiVersion, shown_since};
use crate::tables;
use ccf_endpoints::{EndpointContext, EndpointDefinition, ErrorCode, ErrorResponse, json_answer};
use serde_json::{Map, Value, json};

pub(super) fn endpoints() -> Vec<EndpointDefinition> {
    let since = ApiVersion::V20240701;
    vec![
        shown_since(since, "/service/javascript-app", json_answer(app)),
        shown_since(since, "/service/javascript-modules", json_answer(modules)),
        shown_since(since, "/service/javascript-modules/{moduleName}", module),
    ]
}

fn app(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let original = match context.request().query().get("case") {
        None => false,
        Some("original") => true,
        Some(_) => {
            let text = "Accepted values for the 'case' query parameter are: original";
            return Err(ErrorResponse::invalid_query(text));
        }
    };
    let mut endpoints = Map::new();
    for (key, stored) in context.tx.ro(&tables::ENDPOINTS).entries()? {
        let stored: Value = serde_json::from_slice(&stored)
            .map_err(|e| ErrorResponse::internal(format!("Endpoint {key}: {e}")))?;
        let (verb, uri) = key.split_once(' ').unwrap_or((key.as_str(), ""));
        let operations = endpoints.entry(uri).or_insert_with(|| json!({}));
        operations[verb] = if original { stored } else { shown_operation(&stored) };
    }
    Ok(json!({"endpoints": endpoints}))
}

/// An operation with defaults filled in.
fn shown_operation(stored: &Value) -> Value {
    let text = |name: &str, default: &str| match &stored[name] {
        Value::Null => json!(default),
        given => given.clone(),
    };
    json!({
        "jsModule": text("js_module", ""),
        "jsFunction": text("js_function", ""),
        "forwardingRequired": stored["forwarding_required"],
        "redirectionStrategy": text("redirection_strategy", "to_primary"),
        "authnPolicies": stored["authn_policies"],
        "mode": text("mode", "readwrite"),
        "openApi": stored["openapi"],
    })
}

fn modules(context: &mut EndpointContext<'_>) -> Result<Value, ErrorResponse> {
    let rows = context.tx.ro(&tables::MODULES).entries()?;
    let all: Vec<Value> = rows.into_iter().map(|(name, _)| json!({"moduleName": name})).collect();
    Ok(json!({"value": all}))
}

fn module(context: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let name = context.param("moduleName")?;
    let Some(source) = context.tx.ro(&tables::MODULES).get(&name)? else {
        let text = format!("Module {name} does not exist.");
        return Err(ErrorResponse::new(ErrorCode::ResourceNotFound, text));
    };
    context.response.set_body("text/javascript", source.to_vec());
    Ok(())
}
