//! The checks of `set_js_app` on a bundle (applications specification, section 4.2).

use super::{Bundle, BundleError, BundleModule};
use crate::engine::module::is_module_name;
use ccf_endpoints::{Method, PathTemplate, WAIT_MS_MAX};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

impl Bundle {
    /// Checks names, properties and references; the sources themselves are compiled when they are installed.
    ///
    /// # Errors
    /// [`BundleError`] with the place of the first thing that is wrong.
    pub fn validate(&self) -> Result<(), BundleError> {
        self.check_size()?;
        let mut names = BTreeSet::new();
        for BundleModule { name, .. } in &self.modules {
            let fail = |reason: String| Err(invalid("bundle.modules", reason));
            if !is_module_name(name) || name.starts_with('/') {
                return fail(format!(
                    "'{name}' is no module name: give the path below src, without a leading slash"
                ));
            }
            if !names.insert(name.as_str()) {
                return fail(format!("module '{name}' appears twice"));
            }
        }
        for (path, methods) in &self.metadata.endpoints {
            let place = format!("bundle.metadata.endpoints[\"{path}\"]");
            if !path.starts_with('/') {
                return Err(invalid(&place, "paths begin with a slash".to_owned()));
            }
            if let Err(error) = PathTemplate::parse(path) {
                return Err(invalid(&place, error.to_string()));
            }
            for (method, properties) in methods {
                let place = format!("{place}[\"{method}\"]");
                if method.to_ascii_uppercase().parse::<Method>().is_err() {
                    return Err(invalid(&place, "unknown HTTP method".to_owned()));
                }
                check_properties(&place, properties, &names)?;
            }
        }
        Ok(())
    }
}

fn check_properties(place: &str, properties: &Value, modules: &BTreeSet<&str>) -> Result<(), BundleError> {
    let Value::Object(members) = properties else {
        return Err(invalid(place, "must be an object".to_owned()));
    };
    let module = required_string(place, members, "js_module")?;
    if !modules.contains(module) {
        return Err(invalid(&format!("{place}.js_module"), format!("module '{module}' not found in bundle")));
    }
    required_string(place, members, "js_function")?;
    one_of(place, members, "mode", &["readwrite", "readonly", "historical"], true)?;
    one_of(place, members, "forwarding_required", &["sometimes", "always", "never"], true)?;
    one_of(place, members, "redirection_strategy", &["none", "to_primary", "to_backup"], false)?;
    one_of(place, members, "consistency", &["linearizable"], false)?;
    if let Some(wait) = members.get("wait_for_commit_ms")
        && !wait.as_u64().is_some_and(|millis| (1..=WAIT_MS_MAX).contains(&millis))
    {
        let reason = format!("must be a number of milliseconds from 1 to {WAIT_MS_MAX}, not {wait}");
        return Err(invalid(&format!("{place}.wait_for_commit_ms"), reason));
    }
    check_policies(&format!("{place}.authn_policies"), members.get("authn_policies"))?;
    if let Some(openapi) = members.get("openapi").filter(|v| !v.is_null() && !v.is_object()) {
        return Err(invalid(&format!("{place}.openapi"), format!("must be an object, not {openapi}")));
    }
    if members.get("openapi_hidden").is_some_and(|v| !v.is_null() && !v.is_boolean()) {
        return Err(invalid(&format!("{place}.openapi_hidden"), "must be a boolean".to_owned()));
    }
    Ok(())
}

fn check_policies(place: &str, policies: Option<&Value>) -> Result<(), BundleError> {
    let Some(Value::Array(policies)) = policies else {
        return Err(invalid(place, "must be an array".to_owned()));
    };
    for (i, policy) in policies.iter().enumerate() {
        let good = match policy {
            Value::String(_) => true,
            Value::Object(members) => match members.get("all_of") {
                Some(Value::Array(names)) => names.iter().all(Value::is_string),
                _ => false,
            },
            _ => false,
        };
        if !good {
            let reason = "must be a string or an object with an array of strings all_of".to_owned();
            return Err(invalid(&format!("{place}[{i}]"), reason));
        }
    }
    Ok(())
}

fn required_string<'a>(
    place: &str,
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a str, BundleError> {
    match members.get(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(invalid(&format!("{place}.{name}"), "must be a string".to_owned())),
    }
}

fn one_of(
    place: &str,
    members: &Map<String, Value>,
    name: &str,
    words: &[&str],
    required: bool,
) -> Result<(), BundleError> {
    match members.get(name) {
        None if !required => Ok(()),
        Some(Value::String(text)) if words.contains(&text.as_str()) => Ok(()),
        _ => Err(invalid(&format!("{place}.{name}"), format!("must be one of {}", words.join(", ")))),
    }
}

fn invalid(place: &str, reason: String) -> BundleError {
    BundleError::Invalid { place: place.to_owned(), reason }
}
