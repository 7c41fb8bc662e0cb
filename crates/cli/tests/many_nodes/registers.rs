//! The application of these tests: registers that are read, written, and replaced if they hold what one believes.

use serde_json::{Value, json};

/// The bundle to deploy.
pub(crate) fn bundle() -> Value {
    let endpoint = |function: &str, mode: &str, forwarding: &str, redirection: &str| {
        json!({
            "js_module": "registers.js",
            "js_function": function,
            "mode": mode,
            "forwarding_required": forwarding,
            "redirection_strategy": redirection,
            "authn_policies": ["user_cert"],
            "openapi": {},
        })
    };
    json!({
        "metadata": {"endpoints": {
            "/register/{name}": {
                "get": endpoint("read", "readonly", "sometimes", "none"),
                "put": endpoint("write", "readwrite", "always", "to_primary"),
            },
            "/register/{name}/past": {"get": endpoint("past", "historical", "never", "none")},
            "/registers/past": {"get": endpoint("pastRange", "readonly", "never", "none")},
            "/register/{name}/replace": {"post": endpoint("replace", "readwrite", "always", "to_primary")},
        }},
        "modules": [{"name": "registers.js", "module": include_str!("registers/registers.js")}],
    })
}
