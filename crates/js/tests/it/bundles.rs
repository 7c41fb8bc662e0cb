//! Bundles from disk and JSON (applications specification, section 4).

use ccf_js::{Bundle, BundleError};
use serde_json::{Value, json};

fn bundle(change: impl FnOnce(&mut Value)) -> Result<Bundle, String> {
    let mut bundle = json!({
        "metadata": {"endpoints": {"/a": {"get": {
            "js_module": "a.js", "js_function": "f", "mode": "readonly", "forwarding_required": "never",
            "authn_policies": ["user_cert", {"all_of": ["jwt", "no_auth"]}], "summary": "tolerated"
        }}}},
        "modules": [{"name": "a.js", "module": "export function f() {}"}]
    });
    change(&mut bundle);
    Bundle::parse(bundle.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn what_set_js_app_refuses_is_refused() {
    assert!(bundle(|_| {}).is_ok());
    let place = "bundle.metadata.endpoints[\"/a\"][\"get\"]";
    type Change = fn(&mut Value);
    let cases: &[(Change, &str)] = &[
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["js_module"] = json!("x"),
            ".js_module: module 'x' not found in bundle",
        ),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["js_function"] = json!(1),
            ".js_function: must be a string",
        ),
        (|b| b["metadata"]["endpoints"]["/a"]["get"]["mode"] = json!(null), ".mode: must be one of"),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["forwarding_required"] = json!("x"),
            ".forwarding_required: must",
        ),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["redirection_strategy"] = json!("x"),
            ".redirection_strategy: must",
        ),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["authn_policies"] = json!("x"),
            ".authn_policies: must be an array",
        ),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["authn_policies"] = json!([1]),
            ".authn_policies[0]: must",
        ),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["authn_policies"] = json!([{"all_of": [1]}]),
            ".authn_policies[0]",
        ),
        (|b| b["metadata"]["endpoints"]["/a"]["get"]["openapi"] = json!("x"), ".openapi: must be an object"),
        (
            |b| b["metadata"]["endpoints"]["/a"]["get"]["openapi_hidden"] = json!("x"),
            ".openapi_hidden: must be",
        ),
    ];
    for (change, expected) in cases {
        let error = bundle(change).unwrap_err();
        assert!(error.starts_with(&format!("{place}{expected}")), "{error} / {expected}");
    }
    for (change, expected) in [
        ((|b| b["modules"][0]["name"] = json!("/a.js")) as Change, "'/a.js' is no module name"),
        (|b| b["modules"][0]["name"] = json!("a\u{0}.js"), "is no module name"),
        (|b| b["modules"] = json!([b["modules"][0], b["modules"][0]]), "appears twice"),
        (|b| b["metadata"]["endpoints"]["x"] = json!({}), "paths begin with a slash"),
        (|b| b["metadata"]["endpoints"]["/{x"] = json!({}), "endpoints[\"/{x\"]"),
        (|b| b["metadata"]["endpoints"]["/y"] = json!({"fetch": {}}), "unknown HTTP method"),
        (|b| *b = json!([]), "is not a bundle"),
        (|b| b["modules"][0]["module"] = json!(1), "is not a bundle"),
    ] {
        let error = bundle(change).unwrap_err();
        assert!(error.contains(expected), "{error} / {expected}");
    }
    assert!(Bundle::parse(b"{").is_err());
}

#[test]
fn folders_and_built_bundles_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    assert!(matches!(Bundle::read(folder.path()), Err(BundleError::Missing { .. })));
    write("app.json", &bundle(|_| {}).unwrap().to_json()["metadata"].to_string());
    write("src/a.js", "export function f() {}");
    write("src/lib/deep/b.js", "// b");
    let read = Bundle::read(folder.path()).unwrap();
    let names: Vec<_> = read.modules.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["a.js", "lib/deep/b.js"]);
    write("built/bundle.json", &read.to_json().to_string());
    assert_eq!(Bundle::read(&folder.path().join("built")).unwrap(), read);
    assert_eq!(Bundle::read(&folder.path().join("built/bundle.json")).unwrap(), read);
    std::fs::write(folder.path().join("src/bad.js"), [0xff]).unwrap();
    assert!(matches!(Bundle::read(folder.path()), Err(BundleError::Text { .. })));
}
